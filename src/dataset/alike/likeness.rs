//! How much of one small grey picture is the other, once it lies over it: the score by which copies are told from
//! pictures of the same kind. Knows numbers, no photos.

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
    pub full: Grey,
    /// Softened, and softened at half the side.
    soft: Grey,
    pub coarse: Grey,
}

impl Levels {
    pub fn new(full: Grey) -> Levels {
        Levels { soft: full.softened(), coarse: full.halved().softened(), full }
    }
}

/// The score of two pictures in [0, 1]: whichever of the two laid over the other fits better. Given up with 0 where the
/// softened pictures explain less than the share `least` of each other's contrast.
pub(super) fn likeness(a: &Levels, b: &Levels, least: f64) -> f64 {
    one_way(a, b, least).max(one_way(b, a, least))
}

fn one_way(target: &Levels, source: &Levels, least: f64) -> f64 {
    let warp = register(&target.coarse, &source.coarse, Warp::default(), 10, least)
        .and_then(|warp| register(&target.soft, &source.soft, warp, 6, least));
    warp.map_or(0.0, |warp| score(&target.full, &source.full, warp))
}

/// The lesser of two means over the windows that the source covers: SSIM, and SSIM's structure with each window
/// weighted by its contrast. Even ground alone makes the first high, one strong outline alone the second.
fn score(target: &Grey, source: &Grey, warp: Warp) -> f64 {
    let n = target.side;
    let places = |axis: usize| -> Vec<Option<f64>> { (0..n).map(|p| warp.place(axis, p, n)).collect() };
    let (xs, ys) = (places(0), places(1));
    let first = |places: &[Option<f64>]| places.iter().position(Option::is_some);
    let last = |places: &[Option<f64>]| places.iter().rposition(Option::is_some);
    let (Some(left), Some(right), Some(top), Some(low)) = (first(&xs), last(&xs), first(&ys), last(&ys)) else {
        return 0.0;
    };
    let (width, height) = (right + 1 - left, low + 1 - top);
    let mut a = Vec::with_capacity(width * height);
    let mut b = Vec::with_capacity(width * height);
    for (y, v) in ys.iter().enumerate() {
        for (x, u) in xs.iter().enumerate() {
            let (Some(u), Some(v)) = (*u, *v) else { continue };
            a.push(target.values[y * n + x]);
            b.push(cubic(source, u, v));
        }
    }
    level(&a, &mut b);
    if width < WINDOW || height < WINDOW {
        return 0.0;
    }
    let (mut ssim, mut windows, mut shared, mut own) = (0.0, 0.0, 0.0, 0.0);
    for y in (0..=height - WINDOW).step_by(STRIDE) {
        for x in (0..=width - WINDOW).step_by(STRIDE) {
            let w = Moments::of((0..WINDOW * WINDOW).map(|i| {
                let at = (y + i / WINDOW) * width + x + i % WINDOW;
                (a[at], b[at])
            }));
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

/// Gives `b` the gain and bias with which it fits `a` best.
fn level(a: &[f64], b: &mut [f64]) {
    let all = Moments::of(a.iter().copied().zip(b.iter().copied()));
    let gain = if all.variance_b > 0.0 { (all.covariance / all.variance_b).clamp(0.3, 3.0) } else { 1.0 };
    b.iter_mut().for_each(|value| *value = all.mean_a + gain * (*value - all.mean_b));
}

struct Moments {
    mean_a: f64,
    mean_b: f64,
    variance_a: f64,
    variance_b: f64,
    covariance: f64,
}

impl Moments {
    fn of(pairs: impl Iterator<Item = (f64, f64)>) -> Moments {
        let (mut n, mut sa, mut sb, mut saa, mut sbb, mut sab) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
        for (a, b) in pairs {
            n += 1.0;
            sa += a;
            sb += b;
            saa += a * a;
            sbb += b * b;
            sab += a * b;
        }
        let (mean_a, mean_b) = (sa / n, sb / n);
        Moments {
            mean_a,
            mean_b,
            variance_a: (saa / n - mean_a * mean_a).max(0.0),
            variance_b: (sbb / n - mean_b * mean_b).max(0.0),
            covariance: sab / n - mean_a * mean_b,
        }
    }
}

/// The value at `(u, v)`, inside the picture, by Catmull-Rom's cubic; edges repeated.
fn cubic(grey: &Grey, u: f64, v: f64) -> f64 {
    let n = grey.side as isize;
    let weights = |f: f64| {
        [
            f * (-0.5 + f * (1.0 - 0.5 * f)),
            1.0 + f * f * (-2.5 + 1.5 * f),
            f * (0.5 + f * (2.0 - 1.5 * f)),
            f * f * (-0.5 + 0.5 * f),
        ]
    };
    let (x, y) = (u as isize, v as isize);
    let (wx, wy) = (weights(u - x as f64), weights(v - y as f64));
    let mut sum = 0.0;
    for (j, wy) in wy.iter().enumerate() {
        let row = ((y + j as isize - 1).clamp(0, n - 1) * n) as usize;
        let mut line = 0.0;
        for (i, wx) in wx.iter().enumerate() {
            line += wx * grey.values[row + (x + i as isize - 1).clamp(0, n - 1) as usize];
        }
        sum += wy * line;
    }
    sum
}
