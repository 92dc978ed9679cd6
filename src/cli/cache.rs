//! `birdaug cache stats|check`.

use serde_json::json;

use super::args::{Cache, CacheCommand, Global};
use super::terminal;
use crate::error::{Error, Result};
use crate::plan::Inputs;
use crate::store::Store;
use crate::text;

/// Looks after the cache.
pub fn run(options: &Cache, global: &Global) -> Result<()> {
    let store = Store::open(&global.cache)?;
    match options.command {
        CacheCommand::Stats { json } => stats(&store, json),
        CacheCommand::Check => check(&store),
    }
}

fn stats(store: &Store, as_json: bool) -> Result<()> {
    let mut kinds: std::collections::BTreeMap<String, usize> = Default::default();
    for record in store.records() {
        let kind = Inputs::decode(&record.inputs).map_or("unknown".to_string(), |inputs| inputs.kind);
        *kinds.entry(kind).or_default() += 1;
    }
    let blobs = store.blobs()?;
    let bytes: u64 = blobs.iter().map(|(_, size)| size).sum();
    if as_json {
        terminal::json(&json!({
            "dir": store.dir(),
            "blobs": blobs.len(),
            "bytes": bytes,
            "records": kinds,
        }));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = kinds.iter().map(|(kind, n)| vec![kind.clone(), text::thousands(*n)]).collect();
    terminal::print(&terminal::table(&["records of", "number"], &rows, &[1]));
    terminal::line(&format!("{} in {}", text::bytes(bytes), text::count(blobs.len(), "blob")));
    Ok(())
}

fn check(store: &Store) -> Result<()> {
    let blobs = store.blobs()?;
    for (digest, _) in &blobs {
        store.get(digest)?;
    }
    let damage = store.damage();
    for line in &damage {
        terminal::line(line);
    }
    if damage.is_empty() {
        terminal::line(&format!("{} read, all whole", text::count(blobs.len(), "blob")));
        return Ok(());
    }
    Err(Error::Differs(format!(
        "{} forgotten; a build makes what is missing again",
        text::count(damage.len(), "damaged entry").replace("entrys", "entries")
    )))
}
