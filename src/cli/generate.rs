//! `birdaug generate`: images from prompts and a checkpoint.

use std::path::PathBuf;

use super::args::{Generate, Global, PrecisionArg, PredictionArg};
use super::opened;
use super::terminal;
use crate::checkpoint::Prediction;
use crate::error::{Error, IoContext, Result};
use crate::nn::device::Precision;
use crate::run::generate::{Asked, generate};
use crate::run::{self, Progress};
use crate::text;

pub fn run(options: &Generate, global: &Global) -> Result<()> {
    run::listen();
    let asked = asked(options, global)?;
    let store = opened::store(global)?;
    let progress = Progress::new(global.quiet);
    let generated = generate(&asked, &store, &progress)?;
    if !global.quiet {
        for path in generated.files.iter().chain(&generated.sheet) {
            terminal::line(&path.display().to_string());
        }
    }
    if global.verbose > 0 {
        let [steps, decodes, batches] =
            [&generated.steps, &generated.decodes, &generated.batches].map(|times| text::median(times));
        progress.say(&format!("step: {steps:.4} s, decode: {decodes:.4} s an image, batch: {batches:.4} s (medians)"));
    }
    match generated.dropped {
        0 => Ok(()),
        n => Err(Error::input_help(
            format!(
                "{n} of {} came out as no numbers and {} not written",
                text::count(n + generated.files.len(), "image"),
                if n == 1 { "was" } else { "were" }
            ),
            "try `--precision fp32`; if that does not help, the weights are damaged",
        )),
    }
}

fn asked(options: &Generate, global: &Global) -> Result<Asked> {
    let mut prompts = options.prompt.clone();
    if let Some(path) = &options.prompts {
        let text = std::fs::read_to_string(path).doing("read", path)?;
        prompts.extend(text.lines().filter(|line| !line.trim().is_empty()).map(String::from));
    }
    if prompts.is_empty() {
        return Err(Error::Usage(
            "there is no prompt: give `--prompt TEXT`, or `--prompts FILE` with a line each".to_string(),
        ));
    }
    if options.image.is_some() && !(options.strength > 0.0 && options.strength <= 1.0) {
        return Err(Error::Usage(format!(
            "`--strength` is above 0 (the photo as it is) and at most 1 (nothing left of it), not {}",
            options.strength
        )));
    }
    Ok(Asked {
        model: options.model.clone(),
        tokenizer: options.tokenizer.clone(),
        prediction: options.prediction_type.map(|prediction| match prediction {
            PredictionArg::Epsilon => Prediction::Noise,
            PredictionArg::V => Prediction::V,
        }),
        prompts,
        negative: options.negative.clone(),
        image: options.image.clone(),
        strength: options.strength,
        steps: options.steps,
        guidance: options.guidance,
        guidance_rescale: options.guidance_rescale,
        sampler: options.sampler.clone(),
        size: options.size.as_deref().map(size).transpose()?,
        precision: match options.precision {
            PrecisionArg::Fp32 => Precision::Fp32,
            PrecisionArg::Bf16 => Precision::Bf16,
            PrecisionArg::Fp16 => Precision::Fp16,
        },
        seed: options.seed,
        count: options.count,
        batch: options.batch,
        loras: options.lora.iter().map(|lora| with_scale(lora)).collect(),
        noise: options.noise.clone(),
        latents: options.latents.clone(),
        out: options.out.clone(),
        sheet: options.sheet,
        device: global.device.clone(),
    })
}

/// `512` or `768x512`.
fn size(text: &str) -> Result<(usize, usize)> {
    let number = |text: &str| text.parse::<usize>().ok().filter(|n| (8..=4096).contains(n) && n.is_multiple_of(8));
    let sides = match text.split_once(['x', 'X']) {
        Some((width, height)) => number(width).zip(number(height)),
        None => number(text).map(|side| (side, side)),
    };
    sides.ok_or_else(|| {
        Error::Usage(format!("`--size {text}` is no size; give WIDTHxHEIGHT, each a multiple of 8 from 8 to 4096"))
    })
}

/// `DIR` or `DIR:SCALE`.
fn with_scale(text: &str) -> (PathBuf, f64) {
    match text.rsplit_once(':').and_then(|(path, scale)| Some((path, scale.parse().ok()?))) {
        Some((path, scale)) => (path.into(), scale),
        None => (text.into(), 1.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_scales_are_read_as_people_write_them() {
        assert_eq!(size("512").unwrap(), (512, 512));
        assert_eq!(size("768x512").unwrap(), (768, 512));
        let message = size("100").unwrap_err().to_string();
        assert_eq!(message, "`--size 100` is no size; give WIDTHxHEIGHT, each a multiple of 8 from 8 to 4096");
        assert_eq!(with_scale("loras/tit:0.5"), ("loras/tit".into(), 0.5));
        assert_eq!(with_scale("c:loras/tit"), ("c:loras/tit".into(), 1.0));
    }
}
