//! A folder tree written whole: built beside its place, then swapped in, so that a reader never sees half of it.
//! Knows files, links and digests, nothing of what they show.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use walkdir::WalkDir;

use crate::dataset::stat_index::StatIndex;
use crate::error::{Error, IoContext, Result};
use crate::plan::inputs::Digest;
use crate::recipe::Link;

/// The file that tells birdaug's own trees from other folders.
pub const MARK: &str = "manifest.csv";

/// What is at a path of the tree.
#[derive(Debug, Clone)]
pub enum Content {
    /// Linked from this file.
    Link(PathBuf),
    Bytes(Vec<u8>),
}

/// A file of the tree.
#[derive(Debug, Clone)]
pub struct File {
    pub content: Content,
    pub digest: Digest,
}

/// Files by their path relative to the root, with `/` between names.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    pub files: BTreeMap<String, File>,
}

impl Tree {
    /// Identifies paths and bytes.
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        for (path, file) in &self.files {
            hasher.update(&(path.len() as u64).to_le_bytes());
            hasher.update(path.as_bytes());
            hasher.update(&file.digest);
        }
        *hasher.finalize().as_bytes()
    }

    /// Adds a file made of bytes.
    pub fn insert_bytes(&mut self, path: &str, bytes: Vec<u8>) {
        let digest = *blake3::hash(&bytes).as_bytes();
        self.files.insert(path.to_string(), File { content: Content::Bytes(bytes), digest });
    }

    /// The first way in which the folder `out` differs from the tree; `None` if it does not. Asks the index for digests,
    /// so that only files that changed are read.
    pub fn difference(&self, out: &Path, index: &mut StatIndex) -> Result<Option<String>> {
        if !out.exists() {
            return Ok(Some(format!("`{}` is not there", out.display())));
        }
        let mut seen = 0;
        for entry in WalkDir::new(out).follow_links(true).sort_by_file_name() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return Ok(Some(error.to_string())),
            };
            if entry.file_type().is_dir() {
                continue;
            }
            let path = entry.path().strip_prefix(out).unwrap_or(entry.path()).to_string_lossy().into_owned();
            let Some(file) = self.files.get(&path) else {
                return Ok(Some(format!("`{}` is not of this build", entry.path().display())));
            };
            if index.digest(entry.path())? != file.digest {
                return Ok(Some(format!("`{}` was changed", entry.path().display())));
            }
            seen += 1;
        }
        if seen == self.files.len() {
            return Ok(None);
        }
        let missing = self.files.keys().find(|path| !out.join(path).exists());
        Ok(missing.map(|path| format!("`{}` is missing", out.join(path).display())))
    }

    /// Writes the tree beside `out` and swaps it in; calls `each` once a file.
    ///
    /// # Errors
    /// [`Error::Input`] if `out` holds something else than a tree of birdaug's; [`Error::Io`].
    pub fn write(&self, out: &Path, link: Link, each: &(dyn Fn() + Sync)) -> Result<()> {
        refuse_foreign(out)?;
        let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(parent).doing("make the folder", parent)?;
        let name = out.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let building = tempfile::Builder::new()
            .prefix(&format!(".{name}.building-"))
            .tempdir_in(parent)
            .doing("write in", parent)?;
        fs::set_permissions(building.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .doing("write in", building.path())?;
        let folders: std::collections::BTreeSet<&str> =
            self.files.keys().filter_map(|path| path.rsplit_once('/').map(|(folder, _)| folder)).collect();
        for folder in folders {
            let folder = building.path().join(folder);
            fs::create_dir_all(&folder).doing("make the folder", &folder)?;
        }
        self.files.par_iter().try_for_each(|(path, file)| {
            let to = building.path().join(path);
            match &file.content {
                Content::Bytes(bytes) => fs::write(&to, bytes).doing("write", &to)?,
                Content::Link(from) => place(from, &to, link)?,
            }
            each();
            Ok(())
        })?;
        swap(building, out)
    }
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

fn place(from: &Path, to: &Path, link: Link) -> Result<()> {
    let hard = || fs::hard_link(from, to);
    let copy = || fs::copy(from, to).map(drop);
    let reflink = || reflink_copy::reflink(from, to);
    match link {
        Link::Auto => reflink().or_else(|_| hard()).or_else(|_| copy()),
        Link::Reflink => reflink(),
        Link::Hardlink => hard(),
        Link::Copy => copy(),
        Link::Symlink => fs::canonicalize(from).and_then(|from| std::os::unix::fs::symlink(from, to)),
    }
    .doing("link or copy into the tree", from)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        let mut tree = Tree::default();
        for (path, text) in files {
            tree.insert_bytes(path, text.as_bytes().to_vec());
        }
        tree
    }

    fn index(dir: &Path) -> StatIndex {
        StatIndex::load(&dir.join("index"))
    }

    #[test]
    fn a_written_tree_does_not_differ_and_a_changed_one_does() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let tree = tree(&[(MARK, "path\n"), ("train/A/1.jpg", "x"), ("train/B/1.jpg", "y")]);
        assert!(tree.difference(&out, &mut index(dir.path())).unwrap().unwrap().ends_with("is not there"));
        tree.write(&out, Link::Auto, &|| {}).unwrap();
        assert_eq!(tree.difference(&out, &mut index(dir.path())).unwrap(), None);
        fs::write(out.join("train/A/1.jpg"), "z").unwrap();
        assert!(tree.difference(&out, &mut index(dir.path())).unwrap().unwrap().ends_with("was changed"));
        fs::remove_file(out.join("train/A/1.jpg")).unwrap();
        assert!(tree.difference(&out, &mut index(dir.path())).unwrap().unwrap().ends_with("is missing"));
        tree.write(&out, Link::Auto, &|| {}).unwrap();
        fs::write(out.join("extra"), "z").unwrap();
        assert!(tree.difference(&out, &mut index(dir.path())).unwrap().unwrap().ends_with("is not of this build"));
    }

    #[test]
    fn a_new_tree_takes_the_place_of_the_old_one_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        tree(&[(MARK, "1"), ("train/A/old.jpg", "x")]).write(&out, Link::Auto, &|| {}).unwrap();
        tree(&[(MARK, "2"), ("train/A/new.jpg", "x")]).write(&out, Link::Auto, &|| {}).unwrap();
        assert!(!out.join("train/A/old.jpg").exists() && out.join("train/A/new.jpg").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_of_somebody_else_is_never_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        fs::create_dir(&out).unwrap();
        fs::write(out.join("thesis.tex"), "years of work").unwrap();
        let message = tree(&[(MARK, "1")]).write(&out, Link::Auto, &|| {}).unwrap_err().to_string();
        assert!(message.contains("is not empty and was not written by birdaug"), "{message}");
        assert!(out.join("thesis.tex").exists());
    }

    #[test]
    fn links_have_the_bytes_of_their_file() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("photo.jpg");
        fs::write(&from, "bird").unwrap();
        for link in [Link::Auto, Link::Hardlink, Link::Copy, Link::Symlink] {
            let out = dir.path().join(format!("{link:?}"));
            let mut tree = tree(&[(MARK, "1")]);
            let digest = *blake3::hash(b"bird").as_bytes();
            tree.files.insert("train/A/1.jpg".into(), File { content: Content::Link(from.clone()), digest });
            tree.write(&out, link, &|| {}).unwrap();
            assert_eq!(fs::read(out.join("train/A/1.jpg")).unwrap(), b"bird");
            assert_eq!(tree.difference(&out, &mut index(dir.path())).unwrap(), None);
        }
    }
}
