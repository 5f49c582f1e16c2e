//! A pool of servers that register nowhere and publish nothing, such as plain vLLM: who is there is
//! found out by asking each for its health.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use tandem_kv_router::Prompt;
use tandem_protocol::kv::HashScope;
use tandem_protocol::openai::InvalidParameter;
use tandem_protocol::openai::error::from_json;
use tandem_runtime::discovery::MemoryDiscovery;
use tandem_runtime::messaging::MemoryMessaging;
use tandem_runtime::request_plane::MemoryRequestPlane;
use tandem_runtime::{Discovery, EndpointId, Instance, Lifecycle, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tracing::{info, warn};

use crate::config::RoutingArgs;
use crate::server::Planes;
use crate::worker_pool::{PoolFactory, WorkerKind, WorkerPool};

/// Time between two looks at a server.
const INTERVAL: Duration = Duration::from_secs(2);
/// Most time for a server to tell its health.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of a request that are taken for a token: about as many as English text has.
const BYTES_PER_TOKEN: usize = 4;
/// Tokens per block; vLLM's default.
const BLOCK_SIZE: usize = 16;

/// Starts to watch over `servers`; those that are healthy are the pool's workers.
pub(crate) fn start(
    args: &RoutingArgs,
    servers: &[SocketAddr],
    lifecycle: &Lifecycle,
) -> Arc<WorkerPool> {
    let store = MemoryDiscovery::new();
    let planes = Planes {
        discovery: Arc::new(store.join()),
        messaging: Arc::new(MemoryMessaging::new()),
        requests: Arc::new(MemoryRequestPlane::new()),
        namespace: None,
    };
    // Nobody tells what is cached or how busy a server is.
    let args = RoutingArgs {
        no_kv_events: true,
        busy_threshold: None,
        router_replica_sync: false,
        ..args.clone()
    };
    let endpoint = EndpointId::new("servers", "openai", "generate");
    let kind = WorkerKind {
        block_size: BLOCK_SIZE,
        total_blocks: 0,
        ranks: 1,
        prefill: false,
    };
    for server in servers {
        let watch = watch(*server, endpoint.clone(), store.join());
        lifecycle.spawn(watch);
    }
    PoolFactory::new(&args, &planes, lifecycle).start(&endpoint, kind)
}

/// The model that a body asks for, and its prompt: not tokens but bytes, which begin alike where the
/// tokens do.
pub(crate) fn read(body: &[u8], block_size: usize) -> Result<(String, Prompt), InvalidParameter> {
    #[derive(Deserialize)]
    struct Request<'a> {
        model: String,
        #[serde(borrow)]
        tools: Option<&'a RawValue>,
        #[serde(borrow)]
        messages: Option<&'a RawValue>,
        #[serde(borrow)]
        prompt: Option<&'a RawValue>,
    }
    let request: Request<'_> = from_json(body)?;
    // Templates write the tools before the conversation.
    let parts = [request.tools, request.messages, request.prompt];
    let parts = parts.into_iter().flatten();
    let bytes: Vec<u8> = parts.flat_map(|part| part.get().bytes()).collect();
    let tokens = bytes.chunks(BYTES_PER_TOKEN).map(|chunk| {
        let mut token = [0; BYTES_PER_TOKEN];
        token[..chunk.len()].copy_from_slice(chunk);
        u32::from_le_bytes(token)
    });
    let scope = HashScope {
        lora: Some(&request.model),
        cache_salt: None,
    };
    let prompt = Prompt::new(&tokens.collect::<Vec<u32>>(), block_size, scope);
    Ok((request.model, prompt))
}

/// Keeps the entry of `server` in a store that lasts as long as the pool.
async fn watch(server: SocketAddr, endpoint: EndpointId, store: MemoryDiscovery) {
    let id = store.lease();
    let (key, address) = (endpoint.instance_key(id), server.to_string());
    let instance = Instance {
        namespace: endpoint.namespace,
        component: endpoint.component,
        endpoint: endpoint.endpoint,
        instance_id: id,
        transport: Transport::Memory(address.clone()),
        direct: None,
        http: Some(address),
    };
    let mut known = None;
    loop {
        let healthy = is_healthy(server).await;
        if known != Some(healthy) {
            let changed = match healthy {
                true => store.put(key.clone(), instance.to_json()).await,
                false => store.delete(&key).await,
            };
            match changed {
                Ok(()) if healthy => info!(%server, "server is healthy"),
                Ok(()) => warn!(%server, "server is not healthy"),
                Err(error) => warn!(%server, %error, "failed to note a server's health"),
            }
            known = Some(healthy);
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Whether the server answers `/health`, and not with an error of its own.
async fn is_healthy(server: SocketAddr) -> bool {
    let asked = async {
        let mut connection = TcpStream::connect(server).await?;
        let head = format!("GET /health HTTP/1.1\r\nhost: {server}\r\nconnection: close\r\n\r\n");
        connection.write_all(head.as_bytes()).await?;
        let mut status = [0; "HTTP/1.1 2".len()];
        connection.read_exact(&mut status).await?;
        Ok::<_, std::io::Error>(status)
    };
    match tokio::time::timeout(TIMEOUT, asked).await {
        // A server that knows no such path can serve nevertheless.
        Ok(Ok(status)) => status.starts_with(b"HTTP/1.") && (b'2'..=b'4').contains(&status[9]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_begins_alike_has_the_same_first_blocks() {
        let text = "The old baker repaired the wooden door. ".repeat(8);
        let chat = |model: &str, more: &str| {
            let body = format!(
                r#"{{"model":"{model}","messages":[{{"role":"user","content":"{text}"}}{more}]}}"#
            );
            read(body.as_bytes(), BLOCK_SIZE).unwrap().1
        };
        let first = chat("m", "");
        let next = chat("m", r#",{"role":"user","content":"And then?"}"#);
        let shared = std::iter::zip(&first.blocks, &next.blocks);
        let shared = shared.take_while(|(one, other)| one == other).count();
        assert_eq!((shared, first.blocks.len()), (5, 5));
        assert!(next.tokens > first.tokens);
        let other = chat("n", "");
        assert_ne!(first.blocks[0], other.blocks[0]);
    }

    #[test]
    fn bodies_without_a_model_are_refused() {
        assert!(read(b"{", BLOCK_SIZE).is_err());
        let error = read(br#"{"prompt":"Hi"}"#, BLOCK_SIZE).unwrap_err();
        assert!(error.message.contains("model"), "{error}");
    }
}
