//! What was typed: parses, calls one command, maps errors to exit codes.

use std::process::ExitCode;

/// Runs the command line.
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
