//! Row by row, the arithmetic of SSIM: the Gaussian window that moves down an image, and equation 13 of the paper on what it
//! leaves. Plain f32 additions and multiplications in a fixed order. Knows no images. Everything is inlined into its callers,
//! which are compiled for the machine's vectors.

/// Pixels from a window's centre to its edge.
pub(super) const RADIUS: usize = 5;
/// Pixels a side of the window.
pub(super) const WINDOW: usize = 2 * RADIUS + 1;
/// (K1 L)^2 and (K2 L)^2 of the paper's equations 6 to 13.
const C1: f32 = (0.01 * 255.0) * (0.01 * 255.0);
const C2: f32 = (0.03 * 255.0) * (0.03 * 255.0);
/// Independent partial sums of a row; fixed, so that the order of additions is.
const LANES: usize = 16;

/// Half of the normalised Gaussian: the weights at distances 5, 4, 3, 2, 1, 0 from the centre.
pub(super) fn gaussian() -> [f64; RADIUS + 1] {
    let weight = |distance: usize| libm::exp(-0.5 * (distance as f64 / 1.5) * (distance as f64 / 1.5));
    let total: f64 = weight(0) + 2.0 * (1..=RADIUS).map(weight).sum::<f64>();
    std::array::from_fn(|i| weight(RADIUS - i) / total)
}

pub(super) fn weights() -> [f32; RADIUS + 1] {
    gaussian().map(|weight| weight as f32)
}

/// Runs the separable window over the rows that `fill` writes (`width` values each) and hands each filtered row
/// (`width - 10` values, `height - 10` of them) to `take`.
#[inline(always)]
pub(super) fn windows(
    width: usize,
    height: usize,
    mut fill: impl FnMut(usize, &mut [f32]),
    mut take: impl FnMut(usize, &mut [f32]),
) {
    let weights = weights();
    let mut line = vec![0.0f32; width];
    let mut filter = Filter::new(width);
    for y in 0..height {
        fill(y, &mut line);
        if filter.push(y, &line, &weights) {
            take(y + 1 - WINDOW, &mut filter.row);
        }
    }
}

/// A separable window moving down an image.
pub(super) struct Filter {
    /// The last eleven rows after the horizontal pass, oldest overwritten first.
    ring: Vec<f32>,
    /// The filtered row.
    pub row: Vec<f32>,
}

impl Filter {
    pub fn new(width: usize) -> Filter {
        let inner = width - 2 * RADIUS;
        Filter { ring: vec![0.0; WINDOW * inner], row: vec![0.0; inner] }
    }

    /// Takes row `y` of the image, and says whether there is a filtered row now: that of `y - 10`.
    #[inline(always)]
    pub fn push(&mut self, y: usize, line: &[f32], weights: &[f32; RADIUS + 1]) -> bool {
        let inner = self.row.len();
        let taps: [&[f32]; WINDOW] = std::array::from_fn(|k| &line[k..k + inner]);
        weigh(&taps, weights, &mut self.ring[y % WINDOW * inner..][..inner]);
        if y + 1 < WINDOW {
            return false;
        }
        let taps: [&[f32]; WINDOW] = std::array::from_fn(|k| &self.ring[(y + 1 + k) % WINDOW * inner..][..inner]);
        weigh(&taps, weights, &mut self.row);
        true
    }
}

/// The product of two rows of pixels, each less its centre.
#[inline(always)]
pub(super) fn product(rows: [&[u8]; 2], centres: [f32; 2], out: &mut [f32]) {
    for ((out, &a), &b) in out.iter_mut().zip(rows[0]).zip(rows[1]) {
        *out = (f32::from(a) - centres[0]) * (f32::from(b) - centres[1]);
    }
}

/// The weighted sum of eleven equally long rows; those at equal distance are added first, so that a mirrored image
/// gives mirrored bits.
#[inline(always)]
fn weigh(taps: &[&[f32]; WINDOW], weights: &[f32; RADIUS + 1], out: &mut [f32]) {
    let n = out.len();
    let taps: [&[f32]; WINDOW] = std::array::from_fn(|k| &taps[k][..n]);
    for j in 0..n {
        let mut value = (taps[0][j] + taps[10][j]) * weights[0];
        value += (taps[1][j] + taps[9][j]) * weights[1];
        value += (taps[2][j] + taps[8][j]) * weights[2];
        value += (taps[3][j] + taps[7][j]) * weights[3];
        value += (taps[4][j] + taps[6][j]) * weights[4];
        out[j] = value + taps[5][j] * weights[5];
    }
}

/// Turns a row of windowed products into SSIM values (equation 13 of the paper).
#[inline(always)]
pub(super) fn similarity(row: &mut [f32], centres: [f32; 2], means: [&[f32]; 2], variances: [&[f32]; 2]) {
    let n = row.len();
    let (mean_a, mean_b, variance_a, variance_b) =
        (&means[0][..n], &means[1][..n], &variances[0][..n], &variances[1][..n]);
    for j in 0..n {
        let covariance = row[j] - mean_a[j] * mean_b[j];
        let (a, b) = (mean_a[j] + centres[0], mean_b[j] + centres[1]);
        let above = (2.0 * (a * b) + C1) * (2.0 * covariance + C2);
        let below = (a * a + b * b + C1) * (variance_a[j] + variance_b[j] + C2);
        row[j] = above / below;
    }
}

/// The sum of a row by a fixed tree of additions.
#[inline(always)]
pub(super) fn sum(row: &[f32]) -> f64 {
    let mut lanes = [0.0f32; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest: f64 = chunks.remainder().iter().map(|&value| f64::from(value)).sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().map(|&value| f64::from(value)).sum::<f64>() + rest
}
