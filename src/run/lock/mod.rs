//! `recipes/NAME.lock`: what a finished build rested on and what it made, enough to prove both again where the cache is
//! empty. Knows what stands in a lock; [`text`] knows how it is spelled, [`compare`] in what two differ, [`hold`] what
//! `--locked` refuses.

mod compare;
mod hold;
mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::dataset::digest;
use crate::error::{Error, IoContext, Result};
use crate::plan::inputs::Digest;
use crate::plan::{ENGINE, Key, Step};
use crate::recipe::{Features, GeneratorKind, Recipe};
use crate::store::{self, Record};

use super::base::Base;
use super::selection::Selection;
use super::session::{Mode, Session};
use super::survey::Survey;

pub use compare::Change;
pub(super) use hold::{begin, begin_changes, refuse_fit, refuse_new_fit, refuse_selection, refused, selection_changes};

/// The promises of a build as data. Everything is sorted; there are no counts, times or paths of this machine in it, so
/// that two branches that change different things merge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// birdaug's version, for people.
    pub engine: String,
    /// BLAKE3 of what the dataset gave: `encoding`, and the lists `photos` (all), `test`, `train`, `valid` (of the cut).
    pub dataset: BTreeMap<String, Digest>,
    /// Paths and bytes of the emitted tree.
    pub tree: Option<Digest>,
    /// Files of weights that the recipe names.
    pub weights: BTreeMap<String, Digest>,
    /// What was fitted, by the name that people see.
    pub models: BTreeMap<String, Fitted>,
    /// Every candidate that was looked at, by where it was made and what it shows.
    pub candidates: BTreeMap<Machine, BTreeMap<String, BTreeMap<Key, Image>>>,
}

/// What decides the bits of a network's answer beside its inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Machine {
    /// Device class, as [`crate::nn::device::class`] says it.
    pub device: String,
    pub libtorch: String,
}

impl Machine {
    /// Where a record was made.
    pub fn of(record: &Record) -> Machine {
        Machine::noted(|name| record.noted(name))
    }

    fn noted<'r>(note: impl Fn(&str) -> Option<&'r str>) -> Machine {
        let noted = |name| note(name).unwrap_or("unknown").to_string();
        Machine { device: noted("device"), libtorch: noted("libtorch") }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, libtorch {}", self.device, self.libtorch)
    }
}

/// A fitted network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fitted {
    pub key: Key,
    /// Of its weights.
    pub weights: Digest,
    pub machine: Machine,
}

/// A candidate's image and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    pub digest: Digest,
    pub fate: Fate,
}

/// What became of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is in the tree.
    Keep,
    /// Only arms with a larger dose train on it.
    More,
    Drop,
}

impl Fate {
    const ALL: [Fate; 3] = [Fate::Keep, Fate::More, Fate::Drop];

    /// As the lock has it.
    fn name(self) -> &'static str {
        match self {
            Fate::Keep => "keep",
            Fate::More => "more",
            Fate::Drop => "drop",
        }
    }
}

impl Image {
    /// Whether it is in the tree.
    pub fn kept(&self) -> bool {
        self.fate == Fate::Keep
    }
}

/// A candidate as the lock knows it.
#[derive(Debug, Clone, Copy)]
pub struct Locked<'l> {
    pub key: Key,
    pub species: &'l str,
    pub machine: &'l Machine,
    pub image: Image,
}

impl Lock {
    /// The lock at `path`; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Input`] for another format, or a file that is no lock, with the line.
    pub fn read(path: &Path) -> Result<Option<Lock>> {
        match std::fs::read_to_string(path) {
            Ok(text) => text::parse(&text, path).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).doing("read", path),
        }
    }

    /// [`Lock::read`] where there has to be one.
    pub fn required(path: &Path) -> Result<Lock> {
        Lock::read(path)?.ok_or_else(|| {
            Error::Differs(format!("there is no lock `{}`; a complete `birdaug build` writes it", path.display()))
        })
    }

    /// What a lock of this walk says.
    pub(super) fn of(session: &Session<'_>, survey: &Survey, selection: &Selection) -> Result<Lock> {
        let mut lock = Lock {
            engine: ENGINE.to_string(),
            dataset: dataset(survey)?,
            weights: weights(session)?,
            tree: session.tree_digest,
            ..Lock::default()
        };
        for (slot, hex) in session.slots() {
            let Some(record) = Key::from_hex(hex).and_then(|key| session.store.record(&key.0)) else { continue };
            if let Some(weights) = record.blob("weights") {
                let fitted = Fitted { key: Key(record.key), weights, machine: Machine::of(&record) };
                lock.models.insert(slot.clone(), fitted);
            }
        }
        lock.select(session, survey, selection);
        Ok(lock)
    }

    /// Takes the candidates of a selection.
    fn select(&mut self, session: &Session<'_>, survey: &Survey, selection: &Selection) {
        let (tree, more) = (selection.candidates.iter(), selection.more.iter());
        for (candidate, kept) in tree.map(|one| (one, Fate::Keep)).chain(more.map(|one| (one, Fate::More))) {
            let machine =
                session.store.record_with(&candidate.key.0, |found| Some(Machine::noted(|name| found.noted(name))));
            let fate = if candidate.verdict.keeps() { kept } else { Fate::Drop };
            let image = Image { digest: candidate.image, fate };
            let species = &survey.dataset.species[candidate.species];
            let by_species = self.candidates.entry(machine.unwrap_or_default()).or_default();
            match by_species.get_mut(species) {
                Some(images) => images.insert(candidate.key, image),
                None => by_species.entry(species.clone()).or_default().insert(candidate.key, image),
            };
        }
    }

    /// The same candidates without where they were made.
    fn made_anywhere(self) -> Lock {
        let mut candidates: BTreeMap<String, BTreeMap<Key, Image>> = BTreeMap::new();
        for (species, images) in self.candidates.into_values().flatten() {
            candidates.entry(species).or_default().extend(images);
        }
        Lock { candidates: BTreeMap::from([(Machine::default(), candidates)]), ..self }
    }

    /// Every candidate, in no order that means anything.
    pub fn candidates(&self) -> impl Iterator<Item = Locked<'_>> {
        self.candidates.iter().flat_map(|(machine, by_species)| {
            by_species.iter().flat_map(move |(species, images)| {
                images.iter().map(move |(&key, &image)| Locked { key, species, machine, image })
            })
        })
    }

    /// Which bytes a key stands for: of two caches that hold different ones, the lock's are right.
    pub fn outputs(&self) -> impl Iterator<Item = (Key, Digest)> {
        let models = self.models.values().map(|fitted| (fitted.key, fitted.weights));
        models.chain(self.candidates().map(|candidate| (candidate.key, candidate.image.digest)))
    }
}

/// The lock beside a recipe.
pub fn path(recipe: &Recipe) -> PathBuf {
    recipe.path.with_extension("lock")
}

/// Ends a complete build: writes its lock, if that says something new; under `--locked` refuses what is new.
pub(super) fn finish(session: &mut Session<'_>, survey: &Survey, selection: &Selection) -> Result<()> {
    let path = path(session.recipe);
    if session.mode == Mode::Plan {
        // Where other work is due the lock follows it.
        let other = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some("is not there"),
            Err(error) => return Err(error).doing("read", &path),
            Ok(_) if session.ledger.any_due() => None,
            Ok(text) => (text != text::render(&Lock::of(session, survey, selection)?)).then_some("is not this build's"),
        };
        if let Some(what) = other {
            session.ledger.due(Step::Report, format!("the lock `{}` {what}", path.display()));
        }
        return Ok(());
    }
    let lock = Lock::of(session, survey, selection)?;
    if let Some(held) = &session.lock {
        return refused(session, &lock.changes_from(held));
    }
    let text = text::render(&lock);
    match std::fs::read_to_string(&path) {
        Ok(old) if old == text => return Ok(()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).doing("read", &path),
        _ => {}
    }
    store::write_atomically(&path, text.as_bytes())?;
    if session.ledger.made_in_all() == 0 {
        session.ledger.made(Step::Report, 1);
    }
    Ok(())
}

/// What the dataset gave, as digests.
pub(super) fn dataset(survey: &Survey) -> Result<BTreeMap<String, Digest>> {
    let mut photos = blake3::Hasher::new();
    for (i, photo) in survey.dataset.photos.iter().enumerate() {
        photos.update(photo.split.name().as_bytes());
        photos.update(&photo.digest);
        photos.update(survey.dataset.species_of(i).as_bytes());
        photos.update(b"\n");
    }
    Ok(BTreeMap::from([
        ("encoding".to_string(), survey.encoding_digest()?),
        ("photos".to_string(), *photos.finalize().as_bytes()),
        ("test".to_string(), survey.test_list.digest()),
        ("train".to_string(), survey.train_list.digest()),
        ("valid".to_string(), survey.valid_list.digest()),
    ]))
}

/// Digests of the weights that the recipe names.
pub(super) fn weights(session: &Session<'_>) -> Result<BTreeMap<String, Digest>> {
    let recipe = session.recipe;
    let mut paths: Vec<&Path> = recipe.classifier.weights.iter().map(PathBuf::as_path).collect();
    if let Features::Inception(path) = &recipe.filter.features {
        paths.push(path);
    }
    let mut weights: BTreeMap<String, Digest> = paths
        .into_iter()
        .map(|path| Ok((path.display().to_string(), digest::of_file(path)?)))
        .collect::<Result<_>>()?;
    if let GeneratorKind::StableDiffusion(model) = &recipe.generator.kind {
        weights.insert(model.model.clone(), Base::of_recipe(session.store, model, false, session.may_fetch())?.digest);
    }
    Ok(weights)
}
