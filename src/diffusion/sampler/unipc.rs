//! UniPC, the multistep predictor and corrector in data prediction (Zhao et al. 2023, algorithms 5 and 6), of second order
//! with `B(h) = exp(h) - 1` unless the model says otherwise.

use tch::{TchError, Tensor};

use super::settings::Settings;
use super::spacing::Walk;
use super::{Sampler, predicted_clean, weighted};
use crate::diffusion::schedule::Schedule;

/// Predicts the next sample; once the network has seen it, corrects it before the next prediction.
pub struct UniPc {
    settings: Settings,
    walk: Walk,
    /// Clean samples predicted at the steps before, latest first; at most as many as the order.
    previous: Vec<Tensor>,
    /// The sample that the last prediction started from, and that prediction's order.
    last: Option<(Tensor, usize)>,
}

impl UniPc {
    /// A walk of `steps` steps.
    pub fn new(schedule: &Schedule, steps: usize, settings: &Settings) -> UniPc {
        let walk = Walk::of_unipc(schedule, steps, settings);
        UniPc { settings: settings.clone(), walk, previous: Vec::new(), last: None }
    }

    /// See [`Walk::repeats`].
    pub fn repeats(&self) -> bool {
        self.walk.repeats()
    }

    /// From level `from` to the next by the differences to the latest prediction, each with its place; `newest` is the
    /// prediction at the next level itself, for the corrector.
    fn update(&self, from: usize, start: &Tensor, order: usize, newest: Option<&Tensor>) -> Result<Tensor, TchError> {
        let latest = &self.previous[0];
        let (_, sigma) = self.walk.alpha_sigma(from);
        let (next_alpha, next_sigma) = self.walk.alpha_sigma(from + 1);
        if self.walk.sigmas[from + 1] == 0.0 {
            return Ok(latest.shallow_clone());
        }
        let h = self.walk.rise(from, from + 1);
        let gain = libm::expm1(-h);
        let weight = if self.settings.solver.bh1 { -h } else { gain };
        let mut next = weighted(start, next_sigma / sigma, latest, -next_alpha * gain)?;
        // Places of the predictions in units of h: those before are negative, the newest is at 1.
        let mut places: Vec<f64> = (1..order).map(|i| self.walk.rise(from, from - i) / h).collect();
        let mut others: Vec<&Tensor> = self.previous[1..order].iter().collect();
        if let Some(newest) = newest {
            places.push(1.0);
            others.push(newest);
        }
        for ((other, place), share) in others.iter().zip(&places).zip(shares(&places, h, weight)) {
            let difference = other.f_sub(latest)?;
            next = weighted(&next, 1.0, &difference, -next_alpha * weight * share / place)?;
        }
        Ok(next)
    }
}

impl Sampler for UniPc {
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
        let solver = &self.settings.solver;
        let (alpha, sigma) = self.walk.alpha_sigma(index);
        let clean = predicted_clean(&self.settings, output, sample, alpha, sigma)?;
        let corrected = match &self.last {
            Some((start, order)) if !solver.uncorrected.contains(&(index - 1)) => {
                self.update(index - 1, start, *order, Some(&clean))?
            }
            _ => sample.shallow_clone(),
        };
        let left = if solver.lower_order_final { self.walk.timesteps.len() - index } else { usize::MAX };
        let order = solver.order.min(left).min(self.previous.len() + 1);
        self.previous.insert(0, clean);
        self.previous.truncate(self.settings.solver.order);
        let next = self.update(index, &corrected, order, None)?;
        self.last = Some((corrected, order));
        Ok(next)
    }
}

/// How much each difference counts (eq. 9 and 10): `sum over k of share[k] * place[k]^(m - 1) = b[m]`. For one difference
/// alone the paper takes one half, which is of the same order.
fn shares(places: &[f64], h: f64, weight: f64) -> Vec<f64> {
    if places.len() < 2 {
        return vec![0.5; places.len()];
    }
    let mut phi = libm::expm1(-h) / -h - 1.0;
    let mut factorial = 1.0;
    let mut rows = Vec::new();
    for m in 1..=places.len() {
        let mut row: Vec<f64> = places.iter().map(|place| place.powi(m as i32 - 1)).collect();
        row.push(phi * factorial / weight);
        rows.push(row);
        factorial *= m as f64 + 1.0;
        phi = phi / -h - 1.0 / factorial;
    }
    solve(rows)
}

/// Gauss and Jordan's elimination of rows that end with their right side; the places differ, so no pivot is 0.
fn solve(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let n = rows.len();
    for column in 0..n {
        let largest = (column..n).max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()));
        rows.swap(column, largest.unwrap_or(column));
        let pivot = rows[column].clone();
        for (_, row) in rows.iter_mut().enumerate().filter(|(place, _)| *place != column) {
            let factor = row[column] / pivot[column];
            row.iter_mut().zip(&pivot).for_each(|(value, pivot)| *value -= factor * pivot);
        }
    }
    (0..n).map(|i| rows[i][n] / rows[i][i]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_system_is_solved_with_a_zero_on_its_diagonal() {
        let solved = solve(vec![vec![0.0, 2.0, 1.0, 7.0], vec![1.0, 1.0, 1.0, 6.0], vec![2.0, 0.0, -1.0, -1.0]]);
        for (found, wanted) in solved.iter().zip([1.0, 2.0, 3.0]) {
            assert!((found - wanted).abs() < 1e-12, "{solved:?}");
        }
    }
}
