//! A recipe for a dataset that someone has just looked at. Knows the recipe's language, not how the facts
//! were found.

use std::path::Path;

use crate::text::quoted;

/// What is known of a dataset and of the machine before its recipe is written.
#[derive(Debug, Clone, PartialEq)]
pub struct TemplateFacts {
    /// The recipe's name: that of `out/NAME` and `results/NAME`.
    pub name: String,
    pub species: usize,
    /// Images in train.
    pub train_images: usize,
    /// Train images of the rarest species.
    pub rarest: usize,
    /// Train images of the commonest species.
    pub commonest: usize,
    /// Width of most images in pixels.
    pub width: usize,
    /// Height of most images in pixels.
    pub height: usize,
    /// Folder names to mend: as found, as wanted.
    pub renames: Vec<(String, String)>,
    /// Whether the device gains by bf16.
    pub device_has_bf16: bool,
    pub is_gpu: bool,
    /// How alike the photos are, once that was measured.
    pub likeness: Option<MeasuredLikeness>,
}

/// What photos of a species come to at most, but for one in a hundred: SSIM, mirrored too.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeasuredLikeness {
    /// Side of the compared squares in pixels.
    pub side: usize,
    /// How many train photos were measured.
    pub photos: usize,
    /// To another train photo; `None` of too few.
    pub train: Option<f64>,
    /// To a photo of valid or test; `None` of too few.
    pub held_out: Option<f64>,
    /// The likeness from which one photo counts as a copy of another, though shifted, cropped, mirrored or brightened.
    pub copy: f64,
}

/// A commented recipe for the dataset at `root`: the generator that birdaug trains itself, at a size that suits
/// images and device, with Stable Diffusion as the other choice in comments. [`super::parse`] accepts it.
pub fn template(root: &Path, facts: &TemplateFacts) -> String {
    let TemplateFacts { species, train_images, rarest, commonest, width, height, .. } = *facts;
    let name = Path::new(&facts.name).file_name().map_or("birds".into(), |name| name.to_string_lossy());
    let precision = if facts.device_has_bf16 { "bf16" } else { "fp32" };
    let size = generator_size(facts);
    let work = Work::of(facts);
    let encode = "\"match\"";
    format!(
        r##"# {species} species, {train_images} images in train: {rarest} of the rarest, {commonest} of the commonest, most of {width}x{height}.
# `birdaug plan` says what a build would do; `birdaug build` does it.

[dataset]
root = {root}
{renames}# exclude = ["NOT A BIRD"]               # species left out of everything

{split}
[balance]
target = "max"                           # images a species should have: a number, "max", "median" or "p90"
max_ratio = 4.0                          # at most so many synthetic images per real one; false: no bound
# [balance.species]
# "INDIGO BUNTING" = 40                  # exactly so many synthetic ones, whatever the target

[generator]
kind = "ddpm"                            # a model trained here, on the train images of the cut alone
size = {size:<34}# pixels a side
mode = "txt2img"                         # from noise; "img2img" starts from a real photo and changes `strength` of it
# strength = 0.7
steps = 25
guidance = 4.0                           # how hard the species is insisted on; 1 is off
sampler = "dpm++2m"                      # or "ddim", "euler-a" and others
precision = {precision:<29}# what suits the device that wrote this; part of every image's key
batch = {batch:<33}# part of every image's key too
seed = 0
width = {channels:<33}# channels of the first level
levels = [1, 2, 3]                       # channel multiples
[generator.train]
steps = {steps}
batch = {fit_batch}
learning_rate = 2e-4

# Or a pretrained model, in the Hugging Face diffusers layout; replace both tables above by:
# [generator]
# kind = "stable-diffusion"
# model = "models/sd15"
# mode = "img2img"
# prompt = "a photo of a {{species}}, a bird"
# strength = 0.7
# steps = 25
# guidance = 4.0
# size = 512
# precision = {precision}
# batch = {sd_batch}
# [generator.names]                      # what the prompt calls a species
# "MANDRIN DUCK" = "mandarin duck"
# [generator.lora]                       # fine-tune it on the arm's own train photos first
# rank = 8
# steps = 2000
# learning_rate = 1e-4
# batch = 1                              # photos at once: memory grows with it
# accumulate = 1                         # batches a step
# text_encoder = false                   # fit the text encoder too

[filter]
candidates = 1.5                         # make at most so many per wanted image
ssim_max = 0.90                          # copy guard; false: off
{guards}# confidence_min = 0.10                  # probability of the right species, by a classifier of real images alone
# realism_min = 0.80                     # by features; 1 and more: inside of what real photos span
# fid_max = 80.0                         # gate on the pooled set: those that raise it most go first
# kid_max = 0.05
# species_kid_max = 0.20                 # the same for each species with images enough

[emit]
out = {out}
link = "auto"                            # reflink | hardlink | copy | symlink
encode = {encode:<32}# as the real files; or {{ format = "jpg", quality = 95, size = 224 }}

[classifier]
arch = "resnet18"                        # resnet18 | resnet34 | resnet50
# weights = "weights/resnet18.safetensors"
size = {classifier_size}
steps = {classifier_steps:<33}# the same for every arm
batch = 32
# learning_rate = 0.05
# precision = "fp32"                     # or "bf16", "fp16" (on GPUs)
seeds = [0, 1, 2, 3, 4]
# optimiser = "sgd"                      # or "adamw"
# momentum = 0.9                         # of SGD
# weight_decay = 5e-4
# warmup = 0.1                           # share of the steps in which the learning rate climbs
# label_smoothing = 0.1
# crop_min = 0.35                        # the smallest crop's area over the photo's
# augment = "plain"                      # crops and flips; or "randaug", "trivialaug" on top
# randaug_ops = 2
# randaug_magnitude = 9                  # 0 to 30
# erasing = 0.0                          # probability that a rectangle is erased
# mixup = 0.0                            # 0.2 is usual; 0: off
# cutmix = 0.0                           # 1.0 is usual
# ema = 0.999                            # a moving average of the weights becomes the result; false: the last ones do
# freeze = "layer2"                      # with `weights`: the layers up to it stay as they are
# layer_decay = 0.7                      # each stage's learning rate over the next one's
# synthetic_share = 0.5                  # of a batch, in arms with real and synthetic images; false: as they come
# synthetic_weight = 1.0                 # how much a synthetic image counts in the loss
# patience = 3                           # stop after so many validations that are no better (arms then differ in steps)
# checkpoint_minutes = 1.0
# memory_mb = 2048                       # decoded photos kept in memory
# [classifier.jitter]                    # how far from 1 a factor may be, and from 0 the hue's turn
# brightness = 0.2
# contrast = 0.2
# saturation = 0.2
# hue = 0.05

[compare]
# Also: "real+randaug", "augmented+randaug", "synthetic", "dose".
arms = ["real", "oversampled", "augmented"]
# doses = [0.5, 1, 2]                    # `dose`: an arm each, with so many times the synthetic images
# [compare.arm.mine]                     # an arm of your own
# dose = 1.0                             # 0: no synthetic images
# sampling = "class-balanced"            # or "uniform"
# augment = "plain"                      # or "randaug"
# synthetic_share = 0.5                  # of every batch
tail = 0.33                              # the rarest third is reported by itself

[report]
out = {results}
"##,
        root = quoted(&root.to_string_lossy()),
        renames = renames(&facts.renames),
        split = split(facts),
        guards = guards(facts.likeness.as_ref()),
        precision = quoted(precision),
        batch = work.batch,
        channels = work.channels,
        steps = work.fit_steps,
        fit_batch = work.fit_batch,
        sd_batch = if facts.is_gpu { 8 } else { 1 },
        classifier_size = classifier_size(facts),
        classifier_steps = work.classifier_steps,
        out = quoted(&format!("out/{name}")),
        results = quoted(&format!("results/{name}")),
    )
}

/// The guards that rest on how alike the dataset's own photos are, with what was measured.
fn guards(measured: Option<&MeasuredLikeness>) -> String {
    let none = "# held_out_max = 0.60                    # likeness to a photo of valid or test of the species
# copy_max = 0.85                        # a photo but its source, though shifted, cropped, mirrored or brightened
# duplicate_max = 0.90                   # likeness of two kept candidates of a species
";
    let Some(MeasuredLikeness { side, photos, train, held_out, copy }) = measured else { return none.to_string() };
    let mut out = format!(
        "{:<41}# likeness, as `audit` measures it, to any photo but the source: more is a copy\n",
        format!("copy_max = {copy:.2}")
    );
    if train.is_some() || held_out.is_some() {
        out.push_str(&format!(
            "# Of {photos} train photos, measured at {side} px, 99 in 100 come no nearer than this (SSIM, mirrored too) ...
"
        ));
    }
    // What the copy guard drops already needs no second guard.
    match held_out.filter(|held_out| *held_out < 0.90) {
        Some(held_out) => out.push_str(&format!(
            "{:<41}# ... to a photo of valid or test of their species: more is a leak\n",
            format!("held_out_max = {held_out:.2}")
        )),
        None => out.push_str(
            "# held_out_max = 0.60                    # likeness to a photo of valid or test of the species\n",
        ),
    }
    match train {
        Some(train) => out.push_str(&format!(
            "{:<41}# ... to another train photo of their species; images of one source come nearer\n",
            format!("# duplicate_max = {train:.2}")
        )),
        None => {
            out.push_str("# duplicate_max = 0.90                   # likeness of two kept candidates of a species\n")
        }
    }
    out
}

/// What the device can do in a sitting.
struct Work {
    batch: usize,
    channels: usize,
    fit_steps: usize,
    fit_batch: usize,
    classifier_steps: usize,
}

impl Work {
    fn of(facts: &TemplateFacts) -> Work {
        if facts.is_gpu {
            Work { batch: 64, channels: 128, fit_steps: 40_000, fit_batch: 128, classifier_steps: 2000 }
        } else {
            Work { batch: 8, channels: 32, fit_steps: 4000, fit_batch: 32, classifier_steps: 400 }
        }
    }
}

/// The largest power of two that the images hold, at most 32 pixels on a CPU and 128 on a GPU.
fn generator_size(facts: &TemplateFacts) -> usize {
    let most = if facts.is_gpu { 128 } else { 32 };
    let side = facts.width.min(facts.height);
    [128, 64, 32, 16].into_iter().find(|size| *size <= most && *size <= side).unwrap_or(16)
}

/// 224 pixels as usual on a GPU, 64 on a CPU, and no more than the images hold.
fn classifier_size(facts: &TemplateFacts) -> usize {
    let most = if facts.is_gpu { 224 } else { 64 };
    facts.width.min(facts.height).clamp(32, most)
}

/// An even dataset has nothing to balance until a long tail is cut out of it.
fn split(facts: &TemplateFacts) -> String {
    let even = facts.commonest < 3 * facts.rarest.max(1);
    if even && facts.commonest >= 20 {
        "[split]                                  # the species are almost even: this cuts a long tail out of train
kind = \"long-tail\"                       # \"full\" | \"few-shot\" | \"long-tail\"
imbalance = 0.1                          # rarest / commonest, exponential between
# shots = 8                              # images a species (few-shot)
seed = 0
test = \"unused-train\"                    # many more test images than \"test\"; or \"both\"
"
        .to_string()
    } else {
        "[split]
kind = \"full\"                            # all of train; or \"few-shot\", \"long-tail\": a harder task cut out of it
# imbalance = 0.1                        # rarest / commonest, exponential between (long-tail)
# shots = 8                              # images a species (few-shot)
seed = 0
test = \"test\"                            # or \"unused-train\", \"both\", where train is cut
"
        .to_string()
    }
}

fn renames(renames: &[(String, String)]) -> String {
    if renames.is_empty() {
        return "# rename = { \"PARAKETT  AUKLET\" = \"PARAKETT AUKLET\" }   # mends split and spelling mismatches\n"
            .to_string();
    }
    let pairs: Vec<String> = renames.iter().map(|(from, to)| format!("{} = {}", quoted(from), quoted(to))).collect();
    format!("rename = {{ {} }}\n", pairs.join(", "))
}
