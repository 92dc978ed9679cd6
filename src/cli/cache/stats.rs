//! `birdaug cache stats`.

use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::days_ago;
use crate::cli::terminal;
use crate::error::Result;
use crate::run::inventory::{Entry, Inventory};
use crate::store::Store;
use crate::text;

/// Ages in days under which entries are counted together.
const AGES: [(&str, u64); 4] = [("today", 1), ("this week", 7), ("this month", 30), ("older", u64::MAX)];

/// A number of entries and their bytes.
#[derive(Default, Clone, Copy)]
struct Sum {
    entries: usize,
    bytes: u64,
}

impl Sum {
    fn add(&mut self, bytes: u64) {
        self.entries += 1;
        self.bytes += bytes;
    }

    fn json(self) -> Value {
        json!({ "entries": self.entries, "bytes": self.bytes })
    }

    fn row(self, name: &str) -> Vec<String> {
        vec![name.to_string(), text::thousands(self.entries), text::bytes(self.bytes)]
    }
}

/// Counts what the cache holds by kind, recipe, age, and whether a lock reaches it.
pub fn run(store: &Store, as_json: bool) -> Result<()> {
    let inventory = Inventory::take(store, &super::roots(&[])?)?;
    let now = SystemTime::now();
    let bytes = own_bytes(&inventory);
    let mut kinds: BTreeMap<&str, Sum> = BTreeMap::new();
    let mut ages = [Sum::default(); AGES.len()];
    let (mut reachable, mut loose) = (Sum::default(), Sum::default());
    for (entry, &bytes) in inventory.entries.iter().zip(&bytes) {
        kinds.entry(&inventory.kinds[entry.kind]).or_default().add(bytes);
        let days = now.duration_since(entry.last_use).map_or(0, |age| age.as_secs() / (24 * 3600));
        let age = AGES.iter().position(|&(_, below)| days < below).unwrap_or(AGES.len() - 1);
        ages[age].add(bytes);
        if entry.reachable { &mut reachable } else { &mut loose }.add(bytes);
    }
    let recipes = recipes(&inventory, &bytes);
    let blobs: u64 = inventory.blobs.iter().map(|blob| blob.bytes).sum();
    if as_json {
        let records: BTreeMap<&str, usize> =
            inventory.entries.iter().filter(|entry| entry.is_record()).fold(BTreeMap::new(), |mut counts, entry| {
                *counts.entry(inventory.kinds[entry.kind].as_str()).or_default() += 1;
                counts
            });
        terminal::json(&json!({
            "dir": store.dir(),
            "blobs": inventory.blobs.len(),
            "bytes": blobs,
            "records": records,
            "kinds": kinds.iter().map(|(&kind, sum)| (kind.to_string(), sum.json())).collect::<serde_json::Map<_, _>>(),
            "recipes": recipes.iter().map(|(name, sum, last)| json!({
                "name": name,
                "entries": sum.entries,
                "bytes": sum.bytes,
                "days_since_use": now.duration_since(*last).map_or(0, |age| age.as_secs() / (24 * 3600)),
            })).collect::<Vec<_>>(),
            "ages": AGES.iter().zip(ages).map(|((name, _), sum)| (name.to_string(), sum.json()))
                .collect::<serde_json::Map<_, _>>(),
            "reachable": reachable.json(),
            "unreachable": loose.json(),
        }));
        return Ok(());
    }
    let table = |what: &str, rows: Vec<Vec<String>>| terminal::table(&[what, "entries", "bytes"], &rows, &[1, 2]);
    let mut out = table("kind", kinds.iter().map(|(kind, sum)| sum.row(kind)).collect());
    if !recipes.is_empty() {
        let rows: Vec<Vec<String>> = recipes
            .iter()
            .map(|(name, sum, last)| {
                let mut row = sum.row(name);
                row.push(days_ago(*last, now));
                row
            })
            .collect();
        out.push('\n');
        out.push_str(&terminal::table(&["used by", "entries", "bytes", "last use"], &rows, &[1, 2]));
    }
    out.push('\n');
    out.push_str(&table("last use", AGES.iter().zip(ages).map(|((name, _), sum)| sum.row(name)).collect()));
    out.push('\n');
    let rows = vec![reachable.row("reached from a lock"), loose.row("not reached")];
    out.push_str(&table("locks", rows));
    out.push('\n');
    let count = text::count(inventory.blobs.len(), "blob");
    out.push_str(&format!("{} in {count}\n", text::bytes(blobs)));
    terminal::print(&out);
    Ok(())
}

/// Bytes of each entry with what it made; a blob that several made counts for the first.
fn own_bytes(inventory: &Inventory) -> Vec<u64> {
    let mut counted = vec![false; inventory.blobs.len()];
    let of = |entry: &Entry| {
        let made = inventory.made_by(entry).iter().map(|&blob| blob as usize);
        let new: u64 = made
            .filter(|&blob| !std::mem::replace(&mut counted[blob], true))
            .map(|blob| inventory.blobs[blob].bytes)
            .sum();
        entry.bytes + new
    };
    inventory.entries.iter().map(of).collect()
}

/// What each recipe used when it was last built; what several use counts for each.
fn recipes<'a>(inventory: &'a Inventory, bytes: &[u64]) -> Vec<(&'a str, Sum, SystemTime)> {
    let at: HashMap<[u8; 32], usize> = if inventory.uses.is_empty() { HashMap::new() } else { index(inventory) };
    let sum = |keys: &[[u8; 32]]| {
        let mut sum = Sum::default();
        keys.iter().filter_map(|key| at.get(key)).for_each(|&i| sum.add(bytes[i]));
        sum
    };
    inventory.uses.iter().map(|user| (user.name.as_str(), sum(&user.keys), user.last)).collect()
}

fn index(inventory: &Inventory) -> HashMap<[u8; 32], usize> {
    inventory.entries.iter().enumerate().map(|(i, entry)| (entry.key, i)).collect()
}
