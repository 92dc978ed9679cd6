//! The copies of a picture among many. Knows faces, no photos.
//!
//! Every picture is compared, by ever dearer means: the product of two sketches (all pairs: about a nanosecond each),
//! then what small moves of one explain of the other's sketch, then of the other, then the same once it was followed, both
//! ways, then the full likeness. All but the last only have to let copies through.

use std::ops::Range;

use rayon::prelude::*;

use super::face::{Face, Likeness};
use super::likeness::{Levels, likeness};
use super::moves::Moves;
use super::register::Warp;
use super::sketch::{Sketch, Sketches};
use super::tangent::{ENOUGH, MOVES, Patch, Tangent};
use crate::simd;

/// Correlation of sketches below which nothing further is asked. Of 600 photos that were cropped by up to a tenth a
/// side and changed otherwise too, two had less than 0.66; 0.6 lets one in fifty through.
const MIN_PRODUCT: f64 = 0.6;
/// Share of a sketch that small moves must explain: of 1030 copies of photos none had less than 0.64; nine in ten of the
/// pairs that are asked have less.
const MIN_MOVED: f64 = 0.6;
/// Share of the contrast that small moves must explain, and that they must once the other was moved as they say. Of the
/// 600, and of 600 of drawn birds, none had less than 0.82, but two in a thousand of other copies have: the bounds leave room
/// below. About one pair in six hundred has more than the first; of those that are looked at further, all copies had more
/// than 0.89 after the move.
const MIN_EXPLAINED: [f32; MOVES] = [0.78, 0.85];
/// Share that must be explained once the pictures lie over each other: of 1988 copies of photos none had less.
const MIN_FIT: f64 = 0.88;

/// Sketches are spread over more memory than a cache holds: each is asked for while so many before it are looked at.
const AHEAD: usize = 8;

/// Many pictures that copies are looked for among: 0.8 kB each.
pub struct Index<'f> {
    faces: Vec<Option<&'f Face>>,
    /// Of the pictures with a face, in order: place, and what the first two comparisons need.
    places: Vec<usize>,
    own: Vec<Sketch>,
    sketches: Sketches,
    patches: Vec<Patch>,
}

/// That a picture, of those with a face the n-th, may be like the one asked for, or like its mirror image.
type Hint = (usize, bool);

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
        let mut hints: Vec<Hint> = Vec::new();
        let sketch = Sketch::new(&face.picture());
        self.sketches.near(&[(&sketch, self.places.len())], MIN_PRODUCT, |_, n, mirrored| hints.push((n, mirrored)));
        self.confirmed(face, &sketch, hints, least)
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

    /// For each of some pictures with a face those before it that are like it and that `asked` wants, given both places;
    /// each with the place of that picture.
    pub(super) fn before(
        &self,
        numbers: Range<usize>,
        asked: impl Fn(usize, usize) -> bool,
        least: f64,
    ) -> Vec<(usize, Found)> {
        let sketches: Vec<(&Sketch, usize)> = numbers.clone().map(|n| (&self.own[n], n)).collect();
        let mut hints: Vec<Vec<Hint>> = vec![Vec::new(); sketches.len()];
        self.sketches.near(&sketches, MIN_PRODUCT, |k, n, mirrored| hints[k].push((n, mirrored)));
        let mut out = Vec::new();
        for (n, mut hints) in numbers.zip(hints) {
            let own = self.places[n];
            let Some(face) = self.faces[own] else { continue };
            hints.retain(|&(n, _)| asked(own, self.places[n]));
            out.extend(self.confirmed(face, &self.own[n], hints, least).into_iter().map(|found| (own, found)));
        }
        out
    }

    /// The hinted ones that are like the face.
    fn confirmed(&self, face: &Face, sketch: &Sketch, hints: Vec<Hint>, least: f64) -> Vec<Found> {
        let moves = Moves::new(sketch);
        let mut near: Vec<Hint> = Vec::new();
        for (k, &(n, mirrored)) in hints.iter().enumerate() {
            if let Some(&(ahead, _)) = hints.get(k + AHEAD) {
                simd::fetch(&self.own[ahead]);
            }
            if moves.explained(&self.own[n], mirrored) >= MIN_MOVED {
                near.push((n, mirrored));
            }
        }
        if near.is_empty() {
            return Vec::new();
        }
        let sides = [face.levels(), Levels::new(face.picture().mirrored())];
        let patches = [0, 1].map(|side: usize| Patch::new(&sides[side].coarse));
        let tangents = [0, 1].map(|side: usize| Tangent::new(&patches[side]));
        let mut found: Vec<Found> = Vec::new();
        for (n, mirrored) in near {
            let side = usize::from(mirrored);
            let patch = &self.patches[n];
            let enough = |&(share, _): &(f32, Warp)| share >= ENOUGH;
            let Some((_, here)) = tangents[side].followed(patch, &MIN_EXPLAINED).filter(enough) else { continue };
            let Some((_, there)) = Tangent::new(patch).followed(&patches[side], &MIN_EXPLAINED).filter(enough) else {
                continue;
            };
            let index = self.places[n];
            let Some(other) = self.faces[index] else { continue };
            let score = likeness(&sides[side], &other.levels(), [here, there], MIN_FIT);
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
