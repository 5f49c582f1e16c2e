//! Chat templates: Jinja as Hugging Face's `apply_chat_template` runs it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, context};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde_json::{Map, Value as Json};
use tandem_protocol::openai::chat::{Content, Message};

use crate::error::{ModelFilesError, TemplateError};
use crate::python_json;

/// Marks errors that the template raised on purpose.
const RAISED: &str = "raise_exception: ";
/// Name of the only template, or of the one for conversations without tools.
const DEFAULT: &str = "default";
/// Name of the template for conversations with tools, where a model has two.
const TOOL_USE: &str = "tool_use";

/// A model's chat template, parsed once.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    special_tokens: BTreeMap<&'static str, String>,
}

/// A conversation to render.
#[derive(Debug, Clone, Copy)]
pub struct RenderRequest<'a> {
    /// The turns.
    pub messages: &'a [Message],
    /// Tool descriptions.
    pub tools: Option<&'a [Json]>,
    /// Extra variables; they win over the standard ones.
    pub kwargs: Option<&'a Map<String, Json>>,
}

impl ChatTemplate {
    /// Reads the template of the model in `directory`.
    ///
    /// # Errors
    /// There is none, or it does not parse.
    pub fn from_dir(directory: &Path) -> Result<Self, TemplateError> {
        let config_path = directory.join("tokenizer_config.json");
        let config = read_config(&config_path)?;
        let file = directory.join("chat_template.jinja");
        let (path, templates) = if file.exists() {
            let text = fs::read_to_string(&file).map_err(|source| ModelFilesError::Unreadable {
                path: file.clone(),
                source,
            })?;
            (file, vec![(DEFAULT.to_owned(), text)])
        } else {
            (config_path, templates_of(config.get("chat_template")))
        };
        if templates.is_empty() {
            return Err(TemplateError::NoTemplate {
                directory: directory.to_owned(),
            });
        }
        Self::new(templates, special_tokens(&config), &path)
    }

    fn new(
        templates: Vec<(String, String)>,
        special_tokens: BTreeMap<&'static str, String>,
        path: &Path,
    ) -> Result<Self, TemplateError> {
        let mut environment = environment().map_err(|error| syntax(path, &error))?;
        for (name, source) in templates {
            environment
                .add_template_owned(name, without_generation_tags(&source))
                .map_err(|error| syntax(path, &error))?;
        }
        Ok(Self {
            environment,
            special_tokens,
        })
    }

    /// The prompt for a conversation.
    ///
    /// # Errors
    /// The template refuses the conversation, or fails on it.
    pub fn render(&self, request: &RenderRequest<'_>) -> Result<String, TemplateError> {
        let has_tools = request.tools.is_some_and(|tools| !tools.is_empty());
        let template = (has_tools.then(|| self.environment.get_template(TOOL_USE).ok()))
            .flatten()
            .map_or_else(|| self.environment.get_template(DEFAULT), Ok)
            .map_err(|error| render_error(&error))?;
        let messages: Vec<Json> = request.messages.iter().map(shaped).collect();
        // An assistant turn at the end is to be continued, every other turn to be answered.
        let answer = request
            .messages
            .last()
            .is_none_or(|last| last.role != "assistant");
        let mut variables: BTreeMap<&str, Value> = self
            .special_tokens
            .iter()
            .map(|(name, token)| (*name, Value::from(token.as_str())))
            .collect();
        variables.insert("messages", Value::from(Serde(&messages)));
        variables.insert("add_generation_prompt", Value::from(answer));
        let tools = request.tools.filter(|_| has_tools);
        variables.insert(
            "tools",
            tools.map_or(Value::from(()), |tools| Value::from(Serde(tools))),
        );
        for (name, value) in request.kwargs.into_iter().flatten() {
            variables.insert(name, Value::from(Serde(value)));
        }
        template
            .render(context! { ..Value::from(Serde(&variables)) })
            .map_err(|error| render_error(&error))
    }
}

fn read_config(path: &Path) -> Result<Json, ModelFilesError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Json::Null),
        Err(source) => {
            return Err(ModelFilesError::Unreadable {
                path: path.to_owned(),
                source,
            });
        }
    };
    serde_json::from_str(&text).map_err(|error| ModelFilesError::Invalid {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// One template, or a list of named ones.
fn templates_of(config: Option<&Json>) -> Vec<(String, String)> {
    match config {
        Some(Json::String(text)) => vec![(DEFAULT.to_owned(), text.clone())],
        Some(Json::Array(list)) => list
            .iter()
            .filter_map(|one| {
                Some((
                    one["name"].as_str()?.to_owned(),
                    one["template"].as_str()?.to_owned(),
                ))
            })
            .collect(),
        _ => Vec::new(),
    }
}

/// A token is a string, or an object with its text in `content`.
fn special_tokens(config: &Json) -> BTreeMap<&'static str, String> {
    ["bos_token", "eos_token", "unk_token", "pad_token"]
        .into_iter()
        .filter_map(|name| {
            let token = &config[name];
            let text = token.as_str().or_else(|| token["content"].as_str())?;
            Some((name, text.to_owned()))
        })
        .collect()
}

/// Text parts become one string, as most templates only know strings; other parts pass.
fn shaped(message: &Message) -> Json {
    let mut value = serde_json::to_value(message).unwrap_or(Json::Null);
    let only_text = |parts: &[Json]| parts.iter().all(|part| part["type"] == "text");
    match &message.content {
        Some(content @ Content::Parts(parts)) if only_text(parts) => {
            value["content"] = Json::String(content.text("\n"));
        }
        None => {
            value["content"] = Json::Null;
        }
        _ => {}
    }
    value
}

/// `{% generation %}` marks the trainable part of a training text; for a prompt it has no meaning.
fn without_generation_tags(source: &str) -> String {
    let mut text = source.to_owned();
    for (tag, replacement) in [("endgeneration", "endif"), ("generation", "if true")] {
        for (open, close) in [("{%", "%}"), ("{%-", "%}"), ("{%", "-%}"), ("{%-", "-%}")] {
            text = text.replace(
                &format!("{open} {tag} {close}"),
                &format!("{open} {replacement} {close}"),
            );
        }
    }
    text
}

fn environment() -> Result<Environment<'static>, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(
        SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()?,
    );
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_filter("tojson", tojson);
    environment.add_filter("fromjson", fromjson);
    Ok(environment)
}

fn raise_exception(message: &str) -> Result<Value, Error> {
    Err(Error::new(
        ErrorKind::InvalidOperation,
        format!("{RAISED}{message}"),
    ))
}

fn strftime_now(format: &str) -> Result<String, Error> {
    let now = jiff::Zoned::now();
    jiff::fmt::strtime::format(format, &now)
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
}

fn tojson(value: &Value, indent: Option<usize>, kwargs: Kwargs) -> Result<Value, Error> {
    let named: Option<usize> = kwargs.get("indent")?;
    // Python's other options do not change what models are trained on.
    for ignored in ["ensure_ascii", "separators", "sort_keys"] {
        drop(kwargs.get::<Option<Value>>(ignored)?);
    }
    kwargs.assert_all_used()?;
    python_json::dumps(value, indent.or(named))
        .map(Value::from_safe_string)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))
}

fn fromjson(value: &Value) -> Result<Value, Error> {
    if value.kind() != ValueKind::String {
        return Ok(value.clone());
    }
    let text = value.as_str().unwrap_or_default();
    serde_json::from_str::<Json>(text)
        .map(|json| Value::from(Serde(&json)))
        .map_err(|error| Error::new(ErrorKind::CannotDeserialize, error.to_string()))
}

fn syntax(path: &Path, error: &Error) -> TemplateError {
    TemplateError::Syntax {
        path: PathBuf::from(path),
        reason: error.to_string(),
    }
}

fn render_error(error: &Error) -> TemplateError {
    match error
        .detail()
        .and_then(|detail| detail.strip_prefix(RAISED))
    {
        Some(message) => TemplateError::Refused(message.to_owned()),
        None => TemplateError::Render(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
