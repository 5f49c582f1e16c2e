//! What `tandem up` says when it is ready.

use std::net::SocketAddr;
use std::time::Duration;

/// What runs where.
#[derive(Debug)]
pub(super) struct Summary {
    /// Served model.
    pub model: String,
    /// Name that lets the router choose.
    pub auto_model: String,
    /// Address of the gateway.
    pub gateway: SocketAddr,
    /// Address of the frontend.
    pub frontend: SocketAddr,
    /// The parts, what they are, and how long each took to start.
    pub parts: Vec<Part>,
    /// From the start of the process to here.
    pub total: Duration,
}

/// One part of the stack.
#[derive(Debug, Clone)]
pub(super) struct Part {
    /// What it is.
    pub name: String,
    /// Where, or with what.
    pub detail: String,
    /// How long it took to start.
    pub took: Duration,
}

/// Prints the summary and a request to try.
#[expect(
    clippy::print_stdout,
    reason = "this is what the command tells the person who ran it"
)]
pub(super) fn print(summary: &Summary) {
    print!("{}", render(summary));
}

fn render(summary: &Summary) -> String {
    let mut text = String::from("\n");
    for Part { name, detail, took } in &summary.parts {
        text += &format!("  {name:<16} {detail:<58} {:>6} ms\n", took.as_millis());
    }
    let Summary {
        model,
        auto_model,
        gateway,
        frontend,
        total,
        ..
    } = summary;
    text += &format!(
        "\nready in {:.2} s: model {model}, gateway http://{gateway}, frontend http://{frontend}\n\n",
        total.as_secs_f64()
    );
    text += &format!(
        "try:  curl -i http://{gateway}/v1/chat/completions -H 'content-type: application/json' \\\n        \
         -d '{{\"model\":\"{auto_model}\",\"messages\":[{{\"role\":\"user\",\"content\":\"What is 2+2?\"}}]}}'\n\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_names_every_part_and_a_request_to_try() {
        let text = render(&Summary {
            model: "m".to_owned(),
            auto_model: "MoM".to_owned(),
            gateway: "127.0.0.1:8080".parse().unwrap(),
            frontend: "127.0.0.1:8000".parse().unwrap(),
            parts: vec![Part {
                name: "decode worker".to_owned(),
                detail: "2048 blocks".to_owned(),
                took: Duration::from_millis(12),
            }],
            total: Duration::from_millis(250),
        });
        assert!(text.contains("decode worker"), "{text}");
        assert!(text.contains("12 ms"), "{text}");
        assert!(
            text.contains("ready in 0.25 s: model m, gateway http://127.0.0.1:8080"),
            "{text}"
        );
        assert!(
            text.contains(r#"-d '{"model":"MoM","messages":[{"role":"user","#),
            "{text}"
        );
    }
}
