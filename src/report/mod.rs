//! Plain results and their writers: one struct, one writer a format. Reads no cache and computes no statistic
//! beyond a mean over seeds.

mod csv;
pub mod data;
mod html;
mod metrics_json;
mod pictures;
mod words;

#[cfg(test)]
mod fixture;

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::error::{IoContext, Result};

pub use data::*;
pub use words::{headline, sentence};

/// A writer of one file.
type Writer = fn(&Results, &mut dyn Write) -> io::Result<()>;

/// The results folder, a file a row.
const FILES: [(&str, Writer); 5] = [
    ("metrics.json", metrics_json::write),
    ("comparison.csv", csv::write_comparison),
    ("history.csv", csv::write_history),
    ("predictions.csv", csv::write_predictions),
    ("report.html", html::write),
];

/// Writes the results folder `dir`, which is made if it is missing: `metrics.json`, `comparison.csv`,
/// `history.csv`, `predictions.csv`, `report.html`. All are written beside their places first and renamed
/// last, so a full disk or an interruption leaves the old ones whole.
///
/// # Errors
/// [`crate::error::Error::Io`] naming the file, also where a prediction names a species that is not there.
pub fn write(results: &Results, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).doing("create", dir)?;
    let mut written = Vec::with_capacity(FILES.len());
    for (name, write) in FILES {
        let path = dir.join(name);
        let mut file = temporary(dir).doing("write", &path)?;
        let mut buffer = BufWriter::new(&mut file);
        write(results, &mut buffer).and_then(|()| buffer.flush()).doing("write", &path)?;
        drop(buffer);
        written.push((file, path));
    }
    for (file, path) in written {
        file.persist(&path).map_err(|failed| failed.error).doing("replace", &path)?;
    }
    Ok(())
}

/// A temporary file in `dir` that others may read as far as the user's umask lets them.
fn temporary(dir: &Path) -> io::Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".birdaug-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(dir)
}

#[cfg(test)]
mod tests;
