//! Signals by embedding, with the shipped encoder.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use tandem_classifier::{EncoderClassifier, Settings};
use tandem_semantic_router::{Endpoint, Explanation, RouteRequest, Router, RouterConfig};

const CONFIG: &str = "
version: v0.3
providers: {defaults: {default_model: m}, models: [{name: m}]}
tandem: {signal_deadline_ms: 60000}
routing:
  signals:
    fact_check: [{name: needs_fact_check}, {name: no_fact_check_needed}]
    user_feedbacks:
      - {name: need_clarification}
      - {name: satisfied}
      - {name: want_different}
      - {name: wrong_answer}
    complexity: [{name: level}]
    reasks: [{name: again}]
    embeddings:
      - name: support
        threshold: 0.5
        candidates: [how to configure the system, installation guide, error message explanation]
  decisions:
    - name: everything
      rules:
        operator: OR
        conditions:
          - {type: fact_check, name: needs_fact_check}
          - {type: fact_check, name: no_fact_check_needed}
          - {type: user_feedback, name: need_clarification}
          - {type: user_feedback, name: satisfied}
          - {type: user_feedback, name: want_different}
          - {type: user_feedback, name: wrong_answer}
          - {type: complexity, name: 'level:hard'}
          - {type: complexity, name: 'level:medium'}
          - {type: complexity, name: 'level:easy'}
          - {type: reask, name: again}
          - {type: embedding, name: support}
      modelRefs: [{model: m}]
";

fn config() -> RouterConfig {
    RouterConfig::parse(CONFIG, &|_| None).unwrap().config
}

/// A router that asks the shipped encoder.
pub(crate) async fn router(config: RouterConfig) -> Router {
    let model = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../models/tandem-nano-encoder"
    );
    let settings = Settings {
        timeout: std::time::Duration::from_secs(60),
        ..Settings::default()
    };
    let classifier = EncoderClassifier::nano(Path::new(model), settings).unwrap();
    let router = Router::new(config, Arc::new(classifier));
    router.warm_up().await;
    router
}

async fn explain(router: &Router, turns: &[&str]) -> Explanation {
    let messages: Vec<_> = turns
        .iter()
        .map(|text| json!({ "role": "user", "content": text }))
        .collect();
    let body = Bytes::from(json!({ "model": "MoM", "messages": messages }).to_string());
    let request = RouteRequest {
        endpoint: Endpoint::Chat,
        body: &body,
        request_id: "id",
    };
    router.route(request).await.explanation
}

fn matched(explanation: &Explanation, family: &str) -> Vec<String> {
    let readings = explanation.signals.iter();
    let matched = readings.filter(|reading| reading.family == family && reading.matched);
    matched.map(|reading| reading.name.clone()).collect()
}

/// Share of the rows for which exactly the wanted rule of a family matches.
async fn accuracy(family: &str, rows: &[(&str, &str)]) -> f64 {
    let router = router(config()).await;
    let mut right = 0;
    for (text, want) in rows {
        let explanation = explain(&router, &[text]).await;
        let got = matched(&explanation, family);
        if got == [*want] {
            right += 1;
        } else {
            let scores: Vec<_> = explanation
                .signals
                .iter()
                .filter(|reading| reading.family == family)
                .map(|reading| (reading.name.as_str(), reading.score))
                .collect();
            println!("{text}: want {want}, got {got:?} {scores:?}");
        }
    }
    let share = f64::from(right) / rows.len() as f64;
    println!("{family}: {right} of {}", rows.len());
    share
}

#[tokio::test]
async fn questions_about_facts_are_told_from_other_requests() {
    let (yes, no) = ("needs_fact_check", "no_fact_check_needed");
    let rows = [
        ("Which river flows through Vienna?", yes),
        ("When did the Titanic sink?", yes),
        ("Who invented the telephone?", yes),
        ("What is the tallest mountain in Africa?", yes),
        ("How old is the universe?", yes),
        ("What is the population of Brazil?", yes),
        ("Which vitamin prevents scurvy?", yes),
        ("Who painted the Mona Lisa?", yes),
        ("What is the maximum dose of paracetamol per day?", yes),
        ("In what year did Apollo 11 land?", yes),
        ("Is the Great Wall of China visible from space?", yes),
        ("What is the GDP of Germany?", yes),
        ("Write a short story about a dragon.", no),
        ("Compose a song about the sea.", no),
        ("Write a SQL query that counts orders per day.", no),
        ("Make this email sound more polite.", no),
        ("Translate 'good morning' into French.", no),
        ("Suggest names for my new dog.", no),
        ("Calculate 17 * 23.", no),
        ("Shorten the following paragraph.", no),
        ("Refactor this function to be shorter.", no),
        ("Hi there!", no),
        ("Imagine you are a pirate and greet me.", no),
        ("Plan a surprise party for my sister.", no),
    ];
    let share = accuracy("fact_check", &rows).await;
    assert!(share >= 0.8, "{share}");
}

#[tokio::test]
async fn feedback_is_one_of_four() {
    let rows = [
        ("What does that mean?", "need_clarification"),
        (
            "Could you explain this in simple terms?",
            "need_clarification",
        ),
        (
            "I do not get it, please explain again.",
            "need_clarification",
        ),
        ("Thanks, that was very helpful!", "satisfied"),
        ("Perfect, exactly what I wanted.", "satisfied"),
        ("What is the capital of Peru?", "satisfied"),
        ("Write a function that sorts a list.", "satisfied"),
        ("Give me a different suggestion.", "want_different"),
        ("Is there an alternative way?", "want_different"),
        ("Show me another version.", "want_different"),
        ("That is incorrect.", "wrong_answer"),
        ("No, you are wrong about this.", "wrong_answer"),
        ("This answer is not right.", "wrong_answer"),
    ];
    let share = accuracy("user_feedback", &rows).await;
    assert!(share >= 0.75, "{share}");
}

#[tokio::test]
async fn hard_questions_are_told_from_easy_ones() {
    let (hard, easy) = ("level:hard", "level:easy");
    let rows = [
        ("Prove that the square root of 2 is irrational.", hard),
        (
            "Compare event sourcing with CRUD and discuss the trade-offs.",
            hard,
        ),
        (
            "Design a scalable chat system and justify each component.",
            hard,
        ),
        (
            "Analyse the time complexity of this algorithm and improve it.",
            hard,
        ),
        (
            "Derive the formula for the volume of a sphere step by step.",
            hard,
        ),
        ("Hello there!", easy),
        ("What is the capital of Spain?", easy),
        ("Say good night in Italian.", easy),
        ("What does CPU stand for?", easy),
        ("What is 3 + 4?", easy),
    ];
    let share = accuracy("complexity", &rows).await;
    assert!(share >= 0.7, "{share}");
}

#[tokio::test]
async fn a_repeated_question_is_noticed() {
    let router = router(config()).await;
    let check = async |turns: &[&str], want: bool| {
        let explanation = explain(&router, turns).await;
        assert_eq!(
            !matched(&explanation, "reask").is_empty(),
            want,
            "{turns:?}"
        );
    };
    let question = "How do I reset my router password?";
    check(
        &[question, "How can I reset the password of my router?"],
        true,
    )
    .await;
    check(&[question, "What is the capital of France?"], false).await;
    check(&[question], false).await;
}

#[tokio::test]
async fn similar_texts_match_examples() {
    let router = router(config()).await;
    let check = async |text: &str, want: bool| {
        let explanation = explain(&router, &[text]).await;
        assert_eq!(
            !matched(&explanation, "embedding").is_empty(),
            want,
            "{text}"
        );
    };
    check("How do I configure the system?", true).await;
    check("Who won the world cup in 1998?", false).await;
}
