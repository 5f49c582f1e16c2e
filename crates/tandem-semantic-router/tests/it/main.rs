//! The router with the encoder that is shipped, and with the files that people have.

mod encoder;
mod files;
