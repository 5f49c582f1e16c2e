//! Which restart the pods of each component should belong to.

use std::collections::BTreeMap;

use super::graph::Graph;
use crate::crd::{Restart, RestartOrder, RestartPhase, RestartStatus};

/// How far a component has come with restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Whether its workloads exist.
    pub(super) exists: bool,
    /// The restart that its pods belong to.
    pub(super) restart: Option<String>,
    /// Whether all of its pods are ready and as asked for.
    pub(super) ready: bool,
}

impl Progress {
    fn is_done(&self, restart: &Restart) -> bool {
        self.ready && self.restart.as_deref() == Some(&restart.id)
    }
}

/// The restart of each component. One after another means that a component keeps its pods until
/// those of the components before it are back.
pub(super) fn restarts(
    graph: &Graph<'_>,
    progress: &BTreeMap<&str, Progress>,
) -> BTreeMap<String, String> {
    let Some(restart) = graph.restart else {
        return BTreeMap::new();
    };
    let strategy = restart.strategy.clone().unwrap_or_default();
    let mut restarts = BTreeMap::new();
    let mut blocked = false;
    for service in in_order(graph, &strategy.order) {
        let progress = progress.get(service).cloned().unwrap_or_default();
        let kept = if blocked && progress.exists {
            progress.restart.clone()
        } else {
            Some(restart.id.clone())
        };
        if let Some(id) = kept {
            restarts.insert(service.to_owned(), id);
        }
        blocked |= strategy.kind == RestartOrder::Sequential
            && progress.exists
            && !progress.is_done(restart);
    }
    restarts
}

/// How far the restart that the graph asks for has come.
pub(super) fn status(
    graph: &Graph<'_>,
    progress: &BTreeMap<&str, Progress>,
) -> Option<RestartStatus> {
    let restart = graph.restart?;
    let order = restart
        .strategy
        .as_ref()
        .map(|strategy| strategy.order.as_slice());
    let services = in_order(graph, order.unwrap_or_default());
    let in_progress: Vec<String> = services
        .into_iter()
        .filter(|service| {
            !progress
                .get(service)
                .is_some_and(|one| one.is_done(restart))
        })
        .map(str::to_owned)
        .collect();
    Some(RestartStatus {
        observed_id: restart.id.clone(),
        phase: if in_progress.is_empty() {
            RestartPhase::Completed
        } else {
            RestartPhase::Restarting
        },
        in_progress,
    })
}

/// The components, those in `order` first.
fn in_order<'a>(graph: &'a Graph<'_>, order: &[String]) -> Vec<&'a str> {
    let services: Vec<&str> = graph
        .components
        .iter()
        .map(|component| component.service.as_str())
        .collect();
    let mut ordered: Vec<&str> = order
        .iter()
        .filter_map(|name| {
            services
                .iter()
                .find(|service| **service == name.as_str())
                .copied()
        })
        .collect();
    ordered.extend(
        services
            .iter()
            .filter(|service| !order.iter().any(|name| name == *service)),
    );
    ordered
}
