//! A classifier as a folder for others: weights with torchvision's names, and `model.json` that says what they are of.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use tch::Device;

use super::model;
use crate::error::{Error, IoContext, Result};
use crate::recipe::{self, Spelled as _};
use crate::train::Classifier;

/// Changes where a field of `model.json` changes its meaning.
pub const FORMAT: u32 = 1;

/// `model.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    pub format: u32,
    /// `resnet18`, `resnet34` or `resnet50`, with torchvision's layers.
    pub arch: String,
    /// Species in the order of the scores.
    pub classes: Vec<String>,
    /// Side of the square input in pixels.
    pub size: usize,
    /// The input is the middle square of a photo whose side is this share of the photo's shorter one, resized by antialiased
    /// bilinear interpolation.
    pub crop: f64,
    /// Of red, green and blue in [0, 1]: taken off, and divided by.
    pub mean: [f64; 3],
    pub std: [f64; 3],
    /// `fp32`, `bf16` or `fp16`: how it was trained, and is asked by birdaug.
    pub precision: String,
    /// What it was trained on.
    pub arm: String,
    pub seed: u64,
    pub steps: usize,
    /// By which it was chosen, in [0, 1].
    pub valid_accuracy: Option<f64>,
    /// BLAKE3 of the file of weights.
    pub weights: String,
    /// Version.
    pub birdaug: String,
}

impl Description {
    /// The file's name in a model's folder.
    pub const FILE: &'static str = "model.json";
    /// The name of the file of weights beside it.
    pub const WEIGHTS: &'static str = "model.safetensors";

    /// The file's text.
    pub fn to_json(&self) -> String {
        // Strings, numbers and lists of them can always be written.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

/// Weights as torchvision's `load_state_dict` wants them: each batch norm also has its counter of batches, which nothing
/// reads. The same weights give the same bytes.
pub fn export(weights: &[u8]) -> Result<Vec<u8>> {
    let file = SafeTensors::deserialize(weights)
        .map_err(|error| Error::input(format!("the classifier's weights are not whole: {error}")))?;
    let zero = 0i64.to_le_bytes();
    let mut views: Vec<(String, TensorView<'_>)> = file.tensors();
    for norm in file.names().into_iter().filter_map(|name| name.strip_suffix(".running_mean")) {
        let counter = TensorView::new(Dtype::I64, Vec::new(), &zero)
            .map_err(|error| Error::input(format!("could not lay out weights: {error}")))?;
        views.push((format!("{norm}.num_batches_tracked"), counter));
    }
    views.sort_by(|a, b| a.0.cmp(&b.0));
    let format = HashMap::from([("format".to_string(), "pt".to_string())]);
    safetensors::serialize(views, Some(format))
        .map_err(|error| Error::input(format!("could not write weights: {error}")))
}

/// A saved classifier, ready to be asked, and what is known of it.
///
/// # Errors
/// [`Error::Input`] for a folder that is no model's, another format, weights that are not those of the description.
pub fn open(folder: &Path, device: Device) -> Result<(Classifier, Description)> {
    let path = folder.join(Description::FILE);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if [std::io::ErrorKind::NotFound, std::io::ErrorKind::NotADirectory].contains(&error.kind()) => {
            return Err(no_model(folder));
        }
        Err(error) => return Err(error).doing("read", &path),
    };
    let said = description(&path, &text)?;
    let weights = folder.join(Description::WEIGHTS);
    let bytes = std::fs::read(&weights).doing("read", &weights)?;
    if blake3::hash(&bytes).to_hex().as_str() != said.weights {
        return Err(Error::input_help(
            format!("`{}` is not the file that `{}` describes", weights.display(), Description::FILE),
            "copy the model's folder again, or build it again",
        ));
    }
    let arch = recipe::Arch::from_name(&said.arch);
    let precision = recipe::Precision::from_name(&said.precision);
    let (Some(arch), Some(precision)) = (arch, precision) else {
        return Err(Error::input(format!(
            "`{}` describes a {} in {}, which this birdaug does not know",
            path.display(),
            said.arch,
            said.precision
        )));
    };
    let classifier =
        Classifier::new(model::arch(arch), said.classes.len(), said.size, &bytes, model::precision(precision), device)?;
    Ok((classifier, said))
}

fn description(path: &Path, text: &[u8]) -> Result<Description> {
    let value: serde_json::Value = serde_json::from_slice(text)
        .map_err(|error| Error::input_help(format!("`{}` is not JSON: {error}", path.display()), WANTED))?;
    match value.get("format").and_then(serde_json::Value::as_u64) {
        Some(format) if format == u64::from(FORMAT) => {}
        Some(format) => {
            return Err(Error::input(format!("`{}` has format {format}; this birdaug reads {FORMAT}", path.display())));
        }
        None => {
            let what = format!("`{}` describes something else than a classifier of birdaug", path.display());
            return Err(Error::input_help(what, WANTED));
        }
    }
    let said: Description = serde_json::from_value(value)
        .map_err(|error| Error::input_help(format!("`{}` is incomplete: {error}", path.display()), WANTED))?;
    if said.classes.is_empty() || !(1..=4096).contains(&said.size) {
        return Err(Error::input_help(
            format!("`{}` describes {} classes at {} pixels", path.display(), said.classes.len(), said.size),
            WANTED,
        ));
    }
    Ok(said)
}

const WANTED: &str = "give the folder of a classifier, such as `results/NAME/models/augmented`";

fn no_model(folder: &Path) -> Error {
    let inside: Vec<PathBuf> = ["models/augmented", "models/real", "augmented", "real"]
        .iter()
        .map(|inside| folder.join(inside))
        .filter(|inside| inside.join(Description::FILE).is_file())
        .collect();
    let help = match inside.first() {
        Some(inside) => format!("did you mean `{}`?", inside.display()),
        None => WANTED.to_string(),
    };
    let what = if folder.exists() { "is no model: it holds no" } else { "is not there: no" };
    Error::input_help(format!("`{}` {what} `{}`", folder.display(), Description::FILE), help)
}
