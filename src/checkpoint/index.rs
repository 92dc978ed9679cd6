//! `model_index.json`: which pipeline a folder holds, and that its parts are those that birdaug runs. Knows no parts.

use std::path::Path;

use serde_json::Value;

use super::fields::Fields;
use crate::error::{Error, Result};

/// Pipelines made of the parts that birdaug runs.
const PIPELINES: [&str; 6] = [
    "StableDiffusionPipeline",
    "StableDiffusionImg2ImgPipeline",
    "StableDiffusionInpaintPipeline",
    "StableDiffusionInpaintPipelineLegacy",
    "LatentConsistencyModelPipeline",
    "LatentConsistencyModelImg2ImgPipeline",
];

/// Beginnings of other pipelines' names, and what people call them.
const OTHERS: [(&str, &str); 12] = [
    ("StableDiffusionXL", "Stable Diffusion XL"),
    ("StableDiffusion3", "Stable Diffusion 3"),
    ("Flux", "Flux"),
    ("StableDiffusionUpscale", "the Stable Diffusion upscaler"),
    ("StableDiffusionInstructPix2Pix", "InstructPix2Pix"),
    ("StableDiffusionDepth2Img", "Stable Diffusion with depth"),
    ("StableDiffusionControlNet", "ControlNet"),
    ("StableCascade", "Stable Cascade"),
    ("PixArt", "PixArt"),
    ("Kandinsky", "Kandinsky"),
    ("AltDiffusion", "AltDiffusion"),
    ("DDPM", "a DDPM of diffusers"),
];

/// Parts and their classes.
const PARTS: [(&str, &[&str]); 4] = [
    ("unet", &["UNet2DConditionModel"]),
    ("vae", &["AutoencoderKL"]),
    ("text_encoder", &["CLIPTextModel", "CLIPTextModelWithProjection"]),
    ("tokenizer", &["CLIPTokenizer", "CLIPTokenizerFast"]),
];

/// Reads the text of `path`, and passes over the safety checker and what feeds it.
///
/// # Errors
/// [`Error::Input`] that names another pipeline, another class of a part, or an unknown part.
pub fn check(path: &Path, text: &str) -> Result<()> {
    let mut f = Fields::parse(path, text)?;
    let class = f.take("_class_name");
    let class = class.as_ref().and_then(Value::as_str).ok_or_else(|| f.wrong("names no pipeline (`_class_name`)"))?;
    if !PIPELINES.contains(&class) {
        let known = OTHERS.iter().find(|(start, _)| class.starts_with(start));
        let known = known.map(|(_, words)| format!(", {words}")).unwrap_or_default();
        return Err(Error::input_help(
            format!("`{}`: holds a `{class}`{known}: birdaug does not run it", path.display()),
            "use a checkpoint of Stable Diffusion 1.x, 2.x, SD-Turbo or LCM",
        ));
    }
    for (part, classes) in PARTS {
        let Some(value) = f.take(part) else { continue };
        if !classes.iter().any(|&class| value.get(1).is_some_and(|found| found == class)) {
            return Err(f.refuse(part, &value, &format!("only a `{}`", classes[0])));
        }
    }
    // The scheduler's own file says what it is; the others only look at finished images, or feed what does.
    f.pass(&["scheduler", "safety_checker", "requires_safety_checker", "feature_extractor"]);
    f.pass_empty();
    f.finish("a Stable Diffusion pipeline")
}
