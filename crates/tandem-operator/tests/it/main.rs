//! The operator, from outside.

mod api_server;
mod definitions;
mod election;
mod golden;
mod harness;
mod properties;
mod scenarios;
mod trouble;
