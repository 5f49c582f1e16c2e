//! The table at the beginning of a GGUF file.

use std::collections::HashMap;

use half::f16;

const MAGIC: &[u8; 4] = b"GGUF";
const DEFAULT_ALIGNMENT: usize = 32;
/// More dimensions than tensors have, and deeper arrays than metadata has.
const MOST_DIMENSIONS: u32 = 4;
const MOST_NESTING: u32 = 4;

/// What is needed of a file's table.
#[derive(Debug)]
pub(super) struct Header {
    /// `general.architecture`
    pub(super) architecture: String,
    /// Query heads.
    pub(super) heads: Option<usize>,
    /// Key-value heads.
    pub(super) kv_heads: Option<usize>,
    pub(super) tensors: HashMap<String, Tensor>,
}

/// Where a tensor lies.
#[derive(Debug)]
pub(super) struct Tensor {
    /// Slowest dimension first, as elsewhere.
    pub(super) shape: Vec<usize>,
    pub(super) format: Format,
    /// Offset in the file.
    pub(super) start: usize,
}

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4K,
    Q6K,
}

const SUPPORTED: &str = "F32, F16, BF16, Q8_0, Q4_K, Q6_K";

/// Names of formats that are not supported, by number.
const OTHERS: [(u32, &str); 15] = [
    (2, "Q4_0"),
    (3, "Q4_1"),
    (6, "Q5_0"),
    (7, "Q5_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (13, "Q5_K"),
    (16, "IQ2_XXS"),
    (18, "IQ3_XXS"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (34, "TQ1_0"),
    (39, "MXFP4"),
];

impl Format {
    fn parse(number: u32, tensor: &str) -> Result<Self, String> {
        Ok(match number {
            0 => Self::F32,
            1 => Self::F16,
            8 => Self::Q8_0,
            12 => Self::Q4K,
            14 => Self::Q6K,
            30 => Self::Bf16,
            other => {
                let known = OTHERS.iter().find(|(number, _)| *number == other);
                let name =
                    known.map_or_else(|| format!("type {other}"), |(_, name)| (*name).to_owned());
                return Err(format!(
                    "tensor {tensor} is {name}, which is not supported; supported: {SUPPORTED}"
                ));
            }
        })
    }

    /// Numbers of a block, and its bytes.
    pub(super) const fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q8_0 => (32, 34),
            Self::Q4K => (256, 144),
            Self::Q6K => (256, 210),
        }
    }
}

impl Tensor {
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A value of the metadata, as far as something asks for it.
#[derive(Debug)]
enum Value {
    Whole(u64),
    Text(String),
    Other,
}

impl Header {
    /// Reads the table; the error says what is wrong with it.
    pub(super) fn read(file: &[u8]) -> Result<Self, String> {
        let mut cursor = Cursor { file, at: 0 };
        if cursor.take(4)? != MAGIC {
            return Err("it does not begin with \"GGUF\"".to_owned());
        }
        let version = cursor.u32()?;
        if !(2..=3).contains(&version) {
            return Err(format!("its version is {version}; supported: 2, 3"));
        }
        let (tensors, pairs) = (cursor.u64()?, cursor.u64()?);
        let mut metadata = HashMap::new();
        for _ in 0..pairs {
            let key = cursor.text()?;
            let kind = cursor.u32()?;
            metadata.insert(key, cursor.value(kind, MOST_NESTING)?);
        }
        let whole = |key: &str| match metadata.get(key) {
            Some(Value::Whole(number)) => usize::try_from(*number).ok(),
            _ => None,
        };
        let alignment = whole("general.alignment").unwrap_or(DEFAULT_ALIGNMENT);
        let Some(Value::Text(architecture)) = metadata.get("general.architecture") else {
            return Err("general.architecture is missing".to_owned());
        };
        let mut table = Vec::new();
        for _ in 0..tensors {
            table.push(cursor.tensor()?);
        }
        // Offsets count from the first aligned place after the table.
        let data = cursor.at.checked_next_multiple_of(alignment);
        let data = data.ok_or_else(|| format!("its alignment is {alignment}"))?;
        let place = |(name, tensor): (String, Tensor)| {
            let start = tensor
                .start
                .checked_add(data)
                .ok_or("an offset is too large")?;
            Ok((name, Tensor { start, ..tensor }))
        };
        Ok(Self {
            architecture: architecture.clone(),
            heads: whole(&format!("{architecture}.attention.head_count")),
            kv_heads: whole(&format!("{architecture}.attention.head_count_kv")),
            tensors: table
                .into_iter()
                .map(place)
                .collect::<Result<_, String>>()?,
        })
    }
}

/// Reads little-endian numbers one after the other.
struct Cursor<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count);
        let bytes = end.and_then(|end| self.file.get(self.at..end));
        let bytes = bytes.ok_or("it ends within its table")?;
        self.at += count;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, String> {
        let bytes = self.take(4)?;
        Ok(bytes
            .iter()
            .rev()
            .fold(0, |sum, &byte| sum << 8 | u32::from(byte)))
    }

    fn u64(&mut self) -> Result<u64, String> {
        let (low, high) = (self.u32()?, self.u32()?);
        Ok(u64::from(high) << 32 | u64::from(low))
    }

    fn length(&mut self) -> Result<usize, String> {
        let length = self.u64()?;
        usize::try_from(length).map_err(|_| format!("a length is {length}"))
    }

    fn text(&mut self) -> Result<String, String> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    fn value(&mut self, kind: u32, nesting: u32) -> Result<Value, String> {
        let whole = |bytes: &[u8]| {
            bytes
                .iter()
                .rev()
                .fold(0, |sum, &byte| sum << 8 | u64::from(byte))
        };
        Ok(match kind {
            // u8, i8, bool; u16, i16; u32, i32; u64, i64
            0 | 1 | 7 => Value::Whole(whole(self.take(1)?)),
            2 | 3 => Value::Whole(whole(self.take(2)?)),
            4 | 5 => Value::Whole(whole(self.take(4)?)),
            10 | 11 => Value::Whole(whole(self.take(8)?)),
            // f32, f64
            6 => self.take(4).map(|_| Value::Other)?,
            12 => self.take(8).map(|_| Value::Other)?,
            8 => Value::Text(self.text()?),
            9 if nesting > 0 => {
                let kind = self.u32()?;
                for _ in 0..self.length()? {
                    self.value(kind, nesting - 1)?;
                }
                Value::Other
            }
            other => return Err(format!("a value of its metadata has type {other}")),
        })
    }

    fn tensor(&mut self) -> Result<(String, Tensor), String> {
        let name = self.text()?;
        let dimensions = self.u32()?;
        if dimensions > MOST_DIMENSIONS {
            return Err(format!("tensor {name} has {dimensions} dimensions"));
        }
        let mut shape = Vec::new();
        for _ in 0..dimensions {
            shape.insert(0, self.length()?);
        }
        let format = Format::parse(self.u32()?, &name)?;
        let start = self.length()?;
        let total = shape
            .iter()
            .try_fold(1_usize, |product, &length| product.checked_mul(length));
        let (block, bytes) = format.block();
        let last = shape.last().copied().unwrap_or(0);
        if total.and_then(|total| total.checked_mul(bytes)).is_none() || !last.is_multiple_of(block)
        {
            return Err(format!("tensor {name} has an impossible shape {shape:?}"));
        }
        let tensor = Tensor {
            shape,
            format,
            start,
        };
        Ok((name, tensor))
    }
}

/// A block of Q6_K: 4 low bits of 256 weights, 2 high bits, 16 scales of 8 bits and one of 16.
pub(super) fn q6_k(block: &[u8]) -> [f32; 256] {
    let (low, rest) = block.split_at(128);
    let (high, rest) = rest.split_at(64);
    let (scales, scale) = rest.split_at(16);
    let scale = f16::from_le_bytes([scale[0], scale[1]]).to_f32();
    // Each half has 64 bytes of low bits and 32 of high bits for 4 runs of 32 weights.
    std::array::from_fn(|index| {
        let (half, place) = (index / 128, index % 128);
        let (run, i) = (place / 32, place % 32);
        let low = low[half * 64 + run % 2 * 32 + i] >> (run / 2 * 4) & 15;
        let high = high[half * 32 + i] >> (run * 2) & 3;
        let quant = f32::from(low | high << 4) - 32.0;
        scale * f32::from(scales[index / 16].cast_signed()) * quant
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(bytes: &mut Vec<u8>, text: &str) {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    }

    /// A file with one tensor of a format.
    fn file(format: u32) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(3_u32.to_le_bytes());
        bytes.extend(1_u64.to_le_bytes());
        bytes.extend(1_u64.to_le_bytes());
        text(&mut bytes, "general.architecture");
        bytes.extend(8_u32.to_le_bytes());
        text(&mut bytes, "qwen2");
        text(&mut bytes, "blk.0.attn_q.weight");
        bytes.extend(2_u32.to_le_bytes());
        bytes.extend(256_u64.to_le_bytes());
        bytes.extend(3_u64.to_le_bytes());
        bytes.extend(format.to_le_bytes());
        bytes.extend(64_u64.to_le_bytes());
        bytes
    }

    #[test]
    fn a_table_says_where_tensors_are() {
        let bytes = file(12);
        let header = Header::read(&bytes).unwrap();
        assert_eq!(header.architecture, "qwen2");
        let tensor = &header.tensors["blk.0.attn_q.weight"];
        assert_eq!(tensor.shape, [3, 256]);
        assert_eq!(tensor.format, Format::Q4K);
        assert_eq!(tensor.start, bytes.len().next_multiple_of(32) + 64);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |bytes: &[u8], expect: &str| {
            assert_eq!(Header::read(bytes).unwrap_err(), expect);
        };
        check(
            &file(13),
            "tensor blk.0.attn_q.weight is Q5_K, which is not supported; supported: F32, F16, \
             BF16, Q8_0, Q4_K, Q6_K",
        );
        check(b"PK\x03\x04....", "it does not begin with \"GGUF\"");
        check(&file(0)[..40], "it ends within its table");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(
            cut in 0..150_usize,
            place in 4..150_usize,
            byte: u8,
        ) {
            let mut bytes = file(12);
            let length = bytes.len();
            bytes[place % length] = byte;
            bytes.truncate(length.saturating_sub(cut % 8));
            // Either is fine.
            Header::read(&bytes).ok();
        }
    }
}
