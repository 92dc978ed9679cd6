//! The copies of a picture among many. Knows faces, no photos.
//!
//! Every picture is compared, by ever dearer means: the product of two sketches (all pairs: about a nanosecond each),
//! then what small moves of one explain, then the same once it was followed, both ways, then the full likeness. All but
//! the last only have to let copies through.

use rayon::prelude::*;

use super::face::{Face, Likeness};
use super::likeness::{Levels, likeness};
use super::sketch::{Sketch, Sketches};
use super::tangent::{Patch, Tangent};

/// Correlation of sketches below which nothing further is asked. Of 600 photos that were cropped by up to a tenth a
/// side and changed otherwise too, two had less than 0.66; 0.6 lets a hundredth of all pairs through.
const MIN_PRODUCT: f64 = 0.6;
/// Share of the contrast that small moves must explain. Of the same 600, and of 600 of drawn birds, none had less than
/// 0.82, but two in a thousand of other copies have: the bound leaves room below. About one pair in two thousand has more.
const MIN_EXPLAINED: f32 = 0.78;
/// Moves after which each of two pictures must explain `MIN_FOLLOWED` of the other. Of 4000 copies of photos none had less
/// either way; of pairs of photos that come so far, one in fourteen has more.
const MOVES: usize = 2;
const MIN_FOLLOWED: f32 = 0.9;
/// Share that must be explained once the pictures lie over each other.
const MIN_FIT: f64 = 0.85;

/// Many pictures that copies are looked for among: 2 kB each.
pub struct Index<'f> {
    faces: Vec<Option<&'f Face>>,
    /// Of the pictures with a face, in order: place, and what the first two comparisons need.
    places: Vec<usize>,
    own: Vec<Sketch>,
    sketches: Sketches,
    patches: Vec<Patch>,
}

/// One of many that a picture is like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found {
    /// Its place in the list.
    pub index: usize,
    pub likeness: Likeness,
}

impl<'f> Index<'f> {
    /// `None` stands for a picture without a face: it is found by nothing.
    pub fn new(faces: &[Option<&'f Face>]) -> Index<'f> {
        let places: Vec<usize> = (0..faces.len()).filter(|&i| faces[i].is_some()).collect();
        let (own, patches): (Vec<Sketch>, Vec<Patch>) = places
            .par_iter()
            .filter_map(|&place| faces[place])
            .map(|face| (Sketch::new(&face.picture()), Patch::new(&face.levels().coarse)))
            .unzip();
        Index { faces: faces.to_vec(), places, sketches: Sketches::new(own.iter()), own, patches }
    }

    /// All that are like `face` with at least the score `least`, in the order of the list.
    pub fn like(&self, face: &Face, least: f64) -> Vec<Found> {
        self.search(face, &Sketch::new(&face.picture()), self.places.len(), |_| true, least)
    }

    /// The likest one, of equals the first; `None` if there is none with at least the score `least`.
    pub fn likest(&self, face: &Face, least: f64) -> Option<Found> {
        let found = self.like(face, least);
        found.into_iter().reduce(|best, one| if one.likeness.score > best.likeness.score { one } else { best })
    }

    /// Number of pictures with a face.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The place in the list of the n-th picture with a face.
    pub(super) fn place(&self, n: usize) -> usize {
        self.places[n]
    }

    /// Those before the n-th picture with a face that are like it and that `asked` (given their place) wants.
    pub(super) fn before(&self, n: usize, asked: impl Fn(usize) -> bool, least: f64) -> Vec<Found> {
        match self.faces[self.places[n]] {
            Some(face) => self.search(face, &self.own[n], n, asked, least),
            None => Vec::new(),
        }
    }

    fn search(
        &self,
        face: &Face,
        sketch: &Sketch,
        among: usize,
        asked: impl Fn(usize) -> bool,
        least: f64,
    ) -> Vec<Found> {
        let mut hints: Vec<(usize, bool)> = Vec::new();
        self.sketches.near(sketch, among, MIN_PRODUCT, |n, mirrored| hints.push((n, mirrored)));
        hints.retain(|&(n, _)| asked(self.places[n]));
        if hints.is_empty() {
            return Vec::new();
        }
        let sides = [face.levels(), Levels::new(face.picture().mirrored())];
        let tangents = [Tangent::new(&sides[0].coarse), Tangent::new(&sides[1].coarse)];
        let patches = [Patch::new(&sides[0].coarse), Patch::new(&sides[1].coarse)];
        let mut found: Vec<Found> = Vec::new();
        for (n, mirrored) in hints {
            let side = usize::from(mirrored);
            if !tangents[side].explains(&self.patches[n], MIN_EXPLAINED, MOVES, MIN_FOLLOWED) {
                continue;
            }
            let index = self.places[n];
            let Some(other) = self.faces[index] else { continue };
            let other = other.levels();
            if !Tangent::new(&other.coarse).explains(&patches[side], 0.0, MOVES, MIN_FOLLOWED) {
                continue;
            }
            let score = likeness(&sides[side], &other, MIN_FIT);
            if score < least {
                continue;
            }
            let one = Found { index, likeness: Likeness { score, mirrored } };
            match found.last_mut() {
                // The straight hint comes first, and is taken of equals.
                Some(last) if last.index == index => {
                    if score > last.likeness.score {
                        *last = one;
                    }
                }
                _ => found.push(one),
            }
        }
        found
    }
}
