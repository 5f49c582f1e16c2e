//! Whatever goes wrong, clients learn nothing of what is inside.

use bytes::Bytes;
use serde_json::{Value, json};
use tandem_protocol::ErrorKind;
use tandem_protocol::engine::{Annotated, EngineOutput, FinishReason, WorkerFailure};

use crate::stage::{INTERNALS, MODEL, Script, Stage, json_of, token};

/// Longer than what decode workers compute themselves.
const LONG: &str = "The gardener carried a basket of apples by the river and sold it in the \
    market near the hill. Our teacher counted two horses on the road behind the house.";

/// All that would tell where and how the service runs.
fn assert_clean(answer: &str, workers: &[u64], what: &str) {
    let mut words: Vec<String> = [
        "panick",
        "backtrace",
        "/srv/",
        ".rs:",
        "10.1.2.3",
        "127.0.0.1",
        "generate",
        "undecodable",
    ]
    .map(str::to_owned)
    .into();
    for worker in workers {
        words.push(format!("{worker:016x}"));
        words.push(format!("instance {worker}"));
    }
    for word in words {
        assert!(!answer.contains(&word), "{what}: {word} in {answer}");
    }
}

fn failure(kind: ErrorKind) -> Bytes {
    let failure: Annotated<EngineOutput> = Annotated::error(WorkerFailure {
        kind,
        message: INTERNALS.to_owned(),
    });
    serde_json::to_vec(&failure).unwrap().into()
}

/// As a worker of Dynamo says it.
fn untyped_failure() -> Bytes {
    let failure = json!({"event": "error", "comment": [INTERNALS]});
    failure.to_string().into()
}

fn failed_output() -> Bytes {
    json_of(EngineOutput {
        finish_reason: Some(FinishReason::Error(INTERNALS.to_owned())),
        ..EngineOutput::default()
    })
}

fn garbage() -> Bytes {
    Bytes::from_static(b"\xff/srv/engine 10.1.2.3:4567")
}

fn scripts() -> Vec<Script> {
    let failures = [
        failure(ErrorKind::Upstream { retryable: false }),
        failure(ErrorKind::Upstream { retryable: true }),
        failure(ErrorKind::Internal),
        failure(ErrorKind::Timeout),
        failure(ErrorKind::Overloaded),
        untyped_failure(),
        failed_output(),
        garbage(),
        Bytes::from_static(br#"{"data": {"token_ids": "10.1.2.3"}}"#),
        Bytes::new(),
    ];
    let begun = || json_of(token(300));
    let mut scripts = vec![
        Script::Say(Vec::new()),
        Script::Say(vec![begun()]),
        Script::Panic(Vec::new()),
        Script::Panic(vec![begun()]),
    ];
    for failure in failures {
        scripts.push(Script::Say(vec![failure.clone()]));
        scripts.push(Script::Say(vec![begun(), failure]));
    }
    scripts
}

/// Every way to ask.
fn requests(prompt: &str) -> Vec<(&'static str, Value)> {
    let ask = |stream: bool| {
        let chat = json!({"model": MODEL, "messages": [{"role": "user", "content": prompt}],
            "max_tokens": 4, "stream": stream});
        let completion =
            json!({"model": MODEL, "prompt": prompt, "max_tokens": 4, "stream": stream});
        [
            ("/v1/chat/completions", chat),
            ("/v1/completions", completion),
        ]
    };
    [ask(false), ask(true)].into_iter().flatten().collect()
}

#[tokio::test]
async fn what_workers_say_when_they_fail_stays_inside() {
    for script in scripts() {
        let what = format!("{script:?}");
        let stage = Stage::new(&[]).await;
        let (_, _served, worker) = stage.join_at(script, None).await;
        stage.ready(1).await;
        for (path, body) in requests("Tell me a story") {
            let answer = stage.exchange("POST", path, &body.to_string()).await;
            assert!(!answer.contains("[DONE]"), "{what}: {answer}");
            assert!(answer.contains(r#"{"error":"#), "{what}: {answer}");
            assert_clean(&answer, &[worker], &what);
        }
    }
}

#[tokio::test]
async fn prefill_workers_that_fail_cost_no_answer() {
    for failure in [untyped_failure(), failed_output(), garbage()] {
        for (flags, status) in [(&[][..], "200"), (&["--enforce-disagg"][..], "503")] {
            let stage = Stage::new(flags).await;
            let finished = Script::Finish(vec![300, 301]);
            let (_, _decode, decode) = stage.join_at(finished, None).await;
            let script = Script::FailPrefill(failure.clone());
            let (prefilling, _prefill, prefill) = stage.join_at(script, None).await;
            stage.ready(2).await;
            for (asked, (path, body)) in requests(LONG).into_iter().enumerate() {
                let answer = stage.exchange("POST", path, &body.to_string()).await;
                assert!(
                    answer.starts_with(&format!("HTTP/1.1 {status}")),
                    "{answer}"
                );
                assert_eq!(prefilling.requests().len(), asked + 1);
                assert_clean(&answer, &[decode, prefill], "prefill");
            }
        }
    }
}

#[tokio::test]
async fn workers_that_are_gone_have_no_names() {
    let stage = Stage::new(&["--migration-limit", "0"]).await;
    let (_, killed, first) = stage.join_at(Script::Finish(vec![300]), None).await;
    stage.ready(1).await;
    drop(killed);
    for (path, body) in requests("Tell me a story") {
        let answer = stage.exchange("POST", path, &body.to_string()).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert_clean(&answer, &[first], "unreachable");
    }
}
