//! Generators of images from noise. Knows no recipe, plan or store: takes plain values.

pub mod ddpm;
pub mod fit;
pub mod sampler;
pub mod schedule;
pub mod unet;

mod draws;
#[cfg(test)]
mod tests;

use image::RgbImage;

use crate::error::{Error, Result};
use crate::nn::device::Precision;
use sampler::SamplerKind;

/// Makes images by request; the expensive seam that a deterministic double can stand in for.
pub trait Generator {
    /// Images a full batch holds.
    fn batch(&self) -> usize;

    /// Exactly as many images as requests, in their order; 1 to [`Generator::batch`] of them. A full, padded batch always
    /// runs, so an image's bits depend on its own request alone.
    ///
    /// # Errors
    /// [`Error::Tensor`] where libtorch refuses, most often for want of memory.
    fn generate(&mut self, requests: &[Request]) -> Result<Vec<RgbImage>>;
}

/// One image to make.
#[derive(Debug, Clone)]
pub struct Request {
    /// Class as the network was fitted with.
    pub class: usize,
    /// Key of the image's noise stream.
    pub noise: [u8; 32],
    /// Image to image: the photo to start from, of any size.
    pub source: Option<RgbImage>,
}

/// How images are sampled from a fitted network.
#[derive(Debug, Clone, PartialEq)]
pub struct SampleOptions {
    pub sampler: SamplerKind,
    /// Steps of the walk, 1 to 999. A briefly fitted network makes cleaner images in 6 to 10 than in 25: the errors of
    /// many small steps add up to grain.
    pub steps: usize,
    /// Classifier-free guidance (Ho and Salimans 2022): 1 is off.
    pub guidance: f64,
    /// Share of the walk that a source photo is taken through, in (0, 1].
    pub strength: f64,
    /// Images a batch, at least 1; part of an image's bits.
    pub batch: usize,
    pub precision: Precision,
}

impl SampleOptions {
    /// # Errors
    /// [`Error::Usage`] that names the first value that is out of its range.
    pub fn check(&self) -> Result<()> {
        let problem = if self.batch == 0 {
            "`batch` is at least 1".to_string()
        } else if !(self.strength > 0.0 && self.strength <= 1.0) {
            format!("`strength` is above 0 and at most 1, not {}", self.strength)
        } else if !(self.guidance.is_finite() && self.guidance >= 0.0) {
            format!("`guidance` is a number of at least 0, not {}", self.guidance)
        } else {
            return Ok(());
        };
        Err(Error::Usage(problem))
    }
}

/// The middle square of a photo, resized to `size` pixels a side with an antialiasing filter (Catmull and Rom's cubic, whose
/// weights are polynomials and so the same on every machine).
pub fn square(image: &RgbImage, size: usize) -> RgbImage {
    use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer, images};
    if image.width() as usize == size && image.height() as usize == size {
        return image.clone();
    }
    let side = size as u32;
    let source = images::ImageRef::new(image.width(), image.height(), image.as_raw(), PixelType::U8x3)
        .expect("an RGB image's buffer is of its size");
    let mut target = images::Image::new(side, side, PixelType::U8x3);
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom))
        .fit_into_destination(Some((0.5, 0.5)));
    Resizer::new().resize(&source, &mut target, &options).expect("both images hold RGB bytes");
    RgbImage::from_raw(side, side, target.into_vec()).expect("the target has that size")
}

/// A golden file of `tests/golden`.
#[cfg(test)]
fn golden(name: &str) -> serde_json::Value {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("the golden file is there")).expect("it holds JSON")
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_photo_is_cropped_in_the_middle_and_averaged() {
        let wide = RgbImage::from_fn(80, 40, |x, _| {
            image::Rgb(if (20..60).contains(&x) { [(x % 2 * 200) as u8, 100, 50] } else { [255, 0, 0] })
        });
        let small = square(&wide, 8);
        assert_eq!(small.dimensions(), (8, 8));
        // The filter's tails reach a little past the crop, so the outermost columns see some of the red.
        for (x, _, pixel) in small.enumerate_pixels() {
            let allowed = if (1..7).contains(&x) { 3 } else { 20 };
            let off = [(0, 100u8), (1, 100), (2, 50)].map(|(channel, value)| pixel[channel].abs_diff(value));
            assert!(off.iter().all(|off| *off <= allowed), "{x} {pixel:?}");
        }
        assert_eq!(square(&small, 8), small);
    }

    #[test]
    fn options_out_of_range_are_refused() {
        let options = SampleOptions {
            sampler: SamplerKind::Ddim,
            steps: 10,
            guidance: 1.0,
            strength: 0.5,
            batch: 4,
            precision: Precision::Fp32,
        };
        options.check().unwrap();
        for strength in [0.0, 1.1, f64::NAN] {
            let message = SampleOptions { strength, ..options.clone() }.check().unwrap_err().to_string();
            assert!(message.starts_with("`strength` is above 0 and at most 1"), "{message}");
        }
        assert!(SampleOptions { batch: 0, ..options.clone() }.check().is_err());
        assert!(SampleOptions { guidance: f64::INFINITY, ..options }.check().is_err());
    }
}
