//! What is known of each candidate: its likeness to real photos and to its source, and what the real-only classifier
//! says of it. Each score is kept under its own key, so that a new threshold measures nothing again.

mod references;

use std::time::Instant;

use image::RgbImage;
use rayon::prelude::*;

use crate::error::Result;
use crate::plan::inputs::{self, Digest};
use crate::plan::select::Scores;
use crate::plan::{Inputs, Step};
use crate::score::features::Features;
use crate::score::inception::Extractor;
use crate::store::{Record, Store};
use crate::train::Classifier;

use super::inception;
use super::make::{self, Wanted};
use super::model::Baseline;
use super::photos::InMemory;
use super::session::{Mode, Session};
use super::stop;
use super::survey::Survey;
use references::{Nearest, References, prepare};

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
    /// Blob and row of its features, by the network that sets are compared by.
    pub features: (Digest, usize),
}

impl Scored {
    /// Of a candidate that is no image.
    pub fn nothing() -> Scored {
        let scores = Scores { copy: f64::NAN, source: None, confidence: f64::NAN };
        Scored { scores, nearest: None, named: 0, features: (Digest::default(), 0) }
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
    /// Side of the squares that are compared.
    side: usize,
}

impl Scorer {
    /// For the recipe's candidates.
    pub fn new(session: &Session<'_>, survey: &Survey) -> Scorer {
        let side = session.recipe.generator.size.min(SIDE);
        Scorer { references: References::new(survey, side), side }
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
                Keys::new(image, references[wanted.species], self.side, wanted, baseline)
            })
            .collect();
        for keys in &keys {
            session.used.extend([&keys.copy, &keys.class].map(|inputs| inputs.key().0));
            session.used.extend(keys.source.as_ref().map(|inputs| inputs.key().0));
            session.used.extend(keys.inception.as_ref().map(|inputs| inputs.key().0));
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
        let network = baseline.inception.as_ref().filter(|_| due.iter().any(|(_, due)| due.inception));
        let extractor = network.map(|network| network.open(session.device)).transpose()?;
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
            if let Some(extractor) = &extractor {
                inception_features(session, extractor, keys, chunk, &images, &mut done)?;
            }
            for ((i, due), image) in chunk.iter().zip(&images) {
                if due.copy {
                    let known = |references| copy_of(session.store, &keys[*i], references, self.side);
                    let nearest = self.references.nearest(session, survey, all[*i].species, image, &known)?;
                    let (copy, of) = nearest.map_or((f64::NAN, [0; 32]), |nearest| (nearest.ssim, nearest.photo));
                    done.push(session.blank(&keys[*i].copy).inline([&copy.to_le_bytes()[..], &of].concat()));
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

/// Inception features of those of a chunk that lack them, as records.
fn inception_features(
    session: &Session<'_>,
    extractor: &Extractor,
    keys: &[Keys],
    chunk: &[(usize, Due)],
    images: &[RgbImage],
    done: &mut Vec<Record>,
) -> Result<()> {
    let lacking: Vec<(&Inputs, &RgbImage)> = chunk
        .iter()
        .zip(images)
        .filter(|((_, due), _)| due.inception)
        .filter_map(|((i, _), image)| Some((keys[*i].inception.as_ref()?, image)))
        .collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let images: Vec<RgbImage> = lacking.iter().map(|(_, image)| (*image).clone()).collect();
    let features = extractor.features(&images)?;
    features.check("the candidates", 1)?;
    let blob = session.store.put(&features_to_bytes(features.dims, &features.values))?;
    for (row, (inputs, _)) in lacking.into_iter().enumerate() {
        done.push(session.blank(inputs).output("features", blob).inline((row as u64).to_le_bytes().to_vec()));
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
    class: Inputs,
    /// Of the Inception network's features, where sets are compared by those.
    inception: Option<Inputs>,
}

/// Which of them are not there.
#[derive(Clone, Copy)]
struct Due {
    copy: bool,
    source: bool,
    class: bool,
    inception: bool,
}

impl Due {
    fn any(self) -> bool {
        self.copy || self.source || self.class || self.inception
    }
}

impl Keys {
    fn new(image: Digest, references: Digest, side: usize, wanted: &Wanted, baseline: &Baseline) -> Keys {
        Keys {
            image,
            copy: inputs::copy_score(image, references, side),
            source: wanted.source.map(|source| inputs::source_score(image, source, side)),
            class: inputs::class_score(image, baseline.fitted.digest, wanted.species),
            inception: baseline.inception.as_ref().map(|network| network.key(image)),
        }
    }

    fn due(&self, session: &Session<'_>) -> Due {
        let due = |inputs: &Inputs| !session.store.has_hit(&inputs.key().0);
        Due {
            copy: due(&self.copy),
            source: self.source.as_ref().is_some_and(due),
            class: due(&self.class),
            inception: self.inception.as_ref().is_some_and(due),
        }
    }

    fn read(&self, store: &Store) -> Option<Scored> {
        let inline = |inputs: &Inputs| store.hit(&inputs.key().0).map(|record| record.inline);
        let copy = nearest(&inline(&self.copy)?)?;
        let source = match &self.source {
            Some(inputs) => Some(real(&inline(inputs)?, 0)?),
            None => None,
        };
        let class = store.hit(&self.class.key().0)?;
        let number = |at| class.inline.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes);
        Some(Scored {
            scores: Scores { copy: copy.ssim, source, confidence: real(&class.inline, 0)? },
            nearest: (copy.photo != [0; 32]).then_some(copy.photo),
            named: number(8)? as usize,
            features: match &self.inception {
                Some(inputs) => inception::place(&store.hit(&inputs.key().0)?)?,
                None => (class.blob("features")?, number(16)? as usize),
            },
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
