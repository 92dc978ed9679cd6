//! The generator "ddpm": a class-conditional U-Net fitted by [`super::fit`] and sampled here, from noise or from photos.

use image::RgbImage;
use tch::{Device, Kind, TchError, Tensor};

use super::sampler::{Prediction, Settings, Spacing, noise, start_index, step_noise};
use super::schedule::{Arithmetic, Betas, Schedule};
use super::unet::{Config, UNet};
use super::{Generator, Request, SampleOptions};
use crate::dataset::decode::square;
use crate::error::{Error, Result};
use crate::nn::TensorContext;
use crate::nn::heap;
use crate::nn::params::Parameters;
use crate::nn::weights::{self, Named};

/// Training timesteps.
pub const TIMESTEPS: usize = 1000;

/// Name of the tensor that holds the config beside the weights.
const CONFIG: &str = "config";

/// The schedule that networks are fitted and sampled with.
pub fn schedule() -> Schedule {
    Schedule::new(Betas::Cosine, TIMESTEPS, Arithmetic::Fp64)
}

/// Safetensors bytes of a flat parameter buffer and of the config that gives it meaning.
pub(super) fn to_bytes(net: &UNet, flat: &Tensor) -> Result<Vec<u8>> {
    let mut named = net.layout().named(flat).doing("name the weights")?;
    named.insert(CONFIG.to_string(), config_tensor(net.config()));
    weights::to_bytes(&named)
}

fn config_tensor(config: &Config) -> Tensor {
    let mut values = vec![config.size, config.width, config.depth, config.classes];
    values.extend(&config.levels);
    Tensor::from_slice(&values.into_iter().map(|value| value as i64).collect::<Vec<_>>())
}

/// A fitted network ready to sample.
pub struct Ddpm {
    net: UNet,
    parameters: Parameters,
    schedule: Schedule,
    options: SampleOptions,
    device: Device,
}

impl Ddpm {
    /// `weights` are the bytes that [`super::fit::fit`] returned for the same config.
    ///
    /// # Errors
    /// [`Error::Usage`] for values out of range, [`Error::Input`] where the weights are not of this config.
    pub fn new(config: &Config, weights: &[u8], options: SampleOptions, device: Device) -> Result<Ddpm> {
        options.check()?;
        heap::keep_freed();
        let what = "the fitted generator";
        let net = UNet::new(config)?;
        let schedule = schedule();
        options.sampler.start(&schedule, options.steps, &settings())?;
        let mut named: Named = weights::from_bytes(weights, what)?;
        let found: Option<Vec<i64>> = named.remove(CONFIG).and_then(|tensor| Vec::try_from(tensor).ok());
        let wanted: Vec<i64> = Vec::try_from(config_tensor(config)).expect("a list of integers");
        if found.as_ref() != Some(&wanted) {
            return Err(Error::input_help(
                format!("{what} was fitted with size, width, depth, classes, levels {found:?}, not {wanted:?}"),
                "fit it again with the sizes that are asked for",
            ));
        }
        let flat = net.layout().flat(&named, what)?;
        let flat = flat.f_to_device(device).doing("move the generator to its device")?;
        let flat = flat.to_kind(options.precision.kind());
        let parameters = net.layout().views(&flat).doing("lay out the generator")?;
        Ok(Ddpm { net, parameters, schedule, options, device })
    }

    /// A full batch from noise, or from `sources` `[batch, 3, size, size]` in [-1, 1]; returns `[batch, 3, size, size]` u8.
    fn walk(&self, keys: &[[u8; 32]], sources: Option<&Tensor>, classes: &Tensor) -> Result<Tensor> {
        let SampleOptions { sampler, steps, guidance, strength, .. } = self.options;
        let mut sampler = sampler.start(&self.schedule, steps, &settings())?;
        let side = self.net.config().size as i64;
        let mut run = || -> std::result::Result<Tensor, TchError> {
            let noise = noise(keys, &[3, side, side]).f_to_device(self.device)?;
            // At least a whole step, of which PNDM's extra call is a part: images of these keys have always been walked so.
            let start = if sources.is_some() { start_index(steps, steps, strength) } else { 0 };
            let mut x = match sources {
                Some(sources) => sampler.add_noise(sources, &noise, start)?,
                None => noise.f_mul_scalar(sampler.initial_scale())?,
            };
            for index in start..sampler.timesteps().len() {
                let input = sampler.scale_input(&x, index)?;
                let output = self.predict(&input, sampler.timesteps()[index], classes, guidance)?;
                let fresh = sampler.wants_noise(index).then(|| step_noise(keys, index, &[3, side, side]));
                let fresh = fresh.map(|fresh| fresh.f_to_device(self.device)).transpose()?;
                x = sampler.step(&output, index, &x, fresh.as_ref())?;
            }
            x.f_clamp(-1.0, 1.0)?.f_add_scalar(1.0)?.f_mul_scalar(127.5)?.f_round()?.f_to_kind(Kind::Uint8)
        };
        tch::no_grad(&mut run).doing("generate images (a smaller `batch` takes less memory)")
    }

    /// The network's `v`, guided: `without + guidance * (with - without)` where guidance is not 1.
    fn predict(&self, x: &Tensor, t: f64, classes: &Tensor, guidance: f64) -> std::result::Result<Tensor, TchError> {
        let batch = x.size()[0];
        let time = |n| Tensor::f_full([n], t / TIMESTEPS as f64, (Kind::Float, self.device));
        if guidance == 1.0 {
            return self.net.forward(&self.parameters, x, &time(batch)?, classes);
        }
        let no_class = classes.f_full_like(self.net.no_class())?;
        let twice = Tensor::f_cat(&[x, x], 0)?;
        let both = Tensor::f_cat(&[classes, &no_class], 0)?;
        let v = self.net.forward(&self.parameters, &twice, &time(2 * batch)?, &both)?;
        let (with, without) = (v.f_narrow(0, 0, batch)?, v.f_narrow(0, batch, batch)?);
        with.f_mul_scalar(guidance)?.f_add(&without.f_mul_scalar(1.0 - guidance)?)
    }

    /// Images of requests that all have a source, or all have none.
    fn group(&self, requests: &[&Request]) -> Result<Vec<RgbImage>> {
        let batch = self.options.batch;
        let size = self.net.config().size;
        let mut keys: Vec<[u8; 32]> = requests.iter().map(|request| request.noise).collect();
        let mut classes: Vec<i64> = requests.iter().map(|request| request.class as i64).collect();
        keys.resize(batch, [0; 32]);
        classes.resize(batch, 0);
        let classes = Tensor::from_slice(&classes).to_device(self.device);
        let sources: Vec<RgbImage> = requests
            .iter()
            .filter_map(|request| request.source.as_ref())
            .map(|image| square(image, size as u32))
            .collect();
        let sources = if sources.is_empty() { None } else { Some(stack(&sources, size, batch)?) };
        let sources = sources.map(|sources| to_unit(&sources.to_device(self.device)));
        let pixels = self.walk(&keys, sources.as_ref(), &classes)?;
        unstack(&pixels, size, requests.len())
    }
}

impl Generator for Ddpm {
    fn batch(&self) -> usize {
        self.options.batch
    }

    fn generate(&mut self, requests: &[Request]) -> Result<Vec<Option<RgbImage>>> {
        if requests.len() > self.options.batch {
            let (n, most) = (requests.len(), self.options.batch);
            return Err(Error::Usage(format!("{n} images do not fit into a batch of {most}")));
        }
        let classes = self.net.config().classes;
        if let Some(request) = requests.iter().find(|request| request.class >= classes) {
            let class = request.class;
            return Err(Error::Usage(format!("class {class} is asked of a generator of {classes} classes")));
        }
        // The walk from a source begins elsewhere than the walk from noise: each kind has a batch of its own.
        let mut images = vec![None; requests.len()];
        for with_source in [false, true] {
            let places: Vec<usize> =
                (0..requests.len()).filter(|&i| requests[i].source.is_some() == with_source).collect();
            if !places.is_empty() {
                let group: Vec<&Request> = places.iter().map(|&i| &requests[i]).collect();
                for (place, image) in places.into_iter().zip(self.group(&group)?) {
                    images[place] = Some(image);
                }
            }
        }
        Ok(images)
    }
}

fn settings() -> Settings {
    Settings { prediction: Prediction::V, spacing: Spacing::TrailingExact, clip: Some(1.0), ..Settings::default() }
}

/// RGB images of `size` pixels a side as `[rows, 3, size, size]` u8 on the CPU, black where there are fewer images.
pub(super) fn stack(images: &[RgbImage], size: usize, rows: usize) -> Result<Tensor> {
    let mut bytes = Vec::with_capacity(rows * size * size * 3);
    images.iter().for_each(|image| bytes.extend_from_slice(image.as_raw()));
    bytes.resize(rows * size * size * 3, 0);
    let shape = [rows as i64, size as i64, size as i64, 3];
    let pixels = Tensor::f_from_data_size(&bytes, &shape, Kind::Uint8).doing("make a tensor of images")?;
    Ok(pixels.permute([0, 3, 1, 2]).contiguous())
}

/// u8 pixels as fp32 in [-1, 1].
pub(super) fn to_unit(pixels: &Tensor) -> Tensor {
    pixels.to_kind(Kind::Float) * (1.0 / 127.5) - 1.0
}

/// The first `count` images of `[batch, 3, size, size]` u8.
fn unstack(pixels: &Tensor, size: usize, count: usize) -> Result<Vec<RgbImage>> {
    let pixels = pixels.to_device(Device::Cpu).permute([0, 2, 3, 1]).contiguous();
    let numel = size * size * 3;
    (0..count)
        .map(|i| {
            let mut bytes = vec![0u8; numel];
            pixels.get(i as i64).view([-1]).f_copy_data_u8(&mut bytes, numel).doing("read generated images")?;
            Ok(RgbImage::from_raw(size as u32, size as u32, bytes).expect("the buffer is of the image's size"))
        })
        .collect()
}
