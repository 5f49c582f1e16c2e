//! Writing a tree as YAML.

use std::fmt::Write as _;

use super::read::tree::{Node, Value};

/// The tree as one YAML document in block style.
pub(super) fn write(root: &Node) -> String {
    let mut out = String::new();
    match &root.value {
        Value::Map(entries) if !entries.is_empty() => map(&mut out, entries, 0),
        Value::List(items) if !items.is_empty() => list(&mut out, items, 0),
        other => {
            out.push_str(&scalar(other));
            out.push('\n');
        }
    }
    out
}

fn map(out: &mut String, entries: &[(String, Node)], indent: usize) {
    for (key, node) in entries {
        out.extend(std::iter::repeat_n(' ', indent));
        entry(out, key, node, indent);
    }
}

/// `key: value` and a line break; the indentation is there already.
fn entry(out: &mut String, key: &str, node: &Node, indent: usize) {
    out.push_str(&text(key));
    out.push(':');
    match &node.value {
        Value::Map(entries) if !entries.is_empty() => {
            out.push('\n');
            map(out, entries, indent + 2);
        }
        Value::List(items) if !items.is_empty() => {
            out.push('\n');
            list(out, items, indent + 2);
        }
        Value::Null => out.push('\n'),
        other => {
            writeln!(out, " {}", scalar(other)).expect("writing to a String cannot fail");
        }
    }
}

fn list(out: &mut String, items: &[Node], indent: usize) {
    for item in items {
        out.extend(std::iter::repeat_n(' ', indent));
        out.push_str("- ");
        match &item.value {
            Value::Map(entries) if !entries.is_empty() => {
                // The first entry stands beside the dash.
                let (key, node) = &entries[0];
                entry(out, key, node, indent + 2);
                map(out, &entries[1..], indent + 2);
            }
            Value::List(items) if !items.is_empty() => {
                let flow: Vec<String> = items.iter().map(|item| flow(&item.value)).collect();
                writeln!(out, "[{}]", flow.join(", ")).expect("writing to a String cannot fail");
            }
            other => {
                out.push_str(&scalar(other));
                out.push('\n');
            }
        }
    }
}

/// A value in one line.
fn flow(value: &Value) -> String {
    match value {
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| flow(&item.value)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(entries) => {
            let pair =
                |(key, node): &(String, Node)| format!("{}: {}", quoted(key), flow(&node.value));
            let entries: Vec<String> = entries.iter().map(pair).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Value::Text(text) => quoted(text),
        other => scalar(other),
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}"),
        Value::Text(value) => text(value),
        Value::List(_) => "[]".to_owned(),
        Value::Map(_) => "{}".to_owned(),
    }
}

/// Plain where no reader of YAML could take it for something else.
fn text(value: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let starts = value
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic());
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./ ()".contains(c);
    let reserved = WORDS.iter().any(|word| word.eq_ignore_ascii_case(value))
        || ["inf", "nan"]
            .iter()
            .any(|word| value.eq_ignore_ascii_case(word));
    if starts && value.chars().all(plain) && !value.ends_with(' ') && !reserved {
        return value.to_owned();
    }
    quoted(value)
}

/// JSON's form of a text is one of YAML's.
fn quoted(value: &str) -> String {
    serde_json::to_string(value).expect("a text always serialises")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The tree without its lines.
    fn bare(node: &Node) -> Node {
        let value = match &node.value {
            Value::List(items) => Value::List(items.iter().map(bare).collect()),
            Value::Map(entries) => {
                let entries = entries.iter();
                Value::Map(
                    entries
                        .map(|(key, node)| (key.clone(), bare(node)))
                        .collect(),
                )
            }
            other => other.clone(),
        };
        Node { line: 0, value }
    }

    fn nodes() -> impl Strategy<Value = Node> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            (-1_000_000..1_000_000_i64).prop_map(Value::Int),
            (-1e6..1e6_f64).prop_map(Value::Float),
            "[ -~äß首]{0,12}".prop_map(Value::Text),
            "[a-z:#'\"\\-\n]{0,6}".prop_map(Value::Text),
        ];
        let leaf = scalar.prop_map(|value| Node { line: 0, value });
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|items| Node {
                    line: 0,
                    value: Value::List(items)
                }),
                prop::collection::btree_map("[a-z$ {}.:#]{1,6}", inner, 0..4).prop_map(|entries| {
                    Node {
                        line: 0,
                        value: Value::Map(entries.into_iter().collect()),
                    }
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(root in nodes()) {
            let text = write(&root);
            let read = Node::parse(&text).map_err(|error| {
                TestCaseError::fail(format!("{error}\n{text}"))
            })?;
            prop_assert_eq!(bare(&read), root, "{}", text);
        }
    }
}
