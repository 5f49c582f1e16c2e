//! `tandem config`: checking, migrating and describing router configuration files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use tandem_semantic_router::config::{json_schema, migrate};

use super::{environment, load_config};

/// Arguments of `tandem config`.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Report every mistake in the files, with its place, and every key without effect
    Check {
        /// Router configuration files, of either layout
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print a file of the flat layout (v0.1.0) in the layered layout (`version: v0.3`)
    ///
    /// Both load to the same configuration. `${NAME}` is kept; comments are not.
    Migrate {
        /// Router configuration file of the flat layout
        file: PathBuf,
    },
    /// Print the JSON Schema of router configuration files, for editors
    Schema,
}

/// Runs the subcommand.
pub(crate) fn run(args: &ConfigArgs) -> Result<()> {
    match &args.command {
        ConfigCommand::Check { files } => check(files),
        ConfigCommand::Migrate { file } => print_migrated(file),
        ConfigCommand::Schema => print_schema(),
    }
}

/// Checks every file, and fails if one is wrong.
#[expect(
    clippy::print_stdout,
    reason = "this is what the command tells the person who ran it"
)]
fn check(files: &[PathBuf]) -> Result<()> {
    let mut wrong = 0;
    for file in files {
        match load_config(file) {
            Ok(loaded) => {
                println!("{}: ok", file.display());
                for warning in loaded.warnings {
                    println!("  warning: {warning}");
                }
            }
            Err(error) => {
                wrong += 1;
                println!("{}: {}", file.display(), error.root_cause());
            }
        }
    }
    if wrong > 0 {
        bail!("{wrong} of {} files cannot be used", files.len());
    }
    Ok(())
}

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is what the command tells the person who ran it; notes must stay out of the file"
)]
fn print_migrated(file: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("failed to read the router config {}", file.display()))?;
    let migrated = migrate(&text, &environment)
        .with_context(|| format!("failed to migrate {}", file.display()))?;
    for note in migrated.notes {
        eprintln!("note: {note}");
    }
    print!("{}", migrated.text);
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "this is what the command tells the person who ran it"
)]
fn print_schema() -> Result<()> {
    println!("{}", serde_json::to_string_pretty(&json_schema())?);
    Ok(())
}
