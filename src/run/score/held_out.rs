//! The photos that an arm is validated and tested on, by species, prepared when they are first needed: a candidate that comes
//! nearer to one of them than the train photos do has seen what it must not. Judges nothing.

use image::RgbImage;

use crate::dataset::Dataset;
use crate::dataset::cut::Cut;
use crate::error::Result;
use crate::plan::inputs::{Digest, PhotoList};
use crate::run::survey::Survey;

use super::references::{Nearest, Photo, nearest_of, prepare, prepare_all};

/// Every species' photos of valid and test after the cut.
pub struct HeldOut {
    side: usize,
    /// Indices into the dataset.
    photos: Vec<Vec<usize>>,
    digests: Vec<Digest>,
    /// The species at hand.
    current: Option<(usize, Vec<Photo>)>,
}

impl HeldOut {
    /// Compared at `side` x `side` pixels.
    pub fn new(survey: &Survey, side: usize) -> HeldOut {
        let photos = of_species(&survey.dataset, &survey.cut);
        let digest = |photos: &Vec<usize>| {
            let mut list = PhotoList::default();
            for &photo in photos {
                list.push(&survey.dataset.photos[photo].digest, survey.dataset.species_of(photo));
            }
            list.digest()
        };
        HeldOut { side, digests: photos.iter().map(digest).collect(), photos, current: None }
    }

    /// Identifies a species' photos; `None` where it has none.
    pub fn digest(&self, species: usize) -> Option<Digest> {
        (!self.photos[species].is_empty()).then_some(self.digests[species])
    }

    /// The nearest of a species' photos; `None` where it has none.
    ///
    /// # Errors
    /// A photo that cannot be read.
    pub fn nearest(&mut self, survey: &Survey, species: usize, image: &RgbImage) -> Result<Option<Nearest>> {
        if self.current.as_ref().is_none_or(|(current, _)| *current != species) {
            self.current = Some((species, prepare_all(survey, &self.photos[species], self.side)?));
        }
        let many: Vec<&Photo> = self.current.iter().flat_map(|(_, photos)| photos).collect();
        nearest_of(&prepare(image, self.side)?, &many)
    }
}

/// Each species' photos that the arm is validated or tested on, one with each digest, in the dataset's order.
pub fn of_species(dataset: &Dataset, cut: &Cut) -> Vec<Vec<usize>> {
    let mut all: Vec<usize> = cut.valid.iter().chain(&cut.test).copied().collect();
    all.sort_unstable();
    let mut seen = std::collections::HashSet::new();
    let mut photos = vec![Vec::new(); dataset.species.len()];
    for photo in all {
        if seen.insert(dataset.photos[photo].digest) {
            photos[dataset.photos[photo].species as usize].push(photo);
        }
    }
    photos
}
