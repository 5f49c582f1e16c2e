//! The rules of ARCHITECTURE.md that a program can check.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// What each crate may import of its siblings.
const ALLOWED: &[(&str, &[&str])] = &[
    ("tandem-protocol", &[]),
    ("tandem-runtime", &[]),
    ("tandem-kv-router", &["tandem-protocol"]),
    ("tandem-kv-cache", &["tandem-protocol"]),
    ("tandem-tokenizer", &["tandem-protocol"]),
    (
        "tandem-classifier",
        &["tandem-tokenizer", "tandem-protocol"],
    ),
    (
        "tandem-semantic-router",
        &["tandem-classifier", "tandem-protocol"],
    ),
    (
        "tandem-gateway",
        &[
            "tandem-classifier",
            "tandem-semantic-router",
            "tandem-protocol",
            "tandem-runtime",
        ],
    ),
    (
        "tandem-frontend",
        &[
            "tandem-kv-router",
            "tandem-tokenizer",
            "tandem-protocol",
            "tandem-runtime",
        ],
    ),
    (
        "tandem-worker",
        &[
            "tandem-kv-cache",
            "tandem-tokenizer",
            "tandem-protocol",
            "tandem-runtime",
        ],
    ),
    ("tandem-operator", &["tandem-runtime"]),
];

/// Outside crates that only some of ours may know.
const OWNERS: &[(&str, &[&str])] = &[
    ("async-nats", &["tandem-runtime"]),
    (
        "tonic",
        &["tandem-runtime", "tandem-gateway", "tandem-semantic-router"],
    ),
    ("redis", &["tandem-semantic-router"]),
    (
        "axum",
        &["tandem-runtime", "tandem-gateway", "tandem-frontend"],
    ),
    ("candle-core", &["tandem-classifier", "tandem-worker"]),
    (
        "clap",
        &[
            "tandem-frontend",
            "tandem-worker",
            "tandem-gateway",
            "tandem-operator",
            "tandem-cli",
        ],
    ),
    ("kube", &["tandem-runtime", "tandem-operator"]),
    ("anyhow", &["tandem-cli"]),
    ("opentelemetry", &["tandem-runtime"]),
    ("opentelemetry-otlp", &["tandem-runtime"]),
    ("opentelemetry_sdk", &["tandem-runtime"]),
    ("tracing-opentelemetry", &["tandem-runtime"]),
    ("tracing-subscriber", &["tandem-runtime"]),
    ("tokenizers", &["tandem-tokenizer", "tandem-classifier"]),
    (
        "tokio",
        &[
            "tandem-runtime",
            "tandem-gateway",
            "tandem-frontend",
            "tandem-worker",
            "tandem-operator",
            "tandem-cli",
            "tandem-kv-cache",
            "tandem-classifier",
            "tandem-semantic-router",
            "tandem-tokenizer",
        ],
    ),
];

/// Most lines of a source file without its tests.
const MAX_LINES: usize = 500;
/// Most lines that half of the source files may have.
const MEDIAN_LINES: usize = 250;

fn metadata() -> Metadata {
    MetadataCommand::new()
        .no_deps()
        .exec()
        .expect("cargo metadata of this workspace")
}

/// Non-development dependencies of every workspace crate.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    metadata()
        .packages
        .iter()
        .map(|package| {
            let names = package
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind != DependencyKind::Development)
                .map(|dependency| dependency.name.clone());
            (package.name.to_string(), names.collect())
        })
        .collect()
}

#[test]
fn crates_import_only_what_they_may_know() {
    for (name, dependencies) in dependencies() {
        let siblings = dependencies
            .iter()
            .filter(|other| other.starts_with("tandem-"));
        if name == "tandem-cli" {
            continue;
        }
        let allowed = ALLOWED.iter().find(|(crate_name, _)| *crate_name == name);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{name} has no rule in ALLOWED"));
        for sibling in siblings {
            assert!(
                allowed.contains(&sibling.as_str()),
                "{name} must not import {sibling}"
            );
        }
    }
}

#[test]
fn outside_crates_stay_with_their_owners() {
    for (name, dependencies) in dependencies() {
        for (outside, owners) in OWNERS {
            if dependencies.iter().any(|dependency| dependency == outside) {
                assert!(
                    owners.contains(&name.as_str()),
                    "{name} must not import {outside}"
                );
            }
        }
    }
}

#[test]
fn files_are_short_and_crates_say_what_they_are() {
    let root = metadata().workspace_root;
    let mut lengths = Vec::new();
    for file in source_files(&root.join("crates").into_std_path_buf()) {
        let text = fs::read_to_string(&file).expect("source files are readable");
        let lines = code_lines(&text);
        assert!(
            lines <= MAX_LINES,
            "{} has {lines} lines of code",
            file.display()
        );
        if file.ends_with("src/lib.rs") || file.ends_with("src/main.rs") {
            assert!(
                text.starts_with("//!"),
                "{} has no crate documentation",
                file.display()
            );
        }
        lengths.push(lines);
    }
    lengths.sort_unstable();
    let median = lengths[lengths.len() / 2];
    assert!(
        median < MEDIAN_LINES,
        "the median source file has {median} lines"
    );
}

/// Lines before the test module.
fn code_lines(text: &str) -> usize {
    text.lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .count()
}

/// Source files that are not tests of their own.
fn source_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("the directory exists") {
        let path = entry.expect("the directory is readable").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_dir() && !["tests", "benches"].contains(&name) {
            files.extend(source_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests.rs"
        {
            files.push(path);
        }
    }
    files
}
