//! Makes Kubernetes match what a graph of serving components asks for, and plans how many
//! replicas it needs.
//!
//! Knows the Kubernetes API and the custom resources of NVIDIA Dynamo, and nothing of language
//! models, requests or tokens.

mod controller;
pub mod crd;
mod leader;
mod metrics;
mod operator;
pub mod planner;
pub mod reconcile;

pub use leader::Election;
pub use operator::{Operator, OperatorArgs, OperatorError, connect};
