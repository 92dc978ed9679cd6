//! PNDM (Liu et al. 2022): linear multistep of fourth order on the network's output. As 1.x checkpoints ask for it (PLMS), the
//! first two network calls make one step; with Runge-Kutta warm-up, the first three steps take twelve calls.

use tch::{TchError, Tensor};

use super::products::Products;
use super::settings::{Prediction, Settings};
use super::{Sampler, spacing, weighted};
use crate::diffusion::schedule::Schedule;

/// Steps that are warmed up by Runge-Kutta, with four calls each.
const WARM_UP: usize = 3;

/// The walk by the outputs of the last four calls.
pub struct Pndm {
    settings: Settings,
    products: Products,
    timesteps: Vec<f64>,
    /// Calls of the Runge-Kutta warm-up, 0 without it.
    warm_up: usize,
    stride: i64,
    /// Calls made so far: a walk that starts further down still warms up.
    calls: usize,
    /// Outputs of the calls before, latest first.
    outputs: Vec<Tensor>,
    /// Where the step began that takes several calls.
    start: Option<Tensor>,
    /// What the calls of a Runge-Kutta step add up to.
    sum: Option<Tensor>,
}

impl Pndm {
    /// A walk of `steps` steps, at least 4 with Runge-Kutta.
    pub fn new(schedule: &Schedule, steps: usize, settings: &Settings) -> Pndm {
        let total = schedule.timesteps();
        let stride = (total / steps) as i64;
        let plain = spacing::timesteps(total, steps, settings);
        let (timesteps, warm_up) = if settings.runge_kutta {
            let mut calls: Vec<i64> = Vec::new();
            for i in 0..WARM_UP {
                let (half, next) = (plain[i + 1] + stride / 2, plain[i + 1]);
                calls.extend([plain[i], half, half, next]);
            }
            let warm_up = calls.len();
            calls.extend(&plain[WARM_UP..]);
            (calls, warm_up)
        } else {
            let mut calls = plain;
            if steps > 1 {
                calls.insert(1, calls[1]);
            }
            (calls, 0)
        };
        Pndm {
            settings: settings.clone(),
            products: Products::new(schedule, settings.end_clean),
            timesteps: timesteps.into_iter().map(|t| t as f64).collect(),
            warm_up,
            stride,
            calls: 0,
            outputs: Vec::new(),
            start: None,
            sum: None,
        }
    }

    /// One of the four calls of a Runge-Kutta step (eq. 13): `output` at timestep `t`.
    fn runge_kutta(&mut self, output: &Tensor, t: i64, sample: &Tensor) -> Result<Tensor, TchError> {
        let call = self.calls % 4;
        let next = t - if self.calls.is_multiple_of(2) { self.stride / 2 } else { 0 };
        let from = self.timesteps[self.calls - call] as i64;
        let mut used = output.shallow_clone();
        match call {
            0 => {
                self.sum = Some(output.f_mul_scalar(1.0 / 6.0)?);
                self.outputs.insert(0, output.shallow_clone());
                self.start = Some(sample.shallow_clone());
            }
            1 | 2 => self.sum = Some(self.added(output, 1.0 / 3.0)?),
            _ => {
                used = self.added(output, 1.0 / 6.0)?;
                self.sum = None;
            }
        }
        let start = self.start.as_ref().unwrap_or(sample).shallow_clone();
        self.transfer(&start, &used, from, next)
    }

    fn added(&self, output: &Tensor, share: f64) -> Result<Tensor, TchError> {
        match &self.sum {
            Some(sum) => weighted(sum, 1.0, output, share),
            None => output.f_mul_scalar(share),
        }
    }

    /// One call of the linear multistep (eq. 12, and its lower orders for the first calls).
    fn linear(&mut self, output: &Tensor, t: i64, sample: &Tensor) -> Result<Tensor, TchError> {
        if self.calls == 1 {
            // The second call looks at where the first step led, and makes that step again.
            let mean = weighted(output, 0.5, &self.outputs[0], 0.5)?;
            let start = self.start.take().unwrap_or_else(|| sample.shallow_clone());
            return self.transfer(&start, &mean, t + self.stride, t);
        }
        self.outputs.insert(0, output.shallow_clone());
        self.outputs.truncate(4);
        if self.calls == 0 {
            self.start = Some(sample.shallow_clone());
        }
        let weights: &[f64] = match self.outputs.len() {
            1 => &[1.0],
            2 => &[3.0 / 2.0, -1.0 / 2.0],
            3 => &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
            _ => &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
        };
        let mut used = self.outputs[0].f_mul_scalar(weights[0])?;
        for (output, weight) in self.outputs.iter().zip(weights).skip(1) {
            used = weighted(&used, 1.0, output, *weight)?;
        }
        self.transfer(sample, &used, t, t - self.stride)
    }

    /// From timestep `from` to `to` along the network's output (eq. 11).
    fn transfer(&self, sample: &Tensor, output: &Tensor, from: i64, to: i64) -> Result<Tensor, TchError> {
        let (product, next) = (self.products.at(from), self.products.at(to));
        let (alpha, sigma) = self.products.alpha_sigma(from);
        let noise = match self.settings.prediction {
            Prediction::Epsilon => output.shallow_clone(),
            Prediction::V => weighted(output, alpha, sample, sigma)?,
            Prediction::Sample => weighted(sample, 1.0 / sigma, output, -alpha / sigma)?,
        };
        let denominator = product * (1.0 - next).sqrt() + (product * (1.0 - product) * next).sqrt();
        weighted(sample, (next / product).sqrt(), &noise, -(next - product) / denominator)
    }
}

impl Sampler for Pndm {
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
        let next = if self.calls < self.warm_up {
            self.runge_kutta(output, t, sample)
        } else {
            self.linear(output, t, sample)
        }?;
        self.calls += 1;
        Ok(next)
    }
}
