//! Real servers on loopback, each with a directory of its own.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;

/// A server process that can be stopped and started again with the same data and port.
pub(crate) struct Server {
    program: PathBuf,
    args: Vec<String>,
    port: u16,
    child: Option<Child>,
    data: TempDir,
}

impl Server {
    /// etcd; `None`, with a note, if it is not installed.
    pub(crate) async fn etcd() -> Option<Self> {
        Self::etcd_with("http", &[]).await
    }

    /// etcd with these arguments.
    pub(crate) async fn etcd_with(scheme: &str, more: &[String]) -> Option<Self> {
        let program = find("etcd")?;
        let data = tempfile::tempdir().unwrap();
        let (port, peer) = (free_port(), free_port());
        let url = format!("{scheme}://127.0.0.1:{port}");
        let peer = format!("http://127.0.0.1:{peer}");
        let args = [
            ("--data-dir", data.path().to_string_lossy().into_owned()),
            ("--listen-client-urls", url.clone()),
            ("--advertise-client-urls", url),
            ("--listen-peer-urls", peer.clone()),
            ("--initial-advertise-peer-urls", peer.clone()),
            ("--initial-cluster", format!("default={peer}")),
        ];
        let args = args.map(|(name, value)| format!("{name}={value}"));
        let args = [&args, more].concat();
        Some(Self::start(program, args, port, data).await)
    }

    /// Three members of one etcd cluster; `None`, with a note, if it is not installed.
    pub(crate) async fn etcd_cluster() -> Option<Vec<Self>> {
        let program = find("etcd")?;
        let ports: Vec<_> = (0..3).map(|i| (i, free_port(), free_port())).collect();
        let peer = |port: u16| format!("http://127.0.0.1:{port}");
        let all: Vec<_> = ports
            .iter()
            .map(|(i, _, port)| format!("m{i}={}", peer(*port)))
            .collect();
        let start = ports.iter().map(|&(i, port, peer_port)| {
            let data = tempfile::tempdir().unwrap();
            let url = format!("http://127.0.0.1:{port}");
            let args = [
                ("--name", format!("m{i}")),
                ("--data-dir", data.path().to_string_lossy().into_owned()),
                ("--listen-client-urls", url.clone()),
                ("--advertise-client-urls", url),
                ("--listen-peer-urls", peer(peer_port)),
                ("--initial-advertise-peer-urls", peer(peer_port)),
                ("--initial-cluster", all.join(",")),
            ];
            let args = args.map(|(name, value)| format!("{name}={value}"));
            Self::start(program.clone(), args.into(), port, data)
        });
        Some(futures::future::join_all(start).await)
    }

    /// nats-server with JetStream; `None`, with a note, if it is not installed.
    pub(crate) async fn nats() -> Option<Self> {
        Self::nats_with(&[]).await
    }

    /// nats-server with these arguments.
    pub(crate) async fn nats_with(more: &[String]) -> Option<Self> {
        let program = find("nats-server")?;
        let data = tempfile::tempdir().unwrap();
        let port = free_port();
        let args = [
            "-js".to_owned(),
            "-a=127.0.0.1".to_owned(),
            format!("-p={port}"),
            format!("-sd={}", data.path().display()),
        ];
        let args = [&args, more].concat();
        Some(Self::start(program, args, port, data).await)
    }

    async fn start(program: PathBuf, args: Vec<String>, port: u16, data: TempDir) -> Self {
        let mut server = Self {
            program,
            args,
            port,
            child: None,
            data,
        };
        server.resume().await;
        server
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills the process; its data stays.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Kills the process and deletes its data.
    pub(crate) fn lose_data(&mut self) {
        self.stop();
        for entry in std::fs::read_dir(self.data.path()).unwrap() {
            std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
        }
    }

    /// Makes etcd forget what was before `revision`.
    pub(crate) fn compact(&self, revision: u64) {
        self.etcdctl(&["compact", &revision.to_string()]);
    }

    /// Gives an order to etcd.
    pub(crate) fn etcdctl(&self, order: &[&str]) {
        let done = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .arg(format!("--endpoints={}", self.address()))
            .args(order)
            .stdout(Stdio::null())
            .status();
        assert!(done.unwrap().success());
    }

    /// Starts the process and waits until it accepts connections.
    pub(crate) async fn resume(&mut self) {
        let child = Command::new(&self.program)
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.unwrap());
        for _ in 0..600 {
            if TcpStream::connect(self.address()).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} does not listen", self.program.display());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

#[expect(clippy::print_stderr, reason = "a test that does nothing must say so")]
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // Debian keeps one of them out of the users' path.
    folders.push(PathBuf::from("/usr/sbin"));
    let found = folders
        .into_iter()
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        eprintln!("skipped: {name} is not installed");
    }
    found
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}
