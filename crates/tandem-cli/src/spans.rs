//! Where this process's spans go.

use tandem_runtime::telemetry::{Export, Receiver, Transport};
use tandem_semantic_router::config::{TraceExporter, Tracing};

use crate::args::{Args, Command};
use crate::commands;

/// What the router's configuration says, or else the flags; `None` if spans go nowhere.
pub(crate) fn export(args: &Args) -> Option<Export> {
    let (role, configured) = match &args.command {
        Command::Up(up) => ("tandem", up.config.as_deref()),
        Command::Router(router) => ("tandem-router", Some(router.config())),
        Command::Gateway(gateway) => ("tandem-gateway", Some(gateway.config())),
        Command::Frontend(_) => ("tandem-frontend", None),
        Command::Worker(_) => ("tandem-worker", None),
        // The others serve nobody.
        Command::Classify(_)
        | Command::Eval(_)
        | Command::Route(_)
        | Command::Config(_)
        | Command::Operator(_)
        | Command::Crds(_)
        | Command::Planner(_) => return None,
    };
    let configured = configured.and_then(commands::configured_tracing);
    let service = args.otlp_service_name.as_deref();
    let mut export = match configured {
        Some(tracing) => configured_export(tracing),
        None => Export {
            receiver: Receiver::otlp(args.otlp_endpoint.as_deref()?, Transport::Plain),
            share: 1.0,
            resource: Vec::new(),
        },
    };
    let named = export.resource.iter().any(|(name, _)| *name == SERVICE);
    if !named {
        let name = service.unwrap_or(role).to_owned();
        export.resource.push((SERVICE, name));
    }
    Some(export)
}

/// OpenTelemetry's name for the name of a process.
const SERVICE: &str = "service.name";

fn configured_export(tracing: Tracing) -> Export {
    Export {
        receiver: match tracing.exporter {
            TraceExporter::Stdout => Receiver::Stdout,
            TraceExporter::Otlp { endpoint, insecure } => {
                let transport = match insecure {
                    true => Transport::Plain,
                    false => Transport::Tls,
                };
                Receiver::otlp(&endpoint, transport)
            }
        },
        share: tracing.share,
        resource: tracing.resource,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn check(flags: &[&str], want: Option<(&str, &str)>) {
        let args = [&["tandem"], flags].concat();
        let export = export(&Args::parse_from(args));
        let got = export.map(|export| (export.receiver.to_string(), export.resource[0].1.clone()));
        let want = want.map(|(receiver, name)| (receiver.to_owned(), name.to_owned()));
        assert_eq!(got, want, "{flags:?}");
    }

    #[test]
    fn the_configuration_comes_before_the_flags() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.yaml");
        let text = "observability: {tracing: {enabled: true, exporter: {endpoint: 'a:1'}}}";
        std::fs::write(&path, text).unwrap();
        let config = ["--config", path.to_str().unwrap()];
        let flags = ["--otlp-endpoint", "http://b:2", "--otlp-service-name", "me"];
        check(
            &[&["router"], &config[..]].concat(),
            Some(("https://a:1", "tandem-router")),
        );
        check(
            &[&["router"], &config[..], &flags].concat(),
            Some(("https://a:1", "me")),
        );
        check(&[&["up"], &flags[..]].concat(), Some(("http://b:2", "me")));
        check(
            &[&["gateway"], &config[..]].concat(),
            Some(("https://a:1", "tandem-gateway")),
        );
        check(
            &[&["frontend"], &flags[..2]].concat(),
            Some(("http://b:2", "tandem-frontend")),
        );
        check(&["frontend"], None);
        check(&[&["classify"], &flags[..]].concat(), None);
    }
}
