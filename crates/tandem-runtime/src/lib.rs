//! Makes processes find and call each other: the component model, discovery, messaging, the
//! request plane and the life of a process.
//!
//! This crate must know nothing of language models: what it carries are keys, subjects and bytes.
//! Every outside service (etcd, NATS) sits behind a trait here, and each trait has an in-memory
//! implementation with the same semantics, so that one process needs no outside service at all.

pub mod component;
pub mod discovery;
pub mod http;
pub mod instances;
pub mod lifecycle;
pub mod messaging;
pub mod nats;
pub mod openmetrics;
pub mod request_plane;
pub mod secret;
#[cfg(test)]
mod simulation;
pub mod system;
pub mod telemetry;
pub mod tls;

pub use component::{EndpointId, Instance, TcpAddress, Transport};
pub use discovery::Discovery;
pub use instances::InstanceWatch;
pub use lifecycle::Lifecycle;
pub use messaging::Messaging;
pub use request_plane::RequestPlane;
pub use secret::Secret;
