//! JSON as Python's `json.dumps(value, ensure_ascii=False)` writes it.
//!
//! Chat templates print tools and arguments with it, and models were trained on exactly that text:
//! a space after each comma and colon, non-ASCII characters as they are, insertion order kept.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// How to write.
#[derive(Debug, Clone, Default)]
pub(crate) struct Style {
    /// Spaces per level; `None` writes one line.
    pub(crate) indent: Option<usize>,
    /// Between items and between key and value; `None` is Python's default.
    pub(crate) separators: Option<(String, String)>,
    /// Whether to write non-ASCII characters as `\uXXXX`.
    pub(crate) ensure_ascii: bool,
}

/// Writes `value`; `None` if it has no JSON form.
pub(crate) fn to_string(value: &impl Serialize, style: &Style) -> Option<String> {
    let indent = " ".repeat(style.indent.unwrap_or(0));
    let (comma, colon) = match (&style.separators, style.indent) {
        (Some((comma, colon)), _) => (comma.as_str(), colon.as_str()),
        (None, None) => (", ", ": "),
        (None, Some(_)) => (",", ": "),
    };
    let formatter = Python {
        pretty: style
            .indent
            .map(|_| PrettyFormatter::with_indent(indent.as_bytes())),
        comma,
        colon,
        ensure_ascii: style.ensure_ascii,
    };
    let mut out = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut out, formatter);
    value.serialize(&mut serializer).ok()?;
    String::from_utf8(out).ok()
}

struct Python<'a> {
    /// Knows when to break lines.
    pretty: Option<PrettyFormatter<'a>>,
    comma: &'a str,
    colon: &'a str,
    ensure_ascii: bool,
}

impl Python<'_> {
    /// Writes what goes before an item: a comma, unless it is the first, and the line break that
    /// the pretty formatter would write.
    fn before_item<W, F>(&mut self, writer: &mut W, first: bool, line_break: F) -> io::Result<()>
    where
        W: ?Sized + io::Write,
        F: FnOnce(&mut PrettyFormatter<'_>, &mut W) -> io::Result<()>,
    {
        if !first {
            writer.write_all(self.comma.as_bytes())?;
        }
        match &mut self.pretty {
            Some(pretty) => line_break(pretty, writer),
            None => Ok(()),
        }
    }
}

impl Formatter for Python<'_> {
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match &mut self.pretty {
            Some(pretty) => pretty.begin_array(writer),
            None => writer.write_all(b"["),
        }
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match &mut self.pretty {
            Some(pretty) => pretty.end_array(writer),
            None => writer.write_all(b"]"),
        }
    }

    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.before_item(writer, first, |pretty, writer| {
            pretty.begin_array_value(writer, true)
        })
    }

    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match &mut self.pretty {
            Some(pretty) => pretty.end_array_value(writer),
            None => Ok(()),
        }
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match &mut self.pretty {
            Some(pretty) => pretty.begin_object(writer),
            None => writer.write_all(b"{"),
        }
    }

    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match &mut self.pretty {
            Some(pretty) => pretty.end_object(writer),
            None => writer.write_all(b"}"),
        }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.before_item(writer, first, |pretty, writer| {
            pretty.begin_object_key(writer, true)
        })
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(self.colon.as_bytes())
    }

    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match &mut self.pretty {
            Some(pretty) => pretty.end_object_value(writer),
            None => Ok(()),
        }
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if !self.ensure_ascii || fragment.is_ascii() {
            return writer.write_all(fragment.as_bytes());
        }
        for unit in fragment.encode_utf16() {
            match u8::try_from(unit) {
                Ok(byte) if byte.is_ascii() => writer.write_all(&[byte])?,
                _ => write!(writer, "\\u{unit:04x}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(value: &Value, style: &Style, expected: &str) {
        assert_eq!(to_string(value, style).unwrap(), expected);
    }

    /// Expected texts are what Python 3.12 prints.
    #[test]
    fn the_text_is_pythons() {
        let value = json!({"b": [1, 2.5, null, true], "a": {"é": "x\n\"\u{1f600}\u{7f}"}, "e": [], "f": {}});
        check(
            &value,
            &Style::default(),
            "{\"b\": [1, 2.5, null, true], \"a\": {\"é\": \"x\\n\\\"\u{1f600}\u{7f}\"}, \"e\": [], \"f\": {}}",
        );
        let indented = Style {
            indent: Some(2),
            ..Style::default()
        };
        check(
            &json!({"b": [1, 2], "e": [], "f": {}, "c": {"d": "x"}}),
            &indented,
            "{\n  \"b\": [\n    1,\n    2\n  ],\n  \"e\": [],\n  \"f\": {},\n  \"c\": {\n    \"d\": \"x\"\n  }\n}",
        );
        let compact = Style {
            separators: Some((",".to_owned(), ":".to_owned())),
            ensure_ascii: true,
            ..Style::default()
        };
        check(
            &json!({"é": ["\u{1f600}", "a\u{7f}"]}),
            &compact,
            "{\"\\u00e9\":[\"\\ud83d\\ude00\",\"a\u{7f}\"]}",
        );
    }
}
