use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tandem_runtime::request_plane::{
    CallError, Handler, NetworkOptions, NetworkRequestPlane, Preference, Request, Responses,
    ServedEndpoint,
};
use tandem_runtime::{EndpointId, Instance, Lifecycle, RequestPlane};

use crate::messaging::client;
use crate::servers::Server;

const BOTH: [Preference; 2] = [Preference::Direct, Preference::Nats];

/// Answers `"count"` with that many numbers, and hangs after them if the request says so.
struct Counter {
    running: Arc<AtomicUsize>,
}

struct Running(Arc<AtomicUsize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Handler for Counter {
    fn handle(&self, request: Request) -> BoxStream<'static, Bytes> {
        assert_eq!(request.id, "the-id");
        assert_eq!(request.traceparent.as_deref(), Some("the-span"));
        let text = String::from_utf8(request.body.to_vec()).unwrap();
        let (count, hang) = match text.strip_suffix('+') {
            Some(count) => (count.to_owned(), true),
            None => (text, false),
        };
        self.running.fetch_add(1, Ordering::SeqCst);
        let running = Running(Arc::clone(&self.running));
        let count: usize = count.parse().unwrap();
        let numbers = stream::iter((0..count).map(|i| Bytes::from(i.to_string())));
        let tail = if hang {
            stream::pending().boxed()
        } else {
            stream::empty().boxed()
        };
        numbers
            .chain(tail)
            .map(move |answer| {
                let _running = &running;
                answer
            })
            .boxed()
    }
}

struct Pair {
    caller: NetworkRequestPlane,
    served: Option<ServedEndpoint>,
    instance: Instance,
    running: Arc<AtomicUsize>,
    worker: Lifecycle,
}

fn plane(
    client: async_nats::Client,
    preference: Preference,
    of: &Lifecycle,
) -> NetworkRequestPlane {
    let options = NetworkOptions {
        host: IpAddr::V4(Ipv4Addr::LOCALHOST),
        preference,
    };
    NetworkRequestPlane::new(Some(client), options, of)
}

async fn pair(server: &Server, preference: Preference) -> Pair {
    let worker = Lifecycle::new();
    let running = Arc::new(AtomicUsize::new(0));
    let endpoint = EndpointId::new("ns", "backend", "generate");
    let serving = plane(client(server).await, preference, &worker);
    let handler = Arc::new(Counter {
        running: Arc::clone(&running),
    });
    let served = serving.serve(&endpoint, 0x1f, handler).await.unwrap();
    let instance = served.instance(&endpoint, 0x1f);
    worker.spawn(async move {
        let _serving = serving;
        std::future::pending::<()>().await;
    });
    Pair {
        caller: plane(client(server).await, preference, &Lifecycle::new()),
        served: Some(served),
        instance,
        running,
        worker,
    }
}

impl Pair {
    async fn call(&self, request: &'static str) -> Result<Responses, CallError> {
        let request = Request {
            traceparent: Some("the-span".to_owned()),
            ..Request::new("the-id", request)
        };
        let call = self.caller.call(&self.instance, request);
        tokio::time::timeout(Duration::from_secs(20), call)
            .await
            .unwrap()
    }

    async fn idle(&self) {
        for _ in 0..500 {
            if self.running.load(Ordering::SeqCst) == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the worker was not told");
    }
}

async fn next(responses: &mut Responses) -> Option<Result<Bytes, CallError>> {
    tokio::time::timeout(Duration::from_secs(20), responses.next())
        .await
        .unwrap()
}

#[tokio::test]
async fn answers_come_whole_and_in_order() {
    let Some(server) = Server::nats().await else {
        return;
    };
    for preference in BOTH {
        let pair = pair(&server, preference).await;
        assert_eq!(
            serde_json::to_value(&pair.instance.transport).unwrap(),
            serde_json::json!({"nats_tcp": "ns_backend.generate-1f"})
        );
        for _ in 0..3 {
            let answers: Vec<_> = pair.call("20000").await.unwrap().collect().await;
            assert_eq!(answers.len(), 20000);
            for (i, answer) in answers.into_iter().enumerate() {
                assert_eq!(answer.unwrap(), i.to_string());
            }
        }
        let none: Vec<_> = pair.call("0").await.unwrap().collect().await;
        assert!(none.is_empty());
    }
}

#[tokio::test]
async fn letting_go_of_an_answer_stops_the_work() {
    let Some(server) = Server::nats().await else {
        return;
    };
    for preference in BOTH {
        let pair = pair(&server, preference).await;
        let mut answers = pair.call("1+").await.unwrap();
        assert_eq!(next(&mut answers).await, Some(Ok("0".into())));
        assert_eq!(pair.running.load(Ordering::SeqCst), 1);
        drop(answers);
        pair.idle().await;
    }
}

#[tokio::test]
async fn a_worker_that_dies_ends_its_answers_with_an_error() {
    let Some(server) = Server::nats().await else {
        return;
    };
    for preference in BOTH {
        let mut pair = pair(&server, preference).await;
        let mut answers = pair.call("1+").await.unwrap();
        assert_eq!(next(&mut answers).await, Some(Ok("0".into())));
        drop(pair.served.take());
        assert_eq!(next(&mut answers).await, Some(Err(CallError::StreamEnded)));
        assert_eq!(next(&mut answers).await, None);
        let again = pair.call("1").await.err();
        assert_eq!(again, Some(CallError::Unreachable { instance_id: 0x1f }));
    }
}

#[tokio::test]
async fn a_process_that_is_gone_is_noticed_at_once() {
    let Some(server) = Server::nats().await else {
        return;
    };
    for preference in BOTH {
        let pair = pair(&server, preference).await;
        // An idle connection to it must not deceive.
        let answers: Vec<_> = pair.call("3").await.unwrap().collect().await;
        assert_eq!(answers.len(), 3);
        pair.worker.stop(Duration::from_secs(5)).await.unwrap();
        let started = std::time::Instant::now();
        let again = pair.call("1").await.err();
        assert_eq!(again, Some(CallError::Unreachable { instance_id: 0x1f }));
        assert!(started.elapsed() < Duration::from_secs(6), "{preference:?}");
    }
}

#[tokio::test]
async fn a_drain_refuses_new_requests_and_waits_for_the_running_ones() {
    let Some(server) = Server::nats().await else {
        return;
    };
    for preference in BOTH {
        let mut pair = pair(&server, preference).await;
        let mut answers = pair.call("1+").await.unwrap();
        assert_eq!(next(&mut answers).await, Some(Ok("0".into())));
        let served = pair.served.take().unwrap();
        let mut drain = Box::pin(served.drain());
        let early = tokio::time::timeout(Duration::from_millis(500), &mut drain).await;
        assert!(early.is_err());
        let refused = pair.call("1").await.err();
        assert_eq!(refused, Some(CallError::Unreachable { instance_id: 0x1f }));
        drop(answers);
        tokio::time::timeout(Duration::from_secs(15), drain)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_worker_whose_protocol_is_unknown_is_called_over_nats() {
    let Some(mut server) = Server::nats().await else {
        return;
    };
    let mut pair = pair(&server, Preference::Direct).await;
    pair.instance.direct.as_mut().unwrap().versions = vec![u16::MAX];
    let answers: Vec<_> = pair.call("5").await.unwrap().collect().await;
    assert_eq!(answers.len(), 5);
    server.stop();
    let refused = pair.call("5").await.err();
    assert_eq!(refused, Some(CallError::Unreachable { instance_id: 0x1f }));
}

#[tokio::test]
async fn direct_calls_need_no_nats() {
    let Some(mut server) = Server::nats().await else {
        return;
    };
    let pair = pair(&server, Preference::Direct).await;
    server.stop();
    for _ in 0..2 {
        let answers: Vec<_> = pair.call("5").await.unwrap().collect().await;
        assert_eq!(answers.len(), 5);
    }
}
