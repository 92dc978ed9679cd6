//! What is known of each candidate: its likeness to real photos and to its source, and what the real-only classifier
//! says of it. Each score is kept under its own key, so that a new threshold measures nothing again.

mod held_out;
mod references;

use std::time::Instant;

use image::RgbImage;
use rayon::prelude::*;

use crate::error::Result;
use crate::plan::inputs::{self, Digest};
use crate::plan::select::Scores;
use crate::plan::{Inputs, Step};
use crate::recipe::Recipe;
use crate::score::features::Features;
use crate::store::{Record, Store};
use crate::train::Classifier;

use super::make::{self, Wanted};
use super::model::Baseline;
use super::photos::InMemory;
use super::session::{Mode, Session};
use super::stop;
use super::survey::Survey;
use held_out::HeldOut;
use references::{Nearest, References};

pub use held_out::of_species as held_out_of_species;
pub use references::prepare;

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
    /// The photo of the species in valid or test that it is nearest to, where that is asked for.
    pub nearest_held_out: Option<Digest>,
    /// The species the classifier would name.
    pub named: usize,
    /// Blob and row of its features.
    pub features: (Digest, usize),
}

impl Scored {
    /// Of a candidate that is no image.
    pub fn nothing() -> Scored {
        let scores = Scores { copy: f64::NAN, source: None, held_out: None, confidence: f64::NAN, realism: None };
        Scored { scores, nearest: None, nearest_held_out: None, named: 0, features: (Digest::default(), 0) }
    }
}

/// What came of scoring.
pub enum Outcome {
    Scored(Vec<Scored>),
    /// Planning, and some score is not there.
    Due,
    /// A candidate's image was damaged: it is to be made again first.
    Lost,
}

/// Scores candidates, round after round.
pub struct Scorer {
    references: References,
    /// Where the recipe asks for it.
    held_out: Option<HeldOut>,
    /// Side of the squares that are compared.
    side: usize,
}

/// Side of the squares that a recipe's images and photos are compared at.
pub fn side(recipe: &Recipe) -> usize {
    recipe.generator.size.min(SIDE)
}

impl Scorer {
    /// For the recipe's candidates.
    pub fn new(session: &Session<'_>, survey: &Survey) -> Scorer {
        let side = side(session.recipe);
        let held_out = session.recipe.filter.held_out_max.map(|_| HeldOut::new(survey, side));
        Scorer { references: References::new(survey, side), held_out, side }
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
        let references = self.references.digests();
        let keys: Vec<Keys> = all
            .par_iter()
            .zip(records)
            .map(|(wanted, record)| {
                let image = record.blob("image").unwrap_or_default();
                let held_out = self.held_out.as_ref().and_then(|held_out| held_out.digest(wanted.species));
                Keys::new(image, references[wanted.species], held_out, self.side, wanted, baseline)
            })
            .collect();
        for keys in &keys {
            session.used.extend([&keys.copy, &keys.class].map(|inputs| inputs.key().0));
            session.used.extend(keys.source.iter().chain(&keys.held_out).map(|inputs| inputs.key().0));
        }
        let due: Vec<(usize, Due)> =
            keys.iter().map(|keys| keys.due(session)).enumerate().filter(|(_, due)| due.any()).collect();
        if !due.is_empty() {
            let reason = format!("{} not scored yet", crate::text::count(due.len(), "candidate"));
            session.ledger.due(Step::Scores, reason);
            session.ledger.pend(Step::Scores, "scores", &keys[due[0].0].class, due.len());
            if session.mode == Mode::Plan {
                return Ok(Outcome::Due);
            }
            if !self.measure(session, survey, baseline, all, records, &keys, &due)? {
                return Ok(Outcome::Lost);
            }
        }
        if session.mode == Mode::Build {
            let species = all.iter().map(|wanted| wanted.species).collect();
            self.references.note(session, survey, &species)?;
        }
        let scored: Option<Vec<Scored>> = keys.par_iter().map(|keys| keys.read(session.store)).collect();
        Ok(scored.map_or(Outcome::Lost, Outcome::Scored))
    }

    /// Measures what is due; false if an image was lost.
    #[allow(clippy::too_many_arguments)]
    fn measure(
        &mut self,
        session: &mut Session<'_>,
        survey: &Survey,
        baseline: &Baseline,
        all: &[Wanted],
        records: &[Record],
        keys: &[Keys],
        due: &[(usize, Due)],
    ) -> Result<bool> {
        let asks = due.iter().any(|(_, due)| due.class);
        let classifier = if asks { Some(baseline.open(session, survey)?) } else { None };
        let mut task = session.progress.task("scores", due.len(), "image");
        for chunk in due.chunks(CHUNK) {
            stop::check()?;
            let mut images = Vec::with_capacity(chunk.len());
            for &(i, _) in chunk {
                let Some(image) = make::pixels(session.store, &records[i])? else {
                    session.report_damage();
                    return Ok(false);
                };
                images.push(image);
            }
            let started = Instant::now();
            let mut done = Vec::new();
            if let Some(classifier) = &classifier {
                classify(session, classifier, all, keys, chunk, &images, &mut done)?;
            }
            for ((i, due), image) in chunk.iter().zip(&images) {
                if due.copy {
                    let known = |references| copy_of(session.store, &keys[*i], references, self.side);
                    let nearest = self.references.nearest(session, survey, all[*i].species, image, &known)?;
                    let (copy, of) = nearest.map_or((f64::NAN, [0; 32]), |nearest| (nearest.ssim, nearest.photo));
                    done.push(session.blank(&keys[*i].copy).inline([&copy.to_le_bytes()[..], &of].concat()));
                }
                if let (true, Some(inputs), Some(held_out)) = (due.held_out, &keys[*i].held_out, &mut self.held_out) {
                    let nearest = held_out.nearest(survey, all[*i].species, image)?;
                    let (ssim, of) = nearest.map_or((f64::NAN, [0; 32]), |nearest| (nearest.ssim, nearest.photo));
                    done.push(session.blank(inputs).inline([&ssim.to_le_bytes()[..], &of].concat()));
                }
                if let (true, Some(inputs), Some(source)) = (due.source, &keys[*i].source, all[*i].source) {
                    let source = prepare(&survey.photo_by_digest(&source)?, self.side)?;
                    let like = prepare(image, self.side)?.ssim(&source)?;
                    done.push(session.blank(inputs).inline(like.to_le_bytes().to_vec()));
                }
            }
            // Once an image, for the estimates of later plans.
            let seconds = format!("{:.5}", started.elapsed().as_secs_f64() / chunk.len() as f64);
            let done: Vec<Record> = done
                .into_iter()
                .map(|record| if record.outputs.is_empty() { record } else { record.note("seconds", &seconds) })
                .collect();
            session.store.commit(&done)?;
            session.ledger.made(Step::Scores, chunk.len());
            task.advance(chunk.len());
        }
        task.finish();
        Ok(true)
    }
}

/// What the classifier says of those of a chunk that it was not asked about, as records.
fn classify(
    session: &Session<'_>,
    classifier: &Classifier,
    all: &[Wanted],
    keys: &[Keys],
    chunk: &[(usize, Due)],
    images: &[RgbImage],
    done: &mut Vec<Record>,
) -> Result<()> {
    let (asked, images): (Vec<usize>, Vec<RgbImage>) =
        chunk.iter().zip(images).filter(|((_, due), _)| due.class).map(|((i, _), image)| (*i, image.clone())).unzip();
    if asked.is_empty() {
        return Ok(());
    }
    let classes: Vec<usize> = asked.iter().map(|&i| all[i].species).collect();
    let said = classifier.predict(&InMemory { images: &images, classes: &classes }, CLASSIFIER_BATCH)?;
    let features = session.store.put(&features_to_bytes(said.dims, &said.features))?;
    for (row, &i) in asked.iter().enumerate() {
        let inline = [
            &f64::from(said.row(row)[all[i].species]).to_le_bytes()[..],
            &(said.top(row) as u64).to_le_bytes(),
            &(row as u64).to_le_bytes(),
        ];
        done.push(session.blank(&keys[i].class).output("features", features).inline(inline.concat()));
    }
    Ok(())
}

/// The copy score that an image has against other references, if that is known.
fn copy_of(store: &Store, keys: &Keys, references: Digest, side: usize) -> Option<Nearest> {
    let record = store.hit(&inputs::copy_score(keys.image, references, side).key().0)?;
    nearest(&record.inline)
}

/// The records of one candidate's scores.
struct Keys {
    image: Digest,
    copy: Inputs,
    source: Option<Inputs>,
    held_out: Option<Inputs>,
    class: Inputs,
}

/// Which of them are not there.
#[derive(Clone, Copy)]
struct Due {
    copy: bool,
    source: bool,
    held_out: bool,
    class: bool,
}

impl Due {
    fn any(self) -> bool {
        self.copy || self.source || self.held_out || self.class
    }
}

impl Keys {
    fn new(
        image: Digest,
        references: Digest,
        held_out: Option<Digest>,
        side: usize,
        wanted: &Wanted,
        baseline: &Baseline,
    ) -> Keys {
        Keys {
            image,
            copy: inputs::copy_score(image, references, side),
            source: wanted.source.map(|source| inputs::source_score(image, source, side)),
            held_out: held_out.map(|photos| inputs::held_out_score(image, photos, side)),
            class: inputs::class_score(image, baseline.fitted.digest, wanted.species),
        }
    }

    fn due(&self, session: &Session<'_>) -> Due {
        let due = |inputs: &Inputs| !session.store.has_hit(&inputs.key().0);
        Due {
            copy: due(&self.copy),
            source: self.source.as_ref().is_some_and(due),
            held_out: self.held_out.as_ref().is_some_and(due),
            class: due(&self.class),
        }
    }

    fn read(&self, store: &Store) -> Option<Scored> {
        let inline = |inputs: &Inputs| store.hit(&inputs.key().0).map(|record| record.inline);
        let copy = nearest(&inline(&self.copy)?)?;
        let source = match &self.source {
            Some(inputs) => Some(real(&inline(inputs)?, 0)?),
            None => None,
        };
        let held_out = match &self.held_out {
            Some(inputs) => Some(nearest(&inline(inputs)?)?),
            None => None,
        };
        let class = store.hit(&self.class.key().0)?;
        let number = |at| class.inline.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
        Some(Scored {
            scores: Scores {
                copy: copy.ssim,
                source,
                held_out: held_out.map(|nearest| nearest.ssim),
                confidence: real(&class.inline, 0)?,
                realism: None,
            },
            nearest: (copy.photo != [0; 32]).then_some(copy.photo),
            nearest_held_out: held_out.map(|nearest| nearest.photo),
            named: number(8)? as usize,
            features: (class.blob("features")?, number(16)? as usize),
        })
    }
}

/// A copy score's bytes: the SSIM, then the photo's digest.
fn nearest(bytes: &[u8]) -> Option<Nearest> {
    Some(Nearest { ssim: real(bytes, 0)?, photo: bytes.get(8..40)?.try_into().ok()? })
}

fn real(bytes: &[u8], at: usize) -> Option<f64> {
    bytes.get(at..at + 8)?.try_into().ok().map(f64::from_le_bytes)
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
