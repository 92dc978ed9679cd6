//! FID's Inception network behind keys: each image's features are measured once for a file of weights, a way of resizing and a
//! precision, and then come from the cache. `metrics` and the filter share them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use image::RgbImage;
use tch::Device;

use crate::dataset::{digest, pillow};
use crate::error::{Error, IoContext, Result};
use crate::nn::device::Precision;
use crate::nn::inception::FEATURES;
use crate::nn::weights;
use crate::plan::inputs::{self, Digest};
use crate::plan::{Inputs, Step};
use crate::recipe::{self, Recipe};
use crate::score::features::Features;
use crate::score::inception::{BATCH, Extractor};
use crate::score::resize::Resize;
use crate::store::{Record, Store};

use super::progress::Progress;
use super::score::{features_from_bytes, features_to_bytes};
use super::session::{Mode, Session};
use super::stop;
use super::survey::Survey;

/// Images between two commits.
const CHUNK: usize = 64;

/// The network and everything that decides what comes out of it; no weights are read until they are needed.
pub struct Network {
    path: PathBuf,
    resize: Resize,
    precision: Precision,
    inputs: Inputs,
}

/// Blob and row of an image's features.
pub type Place = (Digest, usize);

impl Network {
    /// The network whose weights are in this file.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be read.
    pub fn new(path: &Path, resize: Resize, precision: Precision) -> Result<Network> {
        if !path.exists() {
            return Err(Error::input_help(
                format!("the weights `{}` do not exist", path.display()),
                "`make weights` fetches FID's and writes `weights/inception.safetensors`",
            ));
        }
        let weights = digest::of_file(path)?;
        let inputs = inputs::inception(weights, resize.name(), precision.name(), BATCH);
        Ok(Network { path: path.to_path_buf(), resize, precision, inputs })
    }

    /// Identifies it, in the keys of what is computed from its features.
    pub fn digest(&self) -> Digest {
        self.inputs.key().0
    }

    /// Identifies the weights' file.
    pub fn weights(&self) -> Digest {
        match self.inputs.get("filter.features") {
            Some(crate::plan::Value::Digest(digest)) => *digest,
            _ => Digest::default(),
        }
    }

    /// The key's inputs of an image's features.
    pub fn key(&self, image: Digest) -> Inputs {
        inputs::inception_features(image, &self.inputs)
    }

    /// The network, ready to be asked.
    ///
    /// # Errors
    /// A file that is not this network's weights, in words that name what is wrong; libtorch's.
    pub fn open(&self, device: Device) -> Result<Extractor> {
        let what = format!("`{}`", self.path.display());
        Extractor::new(read(&self.path)?, &what, self.resize, self.precision, device)
    }

    /// Where an image's features are; `None` if they are not in the cache.
    pub fn place(&self, store: &Store, image: Digest) -> Option<Place> {
        place(&store.hit(&self.key(image).key().0)?)
    }

    /// Measures images and keeps their features: `digests` of their files, of which `load` brings the pixels. Returns those
    /// that could not be brought, with the reason.
    ///
    /// # Errors
    /// Weights of another network, libtorch's, the cache's; [`Error::Interrupted`], with all chunks before it kept.
    pub fn measure(
        &self,
        at: &Workplace<'_>,
        digests: &[Digest],
        load: &(dyn Fn(usize) -> Result<RgbImage> + Sync),
    ) -> Result<Vec<(usize, Error)>> {
        let mut problems = Vec::new();
        if digests.is_empty() {
            return Ok(problems);
        }
        let extractor = self.open(at.device)?;
        let mut task = at.progress.task("features", digests.len(), "image");
        let (mut rows, mut values) = (Vec::new(), Vec::new());
        let keep = |rows: &mut Vec<usize>, values: &mut Vec<f32>| -> Result<()> {
            stop::check()?;
            if rows.is_empty() {
                return Ok(());
            }
            let blob = at.store.put(&features_to_bytes(FEATURES, values))?;
            let record = |(row, &i): (usize, &usize)| {
                let record = (at.blank)(&self.key(digests[i])).output("features", blob);
                record.inline((row as u64).to_le_bytes().to_vec())
            };
            at.store.commit(&rows.iter().enumerate().map(record).collect::<Vec<Record>>())?;
            rows.clear();
            values.clear();
            Ok(())
        };
        extractor.each(digests.len(), load, &mut |i, found| {
            match found {
                Ok(features) => {
                    if let Some(value) = features.iter().find(|value| !value.is_finite()) {
                        return Err(not_finite(*value));
                    }
                    rows.push(i);
                    values.extend_from_slice(features);
                }
                Err(error) => problems.push((i, error)),
            }
            if rows.len() == CHUNK {
                keep(&mut rows, &mut values)?;
            }
            task.advance(1);
            Ok(())
        })?;
        keep(&mut rows, &mut values)?;
        task.finish();
        Ok(problems)
    }
}

/// What measuring needs around it.
pub struct Workplace<'a> {
    pub store: &'a Store,
    pub progress: &'a Progress,
    pub device: Device,
    /// A record with the notes that all carry.
    pub blank: &'a dyn Fn(&Inputs) -> Record,
}

fn not_finite(value: f32) -> Error {
    Error::input_help(
        format!("the Inception network gives {value} for an image"),
        "its weights are damaged, or overflow: try fp32, or fetch them again with `make weights`",
    )
}

/// What a record says of an image's features.
pub fn place(record: &Record) -> Option<Place> {
    let row = record.inline.get(..8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)?;
    Some((record.blob("features")?, row as usize))
}

/// The features at these places, a row each.
///
/// # Errors
/// [`Error::Input`] naming a blob that is damaged: it is forgotten, and the next run makes it again.
pub fn gather(store: &Store, places: impl Iterator<Item = Place>) -> Result<Features> {
    let mut blobs: BTreeMap<Digest, Features> = BTreeMap::new();
    let (mut values, mut dims, mut rows) = (Vec::new(), 1, 0);
    for (blob, row) in places {
        if let Entry::Vacant(slot) = blobs.entry(blob) {
            let features = store.get(&blob)?.and_then(|bytes| features_from_bytes(&bytes));
            slot.insert(features.ok_or_else(|| {
                Error::input_help(
                    format!("the cached features `{}` were damaged", store.blob_path(&blob).display()),
                    "run this again: they are made again",
                )
            })?);
        }
        let features = &blobs[&blob];
        dims = features.dims;
        values.extend_from_slice(features.row(row));
        rows += 1;
    }
    Ok(Features { rows, dims, values })
}

/// The network that a recipe compares sets by; `None` where that is the classifier.
///
/// # Errors
/// As [`Network::new`].
pub fn of_recipe(recipe: &Recipe) -> Result<Option<Network>> {
    match &recipe.filter.features {
        recipe::Features::Classifier => Ok(None),
        recipe::Features::Inception(path) => Network::new(path, Resize::Clean, Precision::Fp32).map(Some),
    }
}

/// Says what is wrong with weights before anything rests on them. A file that was found whole is not read again.
///
/// # Errors
/// What [`convert`] says.
pub fn refuse_unusable(store: &Store, path: &Path) -> Result<()> {
    let network = Network::new(path, Resize::Clean, Precision::Fp32)?;
    if store.record(&network.digest()).is_none() {
        crate::nn::inception::canonical(read(path)?, &format!("`{}`", path.display()))?;
    }
    Ok(())
}

/// The train photos' features; `None` if planning and some are not there.
///
/// # Errors
/// Photos that cannot be read; what [`Network::measure`] says.
pub fn of_photos(session: &mut Session<'_>, survey: &Survey, network: &Network) -> Result<Option<Features>> {
    let photos = &survey.dataset.photos;
    let wanted: Vec<Digest> = survey.cut.train.iter().map(|&photo| photos[photo].digest).collect();
    session.used.extend(wanted.iter().map(|&digest| network.key(digest).key().0));
    session.note("inception", &network.inputs)?;
    for _ in 0..3 {
        let (mut seen, mut due) = (HashSet::new(), Vec::new());
        for (&photo, &digest) in survey.cut.train.iter().zip(&wanted) {
            if seen.insert(digest) && network.place(session.store, digest).is_none() {
                due.push(photo);
            }
        }
        if !due.is_empty() {
            let first = network.key(photos[due[0]].digest);
            let n = crate::text::count(due.len(), "train photo");
            session.ledger.due(Step::Scores, format!("{n} without Inception features"));
            session.ledger.pend(Step::Scores, "inception", &first, due.len());
            if session.mode == Mode::Plan {
                return Ok(None);
            }
            let blank = |inputs: &Inputs| session.blank(inputs);
            let at =
                Workplace { store: session.store, progress: session.progress, device: session.device, blank: &blank };
            let digests: Vec<Digest> = due.iter().map(|&photo| photos[photo].digest).collect();
            let load = |i: usize| unchanged(&survey.dataset.path(due[i]), &digests[i]);
            if let Some((_, error)) = network.measure(&at, &digests, &load)?.into_iter().next() {
                return Err(error);
            }
            session.ledger.made(Step::Scores, digests.len());
        }
        let places: Option<Vec<Place>> = wanted.iter().map(|&digest| network.place(session.store, digest)).collect();
        if let Some(Ok(features)) = places.map(|places| gather(session.store, places.into_iter())) {
            return Ok(Some(features));
        }
        session.report_damage();
    }
    Err(Error::input_help(
        format!("the cache `{}` loses the features that are written to it", session.store.dir().display()),
        "check the disk, or use another folder by `--cache DIR`",
    ))
}

/// The pixels of a file whose bytes are those that were hashed.
///
/// # Errors
/// A file that cannot be read, is no image, or has changed.
pub fn unchanged(path: &Path, wanted: &Digest) -> Result<RgbImage> {
    let bytes = std::fs::read(path).doing("read", path)?;
    if digest::of(&bytes) != *wanted {
        return Err(Error::input_help(
            format!("`{}` changes while it is read", path.display()),
            "let the program that writes it finish, then run again",
        ));
    }
    pillow::from_bytes(path, &bytes)
}

/// The tensors of a weights file: safetensors, or TorchScript.
///
/// # Errors
/// [`Error::Io`]; [`Error::Input`] for what is neither.
pub fn read(path: &Path) -> Result<weights::Named> {
    let bytes = std::fs::read(path).doing("read the weights", path)?;
    let what = format!("`{}`", path.display());
    match weights::is_archive(&bytes) {
        true => weights::from_torchscript(&bytes, &what),
        false => weights::from_bytes(&bytes, &what),
    }
}

/// Writes FID's weights from a file in any of their layouts as safetensors under pytorch-fid's names.
///
/// # Errors
/// A file that is not this network's weights; [`Error::Io`].
pub fn convert(from: &Path, to: &Path) -> Result<()> {
    let tensors = crate::nn::inception::canonical(read(from)?, &format!("`{}`", from.display()))?;
    if let Some(folder) = to.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).doing("make the folder", folder)?;
    }
    crate::store::write_atomically(to, &weights::to_bytes(&tensors)?)
}
