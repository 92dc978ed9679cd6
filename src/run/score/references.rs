//! The real photos that candidates are compared with by the copy guard, prepared when they are first needed; and what
//! changed in them since the last build, so that a replaced photo costs one comparison a candidate and not all of them.

use std::collections::{HashMap, HashSet};

use image::RgbImage;
use rayon::prelude::*;

use crate::dataset::{Split, decode};
use crate::error::Result;
use crate::plan::inputs::{self, Digest, PhotoList};
use crate::plan::{Inputs, Value};
use crate::run::session::Session;
use crate::run::survey::Survey;
use crate::score::ssim::{self, Prepared};

/// Above this share of new photos a comparison with all of them is the simpler way.
const FEW: usize = 4;

/// The nearest real photo, and how near it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nearest {
    /// SSIM, the candidate's mirror image included.
    pub ssim: f64,
    pub photo: Digest,
}

/// A photo ready to be compared.
pub type Photo = (Digest, Prepared);

/// All of a species' train photos, then all photos of valid and test.
pub struct References {
    side: usize,
    own: Vec<PhotoList>,
    held_out: PhotoList,
    /// Indices into the dataset.
    held_out_photos: Vec<usize>,
    held_out_prepared: Option<Vec<Photo>>,
    /// The species at hand.
    current: Option<Current>,
}

struct Current {
    species: usize,
    own: Vec<Photo>,
    /// Whether all own photos are prepared, or only those that are new.
    change: Option<Change>,
    whole: bool,
}

/// How a species' references differ from those of the last build.
struct Change {
    /// Digest of the last build's references.
    old: Digest,
    removed: HashSet<Digest>,
    added: Vec<Photo>,
    /// Each reference's place among the references of now.
    place: HashMap<Digest, usize>,
}

impl References {
    /// The references of every species, compared at `side` x `side` pixels.
    pub fn new(survey: &Survey, side: usize) -> References {
        let mut own = vec![PhotoList::default(); survey.dataset.species.len()];
        let (mut held_out, mut held_out_photos) = (PhotoList::default(), Vec::new());
        for (i, photo) in survey.dataset.photos.iter().enumerate() {
            if photo.split == Split::Train {
                own[photo.species as usize].push(&photo.digest, survey.dataset.species_of(i));
            } else {
                held_out.push(&photo.digest, survey.dataset.species_of(i));
                held_out_photos.push(i);
            }
        }
        References { side, own, held_out, held_out_photos, held_out_prepared: None, current: None }
    }

    /// All photos of valid and test, as indices into the dataset.
    pub fn held_out_photos(&self) -> &[usize] {
        &self.held_out_photos
    }

    /// Identifies each species' references.
    pub fn digests(&self) -> Vec<Digest> {
        let held_out = self.held_out.digest();
        self.own.iter().map(|list| inputs::references(list.digest(), held_out)).collect()
    }

    /// Remembers the lists for the next build; called once all candidates are scored.
    pub fn note(&self, session: &mut Session<'_>, survey: &Survey, scored: &HashSet<usize>) -> Result<()> {
        session.know(&self.held_out)?;
        for &species in scored {
            session.know(&self.own[species])?;
            session.note(&slot(survey, species), &self.lists(species))?;
        }
        Ok(())
    }

    fn lists(&self, species: usize) -> Inputs {
        Inputs::new("references", 1)
            .digest("train photos", self.own[species].digest())
            .digest("held-out photos", self.held_out.digest())
    }

    /// The nearest reference of a species' candidate; the same as if it were compared with each. `known` finds what an
    /// earlier build found among references of a given digest.
    ///
    /// # Errors
    /// A photo that cannot be read.
    pub fn nearest(
        &mut self,
        session: &Session<'_>,
        survey: &Survey,
        species: usize,
        image: &RgbImage,
        known: &dyn Fn(Digest) -> Option<Nearest>,
    ) -> Result<Option<Nearest>> {
        let mut current = match self.current.take() {
            Some(current) if current.species == species => current,
            _ => self.turn_to(session, survey, species)?,
        };
        let candidate = prepare(image, self.side)?;
        let found = match current.change.as_ref().and_then(|change| change.update(&candidate, known).transpose()) {
            Some(found) => found.map(Some),
            None => self.search(survey, &mut current, &candidate),
        };
        self.current = Some(current);
        found
    }

    fn search(&mut self, survey: &Survey, current: &mut Current, candidate: &Prepared) -> Result<Option<Nearest>> {
        if !current.whole {
            current.own = prepare_all(survey, &train_photos(survey, current.species), self.side)?;
            current.whole = true;
        }
        if self.held_out_prepared.is_none() {
            self.held_out_prepared = Some(prepare_all(survey, &self.held_out_photos, self.side)?);
        }
        let held_out = self.held_out_prepared.as_deref().unwrap_or_default();
        let many: Vec<&Photo> = current.own.iter().chain(held_out).collect();
        nearest_of(candidate, &many)
    }

    fn turn_to(&self, session: &Session<'_>, survey: &Survey, species: usize) -> Result<Current> {
        let change = self.change(session, survey, species)?;
        Ok(Current { species, own: Vec::new(), change, whole: false })
    }

    /// `None` where the last build's references are not known or too much has changed.
    fn change(&self, session: &Session<'_>, survey: &Survey, species: usize) -> Result<Option<Change>> {
        let Some(old) = session.last_record(&slot(survey, species)).and_then(|record| Inputs::decode(&record.inputs))
        else {
            return Ok(None);
        };
        let (Some(Value::Digest(own)), Some(Value::Digest(held_out))) =
            (old.get("train photos"), old.get("held-out photos"))
        else {
            return Ok(None);
        };
        let (Some(own_lines), Some(held_out_lines)) = (session.list(own), session.list(held_out)) else {
            return Ok(None);
        };
        let before: HashSet<Digest> = digests_of(&own_lines).chain(digests_of(&held_out_lines)).collect();
        let photos = [train_photos(survey, species), self.held_out_photos.clone()].concat();
        let mut place = HashMap::with_capacity(photos.len());
        for (at, &photo) in photos.iter().enumerate() {
            place.entry(survey.dataset.photos[photo].digest).or_insert(at);
        }
        let added: Vec<usize> =
            photos.iter().copied().filter(|&photo| !before.contains(&survey.dataset.photos[photo].digest)).collect();
        if added.len() * FEW > photos.len() {
            return Ok(None);
        }
        let removed = before.into_iter().filter(|digest| !place.contains_key(digest)).collect();
        let added = prepare_all(survey, &added, self.side)?;
        Ok(Some(Change { old: inputs::references(*own, *held_out), removed, added, place }))
    }
}

impl Change {
    /// The nearest of now from the nearest of before; `None` if that was removed or is not known.
    fn update(&self, candidate: &Prepared, known: &dyn Fn(Digest) -> Option<Nearest>) -> Result<Option<Nearest>> {
        let Some(before) = known(self.old).filter(|before| !self.removed.contains(&before.photo)) else {
            return Ok(None);
        };
        let added: Vec<&Photo> = self.added.iter().collect();
        let place = |nearest: &Nearest| self.place.get(&nearest.photo).copied().unwrap_or(usize::MAX);
        Ok(Some(match nearest_of(candidate, &added)? {
            Some(new) if new.ssim > before.ssim => new,
            // Of equals the first in the list, as in a search through all.
            Some(new) if new.ssim == before.ssim && place(&new) < place(&before) => new,
            _ => before,
        }))
    }
}

/// The nearest of many; of equals the first.
pub fn nearest_of(candidate: &Prepared, many: &[&Photo]) -> Result<Option<Nearest>> {
    let prepared: Vec<&Prepared> = many.iter().map(|(_, prepared)| prepared).collect();
    let nearest = ssim::nearest(candidate, &prepared, true)?;
    Ok(nearest.map(|nearest| Nearest { ssim: nearest.ssim, photo: many[nearest.index].0 }))
}

fn slot(survey: &Survey, species: usize) -> String {
    format!("references {}", survey.dataset.species[species])
}

/// A species' train photos, before the cut, as indices into the dataset.
pub(super) fn train_photos(survey: &Survey, species: usize) -> Vec<usize> {
    let photos = &survey.dataset.photos;
    let is_meant = |&i: &usize| photos[i].split == Split::Train && photos[i].species as usize == species;
    (0..photos.len()).filter(is_meant).collect()
}

/// Digests of a list's `digest species` lines.
fn digests_of(list: &str) -> impl Iterator<Item = Digest> {
    list.lines().filter_map(|line| Some(crate::plan::Key::from_hex(line.get(..64)?)?.0))
}

/// An image ready to be compared, at `side` x `side` pixels.
pub fn prepare(image: &RgbImage, side: usize) -> Result<Prepared> {
    Prepared::new(&decode::square(image, side as u32))
}

/// The photos prepared, in order. Of those with equal pixels the first stands for all: nothing is nearer to one of them
/// than to the others, and of equals the first is the answer.
pub fn prepare_all(survey: &Survey, photos: &[usize], side: usize) -> Result<Vec<Photo>> {
    let all = photos
        .par_iter()
        .map(|&i| {
            let square = decode::square(&decode::photo(&survey.dataset.path(i))?, side as u32);
            let pixels = *blake3::hash(square.as_raw()).as_bytes();
            Ok((pixels, (survey.dataset.photos[i].digest, Prepared::new(&square)?)))
        })
        .collect::<Result<Vec<(Digest, Photo)>>>()?;
    Ok(first_of_equals(all))
}

/// Of entries under one digest the first, in order.
fn first_of_equals<T>(all: Vec<(Digest, T)>) -> Vec<T> {
    let mut seen = HashSet::with_capacity(all.len());
    all.into_iter().filter(|(digest, _)| seen.insert(*digest)).map(|(_, entry)| entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_pictures_the_first_in_the_list_stays() {
        let all = vec![([1; 32], "a"), ([2; 32], "b"), ([1; 32], "c"), ([3; 32], "d"), ([2; 32], "e")];
        assert_eq!(first_of_equals(all), ["a", "b", "d"]);
    }
}
