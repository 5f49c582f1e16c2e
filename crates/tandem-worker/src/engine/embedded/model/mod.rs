//! The models: what a checkpoint says, its weights, and the forward pass.

mod attention;
mod checkpoint;
mod config;
mod decoder;
mod error;
mod layer;
mod random;
mod rope;
mod tensor;

pub use checkpoint::Checkpoint;
pub use config::{Family, ModelConfig, SamplingDefaults};
pub use decoder::{Batch, Decoder, Span};
pub use error::ModelError;
pub use random::RandomWeights;
pub use rope::{Rope, RopeScaling};
pub use tensor::{TensorSource, Values};
