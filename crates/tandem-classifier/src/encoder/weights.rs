//! Tensors of a `model.safetensors` file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, Metadata};

use super::linear::Linear;
use super::product::Packed;
use super::{Norm, Table};
use crate::error::LoadError;

/// An open weight file. Tensors are read one by one, so that the file is never in memory whole.
#[derive(Debug)]
pub(crate) struct Weights {
    path: PathBuf,
    file: File,
    metadata: Metadata,
    /// Where the tensors start in the file.
    data: u64,
}

/// Numbers of a matrix as the file has them.
pub(crate) enum Matrix {
    /// Full or half precision, widened.
    F32(Vec<f32>),
    /// Integers and one scale per row.
    I8(Vec<i8>, Vec<f32>),
}

impl Weights {
    /// Opens the weight file of a checkpoint.
    pub(crate) fn open(dir: &Path) -> Result<Self, LoadError> {
        let path = dir.join("model.safetensors");
        let read = |source| LoadError::Read {
            path: path.clone(),
            source,
        };
        let mut file = File::open(&path).map_err(read)?;
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(read)?;
        let header = u64::from_le_bytes(length);
        let size = file.metadata().map_err(read)?.len();
        if header > size.saturating_sub(8) {
            return Err(LoadError::invalid(
                &path,
                "the header is longer than the file",
            ));
        }
        let mut bytes = Vec::new();
        (&file).take(header).read_to_end(&mut bytes).map_err(read)?;
        let metadata: Metadata =
            serde_json::from_slice(&bytes).map_err(|error| LoadError::invalid(&path, error))?;
        let data = u64::try_from(metadata.data_len()).unwrap_or(u64::MAX);
        if data != size - 8 - header {
            return Err(LoadError::invalid(
                &path,
                "the tensors do not fill the file",
            ));
        }
        Ok(Self {
            file,
            metadata,
            data: header + 8,
            path,
        })
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.metadata.info(name).is_some()
    }

    /// Shape of a tensor.
    pub(crate) fn shape(&self, name: &str) -> Result<&[usize], LoadError> {
        match self.metadata.info(name) {
            Some(info) => Ok(&info.shape),
            None => Err(LoadError::invalid(
                &self.path,
                format_args!("no tensor {name}"),
            )),
        }
    }

    /// A vector of numbers.
    pub(crate) fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>, LoadError> {
        self.expect_shape(name, &[len])?;
        self.numbers(name)
    }

    /// A vector, if the file has it.
    pub(crate) fn optional(&self, name: &str, len: usize) -> Result<Option<Vec<f32>>, LoadError> {
        self.has(name).then(|| self.vector(name, len)).transpose()
    }

    /// A matrix of one row per output.
    pub(crate) fn matrix(
        &self,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<Matrix, LoadError> {
        self.expect_shape(name, &[rows, columns])?;
        let scale = format!("{name}.scale");
        if self.has(&scale) {
            Ok(Matrix::I8(self.integers(name)?, self.vector(&scale, rows)?))
        } else {
            Ok(Matrix::F32(self.numbers(name)?))
        }
    }

    /// The layer `name.weight` with the bias `name.bias` if there is one.
    pub(crate) fn linear(
        &self,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> Result<Linear, LoadError> {
        let weight = match self.matrix(&format!("{name}.weight"), outputs, inputs)? {
            Matrix::F32(rows) => Packed::from_f32(outputs, inputs, &rows),
            Matrix::I8(rows, scales) => Packed::from_i8(outputs, inputs, &rows, scales),
        };
        let bias = self.optional(&format!("{name}.bias"), outputs)?;
        Ok(Linear::new(weight, bias))
    }

    /// Several layers with the same input as one layer.
    pub(crate) fn stacked(
        &self,
        names: &[String],
        outputs: usize,
        inputs: usize,
    ) -> Result<Linear, LoadError> {
        let (mut rows, mut biases) = (Vec::new(), Vec::new());
        for name in names {
            match self.matrix(&format!("{name}.weight"), outputs, inputs)? {
                Matrix::F32(more) => rows.extend(more),
                Matrix::I8(more, scales) => {
                    for (row, scale) in more.chunks_exact(inputs).zip(scales) {
                        rows.extend(row.iter().map(|value| f32::from(*value) * scale));
                    }
                }
            }
            biases.extend(self.vector(&format!("{name}.bias"), outputs)?);
        }
        let weight = Packed::from_f32(names.len() * outputs, inputs, &rows);
        Ok(Linear::new(weight, Some(biases)))
    }

    /// A table of one row per id.
    pub(crate) fn table(&self, name: &str, columns: usize) -> Result<Table, LoadError> {
        let rows = self.shape(name)?.first().copied().unwrap_or(0);
        let numbers = self.matrix(name, rows, columns)?;
        Ok(Table { columns, numbers })
    }

    /// The normalisation `name.weight`, with `name.bias` if there is one. Old checkpoints call
    /// them `gamma` and `beta`.
    pub(crate) fn norm(&self, name: &str, width: usize, eps: f32) -> Result<Norm, LoadError> {
        let old = format!("{name}.gamma");
        let (weight, bias) = if self.has(&old) {
            (old, format!("{name}.beta"))
        } else {
            (format!("{name}.weight"), format!("{name}.bias"))
        };
        Ok(Norm {
            weight: self.vector(&weight, width)?,
            bias: self.optional(&bias, width)?.unwrap_or_default(),
            eps,
        })
    }

    /// An int8 tensor.
    pub(crate) fn integers(&self, name: &str) -> Result<Vec<i8>, LoadError> {
        let (dtype, bytes) = self.bytes(name)?;
        if dtype != Dtype::I8 {
            return Err(LoadError::invalid(
                &self.path,
                format_args!("tensor {name} has scales but is not int8"),
            ));
        }
        Ok(bytes.into_iter().map(u8::cast_signed).collect())
    }

    pub(crate) fn expect_shape(&self, name: &str, expect: &[usize]) -> Result<(), LoadError> {
        let shape = self.shape(name)?;
        if shape == expect {
            return Ok(());
        }
        Err(LoadError::invalid(
            &self.path,
            format_args!("tensor {name} has shape {shape:?}, expected {expect:?}"),
        ))
    }

    fn numbers(&self, name: &str) -> Result<Vec<f32>, LoadError> {
        let (dtype, bytes) = self.bytes(name)?;
        let (pairs, _) = bytes.as_chunks::<2>();
        match dtype {
            Dtype::F32 => {
                let (words, _) = bytes.as_chunks::<4>();
                Ok(words.iter().map(|word| f32::from_le_bytes(*word)).collect())
            }
            Dtype::F16 => Ok(pairs
                .iter()
                .map(|pair| half::f16::from_le_bytes(*pair).to_f32())
                .collect()),
            Dtype::BF16 => Ok(pairs
                .iter()
                .map(|pair| half::bf16::from_le_bytes(*pair).to_f32())
                .collect()),
            other => Err(LoadError::unsupported(
                &self.path,
                format_args!("tensor {name} is {other:?}"),
            )),
        }
    }

    fn bytes(&self, name: &str) -> Result<(Dtype, Vec<u8>), LoadError> {
        let Some(info) = self.metadata.info(name) else {
            return Err(LoadError::invalid(
                &self.path,
                format_args!("no tensor {name}"),
            ));
        };
        let (start, end) = info.data_offsets;
        let mut bytes = vec![0; end - start];
        let start = u64::try_from(start).expect("an offset fits 64 bits");
        let mut file = &self.file;
        file.seek(SeekFrom::Start(self.data + start))
            .and_then(|_| file.read_exact(&mut bytes))
            .map_err(|source| LoadError::Read {
                path: self.path.clone(),
                source,
            })?;
        Ok((info.dtype, bytes))
    }
}
