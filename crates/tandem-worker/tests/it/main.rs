//! The embedded engine against its reference and against itself.

mod models;
mod support;
