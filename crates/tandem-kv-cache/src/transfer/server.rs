//! The side that has the blocks: answers fetches from the lease table, and lookups from what is there.

use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::BufWriter;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use super::TransferError;
use super::find::{BlockSource, Lookup, most_blocks};
use super::frame::{FetchRequest, Frame, Kind, Refusal, ReleaseRequest};
use super::lease::LeaseTable;
use crate::store::BlockData;

/// How often expired leases are looked for.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(500);
/// How long a peer may take to say what it wants, or to take one block.
const PEER_PATIENCE: Duration = Duration::from_secs(10);
/// Fetches at a time; more wait in the listen queue.
const MAX_CONNECTIONS: usize = 256;

/// What a worker gives to others.
#[derive(Clone, Default)]
pub struct Offer {
    /// Blocks of prompts that it computed for somebody.
    pub leases: Option<Arc<LeaseTable>>,
    /// Blocks that it has anyway.
    pub blocks: Option<Arc<dyn BlockSource>>,
}

impl fmt::Debug for Offer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Offer")
            .field("leases", &self.leases)
            .field("blocks", &self.blocks.is_some())
            .finish()
    }
}

/// Serves what is offered until `stop`, and lets leases expire.
pub async fn serve(listener: TcpListener, offer: Offer, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    let mut expiry = interval(EXPIRY_INTERVAL);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = expiry.tick() => {
                let leases = offer.leases.as_ref();
                let expired = leases.map_or(0, |leases| leases.expire(Instant::now()));
                if expired > 0 {
                    tracing::warn!(expired, "kv blocks were not fetched before their lease ended");
                }
            }
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    let offer = offer.clone();
                    connections.spawn(async move {
                        if let Err(error) = answer(stream, &offer).await {
                            tracing::debug!(%error, "failed to serve a kv transfer");
                        }
                    });
                }
                Err(error) => tracing::warn!(%error, "failed to accept a kv transfer connection"),
            },
        }
    }
}

async fn answer(mut stream: TcpStream, offer: &Offer) -> Result<(), TransferError> {
    stream
        .set_nodelay(true)
        .map_err(TransferError::Disconnected)?;
    let mut frame = patient(Frame::read(&mut stream)).await?;
    loop {
        match frame.kind {
            Kind::Release => {
                let request: ReleaseRequest = frame.parse()?;
                if let Some(leases) = &offer.leases {
                    leases.release(&request.handle);
                }
                return Ok(());
            }
            Kind::Fetch => return send_leased(&mut stream, offer, &frame.parse()?).await,
            Kind::Find => {
                if !send_found(&mut stream, offer, frame.parse()?).await? {
                    return Ok(());
                }
            }
            Kind::Block | Kind::Done | Kind::Refused => {
                return Err(TransferError::Protocol(
                    "a conversation starts with a request",
                ));
            }
        }
        frame = match patient(Frame::read(&mut stream)).await {
            Ok(frame) => frame,
            Err(TransferError::Disconnected(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
    }
}

async fn send_leased(
    stream: &mut TcpStream,
    offer: &Offer,
    request: &FetchRequest,
) -> Result<(), TransferError> {
    let Some(leases) = &offer.leases else {
        return refuse(stream, Refusal::UnknownHandle).await;
    };
    if request.fingerprint != leases.fingerprint() {
        return refuse(stream, Refusal::ModelMismatch).await;
    }
    let Some(blocks) = leases.read(&request.handle) else {
        return refuse(stream, Refusal::UnknownHandle).await;
    };
    send(stream, blocks.iter().skip(request.first_block)).await?;
    // A lease whose fetch breaks half-way stays until its deadline: the peer may try again.
    leases.release(&request.handle);
    Ok(())
}

/// Sends what is there of the blocks that were asked for. False if it will not.
async fn send_found(
    stream: &mut TcpStream,
    offer: &Offer,
    mut lookup: Lookup,
) -> Result<bool, TransferError> {
    let Some(source) = &offer.blocks else {
        return refuse(stream, Refusal::NotShared).await.map(|()| false);
    };
    lookup.blocks.truncate(most_blocks(source.block_bytes()));
    let Some(found) = source.find(lookup) else {
        return refuse(stream, Refusal::ModelMismatch).await.map(|()| false);
    };
    let found = timeout(PEER_PATIENCE, found).await;
    // Without an engine, there are no blocks.
    let blocks = found
        .map_err(|_| TransferError::Timeout)?
        .unwrap_or_default();
    send(stream, blocks.iter()).await?;
    Ok(true)
}

async fn send(
    stream: &mut TcpStream,
    blocks: impl Iterator<Item = &BlockData>,
) -> Result<(), TransferError> {
    let mut stream = BufWriter::new(stream);
    for data in blocks {
        patient(Frame::block(data).write(&mut stream)).await?;
    }
    patient(Frame::empty(Kind::Done).write(&mut stream)).await
}

async fn refuse(stream: &mut TcpStream, refusal: Refusal) -> Result<(), TransferError> {
    patient(Frame::json(Kind::Refused, &refusal).write(stream)).await
}

async fn patient<T>(
    exchange: impl Future<Output = Result<T, TransferError>>,
) -> Result<T, TransferError> {
    timeout(PEER_PATIENCE, exchange)
        .await
        .map_err(|_| TransferError::Timeout)?
}
