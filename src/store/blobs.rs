//! Bytes by digest, a read-only file each. Knows nothing of keys.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::error::{IoContext, Result};

/// BLAKE3 of a blob's bytes.
pub type Digest = [u8; 32];

/// The folder of blobs.
pub struct Blobs {
    dir: PathBuf,
}

/// What is behind a digest.
pub enum Found {
    Bytes(Vec<u8>),
    Nothing,
    /// The file's bytes had another digest; it has been removed.
    Damaged(PathBuf),
}

impl Blobs {
    /// Blobs under `dir`, which exists.
    pub fn new(dir: PathBuf) -> Blobs {
        Blobs { dir }
    }

    /// The file of a digest.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let hex = blake3::Hash::from(*digest).to_hex();
        self.dir.join(&hex[..2]).join(&hex[2..])
    }

    /// Whether a file of that digest is there.
    pub fn has(&self, digest: &Digest) -> bool {
        self.path(digest).exists()
    }

    /// Keeps bytes; `durable` also waits until they are on the disk.
    pub fn put(&self, bytes: &[u8], durable: bool) -> Result<Digest> {
        let digest = *blake3::hash(bytes).as_bytes();
        let path = self.path(&digest);
        if fs::metadata(&path).is_ok_and(|found| found.len() == bytes.len() as u64) {
            return Ok(digest);
        }
        let folder = path.parent().unwrap_or(&self.dir);
        fs::create_dir_all(folder).doing("make the folder", folder)?;
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder).doing("write in", folder)?;
        file.write_all(bytes).doing("write", &path)?;
        if durable {
            file.as_file().sync_all().doing("write", &path)?;
        }
        fs::set_permissions(file.path(), PermissionsExt::from_mode(0o444)).doing("write", &path)?;
        file.persist(&path).map_err(|error| error.error).doing("write", &path)?;
        Ok(digest)
    }

    /// Reads and checks; a file with other bytes than its name says is removed.
    pub fn get(&self, digest: &Digest) -> Result<Found> {
        let path = self.path(digest);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error).doing("read", &path),
        };
        if blake3::hash(&bytes).as_bytes() == digest {
            return Ok(Found::Bytes(bytes));
        }
        fs::remove_file(&path).doing("remove the damaged", &path)?;
        Ok(Found::Damaged(path))
    }

    /// Every blob with its size.
    pub fn list(&self) -> Result<Vec<(Digest, u64)>> {
        let mut out = Vec::new();
        for folder in entries(&self.dir)? {
            if !folder.is_dir() {
                continue;
            }
            for path in entries(&folder)? {
                let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
                let (Some(head), Some(tail)) = (name(&folder), name(&path)) else { continue };
                if let Ok(hash) = blake3::Hash::from_hex(format!("{head}{tail}")) {
                    let size = fs::metadata(&path).doing("read", &path)?.len();
                    out.push((hash.into(), size));
                }
            }
        }
        out.sort_unstable();
        Ok(out)
    }
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(folder)
        .doing("list", folder)?
        .map(|entry| entry.map(|entry| entry.path()).doing("list", folder))
        .collect()
}
