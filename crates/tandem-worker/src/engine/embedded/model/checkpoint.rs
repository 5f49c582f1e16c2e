//! Weights in safetensors files, in one file or in shards.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;

use super::mapped::{MappedFile, fingerprint};
use super::{ModelError, Numbers, TensorSource, Values};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The weights in a Hugging Face model directory.
#[derive(Debug)]
pub struct Checkpoint {
    files: Vec<MappedFile>,
    places: HashMap<String, Place>,
}

/// Where a tensor lies.
#[derive(Debug)]
struct Place {
    file: usize,
    /// Offsets in the file.
    range: Range<usize>,
    dtype: Dtype,
    shape: Vec<usize>,
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
        let (header, metadata) = SafeTensors::read_metadata(&shard)
            .map_err(|error| ModelError::malformed(&shard.path, &error))?;
        // The header follows its length.
        let data = size_of::<u64>() + header;
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            let place = Place {
                file: self.files.len(),
                range: data + start..data + end,
                dtype: info.dtype,
                shape: info.shape.clone(),
            };
            self.places.insert(name, place);
        }
        self.files.push(shard);
        Ok(())
    }
}

impl TensorSource for Checkpoint {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Values, ModelError> {
        let missing = || ModelError::MissingTensor(name.to_owned());
        let place = self.places.get(name).ok_or_else(missing)?;
        if place.shape != shape {
            return Err(ModelError::Shape {
                name: name.to_owned(),
                found: place.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        let data = self.files[place.file].part(place.range.clone());
        let data = data.ok_or_else(missing)?;
        match place.dtype {
            Dtype::BF16 => Ok(Values::Bf16(Numbers::read(&data))),
            Dtype::F16 => Ok(Values::from_f16(&Numbers::read(&data))),
            Dtype::F32 => Ok(Values::F32(Numbers::read(&data))),
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
