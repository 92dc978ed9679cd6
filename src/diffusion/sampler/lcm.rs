//! The multistep sampler of latent consistency models (Luo et al. 2023, algorithm 3).

use tch::{TchError, Tensor};

use super::products::Products;
use super::settings::Settings;
use super::{Sampler, fresh, predicted_clean, weighted};
use crate::diffusion::schedule::Schedule;

/// Standard deviation of clean samples in the boundary condition.
const SIGMA_DATA: f64 = 0.5;

/// Jumps to the clean sample in every step and noises it again but for the last.
pub struct Lcm {
    settings: Settings,
    products: Products,
    timesteps: Vec<f64>,
}

impl Lcm {
    /// A walk of `steps` of the steps of the walk that it was distilled from.
    pub fn new(schedule: &Schedule, steps: usize, settings: &Settings) -> Lcm {
        let original = settings.consistency.steps;
        let stride = schedule.timesteps() / original;
        let share = original as f64 / steps as f64;
        let places = (0..steps).map(|i| original - (i as f64 * share).floor() as usize);
        let timesteps = places.map(|place| (place * stride) as f64 - 1.0).collect();
        Lcm { settings: settings.clone(), products: Products::new(schedule, settings.end_clean), timesteps }
    }
}

impl Sampler for Lcm {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn add_noise(&self, clean: &Tensor, noise: &Tensor, index: usize) -> Result<Tensor, TchError> {
        self.products.add_noise(clean, noise, self.timesteps[index])
    }

    fn wants_noise(&self, index: usize) -> bool {
        index + 1 < self.timesteps.len()
    }

    fn step(
        &mut self,
        output: &Tensor,
        index: usize,
        sample: &Tensor,
        noise: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let t = self.timesteps[index];
        let (alpha, sigma) = self.products.alpha_sigma(t as i64);
        let clean = predicted_clean(&self.settings, output, sample, alpha, sigma)?;
        let scaled = t * self.settings.consistency.scaling;
        let length = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
        let (of_sample, of_clean) = (SIGMA_DATA * SIGMA_DATA / length, scaled / length.sqrt());
        let denoised = weighted(&clean, of_clean, sample, of_sample)?;
        if !self.wants_noise(index) {
            return Ok(denoised);
        }
        let (next_alpha, next_sigma) = self.products.alpha_sigma(self.timesteps[index + 1] as i64);
        weighted(&denoised, next_alpha, fresh(noise)?, next_sigma)
    }
}
