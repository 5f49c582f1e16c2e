use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;

use super::*;

fn questions_agree(left: &str, right: &str) -> bool {
    match (Question::read(left), Question::read(right)) {
        (Some(left), Some(right)) => share_an_answer(&left, &right),
        _ => false,
    }
}

/// Whether one is found by the words of the other, and agrees.
fn share_an_answer(left: &Question, right: &Question) -> bool {
    let terms = right.terms();
    agree(left, right) && left.terms().iter().any(|term| terms.contains(term))
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

/// Groups of a question, other ways to ask it, and questions that look alike.
fn groups() -> Vec<[Vec<String>; 2]> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cache_pairs/groups");
    let mut groups = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        for line in text.lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let texts = |name: &str| serde_json::from_value(row[name].clone()).unwrap();
            let mut same: Vec<String> = texts("same");
            same.push(row["q"].as_str().unwrap().to_owned());
            groups.push([same, texts("diff")]);
        }
    }
    groups
}

#[test]
fn no_way_to_ask_agrees_with_a_near_miss() {
    let (mut compared, mut wrong) = (0, Vec::new());
    for [same, different] in groups() {
        let read = |text: &String| Some((text.clone(), Question::read(text)?));
        let different: Vec<_> = different.iter().filter_map(read).collect();
        for (text, question) in same.iter().filter_map(read) {
            compared += different.len();
            let alike = different
                .iter()
                .filter(|(_, other)| share_an_answer(&question, other));
            wrong.extend(alike.map(|(other, _)| [text.clone(), other.clone()]));
        }
    }
    assert!(compared >= 25_000, "{compared}");
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
const LEAST_SHARE: usize = 25;

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
}

#[test]
fn roles_and_forms_must_agree() {
    let check = |left: &str, right: &str, want: bool| {
        assert_eq!(questions_agree(left, right), want, "{left} / {right}");
    };
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
    check(
        "Can a website see my address?",
        "Can I see the address of a website?",
        false,
    );
    check(
        "How many rows can a sheet have?",
        "How many rows does my sheet have?",
        false,
    );
    check(
        "the five highest salaries",
        "the fifth highest salary",
        false,
    );
    check(
        "secretary general now",
        "What does a secretary general do?",
        false,
    );
    check(
        "How do I use http in Go?",
        "How do I use https in Go?",
        false,
    );
    check(
        "netflix cancel subscription",
        "How do I cancel Netflix subscriptions?",
        true,
    );
    check("How does tea differ from coffee?", "coffee vs tea", true);
}

#[test]
fn code_must_be_the_same_to_the_letter() {
    let differ = |left: &str, right: &str| assert!(!questions_agree(left, right), "{left} {right}");
    differ("What does print(3 * '7') do?", "What does print(3 * 7) do?");
    differ(
        "Explain the schedule 0 3 * * 1",
        "Explain the schedule 0 3 1 * *",
    );
    differ(
        "Find the bug: x.append(y)[0]",
        "Find the bug: x.apend(y)[0]",
    );
    differ("Fix this: a:\n  b: 1", "Fix this: a:\nb: 1");
    differ("What is f(a, b) = a?", "What is f(b, a) = a?");
    let agree = |left: &str, right: &str| assert!(questions_agree(left, right), "{left} {right}");
    agree("please explain x = f(Y)", "Explain x = f(Y)");
}

proptest! {
    #[test]
    fn any_text_can_be_compared(left in "\\PC{0,40}", right in ".{0,40}") {
        prop_assert_eq!(questions_agree(&left, &right), questions_agree(&right, &left));
    }

    #[test]
    fn quotations_may_hold_anything(inside in "['\"`¿é日 a-z\\n]{0,30}") {
        Question::read(&format!("Translate '{inside} into French"));
    }
}
