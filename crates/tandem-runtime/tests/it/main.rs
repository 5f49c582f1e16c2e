//! The planes over real etcd and NATS servers, and over a Kubernetes API of our own.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod api_server;
mod credentials;
mod discovery;
mod faults;
mod file_discovery;
mod kubernetes_discovery;
mod messaging;
mod requests;
mod servers;
