//! Samplers: walk from noise to an image along a noise schedule. They know no network: the caller runs it.
//!
//! The walk is: take [`Sampler::timesteps`], start at pure noise times [`Sampler::initial_scale`] (or, for image to image, at
//! [`Sampler::add_noise`] of index [`start_index`]), show the network [`Sampler::scale_input`], and feed its output of each
//! timestep to [`Sampler::step`], with [`step_noise`] where [`Sampler::wants_noise`]. Timesteps and numerics follow diffusers'
//! schedulers of the same names; golden values in `tests/golden/samplers.json`.

mod ddim;
mod ddpm;
mod dpm_solver;
mod euler;
mod lcm;
mod pndm;
mod prescribed;
mod products;
mod settings;
mod spacing;
#[cfg(test)]
mod tests;
mod unipc;

pub use prescribed::{Prescribed, prescribed};
pub use settings::{Consistency, Levels, Prediction, Settings, Solver, Spacing, Variance};

use tch::{TchError, Tensor};

use super::schedule::Schedule;
use crate::error::{Error, Result};
use crate::nn::noise::Stream;

/// Which sampler, as recipes name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SamplerKind {
    /// Song et al. 2021, deterministic (eta 0).
    Ddim,
    /// DPM-Solver++(2M), Lu et al. 2022; `karras`: noise levels of Karras et al. 2022, eq. 5, rho 7.
    DpmSolver2M { karras: bool },
    /// Karras et al. 2022, algorithm 1 without churn.
    Euler,
    /// Euler with fresh noise in every step.
    EulerAncestral,
    /// Zhao et al. 2023, second order with `B(h) = exp(h) - 1`.
    UniPc,
    /// Liu et al. 2022; calls the network once more than it has steps.
    Pndm,
    /// Ho et al. 2020, ancestral.
    Ddpm,
    /// Luo et al. 2023; for networks distilled for it.
    Lcm,
}

impl SamplerKind {
    /// Every sampler, in the order in which messages list them.
    pub const ALL: [SamplerKind; 9] = [
        SamplerKind::Ddim,
        SamplerKind::DpmSolver2M { karras: false },
        SamplerKind::DpmSolver2M { karras: true },
        SamplerKind::Euler,
        SamplerKind::EulerAncestral,
        SamplerKind::UniPc,
        SamplerKind::Pndm,
        SamplerKind::Ddpm,
        SamplerKind::Lcm,
    ];

    /// The sampler of that name.
    ///
    /// # Errors
    /// [`Error::Usage`] that lists the names for another one.
    pub fn from_name(name: &str) -> Result<SamplerKind> {
        SamplerKind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let names: Vec<String> = SamplerKind::ALL.iter().map(|kind| format!("`{}`", kind.name())).collect();
            Error::Usage(format!("there is no sampler `{name}`; allowed: {}", names.join(", ")))
        })
    }

    /// The name that [`SamplerKind::from_name`] reads.
    pub fn name(self) -> &'static str {
        match self {
            SamplerKind::Ddim => "ddim",
            SamplerKind::DpmSolver2M { karras: false } => "dpm++2m",
            SamplerKind::DpmSolver2M { karras: true } => "dpm++2m-karras",
            SamplerKind::Euler => "euler",
            SamplerKind::EulerAncestral => "euler-a",
            SamplerKind::UniPc => "unipc",
            SamplerKind::Pndm => "pndm",
            SamplerKind::Ddpm => "ddpm",
            SamplerKind::Lcm => "lcm",
        }
    }

    /// A sampler ready for one batch: it holds the history of that batch alone.
    ///
    /// # Errors
    /// [`Error::Usage`] for a number of steps, or settings, that this sampler cannot walk.
    pub fn start(self, schedule: &Schedule, steps: usize, settings: &Settings) -> Result<Box<dyn Sampler>> {
        self.check(schedule, steps, settings)?;
        let repeated = || {
            Error::Usage(format!(
                "{steps} steps are too many for the sampler `{}`: two of them would start at one noise level",
                self.name()
            ))
        };
        let sampler: Box<dyn Sampler> = match self {
            SamplerKind::Ddim => Box::new(ddim::Ddim::new(schedule, steps, settings)),
            SamplerKind::DpmSolver2M { karras } => {
                let sampler = dpm_solver::DpmSolver::new(schedule, steps, settings, karras);
                if sampler.repeats() {
                    return Err(repeated());
                }
                Box::new(sampler)
            }
            SamplerKind::Euler => Box::new(euler::Euler::new(schedule, steps, settings, false)),
            SamplerKind::EulerAncestral => Box::new(euler::Euler::new(schedule, steps, settings, true)),
            SamplerKind::UniPc => {
                let sampler = unipc::UniPc::new(schedule, steps, settings);
                if sampler.repeats() {
                    return Err(repeated());
                }
                Box::new(sampler)
            }
            SamplerKind::Pndm => Box::new(pndm::Pndm::new(schedule, steps, settings)),
            SamplerKind::Ddpm => Box::new(ddpm::Ddpm::new(schedule, steps, settings)),
            SamplerKind::Lcm => Box::new(lcm::Lcm::new(schedule, steps, settings)),
        };
        self.check_timesteps(schedule, settings, sampler.timesteps())?;
        Ok(sampler)
    }

    /// Whether it looks up timesteps in the schedule, rather than noise levels between them.
    fn walks_timesteps(self) -> bool {
        matches!(self, SamplerKind::Ddim | SamplerKind::Pndm | SamplerKind::Ddpm | SamplerKind::Lcm)
    }

    fn check(self, schedule: &Schedule, steps: usize, settings: &Settings) -> Result<()> {
        let total = schedule.timesteps();
        let distilled = settings.consistency.steps;
        let solver = &settings.solver;
        let problem = if steps == 0 || steps > total {
            format!("a sampler takes 1 to {total} steps, not {steps}")
        } else if self == SamplerKind::Lcm && (distilled == 0 || distilled > total) {
            format!("`original_inference_steps` is 1 to {total}, not {distilled}")
        } else if self == SamplerKind::Lcm && steps > distilled {
            format!("the sampler `lcm` takes 1 to {distilled} steps (`original_inference_steps`), not {steps}")
        } else if self == SamplerKind::Pndm && settings.runge_kutta && steps < 4 {
            format!("the sampler `pndm` with Runge-Kutta steps takes at least 4 steps, not {steps}")
        } else if !(1..=3).contains(&solver.order) {
            format!("`solver_order` is 1 to 3, not {}", solver.order)
        } else if self == SamplerKind::UniPc
            && solver.order > 1
            && !solver.lower_order_final
            && !settings.levels.end_at_lowest
        {
            "the sampler `unipc` cannot end at the clean sample without `lower_order_final`".to_string()
        } else {
            return Ok(());
        };
        Err(Error::Usage(problem))
    }

    fn check_timesteps(self, schedule: &Schedule, settings: &Settings, timesteps: &[f64]) -> Result<()> {
        let total = schedule.timesteps();
        if !self.walks_timesteps() {
            return Ok(());
        }
        if let Some(beyond) = timesteps.iter().find(|t| !(0.0..total as f64).contains(*t)) {
            return Err(Error::Usage(format!(
                "{} steps with `steps_offset` {} would visit timestep {beyond} of 0 to {}; take fewer steps",
                timesteps.len(),
                settings.steps_offset,
                total - 1
            )));
        }
        let blind = |t: &&f64| schedule.alphas_cumprod()[**t as usize] == 0.0;
        if settings.prediction == Prediction::Epsilon && timesteps.iter().any(|t| blind(&t)) {
            return Err(Error::Usage(format!(
                "the sampler `{}` cannot start from noise alone (`rescale_betas_zero_snr`) with a network that predicts \
                 noise; `euler`, `euler-a`, `dpm++2m` and `unipc` can",
                self.name()
            )));
        }
        Ok(())
    }
}

/// One walk from noise to a sample. Every operation is element by element, so rows of a batch never meet.
pub trait Sampler {
    /// Training timesteps as the network is asked, noisiest first, one a network call: as many as steps, but for PNDM. They
    /// may be fractional.
    fn timesteps(&self) -> &[f64];

    /// What standard normal noise is multiplied by to be the first sample of a walk from noise.
    fn initial_scale(&self) -> f64 {
        1.0
    }

    /// The sample before step `index` as the network is shown it.
    fn scale_input(&self, sample: &Tensor, index: usize) -> Result<Tensor, TchError> {
        let _ = index;
        Ok(sample.shallow_clone())
    }

    /// The clean sample noised to the level at which step `index` starts; `noise` is standard normal.
    fn add_noise(&self, clean: &Tensor, noise: &Tensor, index: usize) -> Result<Tensor, TchError>;

    /// Whether step `index` adds fresh noise.
    fn wants_noise(&self, index: usize) -> bool {
        let _ = index;
        false
    }

    /// The sample after step `index`, from the network's output for the sample before it; any shape, float kind kept. `noise`
    /// is standard normal, looked at only where [`Sampler::wants_noise`].
    ///
    /// # Errors
    /// [`TchError`] where libtorch refuses, or where noise is wanted and not there.
    fn step(
        &mut self,
        model_output: &Tensor,
        index: usize,
        sample: &Tensor,
        noise: Option<&Tensor>,
    ) -> Result<Tensor, TchError>;
}

/// The first call of an image-to-image walk that has so many calls of the network for its `steps`: only the last `strength` (in
/// (0, 1]) of the steps are walked, at least one call. PNDM's extra call belongs to the walk that starts.
pub fn start_index(steps: usize, calls: usize, strength: f64) -> usize {
    let walked = ((steps as f64 * strength) as usize).min(steps);
    (steps - walked).min(calls - 1)
}

/// Standard normal noise `[keys, ..shape]` in fp32 on the CPU, each row from its own key's stream: what a walk starts from.
pub fn noise(keys: &[[u8; 32]], shape: &[i64]) -> Tensor {
    draw(keys, "latents", shape)
}

/// As [`noise`], for the step `index` of walks that want it there.
pub fn step_noise(keys: &[[u8; 32]], index: usize, shape: &[i64]) -> Tensor {
    draw(keys, &format!("step {index}"), shape)
}

fn draw(keys: &[[u8; 32]], label: &str, shape: &[i64]) -> Tensor {
    let numel = shape.iter().product::<i64>() as usize;
    let mut values = Vec::with_capacity(keys.len() * numel);
    for key in keys {
        values.extend(Stream::new(key, label).normals(numel));
    }
    let mut size = vec![keys.len() as i64];
    size.extend_from_slice(shape);
    Tensor::from_slice(&values).view(size.as_slice())
}

/// The clean sample that the network's output stands for, for a sample with the given `alpha` and `sigma`.
fn predicted_clean(
    settings: &Settings,
    output: &Tensor,
    sample: &Tensor,
    alpha: f64,
    sigma: f64,
) -> Result<Tensor, TchError> {
    let clean = match settings.prediction {
        Prediction::Epsilon => weighted(sample, 1.0 / alpha, output, -sigma / alpha)?,
        Prediction::V => weighted(sample, alpha, output, -sigma)?,
        Prediction::Sample => output.shallow_clone(),
    };
    clipped(settings, clean)
}

/// A clean sample held within the settings' range.
fn clipped(settings: &Settings, clean: Tensor) -> Result<Tensor, TchError> {
    match settings.clip {
        Some(clip) => clean.f_clamp(-clip, clip),
        None => Ok(clean),
    }
}

/// Noise that a step wants.
fn fresh(noise: Option<&Tensor>) -> Result<&Tensor, TchError> {
    noise.ok_or_else(|| TchError::Torch("this step of the sampler wants noise and was given none".to_string()))
}

/// `a * x + b * y`.
fn weighted(x: &Tensor, a: f64, y: &Tensor, b: f64) -> Result<Tensor, TchError> {
    x.f_mul_scalar(a)?.f_add(&y.f_mul_scalar(b)?)
}
