//! Blocks that another worker happens to have, by what they hold.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::TransferError;
use super::client::connect;
use super::frame::{Frame, Kind, Refusal};
use crate::block::BlockIdentity;
use crate::store::BlockData;

/// Most bytes of blocks that are asked for at a time: what the other worker's engine looks up, and
/// copies from its device, between two steps.
const BYTES_AT_A_TIME: usize = 32 << 20;

/// Which blocks are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// Equal for two workers if and only if they can use each other's blocks.
    pub fingerprint: String,
    /// The blocks, those that come first in the sequence first.
    pub blocks: Vec<BlockIdentity>,
}

/// What finds blocks for other workers.
pub trait BlockSource: Send + Sync {
    /// Bytes of a block.
    fn block_bytes(&self) -> usize;

    /// Looks for blocks; the answer has those up to the first that is not here, and is closed if
    /// there is nobody to look any more. `None` if they would be of another model.
    fn find(&self, lookup: Lookup) -> Option<oneshot::Receiver<Vec<BlockData>>>;
}

/// Blocks of `block_bytes` that one [`Lookup`] may ask for.
pub(super) fn most_blocks(block_bytes: usize) -> usize {
    (BYTES_AT_A_TIME / block_bytes.max(1)).max(1)
}

/// A connection to a worker that may have blocks. It waits for answers as long as its caller does.
#[derive(Debug)]
pub struct Conversation {
    stream: TcpStream,
    block_len: usize,
}

impl Conversation {
    /// Connects to the worker at `address`, whose blocks must have `block_len` numbers.
    ///
    /// # Errors
    /// There is no connection within `patience`.
    pub async fn open(
        address: &str,
        block_len: usize,
        patience: Duration,
    ) -> Result<Self, TransferError> {
        let stream = connect(address, patience).await?;
        Ok(Self { stream, block_len })
    }

    /// Blocks that should be asked for at a time.
    pub fn most_blocks(&self) -> usize {
        most_blocks(self.block_len * size_of::<f32>())
    }

    /// Asks for blocks and hands them to `take` as they come, in order, up to the first that the
    /// worker does not have.
    ///
    /// # Errors
    /// The worker refuses, or the connection is of no use any more.
    pub async fn find(
        &mut self,
        lookup: &Lookup,
        mut take: impl FnMut(BlockData),
    ) -> Result<(), TransferError> {
        let request = Frame::json(Kind::Find, lookup);
        request.write(&mut self.stream).await?;
        let mut left = lookup.blocks.len();
        loop {
            let frame = Frame::read(&mut self.stream).await?;
            match frame.kind {
                Kind::Block if left > 0 => {
                    left -= 1;
                    take(frame.numbers(self.block_len)?);
                }
                Kind::Done => return Ok(()),
                Kind::Refused => return Err(frame.parse::<Refusal>()?.into()),
                Kind::Block => {
                    return Err(TransferError::Protocol("more blocks than were asked for"));
                }
                Kind::Fetch | Kind::Release | Kind::Find => {
                    return Err(TransferError::Protocol("a request instead of an answer"));
                }
            }
        }
    }
}
