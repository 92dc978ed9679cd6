//! Generators of images from noise. Knows no recipe, plan or store: takes plain values.

pub mod ddpm;
pub mod fit;
pub mod pixels;
pub mod sampler;
pub mod schedule;
pub mod sd;
pub mod unet;

mod draws;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
#[cfg(test)]
use golden::golden;

use image::RgbImage;

use crate::error::{Error, Result};
use crate::nn::device::Precision;
use sampler::SamplerKind;

/// Makes images by request; the expensive seam that a deterministic double can stand in for.
pub trait Generator {
    /// Images a full batch holds.
    fn batch(&self) -> usize;

    /// Exactly as many images as requests, in their order; 1 to [`Generator::batch`] of them; `None` for one whose pixels are
    /// no numbers. A full, padded batch always runs, so an image's bits depend on its own request alone.
    ///
    /// # Errors
    /// [`Error::Tensor`] where libtorch refuses, most often for want of memory.
    fn generate(&mut self, requests: &[Request]) -> Result<Vec<Option<RgbImage>>>;
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
    /// Steps of the walk, 1 to 1000. A briefly fitted network makes cleaner images in 6 to 10 than in 25: the errors of
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

#[cfg(test)]
mod unit {
    use super::*;

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
