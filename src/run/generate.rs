//! Single images from prompts, for people who try a checkpoint before they write a recipe. Keeps nothing in the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Instant;

use image::RgbImage;
use tch::Tensor;

use crate::checkpoint::lora::LoraFile;
use crate::checkpoint::tokenizer::Tokenizer;
use crate::checkpoint::{self, Prediction};
use crate::dataset::decode;
use crate::diffusion::sampler::SamplerKind;
use crate::diffusion::sd::lora::{self, Lora};
use crate::diffusion::sd::pipeline::{Options, Pipeline, Request, Start, Tokens};
use crate::error::{Error, IoContext, Result};
use crate::nn::TensorContext;
use crate::nn::device::{self, Precision};
use crate::nn::weights::{self, Named};
use crate::store::{Store, write_atomically};
use crate::text;

use super::base::Base;
use super::progress::Progress;
use super::sheet;
use super::stop;

/// Name of the one tensor of files of noise and latents.
const LATENTS: &str = "latents";

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// A checkpoint's folder or file, or `hf:owner/name@revision`.
    pub model: String,
    /// The vocabulary of a checkpoint in one file.
    pub tokenizer: Option<PathBuf>,
    /// What a checkpoint in one file predicts, if it is not to say itself.
    pub prediction: Option<Prediction>,
    pub prompts: Vec<String>,
    pub negative: String,
    /// Image to image: what to start from.
    pub image: Option<PathBuf>,
    pub strength: f64,
    pub steps: usize,
    pub guidance: f64,
    pub guidance_rescale: f64,
    /// The checkpoint's own by default.
    pub sampler: Option<String>,
    /// Width and height in pixels; the checkpoint's own by default.
    pub size: Option<(usize, usize)>,
    pub precision: Precision,
    pub seed: u64,
    /// Images a prompt, with seeds that follow each other.
    pub count: usize,
    pub batch: usize,
    /// Files or folders with their scales.
    pub loras: Vec<(PathBuf, f64)>,
    /// Initial noise for all images, safetensors.
    pub noise: Option<PathBuf>,
    /// Where to write the final latents.
    pub latents: Option<PathBuf>,
    pub out: PathBuf,
    /// Also write all images on one sheet.
    pub sheet: bool,
    pub device: String,
}

/// What was made.
#[derive(Default)]
pub struct Generated {
    pub files: Vec<PathBuf>,
    /// Images that came out as no numbers, which are not written.
    pub dropped: usize,
    pub sheet: Option<PathBuf>,
    /// Seconds of each step of each batch, of an image's decoding, a batch each, and of whole batches. A GPU is handed its steps
    /// before it has done them: there only the last is its own time.
    pub steps: Vec<f64>,
    pub decodes: Vec<f64>,
    pub batches: Vec<f64>,
}

/// Makes the images and writes them.
///
/// # Errors
/// [`Error::Usage`] and [`Error::Input`] for what cannot be run, before any work starts.
pub fn generate(asked: &Asked, store: &Store, progress: &Progress) -> Result<Generated> {
    let options = checkpoint::Options { tokenizer: asked.tokenizer.clone(), prediction: asked.prediction };
    let base = Base::open(store, &asked.model, &options, false, Some(progress))?;
    let lora = loras(asked)?;
    let tokenizer = base.tokenizer(&lora)?;
    let mut pipeline = open(asked, &base, lora)?;
    let requests = requests(asked, &tokenizer, &pipeline, progress)?;
    base.warn_of_guess("`--prediction-type epsilon`", progress);
    base.warn_of_unheard(&asked.negative, asked.guidance_rescale, progress);
    fs::create_dir_all(&asked.out).doing("make the folder", &asked.out)?;
    let mut generated = Generated::default();
    let (mut images, mut latents) = (Vec::new(), Vec::new());
    let mut task = progress.task("generate", requests.len(), "image");
    for (first, chunk) in requests.chunks(asked.batch).enumerate() {
        let started = Instant::now();
        let mut last = started;
        let made = pipeline.generate(chunk, &mut |_, _| {
            generated.steps.push(std::mem::replace(&mut last, Instant::now()).elapsed().as_secs_f64());
            stop::check()
        })?;
        generated.decodes.push(last.elapsed().as_secs_f64() / chunk.len() as f64);
        generated.batches.push(started.elapsed().as_secs_f64());
        for (i, made) in made.into_iter().enumerate() {
            let number = first * asked.batch + i;
            latents.push(made.latents);
            let Some(image) = made.image else {
                let key = seed_of(asked, number);
                progress.warn(&format!("the image of seed {key} is dropped: some of its numbers are not finite"));
                generated.dropped += 1;
                continue;
            };
            let path = asked.out.join(format!("{:04}.png", number + 1));
            write_atomically(&path, &png(&image, &parameters(asked, &base, &pipeline, number))?)?;
            generated.files.push(path);
            images.push(image);
        }
        task.advance(chunk.len());
    }
    task.finish();
    if let Some(path) = &asked.latents {
        let all = Tensor::f_cat(&latents, 0).doing("lay out the latents")?;
        write_atomically(path, &weights::to_bytes(&Named::from([(LATENTS.to_string(), all)]))?)?;
    }
    if asked.sheet && !images.is_empty() {
        let path = asked.out.join("sheet.png");
        write_atomically(&path, &super::make::png(&sheet::sheet(&images, asked.count))?)?;
        generated.sheet = Some(path);
    }
    Ok(generated)
}

/// All LoRAs together.
fn loras(asked: &Asked) -> Result<Lora> {
    let mut all = Lora::default();
    for (path, scale) in &asked.loras {
        all.join(lora::read_file(&LoraFile::open(path)?, *scale)?)?;
    }
    Ok(all)
}

fn open(asked: &Asked, base: &Base, lora: Lora) -> Result<Pipeline> {
    let own = base.checkpoint.unet.sample_size << (base.checkpoint.vae.channels.len() - 1);
    let (width, height) = asked.size.unwrap_or((own, own));
    let sampler = asked.sampler.as_deref().map(SamplerKind::from_name).transpose()?;
    let options = |sampler| Options {
        sampler,
        steps: asked.steps,
        guidance: asked.guidance,
        guidance_rescale: asked.guidance_rescale,
        strength: if asked.image.is_some() { asked.strength } else { 1.0 },
        width,
        height,
        batch: asked.batch,
        precision: asked.precision,
    };
    base.pipeline(sampler, options, lora, device::select(&asked.device)?)
}

/// A request for every image.
fn requests(asked: &Asked, tokenizer: &Tokenizer, pipeline: &Pipeline, progress: &Progress) -> Result<Vec<Request>> {
    let tokens = |prompt: &str| -> Result<Tokens> {
        let tokens = tokenizer.encode(prompt)?;
        if tokens.cut > 0 {
            let cut = text::count(tokens.cut, "token");
            progress.warn(&format!("the prompt `{prompt}` is too long for the model: its last {cut} are not read"));
        }
        Ok(tokens.ids.into_iter().map(i64::from).collect())
    };
    let negative = tokens(&asked.negative)?;
    let source = asked.image.as_ref().map(|path| decode::photo(path)).transpose()?;
    let noise = asked.noise.as_ref().map(|path| noise(path, asked, pipeline)).transpose()?;
    let mut requests = Vec::new();
    for prompt in &asked.prompts {
        if prompt.trim().is_empty() {
            progress.warn("the prompt is empty: the image will be of nothing in particular");
        }
        let prompt = tokens(prompt)?;
        for _ in 0..asked.count {
            let number = requests.len();
            let key = blake3::derive_key("birdaug 2026 generate v1", &seed_of(asked, number).to_le_bytes());
            let start = match &noise {
                Some(noise) => Start::Noise(noise.narrow(0, number as i64, 1), key),
                None => Start::Key(key),
            };
            requests.push(Request {
                prompt: Rc::clone(&prompt),
                negative: Rc::clone(&negative),
                start,
                source: source.clone(),
            });
        }
    }
    Ok(requests)
}

/// The seed of the image of that number.
fn seed_of(asked: &Asked, number: usize) -> u64 {
    asked.seed.wrapping_add((number % asked.count) as u64)
}

/// Initial noise `[images, channels, height / 8, width / 8]` out of a file.
fn noise(path: &Path, asked: &Asked, pipeline: &Pipeline) -> Result<Tensor> {
    let bytes = fs::read(path).doing("read", path)?;
    let mut named = weights::from_bytes(&bytes, &format!("`{}`", path.display()))?;
    let [channels, h, w] = pipeline.latent_size();
    let wanted = vec![(asked.prompts.len() * asked.count) as i64, channels, h, w];
    match named.remove(LATENTS) {
        Some(noise) if noise.size() == wanted => Ok(noise.to_kind(tch::Kind::Float)),
        Some(noise) => Err(Error::Usage(format!(
            "`{}` holds noise of size {:?}; {} images of this size want {wanted:?}",
            path.display(),
            noise.size(),
            wanted[0]
        ))),
        None => Err(Error::Usage(format!("`{}` holds no tensor `{LATENTS}`", path.display()))),
    }
}

/// How an image was made, in the words that other programs write and read.
fn parameters(asked: &Asked, base: &Base, pipeline: &Pipeline, number: usize) -> String {
    let options = pipeline.options();
    let prompt = &asked.prompts[number / asked.count];
    let negative =
        if asked.negative.is_empty() { String::new() } else { format!("\nNegative prompt: {}", asked.negative) };
    let strength = match asked.image {
        Some(_) => format!(", Denoising strength: {}", options.strength),
        None => String::new(),
    };
    let rescale = match options.guidance_rescale {
        0.0 => String::new(),
        share => format!(", Guidance rescale: {share}"),
    };
    let prediction =
        asked.prediction.map_or(String::new(), |prediction| format!(", Prediction type: {}", prediction.name()));
    let loras: String =
        asked.loras.iter().map(|(path, scale)| format!(", Lora: {}:{scale}", text::file_name(path))).collect();
    format!(
        "{prompt}{negative}\nSteps: {}, Sampler: {}, CFG scale: {}{rescale}, Seed: {}, Size: {}x{}, Model: {}, Model hash: \
         {}{prediction}{strength}{loras}, Precision: {}, Batch: {}, Version: birdaug {}",
        options.steps,
        options.sampler.name(),
        options.guidance,
        seed_of(asked, number),
        options.width,
        options.height,
        text::file_name(Path::new(&asked.model)),
        &crate::plan::Key(base.digest).short(),
        options.precision.name(),
        options.batch,
        crate::plan::ENGINE,
    )
}

/// A PNG with a text inside, under the name `parameters`.
fn png(image: &RgbImage, parameters: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, image.width(), image.height());
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder
        .add_itxt_chunk("parameters".to_string(), parameters.to_string())
        .and_then(|()| encoder.write_header())
        .and_then(|mut writer| writer.write_image_data(image.as_raw()))
        .map_err(|error| Error::input(format!("could not write a PNG: {error}")))?;
    Ok(bytes)
}
