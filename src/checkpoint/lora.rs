//! The files of a LoRA, as diffusers, peft and kohya's scripts write them: tensors and settings. Knows no libtorch, and not what
//! the tensors mean.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use safetensors::tensor::SafeTensors;

use super::safetensors_file::SafetensorsFile;
use super::tensors::{Bytes, Dtype, Stored, Tensors};
use crate::error::{Error, IoContext, Result};

/// The file that peft's `save_pretrained` writes, and its settings beside it.
const PEFT: [&str; 2] = ["adapter_model.safetensors", "adapter_config.json"];

/// Names that a LoRA's file has in its folder, diffusers' first.
const NAMES: [&str; 2] = ["pytorch_lora_weights.safetensors", PEFT[0]];

/// A LoRA's file, not read yet.
pub struct LoraFile {
    pub path: PathBuf,
    pub tensors: Tensors,
    /// peft's settings of it (JSON), if it brings any: in its own metadata, or in `adapter_config.json` beside it.
    pub settings: Option<String>,
}

impl LoraFile {
    /// Opens a file, or the one in a folder.
    ///
    /// # Errors
    /// [`Error::Input`] where there is none, or it is not whole.
    pub fn open(path: &Path) -> Result<LoraFile> {
        let file = match path.is_dir() {
            false => path.to_path_buf(),
            true => NAMES.iter().map(|name| path.join(name)).find(|file| file.is_file()).ok_or_else(|| {
                Error::input_help(
                    format!("`{}` holds no LoRA: neither `{}` nor `{}`", path.display(), NAMES[0], NAMES[1]),
                    "name the file itself, or a folder that diffusers' `save_lora_weights` wrote",
                )
            })?,
        };
        let opened = SafetensorsFile::open(&file)?;
        let tensors = opened.names().into_iter().map(|name| Ok((name.clone(), opened.tensor(&name)?)));
        let settings = match beside(&file)? {
            None => opened.note("lora_adapter_metadata").map(String::from),
            settings => settings,
        };
        Ok(LoraFile { tensors: tensors.collect::<Result<_>>()?, settings, path: file })
    }

    /// BLAKE3 of the file's bytes, and of the settings beside it after them.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read.
    pub fn digest(&self) -> Result<[u8; 32]> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(SafetensorsFile::open(&self.path)?.content());
        if self.path.ends_with(PEFT[0]) {
            hasher.update(self.settings.as_deref().unwrap_or_default().as_bytes());
        }
        Ok(*hasher.finalize().as_bytes())
    }
}

/// The fp32 tensors of a LoRA that is in memory; `name` is its own in messages.
///
/// # Errors
/// [`Error::Input`] where the bytes are no safetensors file, or hold other types.
pub fn in_memory(bytes: Vec<u8>, name: &str) -> Result<Tensors> {
    let wrong = |problem: String| Error::input(format!("{name} is damaged: {problem}"));
    let (header, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| wrong(error.to_string()))?;
    let start = size_of::<u64>() + header;
    let bytes: Arc<dyn Bytes> = Arc::new(bytes);
    let stored = |(name, info): (String, &safetensors::tensor::TensorInfo)| match info.dtype {
        safetensors::Dtype::F32 => {
            let (start, shape) = (start + info.data_offsets.0, info.shape.clone());
            Ok((name, Stored { dtype: Dtype::Fp32, shape, start, bytes: Arc::clone(&bytes) }))
        }
        other => Err(wrong(format!("`{name}` has type {other:?}"))),
    };
    metadata.tensors().into_iter().map(stored).collect()
}

/// The settings that peft keeps beside the file that it writes.
fn beside(file: &Path) -> Result<Option<String>> {
    let settings = file.with_file_name(PEFT[1]);
    match file.ends_with(PEFT[0]) && settings.is_file() {
        false => Ok(None),
        true => std::fs::read_to_string(&settings).doing("read", &settings).map(Some),
    }
}
