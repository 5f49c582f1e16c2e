//! The instances of one endpoint, kept up to date from discovery.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use tokio::sync::watch;
use tracing::warn;

use crate::component::{EndpointId, INSTANCE_ROOT, Instance};
use crate::discovery::{Discovery, DiscoveryEvent};
use crate::lifecycle::Lifecycle;

/// Instances by id.
pub type Instances = Arc<BTreeMap<u64, Instance>>;

/// Follows the instances of one endpoint.
#[derive(Debug, Clone)]
pub struct InstanceWatch {
    current: watch::Receiver<Instances>,
}

impl InstanceWatch {
    /// Starts to follow `endpoint` until `lifecycle` ends.
    pub fn start(discovery: &dyn Discovery, endpoint: &EndpointId, lifecycle: &Lifecycle) -> Self {
        let mut events = discovery.watch(&format!("{INSTANCE_ROOT}/{endpoint}/"));
        let (sender, current) = watch::channel(Instances::default());
        lifecycle.spawn(async move {
            while let Some(event) = events.next().await {
                sender.send_modify(|instances| apply(Arc::make_mut(instances), event));
            }
        });
        Self { current }
    }

    /// The instances now.
    pub fn current(&self) -> Instances {
        Arc::clone(&self.current.borrow())
    }

    /// Waits for the next change.
    pub async fn changed(&mut self) -> Instances {
        // An error says that the watch has ended: there will be no change any more.
        if self.current.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.current()
    }
}

fn apply(instances: &mut BTreeMap<u64, Instance>, event: DiscoveryEvent) {
    match event {
        DiscoveryEvent::Put { key, value } => match serde_json::from_slice::<Instance>(&value) {
            Ok(instance) => {
                instances.insert(instance.instance_id, instance);
            }
            Err(error) => warn!(%key, %error, "skipped an instance record that does not decode"),
        },
        DiscoveryEvent::Delete { key } => {
            if let Some((_, instance_id)) = EndpointId::from_key(&key) {
                instances.remove(&instance_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::Transport;
    use crate::discovery::MemoryDiscovery;

    #[tokio::test]
    async fn follows_registrations_and_skips_bad_records() {
        let discovery = MemoryDiscovery::new();
        let lifecycle = Lifecycle::new();
        let endpoint = EndpointId::new("ns", "backend", "generate");
        let mut watch = InstanceWatch::start(&discovery, &endpoint, &lifecycle);
        let instance = Instance {
            component: "backend".to_owned(),
            endpoint: "generate".to_owned(),
            namespace: "ns".to_owned(),
            instance_id: 7,
            transport: Transport::Memory("x".to_owned()),
            direct: None,
            http: None,
        };
        discovery
            .put(endpoint.instance_key(6), "not json".into())
            .await
            .unwrap();
        let value = serde_json::to_vec(&instance).unwrap();
        discovery
            .put(endpoint.instance_key(7), value.into())
            .await
            .unwrap();
        while watch.current().is_empty() {
            watch.changed().await;
        }
        assert_eq!(watch.current().get(&7), Some(&instance));
        discovery.revoke().await.unwrap();
        while !watch.current().is_empty() {
            watch.changed().await;
        }
        lifecycle
            .stop(std::time::Duration::from_secs(1))
            .await
            .unwrap();
    }
}
