//! The `tandem` binary: parses arguments, builds the parts, runs them.
//!
//! This is the only crate that knows more than one service, and the only one that prints.

mod args;
mod commands;
mod model;
mod planes;
mod shipped;
mod signals;
mod spans;
mod tiers;
mod workers_spec;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Command};
use tandem_runtime::telemetry;

/// Tokenizing a prompt makes thousands of small allocations; `make bench-frontend` shows what this
/// one saves.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse_from(commands::router::with_long_flags(std::env::args_os()));
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    let export = spans::export(&args);
    let format = args.log_format.into();
    let _telemetry = telemetry::init(args.log_filter(), format, export.as_ref())?;
    match args.command {
        Command::Up(up) => commands::up::run(&up),
        Command::Frontend(frontend) => commands::frontend::run(&frontend),
        Command::Worker(worker) => commands::worker::run(&worker),
        Command::Planner(planner) => commands::planner::run(&planner),
        Command::Router(router) => commands::router::run(&router),
        Command::Gateway(gateway) => commands::gateway::run(&gateway),
        Command::Operator(operator) => commands::operator::run(&operator),
        Command::Classify(classify) => commands::classify::run(&classify),
        Command::Eval(eval) => commands::eval::run(&eval),
        Command::Route(route) => commands::route::run(&route),
        Command::Config(config) => commands::config::run(&config),
        Command::Crds(crds) => commands::crds::run(&crds),
    }
}

/// One line that says what was attempted and what went wrong.
#[expect(
    clippy::print_stderr,
    reason = "the error of a command line tool goes to standard error"
)]
fn report(error: &anyhow::Error) {
    eprintln!("tandem: {error:#}");
}
