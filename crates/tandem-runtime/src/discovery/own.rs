//! Discovery as a process sees it that serves its own requests.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::{BoxFuture, ready};
use futures::stream::BoxStream;

use super::{Discovery, DiscoveryError, DiscoveryEvent};
use crate::component::EndpointId;

/// Shows the instances of this process and of one component; those of others are hidden.
///
/// A process knows itself for as long as it runs: that its entries are gone, because it takes no
/// new requests or has lost the store, is hidden as well.
pub struct OwnDiscovery {
    inner: Arc<dyn Discovery>,
    component: String,
}

impl OwnDiscovery {
    /// A view of `inner` that also shows the instances of `component`.
    pub fn new(inner: Arc<dyn Discovery>, component: &str) -> Self {
        Self {
            inner,
            component: component.to_owned(),
        }
    }
}

impl Discovery for OwnDiscovery {
    fn lease(&self) -> u64 {
        self.inner.lease()
    }

    fn put(&self, key: String, value: Bytes) -> BoxFuture<'_, Result<(), DiscoveryError>> {
        self.inner.put(key, value)
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), DiscoveryError>> {
        self.inner.delete(key)
    }

    fn watch(&self, prefix: &str) -> BoxStream<'static, DiscoveryEvent> {
        let (own, component) = (self.lease(), self.component.clone());
        let shown = move |event: &DiscoveryEvent| {
            let (DiscoveryEvent::Put { key, .. } | DiscoveryEvent::Delete { key }) = event;
            ready(match EndpointId::from_key(key) {
                Some((_, id)) if id == own => matches!(event, DiscoveryEvent::Put { .. }),
                Some((endpoint, _)) => endpoint.component == component,
                None => true,
            })
        };
        self.inner.watch(prefix).filter(shown).boxed()
    }

    fn revoke(&self) -> BoxFuture<'_, Result<(), DiscoveryError>> {
        self.inner.revoke()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::MemoryDiscovery;

    #[tokio::test]
    async fn others_are_hidden_but_for_one_component() {
        let store = MemoryDiscovery::new();
        let (mine, other) = (Arc::new(store.join()), store.join());
        let view = OwnDiscovery::new(Arc::clone(&mine) as Arc<dyn Discovery>, "prefill");
        let mut events = view.watch("v1/instances/");
        let decode = EndpointId::new("ns", "backend", "generate");
        let prefill = EndpointId::new("ns", "prefill", "generate");
        let hidden = decode.instance_key(other.lease());
        let shown = prefill.instance_key(other.lease());
        let own = decode.instance_key(mine.lease());
        for key in [&hidden, &shown] {
            other.put(key.clone(), Bytes::new()).await.unwrap();
        }
        view.put(own.clone(), Bytes::new()).await.unwrap();
        view.delete(&own).await.unwrap();
        other.delete(&hidden).await.unwrap();
        other.delete(&shown).await.unwrap();
        let put = |key: &str| DiscoveryEvent::Put {
            key: key.to_owned(),
            value: Bytes::new(),
        };
        assert_eq!(events.next().await, Some(put(&shown)));
        assert_eq!(events.next().await, Some(put(&own)));
        let gone = DiscoveryEvent::Delete { key: shown };
        assert_eq!(events.next().await, Some(gone));
    }
}
