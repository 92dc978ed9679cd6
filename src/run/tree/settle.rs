//! After a tree was written: the index learns the state of its files without reading them, and the photos' own index
//! that a link changed nothing but their time of link.

use std::fs;
use std::path::Path;

use rayon::prelude::*;

use super::{Content, Tree};
use crate::dataset::hashing;
use crate::dataset::stat_index::{self, Entry, Stat, StatIndex};
use crate::error::{IoContext, Result};

/// The stat indices that a written tree concerns.
pub struct Indices<'a> {
    /// Of the tree.
    pub tree: &'a mut StatIndex,
    /// Of the dataset at `root`.
    pub photos: &'a mut StatIndex,
    pub root: &'a Path,
}

impl Tree {
    /// Tells the indices about the files that were just written at `out`.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`] if a file that was just written is not there.
    pub fn settle(&self, out: &Path, indices: Indices<'_>) -> Result<()> {
        let out_key = stat_index::folder_key(out)?;
        let root_key = stat_index::folder_key(indices.root)?;
        let known = &*indices.photos;
        let now = stat_index::now();
        type Relinked = (String, String, Stat);
        let found: Vec<(Vec<Entry>, Vec<Relinked>)> = self
            .folders
            .par_iter()
            .map(|(folder, files)| {
                let mut entries = Vec::with_capacity(files.len());
                let mut relinked = Vec::new();
                for (name, file) in files {
                    let path = out.join(folder).join(name);
                    let stat = Stat::of(&fs::metadata(&path).doing("read back", &path)?);
                    if let Content::Photo(from) = &file.content {
                        let Some((key, photo)) = place(from, indices.root, &root_key) else { continue };
                        // Bytes are the photo's if it is in the state in which it was hashed, its links aside.
                        let Some(entry) = known.entry(&key, photo) else { continue };
                        if entry.digest != file.digest || !stat.has_bytes_of(&entry.stat) {
                            continue;
                        }
                        if stat.inode == entry.stat.inode && stat != entry.stat {
                            relinked.push((key, photo.to_string(), stat));
                        }
                    }
                    entries.push(Entry { name: name.clone(), stat, digest: file.digest });
                }
                Ok((entries, relinked))
            })
            .collect::<Result<_>>()?;
        for (folder, (entries, relinked)) in self.folders.keys().zip(found) {
            indices.tree.replace(hashing::key(&out_key, folder), entries, now);
            for (key, name, stat) in relinked {
                indices.photos.restat(&key, &name, stat);
            }
        }
        Ok(())
    }
}

/// The index's folder and name of a photo of the dataset.
fn place<'p>(photo: &'p Path, root: &Path, root_key: &str) -> Option<(String, &'p str)> {
    let relative = photo.strip_prefix(root).ok()?;
    let folder = relative.parent()?.to_str()?;
    Some((hashing::key(root_key, folder), photo.file_name()?.to_str()?))
}
