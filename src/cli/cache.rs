//! `birdaug cache stats|check|gc|merge`.

mod gc;
mod stats;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::SystemTime;

use serde_json::json;

use super::args::{Cache, CacheCommand, Global};
use super::{opened, terminal};
use crate::error::{Error, Result};
use crate::plan::{Inputs, Key};
use crate::run::locks::{self, Named};
use crate::store::{Conflict, Store};
use crate::text;

/// Lines of one kind that are printed at most.
const LISTED: usize = 20;

/// Looks after the cache.
pub fn run(options: &Cache, global: &Global) -> Result<()> {
    let store = opened::store(global)?;
    // A check reads the records beside the blobs.
    if !matches!(options.command, CacheCommand::Check { .. }) {
        store.load()?;
    }
    match &options.command {
        CacheCommand::Stats { json } => stats::run(&store, *json),
        CacheCommand::Check { json } => check(&store, *json),
        CacheCommand::Gc(options) => gc::run(&store, options, global.quiet),
        CacheCommand::Merge { dirs } => merge(&store, dirs, global.quiet),
    }
}

/// The locks beside the recipes of this folder, and those named besides.
fn roots(more: &[PathBuf]) -> Result<Vec<Named>> {
    let mut roots = locks::in_folder("recipes")?;
    for path in more {
        roots.push(locks::read(path)?);
    }
    Ok(roots)
}

/// How long ago something was used, in days.
fn days_ago(last: SystemTime, now: SystemTime) -> String {
    match now.duration_since(last).map_or(0, |age| age.as_secs() / (24 * 3600)) {
        0 => "today".to_string(),
        days => format!("{} ago", text::count(days as usize, "day")),
    }
}

fn check(store: &Store, as_json: bool) -> Result<()> {
    let checked = store.check()?;
    let damaged = checked.damage.len();
    if as_json {
        terminal::json(&json!({
            "dir": store.dir(),
            "blobs": checked.blobs,
            "bytes": checked.bytes,
            "records": checked.records,
            "incomplete_records": checked.incomplete,
            "unfinished": checked.unfinished,
            "damage": checked.damage,
        }));
    } else {
        for line in &checked.damage {
            terminal::line(line);
        }
        if checked.incomplete > 0 {
            let records = text::count(checked.incomplete, "record");
            terminal::line(&format!("{records} of which a blob is missing: their work is due again"));
        }
        if damaged == 0 {
            let (blobs, records) = (text::count(checked.blobs, "blob"), text::count(checked.records, "record"));
            terminal::line(&format!(
                "{blobs} ({}) and {records} read: all as they were written",
                text::bytes(checked.bytes)
            ));
        }
    }
    if damaged == 0 {
        return Ok(());
    }
    let entries = if damaged == 1 {
        "1 damaged entry".to_string()
    } else {
        format!("{} damaged entries", text::thousands(damaged))
    };
    Err(Error::Differs(format!("{entries} forgotten; a build makes what is missing again")))
}

fn merge(store: &Store, dirs: &[PathBuf], quiet: bool) -> Result<()> {
    let _held = store.hold()?;
    let prefer: HashSet<_> = roots(&[])?.iter().flat_map(|lock| lock.pairs.iter().copied()).collect();
    let (mut records, mut blobs, mut bytes) = (0, 0, 0);
    for dir in dirs {
        let merged = store.merge(dir, &prefer)?;
        (records, blobs, bytes) = (records + merged.records, blobs + merged.blobs, bytes + merged.bytes);
        if quiet {
            continue;
        }
        for line in merged.damage.iter().take(LISTED) {
            terminal::line(line);
        }
        if merged.incomplete > 0 {
            let left = text::count(merged.incomplete, "record");
            terminal::line(&format!("`{}`: {left} left behind, for want of a blob", dir.display()));
        }
        for conflict in merged.conflicts.iter().take(LISTED) {
            terminal::line(&conflict_line(store, conflict, dir));
        }
        if let Some(more) = merged.conflicts.len().checked_sub(LISTED + 1) {
            terminal::line(&format!("and {} more of `{}`", text::count(more + 1, "conflict"), dir.display()));
        }
    }
    if !quiet {
        let (records, blobs) = (text::count(records, "record"), text::count(blobs, "blob"));
        terminal::line(&format!("{records} and {blobs} ({}) taken over", text::bytes(bytes)));
    }
    Ok(())
}

fn conflict_line(store: &Store, conflict: &Conflict, dir: &std::path::Path) -> String {
    let inputs = store.record(&conflict.key).and_then(|record| Inputs::decode(&record.inputs));
    let kind = inputs.map_or("record".to_string(), |inputs| inputs.kind);
    let won = match conflict.theirs {
        true => "its own is taken, since a lock names it",
        false => "ours stays",
    };
    format!("{kind} {}: `{}` has another output; {won}", Key(conflict.key).short(), dir.display())
}
