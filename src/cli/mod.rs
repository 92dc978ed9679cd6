//! What was typed: parsed here, carried out by one small file a command. Only this module and the progress print.

mod args;
mod audit;
mod build;
mod cache;
mod completions;
mod doctor;
mod generate;
mod init;
mod metrics;
mod opened;
mod plan;
mod predict;
mod report;
mod sample;
mod terminal;
mod verify;
mod why;

use clap::Parser;

use crate::error::{Error, Result};
use args::{Args, Command};

/// Runs the command line; the exit status is 0 done, 1 failed, 2 command line or recipe wrong, 3 work is due or
/// something differs, 130 interrupted.
pub fn main() -> u8 {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // clap has a status of its own for help and version; a broken pipe is nobody's mistake.
            let _ = error.print();
            return if error.use_stderr() { 2 } else { 0 };
        }
    };
    match run(&args) {
        Ok(()) => 0,
        Err(error) => {
            terminal::complain(&error, args.global.color);
            error.exit_code()
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let global = &args.global;
    if let Some(folder) = &global.directory {
        std::env::set_current_dir(folder).map_err(|source| Error::Io {
            doing: "work in",
            path: folder.clone(),
            source,
        })?;
    }
    if let Some(jobs) = global.jobs {
        crate::run::limit_threads(jobs);
    }
    match &args.command {
        Command::Sample(options) => sample::run(options, global),
        Command::Init(options) => init::run(options, global),
        Command::Audit(options) => audit::run(options, global),
        Command::Plan(options) => plan::run(options, global),
        Command::Build(options) => build::run(options, global),
        Command::Why(options) => why::run(options, global),
        Command::Verify(options) => verify::run(options, global),
        Command::Report(options) => report::run(options, global),
        Command::Cache(options) => cache::run(options, global),
        Command::Generate(options) => generate::run(options, global),
        Command::Predict(options) => predict::run(options, global),
        Command::Metrics(options) => metrics::run(options, global),
        Command::Doctor(options) => doctor::run(options, global),
        Command::Completions(options) => completions::run(options),
    }
}
