//! DDPM's ancestral walk (Ho et al. 2020, eq. 7), over any of the training timesteps.

use tch::{TchError, Tensor};

use super::products::Products;
use super::settings::{Settings, Variance};
use super::{Sampler, fresh, predicted_clean, spacing, weighted};
use crate::diffusion::schedule::Schedule;

/// The walk that draws noise in every step but one to timestep 0.
pub struct Ddpm {
    settings: Settings,
    products: Products,
    timesteps: Vec<f64>,
}

impl Ddpm {
    /// A walk of `steps` steps.
    pub fn new(schedule: &Schedule, steps: usize, settings: &Settings) -> Ddpm {
        let timesteps = spacing::timesteps(schedule.timesteps(), steps, settings);
        let timesteps = timesteps.into_iter().map(|t| t as f64).collect();
        Ddpm { settings: settings.clone(), products: Products::new(schedule, true), timesteps }
    }
}

impl Sampler for Ddpm {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn add_noise(&self, clean: &Tensor, noise: &Tensor, index: usize) -> Result<Tensor, TchError> {
        self.products.add_noise(clean, noise, self.timesteps[index])
    }

    fn wants_noise(&self, index: usize) -> bool {
        self.timesteps[index] > 0.0
    }

    fn step(
        &mut self,
        output: &Tensor,
        index: usize,
        sample: &Tensor,
        noise: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let t = self.timesteps[index] as i64;
        let next = self.timesteps.get(index + 1).map_or(-1, |t| *t as i64);
        let (product, next_product) = (self.products.at(t), self.products.at(next));
        let (alpha, sigma) = self.products.alpha_sigma(t);
        let clean = predicted_clean(&self.settings, output, sample, alpha, sigma)?;
        let kept = product / next_product;
        let of_clean = next_product.sqrt() * (1.0 - kept) / (1.0 - product);
        let of_sample = kept.sqrt() * (1.0 - next_product) / (1.0 - product);
        let mean = weighted(&clean, of_clean, sample, of_sample)?;
        if !self.wants_noise(index) {
            return Ok(mean);
        }
        let variance = match self.settings.variance {
            Variance::Small => ((1.0 - next_product) / (1.0 - product) * (1.0 - kept)).max(1e-20),
            Variance::Large => 1.0 - kept,
        };
        weighted(&mean, 1.0, fresh(noise)?, variance.sqrt())
    }
}
