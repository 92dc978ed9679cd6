//! SSIM of image pairs, and the nearest of many images for the copy guard. Knows no files and no thresholds.
//!
//! Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural similarity" (2004):
//! Gaussian window of 11x11, sigma 1.5, K1 = 0.01, K2 = 0.03, range 255, population variances; the mean over the
//! pixels whose whole window lies inside the image (no padding), then over the three channels. That is
//! scikit-image's `structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
//! data_range=255, channel_axis=2)`.
//!
//! Each image's local means and variances are computed once; a pair then costs one separable window over the product
//! of the pixels. Only plain f32 additions and multiplications in a fixed order are used, so that a pair's bits depend
//! neither on the machine's vector width nor on the number of threads.

use image::RgbImage;
use rayon::prelude::*;

use crate::error::{Error, Result};

/// Pixels from a window's centre to its edge.
pub(super) const RADIUS: usize = 5;
/// Pixels a side of the window.
const WINDOW: usize = 2 * RADIUS + 1;
/// (K1 L)^2 and (K2 L)^2 of the paper's equations 6 to 13.
const C1: f32 = (0.01 * 255.0) * (0.01 * 255.0);
const C2: f32 = (0.03 * 255.0) * (0.03 * 255.0);
/// Independent partial sums of a row; fixed, so that the order of additions is.
const LANES: usize = 16;

/// An image ready to be compared with many: three planes of pixels with the local moments of each window.
#[derive(Clone)]
pub struct Prepared {
    width: usize,
    height: usize,
    channels: [Channel; 3],
}

/// One colour: pixels `[height, width]`, and moments `[height - 10, width - 10]`.
#[derive(Clone)]
struct Channel {
    pixels: Vec<u8>,
    /// The whole channel's mean, rounded; subtracted from pixels before they are multiplied: covariances stay the
    /// same, and f32 loses far less to cancellation.
    centre: f32,
    /// Window mean, less the centre.
    means: Vec<f32>,
    variances: Vec<f32>,
}

/// The image among many that resembles a candidate most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nearest {
    /// Its place in the list that was searched.
    pub index: usize,
    /// Whether it was the candidate's mirror image that resembles it so.
    pub flipped: bool,
    /// In [-1, 1]; 1 only for equal images.
    pub ssim: f64,
}

/// SSIM of two images in [-1, 1], symmetric, exactly 1 for equal images.
///
/// # Errors
/// Images of different sizes, or smaller than the window of 11x11 pixels.
pub fn ssim(a: &RgbImage, b: &RgbImage) -> Result<f64> {
    if a.dimensions() != b.dimensions() {
        return Err(different_sizes("SSIM", a.dimensions(), b.dimensions()));
    }
    Prepared::new(a)?.ssim(&Prepared::new(b)?)
}

/// The one of `many` with the greatest SSIM to the candidate, or to its mirror image too if `flips`: the exact maximum
/// over all. Of equals the first in the list, and the unflipped before the flipped; `None` only if `many` is empty.
///
/// # Errors
/// An image of another size than the candidate's; compare at one size.
pub fn nearest(candidate: &Prepared, many: &[&Prepared], flips: bool) -> Result<Option<Nearest>> {
    let found = compare(candidate, many, flips)?;
    let mut best: Option<Nearest> = None;
    for one in found {
        if best.is_none_or(|best| one.ssim > best.ssim) {
            best = Some(one);
        }
    }
    Ok(best)
}

/// The SSIM of the candidate (or of its mirror image, where `flips` and that is greater) to each of `many`, in order.
///
/// # Errors
/// As [`nearest`].
pub fn compare(candidate: &Prepared, many: &[&Prepared], flips: bool) -> Result<Vec<Nearest>> {
    if let Some(other) = many.iter().find(|other| other.size() != candidate.size()) {
        return Err(different_sizes("SSIM", candidate.size(), other.size()));
    }
    let mirror = flips.then(|| candidate.flipped());
    let one = |(index, other): (usize, &&Prepared)| {
        let straight = candidate.mean_with(other);
        let mirrored = mirror.as_ref().map_or(f64::NEG_INFINITY, |mirror| mirror.mean_with(other));
        Nearest { index, flipped: mirrored > straight, ssim: straight.max(mirrored) }
    };
    Ok(many.par_iter().enumerate().map(one).collect())
}

impl Prepared {
    /// Computes the moments of every window.
    ///
    /// # Errors
    /// An image smaller than 11x11.
    pub fn new(image: &RgbImage) -> Result<Prepared> {
        let (width, height) = (image.width() as usize, image.height() as usize);
        if width < WINDOW || height < WINDOW {
            return Err(Error::input_help(
                format!("SSIM needs images of at least {WINDOW}x{WINDOW} pixels, this one is {width}x{height}"),
                "enlarge the images, or leave the small ones out",
            ));
        }
        let mut planes = [0; 3].map(|_| Vec::with_capacity(width * height));
        for pixel in image.as_raw().as_chunks::<3>().0 {
            planes.iter_mut().zip(pixel).for_each(|(plane, &value)| plane.push(value));
        }
        let channels = planes.map(|pixels| Channel::new(pixels, width, height));
        Ok(Prepared { width, height, channels })
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.width as u32, self.height as u32)
    }

    /// The same image seen in a mirror (left and right exchanged); its bits are those of preparing the mirrored image.
    pub fn flipped(&self) -> Prepared {
        let mut mirror = self.clone();
        for channel in &mut mirror.channels {
            channel.pixels.chunks_exact_mut(self.width).for_each(|row| row.reverse());
            channel.means.chunks_exact_mut(self.width - 2 * RADIUS).for_each(|row| row.reverse());
            channel.variances.chunks_exact_mut(self.width - 2 * RADIUS).for_each(|row| row.reverse());
        }
        mirror
    }

    /// As [`ssim`], of images already prepared.
    ///
    /// # Errors
    /// Images of different sizes.
    pub fn ssim(&self, other: &Prepared) -> Result<f64> {
        if self.size() != other.size() {
            return Err(different_sizes("SSIM", self.size(), other.size()));
        }
        Ok(self.mean_with(other))
    }

    /// Sizes are equal: the callers have checked.
    fn mean_with(&self, other: &Prepared) -> f64 {
        let sum: f64 =
            self.channels.iter().zip(&other.channels).map(|(a, b)| channel_sum(a, b, self.width, self.height)).sum();
        sum / (3 * (self.width - 2 * RADIUS) * (self.height - 2 * RADIUS)) as f64
    }
}

impl Channel {
    fn new(pixels: Vec<u8>, width: usize, height: usize) -> Channel {
        let total: u64 = pixels.iter().map(|&pixel| u64::from(pixel)).sum();
        let centre = (total / pixels.len() as u64) as f32;
        let (means, variances) = moments(&pixels, centre, width, height);
        Channel { pixels, centre, means, variances }
    }
}

/// Each window's mean (less the centre) and variance, by the widest vectors that the machine has.
fn moments(pixels: &[u8], centre: f32, width: usize, height: usize) -> (Vec<f32>, Vec<f32>) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the machine has AVX2, as was just asked.
        return unsafe { moments_avx2(pixels, centre, width, height) };
    }
    moments_plain(pixels, centre, width, height)
}

/// The same code, compiled for eight f32 at once; without fused multiply-add, which would round differently.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn moments_avx2(pixels: &[u8], centre: f32, width: usize, height: usize) -> (Vec<f32>, Vec<f32>) {
    moments_plain(pixels, centre, width, height)
}

#[inline(always)]
fn moments_plain(pixels: &[u8], centre: f32, width: usize, height: usize) -> (Vec<f32>, Vec<f32>) {
    let row_of = |y: usize| &pixels[y * width..][..width];
    let inner = width - 2 * RADIUS;
    let mut means: Vec<f32> = Vec::with_capacity(inner * (height - 2 * RADIUS));
    let mut variances: Vec<f32> = Vec::with_capacity(inner * (height - 2 * RADIUS));
    let plain = |y: usize, out: &mut [f32]| {
        out.iter_mut().zip(row_of(y)).for_each(|(out, &pixel)| *out = f32::from(pixel) - centre);
    };
    windows(width, height, plain, |_, row| means.extend_from_slice(row));
    let square = |y: usize, out: &mut [f32]| product([row_of(y); 2], [centre; 2], out);
    windows(width, height, square, |y, row| {
        row.iter_mut().zip(&means[y * inner..]).for_each(|(value, mean)| *value -= mean * mean);
        variances.extend_from_slice(row);
    });
    (means, variances)
}

pub(super) fn different_sizes(metric: &str, a: (u32, u32), b: (u32, u32)) -> Error {
    Error::input_help(
        format!("{metric} compares images of one size, these are {}x{} and {}x{}", a.0, a.1, b.0, b.1),
        "resize both to the same width and height first",
    )
}

/// Half of the normalised Gaussian: the weights at distances 5, 4, 3, 2, 1, 0 from the centre.
pub(super) fn gaussian() -> [f64; RADIUS + 1] {
    let weight = |distance: usize| libm::exp(-0.5 * (distance as f64 / 1.5) * (distance as f64 / 1.5));
    let total: f64 = weight(0) + 2.0 * (1..=RADIUS).map(weight).sum::<f64>();
    std::array::from_fn(|i| weight(RADIUS - i) / total)
}

fn weights() -> [f32; RADIUS + 1] {
    gaussian().map(|weight| weight as f32)
}

/// The sum over all windows of one channel's SSIM, by the widest vectors that the machine has.
fn channel_sum(a: &Channel, b: &Channel, width: usize, height: usize) -> f64 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the machine has AVX2, as was just asked.
        return unsafe { channel_sum_avx2(a, b, width, height) };
    }
    channel_sum_plain(a, b, width, height)
}

/// The same code, compiled for eight f32 at once; without fused multiply-add, which would round differently.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn channel_sum_avx2(a: &Channel, b: &Channel, width: usize, height: usize) -> f64 {
    channel_sum_plain(a, b, width, height)
}

#[inline(always)]
fn channel_sum_plain(a: &Channel, b: &Channel, width: usize, height: usize) -> f64 {
    let inner = width - 2 * RADIUS;
    let mut total = 0.0;
    windows(
        width,
        height,
        |y, row| {
            let at = y * width..(y + 1) * width;
            product([&a.pixels[at.clone()], &b.pixels[at]], [a.centre, b.centre], row);
        },
        |y, row| {
            let at = y * inner..(y + 1) * inner;
            let means = [&a.means[at.clone()], &b.means[at.clone()]];
            similarity(row, [a.centre, b.centre], means, [&a.variances[at.clone()], &b.variances[at]]);
            total += sum(row);
        },
    );
    total
}

/// Runs the separable window over the rows that `fill` writes (`width` values each) and hands each filtered row
/// (`width - 10` values, `height - 10` of them) to `take`.
#[inline(always)]
fn windows(
    width: usize,
    height: usize,
    mut fill: impl FnMut(usize, &mut [f32]),
    mut take: impl FnMut(usize, &mut [f32]),
) {
    let weights = weights();
    let inner = width - 2 * RADIUS;
    let mut line = vec![0.0f32; width];
    let mut filtered = vec![0.0f32; inner];
    // The last eleven rows after the horizontal pass, oldest overwritten first.
    let mut ring = vec![0.0f32; WINDOW * inner];
    for y in 0..height {
        fill(y, &mut line);
        let slot = y % WINDOW;
        let taps: [&[f32]; WINDOW] = std::array::from_fn(|k| &line[k..k + inner]);
        weigh(&taps, &weights, &mut ring[slot * inner..][..inner]);
        if y + 1 >= WINDOW {
            let taps: [&[f32]; WINDOW] = std::array::from_fn(|k| &ring[(y + 1 + k) % WINDOW * inner..][..inner]);
            weigh(&taps, &weights, &mut filtered);
            take(y + 1 - WINDOW, &mut filtered);
        }
    }
}

/// The product of two rows of pixels, each less its centre.
#[inline(always)]
fn product(rows: [&[u8]; 2], centres: [f32; 2], out: &mut [f32]) {
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
fn similarity(row: &mut [f32], centres: [f32; 2], means: [&[f32]; 2], variances: [&[f32]; 2]) {
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
fn sum(row: &[f32]) -> f64 {
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

#[cfg(test)]
#[path = "ssim_tests.rs"]
mod tests;
