//! The dataset's folders as they are on disk: names and file states, before any judgement. Reads no file's bytes.

use std::fs::{self, DirEntry};
use std::io;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::names;
use super::scan::{ScanOptions, Split};
use super::stat_index::Stat;
use crate::error::{Error, IoContext, Result};
use crate::text::{self, quoted};

/// Why a file is passed over that lies in a split, but in no folder of a species.
pub const BESIDE: &str = "a file beside the species folders";

/// Endings (lower case) of the files that are taken for images; the bytes decide which kind.
const ENDINGS: [&str; 11] = ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff", "dib"];

/// Everything below the split folders.
pub(super) struct Listing {
    pub folders: Vec<Folder>,
    /// Path relative to the root, and why it is not used.
    pub skipped: Vec<(String, String)>,
}

/// A species folder of one split.
pub(super) struct Folder {
    pub split: Split,
    /// As on disk, before renaming.
    pub name: String,
    /// Relative to the root, with `/`.
    pub path: String,
    /// In natural order of their names.
    pub files: Vec<(String, Stat)>,
    /// What could not be listed or looked at: path relative to the root, and why.
    pub broken: Vec<(String, io::Error)>,
}

/// Lists the dataset, each folder on its own thread. Fails without a root or a train folder, or if a split folder
/// cannot be listed; what is wrong further down is in [`Folder::broken`].
pub(super) fn list(options: &ScanOptions) -> Result<Listing> {
    let root = &options.root;
    if !root.is_dir() {
        return Err(missing_root(root));
    }
    let mut skipped = Vec::new();
    let mut species = Vec::new();
    for split in Split::ALL {
        let folder = options.splits.name(split);
        let path = root.join(folder);
        if !path.is_dir() {
            match missing_split(options, split)? {
                Some(error) => return Err(error),
                None => continue,
            }
        }
        for entry in entries(&path).doing("list", &path)? {
            let (name, relative) = match name_of(&entry) {
                Ok(name) => (name.clone(), format!("{folder}/{name}")),
                Err(lossy) => {
                    return Err(Error::input_help(
                        format!("the folder name `{folder}/{lossy}` in `{}` is not UTF-8", root.display()),
                        "rename the folder",
                    ));
                }
            };
            if name.starts_with('.') {
                continue;
            }
            if is_folder(&entry) {
                species.push((split, name, relative));
            } else {
                skipped.push((relative, BESIDE.to_string()));
            }
        }
    }
    let parts: Vec<(Folder, Vec<(String, String)>)> = species
        .into_par_iter()
        .with_max_len(1)
        .map(|(split, name, path)| list_species(root, split, name, path))
        .collect();
    let mut folders = Vec::with_capacity(parts.len());
    for (folder, left_out) in parts {
        folders.push(folder);
        skipped.extend(left_out);
    }
    folders.sort_by(|a, b| (a.split, &a.name).cmp(&(b.split, &b.name)));
    skipped.sort();
    Ok(Listing { folders, skipped })
}

fn list_species(root: &Path, split: Split, name: String, path: String) -> (Folder, Vec<(String, String)>) {
    let mut folder = Folder { split, name, path, files: Vec::new(), broken: Vec::new() };
    let mut skipped = Vec::new();
    let absolute = root.join(&folder.path);
    let found = match entries(&absolute) {
        Ok(found) => found,
        Err(e) => {
            folder.broken.push((folder.path.clone(), e));
            return (folder, skipped);
        }
    };
    for entry in found {
        let name = match name_of(&entry) {
            Ok(name) => name,
            Err(lossy) => {
                skipped.push((format!("{}/{lossy}", folder.path), "its name is not UTF-8".into()));
                continue;
            }
        };
        if name.starts_with('.') {
            continue;
        }
        let relative = || format!("{}/{name}", folder.path);
        if !is_image_name(&name) {
            let why = if is_folder(&entry) { "a folder inside a species folder" } else { "not an image file" };
            skipped.push((relative(), why.into()));
            continue;
        }
        // A directory entry's own metadata costs no path walk; only a link must be followed by its path.
        let metadata = match entry.file_type() {
            Ok(kind) if kind.is_symlink() => fs::metadata(entry.path()),
            Ok(_) => entry.metadata(),
            Err(e) => Err(e),
        };
        match metadata {
            Ok(metadata) if metadata.is_file() => folder.files.push((name, Stat::of(&metadata))),
            Ok(_) => skipped.push((relative(), "not a regular file".into())),
            Err(e) => {
                let path = relative();
                folder.broken.push((path, e));
            }
        }
    }
    folder.files.sort_unstable_by(|a, b| names::natural(&a.0, &b.0));
    folder.broken.sort_by(|a, b| a.0.cmp(&b.0));
    (folder, skipped)
}

/// Whether a file of this name is taken for an image.
pub(super) fn is_image_name(name: &str) -> bool {
    let ending = name.rsplit_once('.').map_or(String::new(), |(_, ending)| ending.to_ascii_lowercase());
    ENDINGS.contains(&ending.as_str())
}

fn entries(folder: &Path) -> io::Result<Vec<DirEntry>> {
    fs::read_dir(folder)?.collect()
}

/// The entry's name; if it is not UTF-8, an error with what can be shown of it.
fn name_of(entry: &DirEntry) -> Result<String, String> {
    entry.file_name().into_string().map_err(|name| name.to_string_lossy().into_owned())
}

/// Whether the entry is a folder, or a link to one (a link to nothing counts, so that it is reported, not skipped).
fn is_folder(entry: &DirEntry) -> bool {
    match entry.file_type() {
        Ok(kind) if kind.is_symlink() => fs::metadata(entry.path()).map_or(true, |m| m.is_dir()),
        Ok(kind) => kind.is_dir(),
        Err(_) => false,
    }
}

fn missing_root(root: &Path) -> Error {
    let what = if root.exists() { "is not a folder" } else { "does not exist" };
    let parent = root.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = root.file_name().unwrap_or_default().to_string_lossy();
    let siblings = subfolders(parent);
    let advice = match text::nearest(&name, siblings.iter().map(String::as_str)).filter(|n| *n != name) {
        Some(near) => {
            let near = if parent == Path::new(".") { PathBuf::from(near) } else { parent.join(near) };
            format!("`{}` exists: did you mean that?", near.display())
        }
        None => "give the folder that holds train/, valid/ and test/ (paths are relative to the working folder); \
                 `birdaug sample DIR` draws a dataset to try"
            .into(),
    };
    Error::input_help(format!("the dataset root `{}` {what}", root.display()), advice)
}

/// Why a split's folder is not there: an error for train, and for the others if a folder with another usual name
/// stands in its place; else `None`, the split is empty.
fn missing_split(options: &ScanOptions, split: Split) -> Result<Option<Error>> {
    let root = &options.root;
    let wanted = options.splits.name(split);
    let used: Vec<&str> = Split::ALL.iter().map(|&s| options.splits.name(s)).collect();
    let others: Vec<String> = subfolders(root).into_iter().filter(|f| !used.contains(&f.as_str())).collect();
    let usual: &[&str] = match split {
        Split::Train => &["train", "training"],
        Split::Valid => &["valid", "val", "validation", "dev"],
        Split::Test => &["test", "testing"],
    };
    let stand_in = others
        .iter()
        .find(|f| usual.contains(&f.to_lowercase().as_str()))
        .map(String::as_str)
        .or_else(|| text::nearest(wanted, others.iter().map(String::as_str)));
    let problem = format!("the dataset `{}` has no folder {}", root.display(), quoted(wanted).replace('"', "`"));
    if let Some(folder) = stand_in {
        let line = format!("splits = {{ {} = {} }}", split.name(), quoted(folder));
        let advice = format!("there is a folder `{folder}`: write in the recipe's [dataset]:\n    {line}");
        return Ok(Some(Error::input_help(problem, advice)));
    }
    if split != Split::Train {
        return Ok(None);
    }
    let inside = others.iter().find(|f| root.join(f).join(wanted).is_dir());
    let advice = match inside {
        Some(folder) => {
            let line = format!("root = {}", quoted(&root.join(folder).to_string_lossy()));
            format!("`{folder}` has one: write in the recipe's [dataset]:\n    {line}")
        }
        None if others.is_empty() => "it is empty: put a folder a species into train/, valid/ and test/".into(),
        None => "a dataset has train/, valid/ and test/ with a folder a species in each; \
                 other names go into the recipe's [dataset] as `splits`"
            .into(),
    };
    Ok(Some(Error::input_help(problem, advice)))
}

/// Names of the visible folders in `folder`, sorted; none if it cannot be listed.
fn subfolders(folder: &Path) -> Vec<String> {
    let mut out: Vec<String> = entries(folder)
        .unwrap_or_default()
        .iter()
        .filter(|entry| is_folder(entry))
        .filter_map(|entry| name_of(entry).ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    out.sort();
    out
}
