//! What is kept of a picture so that copies of it can be found: 32x32 grey values. Knows pixels and numbers, no files.

use std::collections::HashMap;

use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::super::decode;
use super::likeness::{Levels, likeness};
use super::register::{Grey, Warp};
use super::tangent::{MOVES, Patch, Tangent};

/// Side of the grey picture in pixels.
pub const SIDE: usize = 32;
/// Side of the coarse picture that is made of it.
pub(super) const COARSE: usize = SIDE / 2;
/// Variance of grey values below which a picture is even.
const EVEN: f64 = 9.0;

/// What a picture looks like, in a kilobyte: 32x32 grey values, row by row, the whole picture stretched to a square.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Face {
    grey: Vec<u8>,
}

/// How much two pictures are one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likeness {
    /// In [0, 1]: about 1 for copies that were cropped by up to a tenth, mirrored, brightened, re-encoded or made a
    /// little noisy; less than one half for most pictures of one kind.
    pub score: f64,
    /// Whether it is the other's mirror image that fits.
    pub mirrored: bool,
}

impl Face {
    /// The face of a picture; `None` if it is all but one even grey, which looks like any other such picture.
    pub fn of(image: &RgbImage) -> Option<Face> {
        let small = decode::stretch(image, SIDE as u32, SIDE as u32);
        // Luma of BT.601, as libjpeg's, in its own fixed point.
        let luma = |[r, g, b]: [u8; 3]| {
            ((19_595 * u32::from(r) + 38_470 * u32::from(g) + 7_471 * u32::from(b) + 32_768) >> 16) as u8
        };
        let grey: Vec<u8> = small.pixels().map(|pixel| luma(pixel.0)).collect();
        let (n, sum) = (grey.len() as f64, grey.iter().map(|&v| f64::from(v)).sum::<f64>());
        let squares: f64 = grey.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
        (squares / n - (sum / n) * (sum / n) >= EVEN).then_some(Face { grey })
    }

    /// How much two pictures are one, whichever of them was changed; the straight one of equals. Symmetric.
    pub fn likeness(&self, other: &Face) -> Likeness {
        // Which of the two is seen in the mirror shows in the last bits: always the same one.
        let [first, second] = if self.grey <= other.grey { [self, other] } else { [other, self] };
        let one = first.levels();
        let to = |two: &Levels| {
            let patches = [&one, two].map(|levels| Patch::new(&levels.coarse));
            let start = |of: usize| Tangent::new(&patches[of]).followed(&patches[1 - of], &[0.0; MOVES]);
            likeness(&one, two, [0, 1].map(|of| start(of).map_or(Warp::default(), |(_, warp)| warp)), 0.0)
        };
        let (straight, mirrored) = (to(&second.levels()), to(&Levels::new(second.picture().mirrored())));
        Likeness { score: straight.max(mirrored), mirrored: mirrored > straight }
    }

    pub(super) fn picture(&self) -> Grey<SIDE> {
        let mut values = [[0.0; SIDE]; SIDE];
        values.as_flattened_mut().iter_mut().zip(&self.grey).for_each(|(value, &grey)| *value = f32::from(grey));
        Grey { values }
    }

    pub(super) fn levels(&self) -> Levels {
        Levels::new(self.picture())
    }
}

/// For each face the first that is equal to it, as places in the list; `None` for what has no face.
pub(super) fn firsts(faces: &[Option<&Face>]) -> Vec<Option<usize>> {
    let mut seen: HashMap<&Face, usize> = HashMap::with_capacity(faces.len());
    faces.iter().enumerate().map(|(i, face)| face.map(|face| *seen.entry(face).or_insert(i))).collect()
}
