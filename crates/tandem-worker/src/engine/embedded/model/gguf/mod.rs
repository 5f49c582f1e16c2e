//! Weights in a GGUF file, the format of llama.cpp.
//!
//! Only the tensors are read: what the model consists of, and its tokenizer, are in the
//! `config.json` and `tokenizer.json` of the model that the file was made of, which workers publish
//! anyway. The format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod names;
mod reader;

use std::collections::HashMap;
use std::path::Path;

use rayon::prelude::{ParallelIterator, ParallelSlice};

use self::names::Naming;
use self::reader::{Format, Header, Tensor};
use super::mapped::{MappedFile, fingerprint};
use super::{ModelError, Numbers, TensorSource, Values};
use crate::engine::embedded::kernel::{Q4Block, Q8Block};

/// The weights in a GGUF file.
#[derive(Debug)]
pub struct Gguf {
    file: MappedFile,
    naming: Naming,
    tensors: HashMap<String, Tensor>,
}

impl Gguf {
    /// Reads the table of tensors.
    ///
    /// # Errors
    /// It is not a GGUF file, or is cut off.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let file = MappedFile::open(path)?;
        let header = Header::read(&file).map_err(|reason| ModelError::Malformed {
            path: path.to_owned(),
            reason,
        })?;
        Ok(Self {
            naming: Naming::of(&header),
            tensors: header.tensors,
            file,
        })
    }

    fn read(&self, tensor: &Tensor) -> Result<Values, ModelError> {
        let cut_off = || ModelError::Malformed {
            path: self.file.path.clone(),
            reason: "it ends before its last tensor".to_owned(),
        };
        let (block, bytes) = tensor.format.block();
        let length = tensor.len() / block * bytes;
        let end = tensor.start.checked_add(length).ok_or_else(cut_off)?;
        let data = self.file.part(tensor.start..end).ok_or_else(cut_off)?;
        let blocks = || data.par_chunks_exact(bytes);
        Ok(match tensor.format {
            Format::F32 => Values::F32(Numbers::read(&data)),
            Format::F16 => Values::from_f16(&Numbers::read(&data)),
            Format::Bf16 => Values::Bf16(Numbers::read(&data)),
            Format::Q8_0 => Values::Q8(Numbers::read(&data)),
            Format::Q4K => Values::Q4(blocks().map(Q4Block::read).collect::<Vec<_>>().into()),
            // There are no products with 6 bits: 8 hold them with little loss.
            Format::Q6K => {
                let narrow = |weights: [f32; 256]| -> [Q8Block; 8] {
                    std::array::from_fn(|part| {
                        Q8Block::quantize(&weights[part * Q8Block::WEIGHTS..][..Q8Block::WEIGHTS])
                    })
                };
                let blocks = blocks().map(reader::q6_k).map(narrow);
                Values::Q8(blocks.collect::<Vec<_>>().into_flattened().into())
            }
        })
    }
}

impl TensorSource for Gguf {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Values, ModelError> {
        let missing = || ModelError::MissingTensor(name.to_owned());
        let own = self.naming.of_tensor(name).ok_or_else(missing)?;
        let tensor = self.tensors.get(&own).ok_or_else(missing)?;
        if tensor.shape != shape {
            return Err(ModelError::Shape {
                name: own,
                found: tensor.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        Ok(self.naming.restore(name, self.read(tensor)?, shape))
    }

    fn contains(&self, name: &str) -> bool {
        let own = self.naming.of_tensor(name);
        own.is_some_and(|own| self.tensors.contains_key(&own))
    }

    fn fingerprint(&self) -> String {
        fingerprint(std::iter::once(&self.file))
    }
}
