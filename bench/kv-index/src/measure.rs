//! What is measured of one index, the same for each.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tandem_protocol::kv::{BlockHash, RouterEvent};

use crate::index::Index;
use crate::process;
use crate::workload::{Workload, blocks};

/// How long matches are counted.
const MATCHING: Duration = Duration::from_millis(400);

/// What one index did in one round. Times are in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// CPU time of a stored block.
    pub store: f64,
    /// CPU time of a removed block.
    pub remove: f64,
    /// CPU time of a block of the trace's events.
    pub trace: f64,
    /// Time of a block of the trace's events with two threads.
    pub trace_two_threads: f64,
    /// CPU time of the same.
    pub trace_two_threads_cpu: f64,
    pub match_p50: f64,
    pub match_p99: f64,
    /// Of prompts that have 2,000 blocks.
    pub long_match_p99: f64,
    /// CPU time of a match.
    pub match_cpu: f64,
    pub matches_per_second_two_threads: f64,
    /// While another thread applies events.
    pub busy_match_p99: f64,
    pub busy_matches_per_second: f64,
    /// Memory per block that a worker holds.
    pub bytes: f64,
    /// Sum over all answers; equal for indexes that agree.
    pub answers: u64,
}

/// What an index can do on one thread.
pub fn alone<I: Index>(workload: &Workload) -> Result<Figures> {
    let mut figures = Figures::default();
    let before = process::heap_bytes();
    let index = I::new(1)?;
    figures.store = cpu_of_events(&index, &workload.fill)?;
    let held = blocks(&workload.fill);
    figures.bytes = process::heap_bytes().saturating_sub(before) as f64 / held as f64;
    figures.remove = cpu_of_events(&index, &workload.drain)?;
    drop(index);

    let index = I::new(1)?;
    figures.trace = cpu_of_events(&index, &workload.trace)?;
    let prompts: Vec<_> = workload
        .prompts
        .iter()
        .map(|blocks| I::prompt(blocks))
        .collect();
    let mut times = Vec::with_capacity(prompts.len());
    for prompt in &prompts {
        let started = Instant::now();
        let (workers, depth) = black_box(index.find(prompt));
        times.push(started.elapsed());
        figures.answers += workers as u64 * 1_000_000 + u64::from(depth);
    }
    (figures.match_p50, figures.match_p99) =
        (quantile(&mut times, 0.5), quantile(&mut times, 0.99));
    let long: Vec<_> = long_prompts(workload).map(I::prompt).collect();
    let mut times: Vec<_> = (0..4)
        .flat_map(|_| &long)
        .map(|prompt| time(&index, prompt))
        .collect();
    figures.long_match_p99 = quantile(&mut times, 0.99);
    let (started, before) = (Instant::now(), process::cpu_time()?);
    let mut matches = 0;
    while started.elapsed() < MATCHING {
        for prompt in &prompts {
            black_box(index.find(prompt));
        }
        matches += prompts.len();
    }
    let spent = process::cpu_time()? - before;
    figures.match_cpu = spent.as_nanos() as f64 / matches as f64;
    Ok(figures)
}

/// Adds what an index can do on two threads.
pub fn together<I: Index + Sync>(workload: &Workload, figures: &mut Figures) -> Result<()> {
    let index = I::new(2)?;
    let lists = by_thread::<I>(&workload.trace, 2);
    let (started, before) = (Instant::now(), process::cpu_time()?);
    index.apply(lists)?;
    let (elapsed, spent) = (started.elapsed(), process::cpu_time()? - before);
    let count = blocks(&workload.trace) as f64;
    figures.trace_two_threads = elapsed.as_nanos() as f64 / count;
    figures.trace_two_threads_cpu = spent.as_nanos() as f64 / count;

    let prompts: Vec<_> = workload
        .prompts
        .iter()
        .map(|blocks| I::prompt(blocks))
        .collect();
    let matches = AtomicUsize::new(0);
    let started = Instant::now();
    thread::scope(|scope| {
        let (index, matches) = (&index, &matches);
        for half in prompts.chunks(prompts.len().div_ceil(2)) {
            scope.spawn(move || {
                while started.elapsed() < MATCHING {
                    for prompt in half {
                        black_box(index.find(prompt));
                    }
                    matches.fetch_add(half.len(), Ordering::Relaxed);
                }
            });
        }
    });
    let seconds = started.elapsed().as_secs_f64();
    figures.matches_per_second_two_threads = matches.into_inner() as f64 / seconds;

    let index = I::new(1)?;
    let lists = by_thread::<I>(&workload.trace, 1);
    let applied = AtomicBool::new(false);
    let mut times = Vec::with_capacity(1 << 20);
    let started = Instant::now();
    let result = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let result = index.apply(lists);
            applied.store(true, Ordering::Relaxed);
            result
        });
        for prompt in prompts.iter().cycle() {
            if applied.load(Ordering::Relaxed) {
                break;
            }
            times.push(time(&index, prompt));
        }
        writer.join().expect("no panic")
    });
    result?;
    ensure!(!times.is_empty(), "events were faster than one match");
    figures.busy_matches_per_second = times.len() as f64 / started.elapsed().as_secs_f64();
    figures.busy_match_p99 = quantile(&mut times, 0.99);
    Ok(())
}

impl Figures {
    /// The better of two rounds, each figure for itself: what disturbs only adds.
    pub fn better(self, other: Self) -> Self {
        Self {
            store: self.store.min(other.store),
            remove: self.remove.min(other.remove),
            trace: self.trace.min(other.trace),
            trace_two_threads: self.trace_two_threads.min(other.trace_two_threads),
            trace_two_threads_cpu: self.trace_two_threads_cpu.min(other.trace_two_threads_cpu),
            match_p50: self.match_p50.min(other.match_p50),
            match_p99: self.match_p99.min(other.match_p99),
            long_match_p99: self.long_match_p99.min(other.long_match_p99),
            match_cpu: self.match_cpu.min(other.match_cpu),
            matches_per_second_two_threads: self
                .matches_per_second_two_threads
                .max(other.matches_per_second_two_threads),
            busy_match_p99: self.busy_match_p99.min(other.busy_match_p99),
            busy_matches_per_second: self
                .busy_matches_per_second
                .max(other.busy_matches_per_second),
            bytes: self.bytes.min(other.bytes),
            answers: self.answers,
        }
    }
}

/// The prompts that have 2,000 blocks, cut to that length.
fn long_prompts(workload: &Workload) -> impl Iterator<Item = &[BlockHash]> {
    workload
        .prompts
        .iter()
        .filter_map(|prompt| prompt.get(..2_000))
}

fn cpu_of_events<I: Index>(index: &I, events: &[RouterEvent]) -> Result<f64> {
    let lists = by_thread::<I>(events, 1);
    let before = process::cpu_time()?;
    index.apply(lists)?;
    let spent = process::cpu_time()? - before;
    Ok(spent.as_nanos() as f64 / blocks(events) as f64)
}

fn by_thread<I: Index>(events: &[RouterEvent], threads: usize) -> Vec<Vec<I::Event>> {
    let mut lists: Vec<_> = (0..threads)
        .map(|_| Vec::with_capacity(events.len()))
        .collect();
    for event in events {
        lists[event.worker_id as usize % threads].push(I::event(event));
    }
    lists
}

fn time<I: Index>(index: &I, prompt: &I::Prompt) -> Duration {
    let started = Instant::now();
    black_box(index.find(prompt));
    started.elapsed()
}

fn quantile(times: &mut [Duration], share: f64) -> f64 {
    times.sort_unstable();
    let at = (times.len() as f64 * share) as usize;
    times
        .get(at)
        .map_or(f64::NAN, |time| time.as_nanos() as f64)
}
