//! Samplers: walk from noise to an image along a noise schedule. They know no network: the caller runs it.
//!
//! The walk is: take [`Sampler::timesteps`], start at pure noise (or, for image to image, at [`Sampler::add_noise`] of
//! index [`start_index`]), and feed the network's output of each timestep to [`Sampler::step`]. Timesteps and numerics follow
//! diffusers' schedulers of the same names; golden values in `tests/golden/samplers.json`.

mod ddim;
mod dpm_solver;

use tch::{TchError, Tensor};

use super::schedule::Schedule;
use crate::error::{Error, Result};
use crate::nn::noise::Stream;

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
    Linspace,
}

/// Which sampler, as recipes name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SamplerKind {
    /// Song et al. 2021, deterministic (eta 0).
    Ddim,
    /// DPM-Solver++(2M), Lu et al. 2022; `karras`: noise levels of Karras et al. 2022, eq. 5, rho 7.
    DpmSolver2M { karras: bool },
}

impl SamplerKind {
    /// The sampler of that name: `ddim`, `dpm++2m` or `dpm++2m-karras`.
    ///
    /// # Errors
    /// [`Error::Usage`] for another name.
    pub fn from_name(name: &str) -> Result<SamplerKind> {
        match name {
            "ddim" => Ok(SamplerKind::Ddim),
            "dpm++2m" => Ok(SamplerKind::DpmSolver2M { karras: false }),
            "dpm++2m-karras" => Ok(SamplerKind::DpmSolver2M { karras: true }),
            _ => Err(Error::Usage(format!(
                "sampler `{name}` is not built; allowed: `ddim`, `dpm++2m`, `dpm++2m-karras`"
            ))),
        }
    }

    /// The name that [`SamplerKind::from_name`] reads.
    pub fn name(self) -> &'static str {
        match self {
            SamplerKind::Ddim => "ddim",
            SamplerKind::DpmSolver2M { karras: false } => "dpm++2m",
            SamplerKind::DpmSolver2M { karras: true } => "dpm++2m-karras",
        }
    }

    /// A sampler ready for one batch: it holds the history of that batch alone.
    ///
    /// # Errors
    /// [`Error::Usage`] if `steps` is 0 or more than the schedule has timesteps.
    pub fn start(self, schedule: &Schedule, steps: usize, settings: Settings) -> Result<Box<dyn Sampler>> {
        if steps == 0 || steps >= schedule.timesteps() {
            let most = schedule.timesteps() - 1;
            return Err(Error::Usage(format!("a sampler takes 1 to {most} steps, not {steps}")));
        }
        Ok(match self {
            SamplerKind::Ddim => Box::new(ddim::Ddim::new(schedule, steps, settings)),
            SamplerKind::DpmSolver2M { karras } => {
                Box::new(dpm_solver::DpmSolver2M::new(schedule, steps, settings, karras))
            }
        })
    }
}

/// What a model prescribes to every sampler.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    pub prediction: Prediction,
    pub spacing: Spacing,
    /// Added to the timesteps of [`Spacing::Leading`] (1 for Stable Diffusion).
    pub steps_offset: i64,
    /// The predicted clean sample is held within `[-clip, clip]`: 1 for pixels, none for latents.
    pub clip: Option<f64>,
    /// DDIM's last step goes to the clean sample, not to timestep 0 (diffusers' `set_alpha_to_one`).
    pub end_clean: bool,
}

/// One walk from noise to a sample. Every operation is element by element, so rows of a batch never meet.
pub trait Sampler {
    /// Training timesteps, noisiest first, as the network is asked.
    fn timesteps(&self) -> &[i64];

    /// The clean sample noised to the level at which step `index` starts; `noise` is standard normal.
    fn add_noise(&self, clean: &Tensor, noise: &Tensor, index: usize) -> Result<Tensor, TchError>;

    /// The sample after step `index`, from the network's output for the sample before it; any shape, float kind kept.
    fn step(&mut self, model_output: &Tensor, index: usize, sample: &Tensor) -> Result<Tensor, TchError>;
}

/// The first step of an image-to-image walk: of `steps` only the last `strength` (in (0, 1]) are walked, at least one.
pub fn start_index(steps: usize, strength: f64) -> usize {
    let walked = ((steps as f64 * strength) as usize).clamp(1, steps);
    steps - walked
}

/// Standard normal noise `[keys, ..shape]` in fp32 on the CPU, each row from its own key's stream.
pub fn noise(keys: &[[u8; 32]], shape: &[i64]) -> Tensor {
    let numel = shape.iter().product::<i64>() as usize;
    let mut values = Vec::with_capacity(keys.len() * numel);
    for key in keys {
        values.extend(Stream::new(key, "latents").normals(numel));
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
    match settings.clip {
        Some(clip) => clean.f_clamp(-clip, clip),
        None => Ok(clean),
    }
}

/// `a * x + b * y`.
fn weighted(x: &Tensor, a: f64, y: &Tensor, b: f64) -> Result<Tensor, TchError> {
    x.f_mul_scalar(a)?.f_add(&y.f_mul_scalar(b)?)
}

/// `numpy.linspace(0, last, n)` rounded half to even.
fn linspace(last: f64, n: usize) -> Vec<i64> {
    let step = last / (n.max(2) - 1) as f64;
    (0..n).map(|i| (i as f64 * step).round_ties_even() as i64).collect()
}

/// Timesteps of [`Spacing::Trailing`], noisiest first.
fn trailing(timesteps: usize, steps: usize) -> Vec<i64> {
    let ratio = timesteps as f64 / steps as f64;
    (0..steps).map(|i| (timesteps as f64 - i as f64 * ratio).round_ties_even() as i64 - 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::golden;
    use crate::diffusion::schedule::Betas;
    use tch::{Device, Kind};

    /// The fake model of `tests/golden/samplers.py`.
    fn model(x: &Tensor, t: i64) -> Tensor {
        (x * 3.0 + t as f64 / 1000.0).cos() * 0.7
    }

    fn wave(scale: f64, kind: Kind) -> Tensor {
        (Tensor::arange_start(1, 25, (Kind::Double, Device::Cpu)) * scale).view([2, 3, 2, 2]).to_kind(kind)
    }

    #[test]
    fn whole_walks_are_those_of_diffusers() {
        let cases = golden("samplers.json");
        for case in cases.as_array().unwrap() {
            let text = |key: &str| case[key].as_str().unwrap();
            let schedule = match text("betas") {
                "cosine" => Betas::Cosine,
                "linear" => Betas::Linear { start: 1e-4, end: 0.02 },
                _ => Betas::ScaledLinear { start: 0.00085, end: 0.012 },
            };
            let settings = Settings {
                prediction: match text("prediction") {
                    "epsilon" => Prediction::Epsilon,
                    "v_prediction" => Prediction::V,
                    _ => Prediction::Sample,
                },
                spacing: match text("spacing") {
                    "leading" => Spacing::Leading,
                    "trailing" => Spacing::Trailing,
                    _ => Spacing::Linspace,
                },
                steps_offset: case["offset"].as_i64().unwrap(),
                clip: case["clip"].as_bool().unwrap().then_some(1.0),
                end_clean: case["end_clean"].as_bool().unwrap(),
            };
            let steps = case["steps"].as_u64().unwrap() as usize;
            let kind = SamplerKind::from_name(text("sampler")).unwrap();
            let schedule = Schedule::new(schedule, 1000);
            for float in [Kind::Double, Kind::Float] {
                let mut sampler = kind.start(&schedule, steps, settings).unwrap();
                let timesteps: Vec<i64> =
                    case["timesteps"].as_array().unwrap().iter().map(|t| t.as_i64().unwrap()).collect();
                assert_eq!(sampler.timesteps(), timesteps, "{case}");
                let noise = wave(1.0, Kind::Double).sin().to_kind(float);
                let (start, mut x) = match case["strength"].as_f64() {
                    None => (0, noise),
                    Some(strength) => {
                        let start = start_index(steps, strength);
                        let clean = wave(0.37, Kind::Double).cos().to_kind(float);
                        (start, sampler.add_noise(&clean, &noise, start).unwrap())
                    }
                };
                for (index, t) in timesteps.iter().enumerate().skip(start) {
                    x = sampler.step(&model(&x, *t), index, &x).unwrap();
                }
                assert_eq!(x.kind(), float);
                let ours: Vec<f64> = Vec::try_from(x.to_kind(Kind::Double).view([-1])).unwrap();
                for (ours, theirs) in ours.iter().zip(case["final"].as_array().unwrap()) {
                    let theirs = theirs.as_f64().unwrap();
                    assert!((ours - theirs).abs() < 1e-5 * (1.0 + theirs.abs()), "{float:?} {ours} {theirs} {case}");
                }
            }
        }
    }

    #[test]
    fn names_and_kinds_go_both_ways_and_unknown_ones_are_refused() {
        for name in ["ddim", "dpm++2m", "dpm++2m-karras"] {
            assert_eq!(SamplerKind::from_name(name).unwrap().name(), name);
        }
        let message = SamplerKind::from_name("euler").unwrap_err().to_string();
        assert_eq!(message, "sampler `euler` is not built; allowed: `ddim`, `dpm++2m`, `dpm++2m-karras`");
    }

    #[test]
    fn no_steps_and_too_many_are_refused() {
        let schedule = Schedule::new(Betas::Cosine, 1000);
        let settings = Settings {
            prediction: Prediction::V,
            spacing: Spacing::Trailing,
            steps_offset: 0,
            clip: None,
            end_clean: true,
        };
        for steps in [0, 1000] {
            let Err(error) = SamplerKind::Ddim.start(&schedule, steps, settings) else { panic!("{steps} steps") };
            assert_eq!(error.to_string(), format!("a sampler takes 1 to 999 steps, not {steps}"));
        }
        SamplerKind::Ddim.start(&schedule, 1, settings).unwrap();
        SamplerKind::DpmSolver2M { karras: true }.start(&schedule, 1, settings).unwrap();
    }

    #[test]
    fn strength_is_the_share_of_the_walk() {
        assert_eq!([1.0, 0.6, 0.5, 0.01].map(|strength| start_index(25, strength)), [0, 10, 13, 24]);
    }

    #[test]
    fn noise_of_an_image_depends_on_its_key_alone() {
        let one = noise(&[[1; 32]], &[3, 2, 2]);
        let two = noise(&[[0; 32], [1; 32]], &[3, 2, 2]);
        assert_eq!((two.size(), two.get(1)), (vec![2, 3, 2, 2], one.get(0)));
        assert_ne!(two.get(0), two.get(1));
    }
}
