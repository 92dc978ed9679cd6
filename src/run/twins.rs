//! Candidates of a species that are near-duplicates of each other: of two, the later in the order of keys goes, and one that
//! was looked at in an earlier round stays. Likeness is kept by pair, so that a new threshold compares nothing again.

use std::collections::{BTreeMap, HashMap, HashSet};

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::plan::inputs::{self, Digest};
use crate::plan::select::{Reason, Verdict};
use crate::plan::{Key, Step};
use crate::score::ssim::{self, Prepared};

use super::make;
use super::score;
use super::selection::Candidate;
use super::session::{Mode, Session};
use super::stop;

/// What is known of candidates' likeness from round to round.
#[derive(Default)]
pub struct Twins {
    /// Likeness of every pair that was compared, by species.
    known: HashMap<usize, Likeness>,
    /// Candidates that an earlier round found to be nobody's near-duplicate.
    stayed: HashSet<Key>,
}

/// SSIM of every pair of a list of images.
#[derive(Clone, Default)]
struct Likeness {
    /// Place of each image in the list.
    places: HashMap<Digest, usize>,
    /// Of image i with image j < i at `i (i - 1) / 2 + j`: the greater of i as it is and in a mirror.
    pairs: Vec<f64>,
}

impl Likeness {
    fn of(&self, a: &Digest, b: &Digest) -> Option<f64> {
        if a == b {
            return Some(1.0);
        }
        let (a, b) = (*self.places.get(a)?, *self.places.get(b)?);
        let (low, high) = (a.min(b), a.max(b));
        self.pairs.get(high * (high - 1) / 2 + low).copied()
    }
}

impl Twins {
    /// Drops near-duplicates among those that are still kept; false if planning and some were not compared yet.
    ///
    /// # Errors
    /// An image that was damaged while it was in use.
    pub fn settle(&mut self, session: &mut Session<'_>, threshold: f64, candidates: &mut [Candidate]) -> Result<bool> {
        let mut by_species: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (i, candidate) in candidates.iter().enumerate() {
            if !is_no_image(candidate) {
                by_species.entry(candidate.species).or_default().push(i);
            }
        }
        let mut due = Vec::new();
        for (&species, members) in &by_species {
            let images = sorted_images(candidates, members);
            if !self.look_up(session, species, &images)? {
                due.push((species, images));
            }
        }
        if !due.is_empty() {
            let n = due.len();
            session.ledger.due(Step::Scores, format!("candidates of {n} species not compared with each other yet"));
            if session.mode == Mode::Plan {
                return Ok(false);
            }
            let mut task = session.progress.task("likeness", due.len(), "comparison");
            for (species, images) in &due {
                self.compare(session, *species, images)?;
                task.advance(1);
            }
            session.ledger.made(Step::Scores, due.len());
            task.finish();
        }
        for (species, members) in by_species {
            let kept: Vec<usize> = members.into_iter().filter(|&i| candidates[i].verdict.keeps()).collect();
            let Some(likeness) = self.known.get(&species) else { continue };
            let like = |a: usize, b: usize| likeness.of(&candidates[a].image, &candidates[b].image);
            let order = |i: usize| (!self.stayed.contains(&candidates[i].key), candidates[i].key);
            for (i, value, twin) in near_duplicates(&kept, &order, &like, threshold) {
                candidates[i].twin = Some(candidates[twin].key);
                candidates[i].verdict = Verdict::Drop { reason: Reason::Duplicate, value, threshold };
            }
        }
        self.stayed
            .extend(candidates.iter().filter(|candidate| candidate.verdict.keeps()).map(|candidate| candidate.key));
        Ok(true)
    }

    /// Takes what is known of exactly these images; false if that is nothing.
    fn look_up(&mut self, session: &mut Session<'_>, species: usize, images: &[Digest]) -> Result<bool> {
        if self.known.get(&species).is_some_and(|known| known.places.len() == images.len()) {
            return Ok(true);
        }
        let key = inputs::pairs(digest_of(images), score::side(session.recipe)).key().0;
        session.used.push(key);
        let Some(blob) = session.store.hit(&key).and_then(|record| record.blob("pairs")) else { return Ok(false) };
        let Some(bytes) = session.store.get(&blob)? else { return Ok(false) };
        let (numbers, rest) = bytes.as_chunks::<8>();
        if numbers.len() != images.len() * images.len().saturating_sub(1) / 2 || !rest.is_empty() {
            return Ok(false);
        }
        let pairs = numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        self.known.insert(species, Likeness { places: places(images), pairs });
        Ok(true)
    }

    /// Compares what was not compared in an earlier round.
    fn compare(&mut self, session: &Session<'_>, species: usize, images: &[Digest]) -> Result<()> {
        stop::check()?;
        let side = score::side(session.recipe);
        let before = self.known.get(&species).cloned().unwrap_or_default();
        let prepared: Vec<Prepared> = images
            .par_iter()
            .map(|image| {
                let bytes = session.store.get(image)?.ok_or_else(make::damaged_in_use)?;
                score::prepare(&make::from_png(&session.store.blob_path(image), &bytes)?, side)
            })
            .collect::<Result<_>>()?;
        let mut pairs = Vec::with_capacity(images.len() * images.len().saturating_sub(1) / 2);
        for i in 0..images.len() {
            stop::check()?;
            let known: Vec<Option<f64>> = (0..i).map(|j| before.of(&images[i], &images[j])).collect();
            let asked: Vec<&Prepared> = (0..i).filter(|&j| known[j].is_none()).map(|j| &prepared[j]).collect();
            let mut found = ssim::compare(&prepared[i], &asked, true)?.into_iter();
            for value in known {
                let value = value.or_else(|| found.next().map(|nearest| nearest.ssim));
                pairs.push(value.ok_or_else(|| Error::input("a pair of candidates was not compared"))?);
            }
        }
        let record = session.blank(&inputs::pairs(digest_of(images), side));
        let bytes: Vec<u8> = pairs.iter().flat_map(|value| value.to_le_bytes()).collect();
        session.store.commit(&[record.output("pairs", session.store.put(&bytes)?)])?;
        self.known.insert(species, Likeness { places: places(images), pairs });
        Ok(())
    }
}

fn is_no_image(candidate: &Candidate) -> bool {
    matches!(candidate.verdict, Verdict::Drop { reason: Reason::NotFinite, .. })
}

/// Different images of candidates, in the order of the first key of each.
fn sorted_images(candidates: &[Candidate], members: &[usize]) -> Vec<Digest> {
    let mut members: Vec<&Candidate> = members.iter().map(|&i| &candidates[i]).collect();
    members.sort_by_key(|candidate| candidate.key);
    let mut seen = HashSet::new();
    members.iter().map(|candidate| candidate.image).filter(|image| seen.insert(*image)).collect()
}

fn places(images: &[Digest]) -> HashMap<Digest, usize> {
    images.iter().enumerate().map(|(place, image)| (*image, place)).collect()
}

fn digest_of(images: &[Digest]) -> Digest {
    *blake3::hash(&images.concat()).as_bytes()
}

/// Those of `members` that are too like one that is kept before them, each with its likeness and the nearest such one.
fn near_duplicates<O: Ord>(
    members: &[usize],
    order: &dyn Fn(usize) -> O,
    like: &dyn Fn(usize, usize) -> Option<f64>,
    threshold: f64,
) -> Vec<(usize, f64, usize)> {
    let mut sorted = members.to_vec();
    sorted.sort_by_key(|&i| order(i));
    let (mut kept, mut gone): (Vec<usize>, Vec<(usize, f64, usize)>) = (Vec::new(), Vec::new());
    for i in sorted {
        let mut nearest: Option<(f64, usize)> = None;
        for &other in &kept {
            let value = like(i, other).unwrap_or(f64::NAN);
            if nearest.is_none_or(|(most, _)| value > most) {
                nearest = Some((value, other));
            }
        }
        match nearest {
            Some((value, twin)) if value > threshold => gone.push((i, value, twin)),
            _ => kept.push(i),
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::noise::Stream;

    #[test]
    fn of_two_alike_the_later_key_goes_and_is_named_by_its_twin() {
        let keys = [30, 10, 20, 5];
        // 0, 1 and 2 are alike in a chain: 1 with 2, 2 with 0.
        let like = |a: usize, b: usize| {
            Some(match (a.min(b), a.max(b)) {
                (1, 2) => 0.97,
                (0, 2) => 0.96,
                _ => 0.3,
            })
        };
        let gone = near_duplicates(&[0, 1, 2, 3], &|i| keys[i], &like, 0.95);
        // 2 goes for 1; what 2 is like is of no matter then.
        assert_eq!(gone, [(2, 0.97, 1)]);
        assert_eq!(near_duplicates(&[0, 1, 2, 3], &|i| keys[i], &like, 0.97), []);
    }

    #[test]
    fn the_order_in_which_candidates_come_decides_nothing() {
        let mut stream = Stream::indexed(1, "twins", &[]);
        let n = 30;
        let values: Vec<f64> = (0..n * n).map(|_| stream.uniform()).collect();
        let like = |a: usize, b: usize| Some(values[a.min(b) * n + a.max(b)]);
        let mut members: Vec<usize> = (0..n).collect();
        let mut wanted = near_duplicates(&members, &|i| (i * 7) % n, &like, 0.9);
        wanted.sort_by_key(|gone| gone.0);
        assert!(wanted.len() > 5);
        for _ in 0..20 {
            stream.shuffle(&mut members);
            let mut found = near_duplicates(&members, &|i| (i * 7) % n, &like, 0.9);
            found.sort_by_key(|gone| gone.0);
            assert_eq!(found, wanted);
        }
    }

    #[test]
    fn one_image_under_two_keys_is_its_own_twin() {
        let likeness = Likeness { places: places(&[[1; 32], [2; 32], [3; 32]]), pairs: vec![0.1, 0.2, 0.3] };
        assert_eq!(likeness.of(&[1; 32], &[1; 32]), Some(1.0));
        assert_eq!(likeness.of(&[3; 32], &[2; 32]), Some(0.3));
        assert_eq!(likeness.of(&[1; 32], &[3; 32]), Some(0.2));
        assert_eq!(likeness.of(&[1; 32], &[9; 32]), None);
    }
}
