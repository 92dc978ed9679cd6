//! `metrics.json`: every number of the results, for other programs. Knows only the plain results.

use std::io::{self, Write};

use serde::Serialize;

use super::data::Results;

/// What stands in the file: the results under a format number that changes only where a field changes its meaning.
#[derive(Serialize)]
struct Document<'a> {
    format: u32,
    #[serde(flatten)]
    results: &'a Results,
}

/// Writes the results as indented JSON; what was not measured is `null`.
pub fn write(results: &Results, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &Document { format: 1, results })?;
    out.write_all(b"\n")
}
