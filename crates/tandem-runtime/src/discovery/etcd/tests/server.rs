//! A host of the simulation that speaks etcd's API.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};
use turmoil::net::{TcpListener, TcpStream};

use super::store::{Changes, Store};
use crate::discovery::etcd::client::api;
use api::kv_server::{Kv, KvServer};
use api::lease_server::{Lease, LeaseServer};
use api::watch_server::{Watch, WatchServer};
use api::{LeaseKeepAliveRequest, LeaseKeepAliveResponse, WatchRequest, WatchResponse};

pub(super) const PORT: u16 = 2379;
/// How often the store looks for what has happened.
const STEP: Duration = Duration::from_millis(50);

/// Serves `store` until the host crashes.
pub(super) async fn serve(store: Arc<Mutex<Store>>) -> turmoil::Result {
    store.lock().restart(now());
    let listener = TcpListener::bind(("0.0.0.0", PORT)).await?;
    let connections = stream::unfold(listener, |listener| async {
        let accepted = listener.accept().await;
        Some((accepted.map(|(stream, _)| Accepted(stream)), listener))
    });
    let etcd = Etcd {
        store: Arc::clone(&store),
    };
    let serving = tonic::transport::Server::builder()
        .add_service(KvServer::new(etcd.clone()))
        .add_service(LeaseServer::new(etcd.clone()))
        .add_service(WatchServer::new(etcd))
        .serve_with_incoming(connections);
    let expiring = async {
        loop {
            tokio::time::sleep(STEP).await;
            store.lock().expire(now());
        }
    };
    tokio::select! {
        ended = serving => Ok(ended?),
        () = expiring => Ok(()),
    }
}

/// The time of the simulation, which is that of every host.
fn now() -> Duration {
    turmoil::sim_elapsed().unwrap()
}

#[derive(Clone)]
struct Etcd {
    store: Arc<Mutex<Store>>,
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Kv for Etcd {
    async fn range(&self, request: Request<api::RangeRequest>) -> Answer<api::RangeResponse> {
        let request = request.into_inner();
        let store = self.store.lock();
        Ok(Response::new(api::RangeResponse {
            header: store.header(),
            kvs: store.range(&request.key, &request.range_end),
        }))
    }

    async fn put(&self, _request: Request<api::PutRequest>) -> Answer<api::PutResponse> {
        Err(Status::unimplemented("discovery writes in transactions"))
    }

    async fn delete_range(
        &self,
        request: Request<api::DeleteRangeRequest>,
    ) -> Answer<api::DeleteRangeResponse> {
        let mut store = self.store.lock();
        store.delete(&request.into_inner().key);
        let header = store.header();
        Ok(Response::new(api::DeleteRangeResponse { header }))
    }

    async fn txn(&self, request: Request<api::TxnRequest>) -> Answer<api::TxnResponse> {
        let mut store = self.store.lock();
        let succeeded = store
            .transact(request.into_inner())
            .ok_or_else(|| Status::not_found("requested lease not found"))?;
        Ok(Response::new(api::TxnResponse {
            header: store.header(),
            succeeded,
            responses: Vec::new(),
        }))
    }
}

#[tonic::async_trait]
impl Lease for Etcd {
    async fn lease_grant(
        &self,
        request: Request<api::LeaseGrantRequest>,
    ) -> Answer<api::LeaseGrantResponse> {
        let request = request.into_inner();
        let ttl = Duration::from_secs(request.ttl.unsigned_abs());
        let mut store = self.store.lock();
        let id = store
            .grant(request.id, ttl, now())
            .ok_or_else(|| Status::failed_precondition("lease already exists"))?;
        Ok(Response::new(api::LeaseGrantResponse {
            header: store.header(),
            id,
            ttl: request.ttl,
            error: String::new(),
        }))
    }

    async fn lease_revoke(
        &self,
        request: Request<api::LeaseRevokeRequest>,
    ) -> Answer<api::LeaseRevokeResponse> {
        let mut store = self.store.lock();
        store.revoke(request.into_inner().id);
        let header = store.header();
        Ok(Response::new(api::LeaseRevokeResponse { header }))
    }

    type LeaseKeepAliveStream = BoxStream<'static, Result<LeaseKeepAliveResponse, Status>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Answer<Self::LeaseKeepAliveStream> {
        let store = Arc::clone(&self.store);
        let renewed = request.into_inner().map(move |request| {
            let id = request?.id;
            let mut store = store.lock();
            Ok(LeaseKeepAliveResponse {
                header: store.header(),
                id,
                ttl: store.renew(id, now()),
            })
        });
        Ok(Response::new(renewed.boxed()))
    }
}

#[tonic::async_trait]
impl Watch for Etcd {
    type WatchStream = BoxStream<'static, Result<WatchResponse, Status>>;

    async fn watch(&self, request: Request<Streaming<WatchRequest>>) -> Answer<Self::WatchStream> {
        let mut requests = request.into_inner();
        let first = requests
            .message()
            .await?
            .and_then(|first| first.request_union);
        let Some(api::watch_request::RequestUnion::CreateRequest(create)) = first else {
            return Err(Status::invalid_argument("no watch to create"));
        };
        let store = Arc::clone(&self.store);
        let from = create.start_revision;
        let news = stream::unfold(Some(from), move |from| {
            let (store, create) = (Arc::clone(&store), create.clone());
            async move {
                let Some(from) = from else {
                    // The stream stays open, in case there were other watches.
                    return std::future::pending().await;
                };
                loop {
                    tokio::time::sleep(STEP).await;
                    let store = store.lock();
                    let mut response = WatchResponse {
                        header: store.header(),
                        ..WatchResponse::default()
                    };
                    match store.changes(from, &create.key, &create.range_end) {
                        Changes::Known(events) if events.is_empty() => {}
                        Changes::Known(events) => {
                            response.events = events;
                            return Some((Ok(response), Some(store.revision() + 1)));
                        }
                        Changes::Compacted(revision) => {
                            response.canceled = true;
                            response.compact_revision = revision;
                            return Some((Ok(response), None));
                        }
                    }
                }
            }
        });
        Ok(Response::new(news.boxed()))
    }
}

/// A connection as the server wants it.
struct Accepted(TcpStream);

impl Connected for Accepted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
