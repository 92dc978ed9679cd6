//! How much an arm's macro accuracy differs from the baseline's, with an interval over seeds and test images.
//!
//! Both arms were trained with the same seeds and tested on the same images, so everything is computed from
//! `d[seed][image]` = arm right - baseline right, in {-1, 0, 1}. The difference is its mean over seeds, over a species'
//! images, over species.
//!
//! Interval: BCa over a two-level bootstrap that draws seeds and, within each species, images, both with repetition
//! (crossed, as in Owen 2007, "The pigeonhole bootstrap"). A bootstrap of three seeds cannot know its own spread (it
//! understates a variance by a third, and knows no more than their extremes), so its ends are moved away from the
//! estimate until its standard deviation is the standard error `(V_seeds + V_images)^(1/2)` from unbiased variances,
//! times Student's quantile over the normal one at Satterthwaite's (1946) degrees of freedom (Hesterberg 2015, section 4,
//! on narrowness). The sum counts the interaction of seeds and images twice, so the interval errs on the wide side.
//!
//! What it does not cover: other synthetic images. The arm's set was made once.

use std::ops::Range;

use super::bootstrap::{acceleration, levels};
use super::distributions::{normal_quantile, student_quantile};
use super::permutation::sign_flip;
use super::random::Random;
use super::summary::{mean, quantile_of_sorted, std, variance};
use crate::error::{Error, Result};

/// How the difference is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Of the interval, in (0, 1).
    pub confidence: f64,
    /// Bootstrap resamples, at least 100.
    pub resamples: usize,
    /// Random sign patterns, where there are too many to try all.
    pub permutations: usize,
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { confidence: 0.95, resamples: 2000, permutations: 10_000, seed: 0 }
    }
}

/// An arm against its baseline, in macro accuracy (0.02 is two points).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Arm less baseline.
    pub difference: f64,
    pub low: f64,
    pub high: f64,
    /// Two-sided, by [`sign_flip`] over images.
    pub p: f64,
    pub standard_error: f64,
    /// Of Student's distribution that widened the interval.
    pub degrees: f64,
    pub seeds: usize,
    pub images: usize,
    /// Species with test images.
    pub species: usize,
}

/// Compares two arms. `baseline` and `arm` say `[seed][image]` whether the image was named rightly, with seeds and
/// images in the same order; `species` is each image's, any numbers. For a group such as the tail, give its images only.
/// With one seed nothing is known of other seeds: interval and p then speak of these two networks alone.
///
/// # Errors
/// No seed, fewer than 2 images, lists of different lengths, impossible options.
pub fn paired_difference(
    baseline: &[Vec<bool>],
    arm: &[Vec<bool>],
    species: &[usize],
    options: &Options,
) -> Result<Difference> {
    let pairs = Pairs::new(baseline, arm, species)?;
    let confident = options.confidence > 0.0 && options.confidence < 1.0;
    if !confident || options.resamples < 100 || options.permutations < 100 {
        return Err(Error::input(format!(
            "a comparison needs a confidence between 0 and 1, 100 resamples and 100 permutations; these are {}, {}, {}",
            options.confidence, options.resamples, options.permutations
        )));
    }
    let by_seed = pairs.by_seed();
    let by_image = pairs.by_image(&vec![1.0; pairs.seeds.len()]);
    let estimate = pairs.macro_mean(&by_image);
    let spread = pairs.spread(&by_seed, &by_image);

    let mut resampled = pairs.resample(options);
    resampled.sort_by(f64::total_cmp);
    let level = 0.5 + 0.5 * options.confidence;
    let wanted = spread.standard_error() * student_quantile(level, spread.degrees()) / normal_quantile(level);
    let widen = match std(&resampled) {
        Some(own) if own > 0.0 => wanted / own,
        _ => 0.0,
    };
    let ends = levels(estimate, &resampled, acceleration(&pairs.influences(&by_seed, &by_image)), options.confidence);
    let [low, high] = ends.map(|end| {
        let end = quantile_of_sorted(&resampled, end).unwrap_or(estimate);
        (estimate + widen * (end - estimate)).clamp(-1.0, 1.0)
    });

    let weighted: Vec<f64> = by_image.iter().zip(&pairs.weights).map(|(d, weight)| d * weight).collect();
    Ok(Difference {
        difference: estimate,
        low,
        high,
        p: sign_flip(&weighted, options.permutations, options.seed),
        standard_error: spread.standard_error(),
        degrees: spread.degrees(),
        seeds: pairs.seeds.len(),
        images: pairs.weights.len(),
        species: pairs.groups.len(),
    })
}

/// `d[seed][image]`, images sorted by species.
pub(super) struct Pairs {
    pub(super) seeds: Vec<Vec<f64>>,
    /// Each species' images: start and end.
    pub(super) groups: Vec<Range<usize>>,
    /// Each image's share in a macro mean: 1 / (species x images of its species).
    pub(super) weights: Vec<f64>,
}

/// Estimated variances of the difference, by where they come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    pub(super) seeds: f64,
    pub(super) seed_degrees: f64,
    pub(super) images: f64,
    pub(super) image_degrees: f64,
}

impl Spread {
    pub(super) fn standard_error(&self) -> f64 {
        (self.seeds + self.images).sqrt()
    }

    /// Satterthwaite's effective degrees of freedom of the sum.
    pub(super) fn degrees(&self) -> f64 {
        let part = |variance: f64, degrees: f64| if variance > 0.0 { variance * variance / degrees } else { 0.0 };
        let below = part(self.seeds, self.seed_degrees) + part(self.images, self.image_degrees);
        if below > 0.0 { (self.seeds + self.images).powi(2) / below } else { f64::INFINITY }
    }
}

impl Pairs {
    pub(super) fn new(baseline: &[Vec<bool>], arm: &[Vec<bool>], species: &[usize]) -> Result<Pairs> {
        let n = species.len();
        if baseline.is_empty() || baseline.len() != arm.len() {
            return Err(Error::input(format!(
                "arms are compared seed by seed, but the baseline has {} and the arm {}",
                baseline.len(),
                arm.len()
            )));
        }
        if n < 2 || baseline.iter().chain(arm).any(|run| run.len() != n) {
            return Err(Error::input(format!(
                "arms are compared image by image on at least 2 test images; there are {n}, and a run that names {}",
                baseline.iter().chain(arm).map(Vec::len).find(|&len| len != n).unwrap_or(n)
            )));
        }
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by_key(|&image| (species[image], image));
        let mut groups: Vec<Range<usize>> = Vec::new();
        for place in 0..n {
            match groups.last_mut() {
                Some(group) if species[order[place]] == species[order[group.start]] => group.end = place + 1,
                _ => groups.push(place..place + 1),
            }
        }
        let weights =
            groups.iter().flat_map(|g| vec![1.0 / (groups.len() * g.len()) as f64; g.len()]).collect::<Vec<f64>>();
        let one = |(baseline, arm): (&Vec<bool>, &Vec<bool>)| {
            order.iter().map(|&i| f64::from(i8::from(arm[i]) - i8::from(baseline[i]))).collect()
        };
        Ok(Pairs { seeds: baseline.iter().zip(arm).map(one).collect(), groups, weights })
    }

    pub(super) fn macro_mean(&self, by_image: &[f64]) -> f64 {
        let species = |group: &Range<usize>| by_image[group.clone()].iter().sum::<f64>() / group.len() as f64;
        self.groups.iter().map(species).sum::<f64>() / self.groups.len() as f64
    }

    /// Each seed's macro difference.
    pub(super) fn by_seed(&self) -> Vec<f64> {
        self.seeds.iter().map(|run| self.macro_mean(run)).collect()
    }

    /// Each image's mean over seeds, a seed counted as often as its weight says.
    pub(super) fn by_image(&self, weights: &[f64]) -> Vec<f64> {
        let total: f64 = weights.iter().sum();
        let mut means = vec![0.0; self.weights.len()];
        for (run, weight) in self.seeds.iter().zip(weights).filter(|(_, weight)| **weight > 0.0) {
            means.iter_mut().zip(run).for_each(|(mean, d)| *mean += d * weight / total);
        }
        means
    }

    /// Unbiased variances of the macro difference: over seeds (with the images as they are), and over images (with the
    /// seeds as they are). A species with one test image takes the mean variance of the others; where all have one,
    /// they are taken as one population.
    pub(super) fn spread(&self, by_seed: &[f64], by_image: &[f64]) -> Spread {
        let within: Vec<Option<f64>> = self.groups.iter().map(|group| variance(&by_image[group.clone()])).collect();
        let known: Vec<f64> = within.iter().flatten().copied().collect();
        let rest = mean(&known).or_else(|| variance(by_image)).unwrap_or(0.0);
        let species = self.groups.len() as f64;
        let images = within.iter().zip(&self.groups).map(|(v, g)| v.unwrap_or(rest) / g.len() as f64).sum::<f64>();
        let free = self.weights.len() - if known.is_empty() { 1 } else { self.groups.len() };
        Spread {
            seeds: variance(by_seed).unwrap_or(0.0) / by_seed.len() as f64,
            seed_degrees: (by_seed.len() - 1).max(1) as f64,
            images: images / (species * species),
            image_degrees: free.max(1) as f64,
        }
    }

    /// What each seed and each image adds to the estimate's deviation, for the acceleration.
    fn influences(&self, by_seed: &[f64], by_image: &[f64]) -> Vec<f64> {
        let middle = mean(by_seed).unwrap_or(0.0);
        let seeds = by_seed.iter().map(|value| (value - middle) / by_seed.len() as f64);
        let images = self.groups.iter().flat_map(|group| {
            let middle = mean(&by_image[group.clone()]).unwrap_or(0.0);
            group.clone().map(move |i| (by_image[i] - middle) * self.weights[i])
        });
        seeds.chain(images).collect()
    }

    /// Macro differences of resampled seeds and, within species, images.
    fn resample(&self, options: &Options) -> Vec<f64> {
        let mut random = Random::new(options.seed, "two-level bootstrap");
        let mut drawn = vec![0.0; self.seeds.len()];
        let mut one = || {
            drawn.fill(0.0);
            (0..self.seeds.len()).for_each(|_| drawn[random.below(self.seeds.len())] += 1.0);
            let by_image = self.by_image(&drawn);
            let species = |group: &Range<usize>| {
                let images = &by_image[group.clone()];
                (0..images.len()).map(|_| images[random.below(images.len())]).sum::<f64>() / images.len() as f64
            };
            self.groups.iter().map(species).sum::<f64>() / self.groups.len() as f64
        };
        (0..options.resamples).map(|_| one()).collect()
    }
}

#[cfg(test)]
#[path = "difference_tests.rs"]
mod tests;
