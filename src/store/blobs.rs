//! Bytes by digest, a read-only file each. Knows nothing of keys.
//!
//! Which digests are there is listed once, when it is first asked, and kept: a lookup then costs no system call. The
//! list is a hint, not the truth: what it lacks is looked for on the disk, what turns out to be gone leaves it.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use rayon::prelude::*;

use crate::error::{IoContext, Result};

/// BLAKE3 of a blob's bytes.
pub type Digest = [u8; 32];

/// Begins the names of files that are being written.
pub(super) const UNDER_WAY: &str = ".new-";

/// Bytes read by one call where the bytes themselves are not wanted.
const PIECE: usize = 256 << 10;

/// The folder of blobs.
pub struct Blobs {
    dir: PathBuf,
    /// Whether damaged files are removed here.
    own: bool,
    present: RwLock<Option<Present>>,
    /// Somebody else's damaged files, which stay where they are.
    denied: RwLock<HashSet<Digest>>,
}

/// What is behind a digest.
pub enum Found {
    Bytes(Vec<u8>),
    Nothing,
    /// The file's bytes had another digest; it has been removed if the folder is our own.
    Damaged(PathBuf),
}

/// What was read of a folder.
pub struct FolderRead {
    pub whole: Vec<Digest>,
    /// Of those that are whole.
    pub bytes: u64,
    pub left: Vec<Digest>,
}

/// A blob's file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlobFile {
    pub digest: Digest,
    pub bytes: u64,
    pub modified: SystemTime,
}

impl Blobs {
    /// Blobs under `dir`, made with the first of them; those of somebody else (`own` false) are never touched.
    pub fn new(dir: PathBuf, own: bool) -> Blobs {
        Blobs { dir, own, present: RwLock::default(), denied: RwLock::default() }
    }

    /// The file of a digest.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let hex = blake3::Hash::from(*digest).to_hex();
        self.dir.join(&hex[..2]).join(&hex[2..])
    }

    /// Whether a file of that digest is there.
    pub fn has(&self, digest: &Digest) -> bool {
        match self.listed(digest) {
            Some(true) => return true,
            Some(false) => {}
            // A folder that cannot be listed may still have files that can be read.
            None => drop(self.fill()),
        }
        if self.listed(digest) == Some(true) {
            return true;
        }
        // Another process may have put it since.
        let there = !self.is_denied(digest) && self.path(digest).exists();
        if there {
            self.add(digest);
        }
        there
    }

    /// Keeps bytes; `durable` also waits until they are on the disk.
    pub fn put(&self, bytes: &[u8], durable: bool) -> Result<Digest> {
        let digest = *blake3::hash(bytes).as_bytes();
        let path = self.path(&digest);
        let perhaps_there = self.listed(&digest) != Some(false);
        if perhaps_there && fs::metadata(&path).is_ok_and(|found| found.len() == bytes.len() as u64) {
            self.add(&digest);
            return Ok(digest);
        }
        let (temporary, mut file) = create_beside(&path)?;
        let written = file.write_all(bytes).and_then(|()| if durable { file.sync_all() } else { Ok(()) });
        drop(file);
        written.and_then(|()| fs::rename(&temporary, &path)).doing("write", &path).inspect_err(|_| {
            let _ = fs::remove_file(&temporary);
        })?;
        if durable {
            let folder = path.parent().unwrap_or(&self.dir);
            File::open(folder).and_then(|folder| folder.sync_all()).doing("write", folder)?;
        }
        self.add(&digest);
        Ok(digest)
    }

    /// Reads and checks; a file with other bytes than its name says is removed.
    pub fn get(&self, digest: &Digest) -> Result<Found> {
        if self.is_denied(digest) {
            return Ok(Found::Nothing);
        }
        let path = self.path(digest);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.take_out(digest);
                return Ok(Found::Nothing);
            }
            Err(error) => return Err(error).doing("read", &path),
        };
        if blake3::hash(&bytes).as_bytes() == digest {
            return Ok(Found::Bytes(bytes));
        }
        self.remove(digest)?;
        Ok(Found::Damaged(path))
    }

    /// Reads the blobs of one of the 256 folders: which are whole, their bytes, and which are not, to be looked at by
    /// [`get`](Self::get).
    pub fn read_folder(&self, head: u8) -> Result<FolderRead> {
        let mut read = FolderRead { whole: self.digests(head)?, bytes: 0, left: Vec::new() };
        let mut buffer = vec![0; PIECE];
        read.whole.retain(|digest| match length_if_whole(&self.path(digest), digest, &mut buffer) {
            Ok(Some(length)) => {
                read.bytes += length;
                true
            }
            _ => {
                read.left.push(*digest);
                false
            }
        });
        Ok(read)
    }

    /// Takes blobs that were just read for the list of those that are there.
    pub fn list_is<'d>(&self, digests: impl Iterator<Item = &'d Digest>) {
        let set = digests.map(prefix).collect();
        *self.present.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(set);
    }

    /// Removes a blob, if it is there; somebody else's is denied instead.
    pub fn remove(&self, digest: &Digest) -> Result<()> {
        if !self.own {
            self.deny(digest);
            return Ok(());
        }
        self.take_out(digest);
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).doing("remove", &path),
            _ => Ok(()),
        }
    }

    /// From now on this blob is not there.
    pub fn deny(&self, digest: &Digest) {
        self.take_out(digest);
        self.denied.write().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(*digest);
    }

    fn is_denied(&self, digest: &Digest) -> bool {
        !self.own && self.denied.read().unwrap_or_else(|poisoned| poisoned.into_inner()).contains(digest)
    }

    /// Every blob's file, by digest.
    pub fn list(&self) -> Result<Vec<BlobFile>> {
        let folders = self.folders(|folder, digest, entry| {
            let found = entry.metadata().and_then(|found| Ok((found.len(), found.modified()?)));
            match found {
                Ok((bytes, modified)) => Ok(Some(BlobFile { digest, bytes, modified })),
                // Removed while it was listed.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error).doing("read", folder.join(entry.file_name())),
            }
        })?;
        let mut out = folders.concat();
        out.par_sort_unstable_by_key(|file| file.digest);
        Ok(out)
    }

    /// One of the 256 folders.
    pub fn folder(&self, head: u8) -> PathBuf {
        self.dir.join(format!("{head:02x}"))
    }

    /// The blobs of one folder, in no particular order.
    pub fn digests(&self, head: u8) -> Result<Vec<Digest>> {
        self.look_into(head, &|_, digest, _| Ok(Some(digest)))
    }

    /// Takes a blob over from another cache's file that was read just now and found to hold `bytes`.
    pub fn adopt(&self, digest: &Digest, file: &Path, bytes: &[u8]) -> Result<()> {
        let path = self.path(digest);
        let folder = path.parent().unwrap_or(&self.dir);
        fs::create_dir_all(folder).doing("make the folder", folder)?;
        if !super::merge::share(file, &temporary_in(folder), &path) {
            self.put(bytes, false)?;
        }
        self.add(digest);
        Ok(())
    }

    /// What `look` makes of each blob, a list for each of the 256 folders.
    fn folders<T: Send>(
        &self,
        look: impl Fn(&Path, Digest, &fs::DirEntry) -> Result<Option<T>> + Sync,
    ) -> Result<Vec<Vec<T>>> {
        (0..=255u8).into_par_iter().map(|head| self.look_into(head, &look)).collect()
    }

    fn look_into<T>(
        &self,
        head: u8,
        look: &impl Fn(&Path, Digest, &fs::DirEntry) -> Result<Option<T>>,
    ) -> Result<Vec<T>> {
        let folder = self.folder(head);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).doing("list", &folder),
        };
        let mut out = Vec::new();
        for entry in entries {
            let entry = entry.doing("list", &folder)?;
            if let Some(digest) = digest_of(head, entry.file_name().as_bytes()) {
                out.extend(look(&folder, digest, &entry)?);
            }
        }
        Ok(out)
    }

    fn fill(&self) -> Result<()> {
        let folders = self.folders(|_, digest, _| Ok((!self.is_denied(&digest)).then(|| prefix(&digest))))?;
        let mut present = self.present.write().unwrap_or_else(|poisoned| poisoned.into_inner());
        let set = present.get_or_insert_default();
        set.reserve(folders.iter().map(Vec::len).sum());
        set.extend(folders.into_iter().flatten());
        Ok(())
    }

    /// Whether the list names a digest; `None` without a list.
    fn listed(&self, digest: &Digest) -> Option<bool> {
        let present = self.present.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        present.as_ref().map(|set| set.contains(&prefix(digest)))
    }

    fn add(&self, digest: &Digest) {
        if let Some(set) = &mut *self.present.write().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            set.insert(prefix(digest));
        }
    }

    fn take_out(&self, digest: &Digest) {
        if let Some(set) = &mut *self.present.write().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            set.remove(&prefix(digest));
        }
    }
}

/// The length of a file whose bytes have the digest. That of a small one is asked of the system by a single call: bytes
/// that have their digest are all of them.
fn length_if_whole(path: &Path, digest: &Digest, buffer: &mut [u8]) -> std::io::Result<Option<u64>> {
    let mut file = File::open(path)?;
    let mut read = file.read(buffer)?;
    if read < buffer.len() && blake3::hash(&buffer[..read]).as_bytes() == digest {
        return Ok(Some(read as u64));
    }
    let (mut hasher, mut length) = (blake3::Hasher::new(), 0);
    while read > 0 {
        hasher.update(&buffer[..read]);
        length += read as u64;
        read = file.read(buffer)?;
    }
    Ok((hasher.finalize().as_bytes() == digest).then_some(length))
}

/// A new file for what is to stand at `path`, in the same folder, which is made if it is missing.
pub(super) fn create_beside(path: &Path) -> Result<(PathBuf, File)> {
    let folder = path.parent().unwrap_or(Path::new("."));
    loop {
        let temporary = temporary_in(folder);
        match OpenOptions::new().write(true).create_new(true).mode(0o444).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            // Of a process of the same number that was killed, or runs on another machine.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(folder).doing("make the folder", folder)?;
            }
            Err(error) => return Err(error).doing("write in", folder),
        }
    }
}

/// A name of this process's own for a file under way.
fn temporary_in(folder: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    folder.join(format!("{UNDER_WAY}{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
}

/// The digest that a folder and a name spell.
fn digest_of(head: u8, name: &[u8]) -> Option<Digest> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = name.as_chunks::<2>();
    if pairs.len() != 31 || !rest.is_empty() {
        return None;
    }
    let mut digest = [head; 32];
    for (byte, pair) in digest[1..].iter_mut().zip(pairs) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(digest)
}

/// Digests by their first half: enough to tell them apart, at half the memory.
type Present = HashSet<u128, BuildHasherDefault<AsItIs>>;

fn prefix(digest: &Digest) -> u128 {
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    u128::from_le_bytes(half)
}

/// A digest is a hash already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u128(&mut self, half: u128) {
        self.0 = half as u64;
    }
}
