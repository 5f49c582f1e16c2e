//! The keys of both layouts as data: which there are, what their values look like, and which are
//! accepted without effect. Checking a file and its JSON Schema both come from here.

mod cache;
mod cache_store;
mod flat;
mod gateway;
mod json;
mod layered;
mod parts;
mod plugins;

pub(super) use cache_store::{MILVUS, REDIS};
pub use json::json_schema;

use super::read::{Cursor, Section, closest, unknown};

/// What a value looks like.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// Anything.
    Any,
    Text,
    Bool,
    /// A whole number, and the least and most.
    Whole(i64, i64),
    /// A number, and the least and most.
    Number(f64, f64),
    /// A number of tokens, such as `4096`, `32K` or `1M`.
    Tokens,
    /// A time, such as `30s` or `500ms`, or a number of seconds.
    Time,
    /// One of some words, in any case.
    Choice(&'static [&'static str]),
    List(&'static Shape),
    /// A mapping whose keys are names that the user chose.
    Map(&'static Shape),
    Object(&'static [Field]),
    /// A shape that holds itself; the name is that of its definition in the schema.
    Named(&'static str, &'static Shape),
    /// A plugin of a decision.
    Plugin,
}

/// A key of a mapping.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) key: &'static str,
    pub(super) shape: Shape,
    /// What it is for, as a phrase.
    pub(super) doc: &'static str,
    /// Why it has no effect.
    pub(super) unused: Option<&'static str>,
    pub(super) required: bool,
}

/// A kind of plugin.
#[derive(Debug, Clone, Copy)]
pub(super) struct PluginKind {
    pub(super) name: &'static str,
    pub(super) configuration: Shape,
    /// Why it has no effect.
    pub(super) unused: Option<&'static str>,
}

pub(super) const fn field(key: &'static str, shape: Shape, doc: &'static str) -> Field {
    Field {
        key,
        shape,
        doc,
        unused: None,
        required: false,
    }
}

impl Field {
    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Accepted, and without effect because of `reason`.
    const fn unused(mut self, reason: &'static str) -> Self {
        self.unused = Some(reason);
        self
    }
}

impl Shape {
    /// A probability or a similarity.
    pub(super) const FRACTION: Self = Self::Number(0.0, 1.0);
    /// A number that is not negative.
    pub(super) const AMOUNT: Self = Self::Number(0.0, f64::MAX);
    /// A whole number that is not negative.
    pub(super) const COUNT: Self = Self::Whole(0, i64::MAX);
    /// A whole number from 1.
    pub(super) const POSITIVE: Self = Self::Whole(1, i64::MAX);
    pub(super) const PORT: Self = Self::Whole(1, 65_535);
    pub(super) const TEXTS: Self = Self::List(&Self::Text);
}

/// The keys of a file of the flat layout.
pub(super) const FLAT: &[Field] = flat::FIELDS;
/// The keys of a file of the layered layout.
pub(super) const LAYERED: &[Field] = layered::FIELDS;

/// Reports what is wrong with the keys and values of `section`, and which have no effect.
pub(super) fn check(section: &Section<'_>, fields: &[Field]) {
    for (key, cursor) in section.entries() {
        if let Some(field) = fields.iter().find(|field| field.key == key) {
            if cursor.is_null() {
                continue;
            }
            if let Some(reason) = field.unused {
                cursor.warn(format!("accepted, and has no effect because {reason}"));
                quietly(&cursor, field.shape);
            } else {
                check_value(&cursor, field.shape);
            }
            continue;
        }
        match closest(&key, fields.iter().map(|field| field.key)) {
            Some(near) => cursor.error(format!("unknown key; did you mean `{near}`?")),
            None => cursor.warn("unknown key, ignored"),
        }
    }
    for field in fields.iter().filter(|field| field.required) {
        if section.get(field.key).is_none() {
            section.at.error(format!("`{}` is missing", field.key));
        }
    }
}

/// Checks a value that has no effect: what it holds is wrong or right, but never a second warning.
fn quietly(cursor: &Cursor<'_>, shape: Shape) {
    let before = cursor.warnings();
    check_value(cursor, shape);
    cursor.forget_warnings_after(before);
}

fn check_value(cursor: &Cursor<'_>, shape: Shape) {
    match shape {
        Shape::Any => {}
        Shape::Text => {
            cursor.text();
        }
        Shape::Bool => {
            cursor.boolean();
        }
        Shape::Whole(least, most) => {
            if let Some(number) = cursor.integer()
                && !(least..=most).contains(&number)
            {
                cursor.error(bounds(least, (most < i64::MAX).then_some(most)));
            }
        }
        Shape::Number(least, most) => {
            if let Some(number) = cursor.number()
                && !(least..=most).contains(&number)
            {
                cursor.error(bounds(least, (most < f64::MAX).then_some(most)));
            }
        }
        Shape::Tokens => {
            cursor.tokens();
        }
        Shape::Time => {
            cursor.duration();
        }
        Shape::Choice(words) => {
            if let Some(word) = cursor.text()
                && !words.iter().any(|known| known.eq_ignore_ascii_case(&word))
            {
                cursor.error(unknown("value", &word, words.iter().copied()));
            }
        }
        Shape::List(items) => {
            for item in cursor.clone().list() {
                if item.is_null() {
                    item.error("the entry is empty");
                } else {
                    check_value(&item, *items);
                }
            }
        }
        Shape::Map(values) => {
            for (_, value) in cursor.clone().entries() {
                if !value.is_null() {
                    check_value(&value, *values);
                }
            }
        }
        Shape::Object(fields) => {
            if let Some(section) = cursor.clone().section() {
                check(&section, fields);
            }
        }
        Shape::Named(_, shape) => check_value(cursor, *shape),
        Shape::Plugin => {
            if let Some(section) = cursor.clone().section() {
                check_plugin(&section);
            }
        }
    }
}

fn check_plugin(section: &Section<'_>) {
    let kind = section.get("type").and_then(|cursor| cursor.text());
    let Some(kind) = kind else {
        check(section, plugins::ENVELOPE);
        return;
    };
    let Some(known) = plugins::KINDS.iter().find(|known| known.name == kind) else {
        let names = plugins::KINDS.iter().map(|known| known.name);
        section.at.error(unknown("plugin", &kind, names));
        return;
    };
    check(section, plugins::ENVELOPE);
    let configuration = section.get("configuration");
    if let Some(reason) = known.unused {
        let message = format!("plugin `{kind}` is accepted, and has no effect because {reason}");
        section.at.warn(message);
        if let Some(configuration) = configuration {
            quietly(&configuration, known.configuration);
        }
        return;
    }
    match configuration {
        Some(configuration) => check_value(&configuration, known.configuration),
        None => section.at.error("`configuration` is missing"),
    }
}

fn bounds(least: impl std::fmt::Display, most: Option<impl std::fmt::Display>) -> String {
    match most {
        Some(most) => format!("must be from {least} to {most}"),
        None => format!("must be at least {least}"),
    }
}

#[cfg(test)]
mod tests;
