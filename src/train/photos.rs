//! Labelled photos as the classifier asks for them, and a wrapper that keeps decoded ones in memory. Knows no file.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

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

    /// What `see` makes of photo `i`, which need not be copied for that.
    fn with(&self, i: usize, see: &mut See<'_>) -> Result<Seen> {
        Ok(see(&self.load(i)?))
    }
}

/// A view of a photo, and the rectangle of it that is to be erased.
pub type Seen = (RgbImage, Option<Rect>);

/// Makes a view of a photo.
pub type See<'a> = dyn FnMut(&RgbImage) -> Seen + 'a;

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

    fn with(&self, i: usize, see: &mut See<'_>) -> Result<Seen> {
        (**self).with(i, see)
    }
}

/// Photos shrunk once and kept decoded, up to a budget; those beyond it are loaded and shrunk again each time, so that the
/// budget changes the speed and never a pixel.
pub struct Kept<P> {
    photos: P,
    shorter: Option<u32>,
    budget: u64,
    used: Arc<AtomicU64>,
    slots: Vec<OnceLock<RgbImage>>,
}

impl<P: Photos> Kept<P> {
    /// Keeps at most `budget` bytes of pixels. `shorter`: photos whose shorter side is longer are shrunk to it first; twice
    /// the classifier's input leaves pixels enough for its crops.
    pub fn new(photos: P, shorter: Option<u32>, budget: u64) -> Kept<P> {
        let slots = (0..photos.len()).map(|_| OnceLock::new()).collect();
        Kept { photos, shorter, budget, used: Arc::default(), slots }
    }

    /// Other photos, shrunk likewise, within the same budget: what these leave of it.
    pub fn beside<Q: Photos>(&self, photos: Q) -> Kept<Q> {
        Kept { used: self.used.clone(), ..Kept::new(photos, self.shorter, self.budget) }
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

    /// Keeps photo `i`, if the budget allows.
    fn hold(&self, i: usize, photo: RgbImage) {
        let bytes = photo.as_raw().len() as u64;
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let kept = before + bytes <= self.budget && self.slots[i].set(photo).is_ok();
        if !kept {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
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
        match self.slots[i].get() {
            Some(photo) => Ok(photo.clone()),
            None => {
                let photo = self.shrunk(i)?;
                self.hold(i, photo.clone());
                Ok(photo)
            }
        }
    }

    fn with(&self, i: usize, see: &mut See<'_>) -> Result<Seen> {
        match self.slots[i].get() {
            Some(photo) => Ok(see(photo)),
            None => {
                let photo = self.shrunk(i)?;
                let seen = see(&photo);
                self.hold(i, photo);
                Ok(seen)
            }
        }
    }
}
