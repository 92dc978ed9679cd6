//! What a model prescribes to the samplers, as plain values; the defaults are those of diffusers' schedulers. Knows no tensors.

/// What the network's output means, for a sample `x = alpha * clean + sigma * noise`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// The noise.
    Epsilon,
    /// `alpha * noise - sigma * clean` (Salimans and Ho 2022).
    V,
    /// The clean sample.
    Sample,
}

/// How the sampling timesteps are spread over the training ones (Lin et al. 2023, table 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    Leading,
    Trailing,
    /// [`Spacing::Trailing`] in exact arithmetic. Diffusers adds up rounded strides, which moves a few timesteps of some
    /// step counts (48, 96, 112) by one.
    TrailingExact,
    Linspace,
}

/// What a model prescribes to every sampler; each looks only at what concerns it.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub prediction: Prediction,
    pub spacing: Spacing,
    /// Added to the timesteps of [`Spacing::Leading`] (1 for Stable Diffusion).
    pub steps_offset: i64,
    /// The predicted clean sample is held within `[-clip, clip]`: 1 for pixels, none for latents. PNDM never holds it.
    pub clip: Option<f64>,
    /// The last step of DDIM and PNDM goes to the clean sample, not to timestep 0 (diffusers' `set_alpha_to_one`).
    pub end_clean: bool,
    pub levels: Levels,
    pub solver: Solver,
    pub variance: Variance,
    pub consistency: Consistency,
    /// PNDM warms up by Runge-Kutta steps (Liu et al. 2022, section 3.3), not by the first linear steps alone.
    pub runge_kutta: bool,
}

impl Default for Settings {
    /// A network that predicts noise, leading timesteps, nothing clipped, and each sampler's own defaults.
    fn default() -> Settings {
        Settings {
            prediction: Prediction::Epsilon,
            spacing: Spacing::Leading,
            steps_offset: 0,
            clip: None,
            end_clean: true,
            levels: Levels::default(),
            solver: Solver::default(),
            variance: Variance::Small,
            consistency: Consistency::default(),
            runge_kutta: false,
        }
    }
}

/// Noise levels (noise to signal) of DPM-Solver++, UniPC and Euler.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Levels {
    /// Spread as Karras et al. 2022, eq. 5, with rho 7; from `highest` to `lowest`, or the schedule's own.
    pub karras: bool,
    pub lowest: Option<f64>,
    pub highest: Option<f64>,
    /// The last step ends at the schedule's lowest level, not at the clean sample.
    pub end_at_lowest: bool,
}

/// How DPM-Solver++ and UniPC step.
#[derive(Debug, Clone, PartialEq)]
pub struct Solver {
    /// Steps that one step looks at, 1 to 3.
    pub order: usize,
    /// DPM-Solver++ of second order in Heun's form, not the midpoint's.
    pub heun: bool,
    /// UniPC with `B(h) = h`, not `exp(h) - 1` (Zhao et al. 2023, section 3.2).
    pub bh1: bool,
    /// Lower orders towards the end (of walks below 15 steps for DPM-Solver++).
    pub lower_order_final: bool,
    /// DPM-Solver++'s last step is of first order.
    pub euler_at_final: bool,
    /// DPM-Solver++ leaves out timesteps whose log signal-to-noise ratio is below.
    pub lowest_lambda: f64,
    /// Steps after which UniPC does not correct.
    pub uncorrected: Vec<usize>,
}

impl Default for Solver {
    fn default() -> Solver {
        Solver {
            order: 2,
            heun: false,
            bh1: false,
            lower_order_final: true,
            euler_at_final: false,
            lowest_lambda: f64::NEG_INFINITY,
            uncorrected: Vec::new(),
        }
    }
}

/// Variance of the noise that DDPM adds in a step (Ho et al. 2020, section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variance {
    /// Of the posterior, right for a clean sample that is known.
    Small,
    /// Of the forward step, right for a clean sample of unit variance.
    Large,
}

/// What LCM was distilled with (Luo et al. 2023).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Consistency {
    /// Steps of the walk that it was distilled from; a sampling step is one of them.
    pub steps: usize,
    /// Timesteps are multiplied by it in the boundary condition.
    pub scaling: f64,
}

impl Default for Consistency {
    fn default() -> Consistency {
        Consistency { steps: 50, scaling: 10.0 }
    }
}
