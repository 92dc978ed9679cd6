//! Euler's method along the noise level (Karras et al. 2022, algorithm 1 without churn), and its ancestral form, which goes
//! further down and adds fresh noise up to the next level. Samples are `clean + level * noise`, not of unit variance.

use tch::{TchError, Tensor};

use super::settings::{Prediction, Settings, Spacing};
use super::spacing::Walk;
use super::{Sampler, clipped, fresh, weighted};
use crate::diffusion::schedule::Schedule;

/// Both walks.
pub struct Euler {
    settings: Settings,
    walk: Walk,
    ancestral: bool,
}

impl Euler {
    /// A walk of `steps` steps; the ancestral one knows no Karras levels and always ends at the clean sample.
    pub fn new(schedule: &Schedule, steps: usize, settings: &Settings, ancestral: bool) -> Euler {
        let mut settings = settings.clone();
        if ancestral {
            settings.levels = Default::default();
        }
        let walk = Walk::of_euler(schedule, steps, &settings);
        Euler { settings, walk, ancestral }
    }

    /// `(down, up)`: the level that step `index` walks to, and the noise added there.
    fn target(&self, index: usize) -> (f64, f64) {
        let (from, to) = (self.walk.sigmas[index], self.walk.sigmas[index + 1]);
        if !self.ancestral {
            return (to, 0.0);
        }
        let up = to * (from * from - to * to).max(0.0).sqrt() / from;
        ((to * to - up * up).max(0.0).sqrt(), up)
    }
}

impl Sampler for Euler {
    fn timesteps(&self) -> &[f64] {
        &self.walk.timesteps
    }

    fn initial_scale(&self) -> f64 {
        let highest = self.walk.sigmas.iter().copied().fold(0.0, f64::max);
        // Leading timesteps start below the noisiest: pure noise then stands for a sample with a clean part of variance 1.
        if self.settings.spacing == Spacing::Leading { (highest * highest + 1.0).sqrt() } else { highest }
    }

    fn scale_input(&self, sample: &Tensor, index: usize) -> Result<Tensor, TchError> {
        sample.f_mul_scalar(self.walk.alpha_sigma(index).0)
    }

    fn add_noise(&self, clean: &Tensor, noise: &Tensor, index: usize) -> Result<Tensor, TchError> {
        weighted(clean, 1.0, noise, self.walk.sigmas[index])
    }

    fn wants_noise(&self, index: usize) -> bool {
        self.target(index).1 > 0.0
    }

    fn step(
        &mut self,
        output: &Tensor,
        index: usize,
        sample: &Tensor,
        noise: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let level = self.walk.sigmas[index];
        let (down, up) = self.target(index);
        let next = if self.settings.prediction == Prediction::Epsilon && self.settings.clip.is_none() {
            weighted(sample, 1.0, output, down - level)?
        } else {
            let (alpha, sigma) = self.walk.alpha_sigma(index);
            let clean = match self.settings.prediction {
                Prediction::Epsilon => weighted(sample, 1.0, output, -level)?,
                Prediction::V => weighted(sample, alpha * alpha, output, -sigma)?,
                Prediction::Sample => output.shallow_clone(),
            };
            weighted(sample, down / level, &clipped(&self.settings, clean)?, 1.0 - down / level)?
        };
        if up > 0.0 { weighted(&next, 1.0, fresh(noise)?, up) } else { Ok(next) }
    }
}
