//! Reads everything that a cache keeps, and forgets what is damaged.

use std::fs;
use std::path::PathBuf;

use rayon::prelude::*;

use super::blobs::Found;
use super::{Store, View};
use crate::error::{IoContext, Result};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Checked {
    pub blobs: usize,
    pub bytes: u64,
    pub records: usize,
    /// Records of which a blob is missing: their work is due again.
    pub incomplete: usize,
    /// States of interrupted fits.
    pub unfinished: usize,
    /// Each damage, a sentence each; what could be forgotten has been.
    pub damage: Vec<String>,
}

impl Store {
    /// Compares every blob, record, unfinished state and list of uses of our own cache with its digest.
    ///
    /// # Errors
    /// [`Error::Io`](crate::error::Error::Io) where the folders cannot be listed; a file that cannot be read is damage.
    pub fn check(&self) -> Result<Checked> {
        let (loaded, folders) = rayon::join(
            || self.own.load(),
            || (0..=255u8).into_par_iter().map(|head| self.own.blobs.read_folder(head)).collect::<Result<Vec<_>>>(),
        );
        loaded?;
        let mut checked = Checked::default();
        let folders = folders?;
        self.own.blobs.list_is(folders.iter().flat_map(|folder| &folder.whole));
        for folder in &folders {
            (checked.blobs, checked.bytes) = (checked.blobs + folder.whole.len(), checked.bytes + folder.bytes);
        }
        for digest in folders.iter().flat_map(|folder| &folder.left) {
            checked.blobs += 1;
            match self.own.get(digest) {
                Ok(Found::Bytes(bytes)) => checked.bytes += bytes.len() as u64,
                Ok(_) => {}
                Err(error) => checked.damage.push(error.to_string()),
            }
        }
        let is_incomplete = |record: View<'_>| !record.outputs().all(|(_, digest)| self.own.blobs.has(digest));
        (checked.records, checked.incomplete) = self.own.log().count(is_incomplete);
        for (key, _) in self.all_unfinished()? {
            if self.unfinished(&key)?.is_some() {
                checked.unfinished += 1;
                continue;
            }
            let path = self.unfinished_path(&key);
            self.drop_unfinished(&key)?;
            checked.damage.push(format!("`{}` was damaged; the fit starts from its beginning", path.display()));
        }
        for path in self.uses()?.1 {
            fs::remove_file(&path).doing("remove", &path)?;
            let path = path.display();
            checked
                .damage
                .push(format!("`{path}` was damaged; the next build of its recipe notes again what that needs"));
        }
        let elsewhere = self.dir().join(super::ELSEWHERE);
        if elsewhere.exists() {
            // Whoever owns the other cache may have mended it.
            fs::remove_file(&elsewhere).doing("remove", &elsewhere)?;
        }
        checked.damage.extend(self.own.damage());
        checked.damage.sort_unstable();
        Ok(checked)
    }

    /// Keys and files of all unfinished work.
    pub fn all_unfinished(&self) -> Result<Vec<([u8; 32], PathBuf)>> {
        let folder = self.dir().join("unfinished");
        let mut out = Vec::new();
        for path in super::files_in(&folder)? {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if let Ok(key) = blake3::Hash::from_hex(&name) {
                out.push((key.into(), path));
            }
        }
        out.sort_unstable();
        Ok(out)
    }

    /// Files of ours that a killed process left half written, with the time of their last change.
    pub fn leftovers(&self) -> Result<Vec<(PathBuf, std::time::SystemTime)>> {
        let mut folders: Vec<PathBuf> = ["", "unfinished", "uses", "last"].map(|name| self.dir().join(name)).to_vec();
        folders.extend((0..=255).map(|head| self.own.blobs.folder(head)));
        let found: Vec<Vec<PathBuf>> = folders
            .par_iter()
            .map(|folder| {
                let mut files = super::files_in(folder)?;
                files.retain(|path| {
                    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
                    name.starts_with(super::blobs::UNDER_WAY) || name.starts_with(super::UNDER_WAY)
                });
                Ok(files)
            })
            .collect::<Result<_>>()?;
        let mut out = Vec::new();
        for path in found.into_iter().flatten() {
            if let Ok(found) = fs::metadata(&path) {
                out.push((path.clone(), found.modified().doing("read", &path)?));
            }
        }
        out.sort_unstable();
        Ok(out)
    }
}
