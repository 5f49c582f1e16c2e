//! The JSON messages inside the frames, as Dynamo 0.6.1 has them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Asks the other side to let the request go at once.
pub(super) const KILL: &str = "\"kill\"";
/// Asks the other side to end early.
pub(super) const STOP: &str = "\"stop\"";
/// Ends an answer.
pub(super) const SENTINEL: &str = "\"sentinel\"";
/// The last data frame of an answer.
pub(super) const FINAL: &str = r#"{"data":null,"complete_final":true}"#;

/// Header of a request over NATS: where the answer goes.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Control {
    pub(super) id: String,
    pub(super) request_type: String,
    pub(super) response_type: String,
    pub(super) connection_info: ConnectionInfo,
}

/// How the worker reaches the caller.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ConnectionInfo {
    pub(super) transport: String,
    /// A [`DialBack`] as JSON text.
    pub(super) info: String,
}

/// The connection that the caller waits for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct DialBack {
    pub(super) address: String,
    pub(super) subject: String,
    pub(super) context: String,
    pub(super) stream_type: String,
}

/// First frame of a worker that dials back.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Handshake {
    pub(super) subject: String,
    pub(super) stream_type: String,
}

/// Says whether there will be an answer.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Prologue {
    pub(super) error: Option<String>,
    /// Whether another instance should be tried. Our own addition: other readers skip it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) unavailable: bool,
}

/// Body of an answer frame.
#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(default)]
    complete_final: bool,
}

/// What an answer frame says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    Data(Bytes),
    Final,
    Nothing,
}

impl Control {
    pub(super) fn new(request_id: &str, address: &str, subject: &str) -> Self {
        let dial_back = DialBack {
            address: address.to_owned(),
            subject: subject.to_owned(),
            context: request_id.to_owned(),
            stream_type: "response".to_owned(),
        };
        Self {
            id: request_id.to_owned(),
            request_type: "single_in".to_owned(),
            response_type: "many_out".to_owned(),
            connection_info: ConnectionInfo {
                transport: "tcp_server".to_owned(),
                info: json(&dial_back),
            },
        }
    }
}

/// Wraps one answer.
pub(super) fn wrap(data: &[u8]) -> Bytes {
    let (before, after) = (br#"{"data":"#, br#","complete_final":false}"#);
    [before, data, after].concat().into()
}

/// Unwraps one answer without copying it.
pub(super) fn unwrap(body: &Bytes) -> Result<Part, serde_json::Error> {
    let item: Item<'_> = serde_json::from_slice(body)?;
    Ok(match item {
        Item {
            complete_final: true,
            ..
        } => Part::Final,
        Item {
            data: Some(data), ..
        } => Part::Data(body.slice_ref(data.get().as_bytes())),
        Item { data: None, .. } => Part::Nothing,
    })
}

pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain structs of strings")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_control_message_has_the_captured_form() {
        let control = Control::new("71e8", "10.0.0.1:4000", "a-uuid");
        let expected = r#"{"id":"71e8","request_type":"single_in","response_type":"many_out","connection_info":{"transport":"tcp_server","info":"{\"address\":\"10.0.0.1:4000\",\"subject\":\"a-uuid\",\"context\":\"71e8\",\"stream_type\":\"response\"}"}}"#;
        assert_eq!(json(&control), expected);
    }

    #[test]
    fn answers_survive_their_wrapping() {
        let check = |body: &'static str, part: Part| {
            let body = Bytes::from_static(body.as_bytes());
            assert_eq!(unwrap(&body).unwrap(), part);
        };
        let data = Bytes::from_static(br#"{"data":{"token_ids":[5]}}"#);
        assert_eq!(
            wrap(&data),
            r#"{"data":{"data":{"token_ids":[5]}},"complete_final":false}"#
        );
        assert_eq!(unwrap(&wrap(&data)).unwrap(), Part::Data(data));
        check(FINAL, Part::Final);
        // The captured sender leaves `data` out.
        check(r#"{"complete_final":true}"#, Part::Final);
        check(r#"{"data":null,"complete_final":false}"#, Part::Nothing);
        assert!(unwrap(&Bytes::from_static(b"not json")).is_err());
    }

    #[test]
    fn the_prologue_of_a_healthy_answer_is_the_captured_one() {
        assert_eq!(json(&Prologue::default()), r#"{"error":null}"#);
    }
}
