//! Puts one file in its place in the way the recipe asks for: reflink, hard link, symbolic link or copy.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{IoContext, Result};
use crate::recipe::Link;

/// Links files of one origin (photos, or blobs), which lie on one file system.
pub struct Linker {
    link: Link,
    /// Whether the file system may know reflinks: the first refusal settles it for all.
    reflinks: AtomicBool,
    /// Whether a hard link may cross from there to here.
    hard_links: AtomicBool,
}

impl Linker {
    /// As the recipe's `[emit] link` says.
    pub fn new(link: Link) -> Linker {
        Linker { link, reflinks: AtomicBool::new(true), hard_links: AtomicBool::new(true) }
    }

    /// Puts the file `from` at `to`, which is not there.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`] if the file system refuses what the recipe insists on, or is full.
    pub fn place(&self, from: &Path, to: &Path) -> Result<()> {
        match self.link {
            Link::Auto => self.auto(from, to),
            Link::Reflink => reflink_copy::reflink(from, to),
            Link::Hardlink => fs::hard_link(from, to),
            Link::Copy => copy(from, to),
            Link::Symlink => fs::canonicalize(from).and_then(|from| std::os::unix::fs::symlink(from, to)),
        }
        .doing("link or copy into the tree", from)
    }

    /// Whether everything so far shares the source's inode, so that a second tree of the same files costs no space.
    pub fn shares_inodes(&self) -> bool {
        match self.link {
            Link::Hardlink | Link::Symlink => true,
            Link::Auto => !self.reflinks.load(Ordering::Relaxed) && self.hard_links.load(Ordering::Relaxed),
            Link::Reflink | Link::Copy => false,
        }
    }

    fn auto(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.reflinks.load(Ordering::Relaxed) {
            match reflink_copy::reflink(from, to) {
                Ok(()) => return keep_time(from, to),
                Err(_) => self.reflinks.store(false, Ordering::Relaxed),
            }
        }
        if self.hard_links.load(Ordering::Relaxed) {
            match fs::hard_link(from, to) {
                Ok(()) => return Ok(()),
                // One file may have all the links it can have; another file system or a ban on links is for all.
                Err(error) if error.raw_os_error() == Some(libc::EMLINK) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
                Err(_) => self.hard_links.store(false, Ordering::Relaxed),
            }
        }
        copy(from, to)
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to)?;
    keep_time(from, to)
}

/// A copy has its source's time of change, so that it is known by its state as its source is.
fn keep_time(from: &Path, to: &Path) -> io::Result<()> {
    let modified = fs::metadata(from)?.modified()?;
    // A read-only blob's copy cannot be opened for writing: its time is of no use to anybody.
    match fs::File::options().write(true).open(to) {
        Ok(file) => file.set_modified(modified),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(error) => Err(error),
    }
}
