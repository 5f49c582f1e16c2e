//! CPU that callers and workers spend on 1,000 streamed tokens, over NATS with dial-back (a
//! connection for each answer, JSON) and over the connection between our own processes (JSON, and
//! compact). Both sides encode and decode what engines send. Needs `nats-server`.
//!
//! The two sides are processes, so that their CPU time can be told apart. All answers advance
//! together, as those of a batch in an engine do.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench")]

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tandem_protocol::engine::{Annotated, EngineOutput, compact};
use tandem_runtime::nats::{NatsLogin, NatsOptions, NatsTls, connect};
use tandem_runtime::request_plane::{
    Encoding, Handler, NetworkOptions, NetworkRequestPlane, Preference, Request,
};
use tandem_runtime::{EndpointId, Instance, Lifecycle, RequestPlane, Secret};
use tokio::sync::watch;

/// Answers at a time.
const STREAMS: usize = 64;
/// Tokens of each.
const TOKENS: u32 = 500;
/// Times that each way is taken.
const ROUNDS: u32 = 5;
/// Time between two tokens of an answer.
const STEP: Duration = Duration::from_millis(10);
/// Clock ticks a second in `/proc`, as Linux has it everywhere.
const TICKS: f64 = 100.0;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let args: Vec<String> = std::env::args().collect();
    match args.iter().position(|arg| arg == "--worker") {
        Some(at) => runtime.block_on(worker(&args[at + 1])),
        None => runtime.block_on(compare()),
    }
}

/// Stops a process at the end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

async fn compare() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let directory = tempfile::tempdir().unwrap();
    let server = Command::new("nats-server")
        .args(["-js", "-a=127.0.0.1", &format!("-p={port}")])
        .arg(format!("-sd={}", directory.path().display()))
        .stderr(Stdio::null())
        .spawn();
    let _server = Running(server.expect("nats-server is installed"));
    let address = format!("nats://127.0.0.1:{port}");

    let worker = Command::new(std::env::current_exe().unwrap())
        .args(["--worker", &address])
        .stdout(Stdio::piped())
        .spawn();
    let mut worker = Running(worker.unwrap());
    let mut line = String::new();
    let output = worker.0.stdout.take().unwrap();
    BufReader::new(output).read_line(&mut line).unwrap();
    let instance: Instance = serde_json::from_str(&line).unwrap();

    println!("{STREAMS} answers at a time, {TOKENS} tokens each, a token every {STEP:?}");
    println!("CPU ms for 1,000 tokens           caller   worker      sum  of the first");
    let ways = [
        (
            "NATS with dial-back, JSON",
            Preference::Nats,
            Encoding::Json,
        ),
        ("one connection, JSON", Preference::Direct, Encoding::Json),
        (
            "one connection, compact",
            Preference::Direct,
            Encoding::Compact,
        ),
    ];
    let mut spent = [[0.0; 2]; 3];
    for _ in 0..ROUNDS {
        // In turn, so that whatever else the machine does meets all of them.
        for ((_, preference, encoding), spent) in ways.into_iter().zip(&mut spent) {
            let plane = Arc::new(plane(&address, preference).await);
            let processes = ["self".to_owned(), worker.0.id().to_string()];
            let before = processes.each_ref().map(|process| cpu(process));
            run(&plane, &instance, encoding).await;
            for ((process, before), spent) in processes.iter().zip(before).zip(spent) {
                *spent += per_thousand(cpu(process) - before);
            }
        }
    }
    let first = spent[0][0] + spent[0][1];
    for ((name, ..), [caller, worker]) in ways.into_iter().zip(spent) {
        let (sum, share) = (caller + worker, 100.0 * (caller + worker) / first);
        println!("{name:30} {caller:9.2}{worker:9.2}{sum:9.2}{share:9.0} %");
    }
}

async fn run(plane: &Arc<NetworkRequestPlane>, instance: &Instance, encoding: Encoding) {
    let lifecycle = Lifecycle::new();
    let calls = (0..STREAMS).map(|_| {
        let (plane, instance) = (Arc::clone(plane), instance.clone());
        lifecycle.spawn_to_end(async move {
            let request = Request {
                encoding,
                ..Request::new("bench", "{}")
            };
            let mut answers = plane.call(&instance, request).await.unwrap();
            let mut tokens = 0;
            while let Some(answer) = answers.next().await {
                let answer = compact::decode(&answer.unwrap()).unwrap();
                tokens += u32::try_from(answer.data.unwrap().token_ids.len()).unwrap();
            }
            assert_eq!(tokens, TOKENS);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
}

async fn worker(address: &str) {
    let serving = plane(address, Preference::Direct).await;
    let endpoint = EndpointId::new("ns", "backend", "generate");
    let (step, steps) = watch::channel(0_u32);
    let served = serving
        .serve(&endpoint, 1, Arc::new(Engine { steps }))
        .await;
    let instance = served.as_ref().unwrap().instance(&endpoint, 1);
    println!("{}", serde_json::to_string(&instance).unwrap());
    std::io::stdout().flush().unwrap();
    let mut ticks = tokio::time::interval(STEP);
    loop {
        ticks.tick().await;
        step.send_modify(|step| *step += 1);
    }
}

/// Every answer gets a token with every step.
struct Engine {
    steps: watch::Receiver<u32>,
}

impl Handler for Engine {
    fn handle(&self, request: Request) -> BoxStream<'static, Bytes> {
        let steps = tokio_stream::wrappers::WatchStream::from_changes(self.steps.clone());
        let encode = move |step: u32| {
            let answer = Annotated::data(EngineOutput {
                token_ids: vec![100_000 + step % 20_000],
                ..EngineOutput::default()
            });
            match request.encoding {
                Encoding::Json => serde_json::to_vec(&answer).unwrap().into(),
                Encoding::Compact => compact::encode(&answer).into(),
            }
        };
        stream::iter(0..TOKENS)
            .zip(steps)
            .map(move |(token, _)| encode(token))
            .boxed()
    }
}

async fn plane(address: &str, preference: Preference) -> NetworkRequestPlane {
    let options = NatsOptions {
        server: address.to_owned(),
        login: NatsLogin::Password {
            user: "user".to_owned(),
            password: Secret::new("user"),
        },
        tls: NatsTls::default(),
        connect_timeout: Duration::from_secs(20),
    };
    let network = NetworkOptions {
        host: IpAddr::V4(Ipv4Addr::LOCALHOST),
        preference,
    };
    let client = connect(&options).await.unwrap();
    NetworkRequestPlane::new(Some(client), network, &Lifecycle::new())
}

/// Seconds of CPU that a process has used.
fn cpu(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The second field, a name in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields = fields.split(' ').skip(11).take(2);
    fields
        .map(|ticks| ticks.parse::<f64>().unwrap() / TICKS)
        .sum()
}

fn per_thousand(seconds: f64) -> f64 {
    let tokens = f64::from(ROUNDS * u32::try_from(STREAMS).unwrap() * TOKENS);
    seconds * 1000.0 / (tokens / 1000.0)
}
