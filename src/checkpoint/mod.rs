//! Stable Diffusion checkpoints on disk: configurations and tensors as plain values. Knows no libtorch.
//!
//! A [`Checkpoint`] is opened from a folder in the diffusers layout. Opening reads the configurations and the headers
//! of the weights, so that whatever cannot be run is said before any work starts; the weights themselves stay on disk,
//! mapped, until a network copies them.

pub mod config;
mod digest;
mod fields;
mod folder;
mod index;
pub mod lora;
mod names;
mod safetensors_file;
pub mod scheduler;
pub mod tensors;
mod text_encoder;
mod unet;
mod vae;
mod weights;

#[cfg(test)]
mod folder_tests;
#[cfg(test)]
mod published_tests;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use config::{TextEncoderConfig, UnetConfig, VaeConfig};
use names::Fate;
use safetensors_file::SafetensorsFile;
use tensors::Tensors;

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
}

/// A Stable Diffusion checkpoint: what its networks are, and where their weights lie.
pub struct Checkpoint {
    /// The folder that it was opened from.
    pub path: PathBuf,
    pub unet: UnetConfig,
    pub vae: VaeConfig,
    pub text_encoder: TextEncoderConfig,
    /// Text of the scheduler's configuration (JSON).
    pub scheduler: String,
    /// Where that text is from, for messages about it.
    pub scheduler_path: PathBuf,
    /// The small files that determine images, by their place in the diffusers layout: configurations and vocabulary.
    small: Vec<(&'static str, Vec<u8>)>,
    /// Files of each component's weights.
    weights: Vec<(Component, Vec<SafetensorsFile>)>,
}

impl Checkpoint {
    /// Opens a folder in the diffusers layout.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`] naming the file, and the field or tensor in it, that is missing or cannot be
    /// honoured.
    pub fn open(path: &Path) -> Result<Checkpoint> {
        folder::open(path)
    }

    /// The tensors of a network by the names that diffusers gives them today, whatever its version was that wrote
    /// them; `position_ids` and the picture half of a whole CLIP are left out. Nothing is read before a tensor's
    /// bytes are.
    ///
    /// # Errors
    /// [`Error::Input`] naming a tensor of a type that no network takes, or one that is there twice.
    pub fn tensors(&self, component: Component) -> Result<Tensors> {
        let mut tensors = Tensors::new();
        for file in self.weights.iter().filter(|(of, _)| *of == component).flat_map(|(_, files)| files) {
            for name in file.names() {
                let Fate::Named(target) = names::fate(component, &name) else { continue };
                let mut tensor = file.tensor(&name)?;
                names::flatten(component, &target, &mut tensor);
                if tensors.insert(target.clone(), tensor).is_some() {
                    return Err(Error::input(format!("`{}`: tensor `{target}` is there twice", file.path.display())));
                }
            }
        }
        Ok(tensors)
    }
}
