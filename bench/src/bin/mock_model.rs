//! A model server that takes no time: what stands behind the proxies that are compared.
//!
//! ```text
//! cd bench && cargo run --release --bin mock_model
//! ```
//!
//! Prints the address it listens on and serves until it is killed. A request for a stream gets its
//! first event at once, and the others one by one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const ANSWER: &str = r#"{"id":"chatcmpl-bench","object":"chat.completion","created":0,"model":"small","choices":[{"index":0,"message":{"role":"assistant","content":"Write to him, and name a date."},"finish_reason":"stop"}],"usage":{"prompt_tokens":128,"completion_tokens":8,"total_tokens":136}}"#;
const EVENT: &str = r#"data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":0,"model":"small","choices":[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}

"#;
const EVENTS: usize = 10;
/// Time from one event to the next: that of a model that writes fifty tokens a second.
const PAUSE: Duration = Duration::from_millis(20);

#[tokio::main]
#[allow(
    clippy::disallowed_methods,
    reason = "it runs until it is killed: nobody waits for its tasks"
)]
async fn main() -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("ready on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            if let Err(error) = serve(stream).await {
                eprintln!("connection lost: {error}");
            }
        });
    }
}

/// Answers one request after the other until the client leaves.
async fn serve(stream: TcpStream) -> Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(body) = read_request(&mut stream).await? {
        if body.windows(13).any(|bytes| bytes == br#""stream":true"#) {
            write_events(&mut stream).await?;
        } else {
            let length = ANSWER.len();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
            let answer = format!("{head}: {length}\r\n\r\n{ANSWER}");
            stream.write_all(answer.as_bytes()).await?;
        }
    }
    Ok(())
}

/// The body of the next request; `None` if there is none.
async fn read_request(stream: &mut BufReader<TcpStream>) -> Result<Option<Vec<u8>>> {
    let mut length = None;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let field = line.trim_end().to_ascii_lowercase();
        if field.is_empty() {
            break;
        }
        if let Some(value) = field.strip_prefix("content-length:") {
            length = Some(value.trim().parse()?);
        }
    }
    let mut body = vec![0; length.context("the request has no content-length")?];
    let read = stream.read_exact(&mut body).await?;
    ensure!(read == body.len(), "the request is cut off");
    Ok(Some(body))
}

async fn write_events(stream: &mut BufReader<TcpStream>) -> Result<()> {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    for number in 0..EVENTS {
        if number > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        stream.write_all(chunk(EVENT).as_bytes()).await?;
    }
    stream
        .write_all(chunk("data: [DONE]\n\n").as_bytes())
        .await?;
    stream.write_all(b"0\r\n\r\n").await?;
    Ok(())
}
