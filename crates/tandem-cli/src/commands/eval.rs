//! `tandem eval`: how good the encoder is on labelled sets.

use std::path::PathBuf;

use anyhow::{Context, Result};
use indicatif::ProgressBar;
use tandem_classifier::eval::{Evaluation, evaluate};

use super::classify::load_patient_encoder;
use crate::args::CacheArgs;

/// Arguments of `tandem eval`.
#[derive(Debug, clap::Args)]
pub(crate) struct EvalArgs {
    /// Directory with files such as category.valid.jsonl.gz
    #[arg(long, value_name = "DIR")]
    data: PathBuf,

    /// Split in the file names
    #[arg(long, default_value = "valid")]
    split: String,

    /// Encoder directory [default: the encoder inside this binary]
    #[arg(long, value_name = "DIR")]
    encoder: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    cache: CacheArgs,
}

/// Runs every task that the directory has files for.
#[expect(
    clippy::print_stdout,
    reason = "this is what the command tells the person who ran it"
)]
pub(crate) fn run(args: &EvalArgs) -> Result<()> {
    let classifier = load_patient_encoder(args.encoder.as_deref(), &args.cache)?;
    let evaluation = Evaluation {
        dir: &args.data,
        split: &args.split,
        jailbreak_threshold: classifier
            .thresholds()
            .map(|thresholds| thresholds.jailbreak),
    };
    let spinner = ProgressBar::new_spinner().with_message("scoring the validation sets");
    spinner.enable_steady_tick(std::time::Duration::from_millis(200));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_time()
        .build()?;
    let report = runtime
        .block_on(evaluate(&classifier, &evaluation))
        .with_context(|| format!("failed to score the sets in {}", args.data.display()))?;
    spinner.finish_and_clear();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{report}");
    }
    Ok(())
}
