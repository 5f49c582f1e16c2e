//! Weights in safetensors files, in one file or in shards.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use xxhash_rust::xxh3::xxh3_64;

use super::{ModelError, TensorSource, Values};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The weights in a Hugging Face model directory.
#[derive(Debug)]
pub struct Checkpoint {
    files: Vec<Shard>,
    /// File of each tensor.
    places: HashMap<String, usize>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    map: Mmap,
}

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

impl Checkpoint {
    /// Opens `model.safetensors`, or the shards of `model.safetensors.index.json`.
    pub fn open(directory: &Path) -> Result<Self, ModelError> {
        let index = directory.join(INDEX);
        let names: BTreeSet<String> = if index.exists() {
            let text = std::fs::read(&index).map_err(ModelError::read(&index))?;
            let index: Index = serde_json::from_slice(&text)
                .map_err(|error| ModelError::malformed(&index, &error))?;
            index.weight_map.into_values().collect()
        } else {
            BTreeSet::from([SINGLE.to_owned()])
        };
        let mut checkpoint = Self {
            files: Vec::new(),
            places: HashMap::new(),
        };
        for name in names {
            checkpoint.add(map(&directory.join(name))?)?;
        }
        Ok(checkpoint)
    }

    fn add(&mut self, shard: Shard) -> Result<(), ModelError> {
        let place = self.files.len();
        for name in shard.parse()?.names() {
            self.places.insert(name.to_owned(), place);
        }
        self.files.push(shard);
        Ok(())
    }
}

impl Shard {
    fn parse(&self) -> Result<SafeTensors<'_>, ModelError> {
        SafeTensors::deserialize(&self.map)
            .map_err(|error| ModelError::malformed(&self.path, &error))
    }
}

#[allow(
    unsafe_code,
    reason = "weights are mapped so that loading does not need twice their memory"
)]
fn map(path: &Path) -> Result<Shard, ModelError> {
    let file = File::open(path).map_err(ModelError::read(path))?;
    // SAFETY: the map is only read, and dropped when loading ends. Model files are not written
    // while a worker loads them; if one is truncated meanwhile, the process dies with a bus error
    // as it would with any mapped file.
    let map = unsafe { Mmap::map(&file) }.map_err(ModelError::read(path))?;
    let path = path.to_owned();
    Ok(Shard { path, map })
}

impl TensorSource for Checkpoint {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Values, ModelError> {
        let missing = || ModelError::MissingTensor(name.to_owned());
        let shard = &self.files[*self.places.get(name).ok_or_else(missing)?];
        let tensors = shard.parse()?;
        let tensor = tensors.tensor(name).map_err(|_| missing())?;
        if tensor.shape() != shape {
            return Err(ModelError::Shape {
                name: name.to_owned(),
                found: tensor.shape().to_vec(),
                expected: shape.to_vec(),
            });
        }
        let pairs = || {
            tensor
                .data()
                .chunks_exact(2)
                .map(|b| u16::from_le_bytes([b[0], b[1]]))
        };
        match tensor.dtype() {
            Dtype::BF16 => Ok(Values::Bf16(pairs().collect())),
            Dtype::F16 => {
                let wide = pairs().map(|bits| half::f16::from_bits(bits).to_f32());
                Ok(Values::F32(wide.collect()))
            }
            Dtype::F32 => {
                let bytes = tensor.data().chunks_exact(4);
                let numbers = bytes.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                Ok(Values::F32(numbers.collect()))
            }
            other => Err(ModelError::Unsupported {
                feature: "tensor type",
                value: format!("{other:?} of {name}"),
                supported: "F32, F16, BF16",
            }),
        }
    }

    fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Hashes of each file's beginning (its table of tensors) and of numbers spread over it.
    fn fingerprint(&self) -> String {
        const PIECE: usize = 1 << 12;
        const PIECES: usize = 64;
        let mut digest = Vec::new();
        for file in &self.files {
            let step = (file.map.len() / PIECES).max(PIECE);
            for piece in file.map.chunks(step) {
                let piece = &piece[..piece.len().min(PIECE)];
                digest.extend(xxh3_64(piece).to_le_bytes());
            }
            digest.extend(file.map.len().to_le_bytes());
        }
        format!("{:016x}", xxh3_64(&digest))
    }
}
