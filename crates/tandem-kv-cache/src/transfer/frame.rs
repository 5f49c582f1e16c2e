//! The frames of a transfer: length, kind, checksum, payload.
//!
//! ```text
//! u32 payload length | u8 kind | u64 xxh3 of the payload, seeded with the kind | payload
//! ```
//!
//! All numbers are little-endian. A conversation is `Fetch`, then `Block` per block and `Done`,
//! or `Refused`; or `Release` alone; or any number of `Find`, each answered with `Block` per block
//! that was found and `Done`, or with `Refused`, which ends it.

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::TransferError;
use crate::store::BlockData;

/// Largest payload that is read: far above one block of any model, far below trouble.
const MAX_PAYLOAD: usize = 256 << 20;
const HEADER_LEN: usize = 13;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Fetch,
    Block,
    Done,
    Refused,
    Release,
    Find,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Fetch => 1,
            Self::Block => 2,
            Self::Done => 3,
            Self::Refused => 4,
            Self::Release => 5,
            Self::Find => 6,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Fetch),
            2 => Some(Self::Block),
            3 => Some(Self::Done),
            4 => Some(Self::Refused),
            5 => Some(Self::Release),
            6 => Some(Self::Find),
            _ => None,
        }
    }
}

/// Payload of `Fetch`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FetchRequest {
    pub(super) handle: String,
    pub(super) fingerprint: String,
    pub(super) first_block: usize,
}

/// Payload of `Release`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ReleaseRequest {
    pub(super) handle: String,
}

/// Payload of `Refused`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Refusal {
    UnknownHandle,
    ModelMismatch,
    NotShared,
}

impl From<Refusal> for TransferError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::UnknownHandle => Self::UnknownHandle,
            Refusal::ModelMismatch => Self::ModelMismatch,
            Refusal::NotShared => Self::NotShared,
        }
    }
}

pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    pub(super) fn json(kind: Kind, body: &impl Serialize) -> Self {
        let payload = serde_json::to_vec(body).expect("plain structs of strings and numbers");
        Self { kind, payload }
    }

    pub(super) fn empty(kind: Kind) -> Self {
        let payload = Vec::new();
        Self { kind, payload }
    }

    pub(super) fn block(data: &[f32]) -> Self {
        let mut payload = vec![0; size_of_val(data)];
        for (bytes, number) in payload.chunks_exact_mut(4).zip(data) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        let kind = Kind::Block;
        Self { kind, payload }
    }

    pub(super) fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, TransferError> {
        serde_json::from_slice(&self.payload)
            .map_err(|_| TransferError::Protocol("a payload is not what its kind announces"))
    }

    /// The numbers of a `Block` frame that must have `len` of them.
    pub(super) fn numbers(&self, len: usize) -> Result<BlockData, TransferError> {
        if self.payload.len() != len * size_of::<f32>() {
            return Err(TransferError::Protocol("a block has another size"));
        }
        let bytes = self.payload.chunks_exact(4);
        Ok(bytes
            .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
            .collect())
    }

    fn header(&self) -> [u8; HEADER_LEN] {
        let code = self.kind.code();
        let length = u32::try_from(self.payload.len()).expect("blocks are far below 4 GiB");
        let mut header = [0; HEADER_LEN];
        header[..4].copy_from_slice(&length.to_le_bytes());
        header[4] = code;
        header[5..].copy_from_slice(&checksum(code, &self.payload).to_le_bytes());
        header
    }

    pub(super) async fn write(
        &self,
        stream: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), TransferError> {
        let failed = TransferError::Disconnected;
        stream.write_all(&self.header()).await.map_err(failed)?;
        stream.write_all(&self.payload).await.map_err(failed)?;
        stream.flush().await.map_err(failed)
    }

    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Self, TransferError> {
        let failed = TransferError::Disconnected;
        let mut header = [0; HEADER_LEN];
        stream.read_exact(&mut header).await.map_err(failed)?;
        let [l0, l1, l2, l3, code, hash @ ..] = header;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let kind = Kind::from_code(code).ok_or(TransferError::Protocol("unknown frame kind"))?;
        if length > MAX_PAYLOAD {
            return Err(TransferError::Protocol("a frame is too large"));
        }
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.map_err(failed)?;
        if checksum(code, &payload) != u64::from_le_bytes(hash) {
            return Err(TransferError::Checksum);
        }
        Ok(Self { kind, payload })
    }
}

fn checksum(code: u8, payload: &[u8]) -> u64 {
    xxh3_64_with_seed(payload, u64::from(code))
}
