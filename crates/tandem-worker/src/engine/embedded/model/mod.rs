//! The models: what a checkpoint says, its weights, and the forward pass.

mod adapter;
mod architecture;
mod attention;
mod checkpoint;
mod config;
mod decoder;
mod error;
mod gguf;
mod layer;
mod mapped;
mod numbers;
mod random;
mod rope;
mod tensor;
mod weights;

pub use architecture::Architecture;
pub use checkpoint::Checkpoint;
pub use config::{Activation, ModelConfig, Norms, SamplingDefaults, Scores, SlidingAttention};
pub use decoder::{Batch, Decoder, Span};
pub use error::ModelError;
pub use gguf::Gguf;
pub use numbers::Numbers;
pub use random::RandomWeights;
pub use rope::{Rope, RopeScaling};
pub use tensor::{TensorSource, Values};
pub use weights::Weights;

pub(super) use layer::{Layer, Place, norm};
pub(super) use numbers::{Blank, Plain};

pub use super::kernel::{Q4Block, Q8Block};
