//! Arm against arm: paired differences, their tests and verdicts. Knows answers and labels, no images.

use crate::error::Result;
use crate::report;
use crate::stats::difference::{Difference, Options, paired_difference};
use crate::stats::mcnemar::mcnemar;
use crate::stats::power::Design;
use crate::stats::verdict::{self, holm};

use super::super::arms::ArmRuns;

/// Chance of a false verdict over all comparisons of a report.
const ALPHA: f64 = 0.05;

/// Every arm against `real`, and `augmented` against `oversampled`, which has the same balance without new images.
pub fn comparisons(arms: &[ArmRuns], labels: &[usize], tail: &[bool]) -> Result<Vec<report::Comparison>> {
    let find = |name: &str| arms.iter().find(|arm| arm.name == name);
    let mut pairs: Vec<(&ArmRuns, &ArmRuns)> = Vec::new();
    if let Some(real) = find("real") {
        pairs.extend(arms.iter().filter(|arm| arm.name != "real").map(|arm| (arm, real)));
    }
    if let (Some(augmented), Some(oversampled)) = (find("augmented"), find("oversampled")) {
        pairs.push((augmented, oversampled));
    }
    let options = Options::default();
    let compared = pairs
        .iter()
        .map(|(arm, base)| paired_difference(&right(base, labels), &right(arm, labels), labels, &options))
        .collect::<Result<Vec<_>>>()?;
    let adjusted = holm(&compared.iter().map(|difference| difference.p).collect::<Vec<_>>());
    pairs
        .iter()
        .zip(compared.iter().zip(adjusted))
        .map(|((arm, base), (difference, p))| comparison(arm, base, difference, p, labels, tail, &options))
        .collect()
}

fn comparison(
    arm: &ArmRuns,
    base: &ArmRuns,
    difference: &Difference,
    p: f64,
    labels: &[usize],
    tail: &[bool],
    options: &Options,
) -> Result<report::Comparison> {
    let (base_right, arm_right) = (right(base, labels), right(arm, labels));
    let in_tail: Vec<usize> = (0..labels.len()).filter(|&i| tail[labels[i]]).collect();
    let only = |runs: &[Vec<bool>]| -> Vec<Vec<bool>> {
        runs.iter().map(|run| in_tail.iter().map(|&i| run[i]).collect()).collect()
    };
    let tail_labels: Vec<usize> = in_tail.iter().map(|&i| labels[i]).collect();
    let tail = if in_tail.len() < 2 {
        None
    } else {
        let tail = paired_difference(&only(&base_right), &only(&arm_right), &tail_labels, options)?;
        Some(report::TailDifference {
            difference: tail.difference,
            low: Some(tail.low),
            high: Some(tail.high),
            p: Some(tail.p),
        })
    };
    let design = Design::measured(&base_right, &arm_right, labels, base.runs.len())?;
    Ok(report::Comparison {
        arm: arm.name.clone(),
        baseline: base.name.clone(),
        difference: difference.difference,
        low: Some(difference.low),
        high: Some(difference.high),
        p: Some(p),
        verdict: match verdict::verdict(difference, p, ALPHA) {
            verdict::Verdict::Helped => report::Verdict::Helped,
            verdict::Verdict::Hurt => report::Verdict::Hurt,
            verdict::Verdict::NotShown => report::Verdict::NotShown,
        },
        confidence: options.confidence,
        tail,
        mcnemar: base_right
            .iter()
            .zip(&arm_right)
            .zip(&arm.runs)
            .map(|((base, right), run)| {
                let test = mcnemar(base, right);
                report::McNemar {
                    seed: run.seed,
                    only_arm: test.only_arm,
                    only_baseline: test.only_baseline,
                    p: test.p,
                }
            })
            .collect(),
        smallest_difference: design.smallest_difference(0.8)?,
        test_images: labels.len(),
    })
}

/// `[seed][image]`: whether the image was named rightly.
fn right(arm: &ArmRuns, labels: &[usize]) -> Vec<Vec<bool>> {
    arm.runs.iter().map(|run| run.predicted.iter().zip(labels).map(|(said, label)| said == label).collect()).collect()
}
