//! Reading a tree field by field, so that every mistake is found in one pass.

use std::cell::RefCell;
use std::fmt::{self, Write as _};
use std::time::Duration;

use super::substitute::substitute;
use super::tree::{Node, Value};
use crate::edit_distance::edit_distance;

/// One thing that is wrong, or ignored, in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, such as `decisions[2].rules.operator`; empty for the document.
    pub path: String,
    /// Line in the file, where the parser knows it.
    pub line: Option<u64>,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(formatter, "line {line}: ")?;
        }
        if !self.path.is_empty() {
            write!(formatter, "{}: ", self.path)?;
        }
        formatter.write_str(&self.message)
    }
}

/// Everything found so far, and where `${NAME}` comes from.
pub(in crate::config) struct Report<'a> {
    errors: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    /// Names and values of the variables that the file uses.
    variables: RefCell<Vec<(String, String)>>,
}

/// Shortest value of a variable that messages hide: shorter ones are part of other words.
const SHORTEST_HIDDEN: usize = 4;

impl<'a> Report<'a> {
    pub(in crate::config) fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            errors: RefCell::default(),
            warnings: RefCell::default(),
            lookup,
            variables: RefCell::default(),
        }
    }

    /// Errors and warnings, each once, in the order of the file. What came from the environment is
    /// shown as `${NAME}`, because it may be a secret.
    pub(in crate::config) fn finish(self) -> (Vec<Problem>, Vec<Problem>) {
        let variables = self.variables.into_inner();
        let tidy = |mut problems: Vec<Problem>| {
            problems.sort_by_key(|problem| problem.line);
            for problem in &mut problems {
                for (name, value) in &variables {
                    problem.message = problem.message.replace(value, &format!("${{{name}}}"));
                }
            }
            let mut once: Vec<Problem> = Vec::with_capacity(problems.len());
            for problem in problems {
                if !once.contains(&problem) {
                    once.push(problem);
                }
            }
            once
        };
        (
            tidy(self.errors.into_inner()),
            tidy(self.warnings.into_inner()),
        )
    }

    fn variable(&self, name: &str) -> Option<String> {
        let value = (self.lookup)(name)?;
        if value.len() >= SHORTEST_HIDDEN {
            let mut variables = self.variables.borrow_mut();
            if !variables.iter().any(|(known, _)| known == name) {
                variables.push((name.to_owned(), value.clone()));
            }
        }
        Some(value)
    }
}

/// A value at a path.
#[derive(Clone)]
pub(in crate::config) struct Cursor<'a> {
    node: &'a Node,
    path: String,
    report: &'a Report<'a>,
}

impl<'a> Cursor<'a> {
    pub(in crate::config) fn root(node: &'a Node, report: &'a Report<'a>) -> Self {
        Self {
            node,
            path: String::new(),
            report,
        }
    }

    /// The value of a variable of the environment.
    pub(in crate::config) fn variable(&self, name: &str) -> Option<String> {
        self.report.variable(name)
    }

    pub(in crate::config) fn error(&self, message: impl Into<String>) {
        self.report.errors.borrow_mut().push(self.problem(message));
    }

    pub(in crate::config) fn warn(&self, message: impl Into<String>) {
        self.report
            .warnings
            .borrow_mut()
            .push(self.problem(message));
    }

    /// How many warnings there are.
    pub(in crate::config) fn warnings(&self) -> usize {
        self.report.warnings.borrow().len()
    }

    /// Drops the warnings after the first `count`.
    pub(in crate::config) fn forget_warnings_after(&self, count: usize) {
        self.report.warnings.borrow_mut().truncate(count);
    }

    fn problem(&self, message: impl Into<String>) -> Problem {
        Problem {
            path: self.path.clone(),
            line: Some(self.node.line).filter(|line| *line > 0),
            message: message.into(),
        }
    }

    fn mismatch(&self, wanted: &str) {
        let found = self.node.value.kind();
        self.error(format!("expected {wanted}, found {found}"));
    }

    pub(in crate::config) fn is_null(&self) -> bool {
        self.node.value == Value::Null
    }

    /// A mapping; anything else is an error.
    pub(in crate::config) fn section(self) -> Option<Section<'a>> {
        let Value::Map(entries) = &self.node.value else {
            self.mismatch("a mapping");
            return None;
        };
        Some(Section { at: self, entries })
    }

    /// The elements of a list; anything else is an error.
    pub(in crate::config) fn list(self) -> Vec<Self> {
        let Value::List(items) = &self.node.value else {
            self.mismatch("a list");
            return Vec::new();
        };
        let elements = items.iter().enumerate().map(|(i, node)| Self {
            node,
            path: format!("{}[{i}]", self.path),
            report: self.report,
        });
        elements.collect()
    }

    /// The entries of a mapping whose keys are names that the user chose.
    pub(in crate::config) fn entries(self) -> Vec<(String, Self)> {
        let Value::Map(entries) = &self.node.value else {
            self.mismatch("a mapping");
            return Vec::new();
        };
        let named = entries.iter().filter_map(|(key, node)| {
            let path = format!("{}.{key}", self.path);
            let report = self.report;
            let cursor = Self { node, path, report };
            let key = cursor.complete(key)?;
            Some((key, cursor))
        });
        named.collect()
    }

    /// A text, `${NAME}` replaced. Numbers and booleans are read as their text.
    pub(in crate::config) fn text(&self) -> Option<String> {
        let text = match &self.node.value {
            Value::Text(text) => text,
            Value::Int(number) => return Some(number.to_string()),
            Value::Float(number) => return Some(number.to_string()),
            Value::Bool(value) => return Some(value.to_string()),
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.mismatch("a text");
                return None;
            }
        };
        self.complete(text)
    }

    /// `text` with `${NAME}` replaced.
    fn complete(&self, text: &str) -> Option<String> {
        match substitute(text, |name| self.variable(name)) {
            Ok(text) => Some(text),
            Err(error) => {
                self.error(error.to_string());
                None
            }
        }
    }

    pub(in crate::config) fn boolean(&self) -> Option<bool> {
        match &self.node.value {
            Value::Bool(value) => return Some(*value),
            Value::Text(_) => match self.text()?.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => return Some(true),
                "false" | "no" | "off" => return Some(false),
                _ => {}
            },
            _ => {}
        }
        self.mismatch("true or false");
        None
    }

    #[allow(
        clippy::cast_precision_loss,
        reason = "settings are far below 2^53, where the cast is exact"
    )]
    pub(in crate::config) fn number(&self) -> Option<f64> {
        match &self.node.value {
            Value::Int(number) => return Some(*number as f64),
            Value::Float(number) => return Some(*number),
            Value::Text(_) => {
                if let Ok(number) = self.text()?.parse() {
                    return Some(number);
                }
            }
            _ => {}
        }
        self.mismatch("a number");
        None
    }

    /// A number of tokens: `4096`, `32K` or `1M`; a K is 1,000.
    pub(in crate::config) fn tokens(&self) -> Option<u64> {
        let text = self.text()?;
        let (digits, unit) = match text.char_indices().last() {
            Some((at, 'k' | 'K')) => (&text[..at], 1e3),
            Some((at, 'm' | 'M')) => (&text[..at], 1e6),
            _ => (text.as_str(), 1.0),
        };
        let number = digits
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|number| *number >= 0.0);
        let Some(number) = number else {
            self.error(format!(
                "`{text}` is not a number of tokens such as 4096, 32K or 1M"
            ));
            return None;
        };
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the number is not negative, and a float cast saturates"
        )]
        Some((number * unit) as u64)
    }

    /// A time: `30s`, `500ms`, `2m`, `1h`, or a number of seconds.
    pub(in crate::config) fn duration(&self) -> Option<Duration> {
        let text = self.text()?;
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let scale = match &text[digits.len()..] {
            "" | "s" => 1.0,
            "ms" => 1e-3,
            "m" => 60.0,
            "h" => 3600.0,
            _ => f64::NAN,
        };
        let seconds = digits.trim().parse::<f64>().map(|number| number * scale);
        let time = seconds
            .ok()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        if time.is_none() {
            self.error(format!("`{text}` is not a time such as 500ms, 30s or 5m"));
        }
        time
    }

    pub(in crate::config) fn integer(&self) -> Option<i64> {
        match &self.node.value {
            Value::Int(number) => return Some(*number),
            Value::Text(_) => {
                if let Ok(number) = self.text()?.parse() {
                    return Some(number);
                }
            }
            _ => {}
        }
        self.mismatch("a whole number");
        None
    }
}

/// A mapping. Its keys have been checked against the shape of the layout before it is read.
#[derive(Clone)]
pub(in crate::config) struct Section<'a> {
    pub(in crate::config) at: Cursor<'a>,
    entries: &'a [(String, Node)],
}

impl<'a> Section<'a> {
    /// The value of `key`; `None` when absent or empty.
    pub(in crate::config) fn get(&self, key: &'static str) -> Option<Cursor<'a>> {
        let (_, node) = self.entries.iter().find(|(name, _)| name == key)?;
        let found = !matches!(node.value, Value::Null);
        found.then(|| self.child(key, node))
    }

    /// Every key with its value.
    pub(in crate::config) fn entries(&self) -> Vec<(String, Cursor<'a>)> {
        let entries = self.entries.iter();
        entries
            .map(|(key, node)| (key.clone(), self.child(key, node)))
            .collect()
    }

    pub(in crate::config) fn text(&self, key: &'static str) -> Option<String> {
        self.get(key)?.text()
    }

    /// A text that must be there and not be empty.
    pub(in crate::config) fn required(&self, key: &'static str) -> Option<String> {
        let Some(cursor) = self.get(key) else {
            self.at.error(format!("`{key}` is missing"));
            return None;
        };
        let text = cursor.text()?;
        if text.is_empty() {
            cursor.error("must not be empty");
        }
        Some(text).filter(|text| !text.is_empty())
    }

    pub(in crate::config) fn boolean(&self, key: &'static str) -> Option<bool> {
        self.get(key)?.boolean()
    }

    pub(in crate::config) fn integer(&self, key: &'static str) -> Option<i64> {
        self.get(key)?.integer()
    }

    /// A probability or a similarity: 0 to 1.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a value from 0 to 1 loses only digits that no threshold needs"
    )]
    pub(in crate::config) fn fraction(&self, key: &'static str) -> Option<f32> {
        let cursor = self.get(key)?;
        let number = cursor.number()?;
        if !(0.0..=1.0).contains(&number) {
            cursor.error("must be from 0 to 1");
            return None;
        }
        Some(number as f32)
    }

    pub(in crate::config) fn duration(&self, key: &'static str) -> Option<Duration> {
        self.get(key)?.duration()
    }

    pub(in crate::config) fn section(&self, key: &'static str) -> Option<Section<'a>> {
        self.get(key)?.section()
    }

    pub(in crate::config) fn list(&self, key: &'static str) -> Vec<Cursor<'a>> {
        self.get(key).map(Cursor::list).unwrap_or_default()
    }

    pub(in crate::config) fn texts(&self, key: &'static str) -> Vec<String> {
        let items = self.list(key);
        items.iter().filter_map(Cursor::text).collect()
    }

    /// One of `options` by name, ignoring case.
    pub(in crate::config) fn choice<T: Copy>(
        &self,
        key: &'static str,
        options: &[(&str, T)],
    ) -> Option<T> {
        let cursor = self.get(key)?;
        let text = cursor.text()?;
        let found = options
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(&text));
        if found.is_none() {
            let names = options.iter().map(|(name, _)| *name);
            cursor.error(unknown("value", &text, names));
        }
        found.map(|(_, value)| *value)
    }

    fn child(&self, key: &str, node: &'a Node) -> Cursor<'a> {
        let path = if self.at.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.at.path)
        };
        Cursor {
            node,
            path,
            report: self.at.report,
        }
    }
}

/// "unknown decision `x`; did you mean `y`?", or the list of what there is.
pub(in crate::config) fn unknown<'a>(
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> String {
    let mut message = format!("unknown {what} `{name}`");
    if let Some(near) = closest(name, known.clone()) {
        write!(message, "; did you mean `{near}`?").expect("writing to a String cannot fail");
        return message;
    }
    let names: Vec<_> = known.collect();
    if names.is_empty() {
        write!(message, "; none is defined").expect("writing to a String cannot fail");
    } else {
        write!(message, "; use one of: {}", names.join(", "))
            .expect("writing to a String cannot fail");
    }
    message
}

/// The name that a person most likely meant.
pub(in crate::config) fn closest<'a>(
    name: &str,
    known: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let most = (name.chars().count() / 3).clamp(1, 3);
    let name = name.to_lowercase();
    known
        .map(|candidate| (edit_distance(&name, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_name_is_a_likely_typo_only() {
        let known = ["priority", "plugins", "name", "modelRefs"];
        let check = |name: &str, want: Option<&str>| {
            assert_eq!(closest(name, known.into_iter()), want, "{name}");
        };
        check("prioritty", Some("priority"));
        check("plugin", Some("plugins"));
        check("modelrefs", Some("modelRefs"));
        check("nmae", None);
        check("nam", Some("name"));
        check("jailbreak_mapping_path", None);
    }
}
