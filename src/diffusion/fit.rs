//! Fits the "ddpm" network to labelled images: v-prediction (Salimans and Ho 2022) on the cosine schedule with min-SNR
//! weights (Hang et al. 2023). A fit is a function of its arguments: initial weights, batches, timesteps, flips and noise come
//! from streams of the seed, and a fit resumed from a saved state ends in the same bits as a straight one.

use image::RgbImage;
use tch::{Device, Kind, TchError, Tensor};

use super::ddpm::{TIMESTEPS, schedule, stack, to_bytes, to_unit};
use super::draws::Draws;
use super::unet::{Config, UNet};
use crate::error::{Error, Result};
use crate::nn::TensorContext;
use crate::nn::adamw::{self, AdamW};
use crate::nn::device::Precision;
use crate::nn::ema::Ema;
use crate::nn::heap;
use crate::nn::supervise::Supervisor;
use crate::nn::weights::{self, Named};

/// Signal to noise above which a timestep's loss no longer grows (gamma of min-SNR).
const SNR_BOUND: f64 = 5.0;

/// Share of the steps over which the learning rate rises, and the most steps that may be.
const WARM_UP: (f64, usize) = (0.05, 200);

/// Slowest decay of the average; short fits average over a tenth of their steps.
const EMA_DECAY: f64 = 0.9995;

/// How a network is fitted.
#[derive(Debug, Clone, PartialEq)]
pub struct FitOptions {
    /// Optimiser steps, at least 1.
    pub steps: usize,
    /// Images a step, at least 1.
    pub batch: usize,
    /// Highest learning rate; it rises over the first twentieth of the steps and falls to zero along a cosine.
    pub learning_rate: f64,
    pub seed: u64,
    /// Of the network's forward and backward pass; weights, moments and averages are always fp32. fp16 has too small a
    /// range for gradients: such fits run in bf16.
    pub precision: Precision,
    pub device: Device,
}

/// Fits a network to images of `config.size` pixels a side; returns safetensors bytes of the averaged weights and the
/// config, as [`super::ddpm::Ddpm::new`] reads them.
///
/// # Errors
/// [`Error::Usage`] for values that no fit can have, [`Error::Input`] where the loss is no longer a number or the saved
/// state is of another fit, [`Error::Interrupted`] after the state was saved because the supervisor stops.
pub fn fit(
    config: &Config,
    options: &FitOptions,
    images: &[RgbImage],
    classes: &[usize],
    supervisor: &mut dyn Supervisor,
) -> Result<Vec<u8>> {
    check(config, options, images, classes)?;
    heap::keep_freed();
    let net = UNet::new(config)?;
    let pixels = stack(images, config.size, images.len())?;
    let pixels = pixels.f_to_device(options.device).doing("move the training images to the device")?;
    let draws = Draws::new(options.seed, options.batch, classes);
    let mut state = State::new(&net, options)?;
    if let Some(saved) = supervisor.saved() {
        state.restore(&saved, options.steps)?;
    }
    let schedule = schedule();
    while state.done() < options.steps {
        let step = state.done();
        let batch = Batch::new(&draws, step, &pixels, &net, schedule.alphas_cumprod())
            .doing("make a training batch (a smaller `batch` takes less memory)")?;
        let loss = state
            .step(&net, &batch, rate(options.learning_rate, options.steps, step), options.precision)
            .doing("fit the generator (a smaller `batch` takes less memory)")?;
        if !loss.is_finite() {
            return Err(Error::input_help(
                format!("the generator's loss became {loss} at step {}", step + 1),
                "a lower `learning_rate`, or fp32 in place of bf16, keeps it finite",
            ));
        }
        supervisor.step(state.done(), options.steps, loss);
        let stopping = supervisor.stopping() && state.done() < options.steps;
        if stopping || supervisor.wants_save() {
            supervisor.save(&state.to_bytes()?)?;
        }
        if stopping {
            return Err(Error::Interrupted);
        }
    }
    to_bytes(&net, &state.ema.average)
}

fn check(config: &Config, options: &FitOptions, images: &[RgbImage], classes: &[usize]) -> Result<()> {
    let side = config.size as u32;
    let problem = if images.is_empty() {
        "a generator needs at least one image to be fitted to".to_string()
    } else if images.len() != classes.len() {
        format!("{} images have {} classes", images.len(), classes.len())
    } else if let Some(class) = classes.iter().find(|class| **class >= config.classes) {
        format!("an image has class {class} of {} classes", config.classes)
    } else if let Some(image) = images.iter().find(|image| image.dimensions() != (side, side)) {
        format!("an image is {}x{}, not {side}x{side}", image.width(), image.height())
    } else if options.steps == 0 || options.batch == 0 {
        "`steps` and `batch` of a fit are at least 1".to_string()
    } else if !(options.learning_rate.is_finite() && options.learning_rate > 0.0) {
        format!("`learning_rate` is above 0, not {}", options.learning_rate)
    } else {
        return Ok(());
    };
    Err(Error::Usage(problem))
}

/// The learning rate of step `step` (from 0) of so many: it rises to the highest and falls to zero along a cosine.
pub(super) fn rate(highest: f64, steps: usize, step: usize) -> f64 {
    let warm_up = ((steps as f64 * WARM_UP.0) as usize).clamp(1, WARM_UP.1);
    let rise = ((step + 1) as f64 / warm_up as f64).min(1.0);
    let fall = 0.5 * (1.0 + libm::cos(std::f64::consts::PI * step as f64 / steps as f64));
    highest * rise * fall
}

/// One step's tensors, on the device.
struct Batch {
    noisy: Tensor,
    target: Tensor,
    /// In [0, 1], `[batch]`.
    times: Tensor,
    classes: Tensor,
    /// Of each image's loss, `[batch]`.
    weights: Tensor,
}

impl Batch {
    fn new(draws: &Draws, step: usize, pixels: &Tensor, net: &UNet, products: &[f64]) -> Result<Batch, TchError> {
        let device = pixels.device();
        let draw = draws.step(step);
        let n = draw.images.len() as i64;
        let side = net.config().size as i64;
        let column = |values: Vec<f32>| Tensor::from_slice(&values).view([n, 1, 1, 1]).f_to_device(device);
        let indices: Vec<i64> = draw.images.iter().map(|image| *image as i64).collect();
        let clean = to_unit(&pixels.f_index_select(0, &Tensor::from_slice(&indices).f_to_device(device)?)?);
        let flips = Tensor::from_slice(&draw.flips).view([n, 1, 1, 1]).f_to_device(device)?;
        let clean = clean.f_flip([3])?.f_where_self(&flips, &clean)?;
        let noise = Tensor::from_slice(&draws.noise(step, (n * 3 * side * side) as usize));
        let noise = noise.view([n, 3, side, side]).f_to_device(device)?;

        let steps: Vec<usize> = draw.times.iter().map(|time| (time * TIMESTEPS as f64) as usize).collect();
        let kept = |t: &usize| products[*t];
        let alpha = column(steps.iter().map(|t| kept(t).sqrt() as f32).collect())?;
        let sigma = column(steps.iter().map(|t| (1.0 - kept(t)).sqrt() as f32).collect())?;
        // min(SNR, bound) / (SNR + 1) with SNR = product / (1 - product): the weight of v's squared error.
        let weights = steps.iter().map(|t| kept(t).min(SNR_BOUND * (1.0 - kept(t))) as f32).collect::<Vec<_>>();
        let times: Vec<f32> = steps.iter().map(|t| (*t as f64 / TIMESTEPS as f64) as f32).collect();
        let classes: Vec<i64> =
            draw.classes.iter().map(|class| class.map_or(net.no_class(), |class| class as i64)).collect();
        Ok(Batch {
            noisy: clean.f_mul(&alpha)?.f_add(&noise.f_mul(&sigma)?)?,
            target: noise.f_mul(&alpha)?.f_sub(&clean.f_mul(&sigma)?)?,
            times: Tensor::from_slice(&times).f_to_device(device)?,
            classes: Tensor::from_slice(&classes).f_to_device(device)?,
            weights: Tensor::from_slice(&weights).f_to_device(device)?,
        })
    }
}

/// All that a fit carries from step to step.
struct State {
    parameters: Tensor,
    optimiser: AdamW,
    ema: Ema,
}

impl State {
    fn new(net: &UNet, options: &FitOptions) -> Result<State> {
        let parameters = net.layout().initial(options.seed);
        let parameters = parameters.f_to_device(options.device).doing("move the generator to its device")?;
        let decay = EMA_DECAY.min(1.0 - 10.0 / options.steps.max(20) as f64);
        let optimiser = AdamW::new(&parameters, adamw::Options::default());
        let ema = Ema::new(&parameters, decay);
        Ok(State { parameters, optimiser, ema })
    }

    fn done(&self) -> usize {
        self.optimiser.steps as usize
    }

    /// One optimiser step; returns the loss before it.
    fn step(&mut self, net: &UNet, batch: &Batch, rate: f64, precision: Precision) -> Result<f64, TchError> {
        let kind = if precision == Precision::Fp32 { Kind::Float } else { Kind::BFloat16 };
        let working = self.parameters.f_detach()?.f_to_kind(kind)?.set_requires_grad(true);
        let views = net.layout().views(&working)?;
        let v = net.forward(&views, &batch.noisy, &batch.times, &batch.classes)?;
        let errors = v.f_sub(&batch.target)?.f_square()?.f_mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float)?;
        let loss = errors.f_mul(&batch.weights)?.f_mean(Kind::Float)?;
        let value = loss.f_double_value(&[])?;
        if !value.is_finite() {
            return Ok(value);
        }
        loss.f_backward()?;
        let gradient = working.f_grad()?;
        tch::no_grad(|| {
            self.optimiser.step(&mut self.parameters, &gradient, rate)?;
            self.ema.update(&self.parameters, self.optimiser.steps)
        })?;
        Ok(value)
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        weights::to_bytes(&Named::from([
            ("parameters".to_string(), self.parameters.shallow_clone()),
            ("average".to_string(), self.ema.average.shallow_clone()),
            ("mean".to_string(), self.optimiser.mean.shallow_clone()),
            ("square".to_string(), self.optimiser.square.shallow_clone()),
            ("steps".to_string(), Tensor::from_slice(&[self.optimiser.steps])),
        ]))
    }

    fn restore(&mut self, saved: &[u8], steps: usize) -> Result<()> {
        let what = "the generator's saved fit";
        let named = weights::from_bytes(saved, what)?;
        let other = || Error::input_help(format!("{what} is of another network"), "remove it to fit from the start");
        let shape = self.parameters.size();
        for (name, tensor) in [
            ("parameters", &mut self.parameters),
            ("average", &mut self.ema.average),
            ("mean", &mut self.optimiser.mean),
            ("square", &mut self.optimiser.square),
        ] {
            let found = named.get(name).filter(|found| found.size() == shape).ok_or_else(other)?;
            *tensor = found.to_kind(Kind::Float).to_device(tensor.device());
        }
        let done = named.get("steps").filter(|found| found.numel() == 1).ok_or_else(other)?.int64_value(&[0]);
        if !(0..=steps as i64).contains(&done) {
            return Err(other());
        }
        self.optimiser.steps = done;
        Ok(())
    }
}
