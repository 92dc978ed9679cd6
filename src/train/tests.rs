//! What a fit promises, on photos of a few pixels: the same bytes twice, resumed or not, and plain refusals.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::{Rgb, RgbImage};

use super::batches::{Batch, Shape};
use super::order::Order;
use super::*;
use crate::error::{Error, Result};
use crate::nn::device::Precision;
use crate::nn::noise::Stream;
use crate::nn::resnet::Arch;
use crate::nn::supervise::{Supervisor, Unsupervised};

/// Noisy photos whose brighter half tells the class: left, right, top, bottom. Counts how often it is asked.
struct Halves {
    classes: Vec<usize>,
    label: &'static str,
    loads: AtomicUsize,
}

fn halves(label: &'static str, classes: &[usize]) -> Halves {
    Halves { classes: classes.to_vec(), label, loads: AtomicUsize::new(0) }
}

impl Photos for Halves {
    fn len(&self) -> usize {
        self.classes.len()
    }

    fn class(&self, i: usize) -> usize {
        self.classes[i]
    }

    fn load(&self, i: usize) -> Result<RgbImage> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let class = self.classes[i];
        let mut noise = Stream::indexed(0, self.label, &[i as u64]);
        Ok(RgbImage::from_fn(24, 20, |x, y| {
            let bright = [x < 12, x >= 12, y < 10, y >= 10][class];
            Rgb([0; 3].map(|_: u8| (if bright { 150.0 } else { 40.0 } + noise.range(0.0, 60.0)) as u8))
        }))
    }
}

/// Photos that cannot be read.
struct Broken;

impl Photos for Broken {
    fn len(&self) -> usize {
        3
    }

    fn class(&self, _i: usize) -> usize {
        0
    }

    fn load(&self, _i: usize) -> Result<RgbImage> {
        Err(Error::input("photo 7 is torn"))
    }
}

fn config(steps: usize) -> Config<'static> {
    Config {
        learning_rate: 0.02,
        validations: 2,
        augment: Augment { flip: 0.0, scale: (0.8, 1.0), ..Augment::default() },
        ..Config::new(Arch::ResNet18, 4, 16, steps, 6)
    }
}

/// Stops after so many steps in all, keeping the state.
struct Stopping {
    after: usize,
    done: usize,
    state: Option<Vec<u8>>,
}

impl Supervisor for Stopping {
    fn step(&mut self, done: usize, _total: usize, _loss: f64) {
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
        self.done == self.after
    }
}

#[test]
fn a_fit_repeats_to_the_byte_and_so_does_one_that_was_stopped_and_resumed() {
    // Class 2 has one photo, valid lacks two classes, and a batch is larger than the set.
    let (train, valid) = (halves("train", &[0, 0, 1, 2, 3]), halves("valid", &[1, 3]));
    for precision in [Precision::Fp32, Precision::Bf16] {
        let config = Config { precision, ..config(4) };
        let straight = fit(&config, &train, &valid, &mut Unsupervised).unwrap();
        let again = fit(&config, &train, &valid, &mut Unsupervised).unwrap();
        assert!(straight == again, "{precision:?}: a second fit differs");
        let mut supervisor = Stopping { after: 2, done: 0, state: None };
        let stopped = fit(&config, &train, &valid, &mut supervisor);
        assert!(matches!(stopped, Err(Error::Interrupted)));
        supervisor.after = usize::MAX;
        supervisor.done = 0;
        let resumed = fit(&config, &train, &valid, &mut supervisor).unwrap();
        assert!(straight == resumed, "{precision:?}: a resumed fit differs");
        let steps: Vec<_> = straight.history.iter().map(|row| (row.step, row.valid_accuracy.is_some())).collect();
        assert_eq!(steps, [(1, false), (2, true), (3, false), (4, true)]);
    }
}

#[test]
fn a_checkpoint_that_is_torn_or_of_another_fit_is_not_gone_on_from() {
    let (train, valid) = (halves("train", &[0, 1, 2, 3]), halves("valid", &[]));
    let config = config(2);
    let straight = fit(&config, &train, &valid, &mut Unsupervised).unwrap();
    assert!(straight.history.iter().all(|row| row.valid_accuracy.is_none()));
    let other = Config { seed: 9, ..config.clone() };
    let mut supervisor = Stopping { after: 1, done: 0, state: None };
    fit(&other, &train, &valid, &mut supervisor).unwrap_err();
    for cut in [0, 5] {
        let mut state = supervisor.state.clone().unwrap();
        state.truncate(state.len() - cut);
        let mut supervisor = Stopping { after: usize::MAX, done: 0, state: Some(state) };
        assert!(fit(&config, &train, &valid, &mut supervisor).unwrap() == straight);
    }
}

#[test]
fn a_short_fit_tells_halves_apart_and_predicts_them() {
    let classes: Vec<usize> = (0..24).map(|i| i % 4).collect();
    let (train, test) = (halves("train", &classes), halves("test", &classes));
    let config = Config { batch: 16, ..config(24) };
    let fitted = fit(&config, &train, &test, &mut Unsupervised).unwrap();
    let last = fitted.history.last().unwrap();
    assert!(last.valid_accuracy.unwrap() > 0.8, "{last:?}");
    assert!(last.loss < fitted.history[0].loss);
    let classifier = Classifier::new(Arch::ResNet18, 4, 16, &fitted.weights, config.precision, config.device).unwrap();
    let predictions = classifier.predict(&test, 16).unwrap();
    assert_eq!((predictions.len(), predictions.dims, predictions.features.len()), (24, 512, 24 * 512));
    let right = (0..24).filter(|&i| predictions.top(i) == test.class(i)).count();
    assert_eq!(right as f64 / 24.0, last.valid_accuracy.unwrap());
    assert!((0..24).all(|i| (predictions.row(i).iter().sum::<f32>() - 1.0).abs() < 1e-5));

    // The same photos in other company.
    let alone = Classifier::new(Arch::ResNet18, 4, 16, &fitted.weights, config.precision, config.device).unwrap();
    let first = alone.predict(&halves("test", &classes[..5]), 16).unwrap();
    assert_eq!(first.probabilities, predictions.probabilities[..5 * 4]);
    assert_eq!(first.features, predictions.features[..5 * 512]);

    // Weights are a start for other classes too; and another network's are refused.
    let start = Config { weights: Some(&fitted.weights), classes: 6, steps: 1, ..config.clone() };
    fit(&start, &train, &test, &mut Unsupervised).unwrap();
    let start = Config { arch: Arch::ResNet34, ..start };
    let message = fit(&start, &train, &test, &mut Unsupervised).unwrap_err().to_string();
    assert!(
        message.starts_with("the file of starting weights does not fit this network: missing layer1.2.bn1.bias"),
        "{message}"
    );
}

#[test]
fn a_loss_that_is_no_number_stops_with_its_step() {
    let config = Config { learning_rate: 1e30, warmup: 0.0, ..config(6) };
    let error = fit(&config, &halves("train", &[0, 1, 2, 3]), &halves("valid", &[]), &mut Unsupervised).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("loss is") && message.contains("of 6\n  help: the learning rate 1000"), "{message}");
}

#[test]
fn what_cannot_be_trained_is_refused_plainly() {
    let (train, none) = (halves("train", &[0, 1, 2, 3]), halves("valid", &[]));
    let message =
        |config: Config, train: &dyn Photos| fit(&config, train, &none, &mut Unsupervised).unwrap_err().to_string();
    assert_eq!(message(config(2), &none), "the classifier has no photo to train on");
    assert_eq!(message(Config { classes: 3, ..config(2) }, &train), "photo 3 is of class 3, but there are 3");
    assert_eq!(
        message(Config { learning_rate: 0.0, ..config(2) }, &train),
        "the classifier's learning rate is 0; it must be above 0"
    );
    assert!(message(Config { batch: 1, ..config(2) }, &train).contains("at least 2 photos"));
    assert!(message(Config { precision: Precision::Fp16, ..config(2) }, &train).contains("bf16"));
    assert_eq!(message(config(2), &Broken), "photo 7 is torn");
}

#[test]
fn batches_do_not_depend_on_the_number_of_threads() {
    let train = halves("train", &[0, 1, 2, 3, 0, 1]);
    let order = Order::new(Sampling::Uniform, 3, &train);
    let gather = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let shape = Shape { batch: 8, size: 12 };
        pool.install(|| Batch::train(&train, &order, &Augment::default(), 3, 5, shape)).unwrap()
    };
    let (one, three) = (gather(1), gather(3));
    assert!(one == three);
    let input = one.input(tch::Kind::Float, tch::Device::Cpu).unwrap();
    assert_eq!((input.size(), input.stride()), (vec![8, 3, 12, 12], vec![432, 1, 36, 3]));
}

#[test]
fn uniform_order_shows_every_photo_once_an_epoch() {
    let order = Order::new(Sampling::Uniform, 0, &halves("t", &[0, 0, 0, 1, 1, 2, 3]));
    let seen: Vec<usize> = (0..7).flat_map(|step| order.batch(step, 3)).collect();
    for epoch in seen.chunks(7) {
        let mut epoch = epoch.to_vec();
        epoch.sort();
        assert_eq!(epoch, [0, 1, 2, 3, 4, 5, 6]);
    }
    assert_ne!(seen[..7], seen[7..14]);
    assert_eq!(seen[..12], order.batch(0, 12), "batches are cut from one sequence, whatever their size");
}

#[test]
fn balanced_order_shows_classes_equally_and_a_class_s_photos_in_turn() {
    let photos = halves("t", &[0, 0, 0, 0, 1, 1, 3]);
    let order = Order::new(Sampling::ClassBalanced, 0, &photos);
    let seen = order.batch(0, 24);
    let mut counts = [0; 7];
    seen.iter().for_each(|&i| counts[i] += 1);
    assert_eq!(counts, [2, 2, 2, 2, 4, 4, 8]);
    for round in seen.chunks(3) {
        let mut classes: Vec<usize> = round.iter().map(|&i| photos.class(i)).collect();
        classes.sort();
        assert_eq!(classes, [0, 1, 3]);
    }
}

#[test]
fn a_budget_for_decoded_photos_changes_no_pixel() {
    let bytes = (12 * 10 * 3) as u64;
    let all = Kept::new(halves("t", &[0, 1, 2]), Some(10), u64::MAX);
    let one = Kept::new(halves("t", &[0, 1, 2]), Some(10), bytes + 5);
    for i in [0, 1, 2, 0, 1, 2] {
        let photo = all.load(i).unwrap();
        assert_eq!(photo.dimensions(), (12, 10));
        assert_eq!(photo, one.load(i).unwrap());
    }
    let loads = |kept: &Kept<Halves>| kept.inner().loads.load(Ordering::Relaxed);
    assert_eq!((loads(&all), loads(&one)), (3, 5));
    let untouched = Kept::new(halves("t", &[0]), None, 0);
    assert_eq!(untouched.load(0).unwrap().dimensions(), (24, 20));
}

#[test]
fn a_supervisor_hears_of_every_step() {
    struct Counting<'a>(&'a Cell<usize>);
    impl Supervisor for Counting<'_> {
        fn step(&mut self, done: usize, total: usize, loss: f64) {
            assert_eq!((done, total), (self.0.get() + 1, 3));
            assert!(loss > 0.0);
            self.0.set(done);
        }
    }
    let steps = Cell::new(0);
    fit(&config(3), &halves("train", &[0, 1]), &halves("valid", &[]), &mut Counting(&steps)).unwrap();
    assert_eq!(steps.get(), 3);
}
