//! Labelled photos as the classifier asks for them, and a wrapper that keeps decoded ones in memory. Knows no file.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use image::RgbImage;

use super::augment::{Rect, resize};
use crate::error::Result;

/// Labelled photos by index; may be asked from several threads at once.
pub trait Photos: Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The class of photo `i`, below the classifier's number of classes.
    fn class(&self, i: usize) -> usize;

    /// Photo `i` in any size; the same pixels at every call.
    fn load(&self, i: usize) -> Result<RgbImage>;
}

impl<P: Photos + ?Sized> Photos for &P {
    fn len(&self) -> usize {
        (**self).len()
    }

    fn class(&self, i: usize) -> usize {
        (**self).class(i)
    }

    fn load(&self, i: usize) -> Result<RgbImage> {
        (**self).load(i)
    }
}

/// Photos shrunk once and kept decoded, up to a budget; those beyond it are loaded and shrunk again each time, so that the
/// budget changes the speed and never a pixel.
pub struct Kept<P> {
    photos: P,
    shorter: Option<u32>,
    budget: u64,
    used: AtomicU64,
    slots: Vec<OnceLock<RgbImage>>,
}

impl<P: Photos> Kept<P> {
    /// Keeps at most `budget` bytes of pixels. `shorter`: photos whose shorter side is longer are shrunk to it first; twice
    /// the classifier's input leaves pixels enough for its crops.
    pub fn new(photos: P, shorter: Option<u32>, budget: u64) -> Kept<P> {
        let slots = (0..photos.len()).map(|_| OnceLock::new()).collect();
        Kept { photos, shorter, budget, used: AtomicU64::new(0), slots }
    }

    /// The photos as they were given.
    pub fn inner(&self) -> &P {
        &self.photos
    }

    fn shrunk(&self, i: usize) -> Result<RgbImage> {
        let photo = self.photos.load(i)?;
        let (width, height) = photo.dimensions();
        let Some(side) = self.shorter.filter(|&side| side > 0 && side < width.min(height)) else {
            return Ok(photo);
        };
        let scaled = |length: u32| (length as u64 * side as u64 / width.min(height) as u64) as u32;
        Ok(resize(&photo, Rect::whole(&photo), scaled(width), scaled(height)))
    }
}

impl<P: Photos> Photos for Kept<P> {
    fn len(&self) -> usize {
        self.photos.len()
    }

    fn class(&self, i: usize) -> usize {
        self.photos.class(i)
    }

    fn load(&self, i: usize) -> Result<RgbImage> {
        if let Some(photo) = self.slots[i].get() {
            return Ok(photo.clone());
        }
        let photo = self.shrunk(i)?;
        let bytes = photo.as_raw().len() as u64;
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let kept = before + bytes <= self.budget && self.slots[i].set(photo.clone()).is_ok();
        if !kept {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
        Ok(photo)
    }
}
