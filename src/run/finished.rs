//! What a finished build rested on, remembered, so that the next one sees by a walk of the trees alone that nothing is
//! due: it asks for the digests of the photos and of the emitted tree, for what the cache holds, and for the recipe.
//! Any difference, and the steps are walked as ever. Says nothing of what is due.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::dataset::digest;
use crate::dataset::scan::{Look, look};
use crate::error::{IoContext, Result};
use crate::plan::inputs::Digest;
use crate::plan::{Key, Step};
use crate::recipe::{Features, GeneratorKind, Recipe};
use crate::store::{self, Store};

use super::base::Base;
use super::ledger::SpeciesDue;
use super::power::Power;
use super::session::Session;
use super::tree::Present;
use super::{Options, Walked, lock, results, survey};

/// Changes with birdaug's sources, since other sources may mean other keys.
const SOURCES: &str = env!("BIRDAUG_SOURCES");

/// All that decides whether anything is due, and what a build that does nothing says.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Finished {
    /// Digests in hexadecimal, by what they are of.
    of: Of,
    species: Vec<SpeciesDue>,
    power: Option<Power>,
    notes: Vec<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Of {
    sources: String,
    recipe: String,
    files: String,
    results: String,
    cache: String,
    photos: String,
    tree: String,
}

/// What came of asking.
pub enum Asked {
    /// Nothing is due.
    Nothing(Walked),
    /// Something may be; the dataset, if it was looked at.
    Walk(Option<Look>),
}

/// Asks whether everything is as the last finished build left it; the cheap questions come first.
///
/// # Errors
/// Those of the scan: a dataset that cannot be used.
pub fn ask(recipe: &Recipe, store: &Store, options: &Options) -> Result<Asked> {
    if options.until != Step::Report || options.tensorboard.is_some() {
        return Ok(Asked::Walk(None));
    }
    let Some(finished) = read(&path(store, recipe)) else { return Ok(Asked::Walk(None)) };
    let same_here = || -> Result<bool> {
        Ok(finished.of.sources == SOURCES
            && finished.of.recipe == recipe_digest(recipe)
            && finished.of.files == files_digest(recipe, store, options.rehash)?
            && results::folder_digest(&recipe.report.out)?.is_some_and(|found| finished.of.results == hex(found))
            && finished.of.cache == hex(store.fingerprint()?))
    };
    if !same_here()? {
        return Ok(Asked::Walk(None));
    }
    let mut index = survey::photo_index(store, recipe, options);
    let look = look(&survey::scan_options(recipe), &mut index)?;
    index.save()?;
    if finished.of.photos != hex(look.digest()) {
        return Ok(Asked::Walk(Some(look)));
    }
    let mut index = survey::tree_index(store, recipe, options);
    let present = Present::look(&recipe.emit.out, &mut index)?;
    index.save()?;
    if present.and_then(|present| present.digest()).is_none_or(|digest| finished.of.tree != hex(digest)) {
        return Ok(Asked::Walk(Some(look)));
    }
    Ok(Asked::Nothing(Walked::nothing_due(
        finished.species,
        finished.power,
        results::read_headline(recipe),
        finished.notes,
    )))
}

/// Remembers a walk through all steps that left nothing due.
pub fn remember(session: &Session<'_>, notes: &[String]) -> Result<()> {
    let (Some(photos), Some(tree)) = (session.photos_digest, session.tree_digest) else { return Ok(()) };
    let (recipe, store) = (session.recipe, session.store);
    let Some(results) = results::folder_digest(&recipe.report.out)? else { return Ok(()) };
    let finished = Finished {
        of: Of {
            sources: SOURCES.to_string(),
            recipe: recipe_digest(recipe),
            files: files_digest(recipe, store, false)?,
            results: hex(results),
            cache: hex(store.fingerprint()?),
            photos: hex(photos),
            tree: hex(tree),
        },
        species: session.ledger.species.iter().map(SpeciesDue::when_made).collect(),
        power: session.power.clone(),
        notes: notes.to_vec(),
    };
    let path = path(store, recipe);
    if read(&path).as_ref() == Some(&finished) {
        return Ok(());
    }
    write(&path, &finished)
}

fn path(store: &Store, recipe: &Recipe) -> PathBuf {
    let mut path = super::session::last_path(store, recipe).into_os_string();
    path.push(".finished");
    path.into()
}

fn write(path: &Path, finished: &Finished) -> Result<()> {
    let text = serde_json::to_string(finished).map_err(|error| crate::error::Error::input(error.to_string()))?;
    store::write_with_sum(path, &text)
}

/// What was remembered; whatever is not as it was written is as good as nothing.
fn read(path: &Path) -> Option<Finished> {
    serde_json::from_str(&store::read_with_sum(path)?).ok()
}

/// What the recipe says, not how it says it.
fn recipe_digest(recipe: &Recipe) -> String {
    hex(*blake3::hash(format!("{:?}", recipe.meaning()).as_bytes()).as_bytes())
}

/// The other files that a build reads or leaves: names, checkpoint, start weights, Inception weights, the lock.
fn files_digest(recipe: &Recipe, store: &Store, rehash: bool) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    if let GeneratorKind::StableDiffusion(model) = &recipe.generator.kind {
        // What is wrong with it is said where it is needed.
        hasher.update(&Base::of_recipe(store, model, rehash, None).map_or([0; 32], |base| base.digest));
    }
    if let Features::Inception(path) = &recipe.filter.features {
        hasher.update(&digest::of_file(path).unwrap_or_default());
    }
    let names = recipe.dataset.root.join("birds.csv");
    for path in [Some(names), recipe.classifier.weights.clone(), Some(lock::path(recipe))] {
        let digest = match path.as_ref().map(std::fs::read) {
            None => None,
            Some(Ok(bytes)) => Some(blake3::hash(&bytes)),
            Some(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => None,
            Some(Err(error)) => return Err(error).doing("read", path.unwrap_or_default()),
        };
        hasher.update(digest.map_or([0; 32], |digest| *digest.as_bytes()).as_slice());
    }
    Ok(hex(*hasher.finalize().as_bytes()))
}

fn hex(digest: Digest) -> String {
    Key(digest).hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_or_a_cut_anywhere_is_as_good_as_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tiny.finished");
        let said = || "0a".to_string();
        let of = Of {
            sources: said(),
            recipe: said(),
            files: said(),
            results: said(),
            cache: said(),
            photos: said(),
            tree: said(),
        };
        let species = vec![SpeciesDue { name: "JAY".into(), real: 6, ..SpeciesDue::default() }];
        let finished = Finished { of, species, power: None, notes: vec!["a note".into()] };
        write(&path, &finished).unwrap();
        assert_eq!(read(&path), Some(finished));
        let whole = std::fs::read(&path).unwrap();
        for i in 0..whole.len() {
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[i] ^= 1 << bit;
                std::fs::write(&path, &damaged).unwrap();
                assert_eq!(read(&path), None, "bit {bit} of byte {i}");
            }
            std::fs::write(&path, &whole[..i]).unwrap();
            assert_eq!(read(&path), None, "cut to {i} bytes");
        }
    }
}
