//! Trains a classifier: equal steps, a seed, a supervisor; the last weights are the result, or, where a patience is set, those
//! that did best on valid. Knows neither arms nor files.

use tch::nn::VarStore;
use tch::{Device, Kind, TchError, Tensor};

use super::augment::Augment;
use super::batches::{Batch, Shape, ahead};
use super::checkpoint::{self, Progress, Saved};
use super::mix::{self, Mix};
use super::order::{Order, Sampling, Synthetic};
use super::photos::Photos;
use super::schedule::Schedule;
use crate::error::{Error, Result};
use crate::nn::TensorContext;
use crate::nn::device::Precision;
use crate::nn::ema::Averages;
use crate::nn::heap;
use crate::nn::noise::Stream;
use crate::nn::optimiser::{self, Optimiser};
use crate::nn::resnet::{self, Arch, Mode, ResNet, Stem};
use crate::nn::supervise::Supervisor;
use crate::nn::weights::{self, Named};

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
    pub weights: Option<Start<'a>>,
    pub augment: Augment,
    /// Share of the target spread over all classes (Szegedy et al. 2016), in [0, 1).
    pub label_smoothing: f64,
    pub mix: Mix,
    pub optimiser: optimiser::Config,
    /// Share of the steps in which the learning rate climbs, in [0, 1).
    pub warmup: f64,
    /// How often the accuracy on valid is taken, evenly spaced; the last time at the end, so at least once.
    pub validations: usize,
    /// Decay of the moving average that becomes the result, in [0, 1).
    pub ema: Option<f64>,
    /// Parts of the network that stay as they start: 1 the stem, 2 to 5 the stages too.
    pub held: usize,
    /// The learning rate of each part over that of the next, up to the head; in (0, 1].
    pub layer_decay: f64,
    pub synthetic: Synthetic,
    /// Stops after so many validations in a row without a better accuracy, and takes the weights of the best.
    pub patience: Option<usize>,
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
            mix: Mix::default(),
            optimiser: optimiser::Config::default(),
            warmup: 0.1,
            validations: 8,
            ema: None,
            held: 0,
            layer_decay: 1.0,
            synthetic: Synthetic::default(),
            patience: None,
        }
    }
}

/// Safetensors with torchvision's names to start from; a head of another size is replaced.
#[derive(Clone, Copy)]
pub struct Start<'a> {
    /// What messages call them.
    pub name: &'a str,
    pub bytes: &'a [u8],
}

impl std::fmt::Debug for Start<'_> {
    /// The bytes by their digest; the name determines nothing.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&blake3::hash(self.bytes).to_hex())
    }
}

/// Says what is wrong with weights to start from, before anything is fitted.
///
/// # Errors
/// [`Error::Input`] naming the file and the tensors that are missing, unexpected or misshapen.
pub fn refuse_unfit(arch: Arch, classes: usize, start: Start<'_>) -> Result<()> {
    let variables = VarStore::new(Device::Cpu);
    ResNet::blank(&variables.root(), &resnet::Config { arch, stem: Stem::ImageNet, classes })?;
    begin(&variables, start)
}

fn begin(variables: &VarStore, start: Start<'_>) -> Result<()> {
    resnet::load(variables, weights::from_bytes(start.bytes, start.name)?, start.name, true)
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

/// The row of a fit's history whose weights are its result: the last one with an accuracy, or, where a patience was set, the
/// first of those with the highest. `None` of an empty history.
pub fn row_of_result(history: &[HistoryRow], patience: Option<usize>) -> Option<&HistoryRow> {
    let mut measured = history.iter().filter(|row| row.valid_accuracy.is_some());
    let row = match patience {
        Some(_) => measured.reduce(|best, row| if row.valid_accuracy > best.valid_accuracy { row } else { best }),
        None => measured.next_back(),
    };
    row.or(history.last())
}

/// Fits a classifier to `train`, of which the last `config.synthetic.photos` are synthetic; `valid` is only watched, and may be
/// empty.
///
/// # Errors
/// [`Error::Input`] for settings or photos that cannot be worked with, and where the loss is no longer a number; [`Error::Interrupted`]
/// after the supervisor has kept the state; whatever a photo's loading returns.
pub fn fit(config: &Config, train: &dyn Photos, valid: &dyn Photos, supervisor: &mut dyn Supervisor) -> Result<Fitted> {
    check(config, train, valid)?;
    heap::keep_freed();
    let mut run = Run::new(config, train)?;
    let saved = supervisor.saved().and_then(|state| Saved::read(&state, &run.fingerprint));
    let mut progress = match saved {
        Some(saved) => run.resume(saved)?,
        None => Progress { scale: FIRST_SCALE, ..Progress::default() },
    };
    let order = Order::new(config.sampling, config.seed, train, config.synthetic);
    let shape = Shape { batch: config.batch, size: config.size };
    let make = |step| Batch::train(train, &order, &config.augment, config.seed, step, shape);
    ahead(progress.done..config.steps, make, |next| run.steps(&mut progress, next, valid, supervisor))?;
    run.settle(&mut progress, valid)?;
    run.calibrate(train, &order)?;
    if config.patience.is_none() {
        run.record(&mut progress, valid)?;
    }
    Ok(Fitted { weights: weights::save(&run.variables)?, history: progress.history })
}

/// What fp16 gradients are first multiplied with, after how many good steps that doubles, and below what it is hopeless.
const FIRST_SCALE: f64 = 65536.0;
const DOUBLED_AFTER: usize = 2000;
const LEAST_SCALE: f64 = 1.0 / 65536.0;

/// A network under training.
struct Run<'a> {
    config: &'a Config<'a>,
    schedule: Schedule,
    variables: VarStore,
    net: ResNet,
    optimiser: Optimiser,
    averages: Option<Averages>,
    /// The weights that did best on valid, where a patience is set.
    best: Named,
    /// Steps of the state that was kept last.
    kept: Option<usize>,
    fingerprint: String,
}

impl<'a> Run<'a> {
    fn new(config: &'a Config<'a>, train: &dyn Photos) -> Result<Run<'a>> {
        let variables = VarStore::new(config.device);
        let shape = resnet::Config { arch: config.arch, stem: Stem::for_size(config.size), classes: config.classes };
        let mut net = ResNet::new(&variables.root(), &shape, config.seed)?;
        if let Some(start) = config.weights {
            begin(&variables, start)?;
        }
        net.hold(&variables, config.held);
        let before_head = |name: &str| (resnet::PARTS - resnet::part_of(name)) as i32;
        let optimiser =
            Optimiser::new(&variables, config.optimiser, |name| config.layer_decay.powi(before_head(name)))?;
        let averages = config.ema.map(|decay| Averages::new(&variables, decay));
        let warmup = (config.warmup * config.steps as f64) as usize;
        let schedule = Schedule { peak: config.learning_rate, warmup, steps: config.steps };
        let fingerprint = format!("classifier 2 {config:?} {}", train.len());
        let best = Named::new();
        Ok(Run { config, schedule, variables, net, optimiser, averages, best, kept: None, fingerprint })
    }

    fn resume(&mut self, saved: Saved) -> Result<Progress> {
        if let Some(averages) = &mut self.averages {
            // The variables, for a moment, so that one loader fills both.
            checkpoint::fill(&self.variables, &saved.part("average"))?;
            averages.swap().doing("restore the averages")?;
        }
        checkpoint::fill(&self.variables, &saved.part("variable"))?;
        self.optimiser.restore(&saved.part("optimiser"))?;
        self.best = saved.part("best");
        self.kept = Some(saved.progress.done);
        Ok(saved.progress)
    }

    fn state(&self, progress: &Progress) -> Result<Vec<u8>> {
        let copied = |named: &Named| named.iter().map(|(name, t)| (name.clone(), t.shallow_clone())).collect();
        let parts = vec![
            ("variable", self.variables.variables().into_iter().collect()),
            ("optimiser", self.optimiser.state()),
            ("average", self.averages.as_ref().map(Averages::state).unwrap_or_default()),
            ("best", copied(&self.best)),
        ];
        checkpoint::save(&self.fingerprint, progress, parts)
    }

    fn steps(
        &mut self,
        progress: &mut Progress,
        next: &mut dyn FnMut() -> Result<Batch>,
        valid: &dyn Photos,
        supervisor: &mut dyn Supervisor,
    ) -> Result<()> {
        let steps = self.config.steps;
        while progress.done < steps && self.patient(progress) {
            let loss = self.step(&next()?, progress, supervisor)?;
            progress.done += 1;
            progress.loss_sum += loss;
            progress.losses += 1;
            if let Some(averages) = &mut self.averages {
                averages.update(progress.done as i64).doing("average the weights")?;
            }
            supervisor.step(progress.done, steps, loss);
            // The last row is written after the last word on the weights.
            if progress.done < steps && (self.row_due(progress.done) || self.validation_due(progress.done)) {
                self.record(progress, valid)?;
            }
            let stopping = supervisor.stopping();
            if (stopping || supervisor.wants_save()) && self.finite()? {
                supervisor.save(&self.state(progress)?)?;
                self.kept = Some(progress.done);
            }
            if stopping {
                return Err(Error::Interrupted);
            }
        }
        Ok(())
    }

    fn patient(&self, progress: &Progress) -> bool {
        self.config.patience.is_none_or(|patience| progress.since < patience)
    }

    /// One optimiser step; returns its loss.
    fn step(&mut self, batch: &Batch, progress: &mut Progress, supervisor: &dyn Supervisor) -> Result<f64> {
        let config = self.config;
        let side = config.size as u32;
        let mut stream = Stream::indexed(config.seed, "mix", &[progress.done as u64]);
        let mixed = config.mix.draw(&mut stream, side, side);
        let x = batch.input(Kind::Float, config.device)?;
        let x = mixed.apply(x).and_then(|x| x.f_to_kind(config.precision.kind())).doing("mix the photos")?;
        let logits = self.net.forward(&x, Mode::Train { momentum: 0.1 })?;
        let targets = batch.targets(config.device)?;
        let counts = batch.weights(config.synthetic.weight, config.device)?;
        let loss = mix::loss(&logits, &targets, mixed.kept(), config.label_smoothing, counts.as_ref())
            .doing("compute the classifier's loss")?;
        let value = loss.f_double_value(&[]).doing("read the classifier's loss")?;
        if !value.is_finite() {
            return Err(self.lost(&format!("loss is {value}"), progress.done + 1, supervisor));
        }
        let scaled = config.precision == Precision::Fp16;
        let loss = if scaled { loss.f_mul_scalar(progress.scale).doing("scale the loss")? } else { loss };
        let mut gradients =
            Tensor::f_run_backward(&[loss], &self.optimiser.variables(), false, false).doing("train the classifier")?;
        if scaled && !unscale(&mut gradients, progress).doing("scale the gradients")? {
            if progress.scale < LEAST_SCALE {
                return Err(self.lost("gradients are not finite in fp16", progress.done + 1, supervisor));
            }
            // Too large for fp16: this step is left out, as torch's GradScaler does.
            return Ok(value);
        }
        self.optimiser.step(self.schedule.rate(progress.done), &gradients)?;
        Ok(value)
    }

    fn lost(&self, what: &str, step: usize, supervisor: &dyn Supervisor) -> Error {
        let good = match (self.kept, supervisor.place()) {
            (Some(step), Some(place)) => format!("the last good state, of step {step}, is kept in {place}"),
            (Some(step), None) => format!("the last good state is that of step {step}"),
            (None, _) => "no state was kept before it".to_string(),
        };
        Error::input_help(
            format!("the classifier's {what} at step {step} of {}; {good}", self.config.steps),
            format!("the learning rate {} may be too high", self.config.learning_rate),
        )
    }

    /// Whether all weights are numbers, so that it makes sense to go on from them.
    fn finite(&self) -> Result<bool> {
        let sum = |variable: &Tensor| variable.detach().f_sum(Kind::Double)?.f_double_value(&[]);
        for (_, variable) in self.variables.variables() {
            if !sum(&variable).doing("look at the weights")?.is_finite() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes the weights of the network those of the result: the averages, or the best on valid.
    fn settle(&mut self, progress: &mut Progress, valid: &dyn Photos) -> Result<()> {
        if self.config.patience.is_some() {
            if progress.history.last().map(|row| row.step) != Some(progress.done) {
                self.record(progress, valid)?;
            }
            return checkpoint::fill(&self.variables, &self.best);
        }
        self.swap_averages()
    }

    fn swap_averages(&mut self) -> Result<()> {
        self.averages.as_mut().map_or(Ok(()), |averages| averages.swap().doing("take the averaged weights"))
    }

    fn row_due(&self, done: usize) -> bool {
        done.is_multiple_of(self.config.steps.div_ceil(ROWS))
    }

    fn validation_due(&self, done: usize) -> bool {
        let (steps, times) = (self.config.steps, self.config.validations.max(1));
        done * times / steps > (done - 1) * times / steps
    }

    fn record(&mut self, progress: &mut Progress, valid: &dyn Photos) -> Result<()> {
        let mut valid_accuracy = None;
        if self.validation_due(progress.done) || progress.done == self.config.steps {
            // At the very end the network has the averages already.
            let averaged = progress.done < self.config.steps || self.config.patience.is_some();
            if averaged {
                self.swap_averages()?;
            }
            valid_accuracy = self.accuracy(valid)?;
            if self.config.patience.is_some() {
                self.compare(progress, valid_accuracy);
            }
            if averaged {
                self.swap_averages()?;
            }
        }
        let loss = progress.loss_sum / progress.losses as f64;
        let learning_rate = self.schedule.rate(progress.done - 1);
        progress.history.push(HistoryRow { step: progress.done, loss, valid_accuracy, learning_rate });
        (progress.loss_sum, progress.losses) = (0.0, 0);
        Ok(())
    }

    /// Keeps the weights if they did better on valid than all before.
    fn compare(&mut self, progress: &mut Progress, accuracy: Option<f64>) {
        if accuracy > progress.best || self.best.is_empty() {
            let own = self.variables.variables().into_iter();
            self.best = own.map(|(name, variable)| (name, variable.detach().copy())).collect();
            (progress.best, progress.since) = (accuracy, 0);
        } else {
            progress.since += 1;
        }
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

/// Divides the gradients by the scale and says whether all of them are finite; the scale then follows, as torch's GradScaler has
/// it.
fn unscale(gradients: &mut [Tensor], progress: &mut Progress) -> std::result::Result<bool, TchError> {
    let mut finite = true;
    for gradient in gradients.iter_mut() {
        *gradient = gradient.f_mul_scalar(1.0 / progress.scale)?;
        finite = finite && gradient.f_abs()?.f_sum(Kind::Double)?.f_double_value(&[])?.is_finite();
    }
    if !finite {
        (progress.scale, progress.scaled) = (progress.scale / 2.0, 0);
        return Ok(false);
    }
    progress.scaled += 1;
    if progress.scaled == DOUBLED_AFTER {
        (progress.scale, progress.scaled) = (progress.scale * 2.0, 0);
    }
    Ok(true)
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
    if train.is_empty() {
        return refuse("the classifier has no photo to train on".into());
    }
    if config.patience.is_some() && valid.is_empty() {
        return Err(Error::input_help("there is no photo in valid to stop early by", "leave `patience` out"));
    }
    for photos in [train, valid] {
        if let Some(i) = (0..photos.len()).find(|&i| photos.class(i) >= config.classes) {
            return refuse(format!("photo {i} is of class {}, but there are {}", photos.class(i), config.classes));
        }
    }
    Ok(())
}
