//! What is in a tree's place now, and how it differs from what should be there. Reads only files that changed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use rayon::prelude::*;

use super::{Tree, folder_digest, tree_digest};
use crate::dataset::hashing::{Listed, digests};
use crate::dataset::stat_index::{Stat, StatIndex};
use crate::error::Result;
use crate::plan::inputs::Digest;

/// The files that are in a place.
#[derive(Debug, Default)]
pub struct Present {
    /// By folder relative to the root (empty: the root itself): names and digests in the order of the names.
    folders: BTreeMap<String, Vec<(String, Digest)>>,
    /// What could not be listed or read: path relative to the root, and why.
    broken: Vec<(String, String)>,
}

impl Present {
    /// Looks at everything below `out`; `None` if nothing is there. Links are followed.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`] if `out` itself cannot be opened.
    pub fn look(out: &Path, index: &mut StatIndex) -> Result<Option<Present>> {
        if !out.exists() {
            return Ok(None);
        }
        let (found, mut broken) = walk(out);
        let listed: Vec<Listed<'_>> = found.iter().map(|(path, files)| Listed { path, files }).collect();
        let hashed = digests(out, &listed, index)?;
        broken.extend(hashed.unreadable.into_iter().map(|(path, error)| (path, error.to_string())));
        let mut folders = BTreeMap::new();
        for ((path, files), digests) in found.into_iter().zip(hashed.digests) {
            let files =
                files.into_iter().zip(digests).filter_map(|((name, _), digest)| Some((name, digest?))).collect();
            folders.insert(path, files);
        }
        Ok(Some(Present { folders, broken }))
    }

    /// [`Tree::digest`] of a tree of just these files; `None` if some could not be read.
    pub fn digest(&self) -> Option<Digest> {
        if !self.broken.is_empty() {
            return None;
        }
        let filled = self.folders.iter().filter(|(_, files)| !files.is_empty());
        Some(tree_digest(filled.map(|(folder, files)| (folder.as_str(), digest_of(files)))))
    }

    /// The first way in which these files, found at `out`, differ from the tree's; `None` if they do not.
    pub fn difference(&self, tree: &Tree, out: &Path) -> Option<String> {
        let show = |folder: &str, name: &str| out.join(folder).join(name).display().to_string();
        if let Some((path, why)) = self.broken.first() {
            return Some(format!("`{}` cannot be read: {why}", out.join(path).display()));
        }
        for (folder, files) in &self.folders {
            let wanted = tree.folders.get(folder);
            for (name, digest) in files {
                match wanted.and_then(|wanted| wanted.get(name)) {
                    None => return Some(format!("`{}` is not of this build", show(folder, name))),
                    Some(file) if file.digest != *digest => {
                        return Some(format!("`{}` was changed", show(folder, name)));
                    }
                    Some(_) => {}
                }
            }
        }
        for (folder, wanted) in &tree.folders {
            let files = self.folders.get(folder).map_or(&[][..], Vec::as_slice);
            if files.len() < wanted.len() {
                let missing = wanted.keys().find(|name| files.binary_search_by(|(n, _)| n.cmp(name)).is_err());
                return missing.map(|name| format!("`{}` is missing", show(folder, name)));
            }
        }
        None
    }
}

fn digest_of(files: &[(String, Digest)]) -> Digest {
    folder_digest(files.iter().map(|(name, digest)| (name.as_str(), *digest)))
}

/// A folder's path relative to the root and its files, sorted by name.
type Folder = (String, Vec<(String, Stat)>);

/// Every folder below `root`, the folders of one depth at once; and what could not be listed.
fn walk(root: &Path) -> (Vec<Folder>, Vec<(String, String)>) {
    let mut level = vec![String::new()];
    let (mut folders, mut broken) = (Vec::new(), Vec::new());
    while !level.is_empty() {
        let listed: Vec<(String, io::Result<Listing>)> = std::mem::take(&mut level)
            .into_par_iter()
            .with_max_len(1)
            .map(|path| {
                let listing = list(&root.join(&path));
                (path, listing)
            })
            .collect();
        for (path, listing) in listed {
            match listing {
                Ok(listing) => {
                    let below = |name: &String| if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
                    level.extend(listing.folders.iter().map(below));
                    broken.extend(listing.broken.iter().map(|(name, why)| (below(name), why.clone())));
                    folders.push((path, listing.files));
                }
                Err(error) => broken.push((path, error.to_string())),
            }
        }
    }
    (folders, broken)
}

#[derive(Default)]
struct Listing {
    folders: Vec<String>,
    files: Vec<(String, Stat)>,
    broken: Vec<(String, String)>,
}

fn list(folder: &Path) -> io::Result<Listing> {
    let mut out = Listing::default();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            out.folders.push(name);
            continue;
        }
        // Only a link must be followed by its path; a plain entry's own state costs no path walk.
        match if kind.is_symlink() { fs::metadata(entry.path()) } else { entry.metadata() } {
            Ok(metadata) if metadata.is_dir() => out.folders.push(name),
            Ok(metadata) => out.files.push((name, Stat::of(&metadata))),
            Err(error) => out.broken.push((name, error.to_string())),
        }
    }
    out.files.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(out)
}
