//! DPM-Solver++, the multistep data-prediction solver (Lu et al. 2022b, algorithm 2), of second order unless the model says
//! otherwise.

use tch::{TchError, Tensor};

use super::settings::Settings;
use super::spacing::Walk;
use super::{Sampler, predicted_clean, weighted};
use crate::diffusion::schedule::Schedule;

/// Walks shorter than this end with lower orders.
const SHORT: usize = 15;

/// The multistep walk; its first and last steps are of first order.
pub struct DpmSolver {
    settings: Settings,
    walk: Walk,
    /// Clean samples predicted at the steps before, latest first; as many as the order looks back.
    previous: Vec<Tensor>,
}

impl DpmSolver {
    /// A walk of `steps` steps.
    pub fn new(schedule: &Schedule, steps: usize, settings: &Settings, karras: bool) -> DpmSolver {
        let mut settings = settings.clone();
        settings.levels.karras |= karras;
        let walk = Walk::of_dpm_solver(schedule, steps, &settings);
        DpmSolver { settings, walk, previous: Vec::new() }
    }

    /// See [`Walk::repeats`].
    pub fn repeats(&self) -> bool {
        self.walk.repeats()
    }

    /// Order of step `index`.
    fn order(&self, index: usize) -> usize {
        let solver = &self.settings.solver;
        let left = self.walk.timesteps.len() - index;
        let short = solver.lower_order_final && self.walk.timesteps.len() < SHORT;
        let most = match left {
            1 if solver.euler_at_final || short || !self.settings.levels.end_at_lowest => 1,
            2 if short => 2,
            _ => 3,
        };
        most.min(solver.order).min(self.previous.len() + 1)
    }
}

impl Sampler for DpmSolver {
    fn timesteps(&self) -> &[f64] {
        &self.walk.timesteps
    }

    fn add_noise(&self, clean: &Tensor, noise: &Tensor, index: usize) -> Result<Tensor, TchError> {
        let (alpha, sigma) = self.walk.alpha_sigma(index);
        weighted(clean, alpha, noise, sigma)
    }

    fn step(
        &mut self,
        output: &Tensor,
        index: usize,
        sample: &Tensor,
        _noise: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let (alpha, sigma) = self.walk.alpha_sigma(index);
        let clean = predicted_clean(&self.settings, output, sample, alpha, sigma)?;
        let next = if self.walk.sigmas[index + 1] == 0.0 {
            // The level after the last step is 0: exp(-h) is 0 there, and the sample is the prediction itself.
            clean.shallow_clone()
        } else {
            let (next_alpha, next_sigma) = self.walk.alpha_sigma(index + 1);
            // lambda = log(alpha / sigma) = -log(level); exp(-h) - 1 = level' / level - 1.
            let h = self.walk.rise(index, index + 1);
            let gain = -next_alpha * libm::expm1(-h);
            // Integrals of the first and second derivative of the prediction.
            let first = next_alpha * (libm::expm1(-h) / h + 1.0);
            let second = -next_alpha * ((libm::expm1(-h) + h) / (h * h) - 0.5);
            let r = |back: usize| self.walk.rise(index - back - 1, index - back) / h;
            match self.order(index) {
                1 => weighted(sample, next_sigma / sigma, &clean, gain)?,
                2 if self.settings.solver.heun => {
                    let slope = first / r(0);
                    let direction = weighted(&clean, gain + slope, &self.previous[0], -slope)?;
                    weighted(sample, next_sigma / sigma, &direction, 1.0)?
                }
                2 => {
                    let r = r(0);
                    let direction = weighted(&clean, 1.0 + 0.5 / r, &self.previous[0], -0.5 / r)?;
                    weighted(sample, next_sigma / sigma, &direction, gain)?
                }
                _ => {
                    let (r0, r1) = (r(0), r(1));
                    let newer = weighted(&clean, 1.0 / r0, &self.previous[0], -1.0 / r0)?;
                    let older = weighted(&self.previous[0], 1.0 / r1, &self.previous[1], -1.0 / r1)?;
                    let bend = newer.f_sub(&older)?.f_mul_scalar(1.0 / (r0 + r1))?;
                    let slope = weighted(&newer, 1.0, &bend, r0)?;
                    let derivatives = weighted(&slope, first, &bend, second)?;
                    weighted(sample, next_sigma / sigma, &clean, gain)?.f_add(&derivatives)?
                }
            }
        };
        self.previous.insert(0, clean);
        self.previous.truncate(self.settings.solver.order - 1);
        Ok(next)
    }
}
