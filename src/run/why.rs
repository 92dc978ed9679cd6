//! `birdaug why`: a species, a key, or a file of an emitted tree, told from what the cache, the lock and the tree's own
//! lists say. Makes nothing; the reasons of stale steps are the plan's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::dataset::digest;
use crate::error::{Error, IoContext, Result};
use crate::plan::inputs;
use crate::plan::select::Verdict;
use crate::plan::{Inputs, Key, Step, Value};
use crate::recipe::Recipe;
use crate::store::{Record, Store};
use crate::text;

use super::lock::{self, Lock};
use super::manifest::{self, Row};
use super::progress::Progress;
use super::session::{Mode, Session};
use super::tree::MARK;
use super::{Options, choose, model, survey};

/// What is known of a species.
#[derive(Debug, Default, Serialize)]
pub struct SpeciesStory {
    pub name: String,
    pub real: usize,
    pub wanted: usize,
    /// Candidates needed now that are in the cache.
    pub cached: usize,
    pub to_make: usize,
    /// At most so many more, if the filter drops some.
    pub refill_at_most: usize,
    /// `None`: not known before what is due is done.
    pub looked_at: Option<usize>,
    pub kept: Option<usize>,
    /// How many were dropped, by the recipe's key behind the reason.
    pub dropped: BTreeMap<String, usize>,
    /// What the lock's build looked at and kept.
    pub in_lock: Option<(usize, usize)>,
    /// What keeps the species from being finished.
    pub due: Vec<String>,
}

/// Tells a species' story under a recipe.
///
/// # Errors
/// [`Error::Input`] for a name that the dataset does not have, with the nearest one.
pub fn species(recipe: &Recipe, store: &Store, name: &str) -> Result<SpeciesStory> {
    let options = Options { device: "cpu".to_string(), ..Options::default() };
    let progress = Progress::new(true);
    let mut session = Session::new(recipe, store, &progress, Mode::Plan, tch::Device::Cpu, &options)?;
    let survey = survey::survey(&mut session)?;
    let names = || survey.dataset.species.iter().map(String::as_str);
    let Some(at) = names().position(|species| species == name) else {
        let near = text::nearest(name, names());
        let help =
            near.map_or("names are the dataset's folder names".to_string(), |near| format!("did you mean `{near}`?"));
        return Err(Error::input_help(format!("the dataset has no species `{name}`"), help));
    };
    let baseline = model::baseline(&mut session, &survey)?;
    let selection = match model::generator(&mut session, &survey)? {
        Some(generator) => choose::choose(&mut session, &survey, &generator, baseline.as_ref(), Step::Select)?,
        None => None,
    };
    let row = session.ledger.species.get(at).cloned().unwrap_or_default();
    let mut story = SpeciesStory {
        name: name.to_string(),
        real: row.real,
        wanted: row.wanted,
        cached: row.cached,
        to_make: row.to_make,
        refill_at_most: row.refill,
        ..SpeciesStory::default()
    };
    if let Some(selection) = selection {
        let mine = || selection.candidates.iter().filter(|candidate| candidate.species == at);
        story.looked_at = Some(mine().count());
        story.kept = Some(mine().filter(|candidate| candidate.verdict.keeps()).count());
        for candidate in mine() {
            if let Verdict::Drop { reason, .. } = candidate.verdict {
                *story.dropped.entry(reason.name().to_string()).or_default() += 1;
            }
        }
    }
    if let Some(lock) = Lock::read(&lock::path(recipe))? {
        let mine = || lock.candidates().filter(|candidate| candidate.species == name);
        story.in_lock = Some((mine().count(), mine().filter(|candidate| candidate.image.kept()).count()));
    }
    for step in Step::ALL {
        let state = session.ledger.state(step);
        story.due.extend(state.reasons().iter().map(|reason| format!("{}: {reason}", step.name())));
    }
    Ok(story)
}

/// A record of the cache, taken apart.
#[derive(Debug, Serialize)]
pub struct RecordStory {
    pub key: String,
    pub kind: String,
    pub version: u32,
    /// In the order in which they enter the key.
    pub fields: Vec<(String, String)>,
    /// Name, digest, and whether the blob is in the cache.
    pub outputs: Vec<(String, String, bool)>,
    /// Bytes kept in the record itself, as hexadecimal digits.
    pub inline: String,
    /// Device, libtorch, seconds: what is no part of the key.
    pub notes: Vec<(String, String)>,
}

/// Every record whose key begins with these hexadecimal digits, by key.
///
/// # Errors
/// [`Error::Input`] where there is none.
pub fn keys(store: &Store, prefix: &str) -> Result<Vec<RecordStory>> {
    let prefix = prefix.to_lowercase();
    let mut found = Vec::new();
    store.load()?;
    for record in store.records() {
        if Key(record.key).hex().starts_with(&prefix) {
            found.push(record_story(store, &record));
        }
    }
    if found.is_empty() {
        return Err(Error::input_help(
            format!("the cache `{}` has no record whose key begins with `{prefix}`", store.dir().display()),
            "keys stand in manifest.csv, rejected.csv and the lock",
        ));
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

fn record_story(store: &Store, record: &Record) -> RecordStory {
    let inputs = Inputs::decode(&record.inputs);
    let (kind, version, fields) = match inputs {
        Some(inputs) => (inputs.kind, inputs.version, inputs.fields),
        None => ("unknown".to_string(), 0, Vec::new()),
    };
    RecordStory {
        key: Key(record.key).hex(),
        kind,
        version,
        fields: fields.iter().map(|(name, value)| (name.clone(), full(value))).collect(),
        outputs: record
            .outputs
            .iter()
            .map(|(name, digest)| (name.clone(), Key(*digest).hex(), store.has(digest)))
            .collect(),
        inline: record.inline.iter().map(|byte| format!("{byte:02x}")).collect(),
        notes: record.notes.clone(),
    }
}

/// A value with all of its digits, so that it can be asked for in turn.
fn full(value: &Value) -> String {
    match value {
        Value::Digest(digest) => Key(*digest).hex(),
        other => other.to_string(),
    }
}

/// Where a file of an emitted tree came from.
#[derive(Debug, Serialize)]
pub struct FileStory {
    pub path: String,
    /// Whether the file still has the bytes that the manifest gives it.
    pub changed: bool,
    /// The manifest's row, by column.
    pub manifest: BTreeMap<String, String>,
    /// A synthetic file's candidate, if the cache still knows it.
    pub candidate: Option<RecordStory>,
    /// The fit whose weights made it, likewise.
    pub generator: Option<RecordStory>,
    /// The other candidates from the same photo.
    pub siblings: Vec<Sibling>,
    /// What became of the species' candidates: `keep`, or the reason for which they were dropped.
    pub species_verdicts: BTreeMap<String, usize>,
}

/// Another candidate from the same photo.
#[derive(Debug, Serialize)]
pub struct Sibling {
    pub key: String,
    pub seed: String,
    /// `keep`, or the reason for which it was dropped with its number.
    pub verdict: String,
}

/// The root of the emitted tree that a file is in, and its path below it.
pub fn tree_of(file: &Path) -> Option<(PathBuf, String)> {
    let absolute = std::path::absolute(file).ok()?;
    let root = absolute.ancestors().skip(1).find(|folder| folder.join(MARK).is_file())?;
    let below = absolute.strip_prefix(root).ok()?.to_string_lossy().into_owned();
    Some((root.to_path_buf(), below))
}

/// Tells a file's story from its tree's lists and the cache; needs no recipe.
///
/// # Errors
/// [`Error::Input`] for a file that is in no tree, or not listed there.
pub fn file(store: &Store, file: &Path) -> Result<FileStory> {
    let Some((root, path)) = tree_of(file) else {
        return Err(Error::input_help(
            format!("`{}` is in no emitted tree", file.display()),
            "a tree is a folder with birdaug's `manifest.csv`",
        ));
    };
    let rows = manifest::read(&root)?;
    let row = rows.iter().find(|row| row.path == path).ok_or_else(|| {
        Error::input_help(
            format!("`{}` is not listed in `{}`", file.display(), root.join(MARK).display()),
            "birdaug did not write it; `birdaug verify` names every such file",
        )
    })?;
    let changed = match digest::of_file(file) {
        Ok(found) => Key(found).hex() != row.digest,
        Err(_) if !file.exists() => return Err(std::io::Error::from(std::io::ErrorKind::NotFound)).doing("read", file),
        Err(error) => return Err(error),
    };
    let mut story = FileStory {
        path: file.display().to_string(),
        changed,
        manifest: row.fields.clone(),
        candidate: None,
        generator: None,
        siblings: Vec::new(),
        species_verdicts: BTreeMap::new(),
    };
    if !row.is_synthetic() {
        return Ok(story);
    }
    store.load()?;
    if let Some(record) = Key::from_hex(&row.key).and_then(|key| store.record(&key.0)) {
        story.generator = generator(store, &record);
        story.candidate = Some(record_story(store, &record));
    }
    relatives(&root, &rows, row, &mut story)?;
    Ok(story)
}

/// The fit whose weights a candidate's key names.
fn generator(store: &Store, candidate: &Record) -> Option<RecordStory> {
    let Some(Value::Digest(weights)) = Inputs::decode(&candidate.inputs)?.get("generator").cloned() else {
        return None;
    };
    let names = |record: &Record| {
        let Some(found) = record.blob("weights") else { return false };
        // A LoRA's own digest enters keys together with its checkpoint's.
        let base = || Inputs::decode(&record.inputs)?.get("generator.model").cloned();
        found == weights || matches!(base(), Some(Value::Digest(base)) if inputs::fine_tuned(base, found) == weights)
    };
    let fit = store.records().into_iter().find(names)?;
    Some(record_story(store, &fit))
}

/// Siblings and counts out of the tree's two lists.
fn relatives(root: &Path, rows: &[Row], row: &Row, story: &mut FileStory) -> Result<()> {
    let rejected = manifest::rejected(root)?;
    let kept = rows.iter().filter(|other| other.is_synthetic()).map(|other| (&other.fields, "keep".to_string()));
    let dropped = rejected.iter().map(|fields| {
        let field = |name: &str| fields.get(name).map_or("", String::as_str);
        (fields, format!("{} ({}, threshold {})", field("reason"), field("value"), field("threshold")))
    });
    for (fields, verdict) in kept.chain(dropped) {
        let field = |name: &str| fields.get(name).map_or("", String::as_str);
        if field("species") != row.species {
            continue;
        }
        let reason = verdict.split(' ').next().unwrap_or_default().to_string();
        *story.species_verdicts.entry(reason).or_default() += 1;
        let same_source = !row.source.is_empty() && field("source") == row.source;
        if same_source && field("key") != row.key {
            story.siblings.push(Sibling { key: field("key").to_string(), seed: field("seed").to_string(), verdict });
        }
    }
    Ok(())
}
