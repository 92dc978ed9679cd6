//! Takes what another cache has and ours lacks. Blobs go first, records after them, so that what an interruption leaves
//! is a cache, and a second merge completes it.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use rayon::prelude::*;

use super::blobs::Found;
use super::level::Level;
use super::{Digest, Record, Store};
use crate::error::{Error, IoContext, Result};

/// Records kept in one append.
const BATCH: usize = 4096;

/// What a merge did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Merged {
    /// Records and blobs taken over.
    pub records: usize,
    pub blobs: usize,
    pub bytes: u64,
    /// Records left behind, since a blob of theirs is missing or damaged.
    pub incomplete: usize,
    /// Keys for which both caches hold different outputs.
    pub conflicts: Vec<Conflict>,
    /// Damage of the other cache, a sentence each.
    pub damage: Vec<String>,
}

/// A key with two outputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    pub key: [u8; 32],
    /// Whether the other cache's output was taken, since it is the preferred one.
    pub theirs: bool,
}

impl Store {
    /// Takes over the records and blobs of the cache at `from`. Where both hold different outputs of a key, ours stays,
    /// unless `prefer` names the key with a blob of theirs and with none of ours.
    ///
    /// # Errors
    /// [`Error::Usage`] if `from` is no cache, or this one; [`Error::Io`] if something cannot be read or written.
    pub fn merge(&self, from: &Path, prefer: &HashSet<([u8; 32], Digest)>) -> Result<Merged> {
        let other = Level::of_others(from)?;
        let place = |dir: &Path| fs::canonicalize(dir).doing("read", dir);
        if place(from)? == place(self.dir())? {
            return Err(Error::Usage(format!(
                "`{}` is the cache itself; name another to be joined to it",
                from.display()
            )));
        }
        other.load()?;
        self.own.load()?;
        let mut merged = Merged::default();
        self.take_blobs(&other, &mut merged)?;
        self.take_records(&other, prefer, &mut merged)?;
        merged.damage = other.damage();
        merged.damage.sort_unstable();
        Ok(merged)
    }

    fn take_blobs(&self, other: &Level, merged: &mut Merged) -> Result<()> {
        let missing: Vec<_> =
            other.blobs.list()?.into_iter().filter(|file| !self.own.blobs.has(&file.digest)).collect();
        let taken: Vec<u64> = missing
            .par_iter()
            .map(|file| {
                // Read first: what is linked or copied is known to be whole.
                let Found::Bytes(bytes) = other.get(&file.digest)? else { return Ok(None) };
                self.own.blobs.adopt(&file.digest, &other.blobs.path(&file.digest), &bytes)?;
                Ok(Some(bytes.len() as u64))
            })
            .filter_map(Result::transpose)
            .collect::<Result<_>>()?;
        (merged.blobs, merged.bytes) = (taken.len(), taken.iter().sum());
        Ok(())
    }

    fn take_records(&self, other: &Level, prefer: &HashSet<([u8; 32], Digest)>, merged: &mut Merged) -> Result<()> {
        let mut take = Vec::new();
        {
            let ours = self.own.log();
            let whole = |record: &Record| record.outputs.iter().all(|(_, digest)| self.own.blobs.has(digest));
            other.log().each(|theirs, _| {
                if !whole(&theirs) {
                    merged.incomplete += 1;
                    return;
                }
                let Some(mine) = ours.get(&theirs.key) else { return take.push(theirs) };
                if (&mine.outputs, &mine.inline) == (&theirs.outputs, &theirs.inline) {
                    return;
                }
                if !whole(&mine) {
                    return take.push(theirs);
                }
                let named =
                    |record: &Record| record.outputs.iter().any(|&(_, digest)| prefer.contains(&(record.key, digest)));
                let better = named(&theirs) && !named(&mine);
                merged.conflicts.push(Conflict { key: theirs.key, theirs: better });
                if better {
                    take.push(theirs);
                }
            });
        }
        for batch in take.chunks(BATCH) {
            self.commit(batch)?;
        }
        merged.records = take.len();
        Ok(())
    }
}

/// Puts a file's content at a second place, sharing it where the file system can; false where it cannot.
pub(super) fn share(from: &Path, temporary: &Path, to: &Path) -> bool {
    if reflink_copy::reflink(from, temporary).is_ok() {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o444);
        if fs::set_permissions(temporary, mode).and_then(|()| fs::rename(temporary, to)).is_ok() {
            return true;
        }
    }
    let _ = fs::remove_file(temporary);
    match fs::hard_link(from, to) {
        Ok(()) => true,
        Err(error) => error.kind() == std::io::ErrorKind::AlreadyExists,
    }
}
