//! Follows the pods of a namespace for all watchers of a process.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::runtime::watcher::Config;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;

use super::access::explain;
use super::follow::follow;
use super::resource::{
    DISCOVERY_BACKEND, DISCOVERY_BACKEND_LABEL, DISCOVERY_ENABLED, DISCOVERY_ENABLED_LABEL,
    DynamoWorkerMetadata,
};
use super::view::{Registration, View, ready_pods};
use super::{ENDPOINT_SLICES, REGISTRATIONS};
use crate::discovery::DiscoveryError;
use crate::discovery::snapshots::Entries;

/// How long changes are gathered before they are told: a pod that becomes ready changes several
/// objects.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// Where a process looks.
pub(super) struct Reader {
    slices: Api<EndpointSlice>,
    registrations: Api<DynamicObject>,
    /// Name of the process's own pod.
    pod: String,
}

impl Reader {
    pub(super) fn new(client: &Client, namespace: &str, pod: &str) -> Self {
        let resource = ApiResource::erase::<DynamoWorkerMetadata>(&());
        Self {
            slices: Api::namespaced(client.clone(), namespace),
            registrations: Api::namespaced_with(client.clone(), namespace, &resource),
            pod: pod.to_owned(),
        }
    }

    /// Finds out whether this process may look.
    ///
    /// # Errors
    /// It may not, or the API server does not answer.
    pub(super) async fn admitted(&self) -> Result<(), DiscoveryError> {
        let one = ListParams::default().limit(1);
        let registrations = self.registrations.list_metadata(&one).await;
        registrations.map_err(|error| explain(&format!("list {REGISTRATIONS}"), &error))?;
        let slices = self.slices.list_metadata(&one.labels(&selector())).await;
        slices.map_err(|error| explain(&format!("list {ENDPOINT_SLICES}"), &error))?;
        Ok(())
    }

    /// Tells `states` what can be seen, until nobody listens; `own` is what this process has.
    pub(super) async fn run(
        self,
        mut own: watch::Receiver<Arc<Entries>>,
        states: watch::Sender<Arc<Entries>>,
    ) {
        let labelled = Config::default().labels(&selector());
        let mut slices = follow(self.slices, labelled, ENDPOINT_SLICES);
        let mut registrations = follow(self.registrations, Config::default(), REGISTRATIONS);
        let mut view = View::new();
        let mut due: Option<Instant> = None;
        loop {
            let told = tokio::time::sleep_until(due.unwrap_or_else(Instant::now));
            tokio::select! {
                () = states.closed() => return,
                Some(event) = slices.next() => view.slices.take(event, ready_pods),
                Some(event) = registrations.next() => {
                    view.registrations.take(event, Registration::read);
                }
                // The process waits for what it has registered itself.
                Ok(()) = own.changed() => due = Some(Instant::now()),
                () = told, if due.is_some() => {
                    due = None;
                    let seen = view.entries(&self.pod, &own.borrow_and_update());
                    states.send_if_modified(|state| {
                        let changed = **state != *seen;
                        *state = seen;
                        changed
                    });
                    continue;
                }
            }
            due.get_or_insert_with(|| Instant::now() + DEBOUNCE);
        }
    }
}

/// Selects the slices of Services whose pods are to be found.
fn selector() -> String {
    format!(
        "{DISCOVERY_BACKEND_LABEL}={DISCOVERY_BACKEND},{DISCOVERY_ENABLED_LABEL}={DISCOVERY_ENABLED}"
    )
}
