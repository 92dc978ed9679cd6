//! Who uses which keys: a file a user (a recipe) with the keys of its last walk; the file's time is when it last used
//! them. And who uses the cache just now: builds hold it, and while one does, nothing is thrown away.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Store, files_in, write_atomically};
use crate::error::{Error, IoContext, Result};

/// The keys that one user needed when it last ran.
#[derive(Debug, Clone, PartialEq)]
pub struct Uses {
    pub name: String,
    /// Sorted.
    pub keys: Vec<[u8; 32]>,
    pub last: SystemTime,
}

/// The cache is held as long as this lives.
pub struct Held {
    _lock: File,
}

impl Store {
    /// Notes that `name` needs just these keys now.
    pub fn note_uses(&self, name: &str, mut keys: Vec<[u8; 32]>) -> Result<()> {
        keys.sort_unstable();
        keys.dedup();
        let sum = *blake3::hash(keys.as_flattened()).as_bytes();
        keys.push(sum);
        write_atomically(&self.uses_path(name), keys.as_flattened())
    }

    /// Notes that `name` still needs the keys it noted before; false if it never did.
    pub fn touch_uses(&self, name: &str) -> Result<bool> {
        let path = self.uses_path(name);
        match File::options().append(true).open(&path) {
            Ok(file) => file.set_modified(SystemTime::now()).doing("touch", &path).map(|()| true),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).doing("touch", &path),
        }
    }

    /// What everybody needs, by name, and the lists that are not as they were written.
    pub fn uses(&self) -> Result<(Vec<Uses>, Vec<PathBuf>)> {
        let (mut out, mut damaged) = (Vec::new(), Vec::new());
        for path in files_in(&self.dir().join("uses"))? {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name.starts_with('.') {
                continue;
            }
            let last = fs::metadata(&path).and_then(|found| found.modified()).doing("read", &path)?;
            let bytes = fs::read(&path).doing("read", &path)?;
            match whole(&bytes) {
                Some(keys) => out.push(Uses { name, keys: keys.to_vec(), last }),
                None => damaged.push(path),
            }
        }
        out.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok((out, damaged))
    }

    /// Keeps others from throwing anything away; waits while somebody does.
    pub fn hold(&self) -> Result<Held> {
        let (lock, path) = self.holders()?;
        lock.lock_shared().doing("lock", &path)?;
        Ok(Held { _lock: lock })
    }

    /// Keeps everybody else from using the cache.
    ///
    /// # Errors
    /// [`Error::Input`] while somebody holds it.
    pub fn hold_alone(&self) -> Result<Held> {
        let (lock, path) = self.holders()?;
        match lock.try_lock() {
            Ok(()) => Ok(Held { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Error::input_help(
                format!("a build is using the cache `{}`", self.dir().display()),
                "wait until it is done; `--dry-run` shows now what would go",
            )),
            Err(TryLockError::Error(error)) => Err(error).doing("lock", &path),
        }
    }

    fn holders(&self) -> Result<(File, PathBuf)> {
        let path = self.dir().join("gc.lock");
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).doing("open", &path)?;
        Ok((file, path))
    }

    fn uses_path(&self, name: &str) -> PathBuf {
        let name = name.trim_start_matches('.').replace('/', "_");
        self.dir().join("uses").join(Path::new(&name))
    }
}

/// The keys of a list that ends in the BLAKE3 of them.
fn whole(bytes: &[u8]) -> Option<&[[u8; 32]]> {
    let (keys, []) = bytes.as_chunks::<32>() else { return None };
    let (sum, keys) = keys.split_last()?;
    (blake3::hash(keys.as_flattened()).as_bytes() == sum).then_some(keys)
}
