//! Where a model keeps its chat template, and what is adapted in it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{ChatTemplate, DEFAULT, functions};
use crate::Error;

/// Template texts of a model, before compilation.
#[derive(Debug)]
pub(super) struct Source {
    file: PathBuf,
    templates: Vec<(String, String)>,
    special_tokens: Vec<(String, String)>,
}

/// Finds the template: `chat_template.jinja`, else `chat_template` in `tokenizer_config.json`
/// (one text, or a list of named ones), else `chat_template.json`.
pub(super) fn read(directory: &Path) -> Result<Source, Error> {
    let config_file = directory.join("tokenizer_config.json");
    let config = read_json(&config_file)?.unwrap_or_default();
    let mut special_tokens = special_tokens(&config);
    if special_tokens.is_empty() {
        let map = read_json(&directory.join("special_tokens_map.json"))?;
        special_tokens = self::special_tokens(&map.unwrap_or_default());
    }
    let jinja_file = directory.join("chat_template.jinja");
    let json_file = directory.join("chat_template.json");
    let (file, templates) = if let Some(text) = read_text(&jinja_file)? {
        (jinja_file, vec![(DEFAULT.to_owned(), text)])
    } else if let Some(template) = config.get("chat_template").filter(|value| !value.is_null()) {
        let templates = named_templates(template).ok_or_else(|| Error::InvalidFile {
            path: config_file.clone(),
            message: "chat_template is neither text nor a list of named texts".to_owned(),
        })?;
        (config_file, templates)
    } else if let Some(Value::String(text)) = read_json(&json_file)?
        .unwrap_or_default()
        .get("chat_template")
    {
        (json_file, vec![(DEFAULT.to_owned(), text.clone())])
    } else {
        return Err(Error::NoChatTemplate {
            directory: directory.to_owned(),
        });
    };
    Ok(Source {
        file,
        templates,
        special_tokens,
    })
}

impl Source {
    pub(super) fn compile(self) -> Result<ChatTemplate, Error> {
        let mut environment = functions::environment();
        for (name, text) in self.templates {
            let text = without_generation_blocks(&text);
            let added = environment.add_template_owned(name, text);
            added.map_err(|error| Error::TemplateSyntax {
                path: self.file.clone(),
                line: error.line().unwrap_or(1),
                message: error.detail().unwrap_or("invalid template").to_owned(),
            })?;
        }
        Ok(ChatTemplate {
            templates: environment,
            special_tokens: self.special_tokens,
            file: self.file,
        })
    }
}

fn named_templates(template: &Value) -> Option<Vec<(String, String)>> {
    if let Value::String(text) = template {
        return Some(vec![(DEFAULT.to_owned(), text.clone())]);
    }
    let named = |entry: &Value| {
        let name = entry["name"].as_str()?.to_owned();
        Some((name, entry["template"].as_str()?.to_owned()))
    };
    template.as_array()?.iter().map(named).collect()
}

/// Every `..._token` of the configuration, written as text or as `{"content": text}`.
fn special_tokens(config: &Value) -> Vec<(String, String)> {
    let entries = config.as_object().into_iter().flatten();
    let tokens = entries.filter(|(name, _)| name.ends_with("_token"));
    let text = |value: &Value| {
        let text = value.as_str().or_else(|| value["content"].as_str());
        text.map(str::to_owned)
    };
    let tokens = tokens.filter_map(|(name, value)| Some((name.clone(), text(value)?)));
    tokens.collect()
}

/// `{% generation %}` marks what to train on, which says nothing at inference: it becomes a block
/// that is always shown. The tags keep their length, so that lines and columns stay right.
fn without_generation_blocks(template: &str) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else {
            break;
        };
        let (before, tag) = (&rest[..start], &rest[start..start + length + 2]);
        let name = tag.trim_matches(['{', '%', '}', '-', '+', ' ', '\t', '\n', '\r']);
        out.push_str(before);
        match name {
            "generation" => out.push_str(&tag.replace("generation", "if true   ")),
            "endgeneration" => out.push_str(&tag.replace("endgeneration", "endif        ")),
            _ => out.push_str(tag),
        }
        rest = &rest[start + length + 2..];
    }
    out.push_str(rest);
    out
}

fn read_text(file: &Path) -> Result<Option<String>, Error> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::Read {
            path: file.to_owned(),
            source,
        }),
    }
}

fn read_json(file: &Path) -> Result<Option<Value>, Error> {
    let Some(text) = read_text(file)? else {
        return Ok(None);
    };
    let value = serde_json::from_str(&text).map_err(|error| Error::InvalidFile {
        path: file.to_owned(),
        message: error.to_string(),
    })?;
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::without_generation_blocks;

    #[test]
    fn generation_tags_keep_their_length() {
        let template = "{%- generation -%}\nx{% endgeneration +%}{% if a %}{{ '{%' }}";
        let expected = "{%- if true    -%}\nx{% endif         +%}{% if a %}{{ '{%' }}";
        assert_eq!(without_generation_blocks(template), expected);
    }
}
