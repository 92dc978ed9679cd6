//! A schedule as the samplers see it that walk from training timestep to training timestep.

use tch::{TchError, Tensor};

use super::weighted;
use crate::diffusion::schedule::Schedule;

/// Share of the clean sample's variance left at each timestep, and after the last step.
pub(super) struct Products {
    products: Vec<f64>,
    end: f64,
}

impl Products {
    /// With `end_clean` nothing but the clean sample is left after the last step, else what timestep 0 has.
    pub fn new(schedule: &Schedule, end_clean: bool) -> Products {
        let products = schedule.alphas_cumprod().to_vec();
        let end = if end_clean { 1.0 } else { products[0] };
        Products { products, end }
    }

    /// At timestep `t`; below 0 is the end.
    pub fn at(&self, t: i64) -> f64 {
        match usize::try_from(t) {
            Ok(t) => self.products[t.min(self.products.len() - 1)],
            Err(_) => self.end,
        }
    }

    /// `(alpha, sigma)` of timestep `t`.
    pub fn alpha_sigma(&self, t: i64) -> (f64, f64) {
        let product = self.at(t);
        (product.sqrt(), (1.0 - product).sqrt())
    }

    /// The clean sample noised to timestep `t`.
    pub fn add_noise(&self, clean: &Tensor, noise: &Tensor, t: f64) -> Result<Tensor, TchError> {
        let (alpha, sigma) = self.alpha_sigma(t as i64);
        weighted(clean, alpha, noise, sigma)
    }
}
