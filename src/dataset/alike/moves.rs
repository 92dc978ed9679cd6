//! How well small moves of one picture explain another, told by their sketches alone: the filter that is asked of most
//! pairs. Knows numbers, no photos.
//!
//! What [`super::tangent`] does with pictures (Simard, LeCun, Denker 1993), in frequencies: a cosine's derivative by shift or
//! stretch is again a sum of cosines, so that the derivatives of a sketch are fixed linear maps of it. Higher frequencies
//! than a sketch has and what comes in over the picture's edge are left out. Products are in integers: the same on every
//! machine.

use std::f64::consts::PI;
use std::sync::OnceLock;

use super::face::SIDE;
use super::register::UNKNOWNS;
use super::sketch::{LENGTH, LOW, PART, Sketch, angle, wave};
use super::tangent::orthonormalise;

/// The sketch and its four derivatives.
const KINDS: usize = UNKNOWNS - 1;

/// What a sketch becomes by small moves of its picture: an orthonormal basis, each in units of `LENGTH`.
pub(super) struct Moves {
    even: [[i16; PART]; KINDS],
    odd: [[i16; PART]; KINDS],
}

/// A linear map of one axis' frequencies: `map[to][from]`.
type Map = [[f64; LOW]; LOW];

impl Moves {
    pub fn new(sketch: &Sketch) -> Moves {
        let mut own = [[0.0; LOW]; LOW];
        for (i, own) in own.as_flattened_mut().iter_mut().enumerate() {
            *own = f64::from(if i % 2 == 0 { sketch.even[i / 2] } else { sketch.odd[i / 2] });
        }
        let [slope, stretch] = derivatives();
        let across = |map: &Map| own.map(|row| map.map(|to| (0..LOW).map(|l| to[l] * row[l]).sum()));
        let down = |map: &Map| map.map(|to| std::array::from_fn(|l| (0..LOW).map(|k| to[k] * own[k][l]).sum()));
        let mut basis = [own, across(slope), down(slope), across(stretch), down(stretch)]
            .map(|map| -> [f64; LOW * LOW] { std::array::from_fn(|i| map[i / LOW][i % LOW]) });
        // A constant is explained by any picture.
        basis.iter_mut().for_each(|row| row[0] = 0.0);
        orthonormalise(&mut basis);
        let part = |odd: usize| basis.map(|row| std::array::from_fn(|i| libm::round(row[2 * i + odd] * LENGTH) as i16));
        Moves { even: part(0), odd: part(1) }
    }

    /// The share in [0, 1] of the other sketch, or of its mirror image, that small moves explain.
    pub fn explained(&self, other: &Sketch, mirrored: bool) -> f64 {
        let squares = squares(self, other, if mirrored { -1 } else { 1 });
        squares / (LENGTH * LENGTH * LENGTH * LENGTH)
    }
}

widest! { avx2:
    /// The sum of the squares of the other's products with the basis.
    fn squares(moves: &Moves, other: &Sketch, sign: i32) -> f64 = squares_plain
}

#[inline(always)]
fn squares_plain(moves: &Moves, other: &Sketch, sign: i32) -> f64 {
    let mut squares = 0.0;
    for kind in 0..KINDS {
        let (mut even, mut odd) = (0, 0);
        for i in 0..PART {
            even += i32::from(moves.even[kind][i]) * i32::from(other.even[i]);
            odd += i32::from(moves.odd[kind][i]) * i32::from(other.odd[i]);
        }
        let along = f64::from(even + sign * odd);
        squares += along * along;
    }
    squares
}

/// Of the cosines of a sketch along one axis: their derivatives by shift, and by stretch about the middle.
fn derivatives() -> &'static [Map; 2] {
    static MAPS: OnceLock<[Map; 2]> = OnceLock::new();
    MAPS.get_or_init(|| {
        let slope = |k: usize, x: usize| -libm::sin(angle(k, x)) * PI * k as f64 / SIDE as f64;
        let place = |x: usize| x as f64 - (SIDE as f64 - 1.0) / 2.0;
        let map = |of: &dyn Fn(usize, usize) -> f64| -> Map {
            let sum = |to: usize, from: usize| (0..SIDE).map(|x| wave(to, x) * of(from, x)).sum::<f64>();
            std::array::from_fn(|to| std::array::from_fn(|from| sum(to, from) * 2.0 / SIDE as f64))
        };
        [map(&slope), map(&|k, x| slope(k, x) * place(x))]
    })
}

#[cfg(test)]
mod tests {
    use super::super::register::Grey;
    use super::*;

    /// Waves of low frequencies, moved to the right and stretched about the middle, in pixels and shares.
    fn picture(seed: usize, right: f32, wider: f32) -> Grey<SIDE> {
        let centre = (SIDE as f32 - 1.0) / 2.0;
        let value = |x: usize, y: usize| {
            let (x, y) = ((x as f32 - centre) * (1.0 + wider) + right, y as f32 - centre);
            let wave = |n: usize| {
                let [a, b, c] = [3, 5, 7].map(|k| ((seed * k + n * n * k + n) % 13) as f32 / 13.0 - 0.5);
                (0.5 * (a * x + b * y) + 6.0 * c).sin() * (1.0 + c)
            };
            128.0 + 30.0 * (0..4).map(wave).sum::<f32>()
        };
        Grey { values: std::array::from_fn(|y| std::array::from_fn(|x| value(x, y))) }
    }

    #[test]
    fn small_moves_are_explained_better_than_by_the_product_and_other_pictures_are_not() {
        for seed in 0..8 {
            let here = picture(seed, 0.0, 0.0);
            let own = Sketch::new(&here);
            let moves = Moves::new(&own);
            assert!(moves.explained(&own, false) > 0.999, "{seed}");
            for (right, wider) in [(0.8, 0.0), (-0.6, 0.04), (0.0, 0.05)] {
                let moved = picture(seed, right, wider);
                let sketch = Sketch::new(&moved);
                let product: f64 = own
                    .even
                    .iter()
                    .zip(&sketch.even)
                    .chain(own.odd.iter().zip(&sketch.odd))
                    .map(|(&a, &b)| f64::from(a) * f64::from(b))
                    .sum();
                let unmoved = (product / LENGTH / LENGTH) * (product / LENGTH / LENGTH);
                let found = moves.explained(&sketch, false);
                // Most of what the product leaves.
                assert!(
                    found <= 1.001 && 1.0 - found < 0.5 * (1.0 - unmoved),
                    "{seed} {right} {wider}: {unmoved} {found}"
                );
                assert_eq!(moves.explained(&Sketch::new(&moved.mirrored()), true), found, "{seed} {right} {wider}");
            }
            let other = moves.explained(&Sketch::new(&picture(seed + 1, 0.0, 0.0)), false);
            assert!(other < 0.6, "{seed}: {other}");
        }
    }

    #[test]
    fn wider_vectors_give_the_same_bits() {
        for seed in 0..20 {
            let moves = Moves::new(&Sketch::new(&picture(seed, 0.0, 0.0)));
            let other = Sketch::new(&picture(seed + 3, 0.3, 0.0));
            for sign in [-1, 1] {
                assert_eq!(squares(&moves, &other, sign), squares_plain(&moves, &other, sign), "{seed}");
            }
        }
    }
}
