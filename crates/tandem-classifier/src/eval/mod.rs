//! Measures a [`Classifier`] on labelled rows.
//!
//! The functions take rows and return numbers; [`evaluate`] runs them on all files of a directory.
//! [`Report`] serialises to JSON and prints as a table.

mod attack;
mod data;
mod metrics;
mod pii;
mod report;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use serde::Serialize;

pub use attack::{BENIGN_SUFFIXES, SuffixReport, evaluate_suffixes};
pub use data::{CachePairRow, DomainRow, GoldSpan, JailbreakRow, PiiRow, Scope, read_rows};
pub use metrics::{
    Counts, OperatingPoint, accuracy, at_false_positive_rate, at_threshold, auroc, best_f1,
    f1_by_label,
};
pub use pii::{PiiReport, Score, SpanScore, evaluate_pii};

use crate::{Analysis, Classifier, ClassifierError, Heads};

/// Texts that are analysed at the same time.
const CONCURRENCY: usize = 16;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// A file or directory cannot be read.
    #[error("failed to read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A row is not what its file promises.
    #[error("invalid row in {} at line {line}: {source}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The classifier gave no answer.
    #[error(transparent)]
    Classifier(#[from] ClassifierError),
}

/// Everything that was measured; tasks without data or without a head are `None`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Name of the classifier.
    pub classifier: String,
    /// Domain of a text.
    pub domain: Option<DomainReport>,
    /// Jailbreaks and prompt injections.
    pub jailbreak: Option<JailbreakReport>,
    /// Personal data.
    pub pii: Option<PiiReport>,
    /// Questions that share an answer.
    pub cache_pairs: Option<CacheReport>,
}

/// How well domains are told apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DomainReport {
    /// Rows.
    pub rows: usize,
    /// Share of rows with the right label.
    pub accuracy: f64,
    /// Mean F1 over the labels.
    pub macro_f1: f64,
    /// F1 of each label.
    pub f1_by_label: BTreeMap<String, f64>,
}

/// How well jailbreaks are caught.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JailbreakReport {
    /// Rows.
    pub rows: usize,
    /// Rows that are jailbreaks.
    pub positives: usize,
    /// Probability that a jailbreak scores above a benign text.
    pub auroc: f64,
    /// At the threshold that the model card recommends.
    pub recommended: Option<OperatingPoint>,
    /// At 1 % false positives.
    pub at_1_percent: OperatingPoint,
    /// At 2 % false positives.
    pub at_2_percent: OperatingPoint,
    /// With harmless words appended, at the recommended threshold or else that of 2 %.
    pub suffix_attack: SuffixReport,
}

/// How well the embedding tells which questions share an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CacheReport {
    /// Pairs.
    pub rows: usize,
    /// Probability that a pair that shares an answer is closer than one that does not.
    pub auroc: f64,
    /// Best F1 over all thresholds.
    pub best_f1: f64,
    /// Where it is reached.
    pub threshold: f32,
}

/// What to evaluate.
#[derive(Debug, Clone)]
pub struct Evaluation<'a> {
    /// Directory with files such as `pii.valid.jsonl.gz`.
    pub dir: &'a Path,
    /// Split in the file names, such as `valid`.
    pub split: &'a str,
    /// Probability from which the model card counts a text as a jailbreak.
    pub jailbreak_threshold: Option<f32>,
}

/// Runs every task for which the directory has files.
pub async fn evaluate(
    classifier: &dyn Classifier,
    evaluation: &Evaluation<'_>,
) -> Result<Report, EvalError> {
    let mut report = Report {
        classifier: classifier.name().to_owned(),
        ..Report::default()
    };
    let domain: Vec<DomainRow> = rows(evaluation, "category")?;
    if !domain.is_empty() {
        report.domain = Some(evaluate_domain(classifier, &domain).await?);
    }
    let jailbreak: Vec<JailbreakRow> = rows(evaluation, "jailbreak")?;
    if !jailbreak.is_empty() {
        let threshold = evaluation.jailbreak_threshold;
        report.jailbreak = Some(evaluate_jailbreak(classifier, &jailbreak, threshold).await?);
    }
    let pii: Vec<PiiRow> = rows(evaluation, "pii")?;
    if !pii.is_empty() {
        report.pii = Some(evaluate_pii(classifier, &pii).await?);
    }
    let pairs: Vec<CachePairRow> = rows(evaluation, "cache_pairs")?;
    if !pairs.is_empty() {
        report.cache_pairs = Some(evaluate_cache_pairs(classifier, &pairs).await?);
    }
    Ok(report)
}

fn rows<T: serde::de::DeserializeOwned>(
    evaluation: &Evaluation<'_>,
    task: &str,
) -> Result<Vec<T>, EvalError> {
    let mut rows = Vec::new();
    for file in data::files(evaluation.dir, task, evaluation.split)? {
        rows.extend(read_rows(&file)?);
    }
    Ok(rows)
}

/// Measures the domain head.
pub async fn evaluate_domain(
    classifier: &dyn Classifier,
    rows: &[DomainRow],
) -> Result<DomainReport, EvalError> {
    let heads = Heads {
        domain: true,
        ..Heads::default()
    };
    let texts = rows.iter().map(|row| row.text.as_str());
    let answers = analyze_all(classifier, texts, heads).await?;
    let pairs: Vec<(String, String)> = rows
        .iter()
        .zip(answers)
        .map(|(row, answer)| {
            let best = answer.domain.unwrap_or_default().into_iter().next();
            let predicted = best.map(|best| best.label.to_string()).unwrap_or_default();
            (row.label.clone(), predicted)
        })
        .collect();
    let f1_by_label = f1_by_label(&pairs);
    Ok(DomainReport {
        rows: rows.len(),
        accuracy: accuracy(&pairs),
        macro_f1: metrics::mean(f1_by_label.values().copied()),
        f1_by_label,
    })
}

/// Measures the jailbreak head, also under harmless suffixes.
pub async fn evaluate_jailbreak(
    classifier: &dyn Classifier,
    rows: &[JailbreakRow],
    recommended: Option<f32>,
) -> Result<JailbreakReport, EvalError> {
    let texts = rows.iter().map(|row| row.text.as_str());
    let scores = jailbreak_scores(classifier, texts).await?;
    let scored: Vec<(f32, bool)> = scores
        .into_iter()
        .zip(rows)
        .map(|(score, row)| (score, row.label == 1))
        .collect();
    let at_2_percent = at_false_positive_rate(&scored, 0.02);
    let threshold = recommended.unwrap_or(at_2_percent.threshold);
    Ok(JailbreakReport {
        rows: rows.len(),
        positives: scored.iter().filter(|(_, label)| *label).count(),
        auroc: auroc(&scored),
        recommended: recommended.map(|threshold| at_threshold(&scored, threshold)),
        at_1_percent: at_false_positive_rate(&scored, 0.01),
        at_2_percent,
        suffix_attack: evaluate_suffixes(classifier, rows, threshold).await?,
    })
}

/// Measures the embedding head by the cosine of each pair.
pub async fn evaluate_cache_pairs(
    classifier: &dyn Classifier,
    rows: &[CachePairRow],
) -> Result<CacheReport, EvalError> {
    let heads = Heads {
        embedding: true,
        ..Heads::default()
    };
    let first = rows.iter().map(|row| row.text_a.as_str());
    let second = rows.iter().map(|row| row.text_b.as_str());
    let first = analyze_all(classifier, first, heads).await?;
    let second = analyze_all(classifier, second, heads).await?;
    let cosine = |a: &Analysis, b: &Analysis| match (&a.embedding, &b.embedding) {
        (Some(a), Some(b)) => a.iter().zip(&**b).map(|(a, b)| a * b).sum(),
        _ => 0.0,
    };
    let scored: Vec<(f32, bool)> = first
        .iter()
        .zip(&second)
        .zip(rows)
        .map(|((a, b), row)| (cosine(a, b), row.label == 1))
        .collect();
    let (threshold, best_f1) = best_f1(&scored);
    Ok(CacheReport {
        rows: rows.len(),
        auroc: auroc(&scored),
        best_f1,
        threshold,
    })
}

/// Probabilities of a jailbreak; 0 without such a head.
async fn jailbreak_scores<'a>(
    classifier: &dyn Classifier,
    texts: impl Iterator<Item = &'a str>,
) -> Result<Vec<f32>, EvalError> {
    let heads = Heads {
        jailbreak: true,
        ..Heads::default()
    };
    let answers = analyze_all(classifier, texts, heads).await?;
    let scores = answers.into_iter().map(|a| a.jailbreak.unwrap_or(0.0));
    Ok(scores.collect())
}

/// Answers for all texts, in their order.
async fn analyze_all<'a>(
    classifier: &dyn Classifier,
    texts: impl Iterator<Item = &'a str>,
    heads: Heads,
) -> Result<Vec<Analysis>, EvalError> {
    let texts: Vec<Arc<str>> = texts.map(Arc::from).collect();
    futures::stream::iter(texts)
        .map(|text| classifier.analyze(text, heads))
        .buffered(CONCURRENCY)
        .err_into()
        .try_collect()
        .await
}
