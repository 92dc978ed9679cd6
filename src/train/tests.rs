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
use crate::nn::optimiser::{self, Rule};
use crate::nn::resnet::Arch;
use crate::nn::supervise::{Supervisor, Unsupervised};
use crate::nn::weights;

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
    let start = Config {
        weights: Some(Start { name: "`w.safetensors`", bytes: &fitted.weights }),
        classes: 6,
        steps: 1,
        ..config.clone()
    };
    fit(&start, &train, &test, &mut Unsupervised).unwrap();
    let start = Config { arch: Arch::ResNet34, ..start };
    let message = fit(&start, &train, &test, &mut Unsupervised).unwrap_err().to_string();
    assert_eq!(
        message,
        "`w.safetensors` does not fit this network: missing layer1.2.bn1.bias, layer1.2.bn1.running_mean, \
         layer1.2.bn1.running_var, layer1.2.bn1.weight, layer1.2.bn2.bias and 75 more\n  help: these are weights of \
         another network, or of other settings"
    );
    let unfit = refuse_unfit(Arch::ResNet34, 4, start.weights.unwrap()).unwrap_err();
    assert_eq!(unfit.to_string(), message);
}

#[test]
fn a_loss_that_is_no_number_stops_with_its_step_and_the_last_good_state() {
    let config = Config { learning_rate: 1e30, warmup: 0.0, ..config(6) };
    let (train, valid) = (halves("train", &[0, 1, 2, 3]), halves("valid", &[]));
    let message = fit(&config, &train, &valid, &mut Unsupervised).unwrap_err().to_string();
    let (first, help) = message.split_once('\n').unwrap();
    assert_eq!(help, "  help: the learning rate 1000000000000000000000000000000 may be too high");
    assert!(
        ["the classifier's loss is NaN at step 2 of 6; no state was kept before it"].contains(&first)
            || first == "the classifier's loss is NaN at step 3 of 6; no state was kept before it",
        "{first}"
    );

    /// Keeps every state.
    struct Keeping(Vec<usize>, usize);
    impl Supervisor for Keeping {
        fn step(&mut self, done: usize, _total: usize, _loss: f64) {
            self.1 = done;
        }
        fn wants_save(&mut self) -> bool {
            true
        }
        fn save(&mut self, _state: &[u8]) -> Result<()> {
            self.0.push(self.1);
            Ok(())
        }
        fn place(&self) -> Option<String> {
            Some("`cache/unfinished/1f`".into())
        }
    }
    // Weights grow until they are no numbers: such a state is not kept over a good one.
    let config = Config { learning_rate: 1e12, ..config };
    let mut keeping = Keeping(Vec::new(), 0);
    let message = fit(&Config { steps: 40, ..config }, &train, &valid, &mut keeping).unwrap_err().to_string();
    let good = keeping.0.last().unwrap();
    let state = format!("; the last good state, of step {good}, is kept in `cache/unfinished/1f`\n  help: ");
    assert!(message.contains(&state), "{message}");
}

/// Everything at once that a fit may do beside the plain.
fn rich() -> Config<'static> {
    Config {
        augment: Augment {
            jitter: Jitter { brightness: 0.2, contrast: 0.2, saturation: 0.2, hue: 0.1 },
            policy: Policy::RAND_AUGMENT,
            erasing: 0.5,
            ..Augment::default()
        },
        mix: Mix { mixup: 0.2, cutmix: 1.0 },
        optimiser: optimiser::Config { rule: Rule::ADAMW, weight_decay: 0.05 },
        learning_rate: 1e-3,
        ema: Some(0.9),
        layer_decay: 0.7,
        synthetic: Synthetic { photos: 3, share: Some(0.5), weight: 0.5 },
        patience: Some(3),
        validations: 4,
        ..config(4)
    }
}

#[test]
fn a_fit_with_everything_repeats_to_the_byte_and_so_does_one_that_was_resumed() {
    let (train, valid) = (halves("train", &[0, 0, 1, 2, 3, 1, 2, 3]), halves("valid", &[1, 3, 0]));
    let config = rich();
    let straight = fit(&config, &train, &valid, &mut Unsupervised).unwrap();
    for after in [1, 3] {
        let mut supervisor = Stopping { after, done: 0, state: None };
        assert!(matches!(fit(&config, &train, &valid, &mut supervisor), Err(Error::Interrupted)));
        supervisor.after = usize::MAX;
        assert!(straight == fit(&config, &train, &valid, &mut supervisor).unwrap(), "resumed after {after}");
    }
}

#[test]
fn each_setting_of_a_fit_changes_its_result() {
    let (train, valid) = (halves("train", &[0, 1, 2, 3, 1, 2]), halves("valid", &[]));
    let short = || Config { patience: None, validations: 1, batch: 4, steps: 2, ..rich() };
    let fitted = |config: &Config| fit(config, &train, &valid, &mut Unsupervised).unwrap().weights;
    let plain = fitted(&short());
    let changes: [fn(&mut Config); 12] = [
        |c| c.augment.jitter.hue = 0.0,
        |c| c.augment.policy = Policy::TrivialAugment,
        |c| c.augment.erasing = 0.0,
        |c| c.mix.mixup = 0.0,
        |c| c.mix.cutmix = 0.0,
        |c| c.optimiser = optimiser::Config::default(),
        |c| c.optimiser.weight_decay = 0.0,
        |c| c.ema = None,
        |c| c.layer_decay = 1.0,
        |c| c.synthetic.share = Some(0.25),
        |c| c.synthetic.weight = 1.0,
        |c| c.held = 1,
    ];
    for (i, change) in changes.into_iter().enumerate() {
        let mut changed = short();
        change(&mut changed);
        assert!(fitted(&changed) != plain, "change {i} changes nothing");
    }
}

#[test]
fn held_parts_stay_as_they_start_and_the_rest_is_trained() {
    let (train, valid) = (halves("train", &[0, 1, 2, 3]), halves("valid", &[]));
    let start = fit(&config(2), &train, &valid, &mut Unsupervised).unwrap().weights;
    let config = Config { weights: Some(Start { name: "`w`", bytes: &start }), held: 3, ..config(2) };
    let fitted = fit(&config, &train, &valid, &mut Unsupervised).unwrap().weights;
    let [before, after] = [&start, &fitted].map(|bytes| weights::from_bytes(bytes, "test").unwrap());
    for (name, tensor) in &before {
        let held = ["conv1.", "bn1.", "layer1.", "layer2."].iter().any(|part| name.starts_with(part));
        assert_eq!(*tensor == after[name], held, "{name}");
    }
}

#[test]
fn a_fit_stops_early_by_valid_alone_and_keeps_what_did_best() {
    let (train, valid) = (halves("train", &[0, 1, 2, 3]), halves("valid", &[0, 1, 2, 3]));
    // At such a rate nothing changes, so no validation after the first is better.
    let config = Config { learning_rate: 1e-12, validations: 10, patience: Some(2), ..config(10) };
    let fitted = fit(&config, &train, &valid, &mut Unsupervised).unwrap();
    let steps: Vec<usize> = fitted.history.iter().map(|row| row.step).collect();
    assert_eq!(steps, [1, 2, 3]);
    let none = halves("valid", &[]);
    let message = fit(&config, &train, &none, &mut Unsupervised).unwrap_err().to_string();
    assert_eq!(message, "there is no photo in valid to stop early by\n  help: leave `patience` out");
}

#[test]
fn fp16_is_trained_with_a_scaled_loss() {
    let (train, valid) = (halves("train", &[0, 1, 2, 3]), halves("valid", &[0, 1, 2, 3]));
    let fitted =
        |precision| fit(&Config { precision, validations: 3, ..config(3) }, &train, &valid, &mut Unsupervised).unwrap();
    let (half, full) = (fitted(Precision::Fp16), fitted(Precision::Fp32));
    // The first step's loss is that of the same network; later ones part, as any two precisions do.
    let [a, b] = [&half, &full].map(|fitted| fitted.history[0].loss);
    assert!((a - b).abs() < 0.01, "{a} {b}");
    assert!(half.history.iter().all(|row| row.loss.is_finite() && row.loss < 3.0), "{:?}", half.history);
    assert!(half.weights != full.weights);
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
    assert_eq!(message(config(2), &Broken), "photo 7 is torn");
}

#[test]
fn batches_do_not_depend_on_the_number_of_threads() {
    let train = halves("train", &[0, 1, 2, 3, 0, 1]);
    let order = Order::new(Sampling::Uniform, 3, &train, Synthetic::default());
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
    let order = Order::new(Sampling::Uniform, 0, &halves("t", &[0, 0, 0, 1, 1, 2, 3]), Synthetic::default());
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
    let order = Order::new(Sampling::ClassBalanced, 0, &photos, Synthetic::default());
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
    // What is beside others has what they leave of the budget.
    let beside = one.beside(halves("v", &[0, 1]));
    (0..4).for_each(|i| assert_eq!(beside.load(i % 2).unwrap().dimensions(), (12, 10)));
    assert_eq!(loads(&beside), 4);
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

#[test]
fn a_share_of_synthetic_photos_holds_over_the_batches_and_each_comes_in_turn() {
    let photos = halves("t", &[0, 0, 1, 1, 2, 2, 3, 3, 0, 1]);
    for sampling in [Sampling::Uniform, Sampling::ClassBalanced] {
        for share in [0.0, 0.3, 0.5, 1.0] {
            let synthetic = Synthetic { photos: 4, share: Some(share), weight: 1.0 };
            let order = Order::new(sampling, 0, &photos, synthetic);
            let seen: Vec<usize> = (0..12).flat_map(|step| order.batch(step, 5)).collect();
            let count = seen.iter().filter(|&&i| order.is_synthetic(i)).count();
            assert_eq!((seen.len(), count), (60, (60.0 * share) as usize), "{share}");
            assert!(seen.iter().all(|&i| order.is_synthetic(i) == (i >= 6)));
            for i in (0..10).filter(|_| sampling == Sampling::Uniform) {
                let times = seen.iter().filter(|&&j| j == i).count();
                let part = if i >= 6 { 60.0 * share / 4.0 } else { 60.0 * (1.0 - share) / 6.0 };
                assert!((times as f64 - part).abs() <= 1.0, "{share}: photo {i} {times} times, not {part}");
            }
        }
    }
    // Without a share, or without one of the kinds, they come as they are.
    let plain = Order::new(Sampling::Uniform, 0, &photos, Synthetic::default()).batch(3, 7);
    for (n, share) in [(4, None), (0, Some(0.5)), (10, Some(0.5))] {
        let synthetic = Synthetic { photos: n, share, weight: 1.0 };
        assert_eq!(Order::new(Sampling::Uniform, 0, &photos, synthetic).batch(3, 7), plain);
    }
}

#[test]
fn an_erased_rectangle_is_zero_after_normalisation() {
    let train = halves("train", &[0, 1, 2, 3]);
    let order = Order::new(Sampling::Uniform, 0, &train, Synthetic::default());
    let batch = |erasing| {
        let augment = Augment { erasing, ..Augment::default() };
        let batch = Batch::train(&train, &order, &augment, 0, 0, Shape { batch: 8, size: 16 }).unwrap();
        batch.input(tch::Kind::Float, tch::Device::Cpu).unwrap()
    };
    let (plain, erased) = (batch(0.0), batch(1.0));
    let zeros = |x: &tch::Tensor| x.eq(0.0).sum(tch::Kind::Int64).int64_value(&[]);
    assert_eq!(zeros(&plain), 0);
    assert!((8 * 3 * 5..8 * 3 * 85).contains(&(zeros(&erased) as usize)), "{}", zeros(&erased));
    let changed = plain.ne_tensor(&erased).sum(tch::Kind::Int64).int64_value(&[]);
    assert_eq!(changed, zeros(&erased));
}
