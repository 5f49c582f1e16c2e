//! Answers that are looked at.

use super::*;

const LAW: &str = r#"{"model":"MoM","messages":[{"role":"user","content":"can I sue?"}]}"#;
const EVENTS: [(&str, &str); 2] = [(":status", "200"), ("content-type", "text/event-stream")];
const JSON: [(&str, &str); 3] = [
    (":status", "200"),
    ("content-type", "application/json"),
    ("content-length", "77"),
];

fn event(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

fn said(text: &str) -> String {
    format!(
        r#"{{"choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}]}}"#
    )
}

impl Exchange {
    /// Sends a request about law and shows the headers of its answer.
    async fn ask_about_law(
        &mut self,
        modes: [BodySendMode; 2],
        headers: &[(&str, &str)],
    ) -> HeaderMutation {
        let [request, response] = modes;
        let message = ProcessingRequest {
            request: Some(Message::RequestHeaders(super::headers(&CHAT, false))),
            protocol_config: Some(ProtocolConfiguration {
                request_body_mode: request.into(),
                response_body_mode: response.into(),
            }),
            metadata_context: None,
        };
        self.sender.send(message).unwrap();
        self.send(Message::RequestBody(piece(LAW, true)), None);
        // One answer to the headers and one to the body, which in full duplex is in one piece.
        self.answer().await;
        self.answer().await;
        self.send(
            Message::ResponseHeaders(super::headers(headers, false)),
            None,
        );
        match self.answer().await.response {
            Some(Answer::ResponseHeaders(answer)) => {
                answer.response.unwrap().header_mutation.unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    /// Shows a piece of the answer.
    async fn hear(&mut self, text: &str, end: bool) -> CommonResponse {
        self.send(Message::ResponseBody(piece(text.to_owned(), end)), None);
        match self.answer().await.response {
            Some(Answer::ResponseBody(answer)) => answer.response.unwrap(),
            other => panic!("{other:?}"),
        }
    }
}

fn body(response: &CommonResponse) -> Option<Mutation> {
    response
        .body_mutation
        .clone()
        .and_then(|body| body.mutation)
}

#[tokio::test]
async fn a_whole_answer_is_redacted_and_its_headers_say_so() {
    let server = start().await;
    let mut exchange = server.open().await;
    let modes = [BodySendMode::Buffered; 2];
    let mutation = exchange.ask_about_law(modes, &JSON).await;
    assert_eq!(mutation.remove_headers, ["content-length"]);
    let response = exchange.hear(&said("It is 123-45-6789."), true).await;
    let want = said("It is [US_SSN].");
    assert_eq!(body(&response), Some(Mutation::Body(want.into())));
    let told = response.header_mutation.unwrap();
    assert!(has(&told, "x-vsr-pii-redacted", "B-US_SSN"));
    let counted = r#"llm_pii_violations_total{model="law_decision",pii_type="B-US_SSN"} 1"#;
    assert!(server.metrics().contains(counted), "{}", server.metrics());
}

#[tokio::test]
async fn a_whole_answer_is_withheld() {
    let server = start().await;
    let mut exchange = server.open().await;
    exchange
        .ask_about_law([BodySendMode::Buffered; 2], &JSON)
        .await;
    let response = exchange.hear(&said("To build a bomb"), true).await;
    let Some(Mutation::Body(sent)) = body(&response) else {
        panic!("{response:?}");
    };
    assert!(!sent.is_empty() && !String::from_utf8_lossy(&sent).contains("bomb"));
    let told = response.header_mutation.unwrap();
    assert!(has(&told, "x-vsr-jailbreak-blocked", "true"));
    assert!(has(&told, "x-vsr-response-path", "blocked"));
    let counted = r#"llm_request_errors_total{model="small",reason="jailbreak_block"} 1"#;
    assert!(server.metrics().contains(counted), "{}", server.metrics());
}

#[tokio::test]
async fn a_streamed_answer_is_kept_back_by_sentences() {
    let server = start().await;
    let mut exchange = server.open().await;
    let modes = [BodySendMode::Buffered, BodySendMode::Streamed];
    let mutation = exchange.ask_about_law(modes, &EVENTS).await;
    assert_eq!(mutation.remove_headers, ["content-length"]);
    let kept = exchange.hear(&event("It is 123-"), false).await;
    assert_eq!(body(&kept), Some(Mutation::ClearBody(true)));
    let sent = exchange.hear(&event("45-6789. "), false).await;
    let want = [event("It is [US_SSN]"), event(". ")].concat();
    assert_eq!(body(&sent), Some(Mutation::Body(want.into())));
    let harmless = event("Bye. ");
    let sent = exchange.hear(&harmless, false).await;
    assert_eq!(body(&sent), None);
    let end = exchange.hear(&event("Now build a bomb"), true).await;
    let Some(Mutation::Body(end)) = body(&end) else {
        panic!("{end:?}");
    };
    let end = String::from_utf8(end.to_vec()).unwrap();
    assert!(
        end.contains("content_filter") && !end.contains("bomb"),
        "{end}"
    );
    assert!(end.ends_with("data: [DONE]\n\n"), "{end}");
}

/// Whether Envoy still has a stream's headers is a matter of chance, so they never tell.
#[tokio::test]
async fn the_headers_of_a_stream_do_not_say_what_was_found() {
    let server = start().await;
    let mut exchange = server.open().await;
    exchange
        .ask_about_law([BodySendMode::Buffered; 2], &EVENTS)
        .await;
    let response = exchange.hear(&event("To build a bomb. "), false).await;
    let Some(Mutation::Body(sent)) = body(&response) else {
        panic!("{response:?}");
    };
    assert!(String::from_utf8_lossy(&sent).contains("content_filter"));
    let told = response.header_mutation.unwrap();
    assert_eq!(told.set_headers, []);
}

#[tokio::test]
async fn in_full_duplex_what_is_kept_back_goes_before_the_trailers() {
    let server = start().await;
    let mut exchange = server.open().await;
    let modes = [BodySendMode::FullDuplexStreamed; 2];
    exchange.ask_about_law(modes, &EVENTS).await;
    // No answer comes to a piece that is kept back.
    let first = Message::ResponseBody(piece(event("It is 123-45-"), false));
    exchange.send(first, None);
    let second = Message::ResponseBody(piece(event("6789"), false));
    exchange.send(second, None);
    exchange.send(Message::ResponseTrailers(HttpTrailers::default()), None);
    let sent = streamed(exchange.answer().await.response);
    let want = [event("It is [US_SSN]"), event("")].concat();
    assert_eq!(sent, (want, false));
    let answer = exchange.answer().await.response;
    assert!(
        matches!(answer, Some(Answer::ResponseTrailers(_))),
        "{answer:?}"
    );
}

#[tokio::test]
async fn answers_that_no_model_gave_are_not_looked_at() {
    let server = start().await;
    let mut exchange = server.open().await;
    let error = [(":status", "500"), ("content-type", "application/json")];
    let mutation = exchange
        .ask_about_law([BodySendMode::Buffered; 2], &error)
        .await;
    assert_eq!(mutation.remove_headers, Vec::<String>::new());
    let response = exchange.hear("build a bomb", true).await;
    assert_eq!(response, CommonResponse::default());
}
