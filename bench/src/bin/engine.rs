//! The embedded engine against candle's own examples and vLLM, on the same machine in the same run.
//!
//! Random weights at TinyLlama-1.1B's dimensions, each engine in a process of its own. `--layers
//! 22` is the whole model: 4.4 GB in f32. With `--rounds N` each figure is the best of N.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use candle_core::DType;
use candle_core::quantized::GgmlDType;
use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};
use tandem_bench::candle::Candle;
use tandem_bench::clock::{Spent, resident};
use tandem_bench::gguf::{self, QuantizedCandle};
use tandem_bench::shape::{Shape, Work};
use tandem_bench::tandem;
use tandem_worker::engine::embedded::Quantization;

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
    /// Engines to measure; the others are compared with the first.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = DEFAULT.to_vec())]
    engines: Vec<Engine>,
    /// Virtual environment of vLLM for the processor, as `make test-vllm` installs it.
    #[arg(long, default_value = ".venv-vllm")]
    vllm: PathBuf,
    /// Directory for the weights, some GB, which are removed at the end.
    #[arg(long, default_value = "target/engine-bench")]
    scratch: PathBuf,
    /// Measures this engine only and prints its figures for the process that asks.
    #[arg(long, hide = true)]
    measure: Option<Engine>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    CandleF32,
    CandleBf16,
    CandleQ8,
    CandleQ4k,
    TandemF32,
    TandemBf16,
    TandemQ8,
    TandemQ4k,
    Vllm,
}

const DEFAULT: [Engine; 8] = [
    Engine::CandleF32,
    Engine::CandleQ8,
    Engine::CandleQ4k,
    Engine::TandemF32,
    Engine::TandemBf16,
    Engine::TandemQ8,
    Engine::TandemQ4k,
    Engine::Vllm,
];

/// Tokens of one engine's work, with the wall and CPU seconds that they took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Figure {
    tokens: usize,
    wall: f64,
    cpu: f64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Figures {
    decode: Figure,
    /// Eight sequences; candle's example runs one.
    decode_batch: Option<Figure>,
    prefill: Figure,
    /// Seconds from the start of the process to the first token of a prompt of 16, the weights
    /// being in the page cache.
    first_token: Option<f64>,
    /// Resident at the end, in MiB.
    memory: u64,
}

const BATCH: usize = 8;

fn main() -> Result<()> {
    let started = Instant::now();
    let args = Args::parse();
    if let Some(engine) = args.measure {
        let figures = measure(&args, engine, started)?;
        println!("{}", serde_json::to_string(&figures)?);
        return Ok(());
    }
    println!(
        "{} of 22 layers, {} M weights; best of {} rounds",
        args.layers,
        Shape::tiny_llama(args.layers).weights() / 1_000_000,
        args.rounds
    );
    println!("instruction sets: {}", instruction_sets()?.join(" "));
    println!(
        "{:<13} {:<21} {:>9} {:>12} {:>8} {:>8}",
        "engine", "work", "tokens/s", "tokens/cpu s", "wall s", "cpu s"
    );
    // Weights of a run that was broken off may not be whole.
    clear(&args)?;
    let mut first = None;
    for engine in &args.engines {
        if *engine == Engine::Vllm && !args.vllm.exists() {
            println!("vllm: left out, {} does not exist", args.vllm.display());
            continue;
        }
        prepare(&args, *engine)?;
        let figures = ask(&args, *engine)?;
        report(*engine, &figures, first.as_ref());
        first.get_or_insert(figures);
    }
    clear(&args)
}

/// Removes the weights, and nothing else that may be there.
fn clear(args: &Args) -> Result<()> {
    for engine in &args.engines {
        let path = args.scratch.join(engine.weights());
        if path.exists() {
            std::fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// Writes the weights that `engine` reads, unless they are there.
fn prepare(args: &Args, engine: Engine) -> Result<()> {
    let shape = Shape::tiny_llama(args.layers);
    let path = args.scratch.join(engine.weights());
    if path.exists() {
        return Ok(());
    }
    let in_memory = [Engine::CandleF32, Engine::CandleBf16].contains(&engine);
    if in_memory {
        return Ok(());
    }
    std::fs::create_dir_all(&path)?;
    match engine {
        Engine::CandleQ8 => gguf::write(shape, GgmlDType::Q8_0, &path.join("model.gguf")),
        Engine::CandleQ4k => gguf::write(shape, GgmlDType::Q4K, &path.join("model.gguf")),
        Engine::TandemF32 => tandem::write(shape, DType::F32, &path),
        _ => tandem::write(shape, DType::BF16, &path),
    }
}

/// Those of the processor that matter to matrix products.
fn instruction_sets() -> Result<Vec<String>> {
    const NAMES: [&str; 9] = [
        "avx2",
        "fma",
        "f16c",
        "avx_vnni",
        "avx512f",
        "avx512_vnni",
        "avx512_bf16",
        "amx_bf16",
        "amx_int8",
    ];
    let info = std::fs::read_to_string("/proc/cpuinfo").context("failed to read cpu flags")?;
    let flags = info.lines().find(|line| line.starts_with("flags"));
    let flags = flags.unwrap_or_default().split_whitespace();
    Ok(flags
        .filter(|flag| NAMES.contains(flag))
        .map(ToOwned::to_owned)
        .collect())
}

/// Runs a process that measures one engine.
fn ask(args: &Args, engine: Engine) -> Result<Figures> {
    let mut command = match engine {
        Engine::Vllm => vllm(args)?,
        _ => itself(args, engine)?,
    };
    command
        .args(["--decode", &args.decode.to_string()])
        .args(["--prefill", &args.prefill.to_string()])
        .args(["--rounds", &args.rounds.to_string()]);
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        bail!("{} ended with {}", engine.name(), output.status);
    }
    let output = String::from_utf8(output.stdout)?;
    let figures = output.trim_end().lines().next_back().unwrap_or_default();
    serde_json::from_str(figures).context("figures of the measuring process")
}

/// Another process of this program.
fn itself(args: &Args, engine: Engine) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--measure", &engine.name()])
        .args(["--layers", &args.layers.to_string()])
        .arg("--scratch")
        .arg(&args.scratch);
    if let Some(threads) = args.threads {
        command.args(["--threads", &threads.to_string()]);
    }
    Ok(command)
}

/// A process of vLLM, with as many threads as the embedded engine.
fn vllm(args: &Args) -> Result<Command> {
    let threads = match args.threads {
        Some(threads) => threads,
        None => std::thread::available_parallelism()?.get(),
    };
    let mut command = Command::new(args.vllm.join("bin/python"));
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/vllm_engine.py"))
        .arg("--model")
        .arg(args.scratch.join(Engine::Vllm.weights()))
        .env("OMP_NUM_THREADS", threads.to_string())
        .env("LD_PRELOAD", args.vllm.join("lib/libiomp5.so"))
        .env("VLLM_CPU_KVCACHE_SPACE", "1")
        .env("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        .env("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        .env("VLLM_HOST_IP", "127.0.0.1")
        .env("VLLM_LOGGING_LEVEL", "ERROR")
        .env("VLLM_NO_USAGE_STATS", "1")
        .env("HF_HUB_OFFLINE", "1")
        .env("TORCH_COMPILE_DISABLE", "1");
    Ok(command)
}

fn measure(args: &Args, engine: Engine, started: Instant) -> Result<Figures> {
    let shape = Shape::tiny_llama(args.layers);
    let directory = args.scratch.join(engine.weights());
    let tandem = |quantization| measure_tandem(args, &directory, quantization, started);
    match engine {
        Engine::CandleF32 => measure_candle(args, shape, DType::F32),
        Engine::CandleBf16 => measure_candle(args, shape, DType::BF16),
        Engine::CandleQ8 | Engine::CandleQ4k => measure_gguf(args, &directory, started),
        Engine::TandemF32 | Engine::TandemBf16 => tandem(Quantization::None),
        Engine::TandemQ8 => tandem(Quantization::Q8_0),
        Engine::TandemQ4k => tandem(Quantization::Q4K),
        Engine::Vllm => bail!("vLLM is measured by a program of its own"),
    }
}

fn measure_candle(args: &Args, shape: Shape, dtype: DType) -> Result<Figures> {
    let candle = Candle::load(shape, dtype)?;
    let work = args.work();
    Ok(Figures {
        decode: best(args, work.decode, || candle.decode(work))?,
        decode_batch: None,
        prefill: best(args, work.prefill, || candle.prefill(work))?,
        first_token: None,
        memory: resident()?,
    })
}

fn measure_gguf(args: &Args, directory: &Path, started: Instant) -> Result<Figures> {
    let mut candle = QuantizedCandle::load(&directory.join("model.gguf"))?;
    let work = args.work();
    let short = Work {
        prefill: 16,
        ..work
    };
    candle.prefill(short)?;
    let first_token = started.elapsed().as_secs_f64();
    Ok(Figures {
        decode: best(args, work.decode, || candle.decode(work))?,
        decode_batch: None,
        prefill: best(args, work.prefill, || candle.prefill(work))?,
        first_token: Some(first_token),
        memory: resident()?,
    })
}

fn measure_tandem(
    args: &Args,
    directory: &Path,
    quantization: Quantization,
    started: Instant,
) -> Result<Figures> {
    let engine = tandem::load(directory, quantization, args.threads)?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    runtime.block_on(tandem::first_token(&engine))?;
    let first_token = started.elapsed().as_secs_f64();
    let work = args.work();
    let decode = |batch| runtime.block_on(tandem::decode(&engine, work, batch));
    Ok(Figures {
        decode: best(args, work.decode, || decode(1))?,
        decode_batch: Some(best(args, work.decode * BATCH, || decode(BATCH))?),
        prefill: best(args, work.prefill, || {
            runtime.block_on(tandem::prefill(&engine, work))
        })?,
        first_token: Some(first_token),
        memory: resident()?,
    })
}

fn best(args: &Args, tokens: usize, mut run: impl FnMut() -> Result<Spent>) -> Result<Figure> {
    let mut best = Spent {
        wall: Duration::MAX,
        cpu: Duration::MAX,
    };
    for _ in 0..args.rounds.max(1) {
        let spent = run()?;
        best.wall = best.wall.min(spent.wall);
        best.cpu = best.cpu.min(spent.cpu);
    }
    Ok(Figure {
        tokens,
        wall: best.wall.as_secs_f64(),
        cpu: best.cpu.as_secs_f64(),
    })
}

impl Args {
    const fn work(&self) -> Work {
        Work {
            prefill: self.prefill,
            context: 32,
            decode: self.decode,
        }
    }
}

impl Engine {
    /// As on the command line.
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Folder of the weights.
    const fn weights(self) -> &'static str {
        match self {
            Self::CandleF32 | Self::CandleBf16 => "in-memory",
            Self::CandleQ8 => "gguf-q8",
            Self::CandleQ4k => "gguf-q4k",
            Self::TandemF32 => "f32",
            Self::TandemBf16 | Self::TandemQ8 | Self::TandemQ4k | Self::Vllm => "bf16",
        }
    }
}

impl Figure {
    fn rate(&self) -> f64 {
        self.tokens as f64 / self.wall
    }

    fn cpu_rate(&self) -> f64 {
        self.tokens as f64 / self.cpu.max(0.01)
    }
}

fn report(engine: Engine, figures: &Figures, first: Option<&Figures>) {
    let line = |work: &str, figure: &Figure, base: Option<&Figure>| {
        print!(
            "{:<13} {work:<21} {:>9.2} {:>12.2} {:>8.2} {:>8.2}",
            engine.name(),
            figure.rate(),
            figure.cpu_rate(),
            figure.wall,
            figure.cpu
        );
        match base {
            None => println!(),
            Some(base) => println!(
                "   {:.2}x the first engine at batch 1, {:.2}x per cpu second",
                figure.rate() / base.rate(),
                figure.cpu_rate() / base.cpu_rate()
            ),
        }
    };
    let base = |of: fn(&Figures) -> &Figure| first.map(of);
    line("decode, batch 1", &figures.decode, base(|all| &all.decode));
    if let Some(batch) = &figures.decode_batch {
        line("decode, batch 8 (sum)", batch, base(|all| &all.decode));
    }
    line("prefill", &figures.prefill, base(|all| &all.prefill));
    if let Some(seconds) = figures.first_token {
        let name = engine.name();
        println!("{name:<13} {:<21} {seconds:>9.2} s", "start to first token");
    }
    println!(
        "{:<13} {:<21} {:>9} MiB",
        engine.name(),
        "resident",
        figures.memory
    );
}
