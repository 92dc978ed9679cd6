//! `birdaug cache gc`.

use std::time::{Duration, SystemTime};

use super::days_ago;
use crate::cli::args::Gc;
use crate::cli::terminal;
use crate::error::{Error, Result};
use crate::run::gc::{self, Rules, Waste};
use crate::run::inventory::Inventory;
use crate::store::Store;
use crate::text;

/// Lists what is no longer needed, and throws it away unless it is a dry run.
pub fn run(store: &Store, options: &Gc, quiet: bool) -> Result<()> {
    let max_size = options.max_size.as_deref().map(size).transpose()?;
    // A dry run changes nothing, so that it may look while a build runs.
    let _held = (!options.dry_run).then(|| store.hold_alone()).transpose()?;
    store.refresh()?;
    let now = SystemTime::now();
    let keep = Duration::from_secs(options.keep_days.saturating_mul(24 * 3600));
    let roots = super::roots(&options.root)?;
    let inventory = Inventory::take(store, &roots)?;
    let waste = gc::plan(store, &inventory, &Rules { keep, max_size, now })?;
    if !quiet {
        show(&waste, now);
        if roots.is_empty() {
            terminal::line("no lock in `recipes/`, and none named by `--root`: only the time of the last use protects");
        }
    }
    if !options.dry_run {
        gc::carry_out(store, &waste)?;
    }
    if quiet {
        return Ok(());
    }
    let freed: u64 = waste.going.iter().map(|going| going.bytes).sum();
    let entries = match waste.going.len() {
        1 => "1 entry".to_string(),
        n => format!("{} entries", text::thousands(n)),
    };
    let done = if options.dry_run { "would go" } else { "gone" };
    terminal::line(&format!("{entries} ({}) {done}, {} left", text::bytes(freed), text::bytes(waste.after)));
    if let Some(size) = max_size.filter(|&size| waste.after > size) {
        let (left, size) = (text::bytes(waste.after), text::bytes(size));
        terminal::line(&format!(
            "what the locks reach takes {left} by itself, more than {size}: none of it is removed"
        ));
    }
    Ok(())
}

fn show(waste: &Waste, now: SystemTime) {
    let rows: Vec<Vec<String>> = waste
        .going
        .iter()
        .map(|going| {
            vec![going.kind.clone(), going.name.clone(), text::bytes(going.bytes), days_ago(going.last_use, now)]
        })
        .collect();
    if !rows.is_empty() {
        terminal::print(&terminal::table(&["what", "key", "bytes", "last use"], &rows, &[2]));
    }
}

/// `20GB`, `1.5 TiB`, `800000`.
fn size(text: &str) -> Result<u64> {
    let wrong = || Error::Usage(format!("`--max-size {text}`: give it as 500MB, 20GB or 1.5TiB"));
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let unit = unit.trim().to_ascii_lowercase();
    let (prefix, base) = match unit.strip_suffix("ib") {
        Some(prefix) => (prefix, 1024f64),
        None => (unit.strip_suffix('b').unwrap_or(&unit), 1000.0),
    };
    let power = ["", "k", "m", "g", "t"].iter().position(|&known| known == prefix).ok_or_else(wrong)?;
    Ok((number * base.powi(power as i32)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        let read = |text: &str| size(text).map_err(|error| error.to_string());
        assert_eq!(read("800000"), Ok(800_000));
        assert_eq!(read("20GB"), Ok(20_000_000_000));
        assert_eq!(read("1.5 TiB"), Ok(3 << 39));
        assert_eq!(read("12k"), Ok(12_000));
        assert_eq!(read("0"), Ok(0));
        for wrong in ["", "GB", "20XB", "1.2.3GB", "-5GB", "20 gigs"] {
            assert_eq!(read(wrong), Err(format!("`--max-size {wrong}`: give it as 500MB, 20GB or 1.5TiB")));
        }
    }
}
