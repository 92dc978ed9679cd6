//! Fit and sampling together: what a fit and an image's bits may depend on.

use image::{Rgb, RgbImage};
use tch::Device;

use super::ddpm::Ddpm;
use super::fit::{FitOptions, fit};
use super::sampler::SamplerKind;
use super::unet::Config;
use super::{Generator, Request, SampleOptions};
use crate::error::{Error, Result};
use crate::nn::device::Precision;
use crate::nn::supervise::{Supervisor, Unsupervised};

fn config() -> Config {
    Config { size: 16, width: 16, levels: vec![1, 2], depth: 1, classes: 2 }
}

/// Class 0 is red above and blue below, class 1 green with a bright middle.
fn pictures() -> (Vec<RgbImage>, Vec<usize>) {
    let picture = |i: usize| {
        RgbImage::from_fn(16, 16, |x, y| {
            let shade = (i * 9 + x as usize) as u8;
            match i % 2 {
                0 if y < 8 => Rgb([220, shade, 20]),
                0 => Rgb([10, shade, 200]),
                _ if x.abs_diff(8) < 4 && y.abs_diff(8) < 4 => Rgb([250, 240, 200 + shade / 8]),
                _ => Rgb([shade, 120, 40]),
            }
        })
    };
    ((0..8).map(picture).collect(), (0..8).map(|i| i % 2).collect())
}

fn options(steps: usize, precision: Precision) -> FitOptions {
    FitOptions { steps, batch: 4, learning_rate: 2e-3, seed: 7, precision, device: Device::Cpu }
}

fn fitted(precision: Precision) -> Vec<u8> {
    let (images, classes) = pictures();
    fit(&config(), &options(12, precision), &images, &classes, &mut Unsupervised).unwrap()
}

fn sampling(precision: Precision) -> SampleOptions {
    let sampler = SamplerKind::DpmSolver2M { karras: false };
    SampleOptions { sampler, steps: 4, guidance: 2.0, strength: 0.5, batch: 4, precision }
}

fn request(class: usize, noise: u8, source: Option<RgbImage>) -> Request {
    Request { class, noise: [noise; 32], source }
}

/// Stops after some steps and keeps what it is given.
struct Stopper {
    after: usize,
    done: usize,
    state: Option<Vec<u8>>,
}

impl Supervisor for Stopper {
    fn step(&mut self, done: usize, _total: usize, loss: f64) {
        assert!(loss.is_finite());
        self.done = done;
    }
    fn saved(&mut self) -> Option<Vec<u8>> {
        self.state.clone()
    }
    fn save(&mut self, state: &[u8]) -> Result<()> {
        self.state = Some(state.to_vec());
        Ok(())
    }
    fn stopping(&self) -> bool {
        self.done >= self.after
    }
}

#[test]
fn a_fit_stopped_and_resumed_ends_in_the_bits_of_a_straight_one() {
    let (images, classes) = pictures();
    for precision in [Precision::Fp32, Precision::Bf16] {
        let mut stopper = Stopper { after: 5, done: 0, state: None };
        let stopped = fit(&config(), &options(12, precision), &images, &classes, &mut stopper);
        assert!(matches!(stopped, Err(Error::Interrupted)));
        assert_eq!(stopper.done, 5);
        stopper.after = usize::MAX;
        let resumed = fit(&config(), &options(12, precision), &images, &classes, &mut stopper).unwrap();
        assert_eq!(stopper.done, 12);
        assert!(resumed == fitted(precision), "{precision:?}");
    }
}

#[test]
fn a_fit_depends_on_its_seed() {
    let (images, classes) = pictures();
    let other = FitOptions { seed: 8, ..options(12, Precision::Fp32) };
    let other = fit(&config(), &other, &images, &classes, &mut Unsupervised).unwrap();
    assert!(other != fitted(Precision::Fp32));
}

#[test]
fn an_images_bits_do_not_depend_on_its_neighbours_or_its_place() {
    let (photos, _) = pictures();
    for precision in [Precision::Fp32, Precision::Bf16] {
        let weights = fitted(precision);
        // The other samplers have nothing of their own that rows could meet in; this one draws noise on its way.
        let with_noise = SampleOptions { sampler: SamplerKind::EulerAncestral, ..sampling(precision) };
        let sources = [(sampling(precision), None), (sampling(precision), Some(3)), (with_noise, Some(3))];
        for (sampling, source) in sources {
            let source = source.map(|i: usize| photos[i].clone());
            let mut generator = Ddpm::new(&config(), &weights, sampling, Device::Cpu).unwrap();
            let wanted = request(1, 5, source);
            let alone = generator.generate(std::slice::from_ref(&wanted)).unwrap();
            assert_eq!(alone.len(), 1);
            let others = [request(0, 1, None), request(1, 2, Some(photos[0].clone())), request(0, 3, None)];
            for place in 0..4 {
                let mut batch = others.to_vec();
                batch.insert(place, wanted.clone());
                let images = generator.generate(&batch).unwrap();
                assert_eq!(images.len(), 4);
                assert!(images[place] == alone[0], "{precision:?}, place {place}");
            }
        }
    }
}

#[test]
fn an_image_depends_on_its_noise_its_class_and_its_source() {
    let (photos, _) = pictures();
    let weights = fitted(Precision::Fp32);
    let mut generator = Ddpm::new(&config(), &weights, sampling(Precision::Fp32), Device::Cpu).unwrap();
    let images = generator
        .generate(&[
            request(0, 1, None),
            request(0, 2, None),
            request(1, 1, None),
            request(0, 1, Some(photos[0].clone())),
        ])
        .unwrap();
    for i in 0..4 {
        for j in 0..i {
            assert!(images[i] != images[j], "{i} {j}");
        }
    }
}

#[test]
fn a_small_fit_learns_what_sets_its_classes_apart_and_every_sampler_shows_it() {
    let (images, classes) = pictures();
    let weights = fit(
        &config(),
        &FitOptions { learning_rate: 5e-3, ..options(200, Precision::Fp32) },
        &images,
        &classes,
        &mut Unsupervised,
    )
    .unwrap();
    let mean = |image: &Option<RgbImage>, rows: std::ops::Range<u32>, channel: usize| {
        let pixels: Vec<f64> = rows
            .flat_map(|y| (0..16).map(move |x| (x, y)))
            .map(|(x, y)| image.as_ref().unwrap()[(x, y)][channel] as f64)
            .collect();
        pixels.iter().sum::<f64>() / pixels.len() as f64
    };
    for sampler in SamplerKind::ALL {
        let sampling = SampleOptions { sampler, steps: 12, ..sampling(Precision::Fp32) };
        let mut generator = Ddpm::new(&config(), &weights, sampling, Device::Cpu).unwrap();
        let made = generator.generate(&[request(0, 1, None), request(1, 2, None)]).unwrap();
        assert!(mean(&made[0], 0..8, 0) > mean(&made[0], 8..16, 0) + 80.0, "{sampler:?}: red above");
        assert!(mean(&made[0], 8..16, 2) > mean(&made[0], 0..8, 2) + 80.0, "{sampler:?}: blue below");
        let apart = (mean(&made[1], 0..8, 1) - mean(&made[1], 8..16, 1)).abs();
        assert!(apart < 40.0, "{sampler:?}: alike above and below");
        assert!(mean(&made[1], 6..10, 2) > mean(&made[1], 0..3, 2) + 30.0, "{sampler:?}: bright middle");
        assert!(generator.generate(&[request(0, 1, None)]).unwrap()[0] == made[0], "{sampler:?}: the same bits again");
    }
}

#[test]
fn weights_of_other_sizes_are_refused() {
    let weights = fitted(Precision::Fp32);
    let other = Config { depth: 2, ..config() };
    let error = Ddpm::new(&other, &weights, sampling(Precision::Fp32), Device::Cpu).err().unwrap().to_string();
    assert!(error.contains("Some([16, 16, 1, 2, 1, 2]), not [16, 16, 2, 2, 1, 2]"), "{error}");
}

#[test]
fn impossible_requests_and_fits_are_refused() {
    let (images, classes) = pictures();
    let weights = fitted(Precision::Fp32);
    let mut generator = Ddpm::new(&config(), &weights, sampling(Precision::Fp32), Device::Cpu).unwrap();
    let error = generator.generate(&[request(2, 0, None)]).unwrap_err();
    assert_eq!(error.to_string(), "class 2 is asked of a generator of 2 classes");
    let error = generator.generate(&vec![request(0, 0, None); 5]).unwrap_err();
    assert_eq!(error.to_string(), "5 images do not fit into a batch of 4");

    let refused = |options: FitOptions, images: &[RgbImage], classes: &[usize]| {
        fit(&config(), &options, images, classes, &mut Unsupervised).unwrap_err().to_string()
    };
    let good = options(1, Precision::Fp32);
    assert_eq!(refused(good.clone(), &[], &[]), "a generator needs at least one image to be fitted to");
    assert_eq!(refused(good.clone(), &images, &classes[..3]), "8 images have 3 classes");
    assert_eq!(refused(good.clone(), &images[..1], &[2]), "an image has class 2 of 2 classes");
    assert_eq!(refused(good.clone(), &[RgbImage::new(8, 16)], &[0]), "an image is 8x16, not 16x16");
    assert!(refused(FitOptions { batch: 0, ..good.clone() }, &images, &classes).contains("at least 1"));
    assert!(refused(FitOptions { learning_rate: -1.0, ..good }, &images, &classes).contains("above 0"));
}

#[test]
fn a_loss_that_is_no_number_names_its_step() {
    let (images, classes) = pictures();
    let wild = FitOptions { learning_rate: 1e30, ..options(50, Precision::Fp32) };
    let error = fit(&config(), &wild, &images, &classes, &mut Unsupervised).unwrap_err().to_string();
    assert!(error.starts_with("the generator's loss became ") && error.contains(" at step "), "{error}");
}
