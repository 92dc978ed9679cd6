//! Trains every arm with every seed on equal steps, and asks each classifier about the same test images.

use crate::error::Result;
use crate::plan::dose::{Offer, taken};
use crate::plan::inputs::{self, Digest};
use crate::plan::{Key, Step};
use crate::recipe;
use crate::train::HistoryRow;

use super::emit::{self, Synthetic};
use super::model::{self, Arm, FittedClassifier};
use super::score::CLASSIFIER_BATCH;
use super::session::{Mode, Session};
use super::survey::Survey;
use super::tensorboard;

/// One trained classifier's answers.
#[derive(Clone)]
pub struct Run {
    pub seed: u64,
    /// Its weights' blob.
    pub weights: Digest,
    pub history: Vec<HistoryRow>,
    /// The species named for each test image.
    pub predicted: Vec<usize>,
    /// Probability of that species.
    pub probability: Vec<f64>,
}

/// An arm with its runs, in the order of the recipe's seeds.
#[derive(Clone)]
pub struct ArmRuns {
    pub arm: recipe::Arm,
    pub train_images: usize,
    pub synthetic_images: usize,
    /// Of its first seed's fit: arms of one key are one arm by several names.
    pub key: Key,
    pub runs: Vec<Run>,
}

/// Hears of every classifier that was trained, with what there is so far.
pub type Each<'e> = &'e mut dyn FnMut(&mut Session<'_>, &[ArmRuns]) -> Result<()>;

/// All arms of the recipe, seed by seed, so that what there is at any time can be compared; `None` if planning and some
/// run is not there.
pub fn arms(
    session: &mut Session<'_>,
    survey: &Survey,
    synthetic: &[Synthetic],
    each: Each<'_>,
) -> Result<Option<Vec<ArmRuns>>> {
    let (mut sets, mut all) = (Vec::new(), Vec::new());
    for asked in &session.recipe.compare.arms {
        let set = set(session, survey, synthetic, asked);
        let first = session.recipe.classifier.seeds.first().copied().unwrap_or(0);
        let key = model::classifier_inputs(session, survey, &set, first)?.0.key();
        let (arm, train_images, synthetic_images) = (asked.clone(), set.items.len(), set.synthetic);
        all.push(ArmRuns { arm, train_images, synthetic_images, key, runs: Vec::new() });
        sets.push(set);
    }
    let mut due = false;
    let mut told = session.ledger.made_of(Step::Arms);
    for &seed in &session.recipe.classifier.seeds {
        for (set, arm) in sets.iter().zip(0..) {
            let Some(fitted) = model::classifier(session, survey, Step::Arms, set, seed)? else {
                due = true;
                continue;
            };
            match predict(session, survey, set, seed, fitted)? {
                Some(run) => {
                    if let Some(dir) = &session.options.tensorboard {
                        tensorboard::write(dir, &set.asked.name, seed, &run.history)?;
                    }
                    all[arm].runs.push(run);
                }
                None => due = true,
            }
            let made = session.ledger.made_of(Step::Arms);
            if session.mode == Mode::Build && made > told {
                told = made;
                each(session, &all)?;
            }
        }
    }
    Ok((!due).then_some(all))
}

/// An arm's training set: real photos first, then its dose of the synthetic images.
fn set(session: &Session<'_>, survey: &Survey, synthetic: &[Synthetic], asked: &recipe::Arm) -> Arm {
    let mut arm = model::real_arm(survey, session, asked);
    if asked.dose > 0.0 {
        let offer = |image: &Synthetic| Offer { species: image.species, key: image.key, more: image.more };
        let offers: Vec<Offer> = synthetic.iter().map(offer).collect();
        let places = taken(&offers, &survey.wanted, asked.dose);
        let (items, list) = emit::trained_on(survey, places.iter().map(|&place| &synthetic[place]));
        arm.synthetic = items.len();
        arm.items.extend(items);
        arm.list.append(&list);
    }
    arm
}

fn predict(
    session: &mut Session<'_>,
    survey: &Survey,
    arm: &Arm,
    seed: u64,
    fitted: FittedClassifier,
) -> Result<Option<Run>> {
    let inputs = inputs::predictions(fitted.digest, &survey.test_list);
    let slot = predictions_slot(&arm.asked.name, seed);
    let found = session.obtain_bytes(Step::Arms, &slot, &inputs, "probabilities", |session, record| {
        let photos = model::files(session, survey, &survey.cut.test);
        let said = model::open(session, survey, &fitted)?.predict(&photos, CLASSIFIER_BATCH)?;
        let bytes: Vec<u8> = said.probabilities.iter().flat_map(|p| p.to_le_bytes()).collect();
        Ok(record.output("probabilities", session.store.put(&bytes)?))
    })?;
    let Some((_, bytes)) = found else { return Ok(None) };
    let (values, _) = bytes.as_chunks::<4>();
    let values: Vec<f32> = values.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let classes = survey.dataset.species.len();
    let (mut predicted, mut probability) = (Vec::new(), Vec::new());
    for row in values.chunks_exact(classes) {
        // The first of equals.
        let top = (0..classes).fold(0, |best, class| if row[class] > row[best] { class } else { best });
        predicted.push(top);
        probability.push(f64::from(row[top]));
    }
    Ok(Some(Run { seed, weights: fitted.digest, history: fitted.history, predicted, probability }))
}

/// The name of a run's answers.
pub fn predictions_slot(arm: &str, seed: u64) -> String {
    format!("predictions {arm} seed {seed}")
}
