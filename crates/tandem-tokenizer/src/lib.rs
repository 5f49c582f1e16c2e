//! Text to tokens and back: model files, model card, chat template, tokenizer, incremental
//! detokenizer, stop strings.
//!
//! This crate must not know about HTTP servers, workers or routing.

mod model_card;

mod chat_template;
mod python_json;
mod tokenizer;

mod detokenizer;
mod stop;

mod error;

pub use chat_template::{ChatTemplate, RenderRequest};
pub use detokenizer::Detokenizer;
pub use error::{ModelFilesError, TemplateError, TokenizerError};
pub use model_card::{ModelCard, ModelType, RuntimeConfig};
pub use stop::{StopMatcher, StopStep};
pub use tokenizer::{EncodedText, Tokenizer};
