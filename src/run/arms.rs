//! Trains every arm with every seed on equal steps, and asks each classifier about the same test images.

use crate::error::Result;
use crate::plan::Step;
use crate::plan::inputs;
use crate::recipe;
use crate::train::{HistoryRow, Sampling};

use super::emit::{self, Synthetic};
use super::model::{self, Arm, FittedClassifier};
use super::score::CLASSIFIER_BATCH;
use super::session::Session;
use super::survey::Survey;

/// One trained classifier's answers.
pub struct Run {
    pub seed: u64,
    pub history: Vec<HistoryRow>,
    /// The species named for each test image.
    pub predicted: Vec<usize>,
    /// Probability of that species.
    pub probability: Vec<f64>,
}

/// An arm with its runs, in the order of the recipe's seeds.
pub struct ArmRuns {
    pub name: String,
    pub train_images: usize,
    pub synthetic_images: usize,
    pub runs: Vec<Run>,
}

/// All arms of the recipe; `None` if planning and some run is not there. `each` is called after each run with what
/// there is so far.
pub fn arms(session: &mut Session<'_>, survey: &Survey, synthetic: &[Synthetic]) -> Result<Option<Vec<ArmRuns>>> {
    let mut all = Vec::new();
    let mut due = false;
    for &kind in &session.recipe.compare.arms {
        let arm = arm(session, survey, synthetic, kind);
        let mut runs = Vec::new();
        for &seed in &session.recipe.classifier.seeds {
            let Some(fitted) = model::classifier(session, survey, Step::Arms, &arm, seed)? else {
                due = true;
                continue;
            };
            match predict(session, survey, &arm, seed, fitted)? {
                Some(run) => runs.push(run),
                None => due = true,
            }
        }
        all.push(ArmRuns { name: arm.name, train_images: arm.items.len(), synthetic_images: arm.synthetic, runs });
    }
    Ok((!due).then_some(all))
}

fn arm(session: &Session<'_>, survey: &Survey, synthetic: &[Synthetic], kind: recipe::Arm) -> Arm {
    let (items, list) = emit::augmented_list(survey, synthetic);
    match kind {
        recipe::Arm::Oversampled | recipe::Arm::Real | recipe::Arm::RealRandAugment => {
            model::real_arm_of(survey, session, kind)
        }
        recipe::Arm::Augmented => {
            let mut arm = model::real_arm(survey, session, kind.name(), Sampling::Uniform);
            arm.synthetic = items.len();
            arm.items.extend(items);
            arm.list.append(&list);
            arm
        }
        recipe::Arm::Synthetic => {
            Arm { name: kind.name().to_string(), sampling: Sampling::Uniform, synthetic: items.len(), items, list }
        }
    }
}

fn predict(
    session: &mut Session<'_>,
    survey: &Survey,
    arm: &Arm,
    seed: u64,
    fitted: FittedClassifier,
) -> Result<Option<Run>> {
    let inputs = inputs::predictions(fitted.digest, &survey.test_list);
    let slot = format!("predictions {} seed {seed}", arm.name);
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
    Ok(Some(Run { seed, history: fitted.history, predicted, probability }))
}
