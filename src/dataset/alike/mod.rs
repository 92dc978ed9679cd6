//! Pictures that are copies of each other, though one was mirrored, cropped, brightened, made noisy or written anew; and
//! the groups they make. Knows pixels and numbers, no files.
//!
//! [`Face`] is what is kept of a picture, [`Index`] finds the copies of one among many, [`RealPairs`] says how alike
//! different pictures of a dataset are, and so from which likeness on one is a copy.

mod face;
mod index;
mod likeness;
mod moves;
mod real_pairs;
mod register;
mod sketch;
mod tangent;

use std::ops::Range;

use rayon::prelude::*;

pub use face::{Face, Likeness, SIDE};
pub use index::{Found, Index};
pub use real_pairs::{PAIRS, RealPairs};

/// Pictures looked up between two looks at what is already known to be one group.
const CHUNK: usize = 2048;
/// Of these, looked up together.
const BESIDE: usize = 8;

/// At least two pictures that look alike, directly or through others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Their places in the list, sorted.
    pub members: Vec<usize>,
    /// Whether a mirror is between some of them.
    pub mirrored: bool,
}

/// Groups of pictures with a likeness of at least `least`, sorted by their first members. `None` stands for a picture
/// that is in no group.
pub fn groups(faces: &[Option<&Face>], least: f64) -> Vec<Group> {
    let firsts = face::firsts(faces);
    // Of equal faces one is looked up for all.
    let distinct: Vec<Option<&Face>> =
        faces.iter().enumerate().map(|(i, face)| face.filter(|_| firsts[i] == Some(i))).collect();
    let index = Index::new(&distinct);
    let mut sets = Sets::new(faces.len());
    for (i, first) in firsts.iter().enumerate() {
        sets.join(i, first.unwrap_or(i), false);
    }
    for from in (0..index.len()).step_by(CHUNK) {
        let to = index.len().min(from + CHUNK);
        let few: Vec<Range<usize>> = (from..to).step_by(BESIDE).map(|n| n..to.min(n + BESIDE)).collect();
        // Whether a mirror is between two of one group does not wait for the second edge.
        let apart = |own, other| sets.of(other) != sets.of(own);
        let found: Vec<(usize, Found)> =
            few.into_par_iter().flat_map_iter(|numbers| index.before(numbers, apart, least)).collect();
        for (own, found) in found {
            sets.join(own, found.index, found.likeness.mirrored);
        }
    }
    sets.groups()
}

/// Which pictures are one group: each points to an earlier one, the first to itself.
struct Sets {
    earlier: Vec<usize>,
    mirrored: Vec<bool>,
}

impl Sets {
    fn new(n: usize) -> Sets {
        Sets { earlier: (0..n).collect(), mirrored: vec![false; n] }
    }

    /// The first of the group.
    fn of(&self, mut i: usize) -> usize {
        while self.earlier[i] != i {
            i = self.earlier[i];
        }
        i
    }

    fn join(&mut self, a: usize, b: usize, mirrored: bool) {
        let (one, two) = (self.of(a), self.of(b));
        let first = one.min(two);
        let mirrored = mirrored || self.mirrored[one] || self.mirrored[two];
        // Short ways for those asked again.
        for i in [a, b, one, two] {
            self.earlier[i] = first;
        }
        self.mirrored[first] = mirrored;
    }

    fn groups(&self) -> Vec<Group> {
        let mut members = vec![Vec::new(); self.earlier.len()];
        for i in 0..self.earlier.len() {
            members[self.of(i)].push(i);
        }
        let groups = members.into_iter().enumerate().filter(|(_, members)| members.len() > 1);
        groups.map(|(first, members)| Group { members, mirrored: self.mirrored[first] }).collect()
    }
}

#[cfg(test)]
mod planted;
#[cfg(test)]
#[path = "tests.rs"]
mod tests;
