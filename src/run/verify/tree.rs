//! The emitted tree against its manifest, the dataset, the lock and the cache. Reads every file.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use rayon::prelude::*;
use walkdir::WalkDir;

use crate::dataset::{Split, digest, encoding};
use crate::error::{Error, IoContext, Result};
use crate::plan::inputs::{self, Digest};
use crate::plan::{Key, Step};
use crate::recipe::Recipe;
use crate::run::lock::Lock;
use crate::run::make;
use crate::run::manifest::{self, Row};
use crate::run::session::Session;
use crate::run::survey::Survey;
use crate::run::tree::{Content, File, MARK, Tree};
use crate::text;

use super::Part;

/// Files of a tree that are no images.
const LISTS: [&str; 3] = ["birds.csv", MARK, "rejected.csv"];

/// A tree as it is on disk.
pub struct Emitted {
    root: PathBuf,
    /// Digest by path below the root.
    files: BTreeMap<String, Digest>,
    rows: Vec<Row>,
}

impl Emitted {
    /// Reads all files of the recipe's tree; `None` if there is none.
    pub fn read(recipe: &Recipe) -> Result<Option<Emitted>> {
        let root = recipe.emit.out.clone();
        if !root.exists() {
            return Ok(None);
        }
        let mut paths = Vec::new();
        for entry in WalkDir::new(&root).follow_links(true) {
            let entry = entry.map_err(|error| Error::input(error.to_string()))?;
            if !entry.file_type().is_dir() {
                paths.push(entry.into_path());
            }
        }
        let files = paths
            .par_iter()
            .map(|path| {
                let name = path.strip_prefix(&root).unwrap_or(path).to_string_lossy().into_owned();
                Ok((name, digest::of_file(path)?))
            })
            .collect::<Result<_>>()?;
        let rows = if root.join(MARK).is_file() { manifest::read(&root)? } else { Vec::new() };
        Ok(Some(Emitted { root, files, rows }))
    }

    /// The digest of the synthetic file that stands for a candidate.
    pub fn synthetic(&self, key: &Key) -> Option<Digest> {
        let hex = key.hex();
        let row = self.rows.iter().find(|row| row.key == hex)?;
        self.files.get(&row.path).copied()
    }

    fn digest(&self) -> Digest {
        let mut tree = Tree::default();
        for (path, &digest) in &self.files {
            tree.insert(path, File { content: Content::Bytes(Vec::new()), digest });
        }
        tree.digest()
    }
}

/// Compares the tree with everything that it should agree with.
pub fn check(session: &Session<'_>, survey: &Survey, lock: &Lock, tree: Option<&Emitted>) -> Result<Part> {
    let mut part = Part::new("tree");
    let out = session.recipe.emit.out.display();
    let Some(tree) = tree else {
        part.notes.push(format!("there is no tree at `{out}`"));
        return Ok(part);
    };
    part.checked = tree.files.len();
    against_manifest(tree, &mut part);
    against_dataset(tree, survey, &mut part);
    leaks(tree, &mut part);
    against_lock(tree, lock, &mut part);
    against_cache(session, survey, lock, tree, &mut part)?;
    let digest = tree.digest();
    if part.findings.is_empty() && lock.tree.is_some_and(|locked| locked != digest) {
        let locked = lock.tree.map_or(String::new(), |locked| Key(locked).short());
        part.find(format!("the files at `{out}` are together {}, the lock says {locked}", Key(digest).short()));
    }
    Ok(part)
}

/// Every file that is listed is there with its bytes, and nothing else is there.
fn against_manifest(tree: &Emitted, part: &mut Part) {
    let show = |path: &str| tree.root.join(path).display().to_string();
    let mut listed: HashSet<&str> = LISTS.into_iter().collect();
    for name in LISTS.iter().filter(|name| !tree.files.contains_key(**name)) {
        part.find(format!("`{}` is missing", show(name)));
    }
    for row in &tree.rows {
        listed.insert(&row.path);
        match tree.files.get(&row.path) {
            None => part.find(format!("`{}` is missing", show(&row.path))),
            Some(found) if Key(*found).hex() != row.digest => part.find(format!("`{}` was changed", show(&row.path))),
            Some(_) => {}
        }
    }
    for path in tree.files.keys().filter(|path| !listed.contains(path.as_str())) {
        part.find(format!("`{}` is not of this tree", show(path)));
    }
}

/// Real files are the photos of the cut, each in its split and species, byte for byte; no more, no fewer.
fn against_dataset(tree: &Emitted, survey: &Survey, part: &mut Part) {
    let dataset = &survey.dataset;
    let mut expected: HashMap<(&str, &str, String), Vec<usize>> = HashMap::new();
    for (split, photos) in
        [(Split::Train, &survey.cut.train), (Split::Valid, &survey.cut.valid), (Split::Test, &survey.cut.test)]
    {
        for &i in photos {
            let digest = Key(dataset.photos[i].digest).hex();
            expected.entry((split.name(), dataset.species_of(i), digest)).or_default().push(i);
        }
    }
    for row in tree.rows.iter().filter(|row| !row.is_synthetic()) {
        let found = expected.get_mut(&(row.split.as_str(), row.species.as_str(), row.digest.clone()));
        if found.and_then(Vec::pop).is_none() {
            let path = tree.root.join(&row.path);
            part.find(format!("`{}` is not the photo `{}` of the dataset", path.display(), row.source));
        }
        if !row.path.starts_with(&format!("{}/{}/", row.split, row.species)) {
            part.find(format!("`{}` is listed as {} of {}", row.path, row.species, row.split));
        }
    }
    let missing: BTreeSet<usize> = expected.into_values().flatten().collect();
    for i in missing {
        part.find(format!("the photo `{}` is not in the tree", dataset.path(i).display()));
    }
}

/// No synthetic image is tested on, and no test photo trained on.
fn leaks(tree: &Emitted, part: &mut Part) {
    let synthetic: HashSet<&str> =
        tree.rows.iter().filter(|row| row.is_synthetic()).map(|row| row.digest.as_str()).collect();
    let mut held_out: HashMap<Digest, &str> = HashMap::new();
    for (path, digest) in tree.files.iter().filter(|(path, _)| path.starts_with("valid/") || path.starts_with("test/"))
    {
        if synthetic.contains(Key(*digest).hex().as_str()) || path.contains("/synthetic-") {
            part.find(format!("`{}` is a synthetic image outside of train", tree.root.join(path).display()));
        }
        held_out.insert(*digest, path);
    }
    for (path, digest) in tree.files.iter().filter(|(path, _)| path.starts_with("train/")) {
        if let Some(other) = held_out.get(digest) {
            let path = tree.root.join(path);
            part.find(format!("`{}` is trained on and is `{other}`, byte for byte", path.display()));
        }
    }
}

/// The synthetic files are the candidates that the lock keeps.
fn against_lock(tree: &Emitted, lock: &Lock, part: &mut Part) {
    let mut kept: BTreeMap<String, &str> = lock
        .candidates()
        .filter(|candidate| candidate.image.kept())
        .map(|candidate| (candidate.key.hex(), candidate.species))
        .collect();
    for row in tree.rows.iter().filter(|row| row.is_synthetic()) {
        let path = tree.root.join(&row.path);
        match kept.remove(&row.key) {
            Some(species) if species == row.species && row.path.contains(&row.key[..12]) => {}
            Some(species) => part.find(format!("`{}` stands for a candidate of {species}", path.display())),
            None => part.find(format!("`{}` is not kept by the lock", path.display())),
        }
    }
    for (key, species) in kept {
        part.find(format!("the candidate {} of {species}, kept by the lock, is not in the tree", &key[..12]));
    }
}

/// Each synthetic file is its cached image in the dataset's encoding.
fn against_cache(session: &Session<'_>, survey: &Survey, lock: &Lock, tree: &Emitted, part: &mut Part) -> Result<()> {
    let encoding = survey.encoding_digest()?;
    let images: HashMap<String, Digest> =
        lock.candidates().map(|candidate| (candidate.key.hex(), candidate.image.digest)).collect();
    let rows: Vec<(&Row, Digest)> = tree.rows.iter().filter_map(|row| Some((row, *images.get(&row.key)?))).collect();
    let found = rows
        .par_iter()
        .map(|(row, image)| {
            let known = session.store.record(&inputs::encoded(*image, encoding).key().0);
            let file = match known.and_then(|record| record.blob("file")) {
                Some(file) => file,
                None => match std::fs::read(session.store.blob_path(image)) {
                    Ok(bytes) => {
                        let path = session.store.blob_path(image);
                        let pixels = make::from_png(&path, &bytes)?;
                        digest::of(&encoding::encode(&survey.encoding, &pixels)?)
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => return Err(error).doing("read", session.store.blob_path(image)),
                },
            };
            Ok(Some((tree.files.get(&row.path) == Some(&file)).then_some(()).ok_or(&row.path)))
        })
        .collect::<Result<Vec<_>>>()?;
    let unknown = found.iter().filter(|found| found.is_none()).count();
    for path in found.into_iter().flatten().filter_map(std::result::Result::err) {
        let step = Step::Emit.name();
        part.find(format!("`{}` is not what {step} makes of its image", tree.root.join(path).display()));
    }
    if unknown > 0 {
        part.notes.push(format!("{} whose images are not in the cache", text::count(unknown, "synthetic file")));
    }
    Ok(())
}
