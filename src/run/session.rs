//! One walk through the steps, planning or building. Both take the same way through the same keys, so that a plan is
//! what a build does: where a build makes what is missing, a plan notes that it is due.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use crate::dataset::scan::Look;
use crate::dataset::{Dataset, Photo};
use crate::error::{Error, IoContext, Result};
use crate::nn::device;
use crate::plan::inputs::{Digest, PhotoList};
use crate::plan::key::Difference;
use crate::plan::{ENGINE, Inputs, Key, Step, Value};
use crate::recipe::Recipe;
use crate::store::{self, Record, Store};

use super::Options;
use super::changes::{self, PhotoChange, Seen, SpeciesRenamed};
use super::explain::{self, Cause, Reason};
use super::ledger::Ledger;
use super::lock::{self, Lock};
use super::offline;
use super::power::Power;
use super::progress::Progress;
use super::stop;

/// Whether missing work is done or noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Plan,
    Build,
}

/// What a walk carries from step to step.
pub struct Session<'a> {
    pub recipe: &'a Recipe,
    pub store: &'a Store,
    pub progress: &'a Progress,
    pub mode: Mode,
    pub device: tch::Device,
    pub options: &'a Options,
    pub ledger: Ledger,
    /// What the comparisons can show, once that is known.
    pub power: Option<Power>,
    /// The dataset's folders, if they were looked at before the first step.
    pub look: Option<Look>,
    /// Identifies the photos, once they are scanned.
    pub photos_digest: Option<Digest>,
    /// Keys that this walk rested on, besides those of the slots: what `cache gc` must not take.
    pub used: Vec<Digest>,
    /// Identifies the augmented tree, once it is known.
    pub tree_digest: Option<Digest>,
    /// What this walk must not change, under `--locked`.
    pub lock: Option<Lock>,
    /// The photos, once they are scanned: `why` names their files.
    pub dataset: Option<Arc<Dataset>>,
    /// The key that each named piece of work had at the end of the last build, for `why`.
    last: BTreeMap<String, String>,
    /// The same for this walk.
    now: BTreeMap<String, String>,
    /// Lists of photos that keys of this walk name by digest; a build also keeps them as blobs.
    lists: BTreeMap<Digest, Vec<u8>>,
    /// The last build's photos as [`seen_before`] reads them, once somebody asked.
    last_photos: OnceLock<String>,
    /// What changed in the dataset's files, likewise.
    file_changes: OnceLock<Vec<PhotoChange>>,
    /// Which of them renamed a whole species.
    species_renamed: OnceLock<Vec<SpeciesRenamed>>,
}

impl<'a> Session<'a> {
    /// A walk from the first step.
    pub fn new(
        recipe: &'a Recipe,
        store: &'a Store,
        progress: &'a Progress,
        mode: Mode,
        device: tch::Device,
        options: &'a Options,
    ) -> Result<Session<'a>> {
        let last = read_last(&last_path(store, recipe))?;
        let lock = options.locked.then(|| Lock::required(&lock::path(recipe))).transpose()?;
        Ok(Session {
            recipe,
            store,
            progress,
            mode,
            device,
            options,
            ledger: Ledger::default(),
            power: None,
            look: None,
            photos_digest: None,
            tree_digest: None,
            used: Vec::new(),
            lock,
            dataset: None,
            last,
            now: BTreeMap::new(),
            lists: BTreeMap::new(),
            last_photos: OnceLock::new(),
            file_changes: OnceLock::new(),
            species_renamed: OnceLock::new(),
        })
    }

    /// The record of a piece of work: from the cache, or made now and kept. Planning, a miss is noted under `step`
    /// and `None`. `slot` names the piece for people, the same in every build of the recipe.
    pub fn obtain(
        &mut self,
        step: Step,
        slot: &str,
        inputs: &Inputs,
        make: impl FnOnce(&mut Self, Record) -> Result<Record>,
    ) -> Result<Option<Record>> {
        let key = inputs.key();
        self.now.insert(slot.to_string(), key.hex());
        if let Some(record) = self.store.hit(&key.0) {
            return Ok(Some(record));
        }
        if let Some(shard) = self.options.shard {
            return Err(super::shard::refuse(slot, shard));
        }
        let reason = self.explain(slot, inputs);
        self.ledger.due(step, reason);
        self.ledger.pend(step, slot, inputs, 1);
        if self.mode == Mode::Plan {
            return Ok(None);
        }
        if self.options.offline {
            offline::refuse_fit(slot, inputs)?;
        }
        lock::refuse_new_fit(self, slot, inputs)?;
        stop::check()?;
        let started = Instant::now();
        let record =
            make(self, self.blank(inputs))?.note("seconds", &format!("{:.3}", started.elapsed().as_secs_f64()));
        self.store.commit(std::slice::from_ref(&record))?;
        self.ledger.made(step, 1);
        lock::refuse_fit(self, slot, &record)?;
        Ok(Some(record))
    }

    /// [`Session::obtain`] and the bytes of one of its blobs; a blob that turns out damaged is made again.
    pub fn obtain_bytes(
        &mut self,
        step: Step,
        slot: &str,
        inputs: &Inputs,
        blob: &str,
        mut make: impl FnMut(&mut Self, Record) -> Result<Record>,
    ) -> Result<Option<(Record, Vec<u8>)>> {
        for _ in 0..3 {
            let Some(record) = self.obtain(step, slot, inputs, &mut make)? else { return Ok(None) };
            let digest = record.blob(blob).ok_or_else(|| {
                Error::input(format!("the record of {slot} names no `{blob}`: forget it by `cache check`"))
            })?;
            if let Some(bytes) = self.store.get(&digest)? {
                return Ok(Some((record, bytes)));
            }
            self.report_damage();
        }
        Err(Error::input_help(
            format!("the cache `{}` loses what is written to it ({slot})", self.store.dir().display()),
            "check the disk, or use another folder by `--cache DIR`",
        ))
    }

    /// A record of these inputs with the notes that every record carries.
    pub fn blank(&self, inputs: &Inputs) -> Record {
        blank(inputs, self.device)
    }

    /// Why a piece of work has no record: what differs from the last build's, or that there was none.
    pub fn explain(&self, slot: &str, inputs: &Inputs) -> Reason {
        let old = self.last.get(slot).and_then(|hex| Key::from_hex(hex));
        let Some(old) = old else { return format!("{slot}: not made before").into() };
        if old == inputs.key() {
            return format!("{slot}: no longer in the cache").into();
        }
        let old = self.store.record(&old.0).and_then(|record| Inputs::decode(&record.inputs));
        let Some(old) = old else { return format!("{slot}: changed since the last build").into() };
        let mut causes = self.causes(&inputs.differences(&old));
        let mut edits = self.edits(slot);
        edits.retain(|edit| causes.iter().all(|cause| cause.field != edit.field));
        if !edits.is_empty() {
            // The recipe's digest says nothing that its edits don't.
            causes.retain(|cause| cause.field != "recipe");
        }
        causes.extend(edits);
        Reason::of(slot, causes)
    }

    /// Differences of keys, traced to the recipe's lines and to photos.
    pub fn causes(&self, differences: &[Difference]) -> Vec<Cause> {
        let trace = |change: &Difference| {
            let mut cause = explain::cause(self.recipe, change);
            if let (Some(Value::Digest(old)), Some(Value::Digest(new))) = (&change.old, &change.new)
                && cause.file.is_none()
            {
                cause.photos = match change.field.as_str() {
                    "dataset" | "tree" => self.file_changes().to_vec(),
                    field if field.ends_with("photos") => match self.photo_changes(old, new) {
                        // The same photos in another order: one has another name.
                        Some(none) if none.is_empty() => self.renamed(),
                        found => found.unwrap_or_default(),
                    },
                    _ => Vec::new(),
                };
            }
            cause
        };
        differences.iter().map(trace).collect()
    }

    /// Edits of the recipe since the last build that bear on a piece of work without standing in its key by name.
    pub fn edits(&self, slot: &str) -> Vec<Cause> {
        let tables: &[&str] = match slot {
            "candidates" => &["balance.", "filter.candidates", "dataset.", "split."],
            "select" | "set figures" | "encoded images" => &["filter.", "emit.encode", "balance."],
            "emit" => &["filter.", "emit.", "balance."],
            "compare" => &["compare.", "classifier.seeds"],
            "report" => &[""],
            // Which photos there are is the dataset's and the cut's business.
            _ => &["dataset.", "split."],
        };
        let new = explain::settings(self.recipe);
        let Some(old) = self.last_record("recipe").and_then(|record| Inputs::decode(&record.inputs)) else {
            return Vec::new();
        };
        let of_slot = |change: &&Difference| tables.iter().any(|table| change.field.starts_with(table));
        new.differences(&old).iter().filter(of_slot).map(|change| explain::edit(self.recipe, change)).collect()
    }

    /// Remembers a list whose digest enters keys, so that a later walk can say what changed in it.
    pub fn know(&mut self, list: &PhotoList) -> Result<()> {
        if self.mode == Mode::Build {
            self.store.put(list.bytes())?;
        }
        self.lists.insert(list.digest(), list.bytes().to_vec());
        Ok(())
    }

    /// In words, what changed between two lists of photos; `None` where one is not known any more.
    pub fn photos_changed(&self, old: Option<Digest>, new: Option<Digest>) -> Option<String> {
        self.photo_changes(&old?, &new?).map(|photos| changes::sentence(&photos))
    }

    fn photo_changes(&self, old: &Digest, new: &Digest) -> Option<Vec<PhotoChange>> {
        let (old, new) = (self.list(old)?, self.list(new)?);
        let last = self.last_photos();
        let files = self.file_changes();
        // Of photos that are byte for byte the same, those that came or went.
        let gone = files.iter().filter_map(|file| file.from.as_deref().or(file.path.as_deref())).collect();
        let come = files.iter().filter_map(|file| file.path.as_deref()).collect();
        let before =
            |hexes: &[&str]| changes::find(hexes, seen_before(last).map(|(path, seen)| (seen.digest, path)), &gone);
        let now = |hexes: &[&str]| {
            changes::find(hexes, self.photos().map(|photo| (Key(photo.digest).hex(), photo.path.as_str())), &come)
        };
        Some(changes::photos(&old, &new, &before, &now))
    }

    /// What changed in the dataset's files since the last build; nothing where that is not known.
    pub fn file_changes(&self) -> &[PhotoChange] {
        self.file_changes.get_or_init(|| {
            let last = self.last_photos();
            let (Some(dataset), false) = (&self.dataset, last.is_empty()) else { return Vec::new() };
            let hexes: Vec<String> = dataset.photos.iter().map(|photo| Key(photo.digest).hex()).collect();
            let now = dataset.photos.iter().zip(&hexes).map(|(photo, digest)| {
                (photo.path.as_str(), Seen { digest, species: &dataset.species[photo.species as usize] })
            });
            changes::files(&seen_before(last).collect::<Vec<_>>(), &now.collect::<Vec<_>>())
        })
    }

    /// Species that the last build knew by another name: folders renamed by case, spaces or altogether.
    pub fn species_renamed(&self) -> &[SpeciesRenamed] {
        self.species_renamed.get_or_init(|| {
            let moved = self.file_changes().iter().any(|change| change.was.is_some());
            let (Some(dataset), true) = (&self.dataset, moved) else { return Vec::new() };
            let last = self.last_photos();
            let old = seen_before(last).map(|(_, seen)| seen.species).collect();
            let new = dataset.species.iter().map(String::as_str).collect();
            changes::species_renamed(self.file_changes(), &old, &new)
        })
    }

    fn renamed(&self) -> Vec<PhotoChange> {
        self.file_changes().iter().filter(|photo| photo.change == "renamed").cloned().collect()
    }

    fn photos(&self) -> impl Iterator<Item = &Photo> {
        self.dataset.iter().flat_map(|dataset| &dataset.photos)
    }

    /// The last build's photos as [`seen_before`] reads them; empty where they are not known.
    fn last_photos(&self) -> &str {
        let read = || std::fs::read_to_string(photos_path(self.store, self.recipe)).unwrap_or_default();
        self.last_photos.get_or_init(read)
    }

    /// A list of photos by its digest, as `digest species` lines.
    pub fn list(&self, digest: &Digest) -> Option<String> {
        let bytes = self.lists.get(digest).cloned().or_else(|| self.store.get(digest).ok().flatten());
        bytes.and_then(|bytes| String::from_utf8(bytes).ok())
    }

    /// Whoever hears of models that are fetched, where they may be.
    pub fn may_fetch(&self) -> Option<&'a Progress> {
        (self.mode == Mode::Build && !self.options.offline).then_some(self.progress)
    }

    /// Says what the cache found damaged.
    pub fn report_damage(&self) {
        for line in self.store.damage() {
            self.progress.warn(&line);
        }
    }

    /// Remembers this walk's keys for the next one's reasons.
    pub fn remember(&self) -> Result<()> {
        self.remember_photos()?;
        let mut all = self.last.clone();
        // What was only asked for, before an error or Ctrl-C, explains nothing.
        let made = |key: &str| Key::from_hex(key).is_some_and(|key| self.store.record(&key.0).is_some());
        all.extend(self.now.iter().filter(|(_, key)| made(key)).map(|(slot, key)| (slot.clone(), key.clone())));
        if all == self.last {
            return Ok(());
        }
        let text: String = all.iter().map(|(slot, key)| format!("{key} {slot}\n")).collect();
        store::write_atomically(&last_path(self.store, self.recipe), text.as_bytes())
    }

    /// Remembers which photo had which path, so that the next change of one can be named by its file.
    fn remember_photos(&self) -> Result<()> {
        let (Some(dataset), Some(digest)) = (&self.dataset, self.photos_digest) else { return Ok(()) };
        let path = photos_path(self.store, self.recipe);
        let mut of = blake3::Hasher::new();
        of.update(&digest).update(dataset.species.join("\n").as_bytes());
        let head = format!("{}\n", of.finalize().to_hex());
        if starts_with(&path, &head) {
            return Ok(());
        }
        let mut text = head;
        for photo in &dataset.photos {
            let species = &dataset.species[photo.species as usize];
            text.push_str(&format!("{} {species}\t{}\n", Key(photo.digest).hex(), photo.path));
        }
        store::write_atomically(&path, text.as_bytes())
    }

    /// Names a piece of work of this walk, so that the next one can say what differs.
    pub fn mark(&mut self, slot: &str, key: &Key) {
        self.now.insert(slot.to_string(), key.hex());
    }

    /// Notes, for `cache gc`, which keys the recipe needs.
    pub fn note_uses(&self) -> Result<()> {
        let slots = self.now.values().filter_map(|hex| Key::from_hex(hex)).map(|key| key.0);
        self.store.note_uses(&use_name(&self.recipe.path), self.used.iter().copied().chain(slots).collect())
    }

    /// Every named piece of work of this walk with its key, by name.
    pub fn slots(&self) -> &BTreeMap<String, String> {
        &self.now
    }

    /// The key that a slot had at the end of the last build.
    pub fn last_key(&self, slot: &str) -> Option<Key> {
        self.last.get(slot).and_then(|hex| Key::from_hex(hex))
    }

    /// The record that a slot had at the end of the last build.
    pub fn last_record(&self, slot: &str) -> Option<Record> {
        self.last.get(slot).and_then(|hex| Key::from_hex(hex)).and_then(|key| self.store.record(&key.0))
    }

    /// The slot's key in this walk.
    pub fn key_of(&self, slot: &str) -> Option<&str> {
        self.now.get(slot).map(String::as_str)
    }

    /// Notes a slot whose output is computed each time and not cached.
    pub fn note(&mut self, slot: &str, inputs: &Inputs) -> Result<()> {
        let key = inputs.key();
        self.now.insert(slot.to_string(), key.hex());
        if self.mode == Mode::Build && self.store.record(&key.0).is_none() {
            self.store.commit(&[self.blank(inputs)])?;
        }
        Ok(())
    }
}

/// A record of these inputs with the notes that every record carries.
pub fn blank(inputs: &Inputs, device: tch::Device) -> Record {
    Record::of(inputs.encode())
        .note("engine", ENGINE)
        .note("libtorch", device::LIBTORCH)
        .note("device", &device::class(device))
}

/// The name under which the keys of the recipe at `path` are noted as needed.
pub fn use_name(path: &Path) -> String {
    // Recipes of one name in two folders share a cache without sharing their history.
    let place = blake3::hash(path.to_string_lossy().as_bytes()).to_hex();
    format!("{}-{}", path.file_stem().unwrap_or_default().to_string_lossy(), &place[..8])
}

/// Where the keys of the last build are remembered.
pub fn last_path(store: &Store, recipe: &Recipe) -> PathBuf {
    store.dir().join("last").join(use_name(&recipe.path))
}

fn photos_path(store: &Store, recipe: &Recipe) -> PathBuf {
    let mut path = last_path(store, recipe).into_os_string();
    path.push(".photos");
    path.into()
}

/// Photos by path out of `digest species<tab>path` lines; whatever else a line holds is passed over.
fn seen_before(lines: &str) -> impl Iterator<Item = (&str, Seen<'_>)> {
    lines.lines().filter_map(|line| {
        let (digest, rest) = line.split_once(' ')?;
        let (species, path) = rest.split_once('\t')?;
        Some((path, Seen { digest, species }))
    })
}

/// Whether a file begins with this text; the rest is not read.
fn starts_with(path: &std::path::Path, head: &str) -> bool {
    let mut found = vec![0; head.len()];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut found)).is_ok() && found == head.as_bytes()
}

fn read_last(path: &Path) -> Result<BTreeMap<String, String>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => String::new(),
        Err(error) => return Err(error).doing("read", path),
    };
    Ok(text.lines().filter_map(|line| line.split_once(' ')).map(|(key, slot)| (slot.into(), key.into())).collect())
}
