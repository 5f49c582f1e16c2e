use std::collections::BTreeMap;
use std::path::Path;

use super::*;

fn questions_agree(left: &str, right: &str) -> bool {
    match (Question::read(left), Question::read(right)) {
        (Some(left), Some(right)) => {
            let terms = right.terms();
            let found = left.terms().iter().any(|term| terms.contains(term));
            agree(&left, &right) && found
        }
        _ => false,
    }
}

/// Rows of a file of pairs: two texts, and what differs.
fn pairs(file: &str) -> Vec<[String; 3]> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cache_pairs")
        .join(file);
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().map(|line| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        ["a", "b", "why"].map(|name| row[name].as_str().unwrap().to_owned())
    });
    rows.collect()
}

#[test]
fn near_misses_never_agree() {
    let near = pairs("near_misses.jsonl");
    assert!(near.len() >= 300, "{}", near.len());
    let wrong: Vec<_> = near
        .iter()
        .filter(|[a, b, _]| questions_agree(a, b))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn paraphrases_agree_often_enough_to_be_useful() {
    let paraphrases = pairs("paraphrases.jsonl");
    assert!(paraphrases.len() >= 300, "{}", paraphrases.len());
    let mut kinds: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for [a, b, why] in &paraphrases {
        let kind = kinds.entry(why).or_default();
        kind[0] += usize::from(questions_agree(a, b));
        kind[1] += 1;
    }
    let hits: usize = kinds.values().map(|[hits, _]| hits).sum();
    let share = hits * 100 / paraphrases.len();
    assert!(share >= LEAST_SHARE, "{share} %: {kinds:#?}");
}

/// Percent of the paraphrases that must agree.
const LEAST_SHARE: usize = 22;

#[test]
fn agreement_is_mutual_and_what_is_read_agrees_with_itself() {
    for file in ["near_misses.jsonl", "paraphrases.jsonl"] {
        for [a, b, _] in pairs(file) {
            assert_eq!(
                questions_agree(&a, &b),
                questions_agree(&b, &a),
                "{a} / {b}"
            );
            for text in [a, b] {
                let read = Question::read(&text).is_some();
                assert_eq!(questions_agree(&text, &text), read, "{text}");
            }
        }
    }
}

#[test]
fn what_must_agree() {
    let check = |left: &str, right: &str, want: bool| {
        assert_eq!(questions_agree(left, right), want, "{left} / {right}");
    };
    check(
        "How do I boil an egg?",
        "hey, could you tell me how to boil an egg please",
        true,
    );
    check("What is the capital of Peru?", "capital of Peru", true);
    check(
        "How many people live in Peru?",
        "What's the population of Peru?",
        true,
    );
    check(
        "Convert 12 gallons to liters",
        "how many litres are 12 gallons",
        true,
    );
    check(
        "Convert 12 gallons to liters",
        "Convert 12 liters to gallons",
        false,
    );
    check(
        "Convert 12 gallons to liters",
        "Convert 13 gallons to liters",
        false,
    );
    check("Who wrote it?", "When was it written?", false);
    check("Is Rust faster than Go?", "Is Go faster than Rust?", false);
    check("Can I freeze milk?", "Should I freeze milk?", false);
    check("Do not translate this", "Do translate this", false);
    check("What does `a + b` do?", "What does `a - b` do?", false);
    check("What is 2*(3+4)?", "What is 2*3+4?", false);
    check(
        "Who is the mayor of Rome?",
        "Who was the mayor of Rome?",
        false,
    );
    check(
        "Wer hat den Faust geschrieben?",
        "wer hat den Faust geschrieben",
        true,
    );
    check(
        "Wer hat den Faust geschrieben?",
        "Wer hat den Faust gelesen?",
        false,
    );
    check("Is hepatitis A curable?", "Is hepatitis B curable?", false);
    check(
        "flights from Oslo to Rome",
        "flights to Oslo from Rome",
        false,
    );
    check("Compare tea and coffee", "compare coffee and tea", true);
    check("Can I sue my landlord?", "Can my landlord sue me?", false);
    check("My wife left me", "I left my wife", false);
    check("Did I win?", "Did you win?", false);
    check("What is travel time?", "What is time travel?", false);
    check("Can you eat raw shrimps?", "Can I eat raw shrimps?", true);
    check("How do I make yogurt?", "How do I use yogurt?", false);
    check("How do I find bees?", "How do I keep bees?", false);
    check("What is yogurt?", "What is yogurt used for?", false);
    check("What is a camera?", "What is a good camera?", false);
    check("What is the best camera?", "What is a camera?", false);
    check(
        "Write unit tests for a parser",
        "Explain unit tests for a parser",
        false,
    );
    check("List the planets", "Name the people on the planets", false);
    check("What do I need for a garden?", "What is a garden?", false);
    check("What did Plato explain?", "What did Plato try?", false);
    check("Should I go by train?", "Should I take a train?", false);
}
