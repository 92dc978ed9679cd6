//! Fine-tunes a Stable Diffusion checkpoint on photos by low-rank adaptation (Hu et al. 2021): the loss is the checkpoint's own
//! with min-SNR weights (Hang et al. 2023). A fit is a function of its arguments: initial adapters, batches, timesteps, flips
//! and noise come from streams of the seed, and a fit resumed from a saved state ends in the same bits as a straight one.

use std::collections::{BTreeMap, BTreeSet};

use image::RgbImage;
use tch::{Device, Kind, TchError, Tensor};

use super::adapters::Trained;
use super::clip::TextEncoder;
use super::layers::Out;
use super::load;
use super::memory;
use super::pieces::Tape;
use super::pipeline::{Parts, Tokens};
use super::unet::Unet;
use super::vae::Vae;
use crate::checkpoint::config::UnetConfig;
use crate::diffusion::draws::{Draw, Draws};
use crate::diffusion::fit::rate;
use crate::diffusion::pixels;
use crate::diffusion::sampler::Prediction;
use crate::diffusion::schedule::Schedule;
use crate::error::{Error, Result};
use crate::nn::TensorContext;
use crate::nn::adamw::{self, AdamW};
use crate::nn::device::Precision;
use crate::nn::heap;
use crate::nn::supervise::Supervisor;
use crate::nn::weights::{self, Named};

/// Signal to noise above which a timestep's loss no longer grows (gamma of min-SNR).
const SNR_BOUND: f64 = 5.0;

/// How adapters are fitted.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Inner size of every adapter, at least 1; 0 where tokens alone are learned.
    pub rank: usize,
    /// Optimiser steps, at least 1.
    pub steps: usize,
    /// Photos that go through the networks at once, at least 1.
    pub batch: usize,
    /// Batches a step, at least 1: the memory of one, the gradient of all.
    pub accumulate: usize,
    /// Highest learning rate; it rises over the first twentieth of the steps and falls to zero along a cosine.
    pub learning_rate: f64,
    /// Fits adapters of the text encoder too.
    pub text_encoder: bool,
    /// Computes what happens inside the U-Net's blocks again on the way back. The last bits differ, since gradients lie in
    /// memory in another order.
    pub recompute: bool,
    /// Side of the photos in pixels.
    pub size: usize,
    pub seed: u64,
    /// Of the checkpoint and its passes; adapters and moments are always fp32. fp16 has too small a range for gradients:
    /// such fits run in bf16.
    pub precision: Precision,
    pub device: Device,
}

/// What is fitted to. A photo is opened when its latents are made, once or, flipped, twice.
pub struct Photos<'p> {
    /// What photos show, each text once.
    pub prompts: &'p [Tokens],
    /// The prompt of each photo.
    pub of: &'p [usize],
    /// The photo of that number, of any size.
    pub open: &'p mut dyn FnMut(usize) -> Result<RgbImage>,
    /// Tokens that are learned.
    pub tokens: Option<NewTokens<'p>>,
}

/// Tokens that are learned (Gal et al. 2022): prompts number them after the vocabulary.
pub struct NewTokens<'p> {
    pub words: &'p [String],
    /// The token of the vocabulary that they begin as.
    pub like: u32,
}

/// Fits adapters; returns the bytes of a LoRA's file as diffusers reads it. `parts` names the checkpoint with what other
/// LoRAs add to it, `schedule` and `prediction` are those that it was trained with.
///
/// # Errors
/// [`Error::Usage`] for values that no fit can have; [`Error::Input`] where the checkpoint's parts do not fit each other, the
/// loss is no longer a number or the saved state is of another fit; [`Error::Interrupted`] because the supervisor stops, after
/// the state was saved; what opening a photo says.
pub fn fit(
    parts: &Parts<'_>,
    schedule: &Schedule,
    prediction: Prediction,
    options: &Options,
    photos: Photos<'_>,
    supervisor: &mut dyn Supervisor,
) -> Result<Vec<u8>> {
    parts.check()?;
    refuse_told(parts.unet_config, &parts.name)?;
    check(parts, options, &photos)?;
    heap::keep_freed();
    let draws = Draws::new(options.seed, options.batch * options.accumulate, photos.of);
    let text = options.text_encoder.then_some(&parts.text);
    let tokens = photos.tokens.as_ref().map(|tokens| start_of(parts, tokens, options.device)).transpose()?;
    let trained = Trained::new(&parts.unet, text, options.rank, tokens, options.seed, options.device)?;
    let mut state = State::new(trained);
    if let Some(saved) = supervisor.saved() {
        state.restore(&saved, options.steps)?;
    }
    let drawn: Vec<Draw> = (state.done()..options.steps).map(|step| draws.step(step)).collect();
    let of = photos.of;
    let prompts: BTreeSet<usize> = drawn.iter().flat_map(|draw| &draw.images).map(|&photo| of[photo]).collect();
    let texts = Texts::new(parts, options, photos.prompts, &prompts, &state.adapters)?;
    let latents = Latents::new(parts, options, &drawn, photos.open, supervisor)?;
    let what = format!("`{}/unet`", parts.name);
    let unet = Unet::adapted(
        parts.unet_config,
        &parts.unet,
        &parts.unet_patches,
        &state.adapters.unet,
        kind(options.precision),
        options.device,
        &what,
    )?;
    for (step, draw) in (state.done()..).zip(&drawn) {
        let noise = latents.noise(&draws, step, draw).doing("draw a training batch")?;
        let pass = |recompute: bool| -> Result<f64> {
            let mut loss = 0.0;
            for first in (0..draw.images.len()).step_by(options.batch) {
                let batch = latents
                    .batch(draw, first..first + options.batch, &noise, schedule, prediction, options.device)
                    .doing("make a training batch")?;
                let prompts: Vec<usize> = batch.photos.iter().map(|&photo| of[photo]).collect();
                loss += texts
                    .of(&prompts)
                    .and_then(|text| batch.descend(&unet, &text, draw.images.len(), recompute))
                    .doing("fit the LoRA")?;
                if !loss.is_finite() {
                    return Err(Error::input_help(
                        format!("the LoRA's loss became {loss} at step {}", step + 1),
                        "a lower `learning_rate`, or fp32 in place of bf16, keeps it finite",
                    ));
                }
            }
            Ok(loss)
        };
        let loss = pass(options.recompute).map_err(|error| {
            let size = (options.size, options.size);
            let fits = |batch: usize, (side, _): (usize, usize)| fits(&unet, options.device, parts, batch, side);
            if memory::is_want(&error) && !options.recompute && fits(options.batch, size) {
                return Error::input_help(
                    error.to_string(),
                    "`recompute = true` in `[generator.lora]` fits this batch",
                );
            }
            let aside = "with `recompute = true` in `[generator.lora]`; more `accumulate` makes up for it";
            memory::explain(error, options.batch, size, aside, fits)
        })?;
        state.step(rate(options.learning_rate, options.steps, step)).doing("fit the LoRA")?;
        supervisor.step(state.done(), options.steps, loss);
        let stopping = supervisor.stopping() && state.done() < options.steps;
        if stopping || supervisor.wants_save() {
            supervisor.save(&state.to_bytes()?)?;
        }
        if stopping {
            return Err(Error::Interrupted);
        }
    }
    state.adapters.to_bytes()
}

/// What to say where [`fit`] wanted more memory than there was, and did not say itself what would fit.
pub fn explained(error: Error) -> Error {
    let help = format!("`recompute = true` and a smaller `rank` in `[generator.lora]`; {}", memory::LESS);
    memory::plainly(error, &help)
}

/// A network that is told the guidance was distilled to leap to the end of a walk: the loss of a single step would undo it.
///
/// # Errors
/// [`Error::Input`] for such a U-Net of the checkpoint `name`.
pub fn refuse_told(config: &UnetConfig, name: &str) -> Result<()> {
    match config.guidance_width {
        None => Ok(()),
        Some(_) => Err(Error::input_help(
            format!("`{name}/unet` is told the guidance (`time_cond_proj_dim`): no LoRA can be fitted to it"),
            "fit it to the checkpoint that this one was distilled from: name that one as `model` in `[generator]`",
        )),
    }
}

/// The words, and for each the embedding that it begins as, fp32.
fn start_of(parts: &Parts<'_>, tokens: &NewTokens<'_>, device: Device) -> Result<(Vec<String>, Tensor)> {
    let missing = || Error::input(format!("the text encoder of {} has no token {}", parts.name, tokens.like));
    let stored = parts.text.get("text_model.embeddings.token_embedding.weight").ok_or_else(missing)?;
    let row = load::tensor(stored, Kind::Float, Device::Cpu)
        .and_then(|all| all.f_narrow(0, i64::from(tokens.like), 1)?.f_repeat([tokens.words.len() as i64, 1]))
        .map_err(|_| missing())?;
    Ok((tokens.words.to_vec(), row.f_to_device(device).doing("move tokens to the device")?))
}

/// Whether a pass of so many photos of this side goes through, in as little memory as can be.
fn fits(unet: &Unet, device: Device, parts: &Parts<'_>, batch: usize, side: usize) -> bool {
    let tried = || -> std::result::Result<(), TchError> {
        let (kind, side) = ((Kind::Float, device), (side >> (parts.vae_config.channels.len() - 1)) as i64);
        let batch = batch as i64;
        let x = Tensor::f_zeros([batch, parts.vae_config.latent_channels as i64, side, side], kind)?;
        let positions = parts.text_config.positions as i64;
        let text = Tensor::f_zeros([batch, positions, parts.text_config.width as i64], kind)?;
        let leaves = unet.listen(&text)?.leaves()?;
        let mut tape = Tape::default();
        unet.forward_in(&x, &Tensor::f_zeros([batch], kind)?, &leaves, &mut tape)?.f_sum(Kind::Float)?.f_backward()?;
        tape.backward()
    };
    tried().is_ok()
}

fn check(parts: &Parts<'_>, options: &Options, photos: &Photos<'_>) -> Result<()> {
    let side = 1 << (parts.vae_config.channels.len() - 1);
    let problem = if photos.of.is_empty() {
        "a LoRA needs at least one photo to be fitted to".to_string()
    } else if let Some(prompt) = photos.of.iter().find(|prompt| **prompt >= photos.prompts.len()) {
        format!("a photo has prompt {prompt} of {}", photos.prompts.len())
    } else if [options.steps, options.batch, options.accumulate].contains(&0)
        || options.rank == 0 && photos.tokens.is_none()
    {
        "`rank`, `steps`, `batch` and `accumulate` of a LoRA are at least 1".to_string()
    } else if !(options.learning_rate.is_finite() && options.learning_rate > 0.0) {
        format!("`learning_rate` is above 0, not {}", options.learning_rate)
    } else if options.size == 0 || !options.size.is_multiple_of(side) {
        format!("a size is a multiple of {side}, not {}", options.size)
    } else {
        return Ok(());
    };
    Err(Error::Usage(problem))
}

fn kind(precision: Precision) -> Kind {
    if precision == Precision::Fp32 { Kind::Float } else { Kind::BFloat16 }
}

/// What the networks hear of each prompt.
enum Texts {
    /// Embeddings `[1, tokens, width]`, made once.
    Fixed(BTreeMap<usize, Tensor>),
    /// Made anew at every batch, since the encoder changes.
    Fitted(TextEncoder, BTreeMap<usize, Tensor>),
}

impl Texts {
    fn new(
        parts: &Parts<'_>,
        options: &Options,
        prompts: &[Tokens],
        used: &BTreeSet<usize>,
        adapters: &Trained,
    ) -> Result<Texts> {
        let (kind, device) = (kind(options.precision), options.device);
        let what = format!("`{}/text_encoder`", parts.name);
        let encoder = TextEncoder::adapted(
            parts.text_config,
            &parts.text,
            &parts.text_patches,
            &adapters.text,
            kind,
            device,
            &what,
        )?;
        let encoder = match (adapters.tokens(), &parts.learned) {
            (Some((start, more)), _) => encoder.learning(start, Some(more)),
            (None, Some(known)) => encoder.learning(known, None),
            (None, None) => encoder,
        };
        let ids = |prompt: &usize| {
            let ids = Tensor::from_slice(&prompts[*prompt]).view([1, -1]).f_to_device(device);
            ids.map(|ids| (*prompt, ids)).doing("move prompts to the device")
        };
        let ids: BTreeMap<usize, Tensor> = used.iter().map(ids).collect::<Result<_>>()?;
        if options.text_encoder || adapters.tokens().is_some() {
            return Ok(Texts::Fitted(encoder, ids));
        }
        let _no_grad = tch::no_grad_guard();
        let embed = |(prompt, ids)| Ok((prompt, encoder.forward(&ids).doing("encode a prompt")?));
        ids.into_iter().map(embed).collect::<Result<_>>().map(Texts::Fixed)
    }

    /// `[prompts, tokens, width]`.
    fn of(&self, prompts: &[usize]) -> Out {
        let rows = |of: &BTreeMap<usize, Tensor>| {
            let rows: Vec<&Tensor> = prompts.iter().map(|prompt| &of[prompt]).collect();
            Tensor::f_cat(&rows, 0)
        };
        match self {
            Texts::Fixed(embeddings) => rows(embeddings),
            Texts::Fitted(encoder, ids) => encoder.forward(&rows(ids)?),
        }
    }
}

/// Latents of the photos that a fit will meet, plain or flipped, each made once; `[1, channels, h, w]`, fp32, on the CPU.
struct Latents(BTreeMap<(usize, bool), Tensor>);

impl Latents {
    fn new(
        parts: &Parts<'_>,
        options: &Options,
        drawn: &[Draw],
        open: &mut dyn FnMut(usize) -> Result<RgbImage>,
        supervisor: &dyn Supervisor,
    ) -> Result<Latents> {
        let _no_grad = tch::no_grad_guard();
        let what = format!("`{}/vae`", parts.name);
        let vae = Vae::load(parts.vae_config, &parts.vae, kind(options.precision), options.device, &what)?;
        let met: BTreeSet<(usize, bool)> =
            drawn.iter().flat_map(|draw| draw.images.iter().copied().zip(draw.flips.iter().copied())).collect();
        let side = options.size as u32;
        let mut latents = BTreeMap::new();
        let mut opened: Option<(usize, Tensor)> = None;
        for (photo, flipped) in met {
            if supervisor.stopping() {
                return Err(Error::Interrupted);
            }
            let unit = match opened.take() {
                Some((number, unit)) if number == photo => unit,
                _ => pixels::to_unit(&pixels::fitted(&open(photo)?, side, side))?,
            };
            let encoded = encode(&vae, &unit, flipped, options.device).doing("encode a photo").map_err(|error| {
                memory::plainly(error, &format!("a smaller `size` in `[generator]`; {}", memory::LESS))
            })?;
            latents.insert((photo, flipped), encoded);
            opened = Some((photo, unit));
        }
        Ok(Latents(latents))
    }

    /// All noise of a step: `[photos, channels, h, w]`, on the CPU.
    fn noise(&self, draws: &Draws, step: usize, draw: &Draw) -> Out {
        let first = &self.0[&(draw.images[0], draw.flips[0])];
        let (_, channels, h, w) = first.size4()?;
        let photos = draw.images.len();
        let values = draws.noise(step, photos * first.numel());
        Tensor::from_slice(&values).f_view([photos as i64, channels, h, w])
    }

    /// The batch of these photos of a step.
    fn batch(
        &self,
        draw: &Draw,
        which: std::ops::Range<usize>,
        noise: &Tensor,
        schedule: &Schedule,
        prediction: Prediction,
        device: Device,
    ) -> std::result::Result<Batch, TchError> {
        let rows: Vec<&Tensor> = which.clone().map(|i| &self.0[&(draw.images[i], draw.flips[i])]).collect();
        let timesteps = schedule.timesteps();
        let times: Vec<usize> =
            draw.times[which.clone()].iter().map(|time| (time * timesteps as f64) as usize).collect();
        let noise = noise.f_narrow(0, which.start as i64, which.len() as i64)?.f_to_device(device)?;
        let clean = Tensor::f_cat(&rows, 0)?.f_to_device(device)?;
        Batch::new(&clean, &noise, &times, schedule, prediction, draw.images[which].to_vec())
    }
}

/// The latents of a photo, on the CPU.
fn encode(vae: &Vae, unit: &Tensor, flipped: bool, device: Device) -> Out {
    let unit = if flipped { unit.f_flip([3])? } else { unit.shallow_clone() };
    vae.encode(&unit.f_to_device(device)?)?.f_to_device(Device::Cpu)
}

/// One batch's tensors, on the device.
pub(super) struct Batch {
    noisy: Tensor,
    target: Tensor,
    /// Timesteps, fp32, `[photos]`.
    times: Tensor,
    /// Of each photo's loss, `[photos]`.
    weights: Tensor,
    photos: Vec<usize>,
}

impl Batch {
    /// `clean` and `noise` `[photos, channels, h, w]`, a timestep a photo.
    pub(super) fn new(
        clean: &Tensor,
        noise: &Tensor,
        times: &[usize],
        schedule: &Schedule,
        prediction: Prediction,
        photos: Vec<usize>,
    ) -> std::result::Result<Batch, TchError> {
        let device = clean.device();
        let row = |value: &dyn Fn(usize) -> f64| {
            let values: Vec<f32> = times.iter().map(|t| value(*t) as f32).collect();
            Tensor::from_slice(&values).f_to_device(device)
        };
        let column = |values: Tensor| values.f_view([-1, 1, 1, 1]);
        let alpha = column(row(&|t| schedule.alpha_sigma(t).0)?)?;
        let sigma = column(row(&|t| schedule.alpha_sigma(t).1)?)?;
        Ok(Batch {
            noisy: clean.f_mul(&alpha)?.f_add(&noise.f_mul(&sigma)?)?,
            target: match prediction {
                Prediction::Epsilon => noise.shallow_clone(),
                Prediction::V => noise.f_mul(&alpha)?.f_sub(&clean.f_mul(&sigma)?)?,
                Prediction::Sample => clean.shallow_clone(),
            },
            times: row(&|t| t as f64)?,
            weights: row(&|t| loss_weight(schedule.alphas_cumprod()[t], prediction))?,
            photos,
        })
    }

    /// One pass there and back, keeping or computing again what happens inside the U-Net's blocks; adds this batch's part of
    /// the gradient of a step of so many photos, and returns its part of the loss.
    pub(super) fn descend(
        &self,
        unet: &Unet,
        text: &Tensor,
        photos: usize,
        recompute: bool,
    ) -> std::result::Result<f64, TchError> {
        let text = unet.listen(text)?;
        if !recompute {
            let found = unet.forward(&self.noisy, &self.times, &text)?;
            return self.back(&found, photos);
        }
        let (leaves, mut tape) = (text.leaves()?, Tape::default());
        let found = unet.forward_in(&self.noisy, &self.times, &leaves, &mut tape)?;
        let value = self.back(&found, photos)?;
        drop(found);
        if value.is_finite() {
            tape.backward()?;
            text.backward(&leaves)?;
        }
        Ok(value)
    }

    /// The loss of a prediction, and backward from it.
    fn back(&self, found: &Tensor, photos: usize) -> std::result::Result<f64, TchError> {
        let errors = found.f_sub(&self.target)?.f_square()?.f_mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float)?;
        let loss = errors.f_mul(&self.weights)?.f_sum(Kind::Float)?.f_div_scalar(photos as f64)?;
        let value = loss.f_double_value(&[])?;
        if value.is_finite() {
            loss.f_backward()?;
        }
        Ok(value)
    }
}

/// Min-SNR's weight of a squared error at a timestep that keeps this share of the clean variance (Hang et al. 2023, section
/// 3.4): min(SNR, bound) of the clean sample's error, over SNR for the noise's and over SNR + 1 for v's.
fn loss_weight(kept: f64, prediction: Prediction) -> f64 {
    let snr = kept / (1.0 - kept);
    match prediction {
        // SNR / SNR where nothing is left.
        Prediction::Epsilon if kept == 0.0 => 1.0,
        Prediction::Epsilon => snr.min(SNR_BOUND) / snr,
        Prediction::V => snr.min(SNR_BOUND) / (snr + 1.0),
        Prediction::Sample => snr.min(SNR_BOUND),
    }
}

/// All that a fit carries from step to step.
struct State {
    adapters: Trained,
    optimiser: AdamW,
}

impl State {
    fn new(adapters: Trained) -> State {
        let optimiser = AdamW::new(&adapters.flat, adamw::Options { beta2: 0.999, ..adamw::Options::default() });
        State { adapters, optimiser }
    }

    fn done(&self) -> usize {
        self.optimiser.steps as usize
    }

    fn step(&mut self, rate: f64) -> std::result::Result<(), TchError> {
        let gradient = self.adapters.gradient()?;
        tch::no_grad(|| self.optimiser.step(&mut self.adapters.flat, &gradient, rate)).map(drop)
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        weights::to_bytes(&Named::from([
            ("parameters".to_string(), self.adapters.flat.shallow_clone()),
            ("mean".to_string(), self.optimiser.mean.shallow_clone()),
            ("square".to_string(), self.optimiser.square.shallow_clone()),
            ("steps".to_string(), Tensor::from_slice(&[self.optimiser.steps])),
        ]))
    }

    fn restore(&mut self, saved: &[u8], steps: usize) -> Result<()> {
        let what = "the LoRA's saved fit";
        let named = weights::from_bytes(saved, what)?;
        let other = || Error::input_help(format!("{what} is of another network"), "remove it to fit from the start");
        let shape = self.adapters.flat.size();
        let found = |name: &str| named.get(name).filter(|found| found.size() == shape).ok_or_else(other);
        self.adapters.set(found("parameters")?).doing("restore a fit")?;
        for (name, tensor) in [("mean", &mut self.optimiser.mean), ("square", &mut self.optimiser.square)] {
            *tensor = found(name)?.to_kind(Kind::Float).to_device(tensor.device());
        }
        let done = named.get("steps").filter(|found| found.numel() == 1).ok_or_else(other)?.int64_value(&[0]);
        if !(0..=steps as i64).contains(&done) {
            return Err(other());
        }
        self.optimiser.steps = done;
        Ok(())
    }
}
