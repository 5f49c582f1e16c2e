//! Latency of one text through all heads on one compute thread, and the time to load the model.
//!
//! `cargo bench -p tandem-classifier -- DIR` takes another model directory than the shipped one.

#![allow(
    clippy::print_stdout,
    reason = "a benchmark reports on standard output"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use tandem_classifier::{Classifier as _, EncoderClassifier, Heads, Settings};

/// Measured calls.
const ROUNDS: usize = 100;
/// Calls before the measured ones.
const WARM_UP: usize = 10;

/// About 128 tokens of what users write.
const TEXT: &str = "Hi, I'm planning a trip to Norway next summer with my wife and our two children, \
    who are 7 and 9. We would like to rent a car in Bergen, drive along the fjords for about ten \
    days and sleep in small cabins near the water. Could you suggest a route with short drives, a \
    few easy hikes and one or two museums for rainy days? My budget is roughly 4,500 dollars \
    without flights. Please also tell me which documents I need for the rental car, and send the \
    plan to anna.smith@example.org or call me at (415) 555-0134 in the evening.";

fn main() {
    let dir = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let shipped = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../models/tandem-nano-encoder"
    );
    let dir = PathBuf::from(dir.as_deref().unwrap_or(shipped));
    if !dir.exists() {
        println!("skipped: {} does not exist", dir.display());
        return;
    }
    let start = Instant::now();
    let classifier = match EncoderClassifier::nano(&dir, Settings::default()) {
        Ok(classifier) => classifier,
        Err(error) => {
            println!("failed: {error}");
            return;
        }
    };
    println!("load {:>32} {:>9.3?}", "", start.elapsed());
    let short = "What is 2+2?".to_owned();
    let long = TEXT.repeat(8);
    let one = |domain, jailbreak, pii, embedding| Heads {
        domain,
        jailbreak,
        pii,
        embedding,
    };
    for (name, text, heads) in [
        ("short, all heads", short, Heads::ALL),
        ("128 tokens, all heads", TEXT.to_owned(), Heads::ALL),
        (
            "128 tokens, domain",
            TEXT.to_owned(),
            one(true, false, false, false),
        ),
        (
            "128 tokens, pii",
            TEXT.to_owned(),
            one(false, false, true, false),
        ),
        (
            "128 tokens, embedding",
            TEXT.to_owned(),
            one(false, false, false, true),
        ),
        ("1000 tokens, all heads", long, Heads::ALL),
    ] {
        measure(&classifier, name, &text.into(), heads);
    }
    let throughput = Instant::now();
    let text: Arc<str> = "Summarize the plot of Hamlet in two sentences, please.".into();
    let many = (0..200).map(|_| classifier.analyze(Arc::clone(&text), Heads::ALL));
    let answers = block_on(futures::future::join_all(many));
    let good = answers.iter().filter(|answer| answer.is_ok()).count();
    println!(
        "{good} short texts at once {:>14.0} texts/s",
        f64::from(u32::try_from(good).unwrap_or(0)) / throughput.elapsed().as_secs_f64()
    );
}

fn measure(classifier: &EncoderClassifier, name: &str, text: &Arc<str>, heads: Heads) {
    let call = || {
        let start = Instant::now();
        let answer = block_on(classifier.analyze(Arc::clone(text), heads));
        std::hint::black_box(answer).map(|_| start.elapsed())
    };
    for _ in 0..WARM_UP {
        std::hint::black_box(call()).ok();
    }
    let before = cpu_time();
    let mut times: Vec<Duration> = (0..ROUNDS).filter_map(|_| call().ok()).collect();
    let cpu = (cpu_time() - before) / u32::try_from(ROUNDS).unwrap_or(1);
    times.sort_unstable();
    let at = |percent: usize| {
        let index = times.len() * percent / 100;
        times.get(index).copied().unwrap_or_default()
    };
    println!(
        "{name:<28} p50 {:>9.3?} p90 {:>9.3?} min {:>9.3?} cpu {cpu:>9.3?}",
        at(50),
        at(90),
        at(0)
    );
}

/// Time that the threads of this process have run, where the system tells: on a busy machine it
/// says more than the clock.
fn cpu_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    let times = tasks.flatten().filter_map(|task| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(times.sum())
}
