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

use super::ssim_rows::{Filter, RADIUS, Row, WINDOW, deviations, less_squares, product, similarity, sum, weights};
use crate::error::{Error, Result};

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
    let (width, height) = checked(a)?;
    Ok(fresh_sum(a, b) / values(width, height))
}

/// Width and height of an image that is large enough.
fn checked(image: &RgbImage) -> Result<(usize, usize)> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    if width < WINDOW || height < WINDOW {
        return Err(Error::input_help(
            format!("SSIM needs images of at least {WINDOW}x{WINDOW} pixels, this one is {width}x{height}"),
            "enlarge the images, or leave the small ones out",
        ));
    }
    Ok((width, height))
}

/// How many values a pair's mean is over.
fn values(width: usize, height: usize) -> f64 {
    (3 * (width - 2 * RADIUS) * (height - 2 * RADIUS)) as f64
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
        let (width, height) = checked(image)?;
        let mut planes = [0; 3].map(|_| Vec::with_capacity(width * height));
        for (channel, plane) in planes.iter_mut().enumerate() {
            plane.extend(image.as_raw().as_chunks::<3>().0.iter().map(|pixel| pixel[channel]));
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
        sum / values(self.width, self.height)
    }
}

impl Channel {
    fn new(pixels: Vec<u8>, width: usize, height: usize) -> Channel {
        let total: u64 = pixels.iter().map(|&pixel| u64::from(pixel)).sum();
        let centre = centre(total, pixels.len());
        let (means, variances) = moments(&pixels, centre, width, height);
        Channel { pixels, centre, means, variances }
    }
}

/// A channel's mean, rounded down.
fn centre(total: u64, pixels: usize) -> f32 {
    (total / pixels as u64) as f32
}

widest! { avx512:
    /// Each window's mean (less the centre) and variance.
    fn moments(pixels: &[u8], centre: f32, width: usize, height: usize) -> (Vec<f32>, Vec<f32>) = moments_plain
}

#[inline(always)]
fn moments_plain(pixels: &[u8], centre: f32, width: usize, height: usize) -> (Vec<f32>, Vec<f32>) {
    let weights = weights();
    let windows = (width - 2 * RADIUS) * (height - 2 * RADIUS);
    let (mut means, mut variances) = (Vec::with_capacity(windows), Vec::with_capacity(windows));
    let (mut line, mut square, centres) = (Row::new(width), Row::new(width), vec![centre; width]);
    let (mut mean, mut variance) = (Filter::new(width, 1), Filter::new(width, 1));
    for y in 0..height {
        deviations(&pixels[y * width..], &centres, &mut line);
        product(&line, &line, &mut square);
        variance.push(y, &square, &weights);
        if mean.push(y, &line, &weights) {
            less_squares(&mut variance.row, &mean.row);
            means.extend_from_slice(&mean.row);
            variances.extend_from_slice(&variance.row);
        }
    }
    (means, variances)
}

pub(super) fn different_sizes(metric: &str, a: (u32, u32), b: (u32, u32)) -> Error {
    Error::input_help(
        format!("{metric} compares images of one size, these are {}x{} and {}x{}", a.0, a.1, b.0, b.1),
        "resize both to the same width and height first",
    )
}

widest! { avx512:
    /// The sum over all windows of one channel's SSIM.
    fn channel_sum(a: &Channel, b: &Channel, width: usize, height: usize) -> f64 = channel_sum_plain
}

#[inline(always)]
fn channel_sum_plain(a: &Channel, b: &Channel, width: usize, height: usize) -> f64 {
    let weights = weights();
    let inner = width - 2 * RADIUS;
    let (mut line_a, mut line_b, mut both) = (Row::new(width), Row::new(width), Row::new(width));
    let (centres_a, centres_b) = (vec![a.centre; width], vec![b.centre; width]);
    let mut filter = Filter::new(width, 1);
    let mut total = 0.0;
    for y in 0..height {
        deviations(&a.pixels[y * width..], &centres_a, &mut line_a);
        deviations(&b.pixels[y * width..], &centres_b, &mut line_b);
        product(&line_a, &line_b, &mut both);
        if filter.push(y, &both, &weights) {
            let from = (y + 1 - WINDOW) * inner;
            let means = [&a.means[from..], &b.means[from..]];
            let variances = [&a.variances[from..], &b.variances[from..]];
            similarity(&mut filter.row, [&centres_a, &centres_b], means, variances);
            total += sum::<1>(&filter.row)[0];
        }
    }
    total
}

widest! { avx512:
    /// The sum over all windows and channels of two images that are compared once: what [`channel_sum`] gives of prepared ones,
    /// bit by bit, without keeping their moments.
    fn fresh_sum(a: &RgbImage, b: &RgbImage) -> f64 = fresh_sum_plain
}

#[inline(always)]
fn fresh_sum_plain(a: &RgbImage, b: &RgbImage) -> f64 {
    let (width, height) = (a.width() as usize, a.height() as usize);
    let weights = weights();
    let n = 3 * width;
    let (centres_a, centres_b) = (centres(a), centres(b));
    let (mut line_a, mut line_b, mut line) = (Row::new(n), Row::new(n), Row::new(n));
    let (mut mean_a, mut mean_b) = (Filter::new(width, 3), Filter::new(width, 3));
    let (mut variance_a, mut variance_b) = (Filter::new(width, 3), Filter::new(width, 3));
    let mut both = Filter::new(width, 3);
    let mut totals = [0.0; 3];
    for y in 0..height {
        deviations(&a.as_raw()[y * n..], &centres_a, &mut line_a);
        deviations(&b.as_raw()[y * n..], &centres_b, &mut line_b);
        mean_a.push(y, &line_a, &weights);
        mean_b.push(y, &line_b, &weights);
        product(&line_a, &line_a, &mut line);
        variance_a.push(y, &line, &weights);
        product(&line_b, &line_b, &mut line);
        variance_b.push(y, &line, &weights);
        product(&line_a, &line_b, &mut line);
        if both.push(y, &line, &weights) {
            less_squares(&mut variance_a.row, &mean_a.row);
            less_squares(&mut variance_b.row, &mean_b.row);
            let means = [&*mean_a.row, &*mean_b.row];
            similarity(&mut both.row, [&centres_a, &centres_b], means, [&variance_a.row, &variance_b.row]);
            let sums = sum::<3>(&both.row);
            totals = [totals[0] + sums[0], totals[1] + sums[1], totals[2] + sums[2]];
        }
    }
    totals[0] + totals[1] + totals[2]
}

/// The centres of an image's channels, for each value of a row.
fn centres(image: &RgbImage) -> Vec<f32> {
    let pixels = image.as_raw().as_chunks::<3>().0;
    let mut totals = [0u64; 3];
    for pixels in pixels.chunks(1 << 16) {
        let mut sums = [0u32; 3];
        for [r, g, b] in pixels {
            sums = [sums[0] + u32::from(*r), sums[1] + u32::from(*g), sums[2] + u32::from(*b)];
        }
        totals.iter_mut().zip(sums).for_each(|(total, sum)| *total += u64::from(sum));
    }
    totals.map(|total| centre(total, pixels.len())).repeat(image.width() as usize)
}

#[cfg(test)]
#[path = "ssim_tests.rs"]
mod tests;
