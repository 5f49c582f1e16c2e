//! The operator, from outside.

mod definitions;
