//! YAML as a tree that remembers its lines.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A value and the line where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::config) struct Node {
    pub(in crate::config) line: u64,
    pub(in crate::config) value: Value,
}

/// What YAML can hold.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::config) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Reads one document; the error text names the line.
    pub(in crate::config) fn parse(text: &str) -> Result<Self, serde_saphyr::Error> {
        // As in YAML 1.2, `no` and `y` are words: a keyword, or the code of a language. Where a
        // boolean is expected, the reader takes them for one.
        let options = serde_saphyr::options! { strict_booleans: true };
        let root: Spanned<Value> = serde_saphyr::from_str_with_options(text, options)?;
        Ok(Self {
            line: root.referenced.line(),
            value: root.value,
        })
    }

    /// The value of a key, if this is a mapping that has it.
    pub(in crate::config) fn get(&self, key: &str) -> Option<&Self> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        let (_, node) = entries.iter().find(|(name, _)| name == key)?;
        Some(node)
    }
}

impl Value {
    /// What it is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or_else(|_| Value::Text(value.to_string()), Value::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element::<Spanned<Value>>()? {
            items.push(Node {
                line: item.referenced.line(),
                value: item.value,
            });
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let value = map.next_value::<Value>()?;
            let line = key.referenced.line();
            entries.push((key.value, Node { line, value }));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_keys() {
        let root = Node::parse("a: 1\nb:\n  - x: yes\n    y: 0.5\n  - 'z'\nc:\n").unwrap();
        let Value::Map(entries) = root.value else {
            panic!("not a map");
        };
        let lines: Vec<_> = entries
            .iter()
            .map(|(key, node)| (key.as_str(), node.line))
            .collect();
        assert_eq!(lines, [("a", 1), ("b", 2), ("c", 6)]);
        let Value::List(items) = &entries[1].1.value else {
            panic!("not a list");
        };
        assert_eq!(
            items[1],
            Node {
                line: 5,
                value: Value::Text("z".into())
            }
        );
        let Value::Map(first) = &items[0].value else {
            panic!("not a map");
        };
        assert_eq!(
            first[1],
            (
                "y".into(),
                Node {
                    line: 4,
                    value: Value::Float(0.5)
                }
            )
        );
        assert_eq!(entries[2].1.value, Value::Null);
    }
}
