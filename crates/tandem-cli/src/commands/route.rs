//! `tandem route`: how a prompt would be routed, and why.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use arc_swap::ArcSwap;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tandem_gateway::LoadPoller;
use tandem_protocol::openai::json::Json;
use tandem_runtime::tls::public_trust;
use tandem_semantic_router::{
    Block, Client, Endpoint, Explanation, RouteRequest, Routed, Router, RouterConfig, Routing,
};

use super::classify::load_patient_encoder;
use super::{load_config, router};
use crate::args::CacheArgs;
use crate::shipped::NANO_CHAT;

/// Domains that are shown.
const SHOWN_DOMAINS: usize = 3;

/// Arguments of `tandem route`.
#[derive(Debug, clap::Args)]
pub(crate) struct RouteArgs {
    /// The prompt, as one user message
    #[arg(required_unless_present = "request")]
    text: Option<String>,

    /// A whole chat request as JSON, `-` for standard input, in place of the prompt
    #[arg(long, value_name = "FILE", conflicts_with_all = ["text", "model"])]
    request: Option<PathBuf>,

    /// Router configuration [default: that of `tandem up`]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Model name to ask for [default: the first that leaves the choice to the router]
    #[arg(long)]
    model: Option<String>,

    /// User of the request, for role signals
    #[arg(long, value_name = "ID")]
    user: Option<String>,

    /// Groups of the user, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    groups: Vec<String>,

    /// Encoder directory [default: the encoder inside this binary]
    #[arg(long, value_name = "DIR")]
    encoder: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    cache: CacheArgs,
}

/// Routes one request and tells the story.
#[expect(
    clippy::print_stdout,
    reason = "this is what the command tells the person who ran it"
)]
pub(crate) fn run(args: &RouteArgs) -> Result<()> {
    let mut config = read_config(args)?;
    // Nobody waits for an answer here, so a slow machine should not make a signal fail.
    config.deadline = config.deadline.max(Duration::from_secs(60));
    let body = body(args, &config)?.into();
    let classifier = Arc::new(load_patient_encoder(args.encoder.as_deref(), &args.cache)?);
    let router = Arc::new(router(config, classifier, Arc::default(), Arc::default()));
    let mut poller = LoadPoller::new(
        Arc::new(ArcSwap::new(Arc::clone(&router))),
        None,
        &public_trust(),
        &mut Registry::default(),
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let request = RouteRequest {
        endpoint: Endpoint::Chat,
        body: &body,
        request_id: "tandem-route",
    };
    let client = Client {
        user: args.user.clone(),
        groups: args.groups.clone(),
        ..Client::default()
    };
    let routed = runtime.block_on(async {
        // The times should be those of a server that has been running for a while.
        router.warm_up().await;
        poller.round().await;
        router.route_for(request, &client).await
    });
    if args.json {
        println!("{:#}", as_json(&routed));
    } else {
        print!("{}", as_text(&routed, &router));
    }
    Ok(())
}

#[expect(
    clippy::print_stderr,
    reason = "warnings of a command line tool go to standard error"
)]
fn read_config(args: &RouteArgs) -> Result<RouterConfig> {
    let Some(path) = &args.config else {
        return Ok(RouterConfig::built_in(NANO_CHAT.name));
    };
    let loaded = load_config(path)?;
    if !loaded.warnings.is_empty() {
        let count = loaded.warnings.len();
        eprintln!(
            "{count} keys have no effect; see `tandem config check {}`",
            path.display()
        );
    }
    Ok(loaded.config.with_default_security())
}

fn body(args: &RouteArgs, config: &RouterConfig) -> Result<String> {
    if let Some(path) = &args.request {
        return if path.as_os_str() == "-" {
            std::io::read_to_string(std::io::stdin()).context("failed to read standard input")
        } else {
            std::fs::read_to_string(path)
                .with_context(|| format!("failed to read the request {}", path.display()))
        };
    }
    let Some(text) = &args.text else {
        bail!("give a prompt, or a request with --request");
    };
    let auto = config.auto_models.first().map_or("auto", String::as_str);
    let model = args.model.as_deref().unwrap_or(auto);
    let messages = [json!({ "role": "user", "content": text })];
    Ok(json!({ "model": model, "messages": messages }).to_string())
}

fn as_json(routed: &Routed) -> Value {
    let outcome = match &routed.routing {
        Routing::Forward(forward) => {
            let Json(body) = serde_json::from_slice(&forward.body).unwrap_or_default();
            let headers = forward.response_headers.iter();
            let headers: serde_json::Map<String, Value> = headers
                .map(|(name, value)| ((*name).to_owned(), json!(value)))
                .collect();
            json!({ "action": "forward", "model": forward.model, "endpoint": forward.endpoint,
                "body": body, "response_headers": headers })
        }
        Routing::Respond(response) => {
            let headers = response.headers.iter();
            let headers: serde_json::Map<String, Value> = headers
                .map(|(name, value)| ((*name).to_owned(), json!(value)))
                .collect();
            json!({ "action": "respond", "reason": reason(&response.block), "headers": headers,
                "body": String::from_utf8_lossy(&response.body) })
        }
        Routing::Replay(_) => json!({ "action": "replay" }),
        Routing::Reject(rejection) => {
            json!({ "action": "reject", "error": rejection.body.error.message })
        }
    };
    json!({ "outcome": outcome, "explanation": routed.explanation })
}

fn as_text(routed: &Routed, router: &Router) -> String {
    let explanation = &routed.explanation;
    let mut page = Page::default();
    signals(&mut page, explanation);
    decisions(&mut page, explanation, router);
    outcome(&mut page, routed);
    let times = explanation.timings;
    let all = [
        ("parse", times.parse),
        ("signals", times.signals),
        ("decide", times.decide),
        ("apply", times.apply),
        ("total", times.total),
    ];
    let all: Vec<String> = all
        .iter()
        .map(|(name, time)| format!("{name} {:.3} ms", time.as_secs_f64() * 1e3))
        .collect();
    page.line("time", &all.join(", "));
    page.text
}

/// Lines with a name in front.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, name: &str, text: &str) {
        writeln!(self.text, "{name:<10} {text}").expect("writing to a String cannot fail");
    }
}

fn signals(page: &mut Page, explanation: &Explanation) {
    page.line("request", &format!("model {}", explanation.requested_model));
    let domains = explanation.domains.iter().take(SHOWN_DOMAINS);
    let domains: Vec<String> = domains
        .map(|(label, score)| format!("{label} {score:.3}"))
        .collect();
    if !domains.is_empty() {
        page.line("domain", &domains.join(", "));
    }
    if let Some(score) = explanation.jailbreak {
        page.line("jailbreak", &format!("{score:.3}"));
    }
    if let Some(found) = &explanation.pii {
        let found: Vec<String> = found
            .iter()
            .map(|found| format!("{} {:.3}", found.kind, found.score))
            .collect();
        let text = if found.is_empty() {
            "none".to_owned()
        } else {
            found.join(", ")
        };
        page.line("pii", &text);
    }
    if let Some(tokens) = explanation.context_tokens {
        page.line("tokens", &format!("about {tokens}"));
    }
    for reading in &explanation.signals {
        // Every domain rule asks the same question, which is answered above.
        if reading.family == "domain" && !reading.matched {
            continue;
        }
        let score = match reading.score {
            Some(score) => format!("{score:.3}"),
            None => "?".to_owned(),
        };
        let verdict = if reading.matched {
            "matches"
        } else {
            "does not match"
        };
        let rule = format!("{} {}", reading.family, reading.name);
        page.line("signal", &format!("{rule:<34} {score:>6}  {verdict}"));
    }
    if !explanation.unavailable.is_empty() {
        page.line("missing", &explanation.unavailable.join(", "));
    }
}

fn decisions(page: &mut Page, explanation: &Explanation, router: &Router) {
    if explanation.matched.is_empty() {
        let count = router.config().decisions.len();
        page.line("decision", &format!("none of {count} matches"));
    }
    for (rank, matched) in explanation.matched.iter().enumerate() {
        let verdict = if rank == 0 { "wins" } else { "matches, too" };
        page.line(
            "decision",
            &format!(
                "{} (priority {}, confidence {:.3}) {verdict}",
                matched.name, matched.priority, matched.confidence
            ),
        );
    }
}

fn outcome(page: &mut Page, routed: &Routed) {
    let explanation = &routed.explanation;
    match &routed.routing {
        Routing::Forward(forward) => {
            let at = forward.endpoint.as_deref();
            let at = at.map_or_else(String::new, |endpoint| format!(" at {endpoint}"));
            page.line("model", &format!("{}{at}", forward.model));
            for one in &explanation.predictions {
                let time = one.seconds.map_or("nothing known".to_owned(), |seconds| {
                    format!("first token in {:.0} ms", seconds * 1e3)
                });
                page.line("load", &format!("{:<34} {time}", one.model));
            }
            if let Some(reasoning) = &explanation.reasoning {
                let effort = reasoning.effort.as_deref();
                let effort = effort.map_or_else(String::new, |effort| format!(", effort {effort}"));
                let on = if reasoning.on { "on" } else { "off" };
                page.line("reasoning", &format!("{on}{effort}"));
            }
            if !explanation.plugins.is_empty() {
                page.line("plugins", &explanation.plugins.join(", "));
            }
            if !explanation.redacted.is_empty() {
                page.line("redacted", &explanation.redacted.join(", "));
            }
            for (name, value) in &forward.response_headers {
                page.line("header", &format!("{name}: {value}"));
            }
        }
        Routing::Respond(response) => {
            page.line(
                "answer",
                &format!("{}, no model is asked", reason(&response.block)),
            );
            for (name, value) in &response.headers {
                page.line("header", &format!("{name}: {value}"));
            }
        }
        Routing::Replay(_) => page.line("answer", "given before, no model is asked"),
        Routing::Reject(rejection) => page.line("rejected", &rejection.body.error.message),
    }
}

fn reason(block: &Block) -> String {
    match block {
        Block::Pii { types } => format!("blocked for personal data ({})", types.join(", ")),
        Block::Jailbreak { label, confidence } => {
            format!("blocked as a jailbreak ({label}, {confidence:.3})")
        }
        Block::FastResponse => "the decision's fixed text".to_owned(),
    }
}
