//! Who computes a prompt, and who is asked next: what engines outside the workers make necessary.

use bytes::Bytes;
use serde_json::json;
use tandem_protocol::ErrorKind;
use tandem_protocol::engine::{Annotated, EngineOutput, FinishReason, WorkerFailure};

use crate::faults::{LONG, asked, has};
use crate::stage::{Script, Stage, json_of, token};

fn failure(kind: ErrorKind) -> Bytes {
    let failure = WorkerFailure {
        kind,
        message: "engine is busy: try later".to_owned(),
    };
    let answer: Annotated<EngineOutput> = Annotated::error(failure);
    serde_json::to_vec(&answer).unwrap().into()
}

fn computed() -> Bytes {
    json_of(EngineOutput {
        finish_reason: Some(FinishReason::Length),
        ..token(300)
    })
}

#[tokio::test]
async fn a_worker_that_is_too_busy_to_begin_is_passed_over() {
    let flags = ["--migration-limit", "0", "--router-mode", "round-robin"];
    let stage = Stage::new(&flags).await;
    let busy = Script::Say(vec![failure(ErrorKind::Overloaded)]);
    let (busy, _busy) = stage.join(busy).await;
    let (free, _free) = stage.join(Script::Finish(vec![300])).await;
    stage.ready(2).await;
    for _ in 0..4 {
        let (status, body) = stage.complete("Hi", 1).await;
        assert_eq!(status, 200, "{body}");
    }
    assert_eq!(free.requests().len(), 4);
    assert!(!busy.requests().is_empty(), "it had no turn");
}

#[tokio::test]
async fn when_all_are_too_busy_the_client_may_come_back() {
    let stage = Stage::new(&[]).await;
    let busy = || Script::Say(vec![failure(ErrorKind::Overloaded)]);
    let (first, _first) = stage.join(busy()).await;
    let (second, _second) = stage.join(busy()).await;
    stage.ready(2).await;
    let (status, body) = stage.complete("Hi", 1).await;
    assert_eq!(status, 503, "{body}");
    assert_eq!((first.requests().len(), second.requests().len()), (1, 1));
}

#[tokio::test]
async fn a_worker_that_has_begun_is_not_passed_over() {
    let stage = Stage::new(&["--router-mode", "round-robin"]).await;
    let late = vec![json_of(token(300)), failure(ErrorKind::Overloaded)];
    let (_, _late) = stage.join(Script::Say(late)).await;
    stage.ready(1).await;
    let (status, body) = stage.complete("Hi", 2).await;
    assert_eq!(status, 503, "{body}");
}

#[tokio::test]
async fn parts_that_meet_are_started_at_once() {
    let stage = Stage::new(&[]).await;
    let (decode, _decode) = stage.join(Script::Finish(vec![300, 301])).await;
    let (prefill, _prefill) = stage.join(Script::Meet(vec![computed()])).await;
    stage.ready(2).await;
    // Neither waits for the other.
    prefill.hold();
    for _ in 0..2 {
        let (status, body) = stage.complete(LONG, 2).await;
        assert_eq!(status, 200, "{body}");
    }
    let meetings = |requests: Vec<tandem_protocol::engine::EngineRequest>| {
        let meeting = |request: tandem_protocol::engine::EngineRequest| request.bootstrap_info;
        requests.into_iter().map(meeting).collect::<Vec<_>>()
    };
    let rooms = meetings(prefill.requests());
    assert_eq!(rooms, meetings(decode.requests()));
    let [Some(first), Some(second)] = &*rooms else {
        panic!("{rooms:?}");
    };
    assert_eq!(
        (&*first.bootstrap_host, first.bootstrap_port),
        ("10.0.0.1", 8998)
    );
    assert_ne!(first.bootstrap_room, second.bootstrap_room);
    assert!(first.bootstrap_room < 1 << 63);
    let metrics = stage.metrics().await;
    let remote = "dynamo_frontend_remote_prefills_total{model=\"tandem-nano-chat\"} 2";
    has(&metrics, remote);
}

#[tokio::test]
async fn a_decode_worker_does_not_wait_for_a_prompt_that_will_not_come() {
    let stage = Stage::new(&[]).await;
    let (decode, _decode) = stage.join(Script::Finish(vec![300, 301])).await;
    let refuses = Script::Meet(vec![failure(ErrorKind::Overloaded)]);
    let (prefill, _prefill) = stage.join(refuses).await;
    stage.ready(2).await;
    decode.hold();
    let asking = stage.complete(LONG, 2);
    let going_on = async {
        while decode.requests().len() < 2 {
            tokio::task::yield_now().await;
        }
        decode.go_on();
    };
    let ((status, body), ()) = tokio::join!(asking, going_on);
    assert_eq!(status, 200, "{body}");
    assert_eq!(prefill.requests().len(), 1);
    let requests = decode.requests();
    assert!(requests[0].bootstrap_info.is_some());
    assert_eq!(
        requests[1].bootstrap_info, None,
        "it computes the prompt itself"
    );
    let metrics = stage.metrics().await;
    let fallback = "dynamo_frontend_prefill_fallbacks_total{reason=\"call_failed\"} 1";
    has(&metrics, fallback);
}

#[tokio::test]
async fn what_was_handed_over_is_used_once() {
    let stage = Stage::new(&["--router-mode", "round-robin"]).await;
    let (first, killed) = stage.join(Script::Hang(vec![])).await;
    let (prefill, _prefill) = stage.join(Script::Prefill(json!({"blocks": 1}))).await;
    stage.ready(2).await;
    let asking = stage.complete(LONG, 2);
    let losing = async {
        asked(&first).await;
        let second = stage.join(Script::Finish(vec![300, 301])).await;
        stage.ready(3).await;
        drop(killed);
        second
    };
    let ((status, body), (second, _served)) = tokio::join!(asking, losing);
    assert_eq!(status, 200, "{body}");
    assert!(second.requests()[0].disaggregated_params.is_some());
    assert_eq!(
        prefill.requests().len(),
        2,
        "the prompt is handed over again"
    );
}
