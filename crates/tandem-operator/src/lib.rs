//! Makes Kubernetes match what a graph of serving components asks for, and plans how many
//! replicas it needs.
//!
//! Knows the Kubernetes API and the custom resources of NVIDIA Dynamo, and nothing of language
//! models, requests or tokens.

pub mod crd;

pub mod planner;
