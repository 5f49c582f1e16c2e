//! The section `observability.tracing` of both layouts.

use super::reader::Section;
use crate::config::{TraceExporter, Tracing};

/// Where a collector listens unless it is told otherwise.
const COLLECTOR: &str = "localhost:4317";

/// Reads `observability.tracing`; `None` if it is off.
pub(super) fn read(parent: &Section<'_>) -> Option<Tracing> {
    let section = parent.section("observability")?.section("tracing")?;
    if section.boolean("enabled") != Some(true) {
        return None;
    }
    Some(Tracing {
        exporter: exporter(section.section("exporter").as_ref()),
        share: section
            .section("sampling")
            .map_or(1.0, |rules| share(&rules)),
        resource: section
            .section("resource")
            .map(|names| resource(&names))
            .unwrap_or_default(),
    })
}

fn exporter(section: Option<&Section<'_>>) -> TraceExporter {
    let stdout = [("otlp", false), ("stdout", true)];
    if section.and_then(|section| section.choice("type", &stdout)) == Some(true) {
        return TraceExporter::Stdout;
    }
    let endpoint = section.and_then(|section| section.text("endpoint"));
    TraceExporter::Otlp {
        endpoint: endpoint
            .filter(|endpoint| !endpoint.is_empty())
            .unwrap_or_else(|| COLLECTOR.to_owned()),
        insecure: section.and_then(|section| section.boolean("insecure")) == Some(true),
    }
}

fn share(section: &Section<'_>) -> f64 {
    let rate = section.fraction("rate").map_or(1.0, f64::from);
    let fixed = [
        ("always_on", Some(1.0)),
        ("always_off", Some(0.0)),
        ("probabilistic", None),
    ];
    let fixed = section.choice("type", &fixed).unwrap_or(Some(1.0));
    fixed.unwrap_or(rate)
}

fn resource(section: &Section<'_>) -> Vec<(&'static str, String)> {
    let names = [
        ("service_name", "service.name"),
        ("service_version", "service.version"),
        ("deployment_environment", "deployment.environment.name"),
    ];
    let attributes = names.into_iter().filter_map(|(key, name)| {
        let value = section.text(key).filter(|value| !value.is_empty())?;
        Some((name, value))
    });
    attributes.collect()
}
