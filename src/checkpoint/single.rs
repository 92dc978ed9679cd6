//! A checkpoint in one file, in the original layout: which version it is, and what configures it. Knows no libtorch.
//!
//! Such a file brings no configuration. What decides:
//! - 1.x or 2.x: how wide the text is that the U-Net reads, 768 or 1024; the configuration is the published one.
//! - noise or v prediction: what the caller says; else the note `modelspec.prediction_type` in the file; else a tensor
//!   `v_pred`, which trainers leave there; else noise for 1.x. For 2.x 875,000 steps of training (`global_step`) are
//!   `512-base`, which predicts noise, as diffusers takes it; other steps are v. Where nothing says it, v is a guess.
//! - zero terminal SNR: a tensor `ztsnr`; the schedule is then rescaled and walked from its end (Lin et al. 2023).
//! - the vocabulary: the folder that the caller names; else `tokenizer/` beside the file.

use std::path::{Path, PathBuf};

use super::names::Fate;
use super::original::Original;
use super::safetensors_file::SafetensorsFile;
use super::tensors::Dtype;
use super::{
    Checkpoint, Component, Options, Prediction, Weights, published, text_encoder, tokenizer, unet, vae, weights,
};
use crate::error::{Error, Result};

/// The U-Net's first layer that reads text.
const READS_TEXT: &str = "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight";

/// The U-Net's first layer.
const FIRST: &str = "model.diffusion_model.input_blocks.0.0.weight";

/// Empty tensors by which trainers say that the U-Net predicts v, and that the noise ends at zero terminal SNR.
const V_PREDICTION: &str = "v_pred";
const ZERO_SNR: &str = "ztsnr";

/// Steps of training, `global_step`, of `512-base` of 2.x, the one of those published that predicts noise.
const STEPS_OF_BASE: i64 = 875_000;

/// Tensors that only other models have, as a part of the name, and what people call those.
const OTHERS: [(&str, &str); 7] = [
    ("conditioner.embedders.", "Stable Diffusion XL"),
    ("joint_blocks.", "Stable Diffusion 3"),
    ("double_blocks.", "Flux"),
    ("control_model.", "a ControlNet"),
    ("lora_", "a LoRA, not a checkpoint"),
    (".lora_A.", "a LoRA, not a checkpoint"),
    ("down_blocks.0.resnets.0.conv1.weight", "one network of a checkpoint in the diffusers layout"),
];

/// Opens the file at `path`.
///
/// # Errors
/// As [`Checkpoint::open_with`].
pub fn open(path: &Path, options: &Options) -> Result<Checkpoint> {
    if weights::is_pickle(path) {
        return Err(Error::input_help(
            format!(
                "`{}` is a pickle, which can run any code when it is read: only safetensors are read",
                path.display()
            ),
            format!(
                "convert it: python -c \"from diffusers import StableDiffusionPipeline as P; \
                 P.from_single_file('{}').save_pretrained('{}')\"",
                path.display(),
                path.with_extension("").display()
            ),
        ));
    }
    let file = SafetensorsFile::open(path)?;
    let two = second_version(&file)?;
    let texts = if two {
        [published::UNET_2, published::VAE, published::TEXT_2, published::SCHEDULER_2]
    } else {
        [published::UNET_1, published::VAE, published::TEXT_1, published::SCHEDULER_1]
    };
    let mut unet = unet::read(path, texts[0])?;
    let vae = vae::read(path, texts[1])?;
    let text_encoder = text_encoder::read(path, texts[2])?;
    let (prediction, guessed) = prediction(&file, two, options)?;
    if two && prediction == Prediction::Noise {
        unet.sample_size = 64; // 512-base
    }
    let scheduler = scheduler(&file, texts[3], prediction)?;
    let original =
        Original { depth: unet.levels[0].depth, vae_levels: vae.channels.len(), text_layers: text_encoder.layers };
    complete(&file, &original)?;
    let folder = vocabulary(path, options)?;
    let mut small = vec![("scheduler/scheduler_config.json".to_string(), scheduler.clone().into_bytes())];
    for (name, content) in tokenizer::files(&folder)? {
        small.push((format!("tokenizer/{name}"), content));
    }
    Ok(Checkpoint {
        path: path.to_path_buf(),
        unet,
        vae,
        text_encoder,
        scheduler,
        scheduler_path: path.to_path_buf(),
        prediction_is_guessed: guessed,
        vocabulary: folder,
        small,
        weights: Weights::Single(Box::new(file), original),
    })
}

/// Whether the file is of 2.x, not of 1.x; what is neither is refused by name.
fn second_version(file: &SafetensorsFile) -> Result<bool> {
    let wrong =
        |problem: String, help: &str| Err(Error::input_help(format!("`{}`: {problem}", file.path.display()), help));
    let help = "use a checkpoint of Stable Diffusion 1.x or 2.x";
    if file.shape(READS_TEXT).is_none() {
        let names = file.names();
        let other = OTHERS.iter().find(|(part, _)| names.iter().any(|name| name.contains(part)));
        if let Some((_, what)) = other {
            return wrong(format!("is {what}: birdaug does not run it"), help);
        }
    }
    let (Some(first), Some(reads)) = (file.shape(FIRST), file.shape(READS_TEXT)) else {
        return wrong(format!("holds no U-Net of Stable Diffusion in the original layout (`{FIRST}`)"), help);
    };
    match first.get(1) {
        Some(4) => {}
        Some(9) => return wrong("is an inpainting model: birdaug does not run it".into(), help),
        _ => return wrong(format!("its U-Net begins with {first:?}, not with 4 channels of latents"), help),
    }
    match reads.get(1) {
        Some(768) => Ok(false),
        Some(1024) => Ok(true),
        _ => wrong(format!("its U-Net reads text by {reads:?}, neither 768 wide (1.x) nor 1024 (2.x)"), help),
    }
}

/// What the U-Net predicts, and whether that is a guess.
fn prediction(file: &SafetensorsFile, two: bool, options: &Options) -> Result<(Prediction, bool)> {
    if let Some(prediction) = options.prediction {
        return Ok((prediction, false));
    }
    match file.note("modelspec.prediction_type") {
        Some("epsilon") => return Ok((Prediction::Noise, false)),
        Some("v" | "v_prediction") => return Ok((Prediction::V, false)),
        Some(other) => {
            return Err(Error::input(format!(
                "`{}`: its note `modelspec.prediction_type` is `{other}`, neither `epsilon` nor `v`",
                file.path.display()
            )));
        }
        None => {}
    }
    Ok(match global_step(file) {
        _ if file.shape(V_PREDICTION).is_some() => (Prediction::V, false),
        _ if !two => (Prediction::Noise, false),
        Some(STEPS_OF_BASE) => (Prediction::Noise, false),
        Some(_) => (Prediction::V, false),
        None => (Prediction::V, true),
    })
}

/// Steps that the file says it was trained for.
fn global_step(file: &SafetensorsFile) -> Option<i64> {
    let stored = file.tensor("global_step").ok()?;
    match stored.dtype {
        Dtype::Int64 => Some(i64::from_le_bytes(stored.data().try_into().ok()?)),
        Dtype::Fp32 => Some(f32::from_le_bytes(stored.data().try_into().ok()?) as i64),
        _ => None,
    }
}

/// The scheduler's configuration: `published`, with another prediction and zero terminal SNR where the file says so.
fn scheduler(file: &SafetensorsFile, published: &str, prediction: Prediction) -> Result<String> {
    let zero_snr = file.shape(ZERO_SNR).is_some();
    if zero_snr && prediction == Prediction::Noise {
        return Err(Error::input_help(
            format!("`{}`: has zero terminal SNR (`{ZERO_SNR}`), where noise cannot be predicted", file.path.display()),
            "such a checkpoint predicts v: `--prediction-type v_prediction`, in a recipe `prediction_type`",
        ));
    }
    // PNDM, which 1.x names, knows no zero terminal SNR; all else in the two is the same.
    let text = if zero_snr { published::SCHEDULER_2 } else { published };
    let mut config: serde_json::Value = serde_json::from_str(text).expect("it is ours");
    config["prediction_type"] = prediction.name().into();
    if zero_snr {
        config["rescale_betas_zero_snr"] = true.into();
        config["timestep_spacing"] = "trailing".into();
    }
    Ok(config.to_string())
}

/// Every network must be there, and every tensor must be known.
fn complete(file: &SafetensorsFile, original: &Original) -> Result<()> {
    let mut unknown = Vec::new();
    let mut there = Vec::new();
    for name in file.names() {
        match original.fate(&name) {
            Fate::Unknown => unknown.push(name),
            Fate::Named(component, _) => there.push(component),
            Fate::Passed => {}
        }
    }
    for (component, what) in [
        (Component::Vae, "autoencoder (`first_stage_model.*`)"),
        (Component::TextEncoder, "text encoder (`cond_stage_model.*`)"),
    ] {
        if !there.contains(&component) {
            return Err(Error::input_help(
                format!("`{}`: holds no {what}", file.path.display()),
                "a pruned file: use the whole checkpoint, or its folder in the diffusers layout",
            ));
        }
    }
    if unknown.is_empty() {
        return Ok(());
    }
    let shown = unknown.iter().take(5).map(String::as_str).collect::<Vec<_>>().join("`, `");
    let more = if unknown.len() > 5 { format!(" and {} more", unknown.len() - 5) } else { String::new() };
    Err(Error::input(format!("`{}`: nobody knows its tensors `{shown}`{more}", file.path.display())))
}

/// The folder with the vocabulary, which no checkpoint in one file brings.
fn vocabulary(path: &Path, options: &Options) -> Result<PathBuf> {
    let folder = match &options.tokenizer {
        Some(folder) => folder.clone(),
        None => path.parent().unwrap_or(Path::new("")).join("tokenizer"),
    };
    let missing = tokenizer::missing(|name| folder.join(name).is_file());
    if missing.is_empty() {
        return Ok(folder);
    }
    Err(Error::input_help(
        format!(
            "`{}`: a checkpoint in one file brings no vocabulary, and `{}` has no `{}`",
            path.display(),
            folder.display(),
            missing.join("` and no `")
        ),
        "copy the folder `tokenizer` of a checkpoint of the same version in the diffusers layout there",
    ))
}
