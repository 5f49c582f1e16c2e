//! `tandem config check`: what is wrong with router configuration files.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Subcommand;

use super::load_config;

/// Arguments of `tandem config`.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Report every mistake in the files, with its place
    Check {
        /// Router configuration files, of either layout
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

/// Checks every file, and fails if one is wrong.
#[expect(
    clippy::print_stdout,
    reason = "this is what the command tells the person who ran it"
)]
pub(crate) fn run(args: &ConfigArgs) -> Result<()> {
    let ConfigCommand::Check { files } = &args.command;
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
