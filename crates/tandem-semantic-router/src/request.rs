//! What the router reads of a request.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use tandem_protocol::openai::InvalidParameter;
use tandem_protocol::openai::body::JsonObject;
use tandem_protocol::openai::chat::Content;
use tandem_protocol::openai::error::from_json;
use tandem_protocol::openai::json;

use crate::cache::{CacheControl, CacheKey};
use crate::config::Identity;
use crate::header::CACHE_CONTROL;

/// A request to route.
#[derive(Debug, Clone, Copy)]
pub struct RouteRequest<'a> {
    /// Which API it is for.
    pub endpoint: Endpoint,
    /// The JSON body.
    pub body: &'a Bytes,
    /// Correlation id for logs.
    pub request_id: &'a str,
}

/// The APIs that are routed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /v1/chat/completions`.
    Chat,
    /// `POST /v1/completions`.
    Completion,
}

/// Who sent a request, as far as a proxy in front has found out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Client {
    /// The user's id.
    pub user: Option<String>,
    /// The user's groups.
    pub groups: Vec<String>,
    /// What the client showed to be let in, as a hash.
    pub credential: Option<CacheKey>,
    /// What it says about caching.
    pub cache_control: CacheControl,
}

impl Client {
    /// Reads the identity headers; `header` gives a header's value by its lower-case name.
    pub fn from_headers<'a>(identity: &Identity, header: impl Fn(&str) -> Option<&'a str>) -> Self {
        let groups = header(&identity.groups_header).unwrap_or_default();
        let groups = groups
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let user = header(&identity.user_header).map(str::trim);
        let credential = header("authorization").map(|value| CacheKey::of(&[value.as_bytes()]));
        let controls = ["cache-control", CACHE_CONTROL]
            .into_iter()
            .filter_map(&header);
        Self {
            user: user.filter(|name| !name.is_empty()).map(str::to_owned),
            groups: groups.map(str::to_owned).collect(),
            credential,
            cache_control: CacheControl::parse(controls),
        }
    }
}

/// A request body, taken apart as far as routing needs it.
#[derive(Debug)]
pub(crate) struct Prompt {
    pub(crate) body: JsonObject,
    pub(crate) model: String,
    pub(crate) stream: bool,
    /// Every text of the request, oldest first.
    pub(crate) turns: Vec<Arc<str>>,
    /// The text that signals about the question look at; empty if there is none.
    pub(crate) question: Arc<str>,
    /// The user's messages before the question, oldest first.
    pub(crate) earlier: Vec<Arc<str>>,
    pub(crate) conversation: Turns,
}

/// The form of a conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Turns {
    /// Roles of the messages, oldest first.
    pub(crate) roles: Vec<String>,
    /// Tools that the request defines.
    pub(crate) tools: usize,
    /// Parts with an image.
    pub(crate) images: usize,
}

/// The texts of a body.
#[derive(Debug, Default)]
struct Texts {
    turns: Vec<Arc<str>>,
    question: Arc<str>,
    earlier: Vec<Arc<str>>,
    conversation: Turns,
}

impl Prompt {
    /// Reads a body; the error names the member at fault.
    pub(crate) fn parse(endpoint: Endpoint, body: &[u8]) -> Result<Self, InvalidParameter> {
        let body = JsonObject::parse(body)?;
        let model = body.get::<String>("model")?;
        let model = model.ok_or_else(|| missing("model"))?;
        let stream = body.get("stream")?.unwrap_or(false);
        let texts = match endpoint {
            Endpoint::Chat => chat_texts(&body)?,
            Endpoint::Completion => completion_texts(&body)?,
        };
        Ok(Self {
            body,
            model,
            stream,
            turns: texts.turns,
            question: texts.question,
            earlier: texts.earlier,
            conversation: texts.conversation,
        })
    }
}

fn missing(member: &str) -> InvalidParameter {
    InvalidParameter::new(member, format!("`{member}` is required"))
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Option<Content>,
    #[serde(default, deserialize_with = "json::optional_list")]
    tool_calls: Option<Vec<Value>>,
}

/// All texts, and the last user message (or, without one, everything else).
fn chat_texts(body: &JsonObject) -> Result<Texts, InvalidParameter> {
    let raw = body.raw("messages").ok_or_else(|| missing("messages"))?;
    let messages: Vec<Message> = from_json(raw.get().as_bytes()).map_err(|error| {
        let path = error.param.unwrap_or_default();
        let param = format!("messages{path}");
        let message = if path.is_empty() {
            "`messages` must be an array".to_owned()
        } else {
            error
                .message
                .replacen(&format!("`{path}`"), &format!("`{param}`"), 1)
        };
        InvalidParameter::new(param, message)
    })?;
    let mut turns = Vec::with_capacity(messages.len());
    let mut users = Vec::new();
    let mut images = 0;
    for message in &messages {
        let text = message.content.as_ref().map(|content| content.text(" "));
        if let Some(text) = text.filter(|text| !text.trim().is_empty()) {
            let text: Arc<str> = text.into();
            if message.role == "user" {
                users.push(Arc::clone(&text));
            }
            turns.push(text);
        }
        if let Some(Content::Parts(parts)) = &message.content {
            let pictures = parts.iter().filter_map(|part| part["type"].as_str());
            images += pictures
                .filter(|kind| matches!(*kind, "image_url" | "input_image" | "image"))
                .count();
        }
        let calls = message.tool_calls.iter().flatten();
        let arguments = calls.filter_map(|call| call["function"]["arguments"].as_str());
        turns.extend(arguments.filter(|text| !text.is_empty()).map(Arc::from));
    }
    let question = users.pop();
    let tools: Option<Vec<IgnoredAny>> = body.get("tools").ok().flatten();
    Ok(Texts {
        question: question.unwrap_or_else(|| turns.join(" ").into()),
        turns,
        earlier: users,
        conversation: Turns {
            roles: messages.into_iter().map(|message| message.role).collect(),
            tools: tools.map_or(0, |tools| tools.len()),
            images,
        },
    })
}

fn completion_texts(body: &JsonObject) -> Result<Texts, InvalidParameter> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Prompts {
        One(String),
        Many(Vec<String>),
        /// Tokens: nothing to read.
        Tokens(IgnoredAny),
    }
    let prompt = body.get("prompt")?.ok_or_else(|| missing("prompt"))?;
    let turns: Vec<Arc<str>> = match prompt {
        Prompts::One(text) => vec![text.into()],
        Prompts::Many(texts) => texts.into_iter().map(Arc::from).collect(),
        Prompts::Tokens(_) => Vec::new(),
    };
    let question = match &turns[..] {
        [one] => Arc::clone(one),
        many => many.join(" ").into(),
    };
    Ok(Texts {
        turns,
        question,
        ..Texts::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Prompt, InvalidParameter> {
        Prompt::parse(Endpoint::Chat, body.as_bytes())
    }

    #[test]
    fn every_role_and_part_is_a_turn_and_the_last_user_message_is_the_question() {
        let prompt = parse(
            r#"{"model":"MoM","messages":[
                {"role":"system","content":"be brief"},
                {"role":"user","content":"first"},
                {"role":"assistant","content":null,"tool_calls":[{"id":"1","function":{"name":"f","arguments":"{\"a\":1}"}}]},
                {"role":"tool","content":"result"},
                {"role":"user","content":[{"type":"text","text":"second"},{"type":"image_url","image_url":{"url":"x"}},{"type":"text","text":"part"}]}]}"#,
        )
        .unwrap();
        let turns: Vec<&str> = prompt.turns.iter().map(|turn| &**turn).collect();
        assert_eq!(
            turns,
            ["be brief", "first", "{\"a\":1}", "result", "second part"]
        );
        assert_eq!(&*prompt.question, "second part");
        let earlier: Vec<&str> = prompt.earlier.iter().map(|turn| &**turn).collect();
        assert_eq!(earlier, ["first"]);
        let roles = ["system", "user", "assistant", "tool", "user"];
        assert_eq!(prompt.conversation.roles, roles);
        assert_eq!(prompt.conversation.images, 1);
    }

    #[test]
    fn members_may_have_any_name() {
        for name in [
            "$serde_json::private::RawValue",
            "$serde_json::private::Number",
        ] {
            let prompt = parse(&format!(
                r#"{{"{name}":44,"model":"m","messages":[
                    {{"role":"assistant","{name}":44,"tool_calls":[{{"{name}":44,"function":{{"arguments":"a"}}}}]}},
                    {{"role":"user","content":[{{"{name}":44,"type":"text","text":"b"}}]}}]}}"#
            ));
            let turns: Vec<String> = prompt
                .unwrap()
                .turns
                .iter()
                .map(|turn| turn.to_string())
                .collect();
            assert_eq!(turns, ["a", "b"]);
        }
    }

    #[test]
    fn the_client_is_who_the_identity_headers_say() {
        let check = |user: Option<&str>, groups: Option<&str>, want: (Option<&str>, &[&str])| {
            let client = Client::from_headers(&Identity::default(), |name| match name {
                "x-authz-user-id" => user,
                "x-authz-user-groups" => groups,
                "authorization" | "cache-control" | "x-vsr-cache-control" => None,
                _ => Some("another header"),
            });
            assert_eq!(
                client,
                Client {
                    user: want.0.map(str::to_owned),
                    groups: want.1.iter().map(|name| (*name).to_owned()).collect(),
                    ..Client::default()
                }
            );
        };
        check(None, None, (None, &[]));
        check(
            Some("ada"),
            Some("a, b,,c "),
            (Some("ada"), &["a", "b", "c"]),
        );
        check(Some(" "), Some(""), (None, &[]));
    }

    #[test]
    fn without_a_user_message_everything_is_the_question() {
        let prompt = parse(
            r#"{"model":"a","messages":[{"role":"system","content":"x"},{"role":"assistant","content":"y"}]}"#,
        );
        assert_eq!(&*prompt.unwrap().question, "x y");
    }

    #[test]
    fn errors_name_the_member() {
        let check = |body: &str, param: Option<&str>| {
            let error = parse(body).unwrap_err();
            assert_eq!(error.param.as_deref(), param, "{body}: {error}");
        };
        check("{", None);
        check("[]", None);
        check(r#"{"messages":[]}"#, Some("model"));
        check(r#"{"model":1,"messages":[]}"#, Some("model"));
        check(r#"{"model":"m"}"#, Some("messages"));
        check(r#"{"model":"m","messages":"hi"}"#, Some("messages"));
        check(
            r#"{"model":"m","messages":[{"role":1}]}"#,
            Some("messages[0].role"),
        );
        check(
            r#"{"model":"m","messages":[{"role":"user","content":7}]}"#,
            Some("messages[0].content"),
        );
        check(
            r#"{"model":"m","messages":[],"stream":"yes"}"#,
            Some("stream"),
        );
    }

    #[test]
    fn completion_prompts_may_be_text_texts_or_tokens() {
        let check = |prompt: &str, want: &[&str]| {
            let body = format!(r#"{{"model":"m","prompt":{prompt}}}"#);
            let prompt = Prompt::parse(Endpoint::Completion, body.as_bytes()).unwrap();
            let turns: Vec<&str> = prompt.turns.iter().map(|turn| &**turn).collect();
            assert_eq!(turns, want);
        };
        check(r#""hello""#, &["hello"]);
        check(r#"["a","b"]"#, &["a", "b"]);
        check("[1,2]", &[]);
        check("[[1],[2]]", &[]);
    }
}
