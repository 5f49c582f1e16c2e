//! `tandem classify`: what the encoder makes of a text.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tandem_classifier::{Analysis, Classifier, EncoderClassifier, Heads, Settings};

use super::load_encoder;
use crate::args::CacheArgs;

/// Longest wait for one text.
const PATIENCE: Duration = Duration::from_secs(600);
/// Domains that are shown.
const SHOWN_DOMAINS: usize = 3;

/// Arguments of `tandem classify`.
#[derive(Debug, clap::Args)]
pub(crate) struct ClassifyArgs {
    /// The text [default: standard input]
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,

    /// Encoder directory [default: the encoder inside this binary]
    #[arg(long, value_name = "DIR")]
    encoder: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    cache: CacheArgs,
}

/// Classifies one text.
#[expect(
    clippy::print_stdout,
    reason = "this is what the command tells the person who ran it"
)]
pub(crate) fn run(args: &ClassifyArgs) -> Result<()> {
    let text = match &args.text {
        Some(text) => text.clone(),
        None => read_stdin()?,
    };
    let classifier = load_patient_encoder(args.encoder.as_deref(), &args.cache)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let text: Arc<str> = text.into();
    let analysis = runtime.block_on(classifier.analyze(Arc::clone(&text), Heads::ALL))?;
    if args.json {
        println!("{:#}", as_json(&text, &analysis));
    } else {
        print!("{}", as_text(&text, &analysis));
    }
    Ok(())
}

/// The encoder that was named, or else the shipped one, which may take its time.
pub(crate) fn load_patient_encoder(
    directory: Option<&std::path::Path>,
    cache: &CacheArgs,
) -> Result<EncoderClassifier> {
    // Nobody waits for an answer here, so a slow machine should not make it fail.
    let settings = Settings {
        timeout: PATIENCE,
        ..Settings::default()
    };
    load_encoder(directory, &cache.directory(), settings)
}

fn read_stdin() -> Result<String> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .context("failed to read standard input")?;
    String::from_utf8(bytes).context("the text on standard input is not UTF-8")
}

fn as_json(text: &str, analysis: &Analysis) -> Value {
    let domains = analysis.domain.iter().flatten();
    let spans = analysis.pii.iter().flatten();
    json!({
        "domain": domains
            .map(|one| json!({"label": &*one.label, "score": one.score}))
            .collect::<Vec<_>>(),
        "jailbreak": analysis.jailbreak,
        "pii": spans
            .map(|span| json!({
                "type": &*span.kind, "start": span.start, "end": span.end,
                "text": &text[span.start..span.end], "score": span.score,
                "source": format!("{:?}", span.source).to_lowercase(),
            }))
            .collect::<Vec<_>>(),
        "embedding_dimensions": analysis.embedding.as_ref().map(|vector| vector.len()),
    })
}

fn as_text(text: &str, analysis: &Analysis) -> String {
    let mut lines = String::new();
    for one in analysis.domain.iter().flatten().take(SHOWN_DOMAINS) {
        lines += &format!("domain     {:<20} {:.3}\n", one.label, one.score);
    }
    if let Some(probability) = analysis.jailbreak {
        lines += &format!("jailbreak  {probability:.3}\n");
    }
    for span in analysis.pii.iter().flatten() {
        let found = &text[span.start..span.end];
        lines += &format!(
            "pii        {:<20} {:.3}  {found:?}\n",
            span.kind, span.score
        );
    }
    lines
}
