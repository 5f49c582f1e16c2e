//! The prefill side: answers fetches from the lease table.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::BufWriter;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use super::TransferError;
use super::frame::{FetchRequest, Frame, Kind, Refusal, ReleaseRequest};
use super::lease::LeaseTable;

/// How often expired leases are looked for.
const EXPIRY_INTERVAL: Duration = Duration::from_millis(500);
/// How long a peer may take to say what it wants, or to take one block.
const PEER_PATIENCE: Duration = Duration::from_secs(10);
/// Fetches at a time; more wait in the listen queue.
const MAX_CONNECTIONS: usize = 256;

/// Serves the leased blocks until `stop`, and lets leases expire.
pub async fn serve(listener: TcpListener, leases: Arc<LeaseTable>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    let mut expiry = interval(EXPIRY_INTERVAL);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = expiry.tick() => {
                let expired = leases.expire(Instant::now());
                if expired > 0 {
                    tracing::warn!(expired, "kv blocks were not fetched before their lease ended");
                }
            }
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    let leases = Arc::clone(&leases);
                    connections.spawn(async move {
                        if let Err(error) = answer(stream, &leases).await {
                            tracing::debug!(%error, "failed to serve a kv transfer");
                        }
                    });
                }
                Err(error) => tracing::warn!(%error, "failed to accept a kv transfer connection"),
            },
        }
    }
}

async fn answer(mut stream: TcpStream, leases: &LeaseTable) -> Result<(), TransferError> {
    stream
        .set_nodelay(true)
        .map_err(TransferError::Disconnected)?;
    let frame = patient(Frame::read(&mut stream)).await?;
    match frame.kind {
        Kind::Release => {
            leases.release(&frame.parse::<ReleaseRequest>()?.handle);
            Ok(())
        }
        Kind::Fetch => send(&mut stream, leases, &frame.parse()?).await,
        Kind::Block | Kind::Done | Kind::Refused => Err(TransferError::Protocol(
            "a conversation starts with a request",
        )),
    }
}

async fn send(
    stream: &mut TcpStream,
    leases: &LeaseTable,
    request: &FetchRequest,
) -> Result<(), TransferError> {
    let found = if request.fingerprint == leases.fingerprint() {
        leases.read(&request.handle).ok_or(Refusal::UnknownHandle)
    } else {
        Err(Refusal::ModelMismatch)
    };
    let blocks = match found {
        Ok(blocks) => blocks,
        Err(refusal) => {
            return patient(Frame::json(Kind::Refused, &refusal).write(stream)).await;
        }
    };
    let mut stream = BufWriter::new(stream);
    for data in blocks.iter().skip(request.first_block) {
        patient(Frame::block(data).write(&mut stream)).await?;
    }
    patient(Frame::empty(Kind::Done).write(&mut stream)).await?;
    // A lease whose fetch breaks half-way stays until its deadline: the peer may try again.
    leases.release(&request.handle);
    Ok(())
}

async fn patient<T>(
    exchange: impl Future<Output = Result<T, TransferError>>,
) -> Result<T, TransferError> {
    timeout(PEER_PATIENCE, exchange)
        .await
        .map_err(|_| TransferError::Timeout)?
}
