//! A plain folder of images, whatever its layout: every image file below it with its digest. Judges nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::digest::Digest;
use super::hashing::{self, Listed};
use super::listing::is_image_name;
use super::names;
use super::stat_index::{Stat, StatIndex};
use crate::error::{Error, IoContext, Result};

/// The image files below a folder.
pub struct Folder {
    pub root: PathBuf,
    /// Path relative to the root, with `/`, and digest; in natural order.
    pub files: Vec<(String, Digest)>,
    /// What could not be listed or read.
    pub unreadable: Vec<(PathBuf, Error)>,
}

impl Folder {
    /// Lists and hashes; files whose size and times `index` knows are not read again. Hidden files and folders are passed over.
    ///
    /// # Errors
    /// [`Error::Input`] where `root` is no folder, [`Error::Io`] where it cannot be listed.
    pub fn look(root: &Path, index: &mut StatIndex) -> Result<Folder> {
        if !root.is_dir() {
            let what = if root.exists() { "is not a folder" } else { "does not exist" };
            return Err(Error::input_help(
                format!("`{}` {what}", root.display()),
                "give a folder of images; its sub-folders are looked through too",
            ));
        }
        std::fs::read_dir(root).doing("list", root)?;
        let mut unreadable = Vec::new();
        let mut folders: BTreeMap<String, Vec<(String, Stat)>> = BTreeMap::new();
        let hidden = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with('.');
        let walk = WalkDir::new(root).follow_links(true).into_iter();
        for entry in walk.filter_entry(|entry| entry.depth() == 0 || !hidden(entry.file_name())) {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let path = error.path().unwrap_or(root).to_path_buf();
                    unreadable.push((path.clone(), Error::input(format!("`{}`: {error}", path.display()))));
                    continue;
                }
            };
            let name = entry.file_name().to_string_lossy().into_owned();
            if !entry.file_type().is_file() || !is_image_name(&name) {
                continue;
            }
            match entry.metadata() {
                Ok(metadata) => {
                    let folder = entry.path().parent().and_then(|path| path.strip_prefix(root).ok());
                    let folder = folder.unwrap_or(Path::new("")).to_string_lossy().into_owned();
                    folders.entry(folder).or_default().push((name, Stat::of(&metadata)));
                }
                Err(error) => {
                    unreadable.push((entry.path().to_path_buf(), Error::input(error.to_string())));
                }
            }
        }
        folders.values_mut().for_each(|files| files.sort_unstable_by(|a, b| names::natural(&a.0, &b.0)));
        let listed: Vec<Listed<'_>> = folders.iter().map(|(path, files)| Listed { path, files }).collect();
        let hashed = hashing::digests(root, &listed, index)?;
        unreadable.extend(hashed.unreadable.into_iter().map(|(path, error)| (root.join(path), error)));
        let mut files = Vec::new();
        for (folder, digests) in listed.iter().zip(hashed.digests) {
            for ((name, _), digest) in folder.files.iter().zip(digests) {
                let path = if folder.path.is_empty() { name.clone() } else { format!("{}/{name}", folder.path) };
                files.extend(digest.map(|digest| (path, digest)));
            }
        }
        Ok(Folder { root: root.to_path_buf(), files, unreadable })
    }

    /// Where a file is.
    pub fn path(&self, file: usize) -> PathBuf {
        self.root.join(&self.files[file].0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_files_are_found_at_every_depth_in_natural_order() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in ["10.jpg", "9.jpg", "OWL/b.PNG", "OWL/deep/c.webp", "notes.txt", ".hidden.jpg", ".git/x.jpg"] {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        let found = Folder::look(root, &mut StatIndex::load(&root.join("index"))).unwrap();
        let names: Vec<&str> = found.files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["9.jpg", "10.jpg", "OWL/b.PNG", "OWL/deep/c.webp"]);
        assert_eq!(found.files[0].1, *blake3::hash(b"9.jpg").as_bytes());
        assert!(found.unreadable.is_empty());
        assert_eq!(found.path(2), root.join("OWL/b.PNG"));
    }

    #[test]
    fn what_is_no_folder_is_said() {
        let none = |path: &str| Folder::look(Path::new(path), &mut StatIndex::load(Path::new("/none"))).err().unwrap();
        assert!(none("/no/such").to_string().starts_with("`/no/such` does not exist"));
    }
}
