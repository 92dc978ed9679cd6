//! Text- and image-to-image: prompts, photos and noise in, images out. Knows no names, files or keys.

use std::collections::HashMap;
use std::rc::Rc;

use image::RgbImage;
use tch::{Device, Kind, TchError, Tensor};

use super::clip::TextEncoder;
use super::guide;
use super::lora::Patches;
use super::memory;
use super::unet::Unet;
use super::vae::Vae;
use crate::checkpoint::config::{TextEncoderConfig, UnetConfig, VaeConfig};
use crate::checkpoint::tensors::Tensors;
use crate::diffusion::pixels;
use crate::diffusion::sampler::{self, Sampler, SamplerKind, Settings, start_index, step_noise};
use crate::diffusion::schedule::Schedule;
use crate::error::{Error, Result};
use crate::nn::TensorContext;
use crate::nn::device::Precision;
use crate::nn::heap;

/// Source photos whose latents are remembered.
const REMEMBERED: usize = 4096;

/// A checkpoint's networks, as its files hold them.
pub struct Parts<'p> {
    /// The checkpoint's place, for messages.
    pub name: String,
    pub text_config: &'p TextEncoderConfig,
    pub unet_config: &'p UnetConfig,
    pub vae_config: &'p VaeConfig,
    pub text: Tensors,
    pub unet: Tensors,
    pub vae: Tensors,
    /// What LoRAs add to the text encoder and to the U-Net.
    pub text_patches: Patches,
    pub unet_patches: Patches,
    /// Embeddings `[tokens, width]` of tokens after the vocabulary.
    pub learned: Option<Tensor>,
}

impl Parts<'_> {
    /// # Errors
    /// [`Error::Input`] where the networks are not of one text-to-image model.
    pub fn check(&self) -> Result<()> {
        let channels = self.vae_config.latent_channels;
        if self.unet_config.in_channels != channels || self.unet_config.out_channels != channels {
            return Err(Error::input_help(
                format!(
                    "the U-Net of {} takes {} channels and gives {}; text- and image-to-image want {channels} for both",
                    self.name, self.unet_config.in_channels, self.unet_config.out_channels
                ),
                "models for inpainting, depth or upscaling are not run; take the plain text-to-image model",
            ));
        }
        if self.unet_config.text_width != self.text_config.width {
            return Err(Error::input_help(
                format!(
                    "the U-Net of {} listens to {} channels a token, its text encoder says {}",
                    self.name, self.unet_config.text_width, self.text_config.width
                ),
                "the folder mixes two models; fetch it again",
            ));
        }
        let width = self.text_config.width as i64;
        if let Some(learned) = self.learned.as_ref().filter(|learned| learned.size()[1] != width) {
            return Err(Error::input_help(
                format!(
                    "a learned token has {} channels, the text encoder of {} has {width}",
                    learned.size()[1],
                    self.name
                ),
                "it was learned with another base model; take the base that its page names",
            ));
        }
        Ok(())
    }
}

/// How images are made.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub sampler: SamplerKind,
    /// Steps of the whole walk.
    pub steps: usize,
    /// Classifier-free guidance (Ho and Salimans 2022, eq. 6, as `1 + w`); up to 1 it is off and the negative prompt unused. A
    /// network that is told the guidance (Luo et al. 2023) makes no second pass at any, and hears no negative prompt.
    pub guidance: f64,
    /// Share of guidance rescaling (Lin et al. 2023, eq. 15 and 16) in [0, 1]; 0 is off.
    pub guidance_rescale: f64,
    /// Share of the walk that a source photo is taken through, in (0, 1].
    pub strength: f64,
    /// In pixels, multiples of 8.
    pub width: usize,
    pub height: usize,
    /// Images a batch, at least 1; part of an image's bits.
    pub batch: usize,
    pub precision: Precision,
}

impl Options {
    /// # Errors
    /// [`Error::Usage`] that names the first value that is out of its range.
    pub fn check(&self, side: usize) -> Result<()> {
        let wrong = |value: usize| value == 0 || !value.is_multiple_of(side);
        let problem = if self.batch == 0 {
            "`batch` is at least 1".to_string()
        } else if !(self.strength > 0.0 && self.strength <= 1.0) {
            format!("`strength` is above 0 and at most 1, not {}", self.strength)
        } else if !(self.guidance.is_finite() && self.guidance >= 0.0) {
            format!("`guidance` is a number of at least 0, not {}", self.guidance)
        } else if !(0.0..=1.0).contains(&self.guidance_rescale) {
            format!("`guidance_rescale` is from 0 to 1, not {}", self.guidance_rescale)
        } else if wrong(self.width) || wrong(self.height) {
            format!("a size is a multiple of {side}, not {}x{}", self.width, self.height)
        } else {
            return Ok(());
        };
        Err(Error::Usage(problem))
    }
}

/// Token numbers of a prompt, as many as the text encoder has positions.
pub type Tokens = Rc<[i64]>;

/// Where an image's walk starts.
#[derive(Debug)]
pub enum Start {
    /// Noise, all of it from the key's stream.
    Key([u8; 32]),
    /// This noise `[1, channels, height / 8, width / 8]`; later noise from the key's stream.
    Noise(Tensor, [u8; 32]),
}

impl Start {
    fn key(&self) -> [u8; 32] {
        match self {
            Start::Key(key) | Start::Noise(_, key) => *key,
        }
    }
}

/// One image to make.
#[derive(Debug)]
pub struct Request {
    pub prompt: Tokens,
    pub negative: Tokens,
    pub start: Start,
    /// Image to image: the photo to start from, of any size.
    pub source: Option<RgbImage>,
}

/// What came of a request.
#[derive(Debug)]
pub struct Made {
    /// `None`: some of the latents or pixels are no numbers.
    pub image: Option<RgbImage>,
    /// `[1, channels, height / 8, width / 8]`, fp32, on the CPU.
    pub latents: Tensor,
}

/// Called with the index of each step of a batch and the latents after it.
pub type Watch<'w> = &'w mut dyn FnMut(usize, &Tensor) -> Result<()>;

/// A checkpoint ready to make images.
pub struct Pipeline {
    text: TextEncoder,
    unet: Unet,
    vae: Vae,
    schedule: Schedule,
    settings: Settings,
    options: Options,
    device: Device,
    /// Channels of the latents.
    channels: i64,
    /// Embeddings of prompts, each made once.
    prompts: HashMap<Tokens, Tensor>,
    /// Latents of source photos by the digest of their pixels, each made once.
    sources: HashMap<[u8; 32], Tensor>,
}

impl Pipeline {
    /// # Errors
    /// [`Error::Usage`] for values out of range, [`Error::Input`] where tensors and configurations do not fit.
    pub fn new(
        parts: Parts<'_>,
        schedule: Schedule,
        settings: Settings,
        options: Options,
        device: Device,
    ) -> Result<Pipeline> {
        heap::keep_freed();
        let side = 1 << (parts.vae_config.channels.len() - 1);
        options.check(side)?;
        options.sampler.start(&schedule, options.steps, &settings)?;
        parts.check()?;
        let (unet_config, vae_config) = (parts.unet_config, parts.vae_config);
        let channels = vae_config.latent_channels;
        let kind = options.precision.kind();
        // In fp16 the decoder's large values overflow to black images.
        let vae_kind = if kind == Kind::Half { Kind::Float } else { kind };
        let name = &parts.name;
        let (text, text_patches) = (&parts.text, &parts.text_patches);
        let text_what = format!("`{name}/text_encoder`");
        let unet_what = format!("`{name}/unet`");
        let mut text = TextEncoder::load(parts.text_config, text, text_patches, kind, device, true, &text_what)?;
        if let Some(learned) = &parts.learned {
            text = text.learning(learned, None);
        }
        let unet = Unet::load(unet_config, &parts.unet, &parts.unet_patches, kind, device, true, &unet_what)?;
        let unet = tch::no_grad(|| unet.guided_by(options.guidance, device)).doing("tell the network the guidance")?;
        Ok(Pipeline {
            text,
            unet,
            vae: Vae::load(vae_config, &parts.vae, vae_kind, device, &format!("`{name}/vae`"))?,
            schedule,
            settings,
            options,
            device,
            channels: channels as i64,
            prompts: HashMap::new(),
            sources: HashMap::new(),
        })
    }

    /// How images are made.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Whether the text encoder has an embedding of this token.
    #[cfg(test)]
    pub fn knows(&self, token: i64) -> bool {
        self.text.knows(token)
    }

    /// Size of an image's latents: `[channels, height / 8, width / 8]`.
    pub fn latent_size(&self) -> [i64; 3] {
        let side = self.vae.side();
        [self.channels, self.options.height as i64 / side, self.options.width as i64 / side]
    }

    /// Exactly as many images as requests, in their order; 1 to `batch` of them, all with a source or all without. A full,
    /// padded batch always runs, so an image's bits depend on its own request alone.
    ///
    /// # Errors
    /// [`Error::Usage`] for too many or mixed requests; [`Error::Tensor`] where libtorch refuses, most often for want of
    /// memory.
    pub fn generate(&mut self, requests: &[Request], watch: Watch<'_>) -> Result<Vec<Made>> {
        let batch = self.options.batch;
        if requests.is_empty() || requests.len() > batch {
            return Err(Error::Usage(format!("{} images do not fit into a batch of {batch}", requests.len())));
        }
        if requests.iter().any(|request| request.source.is_some() != requests[0].source.is_some()) {
            return Err(Error::Usage("a batch starts from photos or from noise, not from both".to_string()));
        }
        let _no_grad = tch::no_grad_guard();
        let latents = self.walk(requests, watch);
        let latents = latents.map_err(|error| self.explain(error))?;
        let mut made = Vec::with_capacity(requests.len());
        for i in 0..requests.len() as i64 {
            let one = latents.narrow(0, i, 1);
            let image = self.vae.decode(&one).doing("decode latents").map_err(|error| self.explain(error))?;
            let latents = one.f_to_device(Device::Cpu).doing("read latents")?;
            made.push(Made { image: pixels::image_if_finite(&image)?, latents });
        }
        Ok(made)
    }

    /// Whether every step asks the network without the prompt too.
    fn guided(&self) -> bool {
        self.options.guidance > 1.0 && !self.unet.is_told_guidance()
    }

    /// Rows that the network is asked for a batch.
    fn rows(&self, batch: i64) -> i64 {
        if self.guided() { 2 * batch } else { batch }
    }

    fn walk(&mut self, requests: &[Request], watch: Watch<'_>) -> Result<Tensor> {
        let texts = self.texts(requests)?;
        let text = self.unet.listen(&texts).doing("look at the prompts")?;
        let mut keys: Vec<[u8; 32]> = requests.iter().map(|request| request.start.key()).collect();
        keys.resize(self.options.batch, [0; 32]);
        let noise = self.noise(requests, &keys)?;
        let sources = self.sources(requests)?;
        let mut sampler = self.options.sampler.start(&self.schedule, self.options.steps, &self.settings)?;
        let start = if sources.is_some() {
            start_index(self.options.steps, sampler.timesteps().len(), self.options.strength)
        } else {
            0
        };
        let mut x = match sources {
            Some(sources) => sampler.add_noise(&sources, &noise, start),
            None => noise.f_mul_scalar(sampler.initial_scale()),
        }
        .doing("start from noise")?;
        for index in start..sampler.timesteps().len() {
            x = self.step(sampler.as_mut(), index, &x, &text, &keys).doing("take a step of the walk")?;
            watch(index, &x)?;
        }
        Ok(x)
    }

    fn step(
        &self,
        sampler: &mut dyn Sampler,
        index: usize,
        x: &Tensor,
        text: &super::unet::Text,
        keys: &[[u8; 32]],
    ) -> std::result::Result<Tensor, TchError> {
        let Options { batch, guidance, guidance_rescale, .. } = self.options;
        let batch = batch as i64;
        let input = sampler.scale_input(x, index)?;
        let rows = self.rows(batch);
        let input = if self.guided() { Tensor::f_cat(&[&input, &input], 0)? } else { input };
        let times = Tensor::f_full([rows], sampler.timesteps()[index], (Kind::Float, self.device))?;
        let output = self.unet.forward(&input, &times, text)?;
        let output = match self.guided() {
            true => {
                let (without, with) = (output.f_narrow(0, 0, batch)?, output.f_narrow(0, batch, batch)?);
                guide::guided(&without, &with, guidance, guidance_rescale)?
            }
            false => output,
        };
        let noise = match sampler.wants_noise(index) {
            true => Some(step_noise(keys, index, &self.latent_size()).f_to_device(self.device)?),
            false => None,
        };
        sampler.step(&output, index, x, noise.as_ref())
    }

    /// Embeddings of a padded batch: `[batch, tokens, width]`, those of the negative prompts first where guidance is on.
    fn texts(&mut self, requests: &[Request]) -> Result<Tensor> {
        let mut wanted = Vec::new();
        if self.guided() {
            wanted.extend(self.padded(requests).map(|request| Rc::clone(&request.negative)));
        }
        wanted.extend(self.padded(requests).map(|request| Rc::clone(&request.prompt)));
        for tokens in &wanted {
            if !self.prompts.contains_key(tokens) {
                let ids = Tensor::from_slice(tokens).view([1, -1]).to_device(self.device);
                let embedding = self.text.forward(&ids).doing("encode a prompt")?;
                self.prompts.insert(Rc::clone(tokens), embedding);
            }
        }
        let all: Vec<&Tensor> = wanted.iter().map(|tokens| &self.prompts[tokens]).collect();
        Tensor::f_cat(&all, 0).doing("lay out the prompts")
    }

    fn noise(&self, requests: &[Request], keys: &[[u8; 32]]) -> Result<Tensor> {
        let size = self.latent_size();
        let noise = sampler::noise(keys, &size);
        for (i, request) in requests.iter().enumerate() {
            if let Start::Noise(given, _) = &request.start {
                let given = given.f_view([1, size[0], size[1], size[2]]).doing("lay out the given noise")?;
                noise.narrow(0, i as i64, 1).f_copy_(&given).doing("take the given noise")?;
            }
        }
        noise.f_to_device(self.device).doing("move noise to the device")
    }

    /// Latents of the photos of a padded batch.
    fn sources(&mut self, requests: &[Request]) -> Result<Option<Tensor>> {
        let mut latents = Vec::new();
        for source in requests.iter().filter_map(|request| request.source.as_ref()) {
            let name = pixels::digest(source);
            if !self.sources.contains_key(&name) {
                let fitted = pixels::fitted(source, self.options.width as u32, self.options.height as u32);
                let image = pixels::to_unit(&fitted)?.f_to_device(self.device).doing("move a photo to the device")?;
                let encoded = self.vae.encode(&image).doing("encode a photo")?;
                if self.sources.len() >= REMEMBERED {
                    self.sources.clear();
                }
                self.sources.insert(name, encoded);
            }
            latents.push(self.sources[&name].shallow_clone());
        }
        let Some(first) = latents.first().map(Tensor::shallow_clone) else { return Ok(None) };
        latents.resize_with(self.options.batch, || first.shallow_clone());
        Tensor::f_cat(&latents, 0).doing("lay out the photos").map(Some)
    }

    /// As many requests as a batch has, the last of them again where there are fewer.
    fn padded<'r>(&self, requests: &'r [Request]) -> impl Iterator<Item = &'r Request> {
        requests.iter().chain(std::iter::repeat_n(&requests[requests.len() - 1], self.options.batch - requests.len()))
    }

    /// Names, where memory ran out, the batch that would have fitted.
    fn explain(&self, error: Error) -> Error {
        let Options { batch, width, height, .. } = self.options;
        let aside = "the batch is part of an image's key";
        memory::explain(error, batch, (width, height), aside, |batch, size| self.fits(batch, size))
    }

    /// Whether one step of a smaller batch, or of smaller images, goes through.
    fn fits(&self, batch: usize, (width, height): (usize, usize)) -> bool {
        let rows = self.rows(batch as i64);
        let (channels, side) = (self.channels, self.vae.side());
        let (h, w) = (height as i64 / side, width as i64 / side);
        let tried = || -> std::result::Result<(), TchError> {
            let kind = (Kind::Float, self.device);
            let x = Tensor::f_zeros([rows, channels, h, w], kind)?;
            let tokens = self.unet.config().text_width as i64;
            let text = self.unet.listen(&Tensor::f_zeros([rows, 77, tokens], kind)?)?;
            let _ = self.unet.forward(&x, &Tensor::f_zeros([rows], kind)?, &text)?;
            self.vae.decode(&x.f_narrow(0, 0, 1)?).map(drop)
        };
        tried().is_ok()
    }
}
