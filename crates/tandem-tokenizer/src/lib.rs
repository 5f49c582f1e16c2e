//! Text to tokens and back.
//!
//! [`hub::resolve`] turns what a user calls a model into a directory; [`ModelCard`] is what a
//! worker publishes about it; [`ChatTemplate`] and [`Tokenizer`] turn a conversation into tokens;
//! [`Detokenizer`] and [`StopMatcher`] turn generated tokens into the text that a client sees.
//!
//! This crate must not know about engines, transports or the shape of HTTP answers.

pub mod hub;
pub mod model_card;

mod chat_template;
mod control_tokens;
mod detokenizer;
mod error;
mod pieces;
mod python_json;
mod stop;
mod tokenizer;

pub use chat_template::{ChatTemplate, Conversation};
pub use control_tokens::{ControlTokens, Marks};
pub use detokenizer::Detokenizer;
pub use error::{Error, HubError};
pub use hub::HubOptions;
pub use model_card::ModelCard;
pub use stop::{StopMatcher, StopStep};
pub use tokenizer::{Encoding, Tokenizer};
