//! Which file had which digest, by its state on disk, so that an unchanged file is never read again.
//!
//! A machine's own memory, never part of a key: losing it costs a hash of every file and nothing else. Knows nothing
//! of images, splits or species.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::digest::{self, Digest};
use crate::error::{IoContext, Result};

/// What a file system says about a file: if none of it changed, neither did the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub size: u64,
    /// Last change of the bytes, nanoseconds since 1970.
    pub mtime: i64,
    /// Last change of bytes or metadata, nanoseconds since 1970; a program cannot set it back.
    pub ctime: i64,
    pub inode: u64,
}

impl Stat {
    /// The parts of `metadata` that matter.
    pub fn of(metadata: &Metadata) -> Stat {
        let nanoseconds = |s: i64, ns: i64| s.saturating_mul(1_000_000_000).saturating_add(ns);
        Stat {
            size: metadata.size(),
            mtime: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }

    /// Whether nothing but the file's place or links differs: it has the size and the time of change of `other`.
    pub fn has_bytes_of(&self, other: &Stat) -> bool {
        (self.size, self.mtime) == (other.size, other.mtime)
    }

    /// Whether a file hashed at `now` may change again without its times showing it: file systems count time in ticks
    /// of up to two seconds, so a file that was only just written is not remembered (git's "racy" files).
    fn is_fresh_at(&self, now: i64) -> bool {
        self.mtime.min(self.ctime) > now - 2_000_000_000
    }
}

/// A remembered file of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub stat: Stat,
    pub digest: Digest,
}

/// What [`StatIndex::load`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A whole index.
    Whole,
    /// No file: a first run.
    Nothing,
    /// An index of another format version; it is replaced.
    OtherVersion,
    /// A file that is damaged or unreadable; it is replaced.
    Damaged,
}

/// Digests by folder, name and [`Stat`].
#[derive(Debug)]
pub struct StatIndex {
    file: PathBuf,
    folders: BTreeMap<String, Vec<Entry>>,
    found: Found,
    changed: bool,
}

const FAMILY: &[u8] = b"birdaug stat index ";
const HEAD: &[u8] = b"birdaug stat index 1\n";

impl StatIndex {
    /// The index saved at `file`; an empty one if there is none or it cannot be used ([`StatIndex::found`] says which).
    pub fn load(file: &Path) -> StatIndex {
        let (found, folders) = match std::fs::read(file) {
            Ok(bytes) => match parse(&bytes) {
                Some(folders) => (Found::Whole, folders),
                None if bytes.starts_with(FAMILY) && !bytes.starts_with(HEAD) => (Found::OtherVersion, BTreeMap::new()),
                None => (Found::Damaged, BTreeMap::new()),
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => (Found::Nothing, BTreeMap::new()),
            Err(_) => (Found::Damaged, BTreeMap::new()),
        };
        StatIndex { file: file.to_path_buf(), folders, found, changed: false }
    }

    /// What [`StatIndex::load`] found on disk.
    pub fn found(&self) -> Found {
        self.found
    }

    /// Number of remembered files.
    pub fn len(&self) -> usize {
        self.folders.values().map(Vec::len).sum()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.folders.is_empty()
    }

    /// Forgets everything, so that each file is read again (for changes that no file time shows).
    pub fn forget(&mut self) {
        self.changed |= !self.folders.is_empty();
        self.folders.clear();
    }

    /// The remembered files of a folder, by its key ([`folder_key`]).
    pub fn folder(&self, key: &str) -> &[Entry] {
        self.folders.get(key).map_or(&[], Vec::as_slice)
    }

    /// The digest of a file of `folder` if nothing about the file changed.
    pub fn lookup(folder: &[Entry], name: &str, stat: &Stat) -> Option<Digest> {
        let at = folder.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok()?;
        (folder[at].stat == *stat).then_some(folder[at].digest)
    }

    /// Remembers all files of a folder, hashed no earlier than `now` ([`now`]); files too fresh to trust are left out.
    pub fn replace(&mut self, key: String, mut entries: Vec<Entry>, now: i64) {
        entries.retain(|entry| !entry.stat.is_fresh_at(now));
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        if self.folder(&key) == entries {
            return;
        }
        self.changed = true;
        if entries.is_empty() {
            self.folders.remove(&key);
        } else {
            self.folders.insert(key, entries);
        }
    }

    /// Forgets the folders below `root` (a folder's key) that `seen` does not accept and that are gone from the disk.
    pub fn prune(&mut self, root: &str, seen: impl Fn(&str) -> bool) {
        let below = format!("{root}/");
        let gone: Vec<String> = self
            .folders
            .range(below.clone()..)
            .map(|(key, _)| key)
            .take_while(|key| key.starts_with(&below))
            .filter(|key| !seen(key) && !Path::new(key).exists())
            .cloned()
            .collect();
        for key in gone {
            self.folders.remove(&key);
            self.changed = true;
        }
    }

    /// What is remembered of a file.
    pub fn entry(&self, folder: &str, name: &str) -> Option<&Entry> {
        let entries = self.folder(folder);
        entries.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok().map(|at| &entries[at])
    }

    /// A remembered file is in another state now, with the same bytes.
    pub fn restat(&mut self, folder: &str, name: &str, stat: Stat) {
        let Some(entries) = self.folders.get_mut(folder) else { return };
        if let Ok(at) = entries.binary_search_by(|entry| entry.name.as_str().cmp(name)) {
            self.changed |= entries[at].stat != stat;
            entries[at].stat = stat;
        }
    }

    /// Writes the index where it was loaded from, by a temporary file, if anything changed.
    pub fn save(&mut self) -> Result<()> {
        if !self.changed {
            return Ok(());
        }
        let folder = self.file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).doing("create", folder)?;
        let mut temporary = tempfile::NamedTempFile::new_in(folder).doing("write in", folder)?;
        temporary.write_all(&render(&self.folders)).doing("write", &self.file)?;
        temporary.persist(&self.file).map_err(|e| e.error).doing("write", &self.file)?;
        self.changed = false;
        Ok(())
    }
}

/// A folder's key: its absolute path with symbolic links resolved.
pub fn folder_key(folder: &Path) -> Result<String> {
    Ok(folder.canonicalize().doing("open", folder)?.to_string_lossy().into_owned())
}

/// Nanoseconds since 1970 by this machine's clock.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
}

/// Head, folder count, then per folder its key, entry count and entries; all integers little-endian; BLAKE3 of all
/// that at the end.
fn render(folders: &BTreeMap<String, Vec<Entry>>) -> Vec<u8> {
    fn text(out: &mut Vec<u8>, text: &str) {
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.as_bytes());
    }
    let mut out = HEAD.to_vec();
    out.extend((folders.len() as u32).to_le_bytes());
    for (key, entries) in folders {
        text(&mut out, key);
        out.extend((entries.len() as u32).to_le_bytes());
        for Entry { name, stat, digest } in entries {
            text(&mut out, name);
            out.extend(stat.size.to_le_bytes());
            out.extend(stat.mtime.to_le_bytes());
            out.extend(stat.ctime.to_le_bytes());
            out.extend(stat.inode.to_le_bytes());
            out.extend(digest);
        }
    }
    let sum = digest::of(&out);
    out.extend(sum);
    out
}

fn parse(bytes: &[u8]) -> Option<BTreeMap<String, Vec<Entry>>> {
    fn take<'a>(rest: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
        let (head, tail) = rest.split_at_checked(n)?;
        *rest = tail;
        Some(head)
    }
    fn array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
        take(rest, N)?.try_into().ok()
    }
    fn length(rest: &mut &[u8]) -> Option<usize> {
        Some(u32::from_le_bytes(array(rest)?) as usize)
    }
    fn text(rest: &mut &[u8]) -> Option<String> {
        let n = length(rest)?;
        Some(std::str::from_utf8(take(rest, n)?).ok()?.to_string())
    }
    let (body, sum) = bytes.split_last_chunk::<32>()?;
    if digest::of(body) != *sum {
        return None;
    }
    let mut rest = body.strip_prefix(HEAD)?;
    let mut folders = BTreeMap::new();
    for _ in 0..length(&mut rest)? {
        let key = text(&mut rest)?;
        let entries = (0..length(&mut rest)?)
            .map(|_| {
                Some(Entry {
                    name: text(&mut rest)?,
                    stat: Stat {
                        size: u64::from_le_bytes(array(&mut rest)?),
                        mtime: i64::from_le_bytes(array(&mut rest)?),
                        ctime: i64::from_le_bytes(array(&mut rest)?),
                        inode: u64::from_le_bytes(array(&mut rest)?),
                    },
                    digest: array(&mut rest)?,
                })
            })
            .collect::<Option<Vec<_>>>()?;
        folders.insert(key, entries);
    }
    rest.is_empty().then_some(folders)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const LONG_AGO: i64 = 1_000_000_000_000_000_000;

    fn entry(name: &str, mtime: i64) -> Entry {
        Entry { name: name.into(), stat: Stat { size: 3, mtime, ctime: mtime, inode: 7 }, digest: [9; 32] }
    }

    fn saved() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("cache/stat-index");
        let mut index = StatIndex::load(&file);
        assert_eq!(index.found(), Found::Nothing);
        index.replace("/birds/train/ROBIN".into(), vec![entry("b é.jpg", 5), entry("a.jpg", 6)], LONG_AGO);
        index.save().unwrap();
        (dir, file)
    }

    #[test]
    fn a_saved_index_is_the_same_when_loaded() {
        let (_dir, file) = saved();
        let index = StatIndex::load(&file);
        assert_eq!(index.found(), Found::Whole);
        assert_eq!(index.folder("/birds/train/ROBIN"), [entry("a.jpg", 6), entry("b é.jpg", 5)]);
        assert_eq!(index.len(), 2);
    }

    #[test]
    fn any_other_state_of_a_file_is_a_miss() {
        let (_dir, file) = saved();
        let index = StatIndex::load(&file);
        let folder = index.folder("/birds/train/ROBIN");
        let stat = entry("a.jpg", 6).stat;
        assert_eq!(StatIndex::lookup(folder, "a.jpg", &stat), Some([9; 32]));
        assert_eq!(StatIndex::lookup(folder, "c.jpg", &stat), None);
        for other in
            [Stat { size: 4, ..stat }, Stat { mtime: 7, ..stat }, Stat { ctime: 7, ..stat }, Stat { inode: 8, ..stat }]
        {
            assert_eq!(StatIndex::lookup(folder, "a.jpg", &other), None, "{other:?}");
        }
    }

    #[test]
    fn a_flipped_bit_a_cut_and_another_version_give_an_empty_index_and_say_so() {
        let (_dir, file) = saved();
        let whole = fs::read(&file).unwrap();
        for at in [30, 60, whole.len() - 1] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&file, bytes).unwrap();
            let index = StatIndex::load(&file);
            assert_eq!((index.found(), index.len()), (Found::Damaged, 0), "bit at {at}");
        }
        for length in [0, 10, 21, whole.len() - 1] {
            fs::write(&file, &whole[..length]).unwrap();
            assert_eq!(StatIndex::load(&file).len(), 0, "cut at {length}");
        }
        fs::write(&file, b"birdaug stat index 0\nwhatever").unwrap();
        assert_eq!(StatIndex::load(&file).found(), Found::OtherVersion);
    }

    #[test]
    fn a_file_written_less_than_two_seconds_before_its_hash_is_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let mut index = StatIndex::load(&dir.path().join("index"));
        let second = 1_000_000_000;
        let (young, old) = (entry("young", LONG_AGO - second), entry("old", LONG_AGO - 3 * second));
        let future = entry("future", LONG_AGO + 100 * second);
        index.replace("/f".into(), vec![young, old.clone(), future], LONG_AGO);
        assert_eq!(index.folder("/f"), [old]);
    }

    #[test]
    fn an_unchanged_index_is_not_written_again() {
        let (_dir, file) = saved();
        fs::remove_file(&file).unwrap();
        let (_other, other) = saved();
        fs::rename(&other, &file).unwrap();
        let mut index = StatIndex::load(&file);
        index.replace("/birds/train/ROBIN".into(), vec![entry("a.jpg", 6), entry("b é.jpg", 5)], LONG_AGO);
        fs::remove_file(&file).unwrap();
        index.save().unwrap();
        assert!(!file.exists());
        index.forget();
        index.save().unwrap();
        assert_eq!((StatIndex::load(&file).found(), StatIndex::load(&file).len()), (Found::Whole, 0));
    }

    #[test]
    fn folders_that_are_gone_are_forgotten_and_others_kept() {
        let dir = tempfile::tempdir().unwrap();
        let root = folder_key(dir.path()).unwrap();
        fs::create_dir(dir.path().join("excluded")).unwrap();
        let mut index = StatIndex::load(&dir.path().join("index"));
        for key in [format!("{root}/excluded"), format!("{root}/gone"), format!("{root}-other/gone")] {
            index.replace(key, vec![entry("a", 1)], LONG_AGO);
        }
        index.prune(&root, |_| false);
        assert_eq!(index.folder(&format!("{root}/excluded")).len(), 1);
        assert_eq!(index.folder(&format!("{root}/gone")).len(), 0);
        assert_eq!(index.folder(&format!("{root}-other/gone")).len(), 1);
    }
}
