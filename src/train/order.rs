//! Which photo stands at which place of which batch: a pure function of the seed and the place. Knows no pixels.

use std::ops::Range;

use super::photos::Photos;
use crate::nn::noise::Stream;

/// How often each photo is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// Every photo once an epoch.
    Uniform,
    /// Every class that has photos equally often; within a class every photo once before any comes again.
    ClassBalanced,
}

/// Synthetic photos of a training set, which are its last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Synthetic {
    /// How many.
    pub photos: usize,
    /// Their share of the batches, in [0, 1]; `None`: as they come.
    pub share: Option<f64>,
    /// How much one counts in the loss, where a real one counts 1; above 0.
    pub weight: f64,
}

impl Default for Synthetic {
    /// None.
    fn default() -> Synthetic {
        Synthetic { photos: 0, share: None, weight: 1.0 }
    }
}

/// The endless sequence of photos that a fit sees; batches are cut from it one after the other, so that a batch larger than
/// the set wraps around. With a share of synthetic photos it is two sequences that run side by side.
pub struct Order {
    seed: u64,
    /// Of all photos, or of the real ones.
    first: Sequence,
    /// Of the synthetic ones, with their share.
    second: Option<(Sequence, f64)>,
    /// The first synthetic photo.
    synthetic: usize,
}

impl Order {
    pub fn new(sampling: Sampling, seed: u64, photos: &dyn Photos, synthetic: Synthetic) -> Order {
        let n = photos.len();
        let real = n - synthetic.photos.min(n);
        let sequence = |label, range| Sequence::new(sampling, label, photos, range);
        let (first, second) = match synthetic.share {
            Some(share) if real > 0 && real < n => {
                (sequence("", 0..real), Some((sequence("synthetic ", real..n), share)))
            }
            _ => (sequence("", 0..n), None),
        };
        Order { seed, first, second, synthetic: real }
    }

    /// Whether photo `i` is synthetic.
    pub fn is_synthetic(&self, i: usize) -> bool {
        i >= self.synthetic
    }

    /// The photos at places `batch * step` and following.
    pub fn batch(&self, step: usize, batch: usize) -> Vec<usize> {
        let (from, to) = (step * batch, (step + 1) * batch);
        let Some((second, share)) = &self.second else { return self.first.places(self.seed, from..to) };
        // As many of all places so far as the share says, so that it holds exactly in the long run.
        let of = |places: usize| (places as f64 * share) as usize;
        let mut photos = self.first.places(self.seed, from - of(from)..to - of(to));
        photos.extend(second.places(self.seed, of(from)..of(to)));
        Stream::indexed(self.seed, "batch order", &[step as u64]).shuffle(&mut photos);
        photos
    }
}

/// One endless sequence of photos.
struct Sequence {
    /// Before the names of its streams.
    label: &'static str,
    /// One group for uniform sampling, one a class for balanced.
    groups: Vec<Vec<usize>>,
}

impl Sequence {
    fn new(sampling: Sampling, label: &'static str, photos: &dyn Photos, range: Range<usize>) -> Sequence {
        let groups = match sampling {
            Sampling::Uniform => vec![range.collect()],
            Sampling::ClassBalanced => {
                let mut classes = std::collections::BTreeMap::<usize, Vec<usize>>::new();
                for i in range {
                    classes.entry(photos.class(i)).or_default().push(i);
                }
                classes.into_values().collect()
            }
        };
        Sequence { label, groups }
    }

    fn places(&self, seed: u64, places: Range<usize>) -> Vec<usize> {
        let groups = self.groups.len();
        let mut shuffled = Memory::default();
        places
            .map(|place| {
                let (round, slot) = (place / groups, place % groups);
                let group = if groups == 1 {
                    0
                } else {
                    let draw = || self.permutation(seed, "class order", &[round], (0..groups).collect());
                    shuffled.item((0, round), slot, draw)
                };
                let photos = &self.groups[group];
                let (epoch, index) = (round / photos.len(), round % photos.len());
                let draw = || self.permutation(seed, "photo order", &[group, epoch], photos.clone());
                shuffled.item((group + 1, epoch), index, draw)
            })
            .collect()
    }

    fn permutation(&self, seed: u64, label: &str, indices: &[usize], mut items: Vec<usize>) -> Vec<usize> {
        let indices: Vec<u64> = indices.iter().map(|&i| i as u64).collect();
        Stream::indexed(seed, &format!("{}{label}", self.label), &indices).shuffle(&mut items);
        items
    }
}

/// Permutations drawn for one batch.
#[derive(Default)]
struct Memory(std::collections::HashMap<(usize, usize), Vec<usize>>);

impl Memory {
    fn item(&mut self, key: (usize, usize), index: usize, draw: impl FnOnce() -> Vec<usize>) -> usize {
        self.0.entry(key).or_insert_with(draw)[index]
    }
}
