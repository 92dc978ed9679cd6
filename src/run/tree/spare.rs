//! The tree that was swapped out last, kept in the cache to become the next one: only the folders that changed are
//! written again before it is swapped back in. Costs links and no space; dropped whenever anything about it is in doubt.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{IoContext, Result};
use crate::plan::Key;
use crate::plan::inputs::Digest;
use crate::recipe::Link;
use crate::store;

const HEAD: &str = "birdaug spare tree 1";
/// What the spare tree holds.
const HELD: &str = "held";
/// What the tree in place holds.
const IN_PLACE: &str = "in-place";

/// What a tree holds, by folder relative to its root.
pub type Folders = BTreeMap<String, Held>;

/// The place of a spare tree: `tree/`, and two files that say what is in it and what in the tree in place.
pub struct Spare {
    dir: PathBuf,
}

/// A folder of the spare tree as it was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub digest: Digest,
    pub state: FolderState,
}

/// Changes whenever an entry of a folder is added, removed or renamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FolderState {
    mtime: (i64, i64),
    inode: u64,
}

impl FolderState {
    /// The state of the folder at `path`; `None` if there is none.
    pub fn of(path: &Path) -> Option<FolderState> {
        let metadata: Metadata = fs::metadata(path).ok().filter(Metadata::is_dir)?;
        Some(FolderState { mtime: (metadata.mtime(), metadata.mtime_nsec()), inode: metadata.ino() })
    }
}

impl Spare {
    /// The spare tree in the folder `dir`, which need not be there.
    pub fn new(dir: PathBuf) -> Spare {
        Spare { dir }
    }

    /// Where its files are.
    pub fn tree(&self) -> PathBuf {
        self.dir.join("tree")
    }

    /// Whether it lies on the file system of `out`, so that the two can be exchanged.
    pub fn is_beside(&self, out: &Path) -> bool {
        let device = |path: &Path| path.ancestors().find_map(|path| fs::metadata(path).ok()).map(|found| found.dev());
        device(&self.dir) == device(out)
    }

    /// What it holds, and what the tree in place does; `None` if that is not known for certain.
    pub fn held(&self, link: Link) -> Option<(Folders, Folders)> {
        Some((read(&self.dir.join(HELD), link)?, read(&self.dir.join(IN_PLACE), link)?))
    }

    /// From now on it is neither the old tree nor the new one.
    pub fn touch(&self) -> Result<()> {
        for name in [HELD, IN_PLACE] {
            let path = self.dir.join(name);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).doing("remove", &path),
                _ => {}
            }
        }
        Ok(())
    }

    /// Says what it holds, and what the tree in place does.
    pub fn hold(&self, link: Link, held: &Folders, in_place: &Folders) -> Result<()> {
        write(&self.dir.join(HELD), link, held)?;
        write(&self.dir.join(IN_PLACE), link, in_place)
    }

    /// Removes it.
    pub fn drop(&self) -> Result<()> {
        self.touch()?;
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).doing("remove", &self.dir),
            _ => Ok(()),
        }
    }
}

/// The state of a tree at `root` whose folders have these digests; `None` if one is not there.
pub fn folders(root: &Path, digests: &BTreeMap<String, Digest>) -> Option<Folders> {
    let held = |(folder, &digest): (&String, &Digest)| {
        Some((folder.clone(), Held { digest, state: FolderState::of(&root.join(folder))? }))
    };
    digests.iter().map(held).collect()
}

/// The folders of all spare trees below `dir`.
///
/// # Errors
/// [`crate::error::Error::Io`] if the folder is there and cannot be listed.
pub fn spare_trees(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.doing("list", dir)?,
    };
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path()).doing("list", dir)).collect::<Result<_>>()?;
    paths.sort();
    Ok(paths)
}

fn read(path: &Path, link: Link) -> Option<Folders> {
    let text = store::read_with_sum(path)?;
    let mut lines = text.lines();
    if lines.next()? != format!("{HEAD} {}", link.name()) {
        return None;
    }
    lines.map(line).collect()
}

fn write(path: &Path, link: Link, folders: &Folders) -> Result<()> {
    let mut text = format!("{HEAD} {}", link.name());
    for (folder, Held { digest, state }) in folders {
        let (seconds, nanoseconds) = state.mtime;
        text.push_str(&format!("\n{} {seconds} {nanoseconds} {} {folder}", Key(*digest).hex(), state.inode));
    }
    store::write_with_sum(path, &text)
}

fn line(line: &str) -> Option<(String, Held)> {
    let mut words = line.splitn(5, ' ');
    let digest = Key::from_hex(words.next()?)?.0;
    let mtime = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let inode = words.next()?.parse().ok()?;
    Some((words.next()?.to_string(), Held { digest, state: FolderState { mtime, inode } }))
}
