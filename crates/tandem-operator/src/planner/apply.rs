//! Who is told how many workers there should be.

mod graph;
mod kubernetes;
mod virtual_keys;

use super::role::{PerRole, Role};

pub use kubernetes::Kubernetes;
pub use virtual_keys::VirtualKeys;

/// Who starts and stops workers.
pub enum Connector {
    /// An operator in Kubernetes.
    Kubernetes(Box<Kubernetes>),
    /// Whoever watches the planner's keys in the discovery store.
    Virtual(VirtualKeys),
}

/// How things stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Workers asked for, of each role; `None` where nobody knows.
    pub replicas: PerRole<Option<u32>>,
    /// Whether what was asked for last has happened. Until then, nothing else should be.
    pub settled: bool,
}

/// Why nothing was read or changed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The Kubernetes API did not do it; the next interval may be better.
    #[error("failed to {action}")]
    Kubernetes {
        /// What was attempted.
        action: String,
        /// Why it failed.
        source: Box<kube::Error>,
    },
    /// The graph does not say which of its services plays a role.
    #[error("failed to find the {role} workers in graph {graph}: {reason}")]
    Graph {
        /// Name of the graph.
        graph: String,
        /// Whose workers.
        role: Role,
        /// What is wrong with it.
        reason: String,
    },
    /// The discovery store did not take a key; the next interval may be better.
    #[error("failed to write the decision")]
    Discovery(#[from] tandem_runtime::discovery::DiscoveryError),
}

impl Connector {
    /// How things stand.
    ///
    /// # Errors
    /// The Kubernetes API does not answer, or the graph has not one service of each role.
    pub async fn standing(&self) -> Result<Standing, ApplyError> {
        match self {
            Self::Kubernetes(kubernetes) => kubernetes.standing().await,
            Self::Virtual(keys) => Ok(keys.standing()),
        }
    }

    /// Asks for so many workers; does not wait for them.
    ///
    /// # Errors
    /// The API or the store does not take it. Some roles may have changed.
    pub async fn scale(&self, changes: &[(Role, u32)]) -> Result<(), ApplyError> {
        match self {
            Self::Kubernetes(kubernetes) => kubernetes.scale(changes).await,
            Self::Virtual(keys) => keys.scale(changes).await,
        }
    }
}
