//! Arm against arm: paired differences, their tests and verdicts. Knows answers and labels, no images.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::plan::Key;
use crate::plan::compare::{filled_in, pairs};
use crate::recipe;
use crate::report;
use crate::stats::difference::{Difference, Options, paired_difference};
use crate::stats::mcnemar::mcnemar;
use crate::stats::power::Design;
use crate::stats::summary::mean;
use crate::stats::verdict::{self, holm};

use super::super::arms::{ArmRuns, Run};
use super::super::power::CHANCE;

/// Chance of a false verdict over all comparisons of a report.
const ALPHA: f64 = 0.05;

/// Two arms' runs, seed by seed.
struct Paired<'a> {
    arm: &'a ArmRuns,
    baseline: &'a ArmRuns,
    /// Runs of the seeds that both have: the arm's, the baseline's.
    runs: Vec<(&'a Run, &'a Run)>,
}

/// The comparisons of [`pairs`] whose arms have answers. Until all classifiers are trained (`finished`) none has a verdict:
/// to look again after each and to stop at a fine moment is no test.
pub fn comparisons(
    arms: &[ArmRuns],
    training: &recipe::Training,
    labels: &[usize],
    tail: &[bool],
    finished: bool,
) -> Result<Vec<report::Comparison>> {
    let asked: Vec<recipe::Arm> = arms.iter().map(|arm| arm.arm.clone()).collect();
    let paired = pairs(&filled_in(&asked, training)).into_iter().map(|pair| {
        let (arm, baseline) = (&arms[pair.arm], &arms[pair.baseline]);
        let of_seed = |seed| baseline.runs.iter().find(|run| run.seed == seed);
        let runs = arm.runs.iter().filter_map(|run| Some((run, of_seed(run.seed)?))).collect();
        Paired { arm, baseline, runs }
    });
    let paired: Vec<Paired<'_>> = paired.filter(|pair| !pair.runs.is_empty()).collect();
    if labels.len() < 2 {
        return Ok(Vec::new());
    }
    let options = Options::default();
    let compared = paired
        .iter()
        .map(|pair| paired_difference(&pair.right(labels, false), &pair.right(labels, true), labels, &options))
        .collect::<Result<Vec<_>>>()?;
    let (adjusted, questions) = adjusted(&paired, &compared);
    paired
        .iter()
        .zip(compared.iter().zip(adjusted))
        .map(|(pair, (difference, p))| {
            let mut one = comparison(pair, difference, p, labels, tail, questions, &options)?;
            if !finished {
                one.verdict = report::Verdict::NotShown;
            }
            Ok(one)
        })
        .collect()
}

/// Holm's p values over the questions that are asked, and how many they are: arms of one training set ask one question,
/// by however many names.
fn adjusted(paired: &[Paired<'_>], compared: &[Difference]) -> (Vec<f64>, usize) {
    let question = |pair: &Paired<'_>| (pair.arm.key, pair.baseline.key);
    let mut asked: BTreeMap<(Key, Key), f64> = BTreeMap::new();
    for (pair, difference) in paired.iter().zip(compared) {
        // An arm that is its own baseline under another name asks nothing.
        if pair.arm.key != pair.baseline.key {
            asked.insert(question(pair), difference.p);
        }
    }
    let p = holm(&asked.values().copied().collect::<Vec<_>>());
    let by_question: BTreeMap<&(Key, Key), f64> = asked.keys().zip(p).collect();
    let of = |pair: &Paired<'_>| by_question.get(&question(pair)).copied().unwrap_or(1.0);
    (paired.iter().map(of).collect(), asked.len().max(1))
}

fn comparison(
    pair: &Paired<'_>,
    difference: &Difference,
    p: f64,
    labels: &[usize],
    tail: &[bool],
    questions: usize,
    options: &Options,
) -> Result<report::Comparison> {
    let (baseline, arm) = (pair.right(labels, false), pair.right(labels, true));
    let group = |in_tail: bool| group(&baseline, &arm, labels, &|label| tail[label] == in_tail, options);
    let design = Design::measured(&baseline, &arm, labels, pair.runs.len())?;
    let design = Design { comparisons: questions, ..design };
    let share = |right: &Vec<bool>| right.iter().filter(|&&right| right).count() as f64 / labels.len() as f64;
    let micro: Vec<f64> = arm.iter().zip(&baseline).map(|(arm, baseline)| share(arm) - share(baseline)).collect();
    Ok(report::Comparison {
        arm: pair.arm.arm.name.clone(),
        baseline: pair.baseline.arm.name.clone(),
        difference: difference.difference,
        low: Some(difference.low),
        high: Some(difference.high),
        p: Some(p),
        p_unadjusted: Some(difference.p),
        verdict: match verdict::verdict(difference, p, ALPHA) {
            verdict::Verdict::Helped => report::Verdict::Helped,
            verdict::Verdict::Hurt => report::Verdict::Hurt,
            verdict::Verdict::NotShown => report::Verdict::NotShown,
        },
        confidence: options.confidence,
        micro_difference: mean(&micro).unwrap_or(0.0),
        tail: group(true)?,
        head: group(false)?,
        mcnemar: baseline
            .iter()
            .zip(&arm)
            .zip(&pair.runs)
            .map(|((baseline, right), (run, _))| {
                let test = mcnemar(baseline, right);
                report::McNemar {
                    seed: run.seed,
                    only_arm: test.only_arm,
                    only_baseline: test.only_baseline,
                    p: test.p,
                }
            })
            .collect(),
        smallest_difference: if design.disagreement > 0.0 { design.smallest_difference(CHANCE)? } else { None },
        design: report::PairDesign {
            seeds: design.seeds,
            comparisons: questions,
            disagreement: design.disagreement,
            persistent: design.persistent,
            run_std: design.run_std,
        },
        test_images: labels.len(),
    })
}

/// The difference over the test images whose species is `inside`; `None` where there are fewer than two.
fn group(
    baseline: &[Vec<bool>],
    arm: &[Vec<bool>],
    labels: &[usize],
    inside: &dyn Fn(usize) -> bool,
    options: &Options,
) -> Result<Option<report::TailDifference>> {
    let places: Vec<usize> = (0..labels.len()).filter(|&i| inside(labels[i])).collect();
    if places.len() < 2 {
        return Ok(None);
    }
    let only = |runs: &[Vec<bool>]| -> Vec<Vec<bool>> {
        runs.iter().map(|run| places.iter().map(|&i| run[i]).collect()).collect()
    };
    let labels: Vec<usize> = places.iter().map(|&i| labels[i]).collect();
    let found = paired_difference(&only(baseline), &only(arm), &labels, options)?;
    Ok(Some(report::TailDifference {
        difference: found.difference,
        low: Some(found.low),
        high: Some(found.high),
        p: Some(found.p),
    }))
}

impl Paired<'_> {
    /// `[seed][image]`: whether the arm (or its baseline) named the image rightly.
    fn right(&self, labels: &[usize], arm: bool) -> Vec<Vec<bool>> {
        self.runs.iter().map(|(own, other)| right(if arm { own } else { other }, labels)).collect()
    }
}

/// `[image]`: whether it was named rightly.
pub fn right(run: &Run, labels: &[usize]) -> Vec<bool> {
    run.predicted.iter().zip(labels).map(|(said, label)| said == label).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::{Arm, ArmWord};

    /// An arm of two seeds; `errors`: images that each seed names wrongly.
    fn arm(arm: Arm, key: u8, errors: [&[usize]; 2]) -> ArmRuns {
        let run = |(seed, errors): (u64, &[usize])| {
            let predicted = (0..LABELS.len()).map(|i| if errors.contains(&i) { 1 - LABELS[i] } else { LABELS[i] });
            Run {
                seed,
                weights: [0; 32],
                history: Vec::new(),
                predicted: predicted.collect(),
                probability: vec![0.9; 20],
            }
        };
        let runs = (0..).zip(errors).map(run).collect();
        ArmRuns { arm, train_images: 20, synthetic_images: 0, key: Key([key; 32]), runs }
    }

    const LABELS: [usize; 20] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1];
    const MANY: &[usize] = &[0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17];

    fn real() -> ArmRuns {
        arm(Arm::of(ArmWord::Real), 1, [MANY, MANY])
    }

    fn told(found: &[report::Comparison]) -> Vec<(String, &'static str)> {
        found.iter().map(|one| (format!("{} vs {}", one.arm, one.baseline), one.verdict.text())).collect()
    }

    #[test]
    fn an_arm_of_two_names_is_one_question_of_holms() {
        let better = arm(Arm::of(ArmWord::Augmented), 2, [&[0, 10], &[1, 11]]);
        let same = ArmRuns { arm: Arm::of_dose(1.0), ..better.clone() };
        let by_itself =
            comparisons(&[real(), better.clone()], &Default::default(), &LABELS, &[true, false], true).unwrap();
        let twice = comparisons(&[real(), better, same], &Default::default(), &LABELS, &[true, false], true).unwrap();
        assert_eq!(
            told(&twice),
            [("augmented vs real".to_string(), "helped"), ("dose-1x vs real".to_string(), "helped")]
        );
        assert_eq!((twice[0].p, twice[1].p), (by_itself[0].p, by_itself[0].p));
        assert_eq!(twice[0].design.comparisons, 1);
        assert_eq!(twice[0].p, twice[0].p_unadjusted);
    }

    #[test]
    fn nothing_has_a_verdict_before_all_is_trained_and_seeds_are_paired() {
        let mut better = arm(Arm::of(ArmWord::Augmented), 2, [&[0], &[1]]);
        better.runs.pop();
        let found =
            comparisons(&[real(), better.clone()], &Default::default(), &LABELS, &[true, false], false).unwrap();
        assert_eq!(told(&found), [("augmented vs real".to_string(), "not shown")]);
        assert_eq!((found[0].mcnemar.len(), found[0].design.seeds), (1, 1));
        better.runs.clear();
        assert!(
            comparisons(&[real(), better], &Default::default(), &LABELS, &[true, false], false).unwrap().is_empty()
        );
    }

    #[test]
    fn tail_and_head_are_the_two_parts_of_the_difference() {
        let better =
            arm(Arm::of(ArmWord::Augmented), 2, [&[10, 11, 12, 13, 14, 15, 16, 17], &[10, 11, 12, 13, 14, 15, 16, 17]]);
        let found = comparisons(&[real(), better], &Default::default(), &LABELS, &[true, false], true).unwrap();
        let one = &found[0];
        assert_eq!((one.tail.unwrap().difference, one.head.unwrap().difference), (0.8, 0.0));
        assert!((one.difference - 0.4).abs() < 1e-12 && (one.micro_difference - 0.4).abs() < 1e-12);
    }

    #[test]
    fn an_arm_that_is_its_own_baseline_shows_nothing() {
        let same = ArmRuns { arm: Arm::of(ArmWord::Augmented), ..real() };
        let found = comparisons(&[real(), same], &Default::default(), &LABELS, &[true, false], true).unwrap();
        assert_eq!((found[0].difference, found[0].p, found[0].smallest_difference), (0.0, Some(1.0), None));
    }
}
