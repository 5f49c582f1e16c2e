//! Sends chat requests over connections that stay open, and prints how long the answers took, as
//! JSON.
//!
//! ```text
//! cd bench && cargo run --release --bin load -- --port 8080 --rate 100 --seconds 2
//! ```
//!
//! With `--rate` requests start when the clock says so, whether or not answers are late; without,
//! each client sends as soon as it has its answer. No two prompts are equal, so nothing between here
//! and the model can answer from a cache.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde::Serialize;

#[derive(Parser)]
struct Args {
    /// Port of the server on this machine.
    #[arg(long)]
    port: u16,
    /// Text that prompts are cut from.
    #[arg(long)]
    text: PathBuf,
    /// Fewest words of a prompt.
    #[arg(long, default_value_t = 112)]
    min_words: u64,
    /// Most words of a prompt.
    #[arg(long, default_value_t = 112)]
    max_words: u64,
    /// Requests per second, of all clients; as many as possible if it is not given.
    #[arg(long)]
    rate: Option<f64>,
    /// Connections.
    #[arg(long, default_value_t = 4)]
    clients: u64,
    /// How long requests are sent.
    #[arg(long, default_value_t = f64::INFINITY)]
    seconds: f64,
    /// How many requests are sent at most.
    #[arg(long, default_value_t = u64::MAX)]
    requests: u64,
    /// What the answer of the model has and no other answer.
    #[arg(long)]
    expect: String,
    /// Ask for streams: what is printed is the time to the first event.
    #[arg(long)]
    stream: bool,
    /// Number of the first prompt, so that runs do not repeat each other's.
    #[arg(long, default_value_t = 0)]
    first: u64,
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    seconds: f64,
    /// Answers without the expected text: those that the router gave itself.
    unexpected: u64,
    /// In the order of the clients.
    latencies_ms: Vec<f64>,
}

/// When requests are to start.
struct Schedule {
    start: Instant,
    gap: Option<Duration>,
    end: Instant,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let text = std::fs::read_to_string(&args.text).context("failed to read the text")?;
    let words: Vec<&str> = text.split_whitespace().collect();
    ensure!(!words.is_empty(), "the text has no words");
    ensure!(
        args.min_words <= args.max_words,
        "--min-words is above --max-words"
    );
    let start = Instant::now();
    let day = Duration::from_secs(86_400);
    let schedule = Schedule {
        start,
        gap: args.rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
        end: start
            + Duration::try_from_secs_f64(args.seconds)
                .unwrap_or(day)
                .min(day),
    };
    let next = AtomicU64::new(0);
    let results = thread::scope(|scope| {
        let clients: Vec<_> = (0..args.clients)
            .map(|_| scope.spawn(|| client(&args, &words, &schedule, &next)))
            .collect();
        clients
            .into_iter()
            .map(|client| client.join().expect("clients do not panic"))
            .collect::<Result<Vec<_>>>()
    })?;
    let report = Report {
        seconds: start.elapsed().as_secs_f64(),
        unexpected: results.iter().map(|(_, unexpected)| unexpected).sum(),
        latencies_ms: results
            .into_iter()
            .flat_map(|(latencies, _)| latencies)
            .collect(),
    };
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// One connection's requests: how long each took in milliseconds, and how many answers were not the
/// model's.
fn client(
    args: &Args,
    words: &[&str],
    schedule: &Schedule,
    next: &AtomicU64,
) -> Result<(Vec<f64>, u64)> {
    let mut latencies = Vec::new();
    let mut unexpected = 0;
    let mut stream = TcpStream::connect(("127.0.0.1", args.port)).context("failed to connect")?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let due = schedule.due(number);
        if number >= args.requests || due >= schedule.end {
            return Ok((latencies, unexpected));
        }
        let request = request(&prompt(words, args, args.first + number), args.stream);
        let began = start_at(due);
        stream.write_all(&request)?;
        let length = read_head(&mut reader)?;
        let mut answer = match length {
            Some(length) => read_text(&mut reader, length)?,
            None => read_chunk(&mut reader)?,
        };
        latencies.push(began.elapsed().as_secs_f64() * 1000.0);
        let mut more = length.is_none();
        while more {
            let chunk = read_chunk(&mut reader)?;
            more = !chunk.is_empty();
            answer += &chunk;
        }
        unexpected += u64::from(!answer.contains(&args.expect));
    }
}

impl Schedule {
    fn due(&self, number: u64) -> Instant {
        match self.gap {
            Some(gap) => self.start + gap.mul_f64(number as f64),
            None => Instant::now(),
        }
    }
}

/// Waits until `due`, and gives the time that the request counts from: a client that was still busy
/// then has made its request wait, but a thread that the kernel woke late has not.
#[allow(
    clippy::disallowed_methods,
    reason = "clients are threads: there is no async runtime to block"
)]
fn start_at(due: Instant) -> Instant {
    let wait = due.saturating_duration_since(Instant::now());
    if wait.is_zero() {
        return due;
    }
    thread::sleep(wait);
    Instant::now()
}

/// Words of the text from some place on, after a number that no other prompt has.
fn prompt(words: &[&str], args: &Args, number: u64) -> String {
    // Knuth's multiplicative hash, so that neighbours differ.
    let scattered = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let count = args.min_words + scattered % (args.max_words - args.min_words + 1);
    let from = (scattered >> 8) as usize % words.len();
    let chosen = words.iter().cycle().skip(from).take(count as usize);
    let chosen: Vec<&str> = chosen.copied().collect();
    format!("Letter {number}: {}", chosen.join(" "))
}

fn request(prompt: &str, stream: bool) -> Vec<u8> {
    let mut body = serde_json::json!({
        "model": "auto",
        "messages": [{ "role": "user", "content": prompt }],
    });
    if stream {
        body["stream"] = true.into();
    }
    let body = body.to_string();
    let length = body.len();
    let head =
        "POST /v1/chat/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json";
    format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

/// How long the body is; `None` if it comes in chunks.
fn read_head(reader: &mut impl BufRead) -> Result<Option<usize>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    ensure!(line.contains(" 200 "), "the answer is {line:?}");
    let mut length = None;
    let mut chunked = false;
    loop {
        line.clear();
        ensure!(reader.read_line(&mut line)? > 0, "the connection closed");
        let field = line.trim_end().to_ascii_lowercase();
        if field.is_empty() {
            break;
        }
        if let Some(value) = field.strip_prefix("content-length:") {
            length = Some(value.trim().parse()?);
        }
        chunked |= field == "transfer-encoding: chunked";
    }
    ensure!(
        length.is_some() || chunked,
        "the answer has no content-length"
    );
    Ok(length)
}

/// Empty at the end.
fn read_chunk(reader: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let length = usize::from_str_radix(line.trim_end(), 16)?;
    let text = read_text(reader, length)?;
    line.clear();
    reader.read_line(&mut line)?;
    Ok(text)
}

fn read_text(reader: &mut impl BufRead, length: usize) -> Result<String> {
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(String::from_utf8(body)?)
}
