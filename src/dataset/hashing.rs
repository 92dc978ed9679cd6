//! The digests of many files: those that the index knows are not read again, the others are hashed on all threads.
//! Knows nothing of images.

use std::collections::BTreeSet;
use std::path::Path;

use rayon::prelude::*;

use super::digest::{self, Digest};
use super::stat_index::{self, Entry, Stat, StatIndex};
use crate::error::{Error, Result};

/// A folder's files as they are on disk.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a> {
    /// Relative to the root, with `/` between names; empty for the root itself.
    pub path: &'a str,
    pub files: &'a [(String, Stat)],
}

/// What [`digests`] found.
pub struct Hashed {
    /// By folder and file; `None` where the file could not be read.
    pub digests: Vec<Vec<Option<Digest>>>,
    /// Paths relative to the root, in the order of the folders and files.
    pub unreadable: Vec<(String, Error)>,
    /// Number of files whose bytes were read.
    pub read: usize,
}

/// The digests of all files of all folders below `root`; `index` is asked first, and updated, and forgets folders that
/// are gone.
///
/// # Errors
/// [`Error::Io`] without a root. A file that cannot be read is in [`Hashed::unreadable`].
pub fn digests(root: &Path, folders: &[Listed<'_>], index: &mut StatIndex) -> Result<Hashed> {
    let root_key = stat_index::folder_key(root)?;
    let known: Vec<Vec<Option<Digest>>> = folders
        .par_iter()
        .map(|folder| {
            let entries = index.folder(&key(&root_key, folder.path));
            folder.files.iter().map(|(name, stat)| StatIndex::lookup(entries, name, stat)).collect()
        })
        .collect();
    let missing: Vec<(usize, usize)> = (0..folders.len())
        .flat_map(|f| (0..known[f].len()).map(move |n| (f, n)))
        .filter(|&(f, n)| known[f][n].is_none())
        .collect();
    let now = stat_index::now();
    let read: Vec<Result<(Digest, Stat)>> = missing
        .par_iter()
        .map_init(Vec::new, |buffer, &(f, n)| {
            let (name, _) = &folders[f].files[n];
            digest::of_file_with(&root.join(folders[f].path).join(name), buffer)
        })
        .collect();
    let mut out = Hashed { digests: Vec::with_capacity(folders.len()), unreadable: Vec::new(), read: read.len() };
    // In the order of the folders and files, as `missing` is.
    let mut fresh = Vec::with_capacity(missing.len());
    for ((f, n), read) in missing.into_iter().zip(read) {
        fresh.push(match read {
            Ok(read) => Some(read),
            Err(error) => {
                out.unreadable.push((format!("{}/{}", folders[f].path, folders[f].files[n].0), error));
                None
            }
        });
    }
    let mut fresh = fresh.into_iter();

    let mut seen = BTreeSet::new();
    for (folder, known) in folders.iter().zip(known) {
        let key = key(&root_key, folder.path);
        if known.iter().all(Option::is_some) && index.folder(&key).len() == known.len() {
            out.digests.push(known);
            seen.insert(key);
            continue;
        }
        let mut digests = Vec::with_capacity(known.len());
        let mut entries = Vec::with_capacity(known.len());
        for ((name, stat), known) in folder.files.iter().zip(known) {
            let found = match known {
                Some(digest) => Some((digest, *stat)),
                None => fresh.next().flatten(),
            };
            digests.push(found.map(|(digest, _)| digest));
            entries.extend(found.map(|(digest, stat)| Entry { name: name.clone(), stat, digest }));
        }
        out.digests.push(digests);
        index.replace(key.clone(), entries, now);
        seen.insert(key);
    }
    index.prune(&root_key, |key| seen.contains(key));
    Ok(out)
}

/// Identifies the names and bytes of all files; folders in the order given, files in the order given.
pub fn digest_of(folders: &[Listed<'_>], digests: &[Vec<Option<Digest>>]) -> Digest {
    let one = |(folder, digests): (&Listed<'_>, &Vec<Option<Digest>>)| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(folder.path.len() as u64).to_le_bytes()).update(folder.path.as_bytes());
        for ((name, _), digest) in folder.files.iter().zip(digests) {
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
            hasher.update(&digest.unwrap_or_default());
        }
        *hasher.finalize().as_bytes()
    };
    let parts: Vec<Digest> = folders.par_iter().zip(digests).map(one).collect();
    digest::of(&parts.concat())
}

/// The index's key of a folder below a root that has the key `root`.
pub fn key(root: &str, folder: &str) -> String {
    if folder.is_empty() { root.to_string() } else { format!("{root}/{folder}") }
}
