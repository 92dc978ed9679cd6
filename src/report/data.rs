//! The results of a build as plain strings and numbers, ready to be written. Knows no recipe, cache or tensor.
//!
//! Whatever was not measured is `None`, never 0. Accuracies, shares and differences are fractions of 1 (the
//! report shows percent and points). Nothing here may depend on the clock or on the place of a folder: the same
//! build gives the same bytes.

use serde::Serialize;

pub use super::pictures::*;

/// All that a build found out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Results {
    /// The recipe's name.
    pub name: String,
    /// The recipe's path as it was given; of an absolute one only the last part is written.
    #[serde(serialize_with = "serialize_portable")]
    pub recipe: String,
    /// `[dataset] root` as the recipe has it; of an absolute one only the last part is written.
    #[serde(serialize_with = "serialize_portable")]
    pub dataset: String,
    /// birdaug's version.
    pub engine: String,
    /// libtorch's version.
    pub libtorch: String,
    /// Device class, such as `cpu avx512+amx`: a kind of machine, never the name of one.
    pub device: String,
    /// The cut in words: `full`, `long-tail, imbalance 0.05, seed 0`.
    pub split: String,
    /// What the arms were tested on, in words: `test`, `unused train images`.
    pub tested_on: String,
    /// What made the images; `None` where the recipe wants none.
    pub generator: Option<Generator>,
    /// One entry a species, in the dataset's order; [`TestImage::label`] and [`Predictions`] index it.
    pub species: Vec<SpeciesCounts>,
    /// How many candidates each rule dropped.
    pub rejections: Vec<Rejections>,
    pub set_metrics: Vec<SetMetric>,
    /// One entry a gate that the recipe sets, pooled or of a species; all hold, or there were no results.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Gate>,
    pub baseline: Option<Baseline>,
    /// In the recipe's order.
    pub arms: Vec<ArmResult>,
    pub comparisons: Vec<Comparison>,
    /// Classifiers that are trained and those that the recipe asks for, while they are not all; `None` once they are.
    pub unfinished: Option<Unfinished>,
    /// Classifiers that are written beside the results.
    pub models: Vec<SavedModel>,
    /// Shortfalls, warnings, reservations: whole sentences.
    pub notes: Vec<String>,
    /// What the guards against copies and leaks saw, a guard each. In the report only.
    #[serde(skip)]
    pub guards: Vec<Guard>,
    /// Pictures of up to [`GALLERY_SPECIES`] species, most telling first. In the report only.
    #[serde(skip)]
    pub gallery: Vec<Gallery>,
    /// Pictures of up to [`GALLERY_REJECTED`] dropped candidates. In the report only.
    #[serde(skip)]
    pub rejected: Vec<RejectedImage>,
    /// Training curves of arms, and of `baseline` and `generator` where there are any; for `history.csv`.
    #[serde(skip)]
    pub history: Vec<HistoryRow>,
    /// The fixed test images, in the order of every [`Predictions`]; for `predictions.csv`.
    #[serde(skip)]
    pub test_images: Vec<TestImage>,
    /// One entry an arm and seed; for `predictions.csv`.
    #[serde(skip)]
    pub predictions: Vec<Predictions>,
}

/// How far the training is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Unfinished {
    pub trained: usize,
    pub asked_for: usize,
}

/// A classifier that is written beside the results, chosen by its accuracy on valid.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SavedModel {
    /// Its folder, relative to the results.
    pub path: String,
    pub arm: String,
    pub seed: u64,
    pub valid_accuracy: Option<f64>,
}

/// What made the synthetic images.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Generator {
    /// `ddpm` or `stable-diffusion`.
    pub kind: String,
    /// `img2img` or `txt2img`.
    pub mode: String,
    /// Side in pixels.
    pub size: usize,
    /// Sampling steps.
    pub steps: usize,
    pub sampler: String,
    /// Classifier-free guidance scale; 1 is off.
    pub guidance: f64,
    /// Share of the noising schedule run through, (0, 1]; `None` for txt2img.
    pub strength: Option<f64>,
    /// `fp32`, `bf16` or `fp16`.
    pub precision: String,
    /// Optimiser steps it was fitted for here; `None` for a ready model.
    pub train_steps: Option<usize>,
}

/// Counts of one species before and after.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SpeciesCounts {
    pub name: String,
    /// Train images after the cut.
    pub real: usize,
    /// Synthetic images the recipe asks for.
    pub wanted: usize,
    /// Synthetic images in the tree.
    pub kept: usize,
    /// Candidates a rule dropped.
    pub rejected: usize,
    /// Candidates made: kept, rejected, and good ones beyond what was wanted.
    pub candidates: usize,
    /// Wanted but not kept.
    pub shortfall: usize,
    pub valid: usize,
    pub test: usize,
    /// Whether it belongs to the rarest share that is reported by itself.
    pub tail: bool,
}

/// How many candidates one rule dropped.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Rejections {
    /// As in `rejected.csv`, such as `copy of a real image`.
    pub reason: String,
    pub count: usize,
    /// The rule's threshold as the recipe has it.
    pub threshold: Option<f64>,
}

/// A distance between the pooled sets of synthetic and real images.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SetMetric {
    /// `fid` or `kid`.
    pub metric: String,
    pub value: Option<f64>,
    pub n_real: usize,
    pub n_synthetic: usize,
    /// The same metric between two halves of the real images: what no generator can be expected to beat.
    pub floor: Option<f64>,
    /// Images in each half.
    pub floor_n: Option<usize>,
    /// Whose features: `classifier`, `inception`.
    pub features: String,
    /// The recipe's gate.
    pub threshold: Option<f64>,
    /// Whether the gate held; `None` without one.
    pub passed: Option<bool>,
    /// A reservation as a whole sentence, such as a set too small for the metric.
    pub note: Option<String>,
}

/// A gate on a set of kept images.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Gate {
    /// The recipe's key: `fid_max`, `kid_max`, `species_kid_max`.
    pub gate: String,
    /// The species that it is on; `None` for the pooled set.
    pub species: Option<String>,
    /// The distance of what is kept.
    pub value: Option<f64>,
    pub threshold: f64,
    pub n_real: usize,
    pub n_synthetic: usize,
    /// Candidates dropped for it in the last round.
    pub dropped: usize,
}

/// The classifier trained on real images only, which the filter asks.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Baseline {
    pub arch: String,
    pub valid_accuracy: Option<f64>,
    /// Share of all candidates, before the filter, that it gives the species they were made for.
    pub names_rightly: Option<f64>,
    /// How many candidates that share is of.
    pub candidates: usize,
}

/// One training set: what classifiers trained on it score on the fixed test images.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ArmResult {
    /// `real`, `oversampled`, `augmented`, ...
    pub name: String,
    /// What it is made of and how it is drawn.
    pub made_of: MadeOf,
    /// Files in the training set, each counted once.
    pub train_images: usize,
    /// How many of them are synthetic.
    pub synthetic_images: usize,
    /// Optimiser steps of the longest run: the same for every arm, but where fits stop early.
    pub steps: usize,
    pub seeds: Vec<u64>,
    /// Mean over species of the recall, one a seed.
    pub macro_accuracy: Vec<f64>,
    /// The same over the tail species alone; `None` where the tail has no test image.
    pub tail_accuracy: Vec<Option<f64>>,
    /// The same over all other species.
    pub head_accuracy: Vec<Option<f64>>,
    /// Share of test images named rightly, one a seed.
    pub micro_accuracy: Vec<f64>,
    /// Expected calibration error over [`CALIBRATION_BINS`] bins, one a seed.
    pub calibration_error: Vec<f64>,
    /// Interval of the mean macro accuracy, where it was worked out.
    pub macro_interval: Option<Interval>,
    /// Interval of the mean tail accuracy, where it was worked out.
    pub tail_interval: Option<Interval>,
    /// In the order of [`Results::species`].
    pub species: Vec<SpeciesRecall>,
    /// The most frequent errors over all seeds, up to [`CONFUSIONS`], most images first.
    pub confusions: Vec<Confusion>,
}

/// Bins of [`ArmResult::calibration_error`].
pub const CALIBRATION_BINS: usize = 15;
/// How many kinds of errors an arm's results name.
pub const CONFUSIONS: usize = 20;

/// What an arm trains on.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MadeOf {
    /// Whether the real photos are in it.
    pub real: bool,
    /// So many times the synthetic images that the recipe wants.
    pub dose: f64,
    /// `uniform` or `class-balanced`.
    pub sampling: String,
    /// `plain`: crops and flips; `randaug`: RandAugment too.
    pub augment: String,
    /// Share of the synthetic images in a batch; `None`: as they come.
    pub synthetic_share: Option<f64>,
}

/// Images of one species that were called another.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Confusion {
    pub species: String,
    pub called: String,
    /// Over all seeds.
    pub images: usize,
    /// Of the species' answers over all seeds.
    pub share: f64,
}

/// Ends of a confidence interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// Recall of one species under one arm.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SpeciesRecall {
    pub name: String,
    /// One a seed; `None` where the species has no test image.
    pub recall: Vec<Option<f64>>,
}

/// One arm against another on the same test images and seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    pub arm: String,
    pub baseline: String,
    /// Mean paired difference in macro accuracy, arm minus baseline.
    pub difference: f64,
    /// Ends of its bootstrap interval.
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// Of the permutation test, Holm-adjusted over all comparisons.
    pub p: Option<f64>,
    /// As it is by itself.
    pub p_unadjusted: Option<f64>,
    pub verdict: Verdict,
    /// Coverage of the intervals, such as 0.95.
    pub confidence: f64,
    /// Mean paired difference in the share of test images named rightly.
    pub micro_difference: f64,
    /// The tail species by themselves; their p is not adjusted.
    pub tail: Option<TailDifference>,
    /// All other species by themselves, likewise.
    pub head: Option<TailDifference>,
    /// One a seed.
    pub mcnemar: Vec<McNemar>,
    /// About the smallest difference that this test set and these seeds could have shown.
    pub smallest_difference: Option<f64>,
    /// What the smallest difference rests on.
    pub design: PairDesign,
    /// Test images both arms were asked about.
    pub test_images: usize,
}

/// How two arms vary, as it was measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct PairDesign {
    /// Seeds that both arms have.
    pub seeds: usize,
    /// Questions among which p is adjusted.
    pub comparisons: usize,
    /// Share of the test images, weighted by species, on which just one of the two is right in a run.
    pub disagreement: f64,
    /// Share of its variance that repeats with every seed.
    pub persistent: f64,
    /// Standard deviation, over seeds, of what moves all images alike.
    pub run_std: f64,
}

/// [`Comparison`]'s difference over a group of species alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct TailDifference {
    pub difference: f64,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub p: Option<f64>,
}

/// McNemar's test of one pair of classifiers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct McNemar {
    pub seed: u64,
    /// Test images that only the arm names rightly.
    pub only_arm: usize,
    /// Test images that only the baseline names rightly.
    pub only_baseline: usize,
    pub p: f64,
}

/// What a comparison may be said to show; anything but `NotShown` needs interval and test to agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Verdict {
    #[serde(rename = "helped")]
    Helped,
    #[serde(rename = "hurt")]
    Hurt,
    #[serde(rename = "not shown")]
    NotShown,
}

/// A point of a training curve.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct HistoryRow {
    /// An arm's name, `baseline` or `generator`.
    pub arm: String,
    pub seed: u64,
    pub step: usize,
    pub loss: Option<f64>,
    pub valid_accuracy: Option<f64>,
    pub learning_rate: Option<f64>,
}

/// A test image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TestImage {
    /// Relative to the dataset's root.
    pub path: String,
    /// Index into [`Results::species`].
    pub label: usize,
}

/// What one trained classifier says of every test image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Predictions {
    pub arm: String,
    pub seed: u64,
    /// Index into [`Results::species`], one a test image.
    pub predicted: Vec<usize>,
    /// Its probability, one a test image.
    pub probability: Vec<f64>,
}

impl Verdict {
    /// `helped`, `hurt`, `not shown`.
    pub fn text(self) -> &'static str {
        match self {
            Verdict::Helped => "helped",
            Verdict::Hurt => "hurt",
            Verdict::NotShown => "not shown",
        }
    }
}

/// The mean of the values that are there; `None` of none.
pub(super) fn mean(values: impl IntoIterator<Item = Option<f64>>) -> Option<f64> {
    let (mut sum, mut n) = (0.0, 0usize);
    for value in values.into_iter().flatten() {
        sum += value;
        n += 1;
    }
    (n > 0).then(|| sum / n as f64)
}

/// A path as results may show it: a relative one as it is, the last part of an absolute one, so that two
/// builds in two places write the same bytes.
pub(super) fn portable(path: &str) -> &str {
    let absolute = path.starts_with(['/', '\\']) || path.as_bytes().get(1) == Some(&b':');
    if !absolute {
        return path;
    }
    path.trim_end_matches(['/', '\\']).rsplit(['/', '\\']).next().unwrap_or_default()
}

fn serialize_portable<S: serde::Serializer>(path: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(portable(path))
}
