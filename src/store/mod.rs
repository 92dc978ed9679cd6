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
//!   uses/NAME           the keys that a recipe needs; the file's time is when it last did
//!   damaged-elsewhere   blobs that a cache behind this one has, but damaged; a check forgets the list
//!   gc.lock             held by builds, so that nothing is thrown away under them
//!   names-*             what each blob folder held at which time, so that a fingerprint is cheap
//!   stat-*              which digest a file had at which size, time and inode
//!   last/NAME*          keys, photos and digests of a recipe's last build, for `why` and for builds with nothing to do
//!   trees/PLACE         the emitted tree that was swapped out last, to become the next one
//! ```

mod blobs;
mod check;
mod discard;
mod frame;
mod index;
mod level;
mod log;
mod merge;
mod names;
mod record;
mod unfinished;
mod uses;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::{IoContext, Result};

pub use blobs::{BlobFile, Digest};
pub use check::Checked;
pub use merge::{Conflict, Merged};
pub use record::{Record, View};
pub use uses::{Held, Uses};

use blobs::Found;
use level::Level;

/// Format of the cache folder that this birdaug reads and writes.
const VERSION: &str = "1";

const TAG: &str =
    "Signature: 8a477f597d28d172789f06886806bc55\n# A cache of birdaug: safe to delete, made again by a build.\n";

/// A cache folder, open, and others that are read where it has nothing. Safe to share between threads, and between
/// processes.
pub struct Store {
    own: Level,
    others: Vec<Level>,
}

impl Store {
    /// Opens the cache at `dir`, made if it is not there. Records are read when they are first asked for.
    ///
    /// # Errors
    /// [`Error::Input`](crate::error::Error::Input) for a cache of another format;
    /// [`Error::Io`](crate::error::Error::Io) if it cannot be read or made.
    pub fn open(dir: &Path) -> Result<Store> {
        Store::open_with(dir, &[])
    }

    /// [`Store::open`] with other caches behind it, asked in order for what it lacks and never written.
    ///
    /// # Errors
    /// Also [`Error::Usage`](crate::error::Error::Usage) where one of the others is no cache.
    pub fn open_with(dir: &Path, others: &[PathBuf]) -> Result<Store> {
        let others = others.iter().map(|dir| Level::of_others(dir)).collect::<Result<Vec<_>>>()?;
        let store = Store { own: Level::own(dir)?, others };
        if !store.others.is_empty() {
            for digest in store.damaged_elsewhere()? {
                store.others.iter().for_each(|level| level.blobs.deny(&digest));
            }
        }
        Ok(store)
    }

    /// The cache's folder.
    pub fn dir(&self) -> &Path {
        &self.own.dir
    }

    /// Reads the records now, so that what keeps them from being read is an error and not a miss.
    pub fn load(&self) -> Result<()> {
        self.levels().try_for_each(Level::load)
    }

    /// What the cache and those behind it hold, as one digest: another one whenever a record or a blob was added or
    /// removed. Reads names, not contents, and those only of folders that changed.
    pub fn fingerprint(&self) -> Result<[u8; 32]> {
        let mut hasher = blake3::Hasher::new();
        for level in self.levels() {
            let place = fs::canonicalize(&level.dir).doing("read", &level.dir)?;
            let place = blake3::hash(place.as_os_str().as_encoded_bytes()).to_hex();
            let names = names::fingerprint(&level.blobs, &self.dir().join(format!("names-{}", &place[..16])))?;
            hasher.update(&level.log_as_is().fingerprint()?).update(&names);
        }
        Ok(*hasher.finalize().as_bytes())
    }

    /// The record of a key, whether or not its blobs are still there.
    pub fn record(&self, key: &[u8; 32]) -> Option<Record> {
        self.levels().find_map(|level| level.log().get(key))
    }

    /// The record of a key if every blob it names is there; a record without its blobs is a miss.
    pub fn hit(&self, key: &[u8; 32]) -> Option<Record> {
        self.levels().find_map(|level| {
            let log = level.log();
            log.complete(key, |digest| self.has(digest)).then(|| log.get(key))?
        })
    }

    /// Whether [`Store::hit`] has an answer, in half the time.
    pub fn has_hit(&self, key: &[u8; 32]) -> bool {
        self.levels().any(|level| level.log().complete(key, |digest| self.has(digest)))
    }

    /// What `read` makes of the record of a key if every blob that it names is there: [`Store::hit`] without a copy.
    pub fn hit_with<T>(&self, key: &[u8; 32], read: impl Fn(View<'_>) -> Option<T>) -> Option<T> {
        self.levels().find_map(|level| {
            let log = level.log();
            let view = log.view(key)?;
            view.outputs().all(|(_, digest)| self.has(digest)).then(|| read(view))?
        })
    }

    /// What `read` makes of the record of a key, whether or not its blobs are still there.
    pub fn record_with<T>(&self, key: &[u8; 32], read: impl Fn(View<'_>) -> Option<T>) -> Option<T> {
        self.levels().find_map(|level| read(level.log().view(key)?))
    }

    /// Keeps records, in one append: either all of a batch is there after a crash, or a part that is whole by itself.
    pub fn commit(&self, records: &[Record]) -> Result<()> {
        self.own.log_to_write()?.append(records)
    }

    /// Forgets a key: its work is due again.
    pub fn forget(&self, key: &[u8; 32]) -> Result<()> {
        self.own.log_to_write()?.forget(key)
    }

    /// Reads records that other processes have appended since.
    pub fn refresh(&self) -> Result<()> {
        self.own.log_to_write()?.refresh().map(drop)
    }

    /// Every record of our own cache, in the order in which they were last written.
    pub fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        self.each_record(|record, _| records.push(record));
        records
    }

    /// Shows every record of our own cache, one at a time (all of them at once may be many), with its bytes in the log.
    pub fn each_record(&self, look: impl FnMut(Record, usize)) {
        self.own.log().each(look);
    }

    /// Shows every record of our own cache where it stands.
    pub fn each_view(&self, look: impl FnMut(View<'_>)) {
        self.own.log().each_view(look);
    }

    /// Keeps bytes as a blob.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        self.own.blobs.put(bytes, false)
    }

    /// Keeps bytes that are dear to make, surviving a power cut.
    pub fn put_durable(&self, bytes: &[u8]) -> Result<Digest> {
        self.own.blobs.put(bytes, true)
    }

    /// A blob's bytes, checked against their digest. A damaged blob is removed (if it is ours), remembered for
    /// [`Store::damage`], and a miss.
    pub fn get(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        if let Found::Bytes(bytes) = self.own.get(digest)? {
            return Ok(Some(bytes));
        }
        for level in &self.others {
            match level.get(digest)? {
                Found::Bytes(bytes) => return Ok(Some(bytes)),
                Found::Damaged(_) => self.note_damaged_elsewhere(digest)?,
                Found::Nothing => {}
            }
        }
        Ok(None)
    }

    /// Whether a blob is there (its bytes are checked when they are read).
    pub fn has(&self, digest: &Digest) -> bool {
        self.levels().any(|level| level.blobs.has(digest))
    }

    /// The file behind a blob, in the first cache that has it.
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        let other = match self.others.is_empty() || self.own.blobs.has(digest) {
            true => None,
            false => self.others.iter().find(|level| level.blobs.has(digest)),
        };
        other.unwrap_or(&self.own).blobs.path(digest)
    }

    /// All blobs of our own cache with their sizes in bytes.
    pub fn blobs(&self) -> Result<Vec<(Digest, u64)>> {
        Ok(self.own.blobs.list()?.into_iter().map(|file| (file.digest, file.bytes)).collect())
    }

    /// What was found damaged since the cache was opened, a sentence each; said once, then cleared. Damage of the
    /// records is found when they are first read.
    pub fn damage(&self) -> Vec<String> {
        self.levels().flat_map(Level::damage).collect()
    }

    /// Blobs that were found damaged in caches which are not ours to mend: without this list, a later process would
    /// take them to be there again.
    fn damaged_elsewhere(&self) -> Result<Vec<Digest>> {
        let path = self.dir().join(ELSEWHERE);
        match fs::read(&path) {
            Ok(bytes) => Ok(bytes.as_chunks::<32>().0.to_vec()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).doing("read", &path),
        }
    }

    fn note_damaged_elsewhere(&self, digest: &Digest) -> Result<()> {
        let path = self.dir().join(ELSEWHERE);
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&path).doing("write", &path)?;
        file.write_all(digest).doing("write", &path)
    }

    fn levels(&self) -> impl Iterator<Item = &Level> {
        std::iter::once(&self.own).chain(&self.others)
    }
}

/// Digests of blobs that other caches have in a damaged state.
const ELSEWHERE: &str = "damaged-elsewhere";

/// Begins the names of files that [`write_atomically`] is writing.
const UNDER_WAY: &str = ".birdaug-";

/// The files of a folder; none if it is not there.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).doing("list", folder),
    };
    let mut out = Vec::new();
    for entry in entries {
        let entry = entry.doing("list", folder)?;
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            out.push(entry.path());
        }
    }
    Ok(out)
}

/// Writes a file whole: beside its place first, then renamed over it.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).doing("make the folder", folder)?;
    let mut file = tempfile::Builder::new().prefix(UNDER_WAY).tempfile_in(folder).doing("write in", folder)?;
    std::io::Write::write_all(&mut file, bytes).doing("write", path)?;
    // Temporary files are private; what a build writes is as readable as any other file of the user's.
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(file.path(), mode).doing("write", path)?;
    file.persist(path).map_err(|error| error.error).doing("write", path)?;
    Ok(())
}

/// Writes text and, in a last line, its BLAKE3; whole, as [`write_atomically`] does.
pub fn write_with_sum(path: &Path, text: &str) -> Result<()> {
    write_atomically(path, format!("{text}\n{}\n", blake3::hash(text.as_bytes()).to_hex()).as_bytes())
}

/// The text that [`write_with_sum`] wrote; `None` for a file that is not there or not as it was written.
pub fn read_with_sum(path: &Path) -> Option<String> {
    let mut text = fs::read_to_string(path).ok()?;
    let (body, sum) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let whole = *blake3::hash(body.as_bytes()).to_hex() == *sum;
    let length = body.len();
    text.truncate(length);
    whole.then_some(text)
}

#[cfg(test)]
mod speed_tests;
#[cfg(test)]
mod tests;
