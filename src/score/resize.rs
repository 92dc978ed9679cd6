//! Images to the Inception network's input, by each of the ways that published figures used. How images are resized changes
//! FID by whole points (Parmar, Zhang, Zhu 2022), so each way has a name. Knows no network.

use image::RgbImage;

use crate::nn::inception::SIDE;

/// A way to 299x299 pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resize {
    /// clean-fid's: Pillow's antialiased bicubic, each channel in floating point and not rounded, cut off at 0 and 255.
    Clean,
    /// TensorFlow 1's, inside the original graph, and torch-fidelity's: bilinear between the two nearest, pixel 0 at 0.
    TfBilinear,
    /// pytorch-fid's: torch's bilinear with pixel centres at halves, not antialiased; and 0 to 255 become -1 to 1.
    TorchBilinear,
}

impl Resize {
    pub const ALL: [Resize; 3] = [Resize::Clean, Resize::TfBilinear, Resize::TorchBilinear];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Resize::Clean => "clean",
            Resize::TfBilinear => "tf-bilinear",
            Resize::TorchBilinear => "torch-bilinear",
        }
    }

    /// The image's values from 0 to 255 at 299x299, row by row, red, green and blue side by side.
    pub fn pixels(self, image: &RgbImage) -> Vec<f32> {
        let (width, height) = image.dimensions();
        let across = narrow(image, &self.taps(width as usize));
        let mut out = vec![0.0f32; SIDE * SIDE * 3];
        let mut sums = vec![0.0f64; SIDE * 3];
        for (taps, row) in self.taps(height as usize).iter().zip(out.chunks_exact_mut(SIDE * 3)) {
            sums.fill(0.0);
            for (&weight, from) in taps.weights.iter().zip(across[taps.first * SIDE * 3..].chunks_exact(SIDE * 3)) {
                for (sum, &value) in sums.iter_mut().zip(from) {
                    *sum += weight * f64::from(value);
                }
            }
            for (value, &sum) in row.iter_mut().zip(&sums) {
                *value = (sum as f32).clamp(0.0, 255.0);
            }
        }
        out
    }

    /// [`Resize::pixels`] as the network wants them: about -1 to 1.
    pub fn input(self, image: &RgbImage) -> Vec<f32> {
        let mut pixels = self.pixels(image);
        match self {
            Resize::Clean | Resize::TfBilinear => pixels.iter_mut().for_each(|v| *v = (*v - 128.0) / 128.0),
            Resize::TorchBilinear => pixels.iter_mut().for_each(|v| *v = *v / 255.0 * 2.0 - 1.0),
        }
        pixels
    }

    /// What each of the 299 output pixels takes from a line of so many.
    fn taps(self, from: usize) -> Vec<Taps> {
        let tap = |to: usize| match self {
            Resize::Clean => bicubic(from, to),
            // In f32, as TensorFlow and torch compute places.
            Resize::TfBilinear => bilinear(from, to as f32 * (from as f64 / SIDE as f64) as f32),
            Resize::TorchBilinear => bilinear(from, (from as f32 / SIDE as f32 * (to as f32 + 0.5) - 0.5).max(0.0)),
        };
        (0..SIDE).map(tap).collect()
    }
}

/// Weights of neighbouring input pixels.
struct Taps {
    first: usize,
    weights: Vec<f64>,
}

fn bilinear(from: usize, place: f32) -> Taps {
    let low = (place as usize).min(from - 1);
    let share = f64::from(place - low as f32);
    match low + 1 < from {
        true => Taps { first: low, weights: vec![1.0 - share, share] },
        false => Taps { first: low, weights: vec![1.0] },
    }
}

/// Keys' cubic with a = -1/2 (Keys 1981), widened where the image becomes smaller, its weights summing to 1.
fn bicubic(from: usize, to: usize) -> Taps {
    let scale = from as f64 / SIDE as f64;
    if from == SIDE {
        return Taps { first: to, weights: vec![1.0] };
    }
    let wide = scale.max(1.0);
    let (centre, reach) = ((to as f64 + 0.5) * scale, 2.0 * wide);
    let first = (centre - reach + 0.5).max(0.0) as usize;
    let end = ((centre + reach + 0.5) as usize).min(from);
    let mut weights: Vec<f64> = (first..end).map(|x| cubic((x as f64 - centre + 0.5) / wide)).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
    Taps { first, weights }
}

fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// Every line of the image at the new width, `[height, 299, 3]`.
fn narrow(image: &RgbImage, taps: &[Taps]) -> Vec<f32> {
    let (width, height) = image.dimensions();
    let mut out = Vec::with_capacity(height as usize * SIDE * 3);
    for line in image.as_raw().chunks_exact(width as usize * 3) {
        for tap in taps {
            let mut sums = [0.0f64; 3];
            for (&weight, pixel) in tap.weights.iter().zip(line[tap.first * 3..].as_chunks::<3>().0) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += weight * f64::from(value);
                }
            }
            out.extend(sums.map(|sum| sum as f32));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::inception::golden::{cases, image};

    #[test]
    fn every_pixel_equals_the_references() {
        for case in cases() {
            let resize = Resize::ALL.into_iter().find(|resize| resize.name() == case.resize).unwrap();
            let found = resize.pixels(&image(&case));
            for (found, wanted) in found.iter().step_by(9973).zip(&case.pixels) {
                assert!(
                    (f64::from(*found) - wanted).abs() < 1e-4,
                    "{} {}: {found}, not {wanted}",
                    case.image,
                    case.resize
                );
            }
            let sum: f64 = found.iter().map(|&value| f64::from(value)).sum();
            assert!((sum - case.pixel_sum).abs() < 0.5, "{} {}: {sum}", case.image, case.resize);
        }
    }

    #[test]
    fn an_image_of_one_pixel_becomes_a_flat_one() {
        let image = RgbImage::from_pixel(1, 1, image::Rgb([7, 8, 9]));
        for resize in Resize::ALL {
            let found = resize.pixels(&image);
            assert!(found.as_chunks::<3>().0.iter().all(|pixel| *pixel == [7.0, 8.0, 9.0]), "{}", resize.name());
        }
    }
}
