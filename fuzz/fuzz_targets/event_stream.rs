//! An answer means the same in whatever pieces it comes, and goes on as it is unless something is
//! found in it.

#![no_main]

use std::sync::{Arc, LazyLock};

use arbitrary::Arbitrary;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tandem_gateway::fuzzing;
use tandem_semantic_router::testing::FixedClassifier;
use tandem_semantic_router::{
    AnswerFindings, Endpoint, RouteRequest, Router, RouterConfig, Routing,
};
use tokio::runtime::{Builder, Runtime};

const CONFIG: &str = "
default_model: m
model_config: {m: {}}
tandem:
  security:
    pii: {pii_types_denied: [N], scan_response: true, action: redact}
    response_jailbreak: {action: block}
";
const REQUEST: &[u8] = br#"{"model":"m","messages":[{"role":"user","content":"q"}]}"#;

#[derive(Debug, Arbitrary)]
struct Answer<'a> {
    stream: bool,
    cuts: [u16; 4],
    text: &'a [u8],
}

struct Stage {
    runtime: Runtime,
    /// Finds something in some answers.
    strict: Router,
    /// Finds nothing in any.
    blind: Router,
}

static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let router = |classifier: FixedClassifier| {
        let config = RouterConfig::parse(CONFIG, &|_| None).expect("the configuration is right");
        Router::new(config.config, Arc::new(classifier))
    };
    let runtime = Builder::new_current_thread().enable_time().build();
    Stage {
        runtime: runtime.expect("a thread can have a runtime"),
        strict: router(
            FixedClassifier::default()
                .jailbreak("bomb", 0.99)
                .pii("12", "N", 0.99),
        ),
        blind: router(FixedClassifier::default()),
    }
});

impl Answer<'_> {
    fn pieces(&self) -> Vec<&[u8]> {
        let length = self.text.len();
        let cuts = self.cuts.iter().map(|cut| usize::from(*cut) % (length + 1));
        let mut cuts: Vec<usize> = cuts.collect();
        cuts.push(length);
        cuts.sort_unstable();
        let mut from = 0;
        let pieces = cuts
            .into_iter()
            .map(|cut| &self.text[std::mem::replace(&mut from, cut)..cut]);
        pieces.collect()
    }
}

/// What goes on of an answer in pieces, and what was found.
async fn scan(router: &Router, stream: bool, pieces: &[&[u8]]) -> (Vec<u8>, AnswerFindings) {
    let request = RouteRequest {
        endpoint: Endpoint::Chat,
        body: &Bytes::from_static(REQUEST),
        request_id: "r",
    };
    let Routing::Forward(forward) = router.route(request).await.routing else {
        unreachable!("a harmless request is forwarded");
    };
    let mut scanner = forward.scan.expect("answers are looked at").begin(stream);
    let mut out = Vec::new();
    for piece in pieces {
        out.extend_from_slice(&scanner.piece(Bytes::copy_from_slice(piece)).await);
    }
    out.extend_from_slice(&scanner.finish().await);
    (out, scanner.findings().clone())
}

fuzz_target!(|answer: Answer<'_>| {
    let (stream, whole, pieces) = (answer.stream, [answer.text], answer.pieces());
    assert_eq!(
        fuzzing::usage(stream, &pieces),
        fuzzing::usage(stream, &whole)
    );
    let stage = &*STAGE;
    stage.runtime.block_on(async {
        let at_once = scan(&stage.strict, stream, &whole).await;
        assert_eq!(scan(&stage.strict, stream, &pieces).await, at_once);
        let (out, findings) = scan(&stage.blind, stream, &pieces).await;
        assert_eq!(
            (&out[..], findings),
            (answer.text, AnswerFindings::default())
        );
    });
});
