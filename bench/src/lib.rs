//! What the benches share: a clock of wall and CPU time, and the measured engines.

pub mod candle;
pub mod clock;
pub mod gguf;
pub mod shape;
pub mod tandem;
