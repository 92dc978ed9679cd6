//! Real photos that a candidate may be a copy of though it was shifted, cropped, mirrored or brightened: what `audit` finds
//! among the dataset's own photos, asked of a candidate. The photo that a candidate started from is not asked about: it is
//! like that one, and how much is `ssim_max`'s and `ssim_min`'s business. Judges nothing.

use std::collections::BTreeSet;

use image::RgbImage;
use rayon::prelude::*;

use crate::dataset::alike::{Face, Index};
use crate::dataset::decode;
use crate::error::Result;
use crate::plan::inputs::Digest;
use crate::run::survey::Survey;

use super::references::{References, train_photos};

/// Likeness below which nothing is a copy of anything, and no photo is named.
const LEAST: f64 = 0.5;

/// A photo that an image is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alike {
    /// In [0.5, 1].
    pub score: f64,
    pub photo: Digest,
}

/// A species' train photos, and all photos of valid and test; looked at when they are first needed.
pub struct Copies {
    /// Indices into the dataset.
    held_out: Vec<usize>,
    held_out_faces: Option<Faces>,
    /// The species at hand.
    current: Option<(usize, Faces)>,
}

/// Photos by digest with what is kept of each.
type Faces = Vec<(Digest, Option<Face>)>;

impl Copies {
    /// Of all species, among the photos that the copy guard compares with.
    pub fn new(references: &References) -> Copies {
        Copies { held_out: references.held_out_photos().to_vec(), held_out_faces: None, current: None }
    }

    /// For each of a species' images, with the digest of the photo it started from, the photo that it is likest to, of
    /// equals the first; `None` where it is like none.
    ///
    /// # Errors
    /// A photo that cannot be read.
    pub fn likest(
        &mut self,
        survey: &Survey,
        species: usize,
        images: &[(&RgbImage, Option<Digest>)],
    ) -> Result<Vec<Option<Alike>>> {
        if self.current.as_ref().is_none_or(|(current, _)| *current != species) {
            self.current = Some((species, faces(survey, &train_photos(survey, species))?));
        }
        if self.held_out_faces.is_none() {
            self.held_out_faces = Some(faces(survey, &self.held_out)?);
        }
        let own = self.current.iter().flat_map(|(_, faces)| faces);
        let photos: Vec<&(Digest, Option<Face>)> = own.chain(self.held_out_faces.iter().flatten()).collect();
        let index = Index::new(&photos.iter().map(|(_, face)| face.as_ref()).collect::<Vec<_>>());
        let one = |(image, source): &(&RgbImage, Option<Digest>)| {
            let found = index.like(&Face::of(image)?, LEAST).into_iter();
            let others = found.map(|found| Alike { score: found.likeness.score, photo: photos[found.index].0 });
            others
                .filter(|alike| Some(alike.photo) != *source)
                .reduce(|best, alike| if alike.score > best.score { alike } else { best })
        };
        Ok(images.par_iter().map(one).collect())
    }
}

/// What is kept of photos, in order; of those with one digest the first.
fn faces(survey: &Survey, photos: &[usize]) -> Result<Faces> {
    let mut seen = BTreeSet::new();
    let photos: Vec<usize> =
        photos.iter().copied().filter(|&photo| seen.insert(survey.dataset.photos[photo].digest)).collect();
    photos
        .par_iter()
        .map(|&i| Ok((survey.dataset.photos[i].digest, Face::of(&decode::photo(&survey.dataset.path(i))?))))
        .collect()
}
