//! The learning rate over a fit. Knows nothing but numbers.

/// Cosine decay to zero after a linear warm-up (Loshchilov & Hutter 2017; Goyal et al. 2017).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Highest learning rate.
    pub peak: f64,
    /// Steps of warm-up.
    pub warmup: usize,
    /// All steps.
    pub steps: usize,
}

impl Schedule {
    /// The rate of the step with `done` steps before it; above 0 for every step below `steps`.
    pub fn rate(&self, done: usize) -> f64 {
        if done < self.warmup {
            return self.peak * (done + 1) as f64 / (self.warmup + 1) as f64;
        }
        let share = (done - self.warmup) as f64 / (self.steps - self.warmup).max(1) as f64;
        0.5 * self.peak * (1.0 + libm::cos(std::f64::consts::PI * share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_climbs_linearly_then_follows_half_a_cosine() {
        let schedule = Schedule { peak: 0.4, warmup: 3, steps: 11 };
        let rates: Vec<f64> = (0..11).map(|done| schedule.rate(done)).collect();
        let half = std::f64::consts::FRAC_1_SQRT_2;
        for (place, wanted) in
            [(0, 0.1), (1, 0.2), (2, 0.3), (3, 0.4), (5, 0.2 + 0.2 * half), (7, 0.2), (9, 0.2 - 0.2 * half)]
        {
            assert!((rates[place] - wanted).abs() < 1e-12, "step {place}: {}", rates[place]);
        }
        assert!(rates.iter().all(|&rate| rate > 0.0 && rate <= 0.4));
        assert!(rates[3..].windows(2).all(|pair| pair[1] < pair[0]));
    }

    #[test]
    fn one_step_runs_at_the_peak() {
        assert_eq!(Schedule { peak: 0.1, warmup: 0, steps: 1 }.rate(0), 0.1);
    }
}
