//! `tandem crds`: the definitions of the custom resources.

use std::path::PathBuf;

use anyhow::{Context, Result};
use tandem_operator::crd;

/// Arguments of `tandem crds`.
#[derive(Debug, clap::Args)]
pub(crate) struct CrdsArgs {
    /// Directory that gets a file for each [default: all on standard output]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
}

/// Prints the definitions, or writes them.
#[expect(clippy::print_stdout, reason = "it is what the command is for")]
pub(crate) fn run(args: &CrdsArgs) -> Result<()> {
    for file in crd::definition_files() {
        let Some(directory) = &args.output else {
            println!("---\n{}", file.text.trim_end());
            continue;
        };
        let path = directory.join(&file.name);
        std::fs::write(&path, file.text)
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}
