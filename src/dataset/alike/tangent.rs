//! How well small moves of one coarse picture explain another: fast upper filters before the full comparison. Knows
//! numbers, no photos.
//!
//! The share of the other picture's contrast that lies in the span of this one, a constant, and its derivatives by shift
//! and stretch (Simard, LeCun, Denker, "Efficient Pattern Recognition Using a New Transformation Distance", 1993); and the
//! same after the other was moved as that says, a few times over (Baker and Matthews, "Lucas-Kanade 20 Years On", 2004:
//! inverse composition, so that the derivatives are taken once). What [`super::register`] does, ten times as fast and
//! less exactly. The order of additions is fixed: the same on every machine.

use super::register::{Grey, UNKNOWNS, Warp, between};

/// Side of the coarse pictures.
const SIDE: usize = 16;
const LEN: usize = SIDE * SIDE;
/// Pixels but for the edge, where slopes are not known.
const INNER: usize = (SIDE - 2) * (SIDE - 2);
/// Between the first and the last of them.
const ROWS: std::ops::Range<usize> = SIDE..LEN - SIDE;
const LANES: usize = 8;
const CENTRE: f64 = (SIDE as f64 - 1.0) / 2.0;

/// A coarse picture as what is explained.
#[derive(Clone)]
pub(super) struct Patch {
    /// Less the middle grey.
    values: [f32; LEN],
    /// Sum of the squares of the inner values less their mean.
    contrast: f32,
}

/// What a picture becomes by small moves: itself and four derivatives as an orthonormal basis, and how to tell from a sum
/// of that basis which moves it is.
pub(super) struct Tangent {
    /// 0 at the edge.
    basis: [[f32; LEN]; UNKNOWNS - 1],
    /// Lower triangle: the j-th picture is the sum of `parts[j][i]` times the i-th of the basis.
    parts: [[f64; UNKNOWNS - 1]; UNKNOWNS - 1],
}

impl Patch {
    /// Of a picture of 16x16.
    pub fn new(coarse: &Grey) -> Patch {
        debug_assert_eq!(coarse.side, SIDE);
        let values: [f32; LEN] = std::array::from_fn(|i| (coarse.values[i] - 128.0) as f32);
        let (mut sum, mut squares) = (0.0, 0.0);
        for at in inner() {
            sum += coarse.values[at] - 128.0;
            squares += (coarse.values[at] - 128.0) * (coarse.values[at] - 128.0);
        }
        Patch { values, contrast: (squares - sum * sum / INNER as f64) as f32 }
    }

    /// As it is once moved.
    #[inline(always)]
    fn moved(&self, warp: &Warp) -> Patch {
        // Columns and rows to take from, and how far to the next.
        let places = |axis: usize| -> [(usize, f32); SIDE] {
            std::array::from_fn(|p| {
                let at = warp.at(axis, p, SIDE).clamp(0.0, SIDE as f64 - 1.0);
                let (before, part) = between(at, SIDE);
                (before, part as f32)
            })
        };
        let (xs, ys) = (places(0), places(1));
        let mut values = [0.0; LEN];
        let (mut sum, mut squares) = (0.0, 0.0);
        for y in 1..SIDE - 1 {
            let (from, part) = ys[y];
            let rows = &self.values[from * SIDE..(from + 2) * SIDE];
            let row: [f32; SIDE] = std::array::from_fn(|x| rows[x] + (rows[SIDE + x] - rows[x]) * part);
            for x in 1..SIDE - 1 {
                let (from, part) = xs[x];
                let value = row[from] + (row[from + 1] - row[from]) * part;
                values[y * SIDE + x] = value;
                sum += value;
                squares += value * value;
            }
        }
        Patch { values, contrast: squares - sum * sum / INNER as f32 }
    }
}

impl Tangent {
    /// Of a picture of 16x16. Moves that change nothing in it explain nothing.
    pub fn new(coarse: &Grey) -> Tangent {
        debug_assert_eq!(coarse.side, SIDE);
        let grey = &coarse.values;
        let mut basis = [[0.0f64; LEN]; UNKNOWNS - 1];
        let mean = inner().map(|at| grey[at]).sum::<f64>() / INNER as f64;
        for at in inner() {
            let across = (grey[at + 1] - grey[at - 1]) / 2.0;
            let down = (grey[at + SIDE] - grey[at - SIDE]) / 2.0;
            let (x, y) = ((at % SIDE) as f64 - CENTRE, (at / SIDE) as f64 - CENTRE);
            for (row, value) in basis.iter_mut().zip([grey[at] - mean, across, down, across * x, down * y]) {
                row[at] = value;
            }
        }
        // A constant is explained by any picture: nothing here has a part of it.
        for row in &mut basis[1..] {
            let mean = row[ROWS].iter().sum::<f64>() / INNER as f64;
            inner().for_each(|at| row[at] -= mean);
        }
        // Gram and Schmidt's, each new one less its parts of those before.
        let mut parts = [[0.0; UNKNOWNS - 1]; UNKNOWNS - 1];
        for (j, parts) in parts.iter_mut().enumerate() {
            let (done, rest) = basis.split_at_mut(j);
            let row = &mut rest[0];
            let whole = libm::sqrt(product(row, row));
            for (i, other) in done.iter().enumerate() {
                let along = product(row, other);
                parts[i] = along;
                row.iter_mut().zip(other).for_each(|(value, o)| *value -= along * o);
            }
            let left = libm::sqrt(product(row, row));
            let known = left > 1e-6 * whole;
            parts[j] = if known { left } else { 0.0 };
            row.iter_mut().for_each(|value| *value = if known { *value / left } else { 0.0 });
        }
        Tangent { basis: basis.map(|row| row.map(|value| value as f32)), parts }
    }

    /// Whether small moves of this picture explain the share `at_once` (in [0, 1]) of the patch's contrast, and the share
    /// `least` after at most so many moves of the patch.
    pub fn explains(&self, patch: &Patch, at_once: f32, moves: usize, least: f32) -> bool {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the machine has AVX2, as was just asked.
            return unsafe { self.explains_avx2(patch, at_once, moves, least) };
        }
        self.explains_plain(patch, at_once, moves, least)
    }

    // With wider vectors, and the same sums: nothing is contracted.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn explains_avx2(&self, patch: &Patch, at_once: f32, moves: usize, least: f32) -> bool {
        self.explains_plain(patch, at_once, moves, least)
    }

    #[inline(always)]
    fn explains_plain(&self, patch: &Patch, at_once: f32, moves: usize, least: f32) -> bool {
        let mut warp = Warp::default();
        let (mut share, mut along) = self.share(patch);
        if share < at_once {
            return false;
        }
        for _ in 0..moves {
            if share >= least {
                return true;
            }
            let Some(step) = self.step(&along) else { return false };
            warp = warp.less(&step);
            (share, along) = self.share(&patch.moved(&warp));
        }
        share >= least
    }

    /// Share of the contrast that is explained, and the parts of the basis in it.
    #[inline(always)]
    fn share(&self, patch: &Patch) -> (f32, [f32; UNKNOWNS - 1]) {
        let along = std::array::from_fn(|i| {
            let mut lanes = [0.0f32; LANES];
            let pairs = self.basis[i][ROWS].as_chunks().0.iter().zip(patch.values[ROWS].as_chunks().0);
            for (a, b) in pairs {
                let (a, b): (&[f32; LANES], &[f32; LANES]) = (a, b);
                for lane in 0..LANES {
                    lanes[lane] += a[lane] * b[lane];
                }
            }
            lanes.iter().sum::<f32>()
        });
        (along.iter().map(|a| a * a).sum::<f32>() / patch.contrast.max(1e-3), along)
    }

    /// Which move of this picture the sum of the basis is; `None` if it
    /// is no picture like this one.
    #[inline(always)]
    fn step(&self, along: &[f32; UNKNOWNS - 1]) -> Option<Warp> {
        let mut found = [0.0; UNKNOWNS - 1];
        for i in (0..found.len()).rev() {
            let rest: f64 = (i + 1..found.len()).map(|j| self.parts[j][i] * found[j]).sum();
            found[i] = if self.parts[i][i] > 0.0 { (f64::from(along[i]) - rest) / self.parts[i][i] } else { 0.0 };
        }
        let [gain, right, down, wider, higher] = found;
        let side = SIDE as f64;
        (0.2..=5.0)
            .contains(&gain)
            .then(|| Warp { shift: [right / gain / side, down / gain / side], stretch: [wider / gain, higher / gain] })
    }
}

/// Places of the inner pixels, row by row.
fn inner() -> impl Iterator<Item = usize> {
    (1..SIDE - 1).flat_map(|y| (1..SIDE - 1).map(move |x| y * SIDE + x))
}

fn product(a: &[f64; LEN], b: &[f64; LEN]) -> f64 {
    let mut lanes = [0.0; LANES];
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(right: f64, wider: f64) -> Grey {
        let value = |i: usize| {
            let (x, y) = ((i % SIDE) as f64 - CENTRE, (i / SIDE) as f64 - CENTRE);
            let x = x * (1.0 + wider) + right;
            // Two soft-edged blobs.
            let blob =
                |cx: f64, cy: f64| 1.0 / (1.0 + libm::pow((x - cx) * (x - cx) + (y - cy) * (y - cy), 2.0) / 12.0);
            90.0 + 80.0 * blob(-2.5, 1.0) - 60.0 * blob(3.0, -2.0)
        };
        Grey { side: SIDE, values: (0..LEN).map(value).collect() }
    }

    #[test]
    fn small_moves_are_explained_larger_ones_when_followed_and_other_pictures_never() {
        let here = Tangent::new(&picture(0.0, 0.0));
        let brighter = |grey: Grey| Grey { values: grey.values.iter().map(|v| 0.7 * v + 50.0).collect(), ..grey };
        assert!(here.share(&Patch::new(&brighter(picture(0.0, 0.0)))).0 > 0.999);
        assert!(here.share(&Patch::new(&picture(0.2, 0.0))).0 > 0.99);
        for (right, wider) in [(1.3, 0.0), (-0.9, 0.08)] {
            let patch = Patch::new(&brighter(picture(right, wider)));
            // Most of what is not explained at once is then.
            let left = 1.0 - here.share(&patch).0;
            assert!(left > 0.001 && here.explains(&patch, 0.0, 3, 1.0 - 0.3 * left), "{right} {wider}: {left}");
        }
        let turned = picture(0.0, 0.0);
        let turned = Grey { values: (0..LEN).map(|i| turned.values[i % SIDE * SIDE + i / SIDE]).collect(), ..turned };
        assert!(!here.explains(&Patch::new(&turned), 0.0, 3, 0.8));
    }

    #[test]
    fn wider_vectors_give_the_same_bits() {
        let here = Tangent::new(&picture(0.0, 0.0));
        let patch = Patch::new(&picture(0.7, 0.05));
        let share = here.share(&patch).0;
        assert!(here.explains(&patch, share, 0, share) && !here.explains(&patch, share.next_up(), 0, share));
        for n in 0..400 {
            let bound = 0.8 + n as f32 / 2000.0;
            for (at_once, least) in [(bound, bound), (0.0, bound)] {
                let found = here.explains(&patch, at_once, 2, least);
                assert_eq!(found, here.explains_plain(&patch, at_once, 2, least), "{at_once} {least}");
            }
        }
    }

    #[test]
    fn a_picture_without_slopes_explains_nothing_and_is_nothing() {
        let even = Grey { side: SIDE, values: vec![77.0; LEN] };
        assert!(Tangent::new(&even).share(&Patch::new(&picture(0.0, 0.0))).0 < 1e-3);
        assert!(!Tangent::new(&even).explains(&Patch::new(&picture(0.0, 0.0)), 0.0, 3, 0.1));
        assert!(Tangent::new(&picture(0.0, 0.0)).share(&Patch::new(&even)).0 < 1e-3);
    }
}
