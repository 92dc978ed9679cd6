//! The augmented tree: real photos linked, kept images encoded as the real ones are, the csv files beside them.

mod files;
mod tables;

use std::path::PathBuf;

use rayon::prelude::*;

use crate::dataset::encoding;
use crate::dataset::stat_index::StatIndex;
use crate::error::Result;
use crate::plan::inputs::{self, Digest, PhotoList};
use crate::plan::{Inputs, Key, Pattern, Step, Value};
use crate::store::Store;

use super::explain::Reason;
use super::gate::SetFigures;
use super::make;
use super::photos::Place;
use super::progress::Task;
use super::selection::{Candidate, Selection};
use super::session::{Mode, Session};
use super::stop;
use super::survey::{self, Survey};
use super::tree::{Indices, Present, Tree, Writer, Written};

/// A kept image as a file of the tree.
#[derive(Debug, Clone)]
pub struct Synthetic {
    pub species: usize,
    /// Of its candidate.
    pub key: Key,
    /// Whether it is no file of the tree, but one that only larger doses have.
    pub more: bool,
    /// The encoded file's blob.
    pub file: Digest,
}

/// The kept images in the dataset's file format, those of the tree first, then those that only larger doses have; `None`
/// if planning and some are not there.
pub fn encode(session: &mut Session<'_>, survey: &Survey, selection: &Selection) -> Result<Option<Vec<Synthetic>>> {
    let encoding = survey.encoding_digest()?;
    let in_tree = selection.kept().count();
    let kept: Vec<&Candidate> = selection.kept().chain(selection.kept_more()).collect();
    let pattern = Pattern::new(inputs::encoded(Digest::default(), encoding), &["image"]);
    let keys: Vec<Key> = kept.par_iter().map(|candidate| pattern.key(&[Value::Digest(candidate.image)])).collect();
    session.used.extend(keys.iter().map(|key| key.0));
    let store = session.store;
    let look_up = |key: &Key| store.hit_with(&key.0, |found| found.blob("file"));
    let mut files: Vec<Option<Digest>> = keys.par_iter().map(look_up).collect();
    let missing: Vec<usize> = (0..kept.len()).filter(|&i| files[i].is_none()).collect();
    if !missing.is_empty() {
        let n = crate::text::count(missing.len(), "image");
        let work = format!("{n} to be encoded as {}", survey.encoding);
        session.ledger.due(Step::Emit, Reason::of_any(&work, session.edits("encoded images")));
        if session.mode == Mode::Plan {
            return Ok(None);
        }
        for chunk in missing.chunks(256) {
            stop::check()?;
            let records = chunk
                .iter()
                .map(|&i| {
                    let image = make::pixels_of(store, &kept[i].image)?.ok_or_else(make::damaged_in_use)?;
                    let file = store.put(&encoding::encode(&survey.encoding, &image)?)?;
                    files[i] = Some(file);
                    let inputs = pattern.filled(&[Value::Digest(kept[i].image)]);
                    Ok(session.blank(&inputs).output("file", file))
                })
                .collect::<Result<Vec<_>>>()?;
            store.commit(&records)?;
        }
    }
    kept.iter()
        .zip(files)
        .enumerate()
        .map(|(place, (candidate, file))| {
            let file = file.ok_or_else(make::damaged_in_use)?;
            Ok(Synthetic { species: candidate.species, key: candidate.key, more: place >= in_tree, file })
        })
        .collect::<Result<Vec<_>>>()
        .map(Some)
}

/// Synthetic images as an arm trains on them.
pub fn trained_on<'s>(
    survey: &Survey,
    synthetic: impl IntoIterator<Item = &'s Synthetic>,
) -> (Vec<(Place, usize)>, PhotoList) {
    let mut list = PhotoList::default();
    let mut items = Vec::new();
    for image in synthetic {
        list.push(&image.file, &survey.dataset.species[image.species]);
        items.push((Place::Blob(image.file), image.species));
    }
    (items, list)
}

/// Writes the tree if it is not there as it should be.
pub fn emit(
    session: &mut Session<'_>,
    survey: &Survey,
    selection: &Selection,
    synthetic: &[Synthetic],
    figures: Option<&SetFigures>,
) -> Result<()> {
    let files = survey.cut.train.len() + survey.cut.valid.len() + survey.cut.test.len() + 3;
    let files = files + synthetic.iter().filter(|image| !image.more).count();
    let task = session.progress.task("emit", files, "file");
    let tree = files::tree(session, survey, selection, synthetic, figures)?;
    let inputs =
        Inputs::new("emit", 1).digest("tree", tree.digest()).text("emit.link", session.recipe.emit.link.name());
    session.tree_digest = Some(tree.digest());
    // Another tree than the last build's has to be written, whatever is there; the same one may be there still, and one
    // that was written before may be where this cache has not written yet.
    let last = session.last_key("emit");
    let may_be_there = match last {
        Some(last) => last == inputs.key(),
        None => session.store.has_hit(&inputs.key().0),
    };
    let reason = match may_be_there {
        true => difference(session, &tree)?,
        false if session.recipe.emit.out.exists() => Some(session.explain("emit", &inputs)),
        false => Some(is_not_there(session)),
    };
    let Some(reason) = reason else {
        return session.note("emit", &inputs);
    };
    session.ledger.due(Step::Emit, reason);
    if session.mode == Mode::Plan {
        return Ok(());
    }
    stop::check()?;
    write(session, &tree, may_be_there, task)?;
    session.ledger.made(Step::Emit, 1);
    session.note("emit", &inputs)
}

/// Where trees that were swapped out are kept for the next change.
pub fn trees(store: &Store) -> PathBuf {
    store.dir().join("trees")
}

/// How what is in the tree's place differs from the tree.
fn difference(session: &Session<'_>, tree: &Tree) -> Result<Option<Reason>> {
    let out = &session.recipe.emit.out;
    let mut index = survey::tree_index(session.store, session.recipe, session.options);
    let present = Present::look(out, &mut index)?;
    index.save()?;
    Ok(match present {
        Some(present) => present.difference(tree, out).map(Reason::from),
        None => Some(is_not_there(session)),
    })
}

fn is_not_there(session: &Session<'_>) -> Reason {
    Reason::from(format!("`{}` is not there", session.recipe.emit.out.display()))
}

/// Puts the tree in its place. `meddled`: somebody changed what the last build left there, so that nothing that is
/// remembered of it holds.
fn write(session: &Session<'_>, tree: &Tree, meddled: bool, task: Task<'_>) -> Result<()> {
    let out = &session.recipe.emit.out;
    let root = &session.recipe.dataset.root;
    let task = std::sync::Mutex::new(task);
    let writer = Writer {
        out,
        link: session.recipe.emit.link,
        spare: trees(session.store).join(survey::place_name(out)),
        whole: &|digest| Ok(session.store.get(digest)?.is_some()),
        each: &|files| task.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).advance(files),
    };
    let written = if meddled { writer.write_anew(tree) } else { writer.write(tree) };
    session.report_damage();
    if written? == Written::Anew {
        let mut index = survey::tree_index(session.store, session.recipe, session.options);
        let mut photos = StatIndex::load(&survey::stat_index_path(session.store, "photos", root));
        tree.settle(out, Indices { tree: &mut index, photos: &mut photos, root })?;
        index.save()?;
        photos.save()?;
    }
    task.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).finish();
    Ok(())
}
