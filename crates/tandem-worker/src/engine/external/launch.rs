//! What an engine is started with: its command line, its environment, and the sockets on which it
//! listens.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::address::EngineAddress;
use super::dialect::Dialect;
use super::kv_events::EventSource;
use crate::engine::LoraModule;
use crate::serve::WorkerRole;

/// What an engine that this worker starts should be like. What is `None` is left to the engine.
#[derive(Debug, Clone)]
pub struct LaunchOptions {
    /// Command that starts the engine, in the words of a shell, instead of the engine's own.
    pub command: Option<String>,
    /// Arguments that are added to the command line, in the words of a shell.
    pub extra_args: String,
    /// Name under which the engine serves the model.
    pub served_name: String,
    /// Which part of a request the worker takes.
    pub role: WorkerRole,
    /// Tokens per KV block.
    pub block_size: Option<usize>,
    /// Number of KV blocks.
    pub kv_blocks: Option<usize>,
    /// Longest sequence, prompt and answer together.
    pub context_length: Option<usize>,
    /// Sequences that run at a time.
    pub max_sequences: Option<usize>,
    /// Tokens per step.
    pub max_batched_tokens: Option<usize>,
    /// Share of the accelerator's memory that the engine takes.
    pub memory_fraction: Option<f64>,
    /// Accelerators that share a model.
    pub tensor_parallel: usize,
    /// Copies of the model inside the engine.
    pub data_parallel: usize,
    /// Whether the engine captures no graphs.
    pub enforce_eager: bool,
    /// LoRA adapters that the engine loads, or has.
    pub adapters: Vec<LoraModule>,
    /// vLLM's `--speculative-config`.
    pub speculation: Option<String>,
    /// How KV blocks get from prefill to decode workers.
    pub connector: KvConnector,
    /// Where blocks go that the engine's cache has no room for, as vLLM wants to be told: see
    /// [`offloading_connector_config`](crate::engine::offloading_connector_config).
    pub offloading: Option<Value>,
    /// Most time until the engine serves.
    pub start_timeout: Duration,
    /// Time that the engine gets to end before it is killed.
    pub stop_timeout: Duration,
}

/// How KV blocks get from prefill to decode workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvConnector {
    /// Not at all.
    Null,
    /// By NIXL.
    Nixl(NixlOptions),
}

/// How NIXL is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NixlOptions {
    /// Address at which the engines of other workers reach this one's.
    pub host: IpAddr,
    /// Port for the engines to meet; `None` for any free one.
    pub port: Option<u16>,
    /// Memory that blocks are moved through, if not the engine's own choice.
    pub buffer_device: Option<String>,
    /// How long the engine holds blocks for a decode worker that does not come.
    pub lease: Duration,
}

/// Where an engine listens that this worker has started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sockets {
    /// A directory that nobody else can read.
    pub(super) directory: PathBuf,
    pub(super) http: Listening,
    /// Where it publishes KV events, as its configuration has it.
    pub(super) events: String,
    /// Where it repeats them.
    pub(super) replay: String,
    /// Where engines meet to move blocks.
    pub(super) side_channel: u16,
}

/// Where an engine listens for requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Listening {
    Unix(PathBuf),
    Loopback(u16),
}

impl Sockets {
    /// Free ones, in `directory` where that is possible.
    pub(super) fn reserve(
        dialect: Dialect,
        directory: &Path,
        options: &LaunchOptions,
    ) -> std::io::Result<Self> {
        let in_directory = |name: &str| format!("ipc://{}", directory.join(name).display());
        let ranks = u16::try_from(options.data_parallel.max(1)).unwrap_or(u16::MAX);
        let (events, replay) = if ranks == 1 {
            (in_directory("events"), in_directory("replay"))
        } else {
            // Each rank adds its number to the port, and connects to us.
            let port = || free_ports(ranks).map(|port| format!("tcp://127.0.0.1:{port}"));
            (port()?, port()?)
        };
        let port = match &options.connector {
            KvConnector::Nixl(nixl) => nixl.port,
            KvConnector::Null => None,
        };
        Ok(Self {
            http: match dialect.on_unix_socket() {
                true => Listening::Unix(directory.join("http")),
                false => Listening::Loopback(free_ports(1)?),
            },
            events,
            replay,
            side_channel: match port {
                Some(port) => port,
                None => free_ports(ranks)?,
            },
            directory: directory.to_owned(),
        })
    }

    /// Where the events of each of `ranks` ranks come from.
    pub(super) fn sources(&self, ranks: usize) -> Vec<EventSource> {
        let of_rank = |endpoint: &str, rank: u32| match endpoint.rsplit_once(':') {
            Some((host, port)) if endpoint.starts_with("tcp:") => {
                let port = port.parse::<u32>().map(|port| port + rank);
                port.map_or_else(|_| endpoint.to_owned(), |port| format!("{host}:{port}"))
            }
            _ => endpoint.to_owned(),
        };
        let ranks = 0..u32::try_from(ranks.max(1)).unwrap_or(u32::MAX);
        ranks
            .map(|rank| {
                let replay = of_rank(&self.replay, rank);
                let events = of_rank(&self.events, rank);
                EventSource::resolve(rank, &events, Some(&replay), "127.0.0.1")
            })
            .collect()
    }

    /// Where requests go.
    pub(super) fn address(&self) -> EngineAddress {
        match &self.http {
            Listening::Unix(path) => EngineAddress::Unix(path.clone()),
            Listening::Loopback(port) => EngineAddress::loopback(*port),
        }
    }
}

/// The first of `count` ports in a row that nobody listens on. Somebody may before the engine does:
/// it ends then, and is started again with others.
fn free_ports(count: u16) -> std::io::Result<u16> {
    const ATTEMPTS: usize = 100;
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = first.local_addr()?.port();
        let rest: std::io::Result<Vec<TcpListener>> = (1..count)
            .map(|offset| {
                let next = port.checked_add(offset);
                let next = next.ok_or_else(|| std::io::Error::other("no port follows the last"))?;
                TcpListener::bind((Ipv4Addr::LOCALHOST, next))
            })
            .collect();
        match rest {
            Ok(_) => return Ok(port),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::Error::other("no ports were looked for")))
}

/// A command line and an environment, and files that they name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) arguments: Vec<String>,
    pub(super) variables: Vec<(&'static str, String)>,
    /// Files in the engine's directory, by name.
    pub(super) files: Vec<(&'static str, String)>,
}

impl Flags {
    pub(super) fn argument(&mut self, value: impl Display) {
        self.arguments.push(value.to_string());
    }

    pub(super) fn switch(&mut self, name: &str) {
        self.argument(name);
    }

    pub(super) fn flag(&mut self, name: &str, value: impl Display) {
        self.argument(name);
        self.argument(value);
    }

    pub(super) fn maybe(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.flag(name, value);
        }
    }

    /// A flag that says nothing with the value `default`.
    pub(super) fn unless(&mut self, name: &str, value: usize, default: usize) {
        if value != default {
            self.flag(name, value);
        }
    }

    pub(super) fn variable(&mut self, name: &'static str, value: impl Display) {
        self.variables.push((name, value.to_string()));
    }

    pub(super) fn file(&mut self, name: &'static str, content: String) {
        self.files.push((name, content));
    }

    /// Leaves out what the words of `extra` say as well: the last one of two flags counts for most
    /// engines, but not for all.
    pub(super) fn yield_to(&mut self, extra: &str) {
        let said = |argument: &String| {
            let words = || extra.split_ascii_whitespace();
            argument.starts_with("--")
                && words().any(|word| word.split('=').next() == Some(&**argument))
        };
        let mut kept = Vec::with_capacity(self.arguments.len());
        let mut arguments = std::mem::take(&mut self.arguments).into_iter().peekable();
        while let Some(argument) = arguments.next() {
            if !said(&argument) {
                kept.push(argument);
                continue;
            }
            // Its value, if it has one.
            while arguments.next_if(|next| !next.starts_with("--")).is_some() {}
        }
        self.arguments = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::super::kv_events::Publisher;
    use super::*;

    #[test]
    fn ports_in_a_row_are_free() {
        let port = free_ports(3).unwrap();
        for offset in 0..3 {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port + offset)).unwrap();
        }
    }

    #[test]
    fn each_rank_has_ports_of_its_own() {
        let mut sockets = Sockets {
            directory: PathBuf::new(),
            http: Listening::Loopback(1),
            events: "tcp://127.0.0.1:5000".to_owned(),
            replay: "tcp://127.0.0.1:6000".to_owned(),
            side_channel: 0,
        };
        let sources = sockets.sources(2);
        assert_eq!(sources[1].rank, 1);
        let connects = Publisher::Connects("tcp://127.0.0.1:5001".to_owned());
        assert_eq!(sources[1].publisher, connects);
        assert_eq!(sources[1].replay.as_deref(), Some("tcp://127.0.0.1:6001"));
        sockets.events = "ipc:///run/x:1/events".to_owned();
        let listens = Publisher::Listens(sockets.events.clone());
        assert_eq!(sockets.sources(1)[0].publisher, listens);
    }

    #[test]
    fn what_the_user_says_is_not_said_twice() {
        let mut flags = Flags::default();
        flags.argument("model");
        flags.switch("--eager");
        flags.flag("--size", 3);
        flags.flag("--other", 4);
        flags.yield_to("--eager --size=4 --more '--other words'");
        assert_eq!(flags.arguments, ["model", "--other", "4"]);
    }
}
