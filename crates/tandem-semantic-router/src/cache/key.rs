//! What makes two requests the same.

use std::fmt;

use serde_json::value::RawValue;
use tandem_protocol::openai::body::JsonObject;

use crate::request::Endpoint;

/// Members of a request that say who asks and how it is billed, and cannot change the answer.
/// Everything else counts, `stream` too: its answer has another form.
const WITHOUT_EFFECT: &[&str] = &[
    "user",
    "metadata",
    "store",
    "safety_identifier",
    "prompt_cache_key",
    "service_tier",
];

/// Names a request, or all requests that differ in their last question only. A cryptographic hash:
/// nobody can make two requests that share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; 16]);

/// Who may share an answer, and what gave it.
#[derive(Debug, Clone)]
pub(crate) struct Partition {
    /// Whose answers these are.
    pub(crate) tenant: String,
    pub(crate) endpoint: Endpoint,
    pub(crate) decision: Option<String>,
    pub(crate) model: String,
    /// Where the model runs.
    pub(crate) address: Option<String>,
    /// How the answer was looked at: what one policy lets pass, another may not.
    pub(crate) scan: Option<String>,
}

/// The keys of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    /// Of the whole request.
    pub(crate) exact: Key,
    /// Of what surrounds the last question, where that can be told apart.
    pub(crate) around: Option<Around>,
}

/// A request without its last question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Around {
    pub(crate) rest: Key,
    pub(crate) question: String,
}

impl Key {
    /// The key of some texts.
    pub(crate) fn of(parts: &[&[u8]]) -> Self {
        let mut writer = Writer::new("texts");
        for part in parts {
            writer.part(part);
        }
        writer.finish()
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The key of these bytes.
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Reads what [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 16];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl Keys {
    /// The keys of a request as it is sent on; `None` if the body is not an object.
    pub(crate) fn of(partition: &Partition, body: &[u8]) -> Option<Self> {
        let body = JsonObject::parse(body).ok()?;
        let names = sorted_names(&body);
        let mut exact = Writer::new("request");
        exact.partition(partition);
        for name in &names {
            exact.member(name, body.raw(name)?.get());
        }
        Some(Self {
            exact: exact.finish(),
            around: around(partition, &body, &names),
        })
    }
}

fn sorted_names(body: &JsonObject) -> Vec<&str> {
    let counted = body.names().filter(|name| !WITHOUT_EFFECT.contains(name));
    let mut names: Vec<&str> = counted.collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Only a conversation that ends with a plain question of the user has a last question. With tools
/// the answer may be an act, which a similar question must not repeat.
fn around(partition: &Partition, body: &JsonObject, names: &[&str]) -> Option<Around> {
    if partition.endpoint != Endpoint::Chat
        || names.contains(&"tools")
        || names.contains(&"functions")
    {
        return None;
    }
    let messages: Vec<Box<RawValue>> = body.get("messages").ok()??;
    let (last, earlier) = messages.split_last()?;
    let last = JsonObject::parse(last.get().as_bytes()).ok()?;
    if last.get::<String>("role").ok()?.as_deref() != Some("user") {
        return None;
    }
    let question: String = last.get("content").ok()??;
    let mut rest = Writer::new("around");
    rest.partition(partition);
    for name in names.iter().filter(|name| **name != "messages") {
        rest.member(name, body.raw(name)?.get());
    }
    for message in earlier {
        rest.member("message", message.get());
    }
    for name in last.names().filter(|name| *name != "content") {
        rest.member(name, last.raw(name)?.get());
    }
    Some(Around {
        rest: rest.finish(),
        question,
    })
}

/// Writes parts so that no two lists of parts read the same.
struct Writer(blake3::Hasher);

impl Writer {
    fn new(purpose: &str) -> Self {
        let mut writer = Self(blake3::Hasher::new());
        writer.part(purpose.as_bytes());
        writer
    }

    fn part(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn partition(&mut self, partition: &Partition) {
        let endpoint = match partition.endpoint {
            Endpoint::Chat => "chat",
            Endpoint::Completion => "completion",
        };
        for part in [&partition.tenant, endpoint, &partition.model] {
            self.part(part.as_bytes());
        }
        for part in [&partition.decision, &partition.address, &partition.scan] {
            self.part(&[u8::from(part.is_some())]);
            self.part(part.as_deref().unwrap_or_default().as_bytes());
        }
    }

    fn member(&mut self, name: &str, value: &str) {
        self.part(name.as_bytes());
        self.part(&compact(value));
    }

    fn finish(self) -> Key {
        let mut key = [0; 16];
        key.copy_from_slice(&self.0.finalize().as_bytes()[..16]);
        Key(key)
    }
}

/// JSON without the white space between its values. The order of members stays: a model reads a
/// tool's description in the order in which it is written.
fn compact(json: &str) -> Vec<u8> {
    let mut kept = Vec::with_capacity(json.len());
    let (mut quoted, mut escaped) = (false, false);
    for byte in json.bytes() {
        if quoted {
            (quoted, escaped) = (escaped || byte != b'"', !escaped && byte == b'\\');
        } else if byte.is_ascii_whitespace() {
            continue;
        } else {
            quoted = byte == b'"';
        }
        kept.push(byte);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> Partition {
        Partition {
            tenant: "t".to_owned(),
            endpoint: Endpoint::Chat,
            decision: Some("d".to_owned()),
            model: "m".to_owned(),
            address: None,
            scan: None,
        }
    }

    fn keys(body: &str) -> Keys {
        Keys::of(&partition(), body.as_bytes()).unwrap()
    }

    const BASE: &str = r#"{"model":"m","temperature":0,"messages":[{"role":"system","content":"s"},{"role":"user","content":"q"}]}"#;

    #[test]
    fn the_form_of_the_json_and_who_is_billed_do_not_count() {
        for same in [
            r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"q"}],"model":"m","temperature":0}"#,
            r#"{ "model" : "m", "temperature": 0, "messages":[ {"role":"system","content":"s"}, {"role":"user","content":"q"} ] }"#,
            r#"{"model":"m","user":"u","metadata":{"a":"b"},"temperature":0,"messages":[{"role":"system","content":"s"},{"role":"user","content":"q"}]}"#,
        ] {
            assert_eq!(keys(same), keys(BASE), "{same}");
        }
    }

    #[test]
    fn everything_else_counts() {
        let base = keys(BASE);
        for (from, to, same_rest) in [
            ("\"q\"", "\"Q\"", true),
            ("\"q\"", "\" q\"", true),
            ("\"s\"", "\"s \"", false),
            ("\"temperature\":0", "\"temperature\":1", false),
            (
                "\"temperature\":0",
                "\"temperature\":0,\"stream\":true",
                false,
            ),
            ("\"temperature\":0", "\"temperature\":0,\"seed\":1", false),
            ("\"role\":\"system\"", "\"role\":\"developer\"", false),
            (
                "{\"role\":\"user\"",
                "{\"name\":\"n\",\"role\":\"user\"",
                false,
            ),
        ] {
            let other = keys(&BASE.replace(from, to));
            assert_ne!(other.exact, base.exact, "{to}");
            let rest = |keys: &Keys| keys.around.as_ref().map(|around| around.rest);
            assert_eq!(rest(&other) == rest(&base), same_rest, "{to}");
        }
    }

    #[test]
    fn every_part_of_the_partition_counts() {
        type Edit = fn(&mut Partition);
        let edits: [Edit; 6] = [
            |one| one.tenant = "u".to_owned(),
            |one| one.endpoint = Endpoint::Completion,
            |one| one.decision = Some("e".to_owned()),
            |one| one.decision = None,
            |one| one.model = "n".to_owned(),
            |one| one.address = Some(String::new()),
        ];
        let mut seen = vec![keys(BASE).exact];
        for edit in edits {
            let mut other = partition();
            edit(&mut other);
            let key = Keys::of(&other, BASE.as_bytes()).unwrap().exact;
            assert!(!seen.contains(&key), "{other:?}");
            seen.push(key);
        }
    }

    #[test]
    fn only_a_plain_last_question_without_tools_can_be_similar() {
        let check = |body: &str, want: Option<&str>| {
            let around = keys(body).around;
            assert_eq!(
                around.as_ref().map(|one| one.question.as_str()),
                want,
                "{body}"
            );
        };
        check(BASE, Some("q"));
        check(
            r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#,
            None,
        );
        check(
            r#"{"messages":[{"role":"user","content":[{"type":"text","text":"q"}]}]}"#,
            None,
        );
        check(
            r#"{"messages":[{"role":"user","content":"q"}],"tools":[]}"#,
            None,
        );
        check(r#"{"messages":[]}"#, None);
        check(r#"{"prompt":"q"}"#, None);
    }

    #[test]
    fn white_space_in_texts_counts_and_between_values_does_not() {
        assert_eq!(
            compact(r#"{ "a b" : [ 1 , "x \" y \\" ] }"#),
            br#"{"a b":[1,"x \" y \\"]}"#
        );
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        let key = Key::of(&[b"a", b"b"]);
        assert_eq!(Key::parse(&key.to_string()), Some(key));
        assert_ne!(key, Key::of(&[b"ab", b""]));
        for wrong in [
            "",
            "0",
            "zz000000000000000000000000000000",
            "ééééééééééééééé",
        ] {
            assert_eq!(Key::parse(wrong), None, "{wrong}");
        }
    }
}
