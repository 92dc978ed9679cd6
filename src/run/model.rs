//! Networks behind keys: the generator, and classifiers for the baseline and the arms. Each is fitted once and then
//! comes from the cache.

use image::RgbImage;

use crate::dataset::decode;
use crate::diffusion::ddpm::Ddpm;
use crate::diffusion::fit::{self as ddpm_fit, FitOptions};
use crate::diffusion::sampler::SamplerKind;
use crate::diffusion::{Generator, SampleOptions, unet};
use crate::error::{Error, IoContext, Result};
use crate::nn::device::Precision;
use crate::nn::optimiser::{self, Rule};
use crate::nn::resnet::Arch;
use crate::plan::inputs::{self, Digest, PhotoList};
use crate::plan::{Inputs, Step};
use crate::recipe::{self, GeneratorKind, Recipe};
use crate::text;
use crate::train::{self, Augment, Classifier, HistoryRow, Jitter, Kept, Mix, Policy, Sampling, Start, Synthetic};

use super::base::{self, Base, OfSpecies};
use super::fine_tune::{self, TrainOnly};
use super::fitting::Fitting;
use super::inception;
use super::photos::{Files, Place};
use super::session::{Mode, Session};
use super::survey::Survey;

/// A generator that is ready.
pub struct Model {
    /// Of its weights; enters its candidates' keys.
    pub digest: Digest,
    network: Network,
}

enum Network {
    Ddpm { weights: Vec<u8>, config: unet::Config },
    StableDiffusion { base: Box<Base>, lora: Option<Vec<u8>> },
}

impl Model {
    /// The network that the recipe describes and fits, with these weights, which have this digest.
    ///
    /// # Errors
    /// What opening the checkpoint says that a LoRA is for.
    pub fn fitted(session: &Session<'_>, survey: &Survey, digest: Digest, weights: Vec<u8>) -> Result<Model> {
        let recipe = session.recipe;
        match &recipe.generator.kind {
            GeneratorKind::Ddpm(ddpm) => {
                let config = config(survey, recipe, ddpm);
                Ok(Model { digest, network: Network::Ddpm { weights, config } })
            }
            GeneratorKind::StableDiffusion(model) => {
                let base = open_base(session, model)?;
                let digest = inputs::fine_tuned(base.digest, digest);
                Ok(Model { digest, network: Network::StableDiffusion { base: Box::new(base), lora: Some(weights) } })
            }
        }
    }

    /// The checkpoint that the recipe names, as it is.
    ///
    /// # Errors
    /// [`Error::Input`] for what is no checkpoint that can be run.
    pub fn stable_diffusion(session: &Session<'_>, model: &recipe::StableDiffusion) -> Result<Model> {
        let base = open_base(session, model)?;
        Ok(Model { digest: base.digest, network: Network::StableDiffusion { base: Box::new(base), lora: None } })
    }

    /// The generator ready to sample, as the recipe sets it.
    pub fn open(&self, session: &Session<'_>, survey: &Survey) -> Result<Box<dyn Generator>> {
        match (&self.network, &session.recipe.generator.kind) {
            (Network::StableDiffusion { base, lora }, GeneratorKind::StableDiffusion(model)) => {
                let (recipe, progress, device) = (session.recipe, session.progress, session.device);
                let lora = lora.as_deref().map(fine_tune::read).transpose()?.unwrap_or_default();
                Ok(Box::new(OfSpecies::new(base, model, recipe, survey, progress, device, lora)?))
            }
            (Network::Ddpm { weights, config }, _) => Ok(Box::new(self.open_ddpm(session, weights, config)?)),
            (Network::StableDiffusion { .. }, _) => Err(Error::input("the recipe's generator is no checkpoint")),
        }
    }

    fn open_ddpm(&self, session: &Session<'_>, weights: &[u8], config: &unet::Config) -> Result<Ddpm> {
        let settings = &session.recipe.generator;
        let options = SampleOptions {
            sampler: SamplerKind::from_name(settings.sampler.name())?,
            steps: settings.steps,
            guidance: settings.guidance,
            strength: settings.strength,
            batch: settings.batch,
            precision: precision(settings.precision),
        };
        Ddpm::new(config, weights, options, session.device)
    }
}

fn open_base(session: &Session<'_>, model: &recipe::StableDiffusion) -> Result<Base> {
    Base::of_recipe(session.store, model, session.options.rehash, session.may_fetch())
}

/// The recipe's generator, fitted on exactly the arm's train photos; `None` if planning and it is not there.
///
/// # Errors
/// What opening the checkpoint says, or the fit.
pub fn generator(session: &mut Session<'_>, survey: &Survey) -> Result<Option<Model>> {
    let recipe = session.recipe;
    if let GeneratorKind::StableDiffusion(model) = &recipe.generator.kind
        && session.mode == Mode::Plan
        && base::waits_for_fetch(session.store, &model.model)?
    {
        session.ledger.due(Step::Generator, format!("`{}` is to be fetched", model.model));
        return Ok(None);
    }
    let inputs = match (generator_inputs(session, survey)?, &recipe.generator.kind) {
        (None, GeneratorKind::StableDiffusion(model)) => {
            let model = Model::stable_diffusion(session, model)?;
            session.note("generator", &inputs::stable_diffusion_model(model.digest))?;
            return Ok(Some(model));
        }
        (None, GeneratorKind::Ddpm(_)) => return Ok(None),
        (Some(inputs), _) => inputs,
    };
    let found = session.obtain_bytes(Step::Generator, "generator", &inputs, "weights", |session, record| {
        let mut fitting =
            Fitting::new(session.store, session.progress, inputs.key(), "generator", fit_steps(recipe).unwrap_or(0));
        let weights = fit_generator(session, survey, &mut fitting)?;
        let record = record.output("weights", session.store.put_durable(&weights)?);
        fitting.finish()?;
        Ok(record)
    })?;
    let (record, weights) = match found {
        Some((record, weights)) => (Some(record), weights),
        // The weights are gone and will be fitted again, to the bytes they had: a plan can look past them.
        None => (session.store.record(&inputs.key().0), Vec::new()),
    };
    let digest = record.and_then(|record| record.blob("weights"));
    digest.map(|digest| Model::fitted(session, survey, digest, weights)).transpose()
}

/// Says what is wrong with a checkpoint, or with the Inception network's weights, before anything is fitted.
pub fn refuse_unusable(session: &Session<'_>) -> Result<()> {
    if let recipe::Features::Inception(path) = &session.recipe.filter.features {
        inception::refuse_unusable(session.store, path)?;
    }
    let GeneratorKind::StableDiffusion(model) = &session.recipe.generator.kind else { return Ok(()) };
    if session.may_fetch().is_none() && base::waits_for_fetch(session.store, &model.model)? {
        return Ok(());
    }
    let base = open_base(session, model)?;
    base.warn_of_guess("`prediction_type = \"epsilon\"` in `[generator]`", session.progress);
    base.refuse_unusable(&session.recipe.generator)
}

/// The key's inputs of the generator that a recipe fits; `None` if it names one that is fitted already.
///
/// # Errors
/// What opening the checkpoint says that a LoRA is for.
pub fn generator_inputs(session: &Session<'_>, survey: &Survey) -> Result<Option<Inputs>> {
    let settings = &session.recipe.generator;
    Ok(match &settings.kind {
        GeneratorKind::Ddpm(ddpm) => Some(inputs::ddpm_fit(settings, ddpm, &survey.train_list)),
        GeneratorKind::StableDiffusion(model) => match &model.lora {
            Some(lora) => Some(fine_tune::inputs(settings, model, lora, open_base(session, model)?.digest, survey)),
            None => None,
        },
    })
}

/// The generator's digest as candidates' keys have it, out of those of the checkpoint that the recipe names and of what it fits;
/// `None` where one of them is wanted and not there.
pub fn generator_digest(recipe: &Recipe, checkpoint: Option<Digest>, fitted: Option<Digest>) -> Option<Digest> {
    match &recipe.generator.kind {
        GeneratorKind::Ddpm(_) => fitted,
        GeneratorKind::StableDiffusion(model) if model.lora.is_none() => checkpoint,
        GeneratorKind::StableDiffusion(_) => Some(inputs::fine_tuned(checkpoint?, fitted?)),
    }
}

/// Steps of the fit that makes the recipe's generator; `None` if it names one that is fitted already.
pub fn fit_steps(recipe: &Recipe) -> Option<usize> {
    match &recipe.generator.kind {
        GeneratorKind::Ddpm(ddpm) => Some(ddpm.train.steps),
        GeneratorKind::StableDiffusion(model) => model.lora.as_ref().map(|lora| lora.steps),
    }
}

/// Fits the generator, or the LoRA of it, on the arm's train photos; returns its bytes.
///
/// # Errors
/// What the fit says.
pub fn fit_generator(session: &Session<'_>, survey: &Survey, fitting: &mut Fitting<'_>) -> Result<Vec<u8>> {
    let settings = &session.recipe.generator;
    match &settings.kind {
        GeneratorKind::Ddpm(ddpm) => fit_ddpm(session, survey, ddpm, fitting),
        GeneratorKind::StableDiffusion(model) => {
            let lora = model.lora.as_ref().ok_or_else(|| Error::input("the recipe's generator is not fitted"))?;
            let base = open_base(session, model)?;
            fine_tune::fit(&base, settings, model, lora, survey, session.device, fitting)
        }
    }
}

fn fit_ddpm(session: &Session<'_>, survey: &Survey, ddpm: &recipe::Ddpm, fitting: &mut Fitting<'_>) -> Result<Vec<u8>> {
    let settings = &session.recipe.generator;
    let config = config(survey, session.recipe, ddpm);
    let (images, classes) = train_squares(survey, config.size)?;
    let options = FitOptions {
        steps: ddpm.train.steps,
        batch: ddpm.train.batch,
        learning_rate: ddpm.train.learning_rate,
        seed: settings.seed,
        precision: precision(settings.precision),
        device: session.device,
    };
    ddpm_fit::fit(&config, &options, &images, &classes, fitting)
}

fn config(survey: &Survey, recipe: &Recipe, ddpm: &recipe::Ddpm) -> unet::Config {
    unet::Config {
        size: recipe.generator.size,
        width: ddpm.width,
        levels: ddpm.levels.clone(),
        depth: ddpm.depth,
        classes: survey.dataset.species.len(),
    }
}

/// The train photos of the cut as squares for the generator, with their classes.
fn train_squares(survey: &Survey, size: usize) -> Result<(Vec<RgbImage>, Vec<usize>)> {
    use rayon::prelude::*;
    let may_see = TrainOnly::new(survey)?;
    let images = survey
        .cut
        .train
        .par_iter()
        .map(|&photo| Ok(decode::square(&may_see.open(&survey.dataset.path(photo))?, size as u32)))
        .collect::<Result<Vec<_>>>()?;
    let classes = survey.cut.train.iter().map(|&photo| survey.dataset.photos[photo].species as usize).collect();
    Ok((images, classes))
}

/// One training set: what an arm's classifiers are fitted on.
pub struct Arm {
    /// As the recipe has it.
    pub asked: recipe::Arm,
    /// Real ones first.
    pub items: Vec<(Place, usize)>,
    /// The same as digests and species.
    pub list: PhotoList,
    /// How many items are synthetic.
    pub synthetic: usize,
}

/// A fitted classifier's weights and its training curve.
pub struct FittedClassifier {
    pub digest: Digest,
    pub weights: Vec<u8>,
    pub history: Vec<HistoryRow>,
}

/// An arm's classifier for one seed; `None` if planning and it is not there.
pub fn classifier(
    session: &mut Session<'_>,
    survey: &Survey,
    step: Step,
    arm: &Arm,
    seed: u64,
) -> Result<Option<FittedClassifier>> {
    let settings = settings_of(session, &arm.asked);
    let (inputs, start) = classifier_inputs(session, survey, arm, seed)?;
    let slot = classifier_slot(&arm.asked.name, seed);
    session.know(&arm.list)?;
    let found = session.obtain_bytes(step, &slot, &inputs, "weights", |session, record| {
        if arm.items.is_empty() {
            return Err(Error::input_help(
                format!("the arm `{}` has no images to train on", arm.asked.name),
                "leave it out of `[compare] arms`, or ask for synthetic images in `[balance]`",
            ));
        }
        warn_of_few(session, survey, arm);
        let config = train::Config {
            learning_rate: settings.learning_rate,
            seed,
            precision: precision(settings.precision),
            device: session.device,
            sampling: match arm.asked.sampling {
                recipe::Sampling::Uniform => Sampling::Uniform,
                recipe::Sampling::ClassBalanced => Sampling::ClassBalanced,
            },
            weights: start.as_ref().map(Weights::start),
            synthetic: Synthetic { photos: mixed(arm), ..synthetic(&settings.training) },
            ..configured(&settings, survey.dataset.species.len())
        };
        let shorter = Some(2 * settings.size as u32);
        let budget = settings.training.memory_mb << 20;
        let train = Kept::new(Files { store: session.store, items: arm.items.clone() }, shorter, budget);
        let valid = train.beside(files(session, survey, &survey.cut.valid));
        let mut fitting = Fitting::new(
            session.store,
            session.progress,
            inputs.key(),
            &format!("{} seed {seed}", arm.asked.name),
            settings.steps,
        )
        .every(settings.training.checkpoint_minutes);
        let fitted = train::fit(&config, &train, &valid, &mut fitting)?;
        let history =
            serde_json::to_vec(&history_rows(&fitted.history)).map_err(|error| Error::input(error.to_string()))?;
        let record = record
            .output("weights", session.store.put_durable(&fitted.weights)?)
            .output("history", session.store.put(&history)?);
        fitting.finish()?;
        Ok(record)
    })?;
    let Some((record, weights)) = found else { return Ok(None) };
    let history = record.blob("history").map(|digest| session.store.get(&digest)).transpose()?.flatten();
    let history = history.and_then(|bytes| serde_json::from_slice::<Vec<Row>>(&bytes).ok()).unwrap_or_default();
    let history = history
        .into_iter()
        .map(|(step, loss, valid_accuracy, learning_rate)| HistoryRow { step, loss, valid_accuracy, learning_rate })
        .collect();
    Ok(record.blob("weights").map(|digest| FittedClassifier { digest, weights, history }))
}

/// What the recipe says of classifiers, as it is for this arm.
pub fn settings_of(session: &Session<'_>, arm: &recipe::Arm) -> recipe::Classifier {
    let mut settings = session.recipe.classifier.clone();
    if let Some(augment) = arm.augment {
        settings.training.augment = augment;
    }
    settings.training.synthetic_share = arm.synthetic_share.or(settings.training.synthetic_share);
    settings
}

/// How a classifier is fitted, but for what an arm has of its own.
fn configured(settings: &recipe::Classifier, classes: usize) -> train::Config<'static> {
    let training = &settings.training;
    let recipe::Jitter { brightness, contrast, saturation, hue } = training.jitter;
    let policy = match training.augment {
        recipe::Augment::Plain => Policy::None,
        recipe::Augment::RandAugment => {
            Policy::RandAugment { ops: training.randaug_ops, magnitude: training.randaug_magnitude }
        }
        recipe::Augment::TrivialAugment => Policy::TrivialAugment,
    };
    let rule = match training.optimiser {
        recipe::Optimiser::Sgd => Rule::Sgd { momentum: training.momentum },
        recipe::Optimiser::AdamW => Rule::ADAMW,
    };
    let plain = train::Config::new(arch(settings.arch), classes, settings.size, settings.steps, settings.batch);
    train::Config {
        augment: Augment {
            scale: (training.crop_min, 1.0),
            jitter: Jitter { brightness, contrast, saturation, hue },
            policy,
            erasing: training.erasing,
            ..plain.augment
        },
        mix: Mix { mixup: training.mixup, cutmix: training.cutmix },
        label_smoothing: training.label_smoothing,
        optimiser: optimiser::Config { rule, weight_decay: training.weight_decay },
        warmup: training.warmup,
        ema: training.ema,
        held: training.freeze as usize,
        layer_decay: training.layer_decay,
        patience: training.patience,
        ..plain
    }
}

/// The synthetic images of an arm that has both kinds: in one that is synthetic alone there is no share and no other weight.
fn mixed(arm: &Arm) -> usize {
    if arm.synthetic < arm.items.len() { arm.synthetic } else { 0 }
}

/// What the recipe says of synthetic photos in batches.
fn synthetic(training: &recipe::Training) -> Synthetic {
    Synthetic { photos: 0, share: training.synthetic_share, weight: training.synthetic_weight }
}

/// Says what is odd about an arm's photos.
fn warn_of_few(session: &Session<'_>, survey: &Survey, arm: &Arm) {
    let batch = session.recipe.classifier.batch;
    if arm.items.len() < batch {
        let photos = text::count(arm.items.len(), "image");
        session.progress.warn(&format!(
            "the arm `{}` has {photos}, fewer than `batch = {batch}`: a batch holds some of them more than once",
            arm.asked.name
        ));
    }
    let mut counts = vec![0usize; survey.dataset.species.len()];
    arm.items.iter().for_each(|(_, class)| counts[*class] += 1);
    let single: Vec<&str> =
        survey.dataset.species.iter().zip(&counts).filter(|(_, n)| **n == 1).map(|(name, _)| name.as_str()).collect();
    if let Some(first) = single.first() {
        let others = if single.len() > 1 { format!(" and {} others have", single.len() - 1) } else { " has".into() };
        session.progress.warn(&format!(
            "`{first}`{others} a single image in the arm `{}`: nothing but crops tells its kind",
            arm.asked.name
        ));
    }
}

/// A file of weights to start from.
pub struct Weights {
    name: String,
    bytes: Vec<u8>,
}

impl Weights {
    fn start(&self) -> Start<'_> {
        Start { name: &self.name, bytes: &self.bytes }
    }
}

fn start_weights(settings: &recipe::Classifier) -> Result<Option<Weights>> {
    let read = |path: &std::path::PathBuf| {
        let bytes = std::fs::read(path).doing("read the weights", path)?;
        Ok(Weights { name: format!("`{}`", path.display()), bytes })
    };
    settings.weights.as_ref().map(read).transpose()
}

/// Says what is wrong with the weights that classifiers start from before anything is fitted.
///
/// # Errors
/// What is missing, unexpected or misshapen in them.
pub fn refuse_unfit(session: &Session<'_>, survey: &Survey) -> Result<()> {
    let settings = &session.recipe.classifier;
    match start_weights(settings)? {
        Some(weights) => train::refuse_unfit(arch(settings.arch), survey.dataset.species.len(), weights.start()),
        None => Ok(()),
    }
}

/// What enters the key of an arm's classifier, and the weights that it starts from.
pub fn classifier_inputs(
    session: &Session<'_>,
    survey: &Survey,
    arm: &Arm,
    seed: u64,
) -> Result<(Inputs, Option<Weights>)> {
    let settings = settings_of(session, &arm.asked);
    let start = start_weights(&settings)?;
    let digest = start.as_ref().map(|start| *blake3::hash(&start.bytes).as_bytes());
    let (sampling, train, valid) = (arm.asked.sampling.name(), &arm.list, &survey.valid_list);
    Ok((inputs::classifier_fit(&settings, digest, sampling, mixed(arm), seed, train, valid), start))
}

/// The name of every model that a complete build fits.
pub fn slots(session: &Session<'_>, survey: &Survey) -> Vec<String> {
    let recipe = session.recipe;
    let mut slots = vec![baseline_slot(session)];
    for arm in &recipe.compare.arms {
        slots.extend(recipe.classifier.seeds.iter().map(|&seed| classifier_slot(&arm.name, seed)));
    }
    if fit_steps(recipe).is_some() && survey.wanted.iter().any(|&n| n > 0) {
        slots.push("generator".to_string());
    }
    slots
}

fn classifier_slot(arm: &str, seed: u64) -> String {
    format!("classifier {arm} seed {seed}")
}

/// A history row as it is kept.
type Row = (usize, f64, Option<f64>, f64);

fn history_rows(history: &[HistoryRow]) -> Vec<Row> {
    history.iter().map(|row| (row.step, row.loss, row.valid_accuracy, row.learning_rate)).collect()
}

/// Photos of the dataset as the classifier asks for them.
pub fn files<'a>(session: &Session<'a>, survey: &Survey, photos: &[usize]) -> Files<'a> {
    let item =
        |&photo: &usize| (Place::File(survey.dataset.path(photo)), survey.dataset.photos[photo].species as usize);
    Files { store: session.store, items: photos.iter().map(item).collect() }
}

/// The classifier trained on real photos only, which the filter asks.
pub struct Baseline {
    pub fitted: FittedClassifier,
    /// Whose features sets are compared by, where it is not the classifier's own.
    pub inception: Option<inception::Network>,
}

impl Baseline {
    /// Identifies the network whose features sets are compared by.
    pub fn features_digest(&self) -> Digest {
        self.inception.as_ref().map_or(self.fitted.digest, inception::Network::digest)
    }

    /// Ready to be asked.
    pub fn open(&self, session: &Session<'_>, survey: &Survey) -> Result<Classifier> {
        open(session, survey, &self.fitted)
    }
}

/// A fitted classifier ready to be asked.
pub fn open(session: &Session<'_>, survey: &Survey, fitted: &FittedClassifier) -> Result<Classifier> {
    let settings = &session.recipe.classifier;
    Classifier::new(
        arch(settings.arch),
        survey.dataset.species.len(),
        settings.size,
        &fitted.weights,
        precision(settings.precision),
        session.device,
    )
}

/// The arm's real photos, if it has any, and no others.
pub fn real_arm(survey: &Survey, session: &Session<'_>, asked: &recipe::Arm) -> Arm {
    match asked.real {
        true => Arm {
            asked: asked.clone(),
            items: files(session, survey, &survey.cut.train).items,
            list: survey.train_list.clone(),
            synthetic: 0,
        },
        false => Arm { asked: asked.clone(), items: Vec::new(), list: PhotoList::default(), synthetic: 0 },
    }
}

/// The arm whose first seed is the baseline.
fn baseline_arm(survey: &Survey, session: &Session<'_>) -> Arm {
    real_arm(survey, session, &recipe::Arm::of(recipe::ArmWord::Real))
}

/// Fits the baseline; `None` if planning and it is not there.
pub fn baseline(session: &mut Session<'_>, survey: &Survey) -> Result<Option<Baseline>> {
    let arm = baseline_arm(survey, session);
    let inception = inception::of_recipe(session.recipe)?;
    let fitted = classifier(session, survey, Step::Baseline, &arm, baseline_seed(session))?;
    Ok(fitted.map(|fitted| Baseline { fitted, inception }))
}

/// What enters the baseline's key.
pub fn baseline_inputs(session: &Session<'_>, survey: &Survey) -> Result<Inputs> {
    let arm = baseline_arm(survey, session);
    Ok(classifier_inputs(session, survey, &arm, baseline_seed(session))?.0)
}

/// The baseline's name in locks and reasons.
pub fn baseline_slot(session: &Session<'_>) -> String {
    classifier_slot("real", baseline_seed(session))
}

fn baseline_seed(session: &Session<'_>) -> u64 {
    session.recipe.classifier.seeds.first().copied().unwrap_or(0)
}

/// An inputs record for the baseline alone, to name features by.
pub fn feature_inputs(photos: &PhotoList, baseline: &Baseline) -> Inputs {
    inputs::features(photos, baseline.fitted.digest)
}

/// The recipe's precision as tensors know it.
pub fn precision(precision: recipe::Precision) -> Precision {
    match precision {
        recipe::Precision::Fp32 => Precision::Fp32,
        recipe::Precision::Bf16 => Precision::Bf16,
        recipe::Precision::Fp16 => Precision::Fp16,
    }
}

/// The recipe's architecture as tensors know it.
pub fn arch(arch: recipe::Arch) -> Arch {
    match arch {
        recipe::Arch::ResNet18 => Arch::ResNet18,
        recipe::Arch::ResNet34 => Arch::ResNet34,
        recipe::Arch::ResNet50 => Arch::ResNet50,
    }
}
