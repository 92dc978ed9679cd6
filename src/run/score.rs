//! What is known of each candidate: its likeness to real photos and to its source, and what the real-only classifier
//! says of it. Each score is kept under its own key, so that a new threshold measures nothing again.

use image::RgbImage;
use rayon::prelude::*;

use crate::dataset::{Split, decode};
use crate::error::Result;
use crate::plan::inputs::{self, Digest, PhotoList};
use crate::plan::select::Scores;
use crate::plan::{Inputs, Step};
use crate::score::features::Features;
use crate::score::ssim::{self, Prepared};
use crate::store::Record;

use super::make::{self, Wanted};
use super::model::Baseline;
use super::photos::InMemory;
use super::session::{Mode, Session};
use super::stop;
use super::survey::Survey;

/// Likeness is measured at the generator's size, but at most at so many pixels a side.
const SIDE: usize = 64;
/// Candidates scored between two commits.
const CHUNK: usize = 128;
/// Images the classifier looks at together; fixed, since an image's bits depend on it.
pub const CLASSIFIER_BATCH: usize = 32;

/// A candidate's scores, and where its features are.
#[derive(Debug, Clone)]
pub struct Scored {
    pub scores: Scores,
    /// The real photo it is nearest to.
    pub nearest: Option<Digest>,
    /// The species the classifier would name.
    pub named: usize,
    /// Blob and row of its features.
    pub features: (Digest, usize),
}

/// What came of scoring.
pub enum Outcome {
    Scored(Vec<Scored>),
    /// Planning, and some score is not there.
    Due,
    /// A candidate's image was damaged: it is to be made again first.
    Lost,
}

/// The real photos as references, prepared when they are first needed.
pub struct Scorer {
    held_out: PhotoList,
    species: Vec<PhotoList>,
    side: usize,
    held_out_prepared: Option<Vec<(Digest, Prepared)>>,
}

impl Scorer {
    /// References of every species: all of its train photos, and all photos of valid and test.
    pub fn new(survey: &Survey) -> Scorer {
        let mut held_out = PhotoList::default();
        let mut species = vec![PhotoList::default(); survey.dataset.species.len()];
        for (i, photo) in survey.dataset.photos.iter().enumerate() {
            let list = if photo.split == Split::Train { &mut species[photo.species as usize] } else { &mut held_out };
            list.push(&photo.digest, survey.dataset.species_of(i));
        }
        Scorer { held_out, species, side: SIDE, held_out_prepared: None }
    }

    /// Scores of all candidates, in order.
    pub fn score(
        &mut self,
        session: &mut Session<'_>,
        survey: &Survey,
        baseline: &Baseline,
        all: &[Wanted],
        records: &[Record],
    ) -> Result<Outcome> {
        self.side = session.recipe.generator.size.min(SIDE);
        let held_out = self.held_out.digest();
        let references: Vec<Digest> =
            self.species.iter().map(|list| *blake3::hash(&[list.digest(), held_out].concat()).as_bytes()).collect();
        let keys: Vec<Keys> = all
            .iter()
            .zip(records)
            .map(|(wanted, record)| self.keys(wanted, record, references[wanted.species], baseline))
            .collect();
        let missing: Vec<usize> = (0..all.len()).filter(|&i| !keys[i].all_there(session)).collect();
        if !missing.is_empty() {
            let reason = format!("{} not scored yet", crate::text::count(missing.len(), "candidate"));
            session.ledger.due(Step::Scores, reason);
            if session.mode == Mode::Plan {
                return Ok(Outcome::Due);
            }
            if !self.measure(session, survey, baseline, all, records, &keys, &missing)? {
                return Ok(Outcome::Lost);
            }
        }
        let scored: Option<Vec<Scored>> = keys.iter().map(|keys| keys.read(session)).collect();
        Ok(scored.map_or(Outcome::Lost, Outcome::Scored))
    }

    fn keys(&self, wanted: &Wanted, record: &Record, references: Digest, baseline: &Baseline) -> Keys {
        let image = record.blob("image").unwrap_or_default();
        Keys {
            copy: inputs::copy_score(image, references, self.side),
            source: wanted.source.map(|source| inputs::source_score(image, source, self.side)),
            class: inputs::class_score(image, baseline.fitted.digest, wanted.species),
        }
    }

    /// Measures what is missing; false if an image was lost.
    #[allow(clippy::too_many_arguments)]
    fn measure(
        &mut self,
        session: &mut Session<'_>,
        survey: &Survey,
        baseline: &Baseline,
        all: &[Wanted],
        records: &[Record],
        keys: &[Keys],
        missing: &[usize],
    ) -> Result<bool> {
        let classifier = baseline.open(session, survey)?;
        let mut task = session.progress.task("scores", missing.len(), "image");
        let mut references: Option<(usize, Vec<(Digest, Prepared)>)> = None;
        let side = self.side;
        for chunk in missing.chunks(CHUNK) {
            stop::check()?;
            let mut images = Vec::with_capacity(chunk.len());
            for &i in chunk {
                let Some(image) = make::pixels(session.store, &records[i])? else {
                    session.report_damage();
                    return Ok(false);
                };
                images.push(image);
            }
            let classes: Vec<usize> = chunk.iter().map(|&i| all[i].species).collect();
            let said = classifier.predict(&InMemory { images: &images, classes: &classes }, CLASSIFIER_BATCH)?;
            let features = session.store.put(&features_to_bytes(said.dims, &said.features))?;
            let mut done = Vec::new();
            for (row, &i) in chunk.iter().enumerate() {
                let species = all[i].species;
                if references.as_ref().is_none_or(|(of, _)| *of != species) {
                    references = Some((species, self.prepare_species(survey, species)?));
                }
                let own = references.as_ref().map_or(&[][..], |(_, own)| own);
                let candidate = prepare(&images[row], side)?;
                let held_out = self.held_out(survey)?;
                let many: Vec<&Prepared> = own.iter().chain(held_out).map(|(_, prepared)| prepared).collect();
                let nearest = ssim::nearest(&candidate, &many, true)?;
                let (copy, of) = nearest.map_or((f64::NAN, [0; 32]), |nearest| {
                    let digest = own.iter().chain(held_out).nth(nearest.index).map_or([0; 32], |(digest, _)| *digest);
                    (nearest.ssim, digest)
                });
                done.push(session.blank(&keys[i].copy).inline([&copy.to_le_bytes()[..], &of].concat()));
                if let (Some(inputs), Some(source)) = (&keys[i].source, all[i].source) {
                    let source = prepare(&survey.photo_by_digest(&source)?, side)?;
                    done.push(session.blank(inputs).inline(candidate.ssim(&source)?.to_le_bytes().to_vec()));
                }
                let inline = [
                    &f64::from(said.row(row)[species]).to_le_bytes()[..],
                    &(said.top(row) as u64).to_le_bytes(),
                    &(row as u64).to_le_bytes(),
                ];
                done.push(session.blank(&keys[i].class).output("features", features).inline(inline.concat()));
            }
            session.store.commit(&done)?;
            session.ledger.made(Step::Scores, chunk.len());
            task.advance(chunk.len());
        }
        task.finish();
        Ok(true)
    }

    fn held_out(&mut self, survey: &Survey) -> Result<&[(Digest, Prepared)]> {
        if self.held_out_prepared.is_none() {
            let photos = photos_where(survey, |i| survey.dataset.photos[i].split != Split::Train);
            self.held_out_prepared = Some(prepare_all(survey, &photos, self.side)?);
        }
        Ok(self.held_out_prepared.as_deref().unwrap_or_default())
    }

    fn prepare_species(&self, survey: &Survey, species: usize) -> Result<Vec<(Digest, Prepared)>> {
        let photos = photos_where(survey, |i| {
            let photo = &survey.dataset.photos[i];
            photo.split == Split::Train && photo.species as usize == species
        });
        prepare_all(survey, &photos, self.side)
    }
}

/// The records of one candidate's scores.
struct Keys {
    copy: Inputs,
    source: Option<Inputs>,
    class: Inputs,
}

impl Keys {
    fn all_there(&self, session: &Session<'_>) -> bool {
        let there = |inputs: &Inputs| session.store.hit(&inputs.key().0).is_some();
        there(&self.copy) && self.source.as_ref().is_none_or(there) && there(&self.class)
    }

    fn read(&self, session: &Session<'_>) -> Option<Scored> {
        let inline = |inputs: &Inputs| session.store.hit(&inputs.key().0).map(|record| record.inline);
        let copy = inline(&self.copy)?;
        let nearest: Digest = copy.get(8..40)?.try_into().ok()?;
        let source = match &self.source {
            Some(inputs) => Some(real(&inline(inputs)?, 0)?),
            None => None,
        };
        let class = session.store.hit(&self.class.key().0)?;
        let number = |at| class.inline.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
        Some(Scored {
            scores: Scores { copy: real(&copy, 0)?, source, confidence: real(&class.inline, 0)? },
            nearest: (nearest != [0; 32]).then_some(nearest),
            named: number(8)? as usize,
            features: (class.blob("features")?, number(16)? as usize),
        })
    }
}

fn real(bytes: &[u8], at: usize) -> Option<f64> {
    bytes.get(at..at + 8)?.try_into().ok().map(f64::from_le_bytes)
}

fn photos_where(survey: &Survey, is_meant: impl Fn(usize) -> bool) -> Vec<usize> {
    (0..survey.dataset.photos.len()).filter(|&i| is_meant(i)).collect()
}

fn prepare(image: &RgbImage, side: usize) -> Result<Prepared> {
    Prepared::new(&decode::square(image, side as u32))
}

fn prepare_all(survey: &Survey, photos: &[usize], side: usize) -> Result<Vec<(Digest, Prepared)>> {
    photos
        .par_iter()
        .map(|&i| {
            let image = decode::photo(&survey.dataset.path(i))?;
            Ok((survey.dataset.photos[i].digest, prepare(&image, side)?))
        })
        .collect()
}

/// Features as a blob: the number of dimensions, then the rows, little-endian.
pub fn features_to_bytes(dims: usize, values: &[f32]) -> Vec<u8> {
    let mut bytes = (dims as u64).to_le_bytes().to_vec();
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    bytes
}

/// The features that [`features_to_bytes`] wrote; `None` for other bytes.
pub fn features_from_bytes(bytes: &[u8]) -> Option<Features> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    let (values, _) = rest.as_chunks::<4>();
    Features::new(u64::from_le_bytes(*head) as usize, values.iter().map(|b| f32::from_le_bytes(*b)).collect()).ok()
}
