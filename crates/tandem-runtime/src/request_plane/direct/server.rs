//! Takes requests for every endpoint of this process on one port.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::mux::{Event, Mux, MuxStream, Open, Opened, Side};
use crate::lifecycle::Lifecycle;
use crate::request_plane::Request;
use crate::request_plane::net::{self, Network};
use crate::request_plane::serving::Served;

/// The port, and who answers there.
pub(super) struct DirectServer {
    address: SocketAddr,
    endpoints: Arc<Endpoints>,
    lifecycle: Lifecycle,
}

struct Endpoints {
    served: Mutex<HashMap<String, Served>>,
    /// Whether no endpoint takes requests any more.
    leaving: watch::Sender<bool>,
}

impl DirectServer {
    /// Listens on any free port of `host`.
    pub(super) async fn start<N: Network>(
        network: &N,
        host: IpAddr,
        lifecycle: &Lifecycle,
    ) -> std::io::Result<Self> {
        let (listener, address) = network.listen(SocketAddr::new(host, 0)).await?;
        let endpoints = Arc::new(Endpoints {
            served: Mutex::default(),
            leaving: watch::Sender::new(false),
        });
        let (known, tasks) = (Arc::clone(&endpoints), lifecycle.clone());
        let serve = move |reader, writer| {
            let (mux, opened) = Mux::start((reader, writer), Side::Worker, "a caller", &tasks);
            converse(mux, opened, Arc::clone(&known), tasks.clone())
        };
        lifecycle.spawn(net::serve(
            network.clone(),
            listener,
            lifecycle.clone(),
            serve,
        ));
        Ok(Self {
            address,
            endpoints,
            lifecycle: lifecycle.clone(),
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn add(&self, name: String, served: Served) {
        let closing = served.closing.clone();
        self.endpoints.served.lock().insert(name, served);
        self.endpoints.update();
        let endpoints = Arc::clone(&self.endpoints);
        self.lifecycle.spawn(async move {
            closing.cancelled().await;
            endpoints.update();
        });
    }
}

impl Endpoints {
    /// Forgets endpoints that are gone, and tells callers whether they should leave.
    fn update(&self) {
        let mut served = self.served.lock();
        served.retain(|_, served| !served.cut.is_cancelled());
        let leaving = served.values().all(|served| served.closing.is_cancelled());
        drop(served);
        self.leaving.send_replace(leaving);
    }

    fn find(&self, name: &str) -> Option<Served> {
        self.served.lock().get(name).cloned()
    }
}

/// Answers what a caller asks, until its connection ends.
async fn converse(mux: Mux, mut opened: Opened, endpoints: Arc<Endpoints>, tasks: Lifecycle) {
    let mut leaving = endpoints.leaving.subscribe();
    let mut told = false;
    loop {
        tokio::select! {
            biased;
            stream = opened.recv() => match stream {
                Some((open, stream)) => {
                    let endpoints = Arc::clone(&endpoints);
                    tasks.spawn(async move { answer(open, stream, &endpoints).await });
                }
                None => return,
            },
            left = leaving.wait_for(|leaving| *leaving), if !told => {
                drop(left);
                told = true;
                mux.go_away();
            }
        }
    }
}

async fn answer(open: Open, mut stream: MuxStream, endpoints: &Endpoints) {
    let Some(served) = endpoints.find(&open.endpoint) else {
        stream.refuse("no such endpoint here", true).await;
        return;
    };
    let _running = served.in_flight.token();
    if served.closing.is_cancelled() || served.cut.is_cancelled() {
        stream.refuse("the worker is leaving", true).await;
        return;
    }
    let Some(Event::Message(body)) = stream.next().await else {
        return;
    };
    let request = Request {
        id: open.request_id,
        body,
        encoding: open.encoding,
        traceparent: (!open.traceparent.is_empty()).then_some(open.traceparent),
    };
    stream.accept();
    let answers = served.handler.handle(request);
    served
        .cut
        .run_until_cancelled_owned(send(stream, answers))
        .await;
}

async fn send(mut stream: MuxStream, mut answers: BoxStream<'static, Bytes>) {
    loop {
        let answer = tokio::select! {
            biased;
            answer = answers.next() => answer,
            // A caller that has sent its request can only let go.
            _ = stream.next() => return,
        };
        let Some(answer) = answer else { break };
        if stream.send(answer).await.is_err() {
            return;
        }
    }
    drop(answers);
    stream.end().await;
}
