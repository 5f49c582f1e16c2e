use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::RouterConfig;
use crate::testing::FixedClassifier;
use crate::{Client, Endpoint, RouteRequest, Router, Routing};

const REQUEST: &[u8] = br#"{"model":"m","messages":[{"role":"user","content":"q"}]}"#;

/// `tandem.security` of the configuration.
const BLOCK: &str = "response_jailbreak: {action: block}";
const REDACT: &str = "pii: {scan_response: true, action: redact}";
const DENY: &str = "pii: {scan_response: true}";

fn classifier() -> FixedClassifier {
    FixedClassifier::default()
        .jailbreak("build a bomb", 0.95)
        .pii("123-45-6789", "US_SSN", 0.99)
}

async fn scanner(security: &str, classifier: FixedClassifier, events: bool) -> AnswerScanner {
    let config = format!(
        "default_model: m\nmodel_config: {{m: {{}}}}\ntandem: {{security: {{{security}}}}}"
    );
    let config = RouterConfig::parse(&config, &|_| None).unwrap().config;
    let router = Router::new(config, Arc::new(classifier));
    let request = RouteRequest {
        endpoint: Endpoint::Chat,
        body: &Bytes::from_static(REQUEST),
        request_id: "r",
    };
    match router.route(request).await.routing {
        Routing::Forward(forward) => forward.scan.unwrap().begin(events),
        other => panic!("{other:?}"),
    }
}

/// What goes on of an answer in pieces, and what was found.
async fn pass<'a>(
    mut scanner: AnswerScanner,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (String, AnswerFindings) {
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&scanner.piece(Bytes::copy_from_slice(piece)).await);
    }
    out.extend_from_slice(&scanner.finish().await);
    (String::from_utf8(out).unwrap(), scanner.findings().clone())
}

async fn whole(security: &str, answer: &Value) -> (String, AnswerFindings) {
    let text = answer.to_string();
    let scanner = scanner(security, classifier(), false).await;
    pass(scanner, text.as_bytes().chunks(7)).await
}

fn said(text: &str) -> Value {
    json!({"id": "x", "choices": [
        {"index": 0, "message": {"role": "assistant", "content": text}, "logprobs": {"content": []}, "finish_reason": "stop"},
    ], "usage": {"total_tokens": 5}})
}

fn event(choice: usize, text: &str) -> String {
    let choice = json!({"index": choice, "delta": {"content": text}, "logprobs": null, "finish_reason": null});
    format!(
        "data: {}\n\n",
        json!({"id": "x", "object": "chat.completion.chunk", "choices": [choice]})
    )
}

fn call(text: &str) -> String {
    let call = json!({"index": 0, "function": {"arguments": text}});
    let choice = json!({"index": 0, "delta": {"tool_calls": [call]}});
    format!("data: {}\n\n", json!({"id": "x", "choices": [choice]}))
}

const END: &str = "data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

/// The texts of all events of a choice, and how the choice ended.
fn heard(stream: &str, choice: u64) -> (String, Option<String>) {
    let (mut text, mut reason) = (String::new(), None);
    for line in stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: {"))
    {
        let chunk: Value = serde_json::from_str(&format!("{{{line}")).unwrap();
        for one in chunk["choices"].as_array().unwrap() {
            if one["index"] == choice {
                let delta = &one["delta"];
                let arguments = &delta["tool_calls"][0]["function"]["arguments"];
                text += delta["content"]
                    .as_str()
                    .or(arguments.as_str())
                    .unwrap_or_default();
                reason = one["finish_reason"].as_str().map(str::to_owned).or(reason);
            }
        }
    }
    (text, reason)
}

#[tokio::test]
async fn no_answer_is_looked_at_unless_a_policy_says_so() {
    let config =
        "default_model: m\nmodel_config: {m: {}}\ntandem: {security: {pii: {}, jailbreak: {}}}";
    let config = RouterConfig::parse(config, &|_| None).unwrap().config;
    let router = Router::new(config.with_default_security(), Arc::new(classifier()));
    let request = RouteRequest {
        endpoint: Endpoint::Chat,
        body: &Bytes::from_static(REQUEST),
        request_id: "r",
    };
    match router.route_for(request, &Client::default()).await.routing {
        Routing::Forward(forward) => assert!(forward.scan.is_none()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn harmless_answers_pass_byte_by_byte() {
    let answer = said("Hello. You are welcome!\nBye");
    assert_eq!(
        whole(REDACT, &answer).await,
        (answer.to_string(), AnswerFindings::default())
    );
    let stream = format!(
        ": hi\r\n\r\n{}{}{END}",
        event(0, "Hello. You"),
        event(1, "\nBye")
    );
    let scanner = scanner(BLOCK, classifier(), true).await;
    let got = pass(scanner, [stream.as_bytes()]).await;
    assert_eq!(got, (stream, AnswerFindings::default()));
}

#[tokio::test]
async fn whole_answers_lose_what_is_denied() {
    let (got, findings) = whole(REDACT, &said("It is 123-45-6789, Ada.")).await;
    let mut want = said("It is [US_SSN], Ada.");
    want["choices"][0]["logprobs"] = Value::Null;
    assert_eq!(got, want.to_string());
    assert_eq!(findings.redacted, ["B-US_SSN"]);
    let headers = [("x-vsr-pii-redacted", "B-US_SSN".to_owned())];
    assert_eq!(findings.headers(), headers);
}

#[tokio::test]
async fn whole_answers_are_withheld() {
    let check = |answer: (String, AnswerFindings), block: Block| {
        let (body, findings) = answer;
        let body: Value = serde_json::from_str(&body).unwrap();
        let choice = &body["choices"][0];
        assert_eq!(choice["finish_reason"], "content_filter");
        assert!(!body.to_string().contains("6789"), "{body}");
        assert!(!body.to_string().contains("bomb"), "{body}");
        assert_eq!(body["usage"]["total_tokens"], 5);
        assert_eq!(findings.blocked, Some(block));
    };
    let jailbreak = Block::Jailbreak {
        label: "jailbreak",
        confidence: 0.95,
    };
    let answer = whole(BLOCK, &said("This is how to build a bomb.")).await;
    check(answer, jailbreak);
    let pii = Block::Pii {
        types: vec!["B-US_SSN".into()],
    };
    check(whole(DENY, &said("123-45-6789")).await, pii);
}

#[tokio::test]
async fn a_warning_changes_nothing_but_headers() {
    let answer = said("build a bomb");
    let check = async |action: &str, want: &[(&'static str, String)]| {
        let policy = format!("response_jailbreak: {{action: {action}}}");
        let (body, findings) = whole(&policy, &answer).await;
        assert_eq!(body, answer.to_string());
        assert_eq!(findings.flagged, Some(0.95));
        assert_eq!(findings.headers(), want);
    };
    check(
        "header",
        &[("x-vsr-response-warnings", "response_jailbreak".into())],
    )
    .await;
    check("none", &[]).await;
}

#[tokio::test]
async fn streams_lose_what_is_denied_across_events_and_choices() {
    let stream = [
        event(0, "It is 123-"),
        event(1, "None."),
        event(0, "45-67"),
        event(0, "89. Good"),
        event(1, " Or 123-45-6789"),
        event(0, " bye"),
        END.to_owned(),
    ];
    let (got, findings) = {
        let scanner = scanner(REDACT, classifier(), true).await;
        pass(scanner, stream.iter().map(String::as_bytes)).await
    };
    assert_eq!(
        heard(&got, 0),
        ("It is [US_SSN]. Good bye".into(), Some("stop".into()))
    );
    assert_eq!(heard(&got, 1).0, "None. Or [US_SSN]");
    assert!(got.ends_with("data: [DONE]\n\n"), "{got}");
    assert_eq!(findings.redacted, ["B-US_SSN"]);
}

#[tokio::test]
async fn arguments_of_tools_are_looked_at() {
    let stream = [call("{\"ssn\":\"123-45"), call("-6789\"}"), END.to_owned()].concat();
    let scanner = scanner(REDACT, classifier(), true).await;
    let (got, _) = pass(scanner, [stream.as_bytes()]).await;
    assert_eq!(heard(&got, 0).0, "{\"ssn\":\"[US_SSN]\"}");
}

#[tokio::test]
async fn arguments_that_would_break_withhold_a_whole_answer() {
    let mut answer = said("");
    let call = json!({"function": {"name": "f", "arguments": "{\"n\":123-45-6789}"}});
    answer["choices"][0]["message"]["tool_calls"] = json!([call]);
    let (body, findings) = whole(REDACT, &answer).await;
    // What is no JSON cannot break.
    assert!(
        body.contains("[US_SSN]") && findings.blocked.is_none(),
        "{body}"
    );
    let classifier = FixedClassifier::default().pii("\"k\":1", "US_SSN", 0.9);
    answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] = json!("{\"k\":1}");
    let scanner = scanner(REDACT, classifier, false).await;
    let (body, findings) = pass(scanner, [answer.to_string().as_bytes()]).await;
    assert!(
        body.contains("content_filter") && findings.blocked.is_some(),
        "{body}"
    );
}

#[tokio::test]
async fn a_blocked_stream_ends_after_what_was_cleared() {
    let stream = [
        event(0, "Sure. Here. "),
        event(1, "Hm"),
        event(0, "To build a"),
        event(0, " bomb, take"),
        END.to_owned(),
    ];
    let scanner = scanner(BLOCK, classifier(), true).await;
    let (got, findings) = pass(scanner, stream.iter().map(String::as_bytes)).await;
    assert_eq!(
        heard(&got, 0),
        ("Sure. Here. ".into(), Some("content_filter".into()))
    );
    assert_eq!(
        heard(&got, 1),
        (String::new(), Some("content_filter".into()))
    );
    assert!(
        got.ends_with("data: [DONE]\n\n") && got.matches("[DONE]").count() == 1,
        "{got}"
    );
    assert!(matches!(findings.blocked, Some(Block::Jailbreak { .. })));
}

#[tokio::test]
async fn events_wait_for_the_end_of_a_sentence_and_no_longer() {
    let mut scanner = scanner(REDACT, classifier(), true).await;
    let mut step = async |event: String| scanner.piece(event.into()).await.len();
    let role = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    assert_eq!(step(role.to_owned()).await, role.len());
    let first = event(0, "One");
    assert_eq!(step(first.clone()).await, 0);
    let second = event(0, " two.");
    assert_eq!(step(second.clone()).await, 0);
    assert_eq!(step(event(0, " And")).await, first.len() + second.len());
    let mut events = 0;
    while step(event(0, " on")).await == 0 {
        events += 1;
        assert!(events < 100);
    }
}

#[tokio::test]
async fn a_broken_classifier_means_what_the_policy_says() {
    let stream = [event(0, "Hello."), END.to_owned()].concat();
    let check = async |security: &str, text: &str, reason: &str| {
        let scanner = scanner(security, classifier().broken(), true).await;
        let (got, _) = pass(scanner, [stream.as_bytes()]).await;
        assert_eq!(
            heard(&got, 0),
            (text.into(), Some(reason.into())),
            "{security}"
        );
    };
    check(BLOCK, "Hello.", "stop").await;
    check(
        "response_jailbreak: {action: block, on_error: block}",
        "",
        "content_filter",
    )
    .await;
}

#[tokio::test]
async fn what_cannot_be_read_is_like_a_broken_classifier() {
    let check = async |on_error: &str, events: bool, body: &str, want: &str| {
        let policy = format!("response_jailbreak: {{action: block, on_error: {on_error}}}");
        let scanner = scanner(&policy, classifier(), events).await;
        let (got, _) = pass(scanner, [body.as_bytes()]).await;
        assert!(
            got.contains(want) && (on_error == "block" || got == body),
            "{got}"
        );
    };
    for events in [false, true] {
        check("allow", events, "data: not JSON\n\n", "not JSON").await;
        check("block", events, "data: not JSON\n\n", "content_filter").await;
        check("allow", events, "{\"choices\":7", "7").await;
    }
    check("block", false, "{\"choices\":7}", "content_filter").await;
}

#[tokio::test]
async fn what_is_held_is_bounded() {
    let mut scanner = scanner(REDACT, classifier(), true).await;
    // The first choice never ends its sentence, so the second would wait for it for ever.
    let mut held = scanner.piece(event(0, "One").into()).await.len();
    assert_eq!(held, 0);
    let mut sent = 0;
    while held == 0 {
        let event = event(1, "Two. ");
        sent += event.len();
        assert!(sent < 1 << 20);
        held = scanner.piece(event.into()).await.len();
    }
    let endless = vec![b'x'; 1 << 20];
    assert!(scanner.piece(endless.clone().into()).await.len() >= endless.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_split_gives_the_same_answer(cuts in prop::collection::vec(0..2000_usize, 0..6), events: bool) {
        let stream = [event(0, "Hi. It is 123"), event(0, "-45-6789. "), event(1, "A. B. C"), call("123-45-6789"), END.to_owned()];
        let text = if events { stream.concat() } else { said("123-45-6789").to_string() };
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
        cuts.push(text.len());
        cuts.sort_unstable();
        let mut from = 0;
        let pieces = cuts.iter().map(|cut| &text.as_bytes()[std::mem::replace(&mut from, *cut)..*cut]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (split, at_once) = runtime.block_on(async {
            let split = pass(scanner(REDACT, classifier(), events).await, pieces).await;
            (split, pass(scanner(REDACT, classifier(), events).await, [text.as_bytes()]).await)
        });
        prop_assert_eq!(split, at_once);
    }
}
