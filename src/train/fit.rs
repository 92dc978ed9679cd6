//! Trains a classifier: equal steps, a seed, a supervisor; the last weights are the result, never chosen by a score. Knows
//! neither arms nor files.

use tch::nn::VarStore;
use tch::{Device, Kind, Reduction, Tensor};

use super::augment::Augment;
use super::batches::{Batch, Shape, ahead};
use super::checkpoint::{self, Progress};
use super::order::{Order, Sampling};
use super::photos::Photos;
use super::schedule::Schedule;
use crate::error::{Error, Result};
use crate::nn::TensorContext;
use crate::nn::device::Precision;
use crate::nn::heap;
use crate::nn::resnet::{self, Arch, Mode, ResNet, Stem};
use crate::nn::sgd::{self, Sgd};
use crate::nn::supervise::Supervisor;
use crate::nn::weights;

/// Rows that a fit's history aims at.
const ROWS: usize = 100;

/// Photos that the running statistics are measured on at the end.
const CALIBRATION: usize = 2048;

/// All that determines a fit, beside its photos.
#[derive(Debug, Clone)]
pub struct Config<'a> {
    pub arch: Arch,
    pub classes: usize,
    /// Side of the square input in pixels; also chooses the stem, [`Stem::for_size`].
    pub size: usize,
    /// Optimiser steps, however many photos there are.
    pub steps: usize,
    /// Photos a step, at least 2; may exceed the photos there are.
    pub batch: usize,
    /// At the peak of the schedule.
    pub learning_rate: f64,
    pub seed: u64,
    /// Of convolutions and activations; weights, batch norms and the loss are always fp32.
    pub precision: Precision,
    pub device: Device,
    pub sampling: Sampling,
    /// Safetensors with torchvision's names to start from; a head of another size is replaced.
    pub weights: Option<&'a [u8]>,
    pub augment: Augment,
    /// Share of the target spread over all classes (Szegedy et al. 2016), in [0, 1).
    pub label_smoothing: f64,
    pub optimiser: sgd::Config,
    /// Share of the steps in which the learning rate climbs, in [0, 1).
    pub warmup: f64,
    /// How often the accuracy on valid is taken, evenly spaced; the last time at the end, so at least once.
    pub validations: usize,
}

impl Config<'_> {
    /// The settings that suit a short fit from scratch on the CPU; seed 0.
    pub fn new(arch: Arch, classes: usize, size: usize, steps: usize, batch: usize) -> Config<'static> {
        Config {
            arch,
            classes,
            size,
            steps,
            batch,
            learning_rate: 0.1,
            seed: 0,
            precision: Precision::Bf16,
            device: Device::Cpu,
            sampling: Sampling::Uniform,
            weights: None,
            augment: Augment::default(),
            label_smoothing: 0.1,
            optimiser: sgd::Config::default(),
            warmup: 0.1,
            validations: 8,
        }
    }
}

/// The result of a fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// Safetensors, fp32, torchvision's names.
    pub weights: Vec<u8>,
    pub history: Vec<HistoryRow>,
}

/// A line of a training curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HistoryRow {
    /// Steps done.
    pub step: usize,
    /// Mean training loss since the row before.
    pub loss: f64,
    /// Share of valid named rightly, in [0, 1], where it was taken.
    pub valid_accuracy: Option<f64>,
    /// Of this step.
    pub learning_rate: f64,
}

/// Fits a classifier to `train`; `valid` is only watched, and may be empty.
///
/// # Errors
/// [`Error::Input`] for settings or photos that cannot be worked with, and where the loss is no longer a number; [`Error::Interrupted`]
/// after the supervisor has kept the state; whatever a photo's loading returns.
pub fn fit(config: &Config, train: &dyn Photos, valid: &dyn Photos, supervisor: &mut dyn Supervisor) -> Result<Fitted> {
    check(config, train, valid)?;
    heap::keep_freed();
    let mut run = Run::new(config, train)?;
    let mut progress = match supervisor.saved() {
        Some(state) => checkpoint::restore(&state, &run.fingerprint, &run.variables, &mut run.sgd)?.unwrap_or_default(),
        None => Progress::default(),
    };
    let order = Order::new(config.sampling, config.seed, train);
    let shape = Shape { batch: config.batch, size: config.size };
    let make = |step| Batch::train(train, &order, &config.augment, config.seed, step, shape);
    ahead(progress.done..config.steps, make, |next| run.steps(&mut progress, next, valid, supervisor))?;
    run.calibrate(train, &order)?;
    run.record(&mut progress, valid)?;
    Ok(Fitted { weights: weights::save(&run.variables)?, history: progress.history })
}

/// A network under training.
struct Run<'a> {
    config: &'a Config<'a>,
    schedule: Schedule,
    variables: VarStore,
    net: ResNet,
    sgd: Sgd,
    fingerprint: String,
}

impl<'a> Run<'a> {
    fn new(config: &'a Config<'a>, train: &dyn Photos) -> Result<Run<'a>> {
        let variables = VarStore::new(config.device);
        let shape = resnet::Config { arch: config.arch, stem: Stem::for_size(config.size), classes: config.classes };
        let net = ResNet::new(&variables.root(), &shape, config.seed)?;
        if let Some(bytes) = config.weights {
            resnet::load(
                &variables,
                weights::from_bytes(bytes, "the file of starting weights")?,
                "the file of starting weights",
                true,
            )?;
        }
        let sgd = Sgd::new(&variables, config.optimiser)?;
        let warmup = (config.warmup * config.steps as f64) as usize;
        let schedule = Schedule { peak: config.learning_rate, warmup, steps: config.steps };
        let named = Config { weights: None, ..config.clone() };
        let start = config.weights.map(blake3::hash);
        let fingerprint = format!("classifier 1 {named:?} {start:?} {}", train.len());
        Ok(Run { config, schedule, variables, net, sgd, fingerprint })
    }

    fn steps(
        &mut self,
        progress: &mut Progress,
        next: &mut dyn FnMut() -> Result<Batch>,
        valid: &dyn Photos,
        supervisor: &mut dyn Supervisor,
    ) -> Result<()> {
        let steps = self.config.steps;
        while progress.done < steps {
            let loss = self.step(&next()?, progress.done)?;
            progress.done += 1;
            progress.loss_sum += loss;
            progress.losses += 1;
            supervisor.step(progress.done, steps, loss);
            // The last row is written after the last word on the weights.
            if progress.done < steps && (self.row_due(progress.done) || self.validation_due(progress.done)) {
                self.record(progress, valid)?;
            }
            let stopping = supervisor.stopping();
            if stopping || supervisor.wants_save() {
                supervisor.save(&checkpoint::save(&self.fingerprint, progress, &self.variables, &self.sgd)?)?;
            }
            if stopping {
                return Err(Error::Interrupted);
            }
        }
        Ok(())
    }

    /// One optimiser step; returns its loss.
    fn step(&mut self, batch: &Batch, done: usize) -> Result<f64> {
        let config = self.config;
        let x = batch.input(config.precision.kind(), config.device)?;
        let logits = self.net.forward(&x, Mode::Train { momentum: 0.1 })?;
        let targets = batch.targets(config.device)?;
        let loss = logits
            .f_cross_entropy_loss(&targets, None::<&Tensor>, Reduction::Mean, -100, config.label_smoothing)
            .doing("compute the classifier's loss")?;
        let value = loss.f_double_value(&[]).doing("read the classifier's loss")?;
        if !value.is_finite() {
            return Err(Error::input_help(
                format!("the classifier's loss is {value} at step {} of {}", done + 1, config.steps),
                format!("the learning rate {} may be too high", config.learning_rate),
            ));
        }
        let gradients =
            Tensor::f_run_backward(&[loss], &self.sgd.variables(), false, false).doing("train the classifier")?;
        self.sgd.step(self.schedule.rate(done), &gradients)?;
        Ok(value)
    }

    fn row_due(&self, done: usize) -> bool {
        done.is_multiple_of(self.config.steps.div_ceil(ROWS))
    }

    fn validation_due(&self, done: usize) -> bool {
        let (steps, times) = (self.config.steps, self.config.validations.max(1));
        done * times / steps > (done - 1) * times / steps
    }

    fn record(&self, progress: &mut Progress, valid: &dyn Photos) -> Result<()> {
        let valid_accuracy = if self.validation_due(progress.done) { self.accuracy(valid)? } else { None };
        let loss = progress.loss_sum / progress.losses as f64;
        let learning_rate = self.schedule.rate(progress.done - 1);
        progress.history.push(HistoryRow { step: progress.done, loss, valid_accuracy, learning_rate });
        (progress.loss_sum, progress.losses) = (0.0, 0);
        Ok(())
    }

    /// Share of the photos named rightly; `None` without photos.
    fn accuracy(&self, photos: &dyn Photos) -> Result<Option<f64>> {
        let config = self.config;
        let batches = photos.len().div_ceil(config.batch);
        let mut right = 0.0;
        let make =
            |i: usize| Batch::eval(photos, i * config.batch..((i + 1) * config.batch).min(photos.len()), config.size);
        ahead(0..batches, make, |next| {
            let _guard = tch::no_grad_guard();
            for _ in 0..batches {
                let mut batch = next()?;
                let wanted = batch.len() as i64;
                batch.pad(config.batch);
                let logits = self.net.forward(&batch.input(config.precision.kind(), config.device)?, Mode::Eval)?;
                let targets = batch.targets(config.device)?;
                let count = || {
                    let hits = logits.f_argmax(-1, false)?.f_eq_tensor(&targets)?.f_narrow(0, 0, wanted)?;
                    hits.f_sum(Kind::Double)?.f_double_value(&[])
                };
                right += count().doing("count right answers")?;
            }
            Ok(())
        })?;
        Ok((!photos.is_empty()).then(|| right / photos.len() as f64))
    }

    /// Measures the running statistics again with the last weights, as a plain mean over training batches: the moving average of
    /// a short fit lags behind weights that still change (Wu & Johnson 2021).
    fn calibrate(&self, train: &dyn Photos, order: &Order) -> Result<()> {
        let config = self.config;
        let shape = Shape { batch: config.batch, size: config.size };
        let batches = CALIBRATION.min(train.len()).div_ceil(config.batch);
        // Batches that come after those of training.
        let steps = config.steps..config.steps + batches;
        let make = |step| Batch::train(train, order, &config.augment, config.seed, step, shape);
        ahead(steps, make, |next| {
            let _guard = tch::no_grad_guard();
            for i in 0..batches {
                let x = next()?.input(config.precision.kind(), config.device)?;
                let _ = self.net.features(&x, Mode::Train { momentum: 1.0 / (i + 1) as f64 })?;
            }
            Ok(())
        })
    }
}

fn check(config: &Config, train: &dyn Photos, valid: &dyn Photos) -> Result<()> {
    let refuse = |problem: String| Err(Error::input(problem));
    if config.steps == 0 || config.size == 0 || config.classes == 0 {
        return refuse("the classifier's steps, size and classes are at least 1".into());
    }
    if config.batch < 2 {
        return refuse(format!("the classifier's batch is {}; batch norm needs at least 2 photos", config.batch));
    }
    if !(config.learning_rate > 0.0 && config.learning_rate.is_finite()) {
        return refuse(format!("the classifier's learning rate is {}; it must be above 0", config.learning_rate));
    }
    if config.precision == Precision::Fp16 {
        return Err(Error::input_help(
            "classifiers are not trained in fp16",
            "bf16 is as fast and needs no loss scaling",
        ));
    }
    if train.is_empty() {
        return refuse("the classifier has no photo to train on".into());
    }
    for photos in [train, valid] {
        if let Some(i) = (0..photos.len()).find(|&i| photos.class(i) >= config.classes) {
            return refuse(format!("photo {i} is of class {}, but there are {}", photos.class(i), config.classes));
        }
    }
    Ok(())
}
