//! Images to Inception features, a fixed number at a time, so that an image's features do not depend on which others are
//! measured with it. Knows no files and no cache.

use std::sync::mpsc::sync_channel;

use image::RgbImage;
use rayon::prelude::*;
use tch::{Device, Tensor};

use super::features::Features;
use super::resize::Resize;
use crate::error::Result;
use crate::nn::TensorContext;
use crate::nn::device::Precision;
use crate::nn::inception::{FEATURES, Inception, SIDE};
use crate::nn::weights::Named;

/// What result files call these features.
pub const NAME: &str = "inception-2015-12-05";
/// Images that the network sees together; part of a feature's last bits.
pub const BATCH: usize = 8;
/// Numbers of one image.
const INPUT: usize = SIDE * SIDE * 3;
/// Batches that may wait for the network.
const AHEAD: usize = 2;

/// Whoever takes an image's features, or why there are none, by the image's number.
pub type Take<'t> = dyn FnMut(usize, Result<&[f32]>) -> Result<()> + 't;

/// The network with everything that decides what comes out of it.
pub struct Extractor {
    net: Inception,
    resize: Resize,
}

impl Extractor {
    /// From tensors in a published layout; `what` names their file.
    ///
    /// # Errors
    /// Tensors that are not this network's, by name; libtorch's.
    pub fn new(tensors: Named, what: &str, resize: Resize, precision: Precision, device: Device) -> Result<Extractor> {
        Ok(Extractor { net: Inception::new(tensors, what, precision.kind(), device)?, resize })
    }

    /// The features of `count` images, handed to `take` in order as they come. `load` brings one; what it cannot bring is
    /// handed on as its error, and the others come out as if it had not been asked for.
    ///
    /// # Errors
    /// What `take` says; libtorch's.
    pub fn each(
        &self,
        count: usize,
        load: &(dyn Fn(usize) -> Result<RgbImage> + Sync),
        take: &mut Take<'_>,
    ) -> Result<()> {
        let (resize, (send, receive)) = (self.resize, sync_channel::<Vec<Result<Vec<f32>>>>(AHEAD));
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for start in (0..count).step_by(BATCH) {
                    let range = start..(start + BATCH).min(count);
                    let batch = range.into_par_iter().map(|i| Ok(resize.input(&load(i)?))).collect();
                    // Nobody is there any more after an error.
                    if send.send(batch).is_err() {
                        return;
                    }
                }
            });
            for (number, batch) in receive.into_iter().enumerate() {
                let mut pixels = vec![0.0f32; BATCH * INPUT];
                let mut problems = Vec::with_capacity(batch.len());
                for (place, input) in pixels.chunks_exact_mut(INPUT).zip(batch) {
                    problems.push(input.map(|input| place.copy_from_slice(&input)).err());
                }
                let features = self.run(&pixels)?;
                for (row, problem) in problems.into_iter().enumerate() {
                    let found = problem.map_or(Ok(&features[row * FEATURES..][..FEATURES]), Err);
                    take(number * BATCH + row, found)?;
                }
            }
            Ok(())
        })
    }

    /// The features of images in memory.
    ///
    /// # Errors
    /// libtorch's.
    pub fn features(&self, images: &[RgbImage]) -> Result<Features> {
        let mut values = Vec::with_capacity(images.len() * FEATURES);
        self.each(images.len(), &|i| Ok(images[i].clone()), &mut |_, features| {
            values.extend_from_slice(features?);
            Ok(())
        })?;
        Features::new(FEATURES, values)
    }

    /// `[batch, 2048]` of `[batch, 299, 299, 3]`.
    fn run(&self, pixels: &[f32]) -> Result<Vec<f32>> {
        let side = SIDE as i64;
        let pixels = Tensor::f_from_slice(pixels)
            .and_then(|pixels| pixels.f_view([-1, side, side, 3]))
            .doing("lay out images for the Inception network")?;
        let features = self.net.features(&pixels)?;
        features.f_contiguous().and_then(|f| Vec::<f32>::try_from(f.f_view([-1])?)).doing("read Inception features")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::nn::inception::golden::{cases, image, weights};

    fn extractor(resize: Resize, precision: Precision) -> Extractor {
        Extractor::new(weights(), "drawn weights", resize, precision, Device::Cpu).unwrap()
    }

    #[test]
    fn features_equal_torch_fidelitys_after_each_way_of_resizing() {
        for resize in Resize::ALL {
            let cases: Vec<_> = cases().into_iter().filter(|case| case.resize == resize.name()).collect();
            assert_eq!(cases.len(), 3);
            let images: Vec<RgbImage> = cases.iter().map(image).collect();
            let features = extractor(resize, Precision::Fp32).features(&images).unwrap();
            for (i, case) in cases.iter().enumerate() {
                for (found, wanted) in features.row(i).iter().step_by(31).zip(&case.features) {
                    let error = (f64::from(*found) - wanted).abs();
                    assert!(error < 1e-4, "{} {}: {found}, not {wanted}", case.image, case.resize);
                }
                let sum: f64 = features.row(i).iter().map(|&value| f64::from(value)).sum();
                assert!((sum - case.feature_sum).abs() < 0.02, "{} {}: {sum}", case.image, case.resize);
            }
        }
    }

    #[test]
    fn an_images_features_do_not_depend_on_the_others_nor_on_what_cannot_be_read() {
        let extractor = extractor(Resize::Clean, Precision::Fp32);
        let images: Vec<RgbImage> = cases().iter().map(image).collect();
        let together = extractor.features(&images).unwrap();
        assert!(images.len() > BATCH, "more than a batch");
        let alone = extractor.features(&images[6..7]).unwrap();
        assert_eq!(alone.row(0), together.row(6));
        let load = |i: usize| match i {
            0 | 1 => Err(Error::input(format!("{i} is lost"))),
            _ => Ok(images[6].clone()),
        };
        let mut said = Vec::new();
        extractor
            .each(3, &load, &mut |i, found| {
                match found {
                    Ok(features) => assert_eq!(features, together.row(6)),
                    Err(error) => said.push((i, error.to_string())),
                }
                Ok(())
            })
            .unwrap();
        assert_eq!(said, [(0, "0 is lost".to_string()), (1, "1 is lost".to_string())]);
    }

    #[test]
    fn half_precision_is_near() {
        let images: Vec<RgbImage> = cases().iter().take(1).map(image).collect();
        let fine = extractor(Resize::Clean, Precision::Fp32).features(&images).unwrap();
        let coarse = extractor(Resize::Clean, Precision::Bf16).features(&images).unwrap();
        let size: f32 = fine.values.iter().map(|v| v * v).sum();
        let apart: f32 = fine.values.iter().zip(&coarse.values).map(|(a, b)| (a - b) * (a - b)).sum();
        assert!((apart / size).sqrt() < 0.05 && apart > 0.0, "{}", (apart / size).sqrt());
    }
}
