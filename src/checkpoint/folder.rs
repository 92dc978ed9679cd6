//! A checkpoint in the diffusers layout: a folder with `model_index.json` and a folder a part. Knows no tensors.

use std::fs;
use std::path::Path;

use super::config::{TextEncoderConfig, UnetConfig, VaeConfig};
use super::{Checkpoint, Component, Weights, index, text_encoder, tokenizer, unet, vae, weights};
use crate::error::{Error, IoContext, Result};

/// Files without which there is no checkpoint.
pub const NEEDED: [&str; 5] = [
    "model_index.json",
    "unet/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "scheduler/scheduler_config.json",
];

/// Opens the folder `root`.
///
/// # Errors
/// As [`Checkpoint::open`].
pub fn open(root: &Path) -> Result<Checkpoint> {
    if !root.is_dir() {
        return Err(Error::input(format!("`{}`: there is no such checkpoint", root.display())));
    }
    let plain = without_weights(root, &root.join(NEEDED[0]))?;
    let mut files = Vec::new();
    for component in Component::ALL {
        files.push((component, weights::open(&root.join(component.folder()), component.stem())?));
    }
    Ok(Checkpoint { weights: Weights::Folder(files), ..plain })
}

/// All that is small of a checkpoint in the folder `root`, and no weights; `index` is its `model_index.json`.
///
/// # Errors
/// As [`Checkpoint::open`].
pub fn without_weights(root: &Path, index: &Path) -> Result<Checkpoint> {
    if index.is_file() {
        index::check(index, &fs::read_to_string(index).doing("read", index)?)?;
    }
    complete(root, index)?;
    let unet = unet::read(&root.join(NEEDED[1]), &read(root, NEEDED[1])?)?;
    let vae = vae::read(&root.join(NEEDED[2]), &read(root, NEEDED[2])?)?;
    let text_encoder = text_encoder::read(&root.join(NEEDED[3]), &read(root, NEEDED[3])?)?;
    agree(root, &unet, &vae, &text_encoder)?;
    let mut small = Vec::new();
    for place in &NEEDED[1..] {
        small.push((place.to_string(), read(root, place)?.into_bytes()));
    }
    let vocabulary = root.join("tokenizer");
    for (name, content) in tokenizer::files(&vocabulary)? {
        small.push((format!("tokenizer/{name}"), content));
    }
    Ok(Checkpoint {
        path: root.to_path_buf(),
        unet,
        vae,
        text_encoder,
        scheduler: read(root, NEEDED[4])?,
        scheduler_path: root.join(NEEDED[4]),
        prediction_is_guessed: false,
        vocabulary,
        small,
        weights: Weights::Folder(Vec::new()),
    })
}

fn read(root: &Path, place: &str) -> Result<String> {
    let path = root.join(place);
    fs::read_to_string(&path).doing("read", &path)
}

/// All files must be there that are no weights; the error names what is missing, and what the folder holds instead.
fn complete(root: &Path, index: &Path) -> Result<()> {
    let missing = missing(|place| if place == NEEDED[0] { index.is_file() } else { root.join(place).is_file() });
    if missing.is_empty() {
        return Ok(());
    }
    if missing[0] != NEEDED[0] {
        return Err(Error::input_help(
            format!("`{}`: not all of the checkpoint is there, `{} missing", root.display(), list(&missing)),
            "half a download, it seems: fetch the checkpoint again",
        ));
    }
    let mut single = Vec::new();
    for entry in fs::read_dir(root).doing("list", root)? {
        let path = entry.doing("list", root)?.path();
        if weights::is_pickle(&path) || path.extension().is_some_and(|ending| ending == "safetensors") {
            single.push(path.display().to_string());
        }
    }
    single.sort();
    let help = match single.first() {
        Some(file) => format!("to use the checkpoint in one file that lies in it, name the file: `{file}`"),
        None => "name a folder that holds `model_index.json`, as diffusers' `save_pretrained` writes it".into(),
    };
    Err(Error::input_help(
        format!("`{}` is no checkpoint in the diffusers layout: `{} missing", root.display(), list(&missing)),
        help,
    ))
}

/// Which files are missing that are no weights, where `has` says which are there.
pub fn missing(has: impl Fn(&str) -> bool) -> Vec<String> {
    let mut missing: Vec<String> = NEEDED.iter().filter(|place| !has(place)).map(|place| place.to_string()).collect();
    let place = |name: &str| format!("tokenizer/{name}");
    missing.extend(tokenizer::missing(|name| has(&place(name))).into_iter().map(place));
    missing
}

/// `a`, `b` and `c` with the verb that follows, without the outer quotes.
pub fn list(names: &[String]) -> String {
    let (last, first) = names.split_last().expect("something is missing");
    if first.is_empty() { format!("{last}` is") } else { format!("{}` and `{last}` are", first.join("`, `")) }
}

/// The parts must fit together.
fn agree(root: &Path, unet: &UnetConfig, vae: &VaeConfig, text: &TextEncoderConfig) -> Result<()> {
    let wrong = |problem: String| Err(Error::input(format!("`{}`: {problem}", root.display())));
    let latents = vae.latent_channels;
    if unet.in_channels != latents {
        let what = match unet.in_channels {
            9 => " (an inpainting model)",
            8 => " (a model that edits images)",
            5 => " (a model that looks at depth)",
            7 => " (an upscaler)",
            _ => "",
        };
        return wrong(format!(
            "its U-Net takes {} channels{what}, its autoencoder makes {latents}: birdaug runs models that take latents \
             and text alone",
            unet.in_channels
        ));
    }
    if unet.out_channels != latents {
        return wrong(format!("its U-Net makes {} channels, its autoencoder takes {latents}", unet.out_channels));
    }
    if (vae.in_channels, vae.out_channels) != (3, 3) {
        return wrong(format!(
            "its autoencoder has {} and {} channels of colour, not 3",
            vae.in_channels, vae.out_channels
        ));
    }
    if unet.text_width != text.width {
        return wrong(format!("its U-Net reads text {} wide, its text encoder writes {}", unet.text_width, text.width));
    }
    Ok(())
}
