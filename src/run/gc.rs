//! What leaves the cache: what no lock reaches and nobody has used for a while, and then, for a size, what nobody has
//! used for longest. Decides; the store throws away. What is shown beforehand is the list that goes.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::error::{Error, IoContext, Result};
use crate::plan::Key;
use crate::store::{Digest, Store};

use super::inventory::Inventory;

/// Files that a killed process left half written are somebody's work for so long.
const UNDER_WAY: Duration = Duration::from_secs(24 * 3600);

/// What a person asks for.
#[derive(Debug, Clone)]
pub struct Rules {
    /// How long what no lock reaches is kept after its last use.
    pub keep: Duration,
    /// Bytes that the cache may have.
    pub max_size: Option<u64>,
    pub now: SystemTime,
}

/// One line of the list.
#[derive(Debug, Clone, PartialEq)]
pub struct Going {
    pub kind: String,
    /// The key's first digits, or a file's name.
    pub name: String,
    /// What is freed by it, after those before it are gone.
    pub bytes: u64,
    pub last_use: SystemTime,
}

/// Everything that goes, in order.
#[derive(Debug, Clone, Default)]
pub struct Waste {
    pub going: Vec<Going>,
    /// Bytes of records and blobs before and after.
    pub before: u64,
    pub after: u64,
    records: HashSet<[u8; 32]>,
    blobs: Vec<Digest>,
    files: Vec<PathBuf>,
}

/// Decides what goes.
///
/// # Errors
/// [`Error::Input`] where it is not known any more what a recipe needs.
pub fn plan(store: &Store, inventory: &Inventory, rules: &Rules) -> Result<Waste> {
    if let Some(path) = inventory.damaged.first() {
        return Err(Error::input_help(
            format!(
                "`{}` is damaged, so that what its recipe needs is not known: nothing is thrown away",
                path.display()
            ),
            "build that recipe, which notes it again; without it, `birdaug cache check` forgets the list",
        ));
    }
    let mut waste = Waste { before: inventory.bytes(), ..Waste::default() };
    waste.after = waste.before;
    let mut users = vec![0u32; inventory.blobs.len()];
    for &blob in inventory.entries.iter().flat_map(|entry| inventory.blobs_of(entry)) {
        users[blob as usize] += 1;
    }
    let mut loose: Vec<usize> = (0..inventory.entries.len()).filter(|&i| !inventory.entries[i].reachable).collect();
    loose.sort_unstable_by_key(|&i| (inventory.entries[i].last_use, inventory.entries[i].key));
    for i in loose {
        let entry = &inventory.entries[i];
        let too_old = is_older(entry.last_use, rules.keep, rules.now);
        let too_much = rules.max_size.is_some_and(|size| waste.after > size);
        if !too_old && !too_much {
            break;
        }
        let mut bytes = entry.bytes;
        for &blob in inventory.blobs_of(entry) {
            let blob = blob as usize;
            users[blob] -= 1;
            if users[blob] == 0 {
                bytes += inventory.blobs[blob].bytes;
                waste.blobs.push(inventory.blobs[blob].digest);
            }
        }
        if entry.is_record() {
            waste.records.insert(entry.key);
        }
        waste.after -= bytes;
        let (kind, name) = (inventory.kinds[entry.kind].clone(), Key(entry.key).short());
        waste.going.push(Going { kind, name, bytes, last_use: entry.last_use });
    }
    stale_files(store, rules, &mut waste)?;
    Ok(waste)
}

/// Throws away what was decided on; who calls holds the cache alone.
pub fn carry_out(store: &Store, waste: &Waste) -> Result<()> {
    store.discard(&waste.records, &waste.blobs)?;
    for path in &waste.files {
        let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).doing("remove", path),
            _ => {}
        }
    }
    Ok(())
}

fn stale_files(store: &Store, rules: &Rules, waste: &mut Waste) -> Result<()> {
    let mut push = |kind: &str, name: String, path: PathBuf, last_use: SystemTime| {
        let bytes = std::fs::metadata(&path).map_or(0, |found| found.len());
        waste.going.push(Going { kind: kind.to_string(), name, bytes, last_use });
        waste.files.push(path);
    };
    for (key, path) in store.all_unfinished()? {
        let last_use = std::fs::metadata(&path).and_then(|found| found.modified()).doing("read", &path)?;
        if is_older(last_use, rules.keep, rules.now) {
            push("unfinished fit", Key(key).short(), path, last_use);
        }
    }
    for path in super::tree::spare_trees(&super::emit::trees(store))? {
        let last_use = std::fs::metadata(&path).and_then(|found| found.modified()).doing("read", &path)?;
        if is_older(last_use, rules.keep, rules.now) {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            push("spare tree", name, path, last_use);
        }
    }
    for (path, last_use) in store.leftovers()? {
        if is_older(last_use, UNDER_WAY, rules.now) {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            push("half-written file", name, path, last_use);
        }
    }
    Ok(())
}

/// A time in the future, left by a clock that was set back, is not old.
fn is_older(last_use: SystemTime, age: Duration, now: SystemTime) -> bool {
    now.duration_since(last_use).is_ok_and(|since| since > age)
}
