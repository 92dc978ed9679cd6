//! How much of one small grey picture is the other, once it lies over it: the score by which copies are told from
//! pictures of the same kind. Knows numbers, no photos.

use super::face::{COARSE, SIDE};
use super::register::{Grey, Warp, register};

/// Side of a window, and how far apart windows are.
const WINDOW: usize = 7;
const STRIDE: usize = 2;
/// SSIM's constants for values in [0, 255].
const C1: f64 = (0.01 * 255.0) * (0.01 * 255.0);
const C2: f64 = (0.03 * 255.0) * (0.03 * 255.0);

/// A picture at the resolutions that are compared.
pub(super) struct Levels {
    /// As it is.
    pub full: Grey<SIDE>,
    /// Softened and centred, and softened at half the side.
    soft: Grey<SIDE>,
    pub coarse: Grey<COARSE>,
}

impl Levels {
    pub fn new(full: Grey<SIDE>) -> Levels {
        Levels { soft: full.softened().centred(), coarse: full.halved().softened(), full }
    }
}

/// The score of two pictures in [0, 1]: whichever of the two laid over the other fits better, each begun at its start (how
/// the second lies over the first, and the first over the second). Given up with 0 where the softened pictures explain
/// less than the share `least` of each other's contrast.
pub(super) fn likeness(a: &Levels, b: &Levels, starts: [Warp; 2], least: f64) -> f64 {
    let [here, there] = starts;
    one_way(a, b, here, least).max(one_way(b, a, there, least))
}

fn one_way(target: &Levels, source: &Levels, start: Warp, least: f64) -> f64 {
    let warp = register(&target.soft, &source.soft, start, least);
    warp.map_or(0.0, |warp| score(&target.full, &source.full, warp))
}

/// The lesser of two means over the windows that the source covers: SSIM, and SSIM's structure with each window
/// weighted by its contrast. Even ground alone makes the first high, one strong outline alone the second.
fn score(target: &Grey<SIDE>, source: &Grey<SIDE>, warp: Warp) -> f64 {
    let [Some((left, width)), Some((top, height))] = [0, 1].map(|axis| covered(warp, axis)) else { return 0.0 };
    if width < WINDOW || height < WINDOW {
        return 0.0;
    }
    let mut a = [[0.0; SIDE]; SIDE];
    for (row, values) in a.iter_mut().zip(&target.values[top..][..height]) {
        row.iter_mut().zip(&values[left..][..width]).for_each(|(a, &value)| *a = f64::from(value));
    }
    let mut b = cubic(source, warp);
    b.copy_within(top.., 0);
    b.iter_mut().for_each(|row| row.copy_within(left.., 0));
    level(&a, &mut b, width, height);
    let (mut ssim, mut windows, mut shared, mut own) = (0.0, 0.0, 0.0, 0.0);
    for y in (0..=height - WINDOW).step_by(STRIDE) {
        let mut columns = [Sums::default(); SIDE];
        for (a, b) in a[y..][..WINDOW].iter().zip(&b[y..]) {
            for (x, sums) in columns.iter_mut().enumerate() {
                sums.add(a[x], b[x]);
            }
        }
        for x in (0..=width - WINDOW).step_by(STRIDE) {
            let mut sums = Sums::default();
            columns[x..][..WINDOW].iter().for_each(|column| sums.join(column));
            let w = sums.moments((WINDOW * WINDOW) as f64);
            let luminance = (2.0 * w.mean_a * w.mean_b + C1) / (w.mean_a * w.mean_a + w.mean_b * w.mean_b + C1);
            ssim += luminance * (2.0 * w.covariance + C2) / (w.variance_a + w.variance_b + C2);
            windows += 1.0;
            shared += 2.0 * w.covariance;
            own += w.variance_a + w.variance_b;
        }
    }
    if own == 0.0 {
        return 0.0;
    }
    (ssim / windows).min(shared / own).clamp(0.0, 1.0)
}

/// The first of the target's pixels along an axis that the source covers, and their number.
fn covered(warp: Warp, axis: usize) -> Option<(usize, usize)> {
    let covered = |p: &usize| warp.place(axis, *p, SIDE).is_some();
    let first = (0..SIDE).find(covered)?;
    let last = (0..SIDE).rfind(covered)?;
    Some((first, last + 1 - first))
}

/// Gives `b` the gain and bias with which it fits `a` best.
fn level(a: &[[f64; SIDE]; SIDE], b: &mut [[f64; SIDE]; SIDE], width: usize, height: usize) {
    let mut sums = Sums::default();
    for (a, b) in a[..height].iter().zip(&*b) {
        a[..width].iter().zip(b).for_each(|(&a, &b)| sums.add(a, b));
    }
    let all = sums.moments((width * height) as f64);
    let gain = if all.variance_b > 0.0 { (all.covariance / all.variance_b).clamp(0.3, 3.0) } else { 1.0 };
    b.as_flattened_mut().iter_mut().for_each(|value| *value = all.mean_a + gain * (*value - all.mean_b));
}

/// Of pairs of values: the sums, the sums of squares, and that of the products.
#[derive(Clone, Copy, Default)]
struct Sums {
    a: f64,
    b: f64,
    aa: f64,
    bb: f64,
    ab: f64,
}

struct Moments {
    mean_a: f64,
    mean_b: f64,
    variance_a: f64,
    variance_b: f64,
    covariance: f64,
}

impl Sums {
    fn add(&mut self, a: f64, b: f64) {
        self.join(&Sums { a, b, aa: a * a, bb: b * b, ab: a * b });
    }

    fn join(&mut self, other: &Sums) {
        self.a += other.a;
        self.b += other.b;
        self.aa += other.aa;
        self.bb += other.bb;
        self.ab += other.ab;
    }

    /// Of so many pairs.
    fn moments(&self, n: f64) -> Moments {
        let (mean_a, mean_b) = (self.a / n, self.b / n);
        Moments {
            mean_a,
            mean_b,
            variance_a: (self.aa / n - mean_a * mean_a).max(0.0),
            variance_b: (self.bb / n - mean_b * mean_b).max(0.0),
            covariance: self.ab / n - mean_a * mean_b,
        }
    }
}

/// The source at the target's pixels, by Catmull-Rom's cubic, edges repeated; where it covers them.
fn cubic(source: &Grey<SIDE>, warp: Warp) -> [[f64; SIDE]; SIDE] {
    let weights = |f: f64| {
        [
            f * (-0.5 + f * (1.0 - 0.5 * f)),
            1.0 + f * f * (-2.5 + 1.5 * f),
            f * (0.5 + f * (2.0 - 1.5 * f)),
            f * f * (-0.5 + 0.5 * f),
        ]
    };
    // For each of the target's pixels along an axis the four that it is mixed from, and their shares.
    let taps = |axis: usize| -> [[(usize, f64); 4]; SIDE] {
        std::array::from_fn(|p| {
            let at = warp.inside(axis, p, SIDE);
            let weights = weights(at - (at as usize) as f64);
            std::array::from_fn(|i| ((at as usize + i).saturating_sub(1).min(SIDE - 1), weights[i]))
        })
    };
    let across = taps(0);
    let mut rows = [[0.0; SIDE]; SIDE];
    for (row, values) in rows.iter_mut().zip(&source.values) {
        for (value, taps) in row.iter_mut().zip(&across) {
            for &(x, weight) in taps {
                *value += weight * f64::from(values[x]);
            }
        }
    }
    let mut out = [[0.0; SIDE]; SIDE];
    for (row, taps) in out.iter_mut().zip(&taps(1)) {
        for &(y, weight) in taps {
            row.iter_mut().zip(&rows[y]).for_each(|(value, &line)| *value += weight * line);
        }
    }
    out
}
