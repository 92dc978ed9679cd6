//! The dataset as a sorted, checked list of photos. Reads only files that changed since the last scan; knows nothing
//! of what is in a picture.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use super::digest::Digest;
use super::hashing::{Hashed, Listed, digests};
use super::listing::{self, Folder, Listing};
use super::names::{exclude_text, rename_text, twin};
use super::stat_index::StatIndex;
use crate::error::{Error, IoContext, Result};
use crate::text;

/// The three parts of a dataset, in the order that lists use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Split {
    Train,
    Valid,
    Test,
}

impl Split {
    pub const ALL: [Split; 3] = [Split::Train, Split::Valid, Split::Test];

    /// `train`, `valid` or `test`.
    pub fn name(self) -> &'static str {
        ["train", "valid", "test"][self as usize]
    }
}

/// Folder names of the splits below the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitFolders {
    pub train: String,
    pub valid: String,
    pub test: String,
}

impl SplitFolders {
    /// The folder name of a split.
    pub fn name(&self, split: Split) -> &str {
        match split {
            Split::Train => &self.train,
            Split::Valid => &self.valid,
            Split::Test => &self.test,
        }
    }
}

impl Default for SplitFolders {
    fn default() -> Self {
        let name = |split: Split| split.name().to_string();
        SplitFolders { train: name(Split::Train), valid: name(Split::Valid), test: name(Split::Test) }
    }
}

/// Where a dataset is and how its folder names are mended.
#[derive(Debug, Clone, Default)]
pub struct ScanOptions {
    pub root: PathBuf,
    pub splits: SplitFolders,
    /// Folder name as found -> species name wanted; two folders with one name become one species.
    pub rename: BTreeMap<String, String>,
    /// Species, after renaming, to leave out of every split.
    pub exclude: Vec<String>,
}

impl ScanOptions {
    /// A dataset with the usual split folders and nothing to mend.
    pub fn new(root: impl Into<PathBuf>) -> ScanOptions {
        ScanOptions { root: root.into(), ..ScanOptions::default() }
    }

    pub(super) fn species_of<'a>(&'a self, folder: &'a str) -> &'a str {
        self.rename.get(folder).map_or(folder, String::as_str)
    }

    pub(super) fn excludes(&self, species: &str) -> bool {
        self.exclude.iter().any(|e| e == species)
    }
}

/// One image file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Photo {
    pub split: Split,
    /// Index into [`Dataset::species`].
    pub species: u32,
    /// Relative to the root, with `/` between names.
    pub path: String,
    /// BLAKE3 of the file's bytes.
    pub digest: Digest,
    /// Size of the file.
    pub bytes: u64,
}

/// All photos of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    pub root: PathBuf,
    /// Names, after renaming and without the excluded, sorted.
    pub species: Vec<String>,
    /// Sorted by split, species and natural order of the file names.
    pub photos: Vec<Photo>,
    /// Files and folders that are no photos: path relative to the root, and why.
    pub skipped: Vec<(String, String)>,
    /// Number of files whose bytes this scan read.
    pub hashed: usize,
}

impl Dataset {
    /// Path of a photo that can be opened.
    pub fn path(&self, photo: usize) -> PathBuf {
        self.root.join(&self.photos[photo].path)
    }

    /// Name of a photo's species.
    pub fn species_of(&self, photo: usize) -> &str {
        &self.species[self.photos[photo].species as usize]
    }
}

/// Lists and hashes a dataset; `index` is asked first, and updated. The result does not depend on the order in which
/// the file system lists folders.
///
/// Fails, with what to write into the recipe, if there is no root, no train folder or no species; if a species has no
/// image in train; if `rename` or `exclude` name something that is not there; or if a folder or file is unreadable.
pub fn scan(options: &ScanOptions, index: &mut StatIndex) -> Result<Dataset> {
    look(options, index).map(|look| look.dataset(options))
}

/// A dataset's folders and digests before they are put in order.
pub struct Look {
    listing: Listing,
    hashed: Hashed,
}

/// The part of [`scan`] that asks the disk, and can fail.
///
/// # Errors
/// As [`scan`].
pub fn look(options: &ScanOptions, index: &mut StatIndex) -> Result<Look> {
    let mut listing = listing::list(options)?;
    check(options, &listing)?;
    listing.folders.retain(|folder| !options.excludes(options.species_of(&folder.name)));
    if let Some((path, source)) = listing.folders.iter_mut().find_map(|f| f.broken.pop()) {
        return Err(source).doing("read", options.root.join(path));
    }
    let mut hashed = digests(&options.root, &listed(&listing), index)?;
    if !hashed.unreadable.is_empty() {
        return Err(hashed.unreadable.swap_remove(0).1);
    }
    Ok(Look { listing, hashed })
}

/// The listing's folders as they are hashed.
pub(super) fn listed(listing: &Listing) -> Vec<Listed<'_>> {
    listing.folders.iter().map(|folder| Listed { path: &folder.path, files: &folder.files }).collect()
}

impl Look {
    /// Identifies names and bytes of all photos, and what was passed over: equal for equal datasets under equal options.
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&super::hashing::digest_of(&listed(&self.listing), &self.hashed.digests));
        for (path, why) in &self.listing.skipped {
            hasher.update(format!("{path:?} {why:?}").as_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// The photos in order.
    pub fn dataset(self, options: &ScanOptions) -> Dataset {
        let Look { listing, hashed } = self;
        in_order(options, listing, hashed)
    }
}

fn in_order(options: &ScanOptions, listing: Listing, hashed: Hashed) -> Dataset {
    let Hashed { digests, read, .. } = hashed;
    let names: BTreeSet<&str> = listing.folders.iter().map(|f| options.species_of(&f.name)).collect();
    let species: Vec<String> = names.iter().map(|name| name.to_string()).collect();
    let number: HashMap<&str, u32> = names.into_iter().zip(0..).collect();
    let mut photos = Vec::with_capacity(listing.folders.iter().map(|f| f.files.len()).sum());
    let mut merged = false;
    let mut last = None;
    for (folder, digests) in listing.folders.iter().zip(digests) {
        let species = number[options.species_of(&folder.name)];
        merged |= last.is_some_and(|last| last >= (folder.split, species));
        last = Some((folder.split, species));
        photos.extend(folder.files.iter().zip(digests).map(|((name, stat), digest)| Photo {
            split: folder.split,
            species,
            path: format!("{}/{name}", folder.path),
            digest: digest.expect("no file was unreadable"),
            bytes: stat.size,
        }));
    }
    if merged {
        // Renamed folders: their photos stand elsewhere than the folders' own names sort.
        let file = |p: &Photo| p.path.rfind('/').map_or(0, |at| at + 1);
        photos.sort_by(|a, b| {
            let names = || super::names::natural(&a.path[file(a)..], &b.path[file(b)..]);
            (a.split, a.species).cmp(&(b.split, b.species)).then_with(names).then_with(|| a.path.cmp(&b.path))
        });
    }
    Dataset { root: options.root.clone(), species, photos, skipped: listing.skipped, hashed: read }
}

/// Everything that is wrong with the species' names, in one error with the recipe text that mends it.
fn check(options: &ScanOptions, listing: &Listing) -> Result<()> {
    let root = options.root.display();
    let folders: BTreeSet<&str> = listing.folders.iter().map(|f| f.name.as_str()).collect();
    let mut problems = Vec::new();
    let mut rename = options.rename.clone();
    let mut exclude: BTreeSet<String> = options.exclude.iter().cloned().collect();
    let (mut renames, mut excludes) = (false, false);

    for from in options.rename.keys().filter(|from| !folders.contains(from.as_str())) {
        let near = near(from, &folders);
        problems.push(format!("`rename` names `{from}`, which is no folder of `{root}`{}", did_you_mean(near)));
        if let (Some(to), Some(near)) = (rename.remove(from), near) {
            rename.entry(near.to_string()).or_insert(to);
        }
        renames = true;
    }
    let species: BTreeSet<&str> = folders.iter().map(|folder| options.species_of(folder)).collect();
    for name in options.exclude.iter().filter(|name| !species.contains(name.as_str())) {
        let near = near(name, &species);
        problems.push(format!("`exclude` names `{name}`, which is no species of `{root}`{}", did_you_mean(near)));
        exclude.remove(name);
        exclude.extend(near.map(str::to_string));
        excludes = true;
    }
    for name in missing_from_train(options, listing) {
        problems.push(name.message(options));
        match name.twin {
            Some(twin) => {
                for folder in listing.folders.iter().filter(|f| options.species_of(&f.name) == name.species) {
                    rename.insert(folder.name.clone(), twin.clone());
                }
                renames = true;
            }
            None => {
                exclude.insert(name.species);
                excludes = true;
            }
        }
    }
    if !problems.is_empty() {
        let mut lines = Vec::new();
        if renames {
            lines.push(if rename.is_empty() { "rename = {}".into() } else { rename_text(&rename) });
        }
        if excludes {
            lines.push(exclude_text(&exclude));
        }
        let advice = format!("write in the recipe's [dataset]:\n    {}", lines.join("\n    "));
        return Err(Error::input_help(problems.join("\n"), advice));
    }
    if !listing.folders.iter().any(|f| f.split == Split::Train && !options.excludes(options.species_of(&f.name))) {
        let train = options.root.join(&options.splits.train);
        let why = if folders.is_empty() { "has no species folders" } else { "has no species left: all are excluded" };
        let advice = "train/ holds a folder for each species, named as the species, with its images";
        return Err(Error::input_help(format!("`{}` {why}", train.display()), advice));
    }
    Ok(())
}

fn near<'a>(name: &str, candidates: &BTreeSet<&'a str>) -> Option<&'a str> {
    twin(name, candidates.iter().copied()).or_else(|| text::nearest(name, candidates.iter().copied()))
}

fn did_you_mean(near: Option<&str>) -> String {
    near.map_or(String::new(), |near| format!("; did you mean `{near}`?"))
}

/// A species, after renaming, that a classifier could not learn: train has no image of it.
pub(super) struct Untrained {
    pub species: String,
    /// Splits in which it has images.
    pub elsewhere: Vec<Split>,
    /// Its folder in train, relative to the root, if there is one.
    pub folder: Option<String>,
    /// A species of train with nearly the same name.
    pub twin: Option<String>,
}

impl Untrained {
    pub(super) fn message(&self, options: &ScanOptions) -> String {
        let Untrained { species, elsewhere, folder, twin } = self;
        let mut text = match folder {
            Some(folder) => {
                format!("the species `{species}` has no image in `{}`", options.root.join(folder).display())
            }
            None => {
                let splits: Vec<&str> = elsewhere.iter().map(|s| options.splits.name(*s)).collect();
                let place = if splits.is_empty() { "an empty folder".into() } else { splits.join(" and ") };
                let train = &options.splits.train;
                format!("the species `{species}` is in {place} of `{}`, but not in {train}", options.root.display())
            }
        };
        if let Some(twin) = twin {
            text += &format!("; {} has `{twin}`, nearly the same name", options.splits.train);
        }
        text
    }
}

/// Species of valid or test that train spells a little differently: the name as found, and train's. What a recipe's
/// `rename` should hold.
///
/// # Errors
/// As [`scan`], where the folders cannot be listed.
pub fn misspelt(options: &ScanOptions) -> Result<Vec<(String, String)>> {
    let listing = listing::list(options)?;
    let untrained = missing_from_train(options, &listing);
    Ok(untrained.into_iter().filter_map(|one| Some((one.species, one.twin?))).collect())
}

/// The species, excluded ones aside, of which train has no image.
pub(super) fn missing_from_train(options: &ScanOptions, listing: &Listing) -> Vec<Untrained> {
    let mut all: BTreeMap<&str, Vec<&Folder>> = BTreeMap::new();
    for folder in &listing.folders {
        let species = options.species_of(&folder.name);
        if !options.excludes(species) {
            all.entry(species).or_default().push(folder);
        }
    }
    let has = |folders: &[&Folder], split| folders.iter().any(|f| f.split == split && !f.files.is_empty());
    // A folder that cannot be looked into is not empty; it is reported as unreadable.
    all.retain(|_, folders| folders.iter().any(|f| f.broken.is_empty() || !f.files.is_empty()));
    let trained = |folders: &[&Folder]| {
        folders.iter().any(|f| f.split == Split::Train && !(f.files.is_empty() && f.broken.is_empty()))
    };
    let names: Vec<&str> = all.iter().filter(|(_, f)| trained(f)).map(|(&name, _)| name).collect();
    all.iter()
        .filter(|(_, folders)| !trained(folders))
        .map(|(&species, folders)| Untrained {
            species: species.to_string(),
            elsewhere: [Split::Valid, Split::Test].into_iter().filter(|&split| has(folders, split)).collect(),
            folder: folders.iter().find(|f| f.split == Split::Train).map(|f| f.path.clone()),
            twin: twin(species, names.iter().copied()).map(str::to_string),
        })
        .collect()
}

#[cfg(test)]
#[path = "scan_tests.rs"]
mod tests;
