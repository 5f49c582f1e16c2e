//! The request plane inside one process: a call polls the handler's stream directly.

use std::collections::HashMap;
use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt, ready};
use futures::stream::{self, StreamExt};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{CallError, Handler, Request, RequestPlane, Responses, ServedEndpoint};
use crate::component::{EndpointId, Instance, Transport};

/// Handlers of this process by endpoint and instance.
#[derive(Default)]
pub struct MemoryRequestPlane {
    served: Mutex<HashMap<String, Served>>,
}

#[derive(Clone)]
struct Served {
    handler: Arc<dyn Handler>,
    closing: CancellationToken,
    cut: CancellationToken,
    in_flight: TaskTracker,
}

impl MemoryRequestPlane {
    /// Serves nothing yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl RequestPlane for MemoryRequestPlane {
    fn serve<'a>(
        &'a self,
        endpoint: &'a EndpointId,
        instance_id: u64,
        handler: Arc<dyn Handler>,
    ) -> BoxFuture<'a, Result<ServedEndpoint, CallError>> {
        let address = format!("{endpoint}/{instance_id:x}");
        let served = Served {
            handler,
            closing: CancellationToken::new(),
            cut: CancellationToken::new(),
            in_flight: TaskTracker::new(),
        };
        let mut all = self.served.lock();
        all.retain(|_, served| !served.closing.is_cancelled() && !served.cut.is_cancelled());
        all.insert(address.clone(), served.clone());
        ready(Ok(ServedEndpoint {
            transport: Transport::Memory(address),
            direct: None,
            closing: served.closing,
            in_flight: served.in_flight,
            cut: served.cut.drop_guard(),
        }))
        .boxed()
    }

    fn call<'a>(
        &'a self,
        instance: &'a Instance,
        request: Request,
    ) -> BoxFuture<'a, Result<Responses, CallError>> {
        let unreachable = CallError::Unreachable {
            instance_id: instance.instance_id,
        };
        let found = match &instance.transport {
            Transport::Memory(address) => self.served.lock().get(address).cloned(),
            Transport::NatsTcp(_) | Transport::TandemTcp(_) => None,
        };
        let Some(served) = found else {
            return ready(Err(unreachable)).boxed();
        };
        if served.closing.is_cancelled() || served.cut.is_cancelled() {
            return ready(Err(unreachable)).boxed();
        }
        let token = served.in_flight.token();
        let answers = served.handler.handle(request);
        let cut = served.cut;
        let lost = cut.clone();
        let responses = answers
            .map(Ok)
            .take_until(async move { cut.cancelled().await })
            .chain(
                stream::once(
                    async move { lost.is_cancelled().then_some(Err(CallError::StreamEnded)) },
                )
                .filter_map(ready),
            )
            .map(move |answer| {
                // The request counts as running until the caller lets the stream go.
                let _running = &token;
                answer
            });
        ready(Ok(responses.boxed())).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures::stream::BoxStream;
    use std::time::Duration;

    /// Answers with the request, `count` times, then waits for ever if asked to.
    struct Echo {
        count: usize,
        hang: bool,
    }

    impl Handler for Echo {
        fn handle(&self, request: Request) -> BoxStream<'static, Bytes> {
            let answers = stream::iter(vec![request.body; self.count]);
            if self.hang {
                answers.chain(stream::pending()).boxed()
            } else {
                answers.boxed()
            }
        }
    }

    fn endpoint() -> EndpointId {
        EndpointId::new("ns", "backend", "generate")
    }

    fn instance(served: &ServedEndpoint, instance_id: u64) -> Instance {
        served.instance(&endpoint(), instance_id)
    }

    #[tokio::test]
    async fn a_call_streams_the_handlers_answers() {
        let plane = MemoryRequestPlane::new();
        let served = plane
            .serve(
                &endpoint(),
                7,
                Arc::new(Echo {
                    count: 2,
                    hang: false,
                }),
            )
            .await
            .unwrap();
        let responses = plane
            .call(&instance(&served, 7), Request::new("r", "hi"))
            .await
            .unwrap();
        let all: Vec<_> = responses.collect().await;
        assert_eq!(all, [Ok("hi".into()), Ok("hi".into())]);
    }

    #[tokio::test]
    async fn a_lost_instance_ends_the_stream_with_an_error() {
        let plane = MemoryRequestPlane::new();
        let served = plane
            .serve(
                &endpoint(),
                7,
                Arc::new(Echo {
                    count: 1,
                    hang: true,
                }),
            )
            .await
            .unwrap();
        let instance = instance(&served, 7);
        let mut responses = plane
            .call(&instance, Request::new("r", "hi"))
            .await
            .unwrap();
        assert_eq!(responses.next().await, Some(Ok("hi".into())));
        drop(served);
        assert_eq!(responses.next().await, Some(Err(CallError::StreamEnded)));
        assert_eq!(responses.next().await, None);
        let again = plane.call(&instance, Request::new("r", "hi")).await.err();
        assert_eq!(again, Some(CallError::Unreachable { instance_id: 7 }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_running_requests() {
        let plane = MemoryRequestPlane::new();
        let served = plane
            .serve(
                &endpoint(),
                7,
                Arc::new(Echo {
                    count: 1,
                    hang: true,
                }),
            )
            .await
            .unwrap();
        let instance = instance(&served, 7);
        let responses = plane
            .call(&instance, Request::new("r", "hi"))
            .await
            .unwrap();
        let mut drain = Box::pin(served.drain());
        assert!(
            tokio::time::timeout(Duration::from_secs(60), &mut drain)
                .await
                .is_err()
        );
        assert!(
            plane
                .call(&instance, Request::new("r", "hi"))
                .await
                .is_err()
        );
        drop(responses);
        tokio::time::timeout(Duration::from_secs(60), drain)
            .await
            .unwrap();
    }
}
