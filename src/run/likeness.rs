//! How alike a dataset's own photos are: what a photo of train comes to among the other photos of its species in train, and
//! among those that the arm is validated and tested on. The guards' thresholds are read off these two distributions, and the
//! report shows them. Judges nothing.
//!
//! Measured on a sample that is bounded and the same every time: some species and some of their photos as probes, both in the
//! order of digests, each against all photos of its species (up to a bound), mirrored too, at the side that candidates are
//! compared at.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::dataset::alike::{Face, PAIRS, RealPairs};
use crate::dataset::{Dataset, decode};
use crate::error::Result;
use crate::plan::inputs::{self, Digest};
use crate::recipe::Recipe;
use crate::score::ssim::{self, Prepared};

use super::score;
use super::session::Session;
use super::stop;
use super::survey::{self, Survey};

/// Species that are looked at, probes of each, and photos that a probe is compared with on either side.
const SPECIES: usize = 24;
const PROBES: usize = 16;
const OTHERS: usize = 200;
/// The part of the real photos that a threshold lets pass.
pub const QUANTILE: f64 = 0.99;
/// A quantile of fewer photos says nothing.
const LEAST: usize = 20;

/// Highest SSIM of each probe, ascending.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Likeness {
    /// Side of the compared squares in pixels.
    pub side: usize,
    /// To another train photo of its species.
    pub train: Vec<f64>,
    /// To a photo of its species in valid or test.
    pub held_out: Vec<f64>,
    /// Likeness of pairs of train photos of one species, shifted, cropped, mirrored or brightened, ascending.
    pub pairs: Vec<f64>,
}

/// The value that [`QUANTILE`] of these, ascending, do not exceed; `None` of too few.
pub fn quantile(ascending: &[f64]) -> Option<f64> {
    let rank = (QUANTILE * ascending.len() as f64).ceil() as usize;
    (ascending.len() >= LEAST).then(|| ascending[rank.clamp(1, ascending.len()) - 1])
}

/// A threshold as a recipe says it: the quantile rounded up to two digits; `None` of too few.
pub fn threshold(ascending: &[f64]) -> Option<f64> {
    quantile(ascending).map(|value| ((value * 100.0).ceil() / 100.0).clamp(0.01, 1.0))
}

/// The likeness from which a picture counts as a copy, given that of pairs of photos, ascending; rounded up to two digits.
pub fn copy_threshold(pairs: &[f64]) -> f64 {
    (RealPairs { scores: pairs.to_vec() }.threshold() * 100.0).ceil() / 100.0
}

/// Measures the photos that a recipe would train, validate and test on.
///
/// # Errors
/// A cut that cannot be made, a photo that cannot be read.
pub fn measure(recipe: &Recipe, dataset: &Dataset) -> Result<Likeness> {
    let cut = survey::cut(recipe, dataset)?;
    let held_out = score::held_out_of_species(dataset, &cut);
    of_photos(dataset, &by_species(dataset, &cut.train), &held_out, score::side(recipe))
}

/// The same from the cache, or measured and kept.
///
/// # Errors
/// A photo that cannot be read.
pub fn of_survey(session: &mut Session<'_>, survey: &Survey) -> Result<Likeness> {
    let held_out = score::held_out_of_species(&survey.dataset, &survey.cut);
    let digests: Vec<Digest> = held_out.iter().flatten().map(|&photo| survey.dataset.photos[photo].digest).collect();
    let side = score::side(session.recipe);
    let held_out_digest = *blake3::hash(&digests.concat()).as_bytes();
    let inputs = inputs::photos_likeness(&survey.train_list, held_out_digest, side);
    let key = inputs.key().0;
    session.used.push(key);
    let known = session.store.hit(&key).and_then(|record| serde_json::from_slice(&record.inline).ok());
    if let Some(known) = known {
        return Ok(known);
    }
    let found = of_photos(&survey.dataset, &by_species(&survey.dataset, &survey.cut.train), &held_out, side)?;
    let text = serde_json::to_vec(&found).map_err(|error| crate::error::Error::input(error.to_string()))?;
    session.store.commit(&[session.blank(&inputs).inline(text)])?;
    Ok(found)
}

fn by_species(dataset: &Dataset, photos: &[usize]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new(); dataset.species.len()];
    for &photo in photos {
        all[dataset.photos[photo].species as usize].push(photo);
    }
    all
}

fn of_photos(dataset: &Dataset, train: &[Vec<usize>], held_out: &[Vec<usize>], side: usize) -> Result<Likeness> {
    let mut found = Likeness { side, ..Likeness::default() };
    for species in order_of(dataset, train) {
        stop::check()?;
        let own = prepared(dataset, &train[species], side)?;
        let others = prepared(dataset, &held_out[species], side)?;
        let others: Vec<&Prepared> = others.iter().collect();
        for probe in 0..own.len().min(PROBES) {
            let rest: Vec<&Prepared> = (0..own.len()).filter(|&i| i != probe).map(|i| &own[i]).collect();
            found.train.extend(ssim::nearest(&own[probe], &rest, true)?.map(|nearest| nearest.ssim));
            found.held_out.extend(ssim::nearest(&own[probe], &others, true)?.map(|nearest| nearest.ssim));
        }
    }
    found.pairs = pairs(dataset, train)?;
    found.train.sort_unstable_by(f64::total_cmp);
    found.held_out.sort_unstable_by(f64::total_cmp);
    Ok(found)
}

/// Likeness of pairs, out of the photos that a likeness to the nearest is measured of.
fn pairs(dataset: &Dataset, train: &[Vec<usize>]) -> Result<Vec<f64>> {
    let mut photos: Vec<(usize, usize)> = Vec::new();
    for species in order_of(dataset, train) {
        photos.extend(of_order(dataset, &train[species]).into_iter().take(PROBES).map(|photo| (species, photo)));
    }
    let faces = photos
        .par_iter()
        .map(|&(species, photo)| Ok((species, Face::of(&decode::photo(&dataset.path(photo))?))))
        .collect::<Result<Vec<(usize, Option<Face>)>>>()?;
    let faces: Vec<(usize, Option<&Face>)> = faces.iter().map(|(species, face)| (*species, face.as_ref())).collect();
    Ok(RealPairs::measure(&faces, PAIRS).scores)
}

fn prepared(dataset: &Dataset, photos: &[usize], side: usize) -> Result<Vec<Prepared>> {
    of_order(dataset, photos)
        .par_iter()
        .map(|&photo| score::prepare(&decode::photo(&dataset.path(photo))?, side))
        .collect()
}

/// The species that are looked at.
fn order_of(dataset: &Dataset, train: &[Vec<usize>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..dataset.species.len()).filter(|&species| train[species].len() > 1).collect();
    order.sort_by_cached_key(|&species| rank(dataset.species[species].as_bytes()));
    order.truncate(SPECIES);
    order
}

/// Photos with different bytes in the order of their digests, up to the bound.
fn of_order(dataset: &Dataset, photos: &[usize]) -> Vec<usize> {
    let mut photos = photos.to_vec();
    photos.sort_by_cached_key(|&photo| rank(&dataset.photos[photo].digest));
    photos.dedup_by_key(|photo| dataset.photos[*photo].digest);
    photos.truncate(OTHERS);
    photos
}

/// An order that neither names nor places decide.
fn rank(bytes: &[u8]) -> Digest {
    *blake3::Hasher::new_derive_key("birdaug 2026 sample of likeness v1").update(bytes).finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_lets_ninety_nine_of_a_hundred_pass_and_needs_some() {
        let values: Vec<f64> = (1..=200).map(|i| f64::from(i) / 400.0).collect();
        assert_eq!(quantile(&values), Some(198.0 / 400.0));
        assert_eq!(threshold(&values), Some(0.5));
        assert_eq!(values.iter().filter(|value| **value > quantile(&values).unwrap()).count(), 2);
        assert_eq!(quantile(&values[..20]), Some(values[19]));
        assert_eq!(quantile(&values[..19]), None);
        assert_eq!(threshold(&vec![-0.2; 30]), Some(0.01));
        assert_eq!(threshold(&vec![1.0; 30]), Some(1.0));
    }
}
