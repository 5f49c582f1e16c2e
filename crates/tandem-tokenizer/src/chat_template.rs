//! A conversation to the prompt that the model was trained on.
//!
//! Models bring a Jinja template, written against Python's Jinja2 with the additions of Hugging
//! Face's `transformers`. This renders them the same way: see [`functions`] for the additions and
//! [`source`] for where templates are found and what is adapted in them.

mod functions;
mod messages;
mod source;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::path::{Path, PathBuf};

use minijinja::Environment;
use minijinja::value::{Serde, Value};
use serde_json::{Map, Value as Json};

use crate::Error;
use crate::control_tokens::{ControlTokens, Marks};

/// Name of the template for conversations in general.
const DEFAULT: &str = "default";
/// Name of the template for conversations with tools.
const TOOL_USE: &str = "tool_use";

/// A model's chat template, compiled.
#[derive(Debug)]
pub struct ChatTemplate {
    templates: Environment<'static>,
    special_tokens: Vec<(String, String)>,
    file: PathBuf,
}

/// What to render.
#[derive(Debug, Clone)]
pub struct Conversation<'a> {
    /// OpenAI messages.
    pub messages: &'a [Json],
    /// OpenAI tools.
    pub tools: Option<&'a [Json]>,
    /// Whether the prompt ends with the start of an answer; by default, unless the last message
    /// is the assistant's.
    pub add_generation_prompt: Option<bool>,
    /// Further variables (`chat_template_kwargs`); they win over the standard ones.
    pub variables: Option<&'a Map<String, Json>>,
    /// What `strftime_now` shows.
    pub now: jiff::Zoned,
}

impl<'a> Conversation<'a> {
    /// Messages and nothing else, now.
    pub fn new(messages: &'a [Json]) -> Self {
        Self {
            messages,
            tools: None,
            add_generation_prompt: None,
            variables: None,
            now: jiff::Zoned::now(),
        }
    }
}

impl ChatTemplate {
    /// Reads the template of a model directory.
    ///
    /// # Errors
    /// There is none, or it is not valid.
    pub fn from_dir(directory: &Path) -> Result<Self, Error> {
        source::read(directory)?.compile()
    }

    /// The prompt for a conversation.
    ///
    /// # Errors
    /// The template rejects the conversation, or fails on it.
    pub fn render(&self, conversation: &Conversation<'_>) -> Result<String, Error> {
        self.render_inputs(conversation, Inputs::of(conversation))
    }

    /// The prompt for a conversation of somebody who is not trusted, with marks in the control
    /// tokens that it spells out: see [`Tokenizer::encode_prompt`].
    ///
    /// # Errors
    /// The template rejects the conversation, or fails on it.
    ///
    /// [`Tokenizer::encode_prompt`]: crate::Tokenizer::encode_prompt
    pub fn render_marked(
        &self,
        conversation: &Conversation<'_>,
        tokens: &ControlTokens,
    ) -> Result<(String, Marks), Error> {
        let mut inputs = Inputs::of(conversation);
        let marks = tokens.mark(&mut inputs.0);
        Ok((self.render_inputs(conversation, inputs)?, marks))
    }

    fn render_inputs(
        &self,
        conversation: &Conversation<'_>,
        inputs: Inputs,
    ) -> Result<String, Error> {
        let has_tools = conversation.tools.is_some_and(|tools| !tools.is_empty());
        let template = if has_tools {
            self.templates.get_template(TOOL_USE)
        } else {
            self.templates.get_template(DEFAULT)
        };
        let template = template.or_else(|_| self.templates.get_template(DEFAULT));
        let template = template.map_err(|error| rejected(&error))?;
        let text = template.render(self.context(conversation, inputs));
        text.map_err(|error| rejected(&error))
    }

    /// The file that the template is from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    fn context(&self, conversation: &Conversation<'_>, inputs: Inputs) -> Value {
        let last = conversation.messages.last();
        let answered = last.is_some_and(|message| message["role"] == "assistant");
        let prompt = conversation.add_generation_prompt.unwrap_or(!answered);
        let Inputs([tools, messages, extra]) = inputs;
        let standard = [
            ("messages", Value::from(Serde(messages))),
            ("tools", Value::from(Serde(tools))),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(prompt)),
            (
                "strftime_now",
                functions::strftime_now(conversation.now.clone()),
            ),
        ];
        let standard = standard.map(|(name, value)| (name.to_owned(), value));
        let special = self.special_tokens.iter();
        let special = special.map(|(name, token)| (name.clone(), Value::from(token)));
        let extra = match extra {
            Json::Object(variables) => variables,
            _ => Map::new(),
        };
        let extra = extra.into_iter();
        let extra = extra.map(|(name, value)| (name, Value::from(Serde(value))));
        // Later ones replace earlier ones of the same name.
        let variables: BTreeMap<_, _> = special.chain(standard).chain(extra).collect();
        Value::from_pairs(variables)
    }
}

/// Everything that a client may choose, as templates see it: tools, messages and variables.
struct Inputs([Json; 3]);

impl Inputs {
    fn of(conversation: &Conversation<'_>) -> Self {
        let tools = conversation.tools.filter(|tools| !tools.is_empty());
        let tools = tools.map(|tools| Json::Array(messages::shape_tools(tools)));
        let variables = conversation.variables.cloned().map(Json::Object);
        Self([
            tools.unwrap_or_default(),
            Json::Array(messages::shape(conversation.messages)),
            variables.unwrap_or_default(),
        ])
    }
}

fn rejected(error: &minijinja::Error) -> Error {
    let detail = error.detail().unwrap_or_default();
    let raised = error
        .source()
        .is_some_and(|source| source.is::<functions::Raised>());
    let message = if raised {
        detail.to_owned()
    } else {
        let place = error
            .line()
            .map_or(String::new(), |line| format!(" (line {line})"));
        format!("{}: {detail}{place}", error.kind())
    };
    Error::Render { message }
}

#[cfg(test)]
mod tests;
