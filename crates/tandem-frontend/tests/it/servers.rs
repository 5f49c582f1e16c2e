//! Servers that register nowhere.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use parking_lot::Mutex;
use serde_json::json;
use tandem_frontend::{Form, PickRequest, Picked, Picker};
use tandem_runtime::Lifecycle;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::stage::Flags;

/// A server whose answer to everything is a status.
struct Server {
    address: SocketAddr,
    status: Arc<Mutex<u16>>,
}

impl Server {
    async fn start(status: u16, lifecycle: &Lifecycle) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let status = Arc::new(Mutex::new(status));
        let says = Arc::clone(&status);
        lifecycle.spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let mut head = [0; 1024];
                let length = connection.read(&mut head).await.unwrap();
                assert!(head[..length].starts_with(b"GET /health HTTP/1.1\r\n"));
                let status = *says.lock();
                let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { address, status }
    }

    fn answers(&self, status: u16) {
        *self.status.lock() = status;
    }
}

fn picker(servers: &[SocketAddr], flags: &[&str], lifecycle: &Lifecycle) -> Picker {
    let flags = Flags::parse_from(["frontend"].iter().chain(flags));
    Picker::of_servers(&flags.frontend.routing, servers, lifecycle)
}

async fn pick(picker: &Picker, prompt: &str) -> Option<Picked> {
    let request = PickRequest {
        form: Form::Chat,
        body: json!({"model": "m", "messages": [{"role": "user", "content": prompt}]})
            .to_string()
            .into(),
        request_id: "r",
        fallbacks: 0,
    };
    picker.pick(request, &|_| true).await.ok()
}

/// Waits until just these servers can be picked.
async fn settled(picker: &Picker, servers: &[&Server]) {
    let want: Vec<String> = servers.iter().map(|one| one.address.to_string()).collect();
    for _ in 0..500 {
        let mut seen: Vec<String> = (0..30)
            .filter_map(|_| Some(picker.pick_any(&|_| true)?.endpoint().to_owned()))
            .collect();
        seen.sort();
        seen.dedup();
        if seen.len() == want.len() && want.iter().all(|one| seen.contains(one)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not {want:?}");
}

#[tokio::test]
async fn only_healthy_servers_are_picked() {
    let lifecycle = Lifecycle::new();
    let healthy = Server::start(200, &lifecycle).await;
    let plain = Server::start(404, &lifecycle).await;
    let broken = Server::start(503, &lifecycle).await;
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    };
    let all = [healthy.address, plain.address, broken.address, nobody];
    let picker = picker(&all, &[], &lifecycle);
    settled(&picker, &[&healthy, &plain]).await;
    assert!(picker.is_ready());
    healthy.answers(500);
    broken.answers(200);
    settled(&picker, &[&plain, &broken]).await;
    plain.answers(503);
    broken.answers(503);
    settled(&picker, &[]).await;
    assert!(pick(&picker, "Hi").await.is_none());
    assert!(!picker.is_ready());
}

#[tokio::test]
async fn load_and_similar_prompts_decide() {
    let lifecycle = Lifecycle::new();
    let servers = [
        Server::start(200, &lifecycle).await,
        Server::start(200, &lifecycle).await,
    ];
    let addresses = [servers[0].address, servers[1].address];
    let picker = picker(&addresses, &[], &lifecycle);
    settled(&picker, &[&servers[0], &servers[1]]).await;
    for topic in 0..8 {
        let prompt = format!("Number {topic}. ") + &"The old baker repaired the door. ".repeat(20);
        let home = pick(&picker, &prompt).await.unwrap().endpoint().to_owned();
        let again = pick(&picker, &format!("{prompt} And then?")).await.unwrap();
        assert_eq!(again.endpoint(), home);
        // While that runs, something else goes to the other one.
        let other = pick(&picker, &"Something else. ".repeat(20)).await.unwrap();
        assert_ne!(other.endpoint(), home);
    }
}
