//! DDIM (Song et al. 2021, eq. 12 with eta 0).

use tch::{TchError, Tensor};

use super::products::Products;
use super::settings::{Prediction, Settings};
use super::{Sampler, predicted_clean, spacing, weighted};
use crate::diffusion::schedule::Schedule;

/// The deterministic first-order walk.
pub struct Ddim {
    settings: Settings,
    products: Products,
    timesteps: Vec<f64>,
    /// Training timesteps between two sampling steps.
    stride: i64,
}

impl Ddim {
    /// A walk of `steps` steps.
    pub fn new(schedule: &Schedule, steps: usize, settings: &Settings) -> Ddim {
        let total = schedule.timesteps();
        let timesteps = spacing::timesteps(total, steps, settings).into_iter().map(|t| t as f64).collect();
        let products = Products::new(schedule, settings.end_clean);
        Ddim { settings: settings.clone(), products, timesteps, stride: (total / steps) as i64 }
    }
}

impl Sampler for Ddim {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn add_noise(&self, clean: &Tensor, noise: &Tensor, index: usize) -> Result<Tensor, TchError> {
        self.products.add_noise(clean, noise, self.timesteps[index])
    }

    fn step(
        &mut self,
        output: &Tensor,
        index: usize,
        sample: &Tensor,
        _noise: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let t = self.timesteps[index] as i64;
        let (alpha, sigma) = self.products.alpha_sigma(t);
        let (next_alpha, next_sigma) = self.products.alpha_sigma(t - self.stride);
        let clean = predicted_clean(&self.settings, output, sample, alpha, sigma)?;
        // The noise is the network's own where it predicts noise or v, also where the clean sample was clipped.
        let noise = match self.settings.prediction {
            Prediction::Epsilon => output.shallow_clone(),
            Prediction::V => weighted(output, alpha, sample, sigma)?,
            Prediction::Sample => weighted(sample, 1.0 / sigma, output, -alpha / sigma)?,
        };
        weighted(&clean, next_alpha, &noise, next_sigma)
    }
}
