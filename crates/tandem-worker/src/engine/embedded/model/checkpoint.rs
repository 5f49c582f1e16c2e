//! Weights in safetensors files, in one file or in shards.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::mapped::{MappedFile, fingerprint};
use super::{ModelError, TensorSource, Values};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The weights in a Hugging Face model directory.
#[derive(Debug)]
pub struct Checkpoint {
    files: Vec<MappedFile>,
    /// File of each tensor.
    places: HashMap<String, usize>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

impl Checkpoint {
    /// Whether `directory` has weights of this kind.
    pub(super) fn is_in(directory: &Path) -> bool {
        directory.join(SINGLE).exists() || directory.join(INDEX).exists()
    }

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
            checkpoint.add(MappedFile::open(&directory.join(name))?)?;
        }
        Ok(checkpoint)
    }

    /// Opens one file.
    pub(super) fn open_file(path: &Path) -> Result<Self, ModelError> {
        let mut checkpoint = Self {
            files: Vec::new(),
            places: HashMap::new(),
        };
        checkpoint.add(MappedFile::open(path)?)?;
        Ok(checkpoint)
    }

    /// The names of all tensors.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    fn add(&mut self, shard: MappedFile) -> Result<(), ModelError> {
        let place = self.files.len();
        for name in parse(&shard)?.names() {
            self.places.insert(name.to_owned(), place);
        }
        self.files.push(shard);
        Ok(())
    }
}

fn parse(shard: &MappedFile) -> Result<SafeTensors<'_>, ModelError> {
    SafeTensors::deserialize(shard).map_err(|error| ModelError::malformed(&shard.path, &error))
}

impl TensorSource for Checkpoint {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Values, ModelError> {
        let missing = || ModelError::MissingTensor(name.to_owned());
        let shard = &self.files[*self.places.get(name).ok_or_else(missing)?];
        let tensors = parse(shard)?;
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

    fn fingerprint(&self) -> String {
        fingerprint(self.files.iter())
    }
}
