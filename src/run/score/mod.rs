//! What is known of each candidate: its likeness to real photos and to its source, and what the real-only classifier
//! says of it. Each score is kept under its own key, so that a new threshold measures nothing again.

mod copies;
mod held_out;
mod references;

use std::time::Instant;

use image::RgbImage;
use rayon::prelude::*;

use crate::error::Result;
use crate::plan::inputs::{self, Digest};
use crate::plan::select::Scores;
use crate::plan::{Inputs, Key, Pattern, Step, Value};
use crate::recipe::Recipe;
use crate::score::features::Features;
use crate::score::inception::Extractor;
use crate::store::{Record, Store, View};
use crate::train::Classifier;

use super::explain::{Cause, Reason};
use super::inception;
use super::make::{self, Wanted};
use super::model::Baseline;
use super::photos::InMemory;
use super::session::{Mode, Session};
use super::stop;
use super::survey::Survey;
use copies::Copies;
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
    /// The real photo but its source that it is a copy of, or the next to one, where that is asked for.
    pub nearest_alike: Option<Digest>,
    /// The species the classifier would name.
    pub named: usize,
    /// Blob and row of its features.
    pub features: (Digest, usize),
}

impl Scored {
    /// Of a candidate that is no image.
    pub fn nothing() -> Scored {
        let (copy, confidence) = (f64::NAN, f64::NAN);
        let scores = Scores { copy, source: None, held_out: None, likeness: None, confidence, realism: None };
        let (nearest, nearest_held_out, nearest_alike) = (None, None, None);
        Scored { scores, nearest, nearest_held_out, nearest_alike, named: 0, features: (Digest::default(), 0) }
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
    /// Likewise.
    copies: Option<Copies>,
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
        let references = References::new(survey, side);
        let copies = session.recipe.filter.copy_max.map(|_| Copies::new(&references));
        Scorer { references, held_out, copies, side }
    }

    /// Scores of all candidates, in order.
    pub fn score(
        &mut self,
        session: &mut Session<'_>,
        survey: &Survey,
        baseline: &Baseline,
        all: &[Wanted],
        images: &[Digest],
    ) -> Result<Outcome> {
        let references = self.references.digests();
        let mut asked = Asked::new(&references, self.held_out_digests(survey), self.side, baseline);
        asked.likeness = self.copies.is_some().then_some(references);
        let keys: Vec<Keys> =
            all.par_iter().zip(images).map(|(wanted, &image)| asked.keys(image, wanted, baseline)).collect();
        for keys in &keys {
            session.used.extend([keys.copy.0, keys.class.0]);
            let more = [keys.source, keys.held_out, keys.likeness, keys.inception];
            session.used.extend(more.into_iter().flatten().map(|key| key.0));
        }
        let store = session.store;
        let mut found: Vec<Look> = keys.par_iter().map(|keys| keys.look_up(store)).collect();
        let due: Vec<(usize, Due)> = found.iter().map(Look::due).enumerate().filter(|(_, due)| due.any()).collect();
        if !due.is_empty() {
            let work = format!("{} not scored yet", crate::text::count(due.len(), "candidate"));
            let photos = session.file_changes().to_vec();
            let causes = match photos.is_empty() {
                true => Vec::new(),
                false => vec![Cause { field: "photos".into(), photos, ..Cause::default() }],
            };
            session.ledger.due(Step::Scores, Reason::of_any(&work, causes));
            let first = due[0].0;
            session.ledger.pend(Step::Scores, "scores", &asked.class(images[first], &all[first]), due.len());
            if session.mode == Mode::Plan {
                return Ok(Outcome::Due);
            }
            if !self.measure(session, survey, baseline, all, images, &asked, &due)? {
                return Ok(Outcome::Lost);
            }
            for &(i, _) in &due {
                found[i] = keys[i].look_up(store);
            }
        }
        if session.mode == Mode::Build {
            let species = all.iter().map(|wanted| wanted.species).collect();
            self.references.note(session, survey, &species)?;
        }
        let scored: Option<Vec<Scored>> = found.into_iter().map(Look::scored).collect();
        Ok(scored.map_or(Outcome::Lost, Outcome::Scored))
    }

    /// Identifies each species' held-out photos; `None` where they are not asked about, or there are none.
    fn held_out_digests(&self, survey: &Survey) -> Vec<Option<Digest>> {
        let species = 0..survey.dataset.species.len();
        species.map(|species| self.held_out.as_ref().and_then(|held_out| held_out.digest(species))).collect()
    }

    /// Measures what is due; false if an image was lost.
    #[allow(clippy::too_many_arguments)]
    fn measure(
        &mut self,
        session: &mut Session<'_>,
        survey: &Survey,
        baseline: &Baseline,
        all: &[Wanted],
        images_of: &[Digest],
        asked: &Asked,
        due: &[(usize, Due)],
    ) -> Result<bool> {
        let asks = due.iter().any(|(_, due)| due.class);
        let classifier = if asks { Some(baseline.open(session, survey)?) } else { None };
        let network = baseline.inception.as_ref().filter(|_| due.iter().any(|(_, due)| due.inception));
        let extractor = network.map(|network| network.open(session.device)).transpose()?;
        let mut task = session.progress.task("scores", due.len(), "image");
        for chunk in due.chunks(CHUNK) {
            stop::check()?;
            let mut candidates = Vec::with_capacity(chunk.len());
            for (i, due) in chunk {
                let digest = images_of[*i];
                let Some(image) = make::pixels_of(session.store, &digest)? else {
                    session.report_damage();
                    return Ok(false);
                };
                candidates.push(Unscored { wanted: &all[*i], digest, image, due });
            }
            let started = Instant::now();
            let mut done = Vec::new();
            if let Some(classifier) = &classifier {
                done.extend(classify(session, classifier, asked, &candidates)?);
            }
            if let (Some(extractor), Some(network)) = (&extractor, network) {
                done.extend(inception_features(session, network, extractor, &candidates)?);
            }
            if let Some(copies) = &mut self.copies {
                done.extend(likenesses(session, survey, copies, asked, &candidates)?);
            }
            for Unscored { wanted, digest, image, due } in &candidates {
                if due.copy {
                    let known = |references| copy_of(session.store, *digest, references, self.side);
                    let nearest = self.references.nearest(session, survey, wanted.species, image, &known)?;
                    let (copy, of) = nearest.map_or((f64::NAN, [0; 32]), |nearest| (nearest.ssim, nearest.photo));
                    let record = session.blank(&asked.copy(*digest, wanted));
                    done.push(record.inline([&copy.to_le_bytes()[..], &of].concat()));
                }
                if let (true, Some(inputs), Some(held_out)) =
                    (due.held_out, asked.held_out(*digest, wanted), &mut self.held_out)
                {
                    let nearest = held_out.nearest(survey, wanted.species, image)?;
                    let (ssim, of) = nearest.map_or((f64::NAN, [0; 32]), |nearest| (nearest.ssim, nearest.photo));
                    done.push(session.blank(&inputs).inline([&ssim.to_le_bytes()[..], &of].concat()));
                }
                if let (true, Some(source)) = (due.source, wanted.source) {
                    let inputs = inputs::source_score(*digest, source, self.side);
                    let source = prepare(&survey.photo_by_digest(&source)?, self.side)?;
                    let like = prepare(image, self.side)?.ssim(&source)?;
                    done.push(session.blank(&inputs).inline(like.to_le_bytes().to_vec()));
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

/// A candidate of which something is to be measured.
struct Unscored<'c> {
    wanted: &'c Wanted,
    digest: Digest,
    image: RgbImage,
    due: &'c Due,
}

/// What the classifier says of those that it was not asked about, as records.
fn classify(
    session: &Session<'_>,
    classifier: &Classifier,
    asked: &Asked,
    candidates: &[Unscored<'_>],
) -> Result<Vec<Record>> {
    let (chosen, images): (Vec<&Unscored<'_>>, Vec<RgbImage>) =
        candidates.iter().filter(|one| one.due.class).map(|one| (one, one.image.clone())).unzip();
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let classes: Vec<usize> = chosen.iter().map(|one| one.wanted.species).collect();
    let said = classifier.predict(&InMemory { images: &images, classes: &classes }, CLASSIFIER_BATCH)?;
    let features = session.store.put(&features_to_bytes(said.dims, &said.features))?;
    let record = |(row, one): (usize, &&Unscored<'_>)| {
        let inline = [
            &f64::from(said.row(row)[one.wanted.species]).to_le_bytes()[..],
            &(said.top(row) as u64).to_le_bytes(),
            &(row as u64).to_le_bytes(),
        ];
        let record = session.blank(&asked.class(one.digest, one.wanted));
        record.output("features", features).inline(inline.concat())
    };
    Ok(chosen.iter().enumerate().map(record).collect())
}

/// How like those that were not asked about are to real photos, as records.
fn likenesses(
    session: &Session<'_>,
    survey: &Survey,
    copies: &mut Copies,
    asked: &Asked,
    candidates: &[Unscored<'_>],
) -> Result<Vec<Record>> {
    let lacking: Vec<&Unscored<'_>> = candidates.iter().filter(|one| one.due.likeness).collect();
    let mut done = Vec::with_capacity(lacking.len());
    for group in lacking.chunk_by(|a, b| a.wanted.species == b.wanted.species) {
        let images: Vec<(&RgbImage, Option<Digest>)> =
            group.iter().map(|one| (&one.image, one.wanted.source)).collect();
        for (one, alike) in group.iter().zip(copies.likest(survey, group[0].wanted.species, &images)?) {
            let Some(inputs) = asked.likeness(one.digest, one.wanted) else { continue };
            let (score, of) = alike.map_or((0.0, [0; 32]), |alike| (alike.score, alike.photo));
            done.push(session.blank(&inputs).inline([&score.to_le_bytes()[..], &of].concat()));
        }
    }
    Ok(done)
}

/// Inception features of those that lack them, as records.
fn inception_features(
    session: &Session<'_>,
    network: &inception::Network,
    extractor: &Extractor,
    candidates: &[Unscored<'_>],
) -> Result<Vec<Record>> {
    let (lacking, images): (Vec<Digest>, Vec<RgbImage>) =
        candidates.iter().filter(|one| one.due.inception).map(|one| (one.digest, one.image.clone())).unzip();
    if lacking.is_empty() {
        return Ok(Vec::new());
    }
    let features = extractor.features(&images)?;
    features.check("the candidates", 1)?;
    let blob = session.store.put(&features_to_bytes(features.dims, &features.values))?;
    let record = |(row, image): (usize, Digest)| {
        session.blank(&network.key(image)).output("features", blob).inline((row as u64).to_le_bytes().to_vec())
    };
    Ok(lacking.into_iter().enumerate().map(record).collect())
}

/// The copy score that an image has against other references, if that is known.
fn copy_of(store: &Store, image: Digest, references: Digest, side: usize) -> Option<Nearest> {
    store.hit_with(&inputs::copy_score(image, references, side).key().0, |found| nearest(found.inline))
}

/// What is asked of every candidate, open for its image.
struct Asked {
    /// By species.
    copy: Vec<Pattern>,
    source: Pattern,
    class: Pattern,
    /// Digest of the held-out photos by species, where they are asked about.
    held_out: Vec<Option<Digest>>,
    /// Digest of the references by species, where likeness is asked about.
    likeness: Option<Vec<Digest>>,
    side: usize,
}

impl Asked {
    fn new(references: &[Digest], held_out: Vec<Option<Digest>>, side: usize, baseline: &Baseline) -> Asked {
        let image = Digest::default();
        let copy = |&references: &Digest| Pattern::new(inputs::copy_score(image, references, side), &["image"]);
        Asked {
            copy: references.iter().map(copy).collect(),
            source: Pattern::new(inputs::source_score(image, image, side), &["image", "source photo"]),
            class: Pattern::new(inputs::class_score(image, baseline.fitted.digest, 0), &["image", "class"]),
            held_out,
            likeness: None,
            side,
        }
    }

    fn keys(&self, image: Digest, wanted: &Wanted, baseline: &Baseline) -> Keys {
        let source = |source| self.source.key(&[Value::Digest(image), Value::Digest(source)]);
        Keys {
            copy: self.copy[wanted.species].key(&[Value::Digest(image)]),
            source: wanted.source.map(source),
            held_out: self.held_out(image, wanted).map(|inputs| inputs.key()),
            likeness: self.likeness(image, wanted).map(|inputs| inputs.key()),
            class: self.class.key(&[Value::Digest(image), Value::Count(wanted.species as u64)]),
            inception: baseline.inception.as_ref().map(|network| network.key(image).key()),
        }
    }

    fn held_out(&self, image: Digest, wanted: &Wanted) -> Option<Inputs> {
        self.held_out[wanted.species].map(|photos| inputs::held_out_score(image, photos, self.side))
    }

    fn likeness(&self, image: Digest, wanted: &Wanted) -> Option<Inputs> {
        let references = self.likeness.as_ref()?[wanted.species];
        Some(inputs::likeness_score(image, references, wanted.source))
    }

    fn copy(&self, image: Digest, wanted: &Wanted) -> Inputs {
        self.copy[wanted.species].filled(&[Value::Digest(image)])
    }

    fn class(&self, image: Digest, wanted: &Wanted) -> Inputs {
        self.class.filled(&[Value::Digest(image), Value::Count(wanted.species as u64)])
    }
}

/// The keys of one candidate's scores.
struct Keys {
    copy: Key,
    source: Option<Key>,
    held_out: Option<Key>,
    likeness: Option<Key>,
    class: Key,
    /// Of the Inception network's features, where sets are compared by those.
    inception: Option<Key>,
}

/// What the cache says of one candidate's scores.
struct Look {
    copy: Option<Nearest>,
    /// `None` within, here and below: not asked for.
    source: Option<Option<f64>>,
    held_out: Option<Option<Nearest>>,
    likeness: Option<Option<Nearest>>,
    class: Option<ClassScore>,
    inception: Option<Option<inception::Place>>,
}

struct ClassScore {
    confidence: f64,
    named: usize,
    features: (Digest, usize),
}

/// Which of them are not there.
#[derive(Clone, Copy)]
struct Due {
    copy: bool,
    source: bool,
    held_out: bool,
    likeness: bool,
    class: bool,
    inception: bool,
}

impl Due {
    fn any(self) -> bool {
        self.copy || self.source || self.held_out || self.likeness || self.class || self.inception
    }
}

impl Keys {
    fn look_up(&self, store: &Store) -> Look {
        let row = |inline: &[u8], at: usize| -> Option<u64> {
            inline.get(at..at + 8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes)
        };
        let class = |found: View<'_>| {
            Some(ClassScore {
                confidence: real(found.inline, 0)?,
                named: row(found.inline, 8)? as usize,
                features: (found.blob("features")?, row(found.inline, 16)? as usize),
            })
        };
        Look {
            copy: store.hit_with(&self.copy.0, |found| nearest(found.inline)),
            source: if_asked(self.source, |key| store.hit_with(&key.0, |found| real(found.inline, 0))),
            held_out: if_asked(self.held_out, |key| store.hit_with(&key.0, |found| nearest(found.inline))),
            likeness: if_asked(self.likeness, |key| store.hit_with(&key.0, |found| nearest(found.inline))),
            class: store.hit_with(&self.class.0, class),
            inception: if_asked(self.inception, |key| {
                store.hit_with(&key.0, |found| Some((found.blob("features")?, row(found.inline, 0)? as usize)))
            }),
        }
    }
}

/// What is known under a key; `Some(None)` where there is no key because nothing is asked.
fn if_asked<T>(key: Option<Key>, known: impl FnOnce(Key) -> Option<T>) -> Option<Option<T>> {
    key.map_or(Some(None), |key| known(key).map(Some))
}

impl Look {
    fn due(&self) -> Due {
        Due {
            copy: self.copy.is_none(),
            source: self.source.is_none(),
            held_out: self.held_out.is_none(),
            likeness: self.likeness.is_none(),
            class: self.class.is_none(),
            inception: self.inception.is_none(),
        }
    }

    fn scored(self) -> Option<Scored> {
        let (copy, source, held_out, class) = (self.copy?, self.source?, self.held_out?, self.class?);
        let likeness = self.likeness?;
        Some(Scored {
            scores: Scores {
                copy: copy.ssim,
                source,
                held_out: held_out.map(|nearest| nearest.ssim),
                likeness: likeness.map(|nearest| nearest.ssim),
                confidence: class.confidence,
                realism: None,
            },
            nearest: (copy.photo != [0; 32]).then_some(copy.photo),
            nearest_held_out: held_out.map(|nearest| nearest.photo),
            nearest_alike: likeness.map(|nearest| nearest.photo).filter(|photo| *photo != [0; 32]),
            named: class.named,
            features: self.inception?.unwrap_or(class.features),
        })
    }
}

/// The bytes of a score against photos: the SSIM or likeness, then the photo's digest.
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
