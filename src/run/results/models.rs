//! The best classifiers as files for others: safetensors with torchvision's names, and what has to be known beside them.
//! Chooses by the accuracy on valid; never knows what was named rightly in test.

use std::path::{Path, PathBuf};

use crate::error::{Error, IoContext, Result};
use crate::plan::ENGINE;
use crate::plan::inputs::Digest;
use crate::report;
use crate::store;
use crate::train::{DEVIATION, EVALUATED, HistoryRow, MEAN, row_of_result};

use super::super::arms::{ArmRuns, Run};
use super::super::saved::{Description, FORMAT, export};
use super::super::session::Session;
use super::super::survey::Survey;

/// Where the folders of models are, in the results.
const FOLDER: &str = "models";
/// The best classifier of real photos alone, and the best of those that train on synthetic ones too.
const KINDS: [&str; 2] = ["real", "augmented"];

/// The classifier that a folder shall hold.
pub struct Best<'a> {
    arm: &'a ArmRuns,
    run: &'a Run,
    /// Of the curve, that of the weights.
    row: Option<&'a HistoryRow>,
}

impl Best<'_> {
    fn valid_accuracy(&self) -> Option<f64> {
        self.row?.valid_accuracy
    }
}

/// The best classifier of each kind that there is, of fits with this patience: of equals the first in the recipe's order.
pub fn chosen(arms: &[ArmRuns], patience: Option<usize>) -> Vec<(&'static str, Best<'_>)> {
    let of_kind = |kind: &str| {
        let fits = |arm: &&ArmRuns| arm.arm.real && (arm.synthetic_images > 0) == (kind == KINDS[1]);
        let runs = arms.iter().filter(fits).flat_map(|arm| arm.runs.iter().map(move |run| (arm, run)));
        let all = runs.map(|(arm, run)| Best { arm, run, row: row_of_result(&run.history, patience) });
        all.reduce(|best, other| if other.valid_accuracy() > best.valid_accuracy() { other } else { best })
    };
    KINDS.into_iter().filter_map(|kind| Some((kind, of_kind(kind)?))).collect()
}

/// A model as the results name it.
pub fn listed(kind: &str, best: &Best<'_>) -> report::SavedModel {
    report::SavedModel {
        path: format!("{FOLDER}/{kind}"),
        arm: best.arm.arm.name.clone(),
        seed: best.run.seed,
        valid_accuracy: best.valid_accuracy(),
    }
}

/// Writes the folders, and takes away one that nothing was chosen for.
pub fn write(session: &Session<'_>, survey: &Survey, models: &[(&'static str, Best<'_>)]) -> Result<()> {
    let out = session.recipe.report.out.join(FOLDER);
    for kind in KINDS {
        let [json, weights] = files(&out.join(kind));
        let Some((_, best)) = models.iter().find(|(chosen, _)| *chosen == kind) else {
            for path in [&json, &weights] {
                remove(path)?;
            }
            continue;
        };
        let bytes = session.store.get(&best.run.weights)?.ok_or_else(|| {
            Error::input_help(
                "a cached classifier was damaged while it was in use",
                "run the build again: it is made again",
            )
        })?;
        let bytes = export(&bytes)?;
        let text = description(session, survey, best, &bytes).to_json();
        let same = |path: &Path, length: usize| std::fs::metadata(path).is_ok_and(|found| found.len() == length as u64);
        if same(&weights, bytes.len()) && std::fs::read(&json).is_ok_and(|found| found == text.as_bytes()) {
            continue;
        }
        // The description last: a folder with one is whole.
        remove(&json)?;
        std::fs::create_dir_all(out.join(kind)).doing("create", out.join(kind))?;
        store::write_atomically(&weights, &bytes)?;
        store::write_atomically(&json, text.as_bytes())?;
    }
    Ok(())
}

fn description(session: &Session<'_>, survey: &Survey, best: &Best<'_>, bytes: &[u8]) -> Description {
    let classifier = &session.recipe.classifier;
    Description {
        format: FORMAT,
        arch: classifier.arch.name().to_string(),
        classes: survey.dataset.species.clone(),
        size: classifier.size,
        crop: EVALUATED,
        mean: MEAN,
        std: DEVIATION,
        precision: classifier.precision.name().to_string(),
        arm: best.arm.arm.name.clone(),
        seed: best.run.seed,
        steps: best.row.map_or(classifier.steps, |row| row.step),
        valid_accuracy: best.valid_accuracy(),
        weights: blake3::hash(bytes).to_hex().to_string(),
        birdaug: ENGINE.to_string(),
    }
}

fn files(folder: &Path) -> [PathBuf; 2] {
    [folder.join(Description::FILE), folder.join(Description::WEIGHTS)]
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).doing("remove", path),
        _ => Ok(()),
    }
}

/// Identifies the folders of models in a results folder by descriptions and lengths, without reading weights; `None` where
/// one lacks its weights.
pub fn state(results: &Path) -> Result<Option<Digest>> {
    let mut hasher = blake3::Hasher::new();
    for kind in KINDS {
        let [json, weights] = files(&results.join(FOLDER).join(kind));
        let text = match std::fs::read(&json) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                hasher.update(b"none");
                continue;
            }
            Err(error) => return Err(error).doing("read", &json),
        };
        let Ok(found) = std::fs::metadata(&weights) else { return Ok(None) };
        hasher.update(blake3::hash(&text).as_bytes());
        hasher.update(&found.len().to_le_bytes());
    }
    Ok(Some(*hasher.finalize().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Key;
    use crate::recipe::{Arm, ArmWord};
    use crate::train::HistoryRow;

    /// An arm with runs of these accuracies on valid; test answers are all there and never looked at.
    fn arm(word: ArmWord, synthetic_images: usize, valid: &[Option<f64>]) -> ArmRuns {
        let run = |(seed, &valid_accuracy): (u64, &Option<f64>)| {
            let rows = [(1, Some(0.99)), (2, valid_accuracy), (3, None)];
            let row = |(step, valid_accuracy)| HistoryRow { step, loss: 1.0, valid_accuracy, learning_rate: 0.1 };
            let history = rows.map(row)[usize::from(valid_accuracy.is_some()) ^ 1..].to_vec();
            Run { seed, weights: [0; 32], history, predicted: Vec::new(), probability: Vec::new() }
        };
        let runs = (0..).zip(valid).map(run).collect();
        ArmRuns { arm: Arm::of(word), train_images: 9, synthetic_images, key: Key([0; 32]), runs }
    }

    fn told(arms: &[ArmRuns]) -> Vec<(&str, String, u64)> {
        chosen(arms, None).into_iter().map(|(kind, best)| (kind, best.arm.arm.name.clone(), best.run.seed)).collect()
    }

    #[test]
    fn the_best_on_valid_is_chosen_of_each_kind_and_the_first_of_equals() {
        let arms = [
            arm(ArmWord::Real, 0, &[Some(0.4), Some(0.5)]),
            arm(ArmWord::Oversampled, 0, &[Some(0.5), Some(0.3)]),
            arm(ArmWord::Augmented, 4, &[Some(0.2), Some(0.3)]),
            arm(ArmWord::Synthetic, 4, &[Some(0.9)]),
        ];
        assert_eq!(told(&arms), [("real", "real".to_string(), 1), ("augmented", "augmented".to_string(), 1)]);
        assert_eq!(told(&arms[..2]), [("real", "real".to_string(), 1)]);
    }

    #[test]
    fn of_fits_that_stop_early_the_weights_that_were_kept_count_and_not_the_last() {
        // Each has 0.99 first and less at the end; the other has its best at the end.
        let arms = [arm(ArmWord::Real, 0, &[Some(0.6), Some(0.4)]), arm(ArmWord::Oversampled, 0, &[Some(1.0)])];
        let best = |patience| {
            let [(_, best)] = <[_; 1]>::try_from(chosen(&arms[..1], patience)).ok().unwrap();
            (best.run.seed, best.row.unwrap().step, best.valid_accuracy())
        };
        assert_eq!(best(None), (0, 2, Some(0.6)));
        assert_eq!(best(Some(2)), (0, 1, Some(0.99)));
        assert_eq!(chosen(&arms, Some(2))[0].1.valid_accuracy(), Some(1.0));
    }

    #[test]
    fn an_arm_that_got_no_synthetic_image_is_one_of_real_photos() {
        let arms = [arm(ArmWord::Real, 0, &[Some(0.4)]), arm(ArmWord::Augmented, 0, &[Some(0.6)])];
        assert_eq!(told(&arms), [("real", "augmented".to_string(), 0)]);
    }

    #[test]
    fn without_a_measured_accuracy_the_first_run_is_taken() {
        assert_eq!(told(&[arm(ArmWord::Real, 0, &[None, None])]), [("real", "real".to_string(), 0)]);
    }
}
