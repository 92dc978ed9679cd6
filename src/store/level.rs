//! One cache folder: our own, or one of somebody else's that is only read. Knows no other level.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::blobs::{Blobs, Found};
use super::log::Log;
use super::{Digest, TAG, VERSION, write_atomically};
use crate::error::{Error, IoContext, Result};

/// A folder's blobs and records.
pub struct Level {
    pub dir: PathBuf,
    pub blobs: Blobs,
    own: bool,
    log: RwLock<Log>,
    /// The log could not be read: said once, and then every lookup is a miss.
    unreadable: AtomicBool,
    damage: Mutex<Vec<String>>,
}

impl Level {
    /// Our own cache at `dir`, made if it is not there.
    pub fn own(dir: &Path) -> Result<Level> {
        let version = dir.join("version");
        if !has_version(dir)? {
            let blobs = dir.join("blobs");
            fs::create_dir_all(&blobs).doing("make the cache folder", &blobs)?;
            write_atomically(&version, format!("{VERSION}\n").as_bytes())?;
            write_atomically(&dir.join("CACHEDIR.TAG"), TAG.as_bytes())?;
        }
        Level::at(dir, true)
    }

    /// A cache of somebody else's, which must be there.
    pub fn of_others(dir: &Path) -> Result<Level> {
        if !has_version(dir)? {
            return Err(Error::Usage(format!(
                "`{}` is no cache of birdaug: it has no file `version`; name the folder that a build used as its cache",
                dir.display()
            )));
        }
        Level::at(dir, false)
    }

    fn at(dir: &Path, own: bool) -> Result<Level> {
        let log = Log::new(dir.join("records.log"), own);
        log.check_format()?;
        Ok(Level {
            dir: dir.to_path_buf(),
            blobs: Blobs::new(dir.join("blobs"), own),
            own,
            log: RwLock::new(log),
            unreadable: AtomicBool::new(false),
            damage: Mutex::default(),
        })
    }

    /// Reads the records, once.
    pub fn load(&self) -> Result<()> {
        self.log_to_write().map(drop)
    }

    /// The records, read before.
    pub fn log(&self) -> RwLockReadGuard<'_, Log> {
        let log = self.log_as_is();
        if log.loaded() || self.unreadable.load(Ordering::Relaxed) {
            return log;
        }
        drop(log);
        if let Err(error) = self.load()
            && !self.unreadable.swap(true, Ordering::Relaxed)
        {
            self.say(error.to_string());
        }
        self.log_as_is()
    }

    /// The records, read or not.
    pub fn log_as_is(&self) -> RwLockReadGuard<'_, Log> {
        self.log.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The records, read before, to be written.
    pub fn log_to_write(&self) -> Result<RwLockWriteGuard<'_, Log>> {
        let mut log = self.log.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let torn = log.load()?;
        if torn > 0 {
            let path = self.dir.join("records.log");
            self.say(match self.own {
                true => format!("`{}` held {torn} damaged bytes; what they recorded is made again", path.display()),
                false => format!("`{}` holds {torn} damaged bytes; they are passed over", path.display()),
            });
        }
        Ok(log)
    }

    /// A blob's bytes, checked; a damaged one is also remembered.
    pub fn get(&self, digest: &Digest) -> Result<Found> {
        let found = self.blobs.get(digest)?;
        if let Found::Damaged(path) = &found {
            let what = if self.own { "was damaged and is made again" } else { "is damaged and passed over" };
            self.say(format!("`{}` {what}", path.display()));
        }
        Ok(found)
    }

    /// What was found damaged, a sentence each; then cleared.
    pub fn damage(&self) -> Vec<String> {
        std::mem::take(&mut self.damage.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    fn say(&self, line: String) {
        self.damage.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(line);
    }
}

/// Whether a folder has our format's version; another one is refused.
fn has_version(dir: &Path) -> Result<bool> {
    let version = dir.join("version");
    match fs::read_to_string(&version) {
        Ok(found) if found.trim() == VERSION => Ok(true),
        Ok(found) => Err(Error::input_help(
            format!(
                "the cache `{}` has format version {:?}; this birdaug reads {VERSION}",
                dir.display(),
                found.trim()
            ),
            "use another folder (`--cache DIR`), or delete this one: a build makes it again",
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).doing("read", &version),
    }
}
