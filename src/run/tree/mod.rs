//! A folder tree written whole: brought together beside its place, then swapped in, so that a reader never sees half of
//! it. Knows files, links and digests, nothing of what they show.

mod check;
mod links;
mod settle;
mod spare;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use rayon::prelude::*;

use crate::plan::inputs::Digest;

pub use check::Present;
pub use settle::Indices;
pub use spare::spare_trees;
pub use write::{Writer, Written};

/// The file that tells birdaug's own trees from other folders.
pub const MARK: &str = "manifest.csv";

/// What is at a path of the tree.
#[derive(Debug, Clone)]
pub enum Content {
    /// A photo of the dataset, whose digest the scan knows.
    Photo(PathBuf),
    /// A blob of the cache, read and checked before it is linked.
    Blob(PathBuf),
    Bytes(Vec<u8>),
}

/// A file of the tree.
#[derive(Debug, Clone)]
pub struct File {
    pub content: Content,
    pub digest: Digest,
}

/// Files by folder and name.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// Folder relative to the root with `/` between names (empty: the root itself), then file name.
    folders: BTreeMap<String, BTreeMap<String, File>>,
    /// Each folder's digest, once asked for.
    digests: OnceLock<BTreeMap<String, Digest>>,
}

impl Tree {
    /// Identifies paths and bytes.
    pub fn digest(&self) -> Digest {
        tree_digest(self.folder_digests().iter().map(|(folder, digest)| (folder.as_str(), *digest)))
    }

    /// Each folder with the digest of its files.
    pub fn folder_digests(&self) -> &BTreeMap<String, Digest> {
        self.digests.get_or_init(|| {
            let digest = |files: &BTreeMap<String, File>| {
                folder_digest(files.iter().map(|(name, file)| (name.as_str(), file.digest)))
            };
            self.folders.par_iter().map(|(folder, files)| (folder.clone(), digest(files))).collect()
        })
    }

    /// Adds a folder with its files.
    pub fn insert_folder(&mut self, folder: String, files: BTreeMap<String, File>) {
        self.digests.take();
        self.folders.insert(folder, files);
    }

    /// Adds a file.
    pub fn insert(&mut self, path: &str, file: File) {
        let (folder, name) = split(path);
        self.digests.take();
        self.folders.entry(folder.to_string()).or_default().insert(name.to_string(), file);
    }

    /// Adds a file made of bytes.
    pub fn insert_bytes(&mut self, path: &str, bytes: Vec<u8>) {
        let digest = *blake3::Hasher::new().update_rayon(&bytes).finalize().as_bytes();
        self.insert(path, File { content: Content::Bytes(bytes), digest });
    }
}

/// A path's folder and name.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Identifies a tree by its folders, given in the order of their paths.
fn tree_digest<'a>(folders: impl Iterator<Item = (&'a str, Digest)>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for (folder, digest) in folders {
        hasher.update(&(folder.len() as u64).to_le_bytes()).update(folder.as_bytes()).update(&digest);
    }
    *hasher.finalize().as_bytes()
}

/// Identifies the files of one folder, given in the order of their names.
fn folder_digest<'a>(files: impl Iterator<Item = (&'a str, Digest)>) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for (name, digest) in files {
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes()).update(&digest);
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests;
