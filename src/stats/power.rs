//! How small a difference a test set and a number of seeds can show, before anything is trained.
//!
//! Model of `d[seed][image]` (see [`super::difference`]): mean `delta`, variance `disagreement - delta^2`, of which the
//! share `persistent` belongs to the image whatever the seed and the rest to this seed on this image; on top, each seed
//! moves all images by a normal deviation of `run_std`. The verdict's rule is then followed exactly in distribution:
//! the estimate is normal, the variance over seeds is chi-squared, and the interval is as wide as Student's quantile at
//! Satterthwaite's degrees of freedom makes it.

use super::difference::{Pairs, Spread};
use super::distributions::{chi_shape, normal_cdf, normal_quantile, student_quantile};
use crate::error::{Error, Result};

/// A planned comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Design {
    /// Test images of each species that has any.
    pub images: Vec<usize>,
    /// Paired seeds, at least 1.
    pub seeds: usize,
    /// Share of images, in (0, 1], on which just one of the two arms is right in a run. Two runs of accuracy `a` whose
    /// errors are independent disagree on `2 a (1 - a)`; usually it is less.
    pub disagreement: f64,
    /// Share of that variance which repeats with every seed, in [0, 1]. One half where nothing is known.
    pub persistent: f64,
    /// Standard deviation, over seeds, of a deviation common to all images; 0 where nothing is known.
    pub run_std: f64,
    /// Level of the interval and of the test: 0.05.
    pub alpha: f64,
    /// Comparisons among which [`super::verdict::holm`] adjusts the test, at least 1. The power is that of the first of
    /// them to be shown, which has to pass at `alpha` over their number.
    pub comparisons: usize,
}

/// What [`Design::assumed`] takes a disagreement to be where nothing is known: two runs of one recipe on a small set of
/// photos disagree on about a quarter of the images.
pub const DISAGREEMENT: f64 = 0.25;

impl Design {
    /// Before anything is known but an assumed disagreement.
    pub fn assumed(images: Vec<usize>, seeds: usize, disagreement: f64) -> Design {
        Design { images, seeds, disagreement, persistent: 0.5, run_std: 0.0, alpha: 0.05, comparisons: 1 }
    }

    /// From two arms that were already compared, such as the real and the oversampled one (arguments as for
    /// [`super::difference::paired_difference`]), planned for `seeds` seeds on the same images.
    ///
    /// # Errors
    /// As there.
    pub fn measured(baseline: &[Vec<bool>], arm: &[Vec<bool>], species: &[usize], seeds: usize) -> Result<Design> {
        let pairs = Pairs::new(baseline, arm, species)?;
        let (by_seed, by_image) = (pairs.by_seed(), pairs.by_image(&vec![1.0; pairs.seeds.len()]));
        let delta = pairs.macro_mean(&by_image);
        let squares = |run: &Vec<f64>| pairs.macro_mean(&run.iter().map(|d| d * d).collect::<Vec<_>>());
        let runs = pairs.seeds.len() as f64;
        let disagreement = pairs.seeds.iter().map(squares).sum::<f64>() / runs;
        let mut design = Design::assumed(pairs.groups.iter().map(|g| g.len()).collect(), seeds, disagreement);
        let variance = (disagreement - delta * delta) * design.scale();
        if pairs.seeds.len() > 1 && variance > 0.0 {
            let Spread { seeds: over_seeds, images: over_images, .. } = pairs.spread(&by_seed, &by_image);
            design.persistent = ((over_images / variance * runs - 1.0) / (runs - 1.0)).clamp(0.0, 1.0);
            design.run_std = (over_seeds * runs - (1.0 - design.persistent) * variance).max(0.0).sqrt();
        }
        Ok(design)
    }

    /// The chance that the verdict would be "helped" if the arm's true macro accuracy were `delta` higher.
    ///
    /// # Errors
    /// No seed, no image, a share outside its range.
    pub fn power(&self, delta: f64) -> Result<f64> {
        self.check()?;
        Ok(self.chance(delta))
    }

    /// The smallest difference in macro accuracy that would be shown with the chance `power` (0.8 is usual); `None`
    /// where not even a difference of 1 would.
    ///
    /// # Errors
    /// As [`Design::power`].
    pub fn smallest_difference(&self, power: f64) -> Result<Option<f64>> {
        self.check()?;
        if self.chance(1.0) < power {
            return Ok(None);
        }
        let (mut low, mut high) = (0.0, 1.0);
        while high - low > 1e-5 {
            let middle = 0.5 * (low + high);
            if self.chance(middle) < power { low = middle } else { high = middle }
        }
        Ok(Some(high))
    }

    fn check(&self) -> Result<()> {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let fine = self.seeds > 0
            && self.comparisons > 0
            && !self.images.is_empty()
            && !self.images.contains(&0)
            && share(self.disagreement)
            && share(self.persistent)
            && self.run_std >= 0.0
            && self.alpha > 0.0
            && self.alpha < 1.0;
        if fine { Ok(()) } else { Err(Error::input(format!("there is no power of such a comparison: {self:?}"))) }
    }

    /// The variance of a macro mean of independent images of variance 1.
    fn scale(&self) -> f64 {
        let species = self.images.len() as f64;
        self.images.iter().map(|&n| 1.0 / n as f64).sum::<f64>() / (species * species)
    }

    fn chance(&self, delta: f64) -> f64 {
        let seeds = self.seeds as f64;
        // A difference of delta needs at least as much disagreement.
        let variance = (self.disagreement.max(delta) - delta * delta) * self.scale();
        let over_images = (self.persistent + (1.0 - self.persistent) / seeds) * variance;
        let common = self.run_std * self.run_std / seeds;
        let over_seeds = (1.0 - self.persistent) * variance / seeds + common;
        let truth = (over_images + common).sqrt();
        let level = 1.0 - 0.5 * self.alpha;
        // The permutation test's own threshold, by its normal approximation.
        let test_level = 1.0 - 0.5 * self.alpha / self.comparisons as f64;
        let test = normal_quantile(test_level) * (over_images + delta * delta * self.scale()).sqrt();
        let image_degrees = (self.images.iter().sum::<usize>() as f64 - self.images.len() as f64).max(1.0);
        let shown = |estimated: f64, seed_degrees: f64| {
            let spread = Spread { seeds: estimated, seed_degrees, images: over_images, image_degrees };
            let needed = (student_quantile(level, spread.degrees()) * spread.standard_error()).max(test);
            if truth > 0.0 { normal_cdf((delta - needed) / truth) } else { f64::from(delta > needed) }
        };
        if self.seeds == 1 {
            return shown(0.0, 1.0);
        }
        // Over the chi-squared variance between seeds, by the midpoint rule in its root.
        let degrees = seeds - 1.0;
        let step = (degrees.sqrt() + 7.0) / 160.0;
        let (mut total, mut weights) = (0.0, 0.0);
        for i in 0..160 {
            let r = (f64::from(i) + 0.5) * step;
            let weight = chi_shape(r, degrees);
            total += weight * shown(over_seeds * r * r / degrees, degrees);
            weights += weight;
        }
        total / weights
    }
}

#[cfg(test)]
#[path = "power_tests.rs"]
mod tests;
