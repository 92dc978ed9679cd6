//! MS-SSIM of image pairs: likeness of structure over five scales. Knows no files and no thresholds.
//!
//! Wang, Simoncelli, Bovik, "Multi-scale structural similarity for image quality assessment" (2003): the contrast and
//! structure terms of the four finer scales and the whole SSIM of the coarsest, each to its power, multiplied; the
//! windows and constants are those of [`super::ssim`]. In what the paper leaves open this follows torchmetrics'
//! `MultiScaleStructuralSimilarityIndexMeasure(data_range=255)`: scales are halved by the mean of 2x2 pixels, the terms
//! are averaged over all three channels before they are raised, over the windows that lie inside the image for the finer
//! scales and over all pixels, edges reflected, for the coarsest; a negative mean counts as 0.
//!
//! In f64, in a fixed order: the same bits on every machine.

use image::RgbImage;

use super::ssim::different_sizes;
use super::ssim_rows::{RADIUS, gaussian};
use crate::error::{Error, Result};

/// Powers of the scales, from the finest: the paper's section 3.2.
const POWERS: [f64; 5] = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333];
/// Shortest side: so that a window fits the coarsest scale.
pub const SMALLEST: u32 = (2 * RADIUS as u32 + 1) << (POWERS.len() - 1);
/// (K1 L)^2 and (K2 L)^2.
const C1: f64 = (0.01 * 255.0) * (0.01 * 255.0);
const C2: f64 = (0.03 * 255.0) * (0.03 * 255.0);

/// One colour of an image at one scale, row by row.
struct Plane {
    width: usize,
    height: usize,
    values: Vec<f64>,
}

/// MS-SSIM of two images in [0, 1], symmetric, 1 for equal images.
///
/// # Errors
/// Images of different sizes, or with a side shorter than [`SMALLEST`] (176 pixels).
pub fn ms_ssim(a: &RgbImage, b: &RgbImage) -> Result<f64> {
    if a.dimensions() != b.dimensions() {
        return Err(different_sizes("MS-SSIM", a.dimensions(), b.dimensions()));
    }
    let (width, height) = a.dimensions();
    if width.min(height) < SMALLEST {
        return Err(Error::input_help(
            format!("MS-SSIM needs images of at least {SMALLEST}x{SMALLEST} pixels, this one is {width}x{height}"),
            "compare small images by `birdaug metrics ssim`",
        ));
    }
    let (mut one, mut two) = (planes(a), planes(b));
    let mut product = 1.0;
    for (scale, power) in POWERS.into_iter().enumerate() {
        let coarsest = scale + 1 == POWERS.len();
        let terms: Vec<f64> = one.iter().zip(&two).map(|(a, b)| term(a, b, coarsest)).collect();
        let mean = terms.iter().sum::<f64>() / terms.len() as f64;
        product *= libm::pow(mean.max(0.0), power);
        if !coarsest {
            one = one.iter().map(Plane::halved).collect();
            two = two.iter().map(Plane::halved).collect();
        }
    }
    Ok(product)
}

fn planes(image: &RgbImage) -> Vec<Plane> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let plane = |colour: usize| {
        let values = image.as_raw().iter().skip(colour).step_by(3).map(|&value| f64::from(value)).collect();
        Plane { width, height, values }
    };
    (0..3).map(plane).collect()
}

impl Plane {
    /// Each value the mean of 2x2; an odd last row or column is left out.
    fn halved(&self) -> Plane {
        let (width, height) = (self.width / 2, self.height / 2);
        let mut values = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                let at = 2 * y * self.width + 2 * x;
                let (top, low) = (&self.values[at..], &self.values[at + self.width..]);
                values.push((top[0] + top[1] + low[0] + low[1]) / 4.0);
            }
        }
        Plane { width, height, values }
    }
}

/// The mean of a plane's SSIM over all pixels, or that of its contrast and structure over the windows inside.
fn term(a: &Plane, b: &Plane, whole: bool) -> f64 {
    let (width, height) = (a.width, a.height);
    let map = |value: fn(f64, f64) -> f64| {
        let values = a.values.iter().zip(&b.values).map(|(&a, &b)| value(a, b)).collect();
        smoothed(Plane { width, height, values })
    };
    let (mean_a, mean_b) = (map(|a, _| a), map(|_, b| b));
    let (square_a, square_b, product) = (map(|a, _| a * a), map(|_, b| b * b), map(|a, b| a * b));
    let edge = if whole { 0 } else { RADIUS };
    let (mut sum, mut n) = (0.0, 0.0);
    for y in edge..height - edge {
        for at in y * width + edge..(y + 1) * width - edge {
            let (a, b) = (mean_a[at], mean_b[at]);
            let (variance_a, variance_b) = ((square_a[at] - a * a).max(0.0), (square_b[at] - b * b).max(0.0));
            let structure = (2.0 * (product[at] - a * b) + C2) / (variance_a + variance_b + C2);
            let luminance = if whole { (2.0 * a * b + C1) / (a * a + b * b + C1) } else { 1.0 };
            sum += luminance * structure;
            n += 1.0;
        }
    }
    sum / n
}

/// The Gaussian window over every pixel, edges reflected (the edge itself not repeated).
fn smoothed(plane: Plane) -> Vec<f64> {
    let (width, height) = (plane.width, plane.height);
    let weights = gaussian();
    let mut padded = vec![0.0; width + 2 * RADIUS];
    let mut across = Vec::with_capacity(width * height);
    for row in plane.values.chunks_exact(width) {
        for (i, value) in padded.iter_mut().enumerate() {
            *value = row[reflected(i, width)];
        }
        across.extend((0..width).map(|x| weighed(&weights, |k| padded[x + k])));
    }
    let mut out = Vec::with_capacity(width * height);
    for y in 0..height {
        let rows: [&[f64]; 2 * RADIUS + 1] =
            std::array::from_fn(|k| &across[reflected(y + k, height) * width..][..width]);
        out.extend((0..width).map(|x| weighed(&weights, |k| rows[k][x])));
    }
    out
}

/// Where the i-th value of a row padded by `RADIUS` comes from.
fn reflected(i: usize, len: usize) -> usize {
    let at = i.abs_diff(RADIUS);
    if at < len { at } else { 2 * (len - 1) - at }
}

fn weighed(weights: &[f64; RADIUS + 1], value: impl Fn(usize) -> f64) -> f64 {
    let last = 2 * RADIUS;
    let sides: f64 = (0..RADIUS).map(|k| weights[k] * (value(k) + value(last - k))).sum();
    sides + weights[RADIUS] * value(RADIUS)
}

#[cfg(test)]
#[path = "ms_ssim_tests.rs"]
mod tests;
