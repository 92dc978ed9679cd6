//! Which files the augmented tree has, a folder at a time and all folders at once: at a quarter of a million files this
//! is most of what a small change costs. Writes nothing.

use std::collections::{BTreeMap, HashSet};

use rayon::prelude::*;

use crate::dataset::Split;
use crate::error::Result;
use crate::plan::Key;
use crate::plan::inputs::Digest;
use crate::run::gate::SetFigures;
use crate::run::selection::{Candidate, Selection};
use crate::run::session::Session;
use crate::run::survey::Survey;
use crate::run::tree::{Content, File, MARK, Tree};

use super::Synthetic;
use super::tables::{self, Tables};

/// A file of the tree as the csv files list it.
pub struct Row<'a> {
    pub name: String,
    pub digest: Digest,
    /// Real: its path in the dataset; synthetic: the path of the photo it was made from.
    pub source: String,
    pub candidate: Option<&'a Candidate>,
}

/// What one folder holds.
#[derive(Default)]
struct Folder<'a> {
    /// Indices into the dataset.
    photos: Vec<usize>,
    kept: Vec<(&'a Candidate, Digest)>,
}

/// The whole tree.
///
/// # Errors
/// A `birds.csv` of the dataset that cannot be read.
pub fn tree(
    session: &Session<'_>,
    survey: &Survey,
    selection: &Selection,
    synthetic: &[Synthetic],
    figures: Option<&SetFigures>,
) -> Result<Tree> {
    let dataset = &survey.dataset;
    let mut folders: BTreeMap<(Split, usize), Folder<'_>> = BTreeMap::new();
    for (split, photos) in
        [(Split::Train, &survey.cut.train), (Split::Valid, &survey.cut.valid), (Split::Test, &survey.cut.test)]
    {
        for &photo in photos.iter() {
            folders.entry((split, dataset.photos[photo].species as usize)).or_default().photos.push(photo);
        }
    }
    for (candidate, image) in selection.kept().zip(synthetic) {
        folders.entry((Split::Train, candidate.species)).or_default().kept.push((candidate, image.file));
    }
    // In the order of their files' paths: a `/` follows each folder's name.
    let mut folders: Vec<(String, (Split, usize), Folder<'_>)> = folders
        .into_iter()
        .map(|(at, folder)| (format!("{}/{}", at.0.name(), dataset.species[at.1]), at, folder))
        .collect();
    folders.sort_by_cached_key(|(path, ..)| format!("{path}/"));

    let shares = shares(selection, figures);
    let tables = Tables::new(&session.recipe.generator, &session.recipe.filter, survey, &shares)?;
    let whole: Vec<Whole> = folders
        .par_iter()
        .with_max_len(1)
        .map(|(folder, (split, species), content)| {
            let (files, rows) = files_of(session, survey, content);
            let (mut birds, mut manifest) = (Vec::new(), Vec::new());
            let mut path = format!("{folder}/");
            for row in &rows {
                path.truncate(folder.len() + 1);
                path.push_str(&row.name);
                tables.birds_row(&mut birds, &path, *split, *species);
                tables.manifest_row(&mut manifest, &path, *split, *species, row);
            }
            Whole { files, birds, manifest }
        })
        .collect();
    let (mut birds, mut manifest) = (tables::birds_head(), tables::manifest_head(&session.recipe.filter));
    birds.reserve_exact(whole.iter().map(|folder| folder.birds.len()).sum());
    manifest.reserve_exact(whole.iter().map(|folder| folder.manifest.len()).sum());
    let mut tree = Tree::default();
    for ((path, ..), whole) in folders.into_iter().zip(whole) {
        birds.extend(whole.birds);
        manifest.extend(whole.manifest);
        tree.insert_folder(path, whole.files);
    }
    tree.insert_bytes("birds.csv", birds);
    tree.insert_bytes(MARK, manifest);
    tree.insert_bytes("rejected.csv", tables.rejected(selection));
    Ok(tree)
}

/// A folder worked out: its files, and its part of the csv files.
struct Whole {
    files: BTreeMap<String, File>,
    birds: Vec<u8>,
    manifest: Vec<u8>,
}

/// A folder's files, and their rows in the order of their names.
fn files_of<'a>(session: &Session<'_>, survey: &Survey, folder: &Folder<'a>) -> (BTreeMap<String, File>, Vec<Row<'a>>) {
    let dataset = &survey.dataset;
    let ending = survey.encoding.format.ending();
    let mut taken: HashSet<&str> = HashSet::with_capacity(folder.photos.len());
    let mut all: Vec<(Row<'a>, Content)> = Vec::with_capacity(folder.photos.len() + folder.kept.len());
    for &i in &folder.photos {
        let photo = &dataset.photos[i];
        let name = photo.path.rsplit('/').next().unwrap_or(&photo.path);
        let name = if taken.insert(name) { name.to_string() } else { second_name(name, &photo.digest) };
        let row = Row { name, digest: photo.digest, source: photo.path.clone(), candidate: None };
        all.push((row, Content::Photo(dataset.path(i))));
    }
    for &(candidate, digest) in &folder.kept {
        let name = format!("synthetic-{}.{ending}", candidate.key.short());
        let source = candidate.source.and_then(|digest| survey.path_by_digest(&digest)).unwrap_or_default();
        let row = Row { name, digest, source, candidate: Some(candidate) };
        all.push((row, Content::Blob(session.store.blob_path(&digest))));
    }
    all.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    let (mut files, mut rows) = (Vec::with_capacity(all.len()), Vec::with_capacity(all.len()));
    for (row, content) in all {
        files.push((row.name.clone(), File { content, digest: row.digest }));
        rows.push(row);
    }
    (files.into_iter().collect(), rows)
}

/// A name with digits of the photo's digest, where its own is taken (merged folders, both test sets).
fn second_name(name: &str, digest: &Digest) -> String {
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, "jpg"));
    format!("{stem}-{}.{ending}", Key(*digest).short())
}

/// Each kept candidate's share in the Frechet distance, by key.
fn shares(selection: &Selection, figures: Option<&SetFigures>) -> BTreeMap<Key, f64> {
    let shares = figures.and_then(|figures| figures.shares.as_deref()).unwrap_or_default();
    selection.kept().zip(shares).map(|(candidate, &share)| (candidate.key, share)).collect()
}
