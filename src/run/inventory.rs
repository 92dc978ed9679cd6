//! What the cache holds, and what of it is reached from the locks: a lock's keys are roots, those that the last build of
//! the recipe beside it needed are too, and whatever was computed from outputs of reached records alone (an image's
//! scores, its encoded file, a classifier's predictions) is reached with them. Candidates are reached by their own key
//! alone: a generator's output is also what every abandoned candidate was made from.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::time::SystemTime;

use rayon::prelude::*;

use crate::error::{IoContext, Result};
use crate::plan::{Inputs, Value};
use crate::store::{BlobFile, Digest, Store, Uses};

use super::locks::Named;
use super::session::use_name;

/// Kind of a blob that no record names.
pub const LONE_BLOB: &str = "blob without a record";

/// A record, or a blob that no record names.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key: [u8; 32],
    /// Index into [`Inventory::kinds`].
    pub kind: usize,
    /// Bytes in the log.
    pub bytes: u64,
    pub last_use: SystemTime,
    pub reachable: bool,
    /// Its blobs in [`Inventory::links`]: what it made, and then what its inputs name.
    links: Range<usize>,
    made: usize,
}

impl Entry {
    /// Whether it stands for a blob that no record names.
    pub fn is_record(&self) -> bool {
        self.bytes > 0
    }
}

/// All entries.
pub struct Inventory {
    pub kinds: Vec<String>,
    pub entries: Vec<Entry>,
    /// By digest.
    pub blobs: Vec<BlobFile>,
    pub uses: Vec<Uses>,
    /// Lists of uses that nobody can read any more.
    pub damaged: Vec<PathBuf>,
    links: Vec<u32>,
}

impl Inventory {
    /// Looks through the cache; `roots` are the locks.
    pub fn take(store: &Store, roots: &[Named]) -> Result<Inventory> {
        let blobs = store.blob_files()?;
        let (uses, damaged) = store.uses()?;
        let (kinds, entries, links) = (Vec::new(), Vec::new(), Vec::new());
        let mut inventory = Inventory { kinds, entries, blobs, uses, damaged, links };
        inventory.list_records(store)?;
        inventory.list_lone_blobs();
        inventory.reach(roots);
        Ok(inventory)
    }

    /// The blobs that an entry made or that its inputs name: it keeps them.
    pub fn blobs_of(&self, entry: &Entry) -> &[u32] {
        &self.links[entry.links.clone()]
    }

    /// The blobs that an entry made.
    pub fn made_by(&self, entry: &Entry) -> &[u32] {
        &self.links[entry.links.start..entry.made]
    }

    /// Bytes of all entries.
    pub fn bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.bytes).sum::<u64>()
            + self.entries.iter().map(|entry| entry.bytes).sum::<u64>()
    }

    fn list_records(&mut self, store: &Store) -> Result<()> {
        let mut used: HashMap<[u8; 32], SystemTime> = HashMap::new();
        for user in &self.uses {
            for &key in &user.keys {
                let last = used.entry(key).or_insert(user.last);
                *last = (*last).max(user.last);
            }
        }
        let log = store.dir().join("records.log");
        let written = match std::fs::metadata(&log) {
            Ok(found) => found.modified().doing("read", &log)?,
            Err(_) => SystemTime::now(),
        };
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let (kinds, entries, links, blobs) = (&mut self.kinds, &mut self.entries, &mut self.links, &self.blobs);
        store.each_record(|record, bytes| {
            let unknown = || Inputs { kind: "unknown".to_string(), version: 0, fields: Vec::new() };
            let inputs = Inputs::decode(&record.inputs).unwrap_or_else(unknown);
            let kind = *numbers.entry(inputs.kind).or_insert_with_key(|kind| {
                kinds.push(kind.clone());
                kinds.len() - 1
            });
            let start = links.len();
            links.extend(record.outputs.iter().filter_map(|(_, digest)| find(blobs, digest)));
            let made = links.len();
            links.extend(inputs.fields.iter().filter_map(|(_, value)| match value {
                Value::Digest(digest) => find(blobs, digest),
                _ => None,
            }));
            let newest = |range: &[u32]| range.iter().map(|&blob| blobs[blob as usize].modified).max();
            let last_use = used.get(&record.key).copied();
            // What made no blob is as old as what it was made from.
            let last_use = last_use.or_else(|| newest(&links[start..made])).or_else(|| newest(&links[made..]));
            let last_use = last_use.unwrap_or(written);
            let (key, bytes, links) = (record.key, bytes as u64, start..links.len());
            entries.push(Entry { key, kind, bytes, last_use, reachable: false, links, made });
        });
        Ok(())
    }

    fn list_lone_blobs(&mut self) {
        let mut named = vec![false; self.blobs.len()];
        for &blob in &self.links {
            named[blob as usize] = true;
        }
        let kind = self.kinds.len();
        for (blob, file) in self.blobs.iter().enumerate().filter(|&(blob, _)| !named[blob]) {
            let start = self.links.len();
            self.links.push(blob as u32);
            let (links, made) = (start..start + 1, start + 1);
            let (key, last_use) = (file.digest, file.modified);
            self.entries.push(Entry { key, kind, bytes: 0, last_use, reachable: false, links, made });
        }
        self.kinds.push(LONE_BLOB.to_string());
    }

    fn reach(&mut self, roots: &[Named]) {
        let candidate = self.kinds.iter().position(|kind| kind == "candidate");
        let mut keys: Vec<[u8; 32]> = roots.iter().flat_map(|lock| lock.keys.iter().copied()).collect();
        // The recipe beside a lock needs more than its lock names: what its last build looked up.
        let recipes: Vec<String> = roots.iter().map(|lock| use_name(&lock.path.with_extension("toml"))).collect();
        let needed = self.uses.iter().filter(|uses| recipes.contains(&uses.name));
        keys.extend(needed.flat_map(|uses| uses.keys.iter().copied()));
        keys.par_sort_unstable();
        let mut made = vec![false; self.blobs.len()];
        for entry in self.entries.iter().filter(|entry| entry.is_record()) {
            self.made_by(entry).iter().for_each(|&blob| made[blob as usize] = true);
        }
        // Which entry was made from which blob, and how many such blobs of each entry are not reached yet.
        let mut from: Vec<(u32, u32)> = Vec::new();
        let mut missing = vec![0usize; self.entries.len()];
        for (i, entry) in self.entries.iter().enumerate().filter(|(_, entry)| Some(entry.kind) != candidate) {
            let named = self.links[entry.made..entry.links.end].iter().filter(|&&blob| made[blob as usize]);
            let before = from.len();
            from.extend(named.map(|&blob| (blob, i as u32)));
            missing[i] = from.len() - before;
        }
        from.par_sort_unstable();
        let mut due: Vec<usize> = Vec::new();
        for (i, entry) in self.entries.iter_mut().enumerate() {
            if entry.is_record() && keys.binary_search(&entry.key).is_ok() {
                entry.reachable = true;
                due.push(i);
            }
        }
        while let Some(i) = due.pop() {
            for at in self.entries[i].links.start..self.entries[i].made {
                let blob = self.links[at];
                // Each blob is reached once, whoever else made it.
                if !std::mem::replace(&mut made[blob as usize], false) {
                    continue;
                }
                let first = from.partition_point(|&(other, _)| other < blob);
                for &(_, user) in from[first..].iter().take_while(|&&(other, _)| other == blob) {
                    let user = user as usize;
                    missing[user] -= 1;
                    if missing[user] == 0 && !self.entries[user].reachable {
                        self.entries[user].reachable = true;
                        due.push(user);
                    }
                }
            }
        }
    }
}

fn find(blobs: &[BlobFile], digest: &Digest) -> Option<u32> {
    blobs.binary_search_by(|blob| blob.digest.cmp(digest)).ok().map(|at| at as u32)
}
