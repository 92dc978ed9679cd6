//! Which photo stands at which place of which batch: a pure function of the seed and the place. Knows no pixels.

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

/// The endless sequence of photos that a fit sees; batches are cut from it one after the other, so that a batch larger than
/// the set wraps around.
pub struct Order {
    seed: u64,
    /// One group for uniform sampling, one a class for balanced.
    groups: Vec<Vec<usize>>,
}

impl Order {
    pub fn new(sampling: Sampling, seed: u64, photos: &dyn Photos) -> Order {
        let groups = match sampling {
            Sampling::Uniform => vec![(0..photos.len()).collect()],
            Sampling::ClassBalanced => {
                let mut classes = std::collections::BTreeMap::<usize, Vec<usize>>::new();
                for i in 0..photos.len() {
                    classes.entry(photos.class(i)).or_default().push(i);
                }
                classes.into_values().collect()
            }
        };
        Order { seed, groups }
    }

    /// The photos at places `batch * step` and following.
    pub fn batch(&self, step: usize, batch: usize) -> Vec<usize> {
        let groups = self.groups.len();
        let mut shuffled = Memory::default();
        (step * batch..(step + 1) * batch)
            .map(|place| {
                let (round, slot) = (place / groups, place % groups);
                let group = if groups == 1 {
                    0
                } else {
                    shuffled.item((0, round), slot, || self.permutation("class order", &[round], (0..groups).collect()))
                };
                let photos = &self.groups[group];
                let (epoch, index) = (round / photos.len(), round % photos.len());
                let draw = || self.permutation("photo order", &[group, epoch], photos.clone());
                shuffled.item((group + 1, epoch), index, draw)
            })
            .collect()
    }

    fn permutation(&self, label: &str, indices: &[usize], mut items: Vec<usize>) -> Vec<usize> {
        let indices: Vec<u64> = indices.iter().map(|&i| i as u64).collect();
        Stream::indexed(self.seed, label, &indices).shuffle(&mut items);
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
