//! `birdaug sample DIR`.

use super::args::{Global, Sample};
use super::terminal;
use crate::dataset::sample::{self, Options};
use crate::error::Result;
use crate::text;

/// Draws the sample dataset.
pub fn run(options: &Sample, global: &Global) -> Result<()> {
    let drawn = Options { seed: options.seed, size: options.size, ..Options::default() };
    let written = sample::write(&options.dir, &drawn)?;
    if !global.quiet {
        terminal::line(&format!(
            "{}: {} species, {} train, {} valid, {} test images",
            options.dir.display(),
            written.species,
            text::thousands(written.train),
            text::thousands(written.valid),
            text::thousands(written.test)
        ));
    }
    Ok(())
}
