//! DPM-Solver++(2M), the multistep data-prediction solver of second order (Lu et al. 2022b, algorithm 2, midpoint form).

use tch::{TchError, Tensor};

use super::{Sampler, Settings, Spacing, linspace, predicted_clean, trailing, weighted};
use crate::diffusion::schedule::{Betas, Schedule};

/// Noise levels are those of Karras et al. 2022, eq. 5, with this rho.
const KARRAS_RHO: f64 = 7.0;

/// The second-order walk; its first and last steps are of first order.
pub struct DpmSolver2M {
    settings: Settings,
    timesteps: Vec<i64>,
    /// Noise-to-signal level before each step, and 0 after the last.
    sigmas: Vec<f64>,
    /// The clean sample predicted at the step before.
    previous: Option<Tensor>,
}

impl DpmSolver2M {
    /// A walk of `steps` steps.
    pub fn new(schedule: &Schedule, steps: usize, settings: Settings, karras: bool) -> DpmSolver2M {
        let total = schedule.timesteps();
        let levels = schedule.sigmas();
        let (timesteps, mut sigmas): (Vec<i64>, Vec<f64>) = if karras {
            let sigmas = karras_levels(levels[0], levels[total - 1], steps);
            let round = |t: f64| if schedule.kind() == Betas::Cosine { t.trunc() } else { t.round_ties_even() };
            (sigmas.iter().map(|sigma| round(timestep_of(*sigma, &levels)) as i64).collect(), sigmas)
        } else {
            let timesteps: Vec<i64> = match settings.spacing {
                Spacing::Leading => {
                    let stride = (total / (steps + 1)) as i64;
                    (1..=steps as i64).rev().map(|i| i * stride + settings.steps_offset).collect()
                }
                Spacing::Trailing => trailing(total, steps),
                Spacing::Linspace => linspace(total as f64 - 1.0, steps + 1).into_iter().skip(1).rev().collect(),
            };
            let sigmas = timesteps.iter().map(|t| levels[(*t as usize).min(total - 1)]).collect();
            (timesteps, sigmas)
        };
        sigmas.push(0.0);
        DpmSolver2M { settings, timesteps, sigmas, previous: None }
    }

    /// `(alpha, sigma)` of unit variance at level `index`.
    fn alpha_sigma(&self, index: usize) -> (f64, f64) {
        let level = self.sigmas[index];
        let alpha = 1.0 / (level * level + 1.0).sqrt();
        (alpha, level * alpha)
    }
}

impl Sampler for DpmSolver2M {
    fn timesteps(&self) -> &[i64] {
        &self.timesteps
    }

    fn add_noise(&self, clean: &Tensor, noise: &Tensor, index: usize) -> Result<Tensor, TchError> {
        let (alpha, sigma) = self.alpha_sigma(index);
        weighted(clean, alpha, noise, sigma)
    }

    fn step(&mut self, output: &Tensor, index: usize, sample: &Tensor) -> Result<Tensor, TchError> {
        let (alpha, sigma) = self.alpha_sigma(index);
        let clean = predicted_clean(&self.settings, output, sample, alpha, sigma)?;
        let last = index + 1 == self.timesteps.len();
        let next = if last {
            // The level after the last step is 0: exp(-h) is 0 there, and the sample is the prediction itself.
            clean.shallow_clone()
        } else {
            let (next_alpha, next_sigma) = self.alpha_sigma(index + 1);
            // lambda = log(alpha / sigma) = -log(level); exp(-h) - 1 = level' / level - 1.
            let h = libm::log(self.sigmas[index] / self.sigmas[index + 1]);
            let gain = -next_alpha * libm::expm1(-h);
            let direction = match &self.previous {
                None => clean.shallow_clone(),
                Some(previous) => {
                    let r = libm::log(self.sigmas[index - 1] / self.sigmas[index]) / h;
                    weighted(&clean, 1.0 + 0.5 / r, previous, -0.5 / r)?
                }
            };
            weighted(sample, next_sigma / sigma, &direction, gain)?
        };
        self.previous = Some(clean);
        Ok(next)
    }
}

/// `steps` noise levels from `highest` down to `lowest`.
fn karras_levels(lowest: f64, highest: f64, steps: usize) -> Vec<f64> {
    let root = |sigma: f64| libm::pow(sigma, 1.0 / KARRAS_RHO);
    let (low, high) = (root(lowest), root(highest));
    let denominator = (steps.max(2) - 1) as f64;
    (0..steps).map(|i| libm::pow(high + (low - high) * i as f64 / denominator, KARRAS_RHO)).collect()
}

/// The fractional training timestep of a noise level, interpolated in the logarithm; `levels` increase.
fn timestep_of(sigma: f64, levels: &[f64]) -> f64 {
    let log = libm::log(sigma.max(1e-10));
    let below = levels.iter().filter(|level| libm::log(**level) <= log).count();
    let low = below.saturating_sub(1).min(levels.len() - 2);
    let (log_low, log_high) = (libm::log(levels[low]), libm::log(levels[low + 1]));
    let w = ((log_low - log) / (log_low - log_high)).clamp(0.0, 1.0);
    low as f64 + w
}
