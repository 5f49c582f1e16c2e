//! Tiny random checkpoints against `transformers`; `tests/reference/make.py` writes both.

use serde::Deserialize;

use super::*;
use crate::Heads;
use crate::encoder::Workspace;
use crate::model::Window;

#[derive(Deserialize)]
struct Expect {
    text: String,
    ids: Vec<u32>,
    values: Vec<f32>,
}

fn dir(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/reference")
        .join(name)
}

fn only(checkpoints: &Checkpoints) -> Model {
    load(checkpoints).unwrap().remove(0)
}

/// Compares what `read` takes from the hidden states with the reference.
fn check(name: &str, model: &Model, read: impl Fn(&Model, &[f32], &mut Workspace) -> Vec<f32>) {
    let expects: Vec<Expect> = read_json(&dir(name).join("expect.json")).unwrap();
    for expect in expects {
        let mut tokens = Vec::new();
        let whole = 0..expect.text.len();
        model
            .tokenizer
            .tokenize(&expect.text, whole, &mut tokens)
            .unwrap();
        let window = Window {
            heads: Heads::ALL,
            tokens: &tokens,
            text: &expect.text,
            normalised: None,
        };
        let batch = model.batch(&[window]);
        assert_eq!(batch.ids, expect.ids, "{name}: {}", expect.text);
        let mut workspace = Workspace::default();
        model.trunk.forward(&batch, &mut workspace);
        let hidden = std::mem::take(&mut workspace.hidden);
        let got = read(model, &hidden, &mut workspace);
        assert_eq!(got.len(), expect.values.len(), "{name}");
        for (index, (got, expect)) in got.iter().zip(&expect.values).enumerate() {
            assert!(
                (got - expect).abs() < 1e-4,
                "{name} {index}: {got} {expect}"
            );
        }
    }
}

#[test]
fn domain_checkpoints_equal_the_reference() {
    for name in ["bert-domain", "modernbert-domain"] {
        let model = only(&Checkpoints {
            domain: Some(dir(name)),
            ..Checkpoints::default()
        });
        let labels = &model.domain.as_ref().unwrap().labels;
        assert_eq!((labels.len(), &*labels[8]), (14, "law"));
        check(name, &model, |model, hidden, workspace| {
            let head = &model.domain.as_ref().unwrap().head;
            head.logits(hidden, &mut workspace.quantised)
        });
    }
}

#[test]
fn jailbreak_checkpoints_equal_the_reference() {
    let name = "roberta-jailbreak";
    let model = only(&Checkpoints {
        jailbreak: Some(dir(name)),
        ..Checkpoints::default()
    });
    let benign = vec![true, false];
    assert_eq!(
        model.jailbreak.as_ref().unwrap().reading,
        Reading::Softmax { benign }
    );
    check(name, &model, |model, hidden, workspace| {
        let head = &model.jailbreak.as_ref().unwrap().head;
        head.logits(hidden, &mut workspace.quantised)
    });
}

#[test]
fn pii_checkpoints_equal_the_reference() {
    for name in ["bert-pii", "xlm-roberta-pii", "modernbert-pii"] {
        let model = only(&Checkpoints {
            pii: Some(dir(name)),
            ..Checkpoints::default()
        });
        let kinds = &model.pii.as_ref().unwrap().scheme.kinds;
        let labels: Vec<_> = kinds.iter().map(|kind| &*kind.label).collect();
        assert_eq!(labels, ["EMAIL_ADDRESS", "PERSON", "US_SSN"]);
        check(name, &model, |model, hidden, workspace| {
            let inner = &hidden[model.hidden..hidden.len() - model.hidden];
            let head = &model.pii.as_ref().unwrap().head;
            head.probabilities(inner, &mut workspace.quantised)
        });
    }
}

#[test]
fn embedding_checkpoints_equal_the_reference() {
    let name = "bert-embedding";
    let model = only(&Checkpoints {
        embedding: Some(dir(name)),
        ..Checkpoints::default()
    });
    check(name, &model, |model, hidden, workspace| {
        let head = model.embedding.as_ref().unwrap();
        head.embed(hidden, model.hidden, &mut workspace.quantised)
    });
}

#[test]
fn jailbreak_labels_are_read_by_name() {
    let check = |labels: &[&str], expect: &[bool]| {
        let labels: Vec<String> = labels.iter().map(ToString::to_string).collect();
        let benign = expect.to_vec();
        assert_eq!(reading(&labels), Reading::Softmax { benign });
    };
    check(&["benign", "jailbreak"], &[true, false]);
    check(&["INJECTION", "SAFE"], &[false, true]);
    check(&["LABEL_0", "LABEL_1"], &[true, false]);
    check(&["yes", "no"], &[true, false]);
    assert_eq!(reading(&["jailbreak".into()]), Reading::Sigmoid);
}
