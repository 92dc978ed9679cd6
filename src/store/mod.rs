//! Bytes by key: blobs under their digest, records under the key of the work that made them, and unfinished work.
//! Knows nothing of what the bytes mean. A miss is a value; damage is found, remembered, and mended by forgetting.
//!
//! ```text
//! cache/
//!   CACHEDIR.TAG        so that backups leave it out
//!   version             format of this folder
//!   blobs/ab/cdef...    bytes by BLAKE3, read-only, written once
//!   records.log         what is known about each key, appended under a lock
//!   unfinished/KEY      state of a fit that was interrupted
//!   stat-*              which digest a file had at which size, time and inode
//! ```

mod blobs;
mod log;
mod record;
mod unfinished;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::error::{Error, IoContext, Result};

pub use blobs::{Blobs, Digest};
pub use record::Record;

/// Format of the cache folder that this birdaug reads and writes.
const VERSION: &str = "1";

const TAG: &str =
    "Signature: 8a477f597d28d172789f06886806bc55\n# A cache of birdaug: safe to delete, made again by a build.\n";

/// A cache folder, open. Safe to share between threads, and between processes.
pub struct Store {
    dir: PathBuf,
    blobs: Blobs,
    log: Mutex<log::Log>,
    damage: Mutex<Vec<String>>,
}

impl Store {
    /// Opens the cache at `dir`, made if it is not there.
    ///
    /// # Errors
    /// [`Error::Input`] for a cache of another format version; [`Error::Io`] if it cannot be read or made.
    pub fn open(dir: &Path) -> Result<Store> {
        let blobs = dir.join("blobs");
        fs::create_dir_all(&blobs).doing("make the cache folder", &blobs)?;
        let version = dir.join("version");
        match fs::read_to_string(&version) {
            Ok(found) if found.trim() == VERSION => {}
            Ok(found) => {
                return Err(Error::input_help(
                    format!(
                        "the cache `{}` has format version {:?}; this birdaug reads {VERSION}",
                        dir.display(),
                        found.trim()
                    ),
                    "use another folder (`--cache DIR`), or delete this one: a build makes it again",
                ));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                write_atomically(&version, format!("{VERSION}\n").as_bytes())?;
                write_atomically(&dir.join("CACHEDIR.TAG"), TAG.as_bytes())?;
            }
            Err(error) => return Err(error).doing("read", &version),
        }
        let (log, torn) = log::Log::open(&dir.join("records.log"))?;
        let mut damage = Vec::new();
        if torn > 0 {
            damage.push(format!(
                "`{}` held {torn} damaged bytes; what they recorded is made again",
                dir.join("records.log").display()
            ));
        }
        Ok(Store { dir: dir.to_path_buf(), blobs: Blobs::new(blobs), log: Mutex::new(log), damage: Mutex::new(damage) })
    }

    /// The cache's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The record of a key, whether or not its blobs are still there.
    pub fn record(&self, key: &[u8; 32]) -> Option<Record> {
        self.lock_log().get(key)
    }

    /// The record of a key if every blob it names is there; a record without its blobs is a miss.
    pub fn hit(&self, key: &[u8; 32]) -> Option<Record> {
        self.record(key).filter(|record| record.outputs.iter().all(|(_, digest)| self.blobs.has(digest)))
    }

    /// Keeps records, in one append: either all of a batch is there after a crash, or a part that is whole by itself.
    pub fn commit(&self, records: &[Record]) -> Result<()> {
        self.lock_log().append(records)
    }

    /// Forgets a key: its work is due again.
    pub fn forget(&self, key: &[u8; 32]) -> Result<()> {
        self.lock_log().forget(key)
    }

    /// Reads records that other processes have appended since.
    pub fn refresh(&self) -> Result<()> {
        self.lock_log().refresh().map(drop)
    }

    /// Every record, in no particular order.
    pub fn records(&self) -> Vec<Record> {
        self.lock_log().all()
    }

    /// Keeps bytes as a blob.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        self.blobs.put(bytes, false)
    }

    /// Keeps bytes that are dear to make, surviving a power cut.
    pub fn put_durable(&self, bytes: &[u8]) -> Result<Digest> {
        self.blobs.put(bytes, true)
    }

    /// A blob's bytes, checked against their digest. A damaged blob is removed, remembered for [`Store::damage`],
    /// and a miss.
    pub fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        let found = self.blobs.get(digest)?;
        if let blobs::Found::Damaged(path) = &found {
            self.damage
                .lock()
                .unwrap_or_else(|poisoned| poisoned.into_inner())
                .push(format!("`{}` was damaged and is made again", path.display()));
        }
        Ok(match found {
            blobs::Found::Bytes(bytes) => Some(bytes),
            _ => None,
        })
    }

    /// Whether a blob is there (its bytes are checked when they are read).
    pub fn has(&self, digest: &Digest) -> bool {
        self.blobs.has(digest)
    }

    /// The file behind a blob.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs.path(digest)
    }

    /// All blobs with their sizes in bytes.
    pub fn blobs(&self) -> Result<Vec<(Digest, u64)>> {
        self.blobs.list()
    }

    /// What was found damaged since the cache was opened, a sentence each; said once, then cleared.
    pub fn damage(&self) -> Vec<String> {
        std::mem::take(&mut self.damage.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    fn lock_log(&self) -> std::sync::MutexGuard<'_, log::Log> {
        self.log.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// Writes a file whole: beside its place first, then renamed over it.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).doing("make the folder", folder)?;
    let mut file = tempfile::Builder::new().prefix(".birdaug-").tempfile_in(folder).doing("write in", folder)?;
    std::io::Write::write_all(&mut file, bytes).doing("write", path)?;
    // Temporary files are private; what a build writes is as readable as any other file of the user's.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(file.path(), mode).doing("write", path)?;
    file.persist(path).map_err(|error| error.error).doing("write", path)?;
    Ok(())
}

#[cfg(test)]
mod tests;
