//! How fast the KV index takes events and answers matches, beside Dynamo's, as ratios.
//!
//! ```text
//! make bench-index ARGS="--traces ../shared/bench/traces"
//! ```
//!
//! Workers serve the requests of a trace in turn and publish what they store and evict. Each round
//! measures every index in turn, so that what else the machine does meets all of them.

mod index;
mod measure;
mod process;
mod report;
mod workload;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Parser;

use crate::index::{DynamoConcurrent, DynamoRadix, Index, Tandem};
use crate::measure::{Figures, alone, together};
use crate::workload::{Shape, Workload, blocks};

#[derive(Parser)]
struct Args {
    /// Folder with Mooncake's `conversation_trace.jsonl.gz` and `synthetic_trace.jsonl.gz`; a
    /// prefix forest takes their place where they are missing.
    #[arg(long, env = "TRACES", default_value = "../shared/bench/traces")]
    traces: PathBuf,
    /// Rounds, of which the best figures are printed.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
}

const SHAPE: Shape = Shape {
    workers: 8,
    capacity: 10_000,
    expand: 1,
    requests: usize::MAX,
};

/// Blocks of 16 tokens, so that there are prompts of 2,000 blocks.
const SMALL_BLOCKS: Shape = Shape {
    expand: 32,
    requests: 2_000,
    capacity: 2_000,
    ..SHAPE
};

fn main() -> Result<()> {
    let args = Args::parse();
    for workload in workloads(&args)? {
        let (events, blocks) = (workload.trace.len(), blocks(&workload.trace));
        println!("## {}\n", workload.name);
        println!(
            "{events} events with {blocks} blocks, {} prompts\n",
            workload.prompts.len()
        );
        let (mut ours, mut radix, mut concurrent) = (None, None, None);
        for _ in 0..args.rounds {
            note(&mut ours, measured::<Tandem>(&workload)?);
            note(&mut radix, alone::<DynamoRadix>(&workload)?);
            note(&mut concurrent, measured::<DynamoConcurrent>(&workload)?);
        }
        let columns = [
            (Tandem::NAME, ours),
            (DynamoRadix::NAME, radix),
            (DynamoConcurrent::NAME, concurrent),
        ];
        let columns = columns.map(|(name, figures)| (name, figures.unwrap_or_default()));
        report::print(&columns);
        let agree = |column: &(&str, Figures)| column.1.answers == columns[0].1.answers;
        ensure!(
            columns.iter().all(agree),
            "the indexes disagree: {columns:?}"
        );
    }
    Ok(())
}

fn workloads(args: &Args) -> Result<Vec<Workload>> {
    let conversation = args.traces.join("conversation_trace.jsonl.gz");
    let synthetic = args.traces.join("synthetic_trace.jsonl.gz");
    if !conversation.exists() || !synthetic.exists() {
        let few = Shape {
            requests: 12_000,
            ..SHAPE
        };
        let long = Shape {
            requests: 800,
            ..SMALL_BLOCKS
        };
        return Ok(vec![
            Workload::synthetic(24, few),
            Workload::synthetic(64, long),
        ]);
    }
    Ok(vec![
        Workload::read(&conversation, SHAPE)?,
        Workload::read(&synthetic, SHAPE)?,
        Workload::read(&conversation, SMALL_BLOCKS)?,
    ])
}

fn measured<I: Index + Sync>(workload: &Workload) -> Result<Figures> {
    let mut figures = alone::<I>(workload)?;
    together::<I>(workload, &mut figures)?;
    Ok(figures)
}

fn note(best: &mut Option<Figures>, figures: Figures) {
    *best = Some(best.map_or(figures, |best| best.better(figures)));
}
