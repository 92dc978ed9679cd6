//! Stable Diffusion checkpoints on disk: configurations and tensors as plain values. Knows no libtorch.
//!
//! A [`Checkpoint`] is opened from a folder in the diffusers layout, or from one file in the original layout. Opening
//! reads the configurations and the headers of the weights, so that whatever cannot be run is said before any work
//! starts; the weights themselves stay on disk, mapped, until a network copies them.

pub mod config;
mod digest;
mod fields;
mod folder;
pub mod hub;
mod index;
pub mod lora;
mod names;
mod original;
mod published;
mod safetensors_file;
pub mod scheduler;
mod single;
pub mod tensors;
mod text_encoder;
pub mod tokenizer;
mod unet;
mod vae;
mod weights;

#[cfg(test)]
mod folder_tests;
#[cfg(test)]
mod hub_tests;
#[cfg(test)]
mod published_tests;
#[cfg(test)]
mod single_tests;
#[cfg(test)]
mod tokenizer_tests;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use config::{TextEncoderConfig, UnetConfig, VaeConfig};
use names::Fate;
use original::Original;
use safetensors_file::SafetensorsFile;
use tensors::Tensors;
use tokenizer::Tokenizer;

/// A network of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    Unet,
    Vae,
    TextEncoder,
}

impl Component {
    /// All of them, in the order of [`Checkpoint::digest`].
    pub const ALL: [Component; 3] = [Component::Unet, Component::Vae, Component::TextEncoder];

    /// Its folder in the diffusers layout.
    pub fn folder(self) -> &'static str {
        match self {
            Component::Unet => "unet",
            Component::Vae => "vae",
            Component::TextEncoder => "text_encoder",
        }
    }

    /// How the files of its weights are called, before `.safetensors`.
    fn stem(self) -> &'static str {
        if self == Component::TextEncoder { "model" } else { "diffusion_pytorch_model" }
    }
}

/// What a U-Net predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prediction {
    /// The noise, "epsilon".
    Noise,
    /// The velocity of Salimans and Ho (2022), "v_prediction".
    V,
}

impl Prediction {
    /// Its `prediction_type` in diffusers.
    pub fn name(self) -> &'static str {
        match self {
            Prediction::Noise => "epsilon",
            Prediction::V => "v_prediction",
        }
    }
}

/// What a checkpoint in one file does not say itself. A folder says it all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// A folder with the tokeniser's files; `tokenizer/` beside the file if `None`.
    pub tokenizer: Option<PathBuf>,
    /// What the U-Net predicts; see [`Checkpoint::open_with`].
    pub prediction: Option<Prediction>,
}

/// A Stable Diffusion checkpoint: what its networks are, and where their weights lie.
pub struct Checkpoint {
    /// The folder or file that it was opened from.
    pub path: PathBuf,
    pub unet: UnetConfig,
    pub vae: VaeConfig,
    pub text_encoder: TextEncoderConfig,
    /// Text of the scheduler's configuration (JSON).
    pub scheduler: String,
    /// Where that text is from, for messages about it.
    pub scheduler_path: PathBuf,
    /// Nothing says what the U-Net predicts: that it is v is a guess.
    pub prediction_is_guessed: bool,
    /// Folder of the tokeniser's files.
    vocabulary: PathBuf,
    /// The small files that determine images, by their place in the diffusers layout: configurations and vocabulary.
    small: Vec<(String, Vec<u8>)>,
    weights: Weights,
}

/// Files with weights.
enum Weights {
    /// A component's own.
    Folder(Vec<(Component, Vec<SafetensorsFile>)>),
    /// All in one.
    Single(Box<SafetensorsFile>, Original),
}

impl Checkpoint {
    /// Opens a folder in the diffusers layout, or a file in the original layout.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`] naming the file, and the field or tensor in it, that is missing or cannot be
    /// honoured.
    pub fn open(path: &Path) -> Result<Checkpoint> {
        Checkpoint::open_with(path, &Options::default())
    }

    /// As [`Checkpoint::open`], with what a file in the original layout does not say: where its vocabulary is, and
    /// whether its U-Net predicts the noise or v. Unsaid, what the file says decides: its note `modelspec.prediction_type`,
    /// a tensor `v_pred`, for 2.x the steps that it was trained for. Where it says nothing, 1.x predicts the noise and
    /// 2.x v, which is a guess: `512-base` of 2.x predicts the noise.
    ///
    /// # Errors
    /// As [`Checkpoint::open`]; also if options are given for a folder, which says itself what they say.
    pub fn open_with(path: &Path, options: &Options) -> Result<Checkpoint> {
        if path.is_file() {
            return single::open(path, options);
        }
        if *options != Options::default() {
            return Err(Error::input_help(
                format!("`{}` is a folder: it says itself what its tokeniser and its prediction are", path.display()),
                "leave those options out, or name a checkpoint in one file",
            ));
        }
        folder::open(path)
    }

    /// The tensors of a network by the names that diffusers gives them today, whatever their file calls them;
    /// `position_ids`, the picture half of a whole CLIP and moving averages are left out. Nothing is read before a
    /// tensor's bytes are.
    ///
    /// # Errors
    /// [`Error::Input`] naming a tensor of a type that no network takes, or one that is there twice.
    pub fn tensors(&self, component: Component) -> Result<Tensors> {
        let files: Vec<&SafetensorsFile> = match &self.weights {
            Weights::Folder(all) => {
                all.iter().filter(|(of, _)| *of == component).flat_map(|(_, files)| files).collect()
            }
            Weights::Single(file, _) => vec![file],
        };
        collect(component, &files, |name| match &self.weights {
            Weights::Folder(_) => names::fate(component, name),
            Weights::Single(_, original) => original.fate(name),
        })
    }

    /// The checkpoint's tokeniser.
    ///
    /// # Errors
    /// [`Error::Input`] if its files are damaged, or know more tokens than the text encoder.
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let files = self
            .small
            .iter()
            .filter_map(|(place, content)| place.strip_prefix("tokenizer/").map(|name| (name, content.as_slice())));
        let (positions, rows) = (self.text_encoder.positions, self.text_encoder.vocabulary);
        Tokenizer::new(&self.vocabulary, &files.collect(), positions, rows)
    }
}

/// The tensors of `files` that belong to `component`, by the names that `fate` gives them.
fn collect(component: Component, files: &[&SafetensorsFile], fate: impl Fn(&str) -> Fate) -> Result<Tensors> {
    let mut tensors = Tensors::new();
    for file in files {
        let wrong = |name: &str, problem: &str| {
            Err(Error::input(format!("`{}`: tensor `{name}` {problem}", file.path.display())))
        };
        for name in file.names() {
            let targets = match fate(&name) {
                Fate::Named(of, targets) if of == component => targets,
                _ => continue,
            };
            let whole = file.tensor(&name)?;
            for (part, target) in targets.iter().enumerate() {
                let Some(mut tensor) = names::rows(&whole, part, targets.len()) else {
                    return wrong(&name, &format!("does not fall into {} parts", targets.len()));
                };
                names::flatten(component, target, &mut tensor);
                if tensors.insert(target.clone(), tensor).is_some() {
                    return wrong(target, "is there twice");
                }
            }
        }
    }
    Ok(tensors)
}
