//! DDIM (Song et al. 2021, eq. 12 with eta 0).

use tch::{TchError, Tensor};

use super::{Prediction, Sampler, Settings, Spacing, linspace, predicted_clean, trailing, weighted};
use crate::diffusion::schedule::Schedule;

/// The deterministic first-order walk.
pub struct Ddim {
    settings: Settings,
    alphas_cumprod: Vec<f64>,
    timesteps: Vec<i64>,
    /// Training timesteps between two sampling steps.
    stride: i64,
}

impl Ddim {
    /// A walk of `steps` steps.
    pub fn new(schedule: &Schedule, steps: usize, settings: Settings) -> Ddim {
        let total = schedule.timesteps();
        let stride = (total / steps) as i64;
        let timesteps = match settings.spacing {
            Spacing::Leading => (0..steps as i64).rev().map(|i| i * stride + settings.steps_offset).collect(),
            Spacing::Trailing => trailing(total, steps),
            Spacing::Linspace => linspace(total as f64 - 1.0, steps).into_iter().rev().collect(),
        };
        Ddim { settings, alphas_cumprod: schedule.alphas_cumprod().to_vec(), timesteps, stride }
    }

    fn alpha_sigma(&self, t: i64) -> (f64, f64) {
        let product = match usize::try_from(t) {
            Ok(t) => self.alphas_cumprod[t.min(self.alphas_cumprod.len() - 1)],
            Err(_) if self.settings.end_clean => 1.0,
            Err(_) => self.alphas_cumprod[0],
        };
        (product.sqrt(), (1.0 - product).sqrt())
    }
}

impl Sampler for Ddim {
    fn timesteps(&self) -> &[i64] {
        &self.timesteps
    }

    fn add_noise(&self, clean: &Tensor, noise: &Tensor, index: usize) -> Result<Tensor, TchError> {
        let (alpha, sigma) = self.alpha_sigma(self.timesteps[index]);
        weighted(clean, alpha, noise, sigma)
    }

    fn step(&mut self, output: &Tensor, index: usize, sample: &Tensor) -> Result<Tensor, TchError> {
        let t = self.timesteps[index];
        let (alpha, sigma) = self.alpha_sigma(t);
        let (next_alpha, next_sigma) = self.alpha_sigma(t - self.stride);
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
