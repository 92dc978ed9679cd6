//! `birdaug completions SHELL`.

use clap::CommandFactory;

use super::args::{Args, Completions};
use super::terminal;
use crate::error::Result;

/// Prints the completion script.
pub fn run(options: &Completions) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut Args::command(), "birdaug", &mut script);
    terminal::print(&String::from_utf8_lossy(&script));
    Ok(())
}
