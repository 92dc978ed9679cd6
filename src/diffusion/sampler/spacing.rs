//! Which of the training timesteps a walk visits, and at which noise levels. Pure numbers, no tensors.

use super::settings::{Levels, Settings, Spacing};
use crate::diffusion::schedule::{Betas, Schedule};

/// Rho of Karras et al. 2022, eq. 5.
const KARRAS_RHO: f64 = 7.0;

/// `steps` timesteps for the samplers that walk from timestep to timestep, noisiest first.
pub(super) fn timesteps(total: usize, steps: usize, settings: &Settings) -> Vec<i64> {
    match settings.spacing {
        Spacing::Leading => {
            let stride = (total / steps) as i64;
            (0..steps as i64).rev().map(|i| i * stride + settings.steps_offset).collect()
        }
        Spacing::Linspace => rounded(linspace(total as f64 - 1.0, steps)).into_iter().rev().collect(),
        spacing => trailing(total, total, steps, spacing == Spacing::TrailingExact),
    }
}

/// `steps` timesteps for the multistep solvers, which leave the clean end out; the noisiest is below `last`.
fn solver_timesteps(total: usize, last: usize, steps: usize, settings: &Settings) -> Vec<i64> {
    match settings.spacing {
        Spacing::Leading => {
            let stride = (last / (steps + 1)) as i64;
            (1..=steps as i64).rev().map(|i| i * stride + settings.steps_offset).collect()
        }
        Spacing::Linspace => rounded(linspace(last as f64 - 1.0, steps + 1)).into_iter().skip(1).rev().collect(),
        spacing => trailing(total, last, steps, spacing == Spacing::TrailingExact),
    }
}

/// `numpy.linspace(0, last, n)`.
fn linspace(last: f64, n: usize) -> Vec<f64> {
    let step = last / (n.max(2) - 1) as f64;
    (0..n).map(|i| i as f64 * step).collect()
}

/// Rounded half to even, as numpy does.
fn rounded(values: Vec<f64>) -> Vec<i64> {
    values.into_iter().map(|value| value.round_ties_even() as i64).collect()
}

/// Timesteps from `last - 1` down by `total / steps`, at most `steps`, noisiest first. Not exact, they are `numpy.arange`'s,
/// which takes its stride from its first two values. Where its rounding makes it one too long (61 steps of 1000), diffusers
/// walks a last step from timestep -1, which has no meaning: it is left out here.
fn trailing(total: usize, last: usize, steps: usize, exact: bool) -> Vec<i64> {
    let (start, stride) = (last as f64, total as f64 / steps as f64);
    let value =
        |i: usize| if exact { start - i as f64 * stride } else { start + i as f64 * ((start - stride) - start) };
    let values = (0..steps).map(value).filter(|value| *value > 0.0).collect();
    rounded(values).into_iter().map(|timestep| timestep - 1).collect()
}

/// Timesteps of a walk, as the network is asked, and the noise level before each, with the one after the last.
pub(super) struct Walk {
    pub timesteps: Vec<f64>,
    pub sigmas: Vec<f64>,
}

impl Walk {
    /// DPM-Solver++'s; the schedule may be cut at its noisy end.
    pub fn of_dpm_solver(schedule: &Schedule, steps: usize, settings: &Settings) -> Walk {
        let known = schedule.sigmas();
        let cut = known.iter().filter(|sigma| -libm::log(**sigma) < settings.solver.lowest_lambda).count();
        // On the cosine schedule the upper levels are so far apart that rounding up would repeat timesteps.
        let whole = |t: f64| if schedule.kind() == Betas::Cosine { t.trunc() } else { t.round_ties_even() };
        let walk = Walk::of_solver(schedule, known.len() - cut, steps, settings, whole);
        walk.ending(if settings.levels.end_at_lowest { known[0] } else { 0.0 })
    }

    /// UniPC's.
    pub fn of_unipc(schedule: &Schedule, steps: usize, settings: &Settings) -> Walk {
        let known = schedule.sigmas();
        let walk = Walk::of_solver(schedule, known.len(), steps, settings, f64::round_ties_even);
        let lowest = if settings.levels.karras { walk.sigmas[walk.sigmas.len() - 1] } else { known[0] };
        walk.ending(if settings.levels.end_at_lowest { lowest } else { 0.0 })
    }

    fn of_solver(
        schedule: &Schedule,
        last: usize,
        steps: usize,
        settings: &Settings,
        whole: impl Fn(f64) -> f64,
    ) -> Walk {
        let known = schedule.sigmas();
        if settings.levels.karras {
            let logs = schedule.log_sigmas();
            let sigmas = karras(&settings.levels, known[0], known[known.len() - 1], steps);
            let timesteps = sigmas.iter().map(|sigma| whole(timestep_of(*sigma, &logs))).collect();
            return Walk { timesteps, sigmas };
        }
        let timesteps = solver_timesteps(known.len(), last, steps, settings);
        let sigmas = timesteps.iter().map(|t| known[(*t as usize).min(known.len() - 1)]).collect();
        Walk { timesteps: timesteps.into_iter().map(|t| t as f64).collect(), sigmas }
    }

    /// Euler's, whose timesteps need not be whole; Karras's levels lie between those of the spacing.
    pub fn of_euler(schedule: &Schedule, steps: usize, settings: &Settings) -> Walk {
        let known = schedule.sigmas();
        let timesteps: Vec<f64> = match settings.spacing {
            Spacing::Linspace => linspace(known.len() as f64 - 1.0, steps).into_iter().rev().collect(),
            _ => timesteps(known.len(), steps, settings).into_iter().map(|t| t as f64).collect(),
        };
        let sigmas: Vec<f64> = timesteps.iter().map(|t| between(&known, *t)).collect();
        let walk = if settings.levels.karras {
            let sigmas = karras(&settings.levels, sigmas[steps - 1], sigmas[0], steps);
            let logs = schedule.log_sigmas();
            Walk { timesteps: sigmas.iter().map(|sigma| timestep_of(*sigma, &logs)).collect(), sigmas }
        } else {
            Walk { timesteps, sigmas }
        };
        walk.ending(if settings.levels.end_at_lowest { known[0] } else { 0.0 })
    }

    fn ending(mut self, level: f64) -> Walk {
        self.sigmas.push(level);
        self
    }

    /// `(alpha, sigma)` of unit variance before step `index`.
    pub fn alpha_sigma(&self, index: usize) -> (f64, f64) {
        let level = self.sigmas[index];
        let alpha = 1.0 / (level * level + 1.0).sqrt();
        (alpha, level * alpha)
    }

    /// Rise of the log signal-to-noise ratio from level `from` to level `to`.
    pub fn rise(&self, from: usize, to: usize) -> f64 {
        libm::log(self.sigmas[from] / self.sigmas[to])
    }

    /// Whether two steps start at one level: a multistep solver divides by their distance.
    pub fn repeats(&self) -> bool {
        self.sigmas[..self.timesteps.len()].windows(2).any(|pair| pair[0] == pair[1])
    }
}

/// `steps` noise levels from the highest down to the lowest (Karras et al. 2022, eq. 5).
fn karras(levels: &Levels, lowest: f64, highest: f64, steps: usize) -> Vec<f64> {
    let root = |sigma: f64| libm::pow(sigma, 1.0 / KARRAS_RHO);
    let (low, high) = (root(levels.lowest.unwrap_or(lowest)), root(levels.highest.unwrap_or(highest)));
    let denominator = (steps.max(2) - 1) as f64;
    (0..steps).map(|i| libm::pow(high + (low - high) * i as f64 / denominator, KARRAS_RHO)).collect()
}

/// The value at a fractional index, held at both ends.
fn between(values: &[f64], index: f64) -> f64 {
    let low = (index.max(0.0) as usize).min(values.len() - 1);
    let high = (low + 1).min(values.len() - 1);
    values[low] + (values[high] - values[low]) * (index - low as f64).clamp(0.0, 1.0)
}

/// The fractional training timestep of a noise level, interpolated between the logarithms of the timesteps' levels: above the
/// last of them that it reaches.
fn timestep_of(sigma: f64, logs: &[f64]) -> f64 {
    let log = libm::log(sigma.max(1e-10));
    let low = logs.iter().rposition(|level| *level <= log).unwrap_or(0).min(logs.len() - 2);
    let w = ((logs[low] - log) / (logs[low] - logs[low + 1])).clamp(0.0, 1.0);
    low as f64 + w
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_timesteps_are_numpys_also_where_its_stride_is_rounded() {
        // (numpy.arange(1000, 0, -1000 / 48).round() - 1)[[3, 15, 27, 39]]: ties that the rounding of its stride decides.
        let numpy = trailing(1000, 1000, 48, false);
        let exact = trailing(1000, 1000, 48, true);
        let differ: Vec<(usize, i64, i64)> =
            (0..48).filter(|i| numpy[*i] != exact[*i]).map(|i| (i, numpy[i], exact[i])).collect();
        assert_eq!(differ, [(3, 936, 937), (15, 686, 687), (27, 436, 437), (39, 186, 187)]);
        for steps in [1, 25, 61, 1000] {
            assert_eq!(trailing(1000, 1000, steps, false).len(), steps);
        }
    }

    #[test]
    fn a_level_between_two_timesteps_is_found_again() {
        let levels = [0.1, 0.2, 0.8, 3.0];
        let logs = levels.map(f64::ln);
        for (index, level) in levels.iter().enumerate() {
            assert!((timestep_of(*level, &logs) - index as f64).abs() < 1e-12);
        }
        assert!((timestep_of(0.4, &logs) - 1.5).abs() < 1e-12);
        assert_eq!((between(&levels, 1.5), between(&levels, 9.0)), (0.5, 3.0));
    }
}
