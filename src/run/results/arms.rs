//! One arm's runs as results: accuracies, calibration, errors, curves. Compares nothing.

use crate::error::Result;
use crate::recipe::Recipe;
use crate::report;
use crate::stats::accuracy::{accuracy, confusions};
use crate::stats::calibration::expected_calibration_error;
use crate::stats::difference::{Options, paired_difference};

use super::super::arms::{ArmRuns, Run};
use super::super::survey::Survey;
use super::compare::right;

/// What an arm's classifiers score on the test images.
pub fn result(
    recipe: &Recipe,
    survey: &Survey,
    arm: &ArmRuns,
    labels: &[usize],
    tail: &[bool],
) -> Result<report::ArmResult> {
    let n = survey.dataset.species.len();
    let members = |inside: bool| -> Vec<usize> { (0..n).filter(|&species| tail[species] == inside).collect() };
    let (tail_species, head_species) = (members(true), members(false));
    let each = arm.runs.iter().map(|run| accuracy(labels, &run.predicted, n)).collect::<Result<Vec<_>>>()?;
    let calibration =
        |run: &Run| expected_calibration_error(&run.probability, &right(run, labels), report::CALIBRATION_BINS);
    let training = &recipe.classifier.training;
    Ok(report::ArmResult {
        name: arm.arm.name.clone(),
        made_of: report::MadeOf {
            real: arm.arm.real,
            dose: arm.arm.dose,
            sampling: arm.arm.sampling.name().to_string(),
            augment: arm.arm.augment.unwrap_or(training.augment).name().to_string(),
            synthetic_share: arm.arm.synthetic_share.or(training.synthetic_share),
        },
        train_images: arm.train_images,
        synthetic_images: arm.synthetic_images,
        steps: arm
            .runs
            .iter()
            .filter_map(|run| Some(run.history.last()?.step))
            .max()
            .unwrap_or(recipe.classifier.steps),
        seeds: arm.runs.iter().map(|run| run.seed).collect(),
        macro_accuracy: each.iter().map(|one| one.macro_).collect(),
        tail_accuracy: each.iter().map(|one| one.group(&tail_species)).collect(),
        head_accuracy: each.iter().map(|one| one.group(&head_species)).collect(),
        micro_accuracy: each.iter().map(|one| one.micro).collect(),
        calibration_error: arm.runs.iter().map(calibration).collect::<Result<_>>()?,
        macro_interval: interval(arm, labels, &|_| true)?,
        tail_interval: interval(arm, labels, &|label| tail[label])?,
        species: (0..n)
            .map(|species| report::SpeciesRecall {
                name: survey.dataset.species[species].clone(),
                recall: each.iter().map(|one| one.recall[species]).collect(),
            })
            .collect(),
        confusions: most_frequent(survey, arm, labels)?,
    })
}

/// The interval of the mean macro accuracy over test images whose species is `inside`: that of the difference from a
/// classifier that is never right. `None` without runs, or with fewer than two images.
fn interval(arm: &ArmRuns, labels: &[usize], inside: &dyn Fn(usize) -> bool) -> Result<Option<report::Interval>> {
    let places: Vec<usize> = (0..labels.len()).filter(|&i| inside(labels[i])).collect();
    if places.len() < 2 || arm.runs.is_empty() {
        return Ok(None);
    }
    let of_run = |run: &Run| places.iter().map(|&i| run.predicted[i] == labels[i]).collect::<Vec<bool>>();
    let runs: Vec<Vec<bool>> = arm.runs.iter().map(of_run).collect();
    let never = vec![vec![false; places.len()]; runs.len()];
    let labels: Vec<usize> = places.iter().map(|&i| labels[i]).collect();
    let found = paired_difference(&never, &runs, &labels, &Options { permutations: 100, ..Options::default() })?;
    Ok(Some(report::Interval { low: found.low, high: found.high }))
}

/// The most frequent errors over all seeds.
fn most_frequent(survey: &Survey, arm: &ArmRuns, labels: &[usize]) -> Result<Vec<report::Confusion>> {
    if arm.runs.is_empty() {
        return Ok(Vec::new());
    }
    let all: Vec<usize> = arm.runs.iter().flat_map(|_| labels.iter().copied()).collect();
    let said: Vec<usize> = arm.runs.iter().flat_map(|run| run.predicted.iter().copied()).collect();
    let name = |species: usize| survey.dataset.species[species].clone();
    let found = confusions(&all, &said, survey.dataset.species.len())?;
    let one = |one: crate::stats::accuracy::Confusion| report::Confusion {
        species: name(one.truth),
        called: name(one.predicted),
        images: one.images,
        share: one.share,
    };
    Ok(found.into_iter().take(report::CONFUSIONS).map(one).collect())
}

/// The training curves.
pub fn history(arm: &ArmRuns) -> Vec<report::HistoryRow> {
    let row = |run: &Run, row: &crate::train::HistoryRow| report::HistoryRow {
        arm: arm.arm.name.clone(),
        seed: run.seed,
        step: row.step,
        loss: Some(row.loss),
        valid_accuracy: row.valid_accuracy,
        learning_rate: Some(row.learning_rate),
    };
    arm.runs.iter().flat_map(|run| run.history.iter().map(|r| row(run, r)).collect::<Vec<_>>()).collect()
}

/// What each classifier says of every test image.
pub fn predictions(arm: &ArmRuns) -> Vec<report::Predictions> {
    arm.runs
        .iter()
        .map(|run| report::Predictions {
            arm: arm.arm.name.clone(),
            seed: run.seed,
            predicted: run.predicted.clone(),
            probability: run.probability.clone(),
        })
        .collect()
}
