//! The decode side: fetches the blocks that a ticket names.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::frame::{FetchRequest, Frame, Kind, Refusal, ReleaseRequest};
use super::{FetchTimeouts, Ticket, TransferError};
use crate::store::BlockData;

/// Which blocks of a ticket are wanted, and what they must look like.
#[derive(Debug, Clone, Copy)]
pub struct FetchPlan<'a> {
    /// Identifies the model and block shape of this worker.
    pub fingerprint: &'a str,
    /// Numbers per block.
    pub block_len: usize,
    /// Blocks before this one are here already.
    pub first_block: usize,
    /// How long to wait.
    pub timeouts: FetchTimeouts,
}

/// Fetches the blocks of `ticket` from `plan.first_block` on. The lease ends with it.
pub async fn fetch(ticket: &Ticket, plan: FetchPlan<'_>) -> Result<Vec<BlockData>, TransferError> {
    if ticket.fingerprint != plan.fingerprint {
        return Err(TransferError::ModelMismatch);
    }
    let patience = plan.timeouts.frame;
    let mut stream = connect(&ticket.address, plan.timeouts.connect).await?;
    let request = FetchRequest {
        handle: ticket.handle.clone(),
        fingerprint: plan.fingerprint.to_owned(),
        first_block: plan.first_block,
    };
    let request = Frame::json(Kind::Fetch, &request);
    within(patience, request.write(&mut stream)).await?;
    let expected = ticket.blocks.saturating_sub(plan.first_block);
    let mut blocks = Vec::new();
    loop {
        let frame = within(patience, Frame::read(&mut stream)).await?;
        match frame.kind {
            Kind::Block if blocks.len() < expected => blocks.push(frame.numbers(plan.block_len)?),
            Kind::Done if blocks.len() == expected => return Ok(blocks),
            Kind::Refused => return Err(frame.parse::<Refusal>()?.into()),
            Kind::Block | Kind::Done => {
                return Err(TransferError::Protocol(
                    "another number of blocks than announced",
                ));
            }
            Kind::Fetch | Kind::Release | Kind::Find => {
                return Err(TransferError::Protocol("a request instead of an answer"));
            }
        }
    }
}

/// Tells the prefill worker that the blocks of `ticket` are not wanted; without it they stay
/// pinned until the lease ends.
pub async fn release(ticket: &Ticket, timeouts: FetchTimeouts) -> Result<(), TransferError> {
    let mut stream = connect(&ticket.address, timeouts.connect).await?;
    let handle = ticket.handle.clone();
    let request = Frame::json(Kind::Release, &ReleaseRequest { handle });
    within(timeouts.frame, request.write(&mut stream)).await
}

pub(super) async fn connect(address: &str, patience: Duration) -> Result<TcpStream, TransferError> {
    let unreachable = |source| TransferError::Unreachable {
        address: address.to_owned(),
        source,
    };
    let stream = timeout(patience, TcpStream::connect(address))
        .await
        .map_err(|_| unreachable(std::io::ErrorKind::TimedOut.into()))?
        .map_err(unreachable)?;
    stream
        .set_nodelay(true)
        .map_err(TransferError::Disconnected)?;
    Ok(stream)
}

async fn within<T>(
    patience: Duration,
    exchange: impl Future<Output = Result<T, TransferError>>,
) -> Result<T, TransferError> {
    timeout(patience, exchange)
        .await
        .map_err(|_| TransferError::Timeout)?
}
