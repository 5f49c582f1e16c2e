//! Weights in a GGUF file, the format of llama.cpp.
//!
//! Only the tensors are read: what the model consists of, and its tokenizer, are in the
//! `config.json` and `tokenizer.json` of the model that the file was made of, which workers publish
//! anyway. The format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod names;
mod reader;

use std::collections::HashMap;
use std::path::Path;

use self::names::Naming;
use self::reader::{Format, Header, Tensor};
use super::mapped::{MappedFile, fingerprint};
use super::{ModelError, TensorSource, Values};
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
        let data = self.file.get(tensor.start..end).ok_or_else(cut_off)?;
        let pairs = || {
            data.chunks_exact(2)
                .map(|b| u16::from_le_bytes([b[0], b[1]]))
        };
        Ok(match tensor.format {
            Format::F32 => {
                let bytes = data.chunks_exact(4);
                let numbers = bytes.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                Values::F32(numbers.collect())
            }
            Format::F16 => {
                let wide = pairs().map(|bits| half::f16::from_bits(bits).to_f32());
                Values::F32(wide.collect())
            }
            Format::Bf16 => Values::Bf16(pairs().collect()),
            Format::Q8_0 => Values::Q8(data.chunks_exact(bytes).map(Q8Block::read).collect()),
            Format::Q4K => Values::Q4(data.chunks_exact(bytes).map(Q4Block::read).collect()),
            // There are no products with 6 bits: 8 hold them with little loss.
            Format::Q6K => {
                let blocks = data.chunks_exact(bytes);
                let narrow = |weights: [f32; 256]| {
                    let parts = weights.chunks_exact(Q8Block::WEIGHTS);
                    parts.map(Q8Block::quantize).collect::<Vec<_>>()
                };
                Values::Q8(blocks.map(reader::q6_k).flat_map(narrow).collect())
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
