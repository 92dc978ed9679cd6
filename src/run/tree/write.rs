//! Writes a tree: whole beside its place, or by bringing the spare tree up to date; then one exchange of names puts it
//! there. A crash at any moment leaves the old tree or the new one.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::links::Linker;
use super::spare::{FolderState, Folders, Spare, folders};
use super::{Content, File, MARK, Tree};
use crate::error::{Error, IoContext, Result};
use crate::plan::inputs::Digest;
use crate::recipe::Link;
use crate::run::make::damaged_in_use;

/// How and where a tree is written.
pub struct Writer<'a> {
    pub out: &'a Path,
    pub link: Link,
    /// Where the spare tree is kept between builds.
    pub spare: PathBuf,
    /// Whether a blob is whole: asked before it is linked, since a damaged one must not reach the tree.
    pub whole: &'a (dyn Fn(&Digest) -> Result<bool> + Sync),
    /// Called with the number of files that were just put in place.
    pub each: &'a (dyn Fn(usize) + Sync),
}

/// How a tree came to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// Every file was put there.
    Anew,
    /// The spare tree was brought up to date: so many folders were written, the others were there.
    FromSpare(usize),
}

impl Writer<'_> {
    /// Puts the tree in its place, by way of the spare tree if that can be.
    ///
    /// # Errors
    /// As [`Writer::write_anew`].
    pub fn write(&self, tree: &Tree) -> Result<Written> {
        refuse_foreign(self.out)?;
        let spare = Spare::new(self.spare.clone());
        if let Some((held, in_place)) = spare.held(self.link)
            && self.out.is_dir()
            && spare.is_beside(self.out)
            && let Some(folders) = self.write_from_spare(tree, &spare, &held, &in_place)?
        {
            return Ok(Written::FromSpare(folders));
        }
        self.write_anew(tree)
    }

    /// Puts every file of the tree in its place.
    ///
    /// # Errors
    /// [`Error::Input`] if the place holds something else than a tree of birdaug's, or a blob was damaged;
    /// [`Error::Io`].
    pub fn write_anew(&self, tree: &Tree) -> Result<Written> {
        refuse_foreign(self.out)?;
        let spare = Spare::new(self.spare.clone());
        spare.drop()?;
        let parent = self.out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).doing("make the folder", parent)?;
        let name = self.out.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (building, _held) = building_place(parent, &name)?;
        let linkers = Linkers::new(self.link);
        self.fill(tree, building.path(), &linkers, true)?;
        swap(building, self.out)?;
        if linkers.share_inodes() && spare.is_beside(self.out) {
            // A second tree of the same links, for the next change. It is a convenience: without it that costs more.
            let made = self.make_spare(tree, &spare, &linkers);
            if made.is_err() || !linkers.share_inodes() {
                spare.drop()?;
            }
        }
        Ok(Written::Anew)
    }

    fn make_spare(&self, tree: &Tree, spare: &Spare, linkers: &Linkers) -> Result<()> {
        let root = spare.tree();
        fs::create_dir_all(&root).doing("make the folder", &root)?;
        self.fill(tree, &root, linkers, false)?;
        let digests = tree.folder_digests();
        match (folders(&root, digests), folders(self.out, digests)) {
            (Some(held), Some(in_place)) => spare.hold(self.link, &held, &in_place),
            _ => spare.drop(),
        }
    }

    /// Brings the spare tree up to date and exchanges it for the one in place; `None` if the file system cannot.
    /// Answers how many folders were written.
    fn write_from_spare(
        &self,
        tree: &Tree,
        spare: &Spare,
        held: &Folders,
        in_place: &Folders,
    ) -> Result<Option<usize>> {
        let root = spare.tree();
        let wanted = tree.folder_digests();
        let as_wanted = |folder: &String| {
            let Some(held) = held.get(folder) else { return false };
            held.digest == wanted[folder] && FolderState::of(&root.join(folder)) == Some(held.state)
        };
        let stale: Vec<&String> = wanted.keys().filter(|folder| folder.is_empty() || !as_wanted(folder)).collect();
        spare.touch()?;
        for folder in held.keys().filter(|&folder| !wanted.contains_key(folder)) {
            remove_all(&root.join(folder))?;
        }
        let linkers = Linkers::new(self.link);
        stale.par_iter().with_max_len(1).try_for_each(|&folder| {
            let path = root.join(folder);
            if folder.is_empty() {
                remove_files(&path)?;
            } else {
                remove_all(&path)?;
                fs::create_dir_all(&path).doing("make the folder", &path)?;
            }
            self.fill_folder(&tree.folders[folder], &path, &linkers, true)?;
            (self.each)(tree.folders[folder].len());
            Ok(())
        })?;
        // As they are now: what somebody does to them later shows.
        let Some(now) = folders(&root, wanted) else { return Ok(None) };
        if exchange(&root, self.out).is_err() {
            return Ok(None);
        }
        if linkers.share_inodes() {
            spare.hold(self.link, in_place, &now)?;
        } else {
            spare.drop()?;
        }
        Ok(Some(stale.len()))
    }

    /// `check`: this is the tree itself and not the spare one.
    fn fill(&self, tree: &Tree, root: &Path, linkers: &Linkers, check: bool) -> Result<()> {
        tree.folders.par_iter().try_for_each(|(folder, files)| {
            let path = root.join(folder);
            fs::create_dir_all(&path).doing("make the folder", &path)?;
            self.fill_folder(files, &path, linkers, check)?;
            if check {
                (self.each)(files.len());
            }
            Ok(())
        })
    }

    fn fill_folder(&self, files: &BTreeMap<String, File>, to: &Path, linkers: &Linkers, check: bool) -> Result<()> {
        for (name, file) in files {
            let to = to.join(name);
            match &file.content {
                Content::Bytes(bytes) => fs::write(&to, bytes).doing("write", &to)?,
                Content::Photo(from) => linkers.photos.place(from, &to)?,
                Content::Blob(from) => {
                    if check && !(self.whole)(&file.digest)? {
                        return Err(damaged_in_use());
                    }
                    linkers.blobs.place(from, &to)?;
                }
            }
        }
        Ok(())
    }
}

/// Photos and blobs may lie on different file systems, so that different ways work for them.
struct Linkers {
    photos: Linker,
    blobs: Linker,
}

impl Linkers {
    fn new(link: Link) -> Linkers {
        Linkers { photos: Linker::new(link), blobs: Linker::new(link) }
    }

    fn share_inodes(&self) -> bool {
        self.photos.shares_inodes() && self.blobs.shares_inodes()
    }
}

/// A new folder beside the tree's place, held as long as the second value lives; what killed builds left there goes.
fn building_place(parent: &Path, name: &str) -> Result<(tempfile::TempDir, fs::File)> {
    let prefix = format!(".{name}.building-");
    for entry in fs::read_dir(parent).doing("list", parent)?.flatten() {
        let left = entry.file_name().to_string_lossy().starts_with(&prefix);
        // A folder that nobody holds belongs to nobody.
        if left && fs::File::open(entry.path()).is_ok_and(|folder| folder.try_lock().is_ok()) {
            remove_all(&entry.path())?;
        }
    }
    let building = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent).doing("write in", parent)?;
    let held = fs::File::open(building.path()).doing("write in", building.path())?;
    held.lock().doing("lock", building.path())?;
    // Another build may have taken it for left in the moment before it was held.
    fs::create_dir_all(building.path()).doing("write in", building.path())?;
    fs::set_permissions(building.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .doing("write in", building.path())?;
    Ok((building, held))
}

/// A folder that birdaug did not write is never replaced.
fn refuse_foreign(out: &Path) -> Result<()> {
    let empty = match fs::read_dir(out) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(error).doing("list", out),
    };
    if empty || out.join(MARK).is_file() {
        return Ok(());
    }
    Err(Error::input_help(
        format!("`{}` is not empty and was not written by birdaug", out.display()),
        "choose another folder for `[emit] out`, or empty this one",
    ))
}

fn remove_all(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).doing("remove", folder),
        _ => Ok(()),
    }
}

/// Removes the files of a folder, not its folders.
fn remove_files(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).doing("list", folder)? {
        let entry = entry.doing("list", folder)?;
        if !entry.file_type().doing("read", entry.path())?.is_dir() {
            fs::remove_file(entry.path()).doing("remove", entry.path())?;
        }
    }
    Ok(())
}

/// Puts the new tree in the place of the old one in one step, and removes the old one.
fn swap(building: tempfile::TempDir, out: &Path) -> Result<()> {
    if !out.exists() {
        fs::rename(building.path(), out).doing("put the tree at", out)?;
        let _ = building.keep();
        return Ok(());
    }
    if exchange(building.path(), out).is_ok() {
        // What is now in the temporary folder is the old tree; it goes with it.
        return building.close().doing("remove the old tree beside", out);
    }
    // File systems without an exchange: the old tree steps aside for a moment.
    let aside = building.path().with_extension("old");
    fs::rename(out, &aside).doing("move the old tree from", out)?;
    if let Err(error) = fs::rename(building.path(), out) {
        fs::rename(&aside, out).doing("put the old tree back at", out)?;
        return Err(error).doing("put the tree at", out);
    }
    let _ = building.keep();
    fs::remove_dir_all(&aside).doing("remove the old tree", &aside)
}

fn exchange(a: &Path, b: &Path) -> io::Result<()> {
    let (a, b) = (CString::new(a.as_os_str().as_bytes())?, CString::new(b.as_os_str().as_bytes())?);
    // SAFETY: both are NUL-terminated paths that outlive the call.
    let status =
        unsafe { libc::renameat2(libc::AT_FDCWD, a.as_ptr(), libc::AT_FDCWD, b.as_ptr(), libc::RENAME_EXCHANGE) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
