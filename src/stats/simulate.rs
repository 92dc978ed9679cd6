//! Simulated runs of two arms, for the tests of comparisons and of power.

use super::random::Random;

/// A world in which the true difference in macro accuracy is `delta`.
#[derive(Clone, Copy)]
pub struct World {
    pub species: usize,
    pub images: usize,
    pub seeds: usize,
    pub delta: f64,
    /// Chance that just one arm is right, at least `delta`.
    pub disagreement: f64,
    /// Share of images on which the same arm wins in every run.
    pub persistent: f64,
    /// Standard deviation of a run's own shift of all images.
    pub run_std: f64,
}

pub struct Runs {
    pub baseline: Vec<Vec<bool>>,
    pub arm: Vec<Vec<bool>>,
    pub species: Vec<usize>,
}

impl World {
    pub fn draw(&self, number: u64) -> Runs {
        let mut random = Random::new(number, "simulated runs");
        let n = self.species * self.images;
        let species = (0..n).map(|i| i / self.images).collect();
        // An image is decided once for all runs or anew in each; so is its share of the variance.
        let fixed: Vec<Option<f64>> =
            (0..n).map(|_| random.chance(self.persistent).then(|| random.uniform())).collect();
        let (mut baseline, mut arm) = (Vec::new(), Vec::new());
        for _ in 0..self.seeds {
            let delta = self.delta + self.run_std * random.normal();
            let outcome: Vec<i8> = fixed
                .iter()
                .map(|fixed| {
                    let u = fixed.unwrap_or_else(|| random.uniform());
                    let wins = 0.5 * (self.disagreement + delta);
                    if u < wins {
                        1
                    } else if u < self.disagreement {
                        -1
                    } else {
                        0
                    }
                })
                .collect();
            let both: Vec<bool> = (0..n).map(|_| random.chance(0.7)).collect();
            baseline.push(outcome.iter().zip(&both).map(|(&d, &both)| d < 0 || d == 0 && both).collect());
            arm.push(outcome.iter().zip(&both).map(|(&d, &both)| d > 0 || d == 0 && both).collect());
        }
        Runs { baseline, arm, species }
    }
}
