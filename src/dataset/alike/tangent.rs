//! How well small moves of one coarse picture explain another: a fast upper filter before the full comparison. Knows
//! numbers, no photos.
//!
//! The first step of [`super::register`] without taking it (Simard, LeCun, Denker, "Efficient Pattern Recognition Using
//! a New Transformation Distance", 1993): the share of the other picture's contrast that lies in the span of this one,
//! a constant, and its derivatives by shift and stretch. The order of f32 additions is fixed: the same on every machine.

use super::register::{Grey, UNKNOWNS};

/// Side of the coarse pictures, and of what is left of them without their edge, where slopes are known.
const SIDE: usize = 16;
const INNER: usize = SIDE - 2;
/// `INNER` squared, filled up to whole vectors.
const LEN: usize = 200;
const LANES: usize = 8;

/// The inner pixels of a coarse picture less their mean, scaled to length 1; 0 beyond.
#[derive(Clone)]
pub(super) struct Patch([f32; LEN]);

/// An orthonormal basis of what a picture becomes by small moves.
pub(super) struct Tangent(Vec<[f32; LEN]>);

impl Patch {
    /// Of a picture of 16x16.
    pub fn new(coarse: &Grey) -> Patch {
        let inner = inner(coarse, |grey, at| grey.values[at]);
        let mean = inner.iter().sum::<f64>() / inner.len() as f64;
        let length = libm::sqrt(inner.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>()).max(1e-9);
        let mut out = [0.0; LEN];
        out.iter_mut().zip(inner).for_each(|(out, value)| *out = ((value - mean) / length) as f32);
        Patch(out)
    }
}

impl Tangent {
    /// Of a picture of 16x16.
    pub fn new(coarse: &Grey) -> Tangent {
        let middle = (SIDE as f64 - 1.0) / 2.0;
        let across = |grey: &Grey, at: usize| (grey.values[at + 1] - grey.values[at - 1]) / 2.0;
        let down = |grey: &Grey, at: usize| (grey.values[at + SIDE] - grey.values[at - SIDE]) / 2.0;
        let rows: [Vec<f64>; UNKNOWNS] = [
            inner(coarse, |_, _| 1.0),
            inner(coarse, |grey, at| grey.values[at]),
            inner(coarse, across),
            inner(coarse, down),
            inner(coarse, |grey, at| across(grey, at) * ((at % SIDE) as f64 - middle)),
            inner(coarse, |grey, at| down(grey, at) * ((at / SIDE) as f64 - middle)),
        ];
        let mut basis: Vec<Vec<f64>> = Vec::with_capacity(UNKNOWNS);
        for mut row in rows {
            let before = length(&row);
            for other in &basis {
                let along: f64 = row.iter().zip(other).map(|(a, b)| a * b).sum();
                row.iter_mut().zip(other).for_each(|(value, b)| *value -= along * b);
            }
            let left = length(&row);
            if left > 1e-6 * before {
                row.iter_mut().for_each(|value| *value /= left);
                basis.push(row);
            }
        }
        let narrow = |row: Vec<f64>| {
            let mut out = [0.0; LEN];
            out.iter_mut().zip(row).for_each(|(out, value)| *out = value as f32);
            out
        };
        // The constant explains nothing of a patch, whose mean is 0.
        Tangent(basis.into_iter().skip(1).map(narrow).collect())
    }

    /// Share of the patch's contrast that small moves of this picture explain, in [0, 1].
    pub fn explains(&self, patch: &Patch) -> f32 {
        self.0
            .iter()
            .map(|row| {
                let mut lanes = [0.0f32; LANES];
                for (a, b) in row.as_chunks::<LANES>().0.iter().zip(patch.0.as_chunks::<LANES>().0) {
                    for lane in 0..LANES {
                        lanes[lane] += a[lane] * b[lane];
                    }
                }
                let along: f32 = lanes.iter().sum();
                along * along
            })
            .sum()
    }
}

fn inner(coarse: &Grey, value: impl Fn(&Grey, usize) -> f64) -> Vec<f64> {
    debug_assert_eq!(coarse.side, SIDE);
    (0..INNER * INNER).map(|i| value(coarse, (i / INNER + 1) * SIDE + i % INNER + 1)).collect()
}

fn length(values: &[f64]) -> f64 {
    libm::sqrt(values.iter().map(|value| value * value).sum())
}
