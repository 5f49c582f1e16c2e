//! The embedded engine against candle's own llama, on the same machine in the same run.
//!
//! Random weights at TinyLlama-1.1B's dimensions. `--layers 22` is the whole model: 4.4 GB in
//! f32, one engine at a time. With `--rounds N` each figure is the best of N.

use std::time::Duration;

use anyhow::Result;
use candle_core::DType;
use clap::Parser;
use tandem_bench::candle::Candle;
use tandem_bench::clock::Spent;
use tandem_bench::shape::{Shape, Work};
use tandem_bench::tandem;

#[derive(Debug, Parser)]
struct Args {
    /// Decoder layers; 22 is the whole model.
    #[arg(long, default_value_t = 22)]
    layers: usize,
    /// Tokens to decode per sequence.
    #[arg(long, default_value_t = 32)]
    decode: usize,
    /// Tokens of the prefill prompt.
    #[arg(long, default_value_t = 512)]
    prefill: usize,
    /// Repetitions; the best counts.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Compute threads of the embedded engine; candle takes RAYON_NUM_THREADS.
    #[arg(long)]
    threads: Option<usize>,
    /// Measure the embedded engine only.
    #[arg(long)]
    no_candle: bool,
    /// Also measure candle with bf16 weights.
    #[arg(long)]
    candle_bf16: bool,
}

/// Tokens per second of one engine, with wall and CPU seconds behind them.
#[derive(Debug, Clone, Copy)]
struct Figure {
    tokens: usize,
    spent: Spent,
}

#[derive(Debug, Clone, Copy)]
struct Figures {
    decode: Figure,
    /// Eight sequences; candle's example runs one.
    decode_batch: Option<Figure>,
    prefill: Figure,
}

const BATCH: usize = 8;

fn main() -> Result<()> {
    let args = Args::parse();
    let shape = Shape::tiny_llama(args.layers);
    let work = Work {
        prefill: args.prefill,
        context: 32,
        decode: args.decode,
    };
    println!(
        "{} of 22 layers, {} M weights; best of {} rounds",
        args.layers,
        shape.weights() / 1_000_000,
        args.rounds
    );
    println!(
        "{:<16} {:<22} {:>10} {:>9} {:>9}",
        "engine", "work", "tokens/s", "wall s", "cpu s"
    );
    let mut baseline = None;
    if !args.no_candle {
        let figures = measure_candle(&args, shape, work, DType::F32)?;
        report("candle f32", figures, None);
        baseline = Some(figures);
    }
    if args.candle_bf16 {
        let figures = measure_candle(&args, shape, work, DType::BF16)?;
        report("candle bf16", figures, baseline);
    }
    for (name, bf16) in [("tandem f32", false), ("tandem bf16", true)] {
        let figures = measure_tandem(&args, shape, work, bf16)?;
        report(name, figures, baseline);
    }
    Ok(())
}

fn measure_candle(args: &Args, shape: Shape, work: Work, dtype: DType) -> Result<Figures> {
    let candle = Candle::load(shape, dtype)?;
    Ok(Figures {
        decode: best(args, work.decode, || candle.decode(work))?,
        decode_batch: None,
        prefill: best(args, work.prefill, || candle.prefill(work))?,
    })
}

fn measure_tandem(args: &Args, shape: Shape, work: Work, bf16: bool) -> Result<Figures> {
    let engine = tandem::start(shape, bf16, args.threads)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let decode = |batch| runtime.block_on(tandem::decode(&engine, work, batch));
    Ok(Figures {
        decode: best(args, work.decode, || decode(1))?,
        decode_batch: Some(best(args, work.decode * BATCH, || decode(BATCH))?),
        prefill: best(args, work.prefill, || {
            runtime.block_on(tandem::prefill(&engine, work))
        })?,
    })
}

fn best(args: &Args, tokens: usize, mut run: impl FnMut() -> Result<Spent>) -> Result<Figure> {
    let mut best: Option<Spent> = None;
    for _ in 0..args.rounds.max(1) {
        let spent = run()?;
        if best.is_none_or(|best| spent.wall < best.wall) {
            best = Some(spent);
        }
    }
    let zero = Duration::ZERO;
    let spent = best.unwrap_or(Spent {
        wall: zero,
        cpu: zero,
    });
    Ok(Figure { tokens, spent })
}

impl Figure {
    fn rate(&self) -> f64 {
        self.tokens as f64 / self.spent.wall.as_secs_f64()
    }

    fn cpu_rate(&self) -> f64 {
        self.tokens as f64 / self.spent.cpu.as_secs_f64().max(0.01)
    }
}

fn report(engine: &str, figures: Figures, baseline: Option<Figures>) {
    let base = |figure: fn(Figures) -> Figure| baseline.map(figure);
    let decode = base(|figures| figures.decode);
    line(engine, "decode, batch 1", figures.decode, decode);
    if let Some(batch) = figures.decode_batch {
        line(engine, "decode, batch 8 (sum)", batch, decode);
    }
    let prefill = base(|figures| figures.prefill);
    line(engine, "prefill", figures.prefill, prefill);
}

fn line(engine: &str, work: &str, figure: Figure, baseline: Option<Figure>) {
    let Spent { wall, cpu } = figure.spent;
    print!(
        "{engine:<16} {work:<22} {:>10.2} {:>9.2} {:>9.2}",
        figure.rate(),
        wall.as_secs_f64(),
        cpu.as_secs_f64()
    );
    match baseline {
        None => println!(),
        Some(baseline) => println!(
            "   {:.2}x candle f32 batch 1, {:.2}x per cpu second",
            figure.rate() / baseline.rate(),
            figure.cpu_rate() / baseline.cpu_rate()
        ),
    }
}
