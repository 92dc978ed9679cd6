//! The recipe as typed values with every default filled in. Knows nothing of TOML, images or tensors.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// A whole recipe, checked; see the README for the meaning of each field.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    /// File stem of the recipe's path: names the results and the lock.
    pub name: String,
    /// The recipe's own path, as it was given.
    pub path: PathBuf,
    pub dataset: Dataset,
    pub split: Split,
    pub balance: Balance,
    pub generator: Generator,
    pub filter: Filter,
    pub emit: Emit,
    pub classifier: Classifier,
    pub compare: Compare,
    pub report: Report,
    /// Where the recipe says what: the parts of a key joined with dots, unquoted (`generator.steps`,
    /// `balance.species.INDIGO BUNTING`), to its line, counted from 1. A default has no line.
    pub lines: BTreeMap<String, usize>,
    /// The recipe as it was written, for messages that quote it.
    pub text: String,
}

/// `[dataset]`: where the real photos are and how their folders are mended.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    pub root: PathBuf,
    /// Folder names under `root`.
    pub splits: SplitNames,
    /// Folder name as found -> species name wanted.
    pub rename: BTreeMap<String, String>,
    /// Species (after renaming) left out of everything.
    pub exclude: Vec<String>,
}

/// `[dataset] splits`.
#[derive(Debug, Clone, PartialEq)]
pub struct SplitNames {
    pub train: String,
    pub valid: String,
    pub test: String,
}

/// `[split]`: a harder task cut out of train.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    pub kind: SplitKind,
    pub seed: u64,
    pub test: TestImages,
}

/// Which of train's images the arms may train on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SplitKind {
    Full,
    /// So many images a species, at least 1.
    FewShot {
        shots: usize,
    },
    /// Rarest / commonest in (0, 1], exponential between.
    LongTail {
        imbalance: f64,
    },
}

/// What the arms are tested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestImages {
    Test,
    UnusedTrain,
    Both,
}

/// `[balance]`: how many images a species should have in the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Balance {
    pub target: Target,
    /// At most so many synthetic images per real one; `None`: no bound.
    pub max_ratio: Option<f64>,
    /// Exactly so many synthetic images, whatever the target.
    pub species: BTreeMap<String, usize>,
}

/// Real plus synthetic images a species should reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    Count(usize),
    Max,
    Median,
    P90,
}

/// `[generator]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Generator {
    pub kind: GeneratorKind,
    pub mode: Mode,
    /// Share of the noising schedule that img2img runs through, in (0, 1].
    pub strength: f64,
    pub steps: usize,
    /// Classifier-free guidance scale; 1 is off.
    pub guidance: f64,
    pub sampler: Sampler,
    /// Side of the generated square image in pixels.
    pub size: usize,
    pub precision: Precision,
    pub batch: usize,
    pub seed: u64,
}

/// The two kinds of generators with what only they take.
#[derive(Debug, Clone, PartialEq)]
pub enum GeneratorKind {
    StableDiffusion(StableDiffusion),
    Ddpm(Ddpm),
}

/// `kind = "stable-diffusion"`: a checkpoint in the diffusers layout.
#[derive(Debug, Clone, PartialEq)]
pub struct StableDiffusion {
    pub model: String,
    /// What the network of a checkpoint in one file predicts; `None`: what the file says.
    pub prediction_type: Option<PredictionType>,
    pub prompt: String,
    pub negative_prompt: String,
    /// What the prompt calls a species.
    pub names: BTreeMap<String, String>,
    /// Share of guidance rescaling in [0, 1]; 0 is off.
    pub guidance_rescale: f64,
    /// Files or folders of LoRAs that are added to the checkpoint, each with its scale.
    pub loras: BTreeMap<String, f64>,
    pub lora: Option<Lora>,
}

/// What a diffusion network predicts, named as in diffusers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionType {
    /// The noise.
    Epsilon,
    /// The velocity of Salimans and Ho (2022).
    V,
}

/// Where a prompt has the species' learned token.
pub const TOKEN: &str = "{token}";

/// `[generator.lora]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Lora {
    /// Inner size of every adapter; 0: none, a token alone is learned.
    pub rank: usize,
    /// Optimiser steps.
    pub steps: usize,
    pub learning_rate: f64,
    /// Photos that go through the networks at once: memory grows with it.
    pub batch: usize,
    /// Batches whose gradients make up a step.
    pub accumulate: usize,
    /// Fits the text encoder's attentions too.
    pub text_encoder: bool,
    /// Computes a pass's inner results again on the way back, in place of keeping them: less memory, a third more time.
    pub recompute: bool,
    /// Learns a token a species, `{token}` in the prompt (Gal et al. 2022), which begins as this word's.
    pub token: Option<String>,
}

/// `kind = "ddpm"`: a class-conditional U-Net fitted on the arm's own train images.
#[derive(Debug, Clone, PartialEq)]
pub struct Ddpm {
    /// Channels of the first level.
    pub width: usize,
    /// Channel multiples, one a resolution level.
    pub levels: Vec<usize>,
    /// Residual blocks a level.
    pub depth: usize,
    pub train: DdpmTrain,
}

/// `[generator.train]`.
#[derive(Debug, Clone, PartialEq)]
pub struct DdpmTrain {
    pub steps: usize,
    pub batch: usize,
    pub learning_rate: f64,
}

/// Where a candidate starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Pure noise.
    Txt2Img,
    /// A real photo of the arm, noised to `strength`.
    Img2Img,
}

/// Diffusion samplers by their field names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampler {
    Ddim,
    DpmSolver2M,
    DpmSolver2MKarras,
    Euler,
    EulerAncestral,
    UniPc,
    Pndm,
    Ddpm,
    Lcm,
}

/// Floating-point format of the networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    Fp32,
    Bf16,
    Fp16,
}

/// `[filter]`; `None` is off.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter {
    /// Candidates made per wanted image, at least 1.
    pub candidates: f64,
    pub ssim_max: Option<f64>,
    pub ssim_min: Option<f64>,
    /// Highest SSIM to a photo of the species that the arm is validated or tested on.
    pub held_out_max: Option<f64>,
    /// Highest likeness, as `audit` measures it, to a real photo but the source.
    pub copy_max: Option<f64>,
    /// Highest SSIM to another kept candidate of the species.
    pub duplicate_max: Option<f64>,
    pub confidence_min: Option<f64>,
    /// Realism score of Kynkaanniemi et al. (2019).
    pub realism_min: Option<f64>,
    pub fid_max: Option<f64>,
    pub kid_max: Option<f64>,
    /// The kernel distance of each species by itself.
    pub species_kid_max: Option<f64>,
    pub features: Features,
}

/// Which network's features the set metrics use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Features {
    /// The real-only classifier's penultimate layer.
    Classifier,
    /// FID's Inception network from this file.
    Inception(PathBuf),
}

/// `[emit]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Emit {
    pub out: PathBuf,
    pub link: Link,
    pub encode: Encode,
}

/// How real files get into the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// The first of reflink, hard link, copy that works.
    Auto,
    Reflink,
    Hardlink,
    Copy,
    Symlink,
}

/// How synthetic images are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encode {
    /// Format, size, quantisation tables and chroma subsampling of the dataset's own files.
    Match,
    As {
        format: ImageFormat,
        quality: u8,
        size: usize,
    },
}

/// File formats of emitted images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFormat {
    Jpg,
    Png,
}

/// `[classifier]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Classifier {
    pub arch: Arch,
    pub weights: Option<PathBuf>,
    pub size: usize,
    pub steps: usize,
    pub batch: usize,
    pub learning_rate: f64,
    pub precision: Precision,
    pub seeds: Vec<u64>,
    pub training: Training,
}

/// The keys of `[classifier]` that a plain recipe leaves out.
#[derive(Debug, Clone, PartialEq)]
pub struct Training {
    pub optimiser: Optimiser,
    /// Of SGD, with Nesterov's look-ahead; in [0, 1).
    pub momentum: f64,
    /// Of weights, not of batch norms and biases.
    pub weight_decay: f64,
    /// Share of the steps in which the learning rate climbs, in [0, 1).
    pub warmup: f64,
    /// Share of the target that is spread over all species, in [0, 1).
    pub label_smoothing: f64,
    /// The smallest crop's area over the photo's, in (0, 1].
    pub crop_min: f64,
    pub augment: Augment,
    /// Operations of RandAugment, 1 to 14.
    pub randaug_ops: usize,
    /// Of RandAugment, 0 to 30.
    pub randaug_magnitude: usize,
    pub jitter: Jitter,
    /// Probability that a rectangle of a view is erased.
    pub erasing: f64,
    /// The Beta distribution's parameter; 0 is off.
    pub mixup: f64,
    /// The same.
    pub cutmix: f64,
    /// Decay of the moving average of the weights that becomes the result, in [0, 1); `None`: the last weights do.
    pub ema: Option<f64>,
    pub freeze: Freeze,
    /// The learning rate of each stage over that of the next, up to the head; in (0, 1].
    pub layer_decay: f64,
    /// Share of synthetic images in the batches of arms that have both kinds, in [0, 1]; `None`: as they come.
    pub synthetic_share: Option<f64>,
    /// How much a synthetic image counts in the loss, where a real one counts 1.
    pub synthetic_weight: f64,
    /// Stops after so many validations in a row that are not better, with the best one's weights.
    pub patience: Option<usize>,
    /// Minutes between kept states of a fit; changes no result.
    pub checkpoint_minutes: f64,
    /// Megabytes of decoded photos that a fit keeps in memory; changes no result.
    pub memory_mb: u64,
}

/// What turns gradients into steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Optimiser {
    Sgd,
    AdamW,
}

/// How train images are varied as they are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Augment {
    /// Crops and flips.
    Plain,
    /// RandAugment (Cubuk et al. 2020) on top.
    RandAugment,
    /// TrivialAugment Wide (Müller and Hutter 2021) on top.
    TrivialAugment,
}

/// `[classifier.jitter]`: how far from 1 a factor may be, and from 0 the hue's turn (at most 0.5).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Jitter {
    pub brightness: f64,
    pub contrast: f64,
    pub saturation: f64,
    pub hue: f64,
}

/// Up to where the network stays as its `weights` are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freeze {
    None,
    Stem,
    Layer1,
    Layer2,
    Layer3,
    Layer4,
}

/// Residual networks (He et al. 2016).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arch {
    ResNet18,
    ResNet34,
    ResNet50,
}

/// `[compare]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Compare {
    /// `real` among them; no two of one name.
    pub arms: Vec<Arm>,
    /// Share of the species, rarest first, that is reported by itself; in (0, 1].
    pub tail: f64,
}

/// A training set to compare, and how classifiers are trained on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Arm {
    /// As results spell it.
    pub name: String,
    /// Whether the real train photos are in it.
    pub real: bool,
    /// So many times the synthetic images that the recipe wants, 0 or more.
    pub dose: f64,
    pub sampling: Sampling,
    /// In place of what `[classifier]` says of all arms.
    pub augment: Option<Augment>,
    /// Likewise, in (0, 1].
    pub synthetic_share: Option<f64>,
}

/// How an arm's images are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampling {
    /// Every image equally often.
    Uniform,
    /// Every species equally often.
    ClassBalanced,
}

/// What `[compare] arms` calls the arms that need no table of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArmWord {
    Real,
    Oversampled,
    Augmented,
    RealRandAugment,
    AugmentedRandAugment,
    Synthetic,
    /// An arm for each of `doses`.
    Dose,
}

/// `[report]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub out: PathBuf,
}
