//! Photos as the classifier asks for them, decoded from the dataset or from the cache. Knows no recipe.

use std::path::PathBuf;

use image::RgbImage;

use crate::dataset::decode;
use crate::error::{Error, Result};
use crate::plan::inputs::Digest;
use crate::store::Store;
use crate::train::Photos;

/// Where an image's bytes are.
#[derive(Debug, Clone)]
pub enum Place {
    File(PathBuf),
    Blob(Digest),
}

/// Labelled images on disk.
pub struct Files<'a> {
    pub store: &'a Store,
    pub items: Vec<(Place, usize)>,
}

impl Photos for Files<'_> {
    fn len(&self) -> usize {
        self.items.len()
    }

    fn class(&self, i: usize) -> usize {
        self.items[i].1
    }

    fn load(&self, i: usize) -> Result<RgbImage> {
        match &self.items[i].0 {
            Place::File(path) => decode::photo(path),
            Place::Blob(digest) => {
                let path = self.store.blob_path(digest);
                let bytes = self.store.get(digest)?.ok_or_else(|| {
                    Error::input_help(
                        format!("the cached image `{}` was damaged or removed while it was in use", path.display()),
                        "run the build again: it is made again",
                    )
                })?;
                decode::from_bytes(&path, &bytes)
            }
        }
    }
}

/// Labelled images in memory.
pub struct InMemory<'a> {
    pub images: &'a [RgbImage],
    pub classes: &'a [usize],
}

impl Photos for InMemory<'_> {
    fn len(&self) -> usize {
        self.images.len()
    }

    fn class(&self, i: usize) -> usize {
        self.classes[i]
    }

    fn load(&self, i: usize) -> Result<RgbImage> {
        Ok(self.images[i].clone())
    }
}
