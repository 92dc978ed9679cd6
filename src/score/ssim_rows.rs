//! Row by row, the arithmetic of SSIM: the Gaussian window that moves down an image, and equation 13 of the paper on what it
//! leaves. Plain f32 additions and multiplications in a fixed order. Knows no images. Everything is inlined into its callers,
//! which are compiled for the machine's vectors; so loops are written out: closures and iterators stay calls there, without
//! vectors.

#![expect(clippy::needless_range_loop, reason = "iterators are not inlined into functions with target features")]

use std::ops::{Deref, DerefMut};

/// Pixels from a window's centre to its edge.
pub(super) const RADIUS: usize = 5;
/// Pixels a side of the window.
pub(super) const WINDOW: usize = 2 * RADIUS + 1;
/// (K1 L)^2 and (K2 L)^2 of the paper's equations 6 to 13.
const C1: f32 = (0.01 * 255.0) * (0.01 * 255.0);
const C2: f32 = (0.03 * 255.0) * (0.03 * 255.0);
/// Independent partial sums of a row; fixed, so that the order of additions is.
const LANES: usize = 16;
/// Values in a cache line.
const LINE: usize = 16;

/// Half of the normalised Gaussian: the weights at distances 5, 4, 3, 2, 1, 0 from the centre.
pub(super) fn gaussian() -> [f64; RADIUS + 1] {
    let weight = |distance: usize| libm::exp(-0.5 * (distance as f64 / 1.5) * (distance as f64 / 1.5));
    let total: f64 = weight(0) + 2.0 * (1..=RADIUS).map(weight).sum::<f64>();
    std::array::from_fn(|i| weight(RADIUS - i) / total)
}

pub(super) fn weights() -> [f32; RADIUS + 1] {
    gaussian().map(|weight| weight as f32)
}

/// A row of values that begins at a cache line: a vector that straddles two is read in twice the time.
pub(super) struct Row {
    values: Vec<f32>,
    from: usize,
    len: usize,
}

impl Row {
    /// `len` zeros.
    pub fn new(len: usize) -> Row {
        let values = vec![0.0; len + LINE];
        let from = values.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
        Row { values, from, len }
    }
}

impl Deref for Row {
    type Target = [f32];

    #[inline(always)]
    fn deref(&self) -> &[f32] {
        &self.values[self.from..][..self.len]
    }
}

impl DerefMut for Row {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.from..][..self.len]
    }
}

/// A separable window moving down an image whose rows hold one channel, or several, pixel by pixel.
pub(super) struct Filter {
    channels: usize,
    /// The last eleven rows after the horizontal pass, oldest overwritten first.
    ring: [Row; WINDOW],
    /// The filtered row.
    pub row: Row,
}

impl Filter {
    pub fn new(width: usize, channels: usize) -> Filter {
        let inner = (width - 2 * RADIUS) * channels;
        Filter { channels, ring: std::array::from_fn(|_| Row::new(inner)), row: Row::new(inner) }
    }

    /// Takes row `y` of the image, and says whether there is a filtered row now: that of `y - 10`.
    #[inline(always)]
    pub fn push(&mut self, y: usize, line: &[f32], weights: &[f32; RADIUS + 1]) -> bool {
        let inner = self.row.len;
        let mut taps: [&[f32]; WINDOW] = [&[]; WINDOW];
        for k in 0..WINDOW {
            taps[k] = &line[k * self.channels..][..inner];
        }
        weigh(&taps, weights, &mut self.ring[y % WINDOW]);
        if y + 1 < WINDOW {
            return false;
        }
        for k in 0..WINDOW {
            taps[k] = &self.ring[(y + 1 + k) % WINDOW];
        }
        weigh(&taps, weights, &mut self.row);
        true
    }
}

/// A row of values, each less its centre.
#[inline(always)]
pub(super) fn deviations(row: &[u8], centres: &[f32], out: &mut [f32]) {
    let n = out.len();
    let (row, centres) = (&row[..n], &centres[..n]);
    for x in 0..n {
        out[x] = f32::from(row[x]) - centres[x];
    }
}

/// The product of two rows of deviations.
#[inline(always)]
pub(super) fn product(a: &[f32], b: &[f32], out: &mut [f32]) {
    let n = out.len();
    let (a, b) = (&a[..n], &b[..n]);
    for x in 0..n {
        out[x] = a[x] * b[x];
    }
}

/// Subtracts the squares of means from the means of squares, which leaves variances.
#[inline(always)]
pub(super) fn less_squares(row: &mut [f32], means: &[f32]) {
    let n = row.len();
    let means = &means[..n];
    for x in 0..n {
        row[x] -= means[x] * means[x];
    }
}

/// The weighted sum of eleven equally long rows; those at equal distance are added first, so that a mirrored image
/// gives mirrored bits.
#[inline(always)]
fn weigh(taps: &[&[f32]; WINDOW], weights: &[f32; RADIUS + 1], out: &mut [f32]) {
    let n = out.len();
    let [a, b, c, d, e, f, g, h, i, j, k] = *taps;
    let (a, b, c, d, e, f) = (&a[..n], &b[..n], &c[..n], &d[..n], &e[..n], &f[..n]);
    let (g, h, i, j, k) = (&g[..n], &h[..n], &i[..n], &j[..n], &k[..n]);
    for x in 0..n {
        let mut value = (a[x] + k[x]) * weights[0];
        value += (b[x] + j[x]) * weights[1];
        value += (c[x] + i[x]) * weights[2];
        value += (d[x] + h[x]) * weights[3];
        value += (e[x] + g[x]) * weights[4];
        out[x] = value + f[x] * weights[5];
    }
}

/// Turns a row of windowed products into SSIM values (equation 13 of the paper).
#[inline(always)]
pub(super) fn similarity(row: &mut [f32], centres: [&[f32]; 2], means: [&[f32]; 2], variances: [&[f32]; 2]) {
    let n = row.len();
    let (centre_a, centre_b) = (&centres[0][..n], &centres[1][..n]);
    let (mean_a, mean_b) = (&means[0][..n], &means[1][..n]);
    let (variance_a, variance_b) = (&variances[0][..n], &variances[1][..n]);
    for x in 0..n {
        let covariance = row[x] - mean_a[x] * mean_b[x];
        let (a, b) = (mean_a[x] + centre_a[x], mean_b[x] + centre_b[x]);
        let above = (2.0 * (a * b) + C1) * (2.0 * covariance + C2);
        let below = (a * a + b * b + C1) * (variance_a[x] + variance_b[x] + C2);
        row[x] = above / below;
    }
}

/// The sum of each of `N` channels in a row, by a tree of additions that does not depend on `N`.
#[inline(always)]
pub(super) fn sum<const N: usize>(row: &[f32]) -> [f64; N] {
    let mut lanes = [[0.0f32; N]; LANES];
    let pixels = row.as_chunks::<N>().0;
    let whole = pixels.len() / LANES * LANES;
    let mut at = 0;
    while at < whole {
        let chunk = &pixels[at..at + LANES];
        for lane in 0..LANES {
            for channel in 0..N {
                lanes[lane][channel] += chunk[lane][channel];
            }
        }
        at += LANES;
    }
    let (mut total, mut rest) = ([0.0; N], [0.0; N]);
    for channel in 0..N {
        for lane in 0..LANES {
            total[channel] += f64::from(lanes[lane][channel]);
        }
        for pixel in &pixels[whole..] {
            rest[channel] += f64::from(pixel[channel]);
        }
        total[channel] += rest[channel];
    }
    total
}
