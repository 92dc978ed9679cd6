//! What enters each key. Whoever adds a knob that changes bytes adds it here.
//!
//! | work | in the key | not in the key, and why |
//! |---|---|---|
//! | ddpm fit | network shape, steps, batch, learning rate, seed, precision, digest of the train list (photo digests and species in order) | device, threads, libtorch: they stand in the record, so that a fit made on a GPU is a hit on a laptop |
//! | lora fit | checkpoint's digest, rank, steps, batch, accumulate, learning rate, text encoder or not, the word that learned tokens begin as, whether inner results are computed again (in other orders of memory, hence other last bits), size, seed, precision, digest of the prompts of the train photos' species, digest of the train list | the same |
//! | model with LoRAs | checkpoint's digest, digest and scale of each LoRA | where the files are |
//! | fine-tuned model | checkpoint's digest, digest of the LoRA's bytes | |
//! | candidate | generator's output digest, species and class (stable-diffusion: the prompt's words, the negative prompt and, where it is on, guidance rescale), source photo's digest, strength (img2img), guidance, steps, sampler, size, precision, batch size, seed, index | which other candidates share its batch: rows do not see each other |
//! | copy score | image digest, digest of the reference list, side of the comparison | threshold: judged later, from the stored score |
//! | source score | image digest, source digest, side of the comparison | the same |
//! | class score | image digest, classifier's output digest, class | the same |
//! | features | digest of the photo list, classifier's output digest | |
//! | inception | digest of the weights file, resize, precision, images a batch: FID's network as other keys name it | file and folder |
//! | inception features | image digest, digest of the weights file, resize, precision, images a batch | file and folder; which other images are measured |
//! | held-out score | image digest, digest of the species' photos that the arm is validated and tested on, side of the comparison | threshold: judged later |
//! | likeness score | image digest, digest of the reference list, source digest (img2img), which is not asked about | threshold: judged later |
//! | realism score | image digest, features' network, digest of the real photos' list, neighbours | the same |
//! | likeness of candidates | digests of a species' images in the order of their keys, side of the comparison | the same |
//! | likeness of photos | digests of the lists of train photos and of those of valid and test, side of the comparison | size of the samples: constants, in the version |
//! | gate | thresholds of the pooled set and of species, features' network, digest of the real photos' list, digest of the images with species and keys | the order in which they were made |
//! | set figures | digest of the photo list, classifier's output digest, digest of the kept images in order | |
//! | select | digest of the candidates' keys and images with their verdicts | scores and thresholds by themselves: the verdict is what they come to |
//! | emit | digest of the tree's paths and bytes, kind of link | the folder it is at |
//! | compare | keys of all predictions, test and train lists, tail | |
//! | report | key of the comparison, digest of the selection, everything the recipe says, notes | comments, the order of keys |
//! | recipe | what the recipe says, key by key | enters no other key; remembered so that `why` finds edits that stand in none |
//! | encoded file | image digest, digest of the encoding | folder and name in the tree |
//! | classifier fit | architecture, start weights, size, steps, batch, learning rate, precision, seed, sampling, digests of train and valid lists, and where it is not the default: optimiser, momentum, weight decay, warm-up, label smoothing, crops, RandAugment and TrivialAugment, jitter, erasing, mixup, cutmix, average, frozen layers, layer decay, patience; in an arm with synthetic images, how many they are, their share and their weight | name of the arm: equal inputs are one fit, so the baseline is the first seed of arm `real`; minutes between checkpoints and memory for photos, which change no result |
//! | audit | digests of all photos, sorted | paths and order: what a file's bytes are is what is looked at |
//! | references | digests of the lists of a species' train photos and of all photos of valid and test | enters no other key; remembered so that a changed photo is compared by itself |
//! | stable-diffusion model | digest of the checkpoint's files | where the files are |
//! | predictions | classifier's output digest, digest of the test list | |
//!
//! Nowhere: times, absolute paths, machine names, thread counts, comments or order of the recipe.

use std::sync::OnceLock;

use super::key::Inputs;
use crate::recipe::{Augment, Classifier, Ddpm, Filter, Generator, GeneratorKind, Lora, Mode, Training};

/// Version of birdaug itself, for people; keys carry a version a kind instead, so that a release keeps the cache.
pub const ENGINE: &str = env!("CARGO_PKG_VERSION");

/// A digest of bytes, as the store keeps them.
pub type Digest = [u8; 32];

/// An ordered list of photos with their species: kept as a blob, so that `why` can say what changed in it.
#[derive(Debug, Clone, Default)]
pub struct PhotoList {
    lines: String,
    pub len: usize,
    /// Once asked for: many keys name the same list.
    digest: OnceLock<Digest>,
}

impl PhotoList {
    /// Appends a photo.
    pub fn push(&mut self, digest: &Digest, species: &str) {
        self.lines.push_str(&blake3::Hash::from(*digest).to_hex());
        self.lines.push(' ');
        self.lines.push_str(species);
        self.lines.push('\n');
        self.len += 1;
        self.digest.take();
    }

    /// Appends another list.
    pub fn append(&mut self, other: &PhotoList) {
        self.lines.push_str(&other.lines);
        self.len += other.len;
        self.digest.take();
    }

    /// The list's bytes: a line a photo, `digest species`.
    pub fn bytes(&self) -> &[u8] {
        self.lines.as_bytes()
    }

    /// BLAKE3 of the bytes.
    pub fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| *blake3::hash(self.bytes()).as_bytes())
    }
}

/// Fitting a class-conditional generator on the arm's own photos.
pub fn ddpm_fit(generator: &Generator, ddpm: &Ddpm, train: &PhotoList) -> Inputs {
    let levels: Vec<String> = ddpm.levels.iter().map(usize::to_string).collect();
    Inputs::new("ddpm fit", 1)
        .count("generator.size", generator.size as u64)
        .count("generator.width", ddpm.width as u64)
        .text("generator.levels", &levels.join(","))
        .count("generator.depth", ddpm.depth as u64)
        .count("generator.train.steps", ddpm.train.steps as u64)
        .count("generator.train.batch", ddpm.train.batch as u64)
        .real("generator.train.learning_rate", ddpm.train.learning_rate)
        .count("generator.seed", generator.seed)
        .text("generator.precision", generator.precision.name())
        .digest("train photos", train.digest())
}

/// Fine-tuning a checkpoint on the arm's own photos. `prompts`: of their contents, what is said of each train photo's species.
pub fn lora_fit(generator: &Generator, lora: &Lora, checkpoint: Digest, prompts: Digest, train: &PhotoList) -> Inputs {
    let inputs = Inputs::new("lora fit", 3)
        .digest("generator.model", checkpoint)
        .count("generator.lora.rank", lora.rank as u64)
        .count("generator.lora.steps", lora.steps as u64)
        .count("generator.lora.batch", lora.batch as u64)
        .count("generator.lora.accumulate", lora.accumulate as u64)
        .real("generator.lora.learning_rate", lora.learning_rate)
        .text("generator.lora.text_encoder", if lora.text_encoder { "true" } else { "false" })
        .count("generator.size", generator.size as u64)
        .count("generator.seed", generator.seed)
        .text("generator.precision", generator.precision.name())
        .digest("prompts", prompts)
        .digest("train photos", train.digest());
    let inputs = match &lora.token {
        None => inputs,
        Some(word) => inputs.text("generator.lora.token", word),
    };
    if lora.recompute { inputs.text("generator.lora.recompute", "true") } else { inputs }
}

/// A checkpoint with LoRAs that the recipe names added to it, in order, each with its scale: takes the place of the checkpoint's
/// own digest everywhere. Without any it is that digest.
pub fn with_loras(checkpoint: Digest, loras: &[(Digest, f64)]) -> Digest {
    if loras.is_empty() {
        return checkpoint;
    }
    let named = Inputs::new("model with LoRAs", 1).digest("generator.model", checkpoint);
    loras.iter().fold(named, |named, (lora, scale)| named.digest("lora", *lora).real("scale", *scale)).key().0
}

/// A checkpoint with a LoRA added to it: what candidates' keys name as their generator.
pub fn fine_tuned(checkpoint: Digest, lora: Digest) -> Digest {
    Inputs::new("fine-tuned model", 1).digest("generator.model", checkpoint).digest("generator.lora", lora).key().0
}

/// A Stable Diffusion checkpoint, by the digest of its files.
pub fn stable_diffusion_model(checkpoint: Digest) -> Inputs {
    Inputs::new("stable-diffusion model", 2).digest("generator.model", checkpoint)
}

/// What tells one candidate from the others of its generator and settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CandidateOf<'a> {
    /// Digest of the generator's weights.
    pub generator: Digest,
    pub species: &'a str,
    /// The generator's number for the species.
    pub class: usize,
    /// What a model that reads prompts is told of it.
    pub prompt: Option<&'a str>,
    /// Digest of the photo that img2img starts from.
    pub source: Option<Digest>,
    /// How many earlier candidates of the species start from the same photo (or from noise).
    pub index: u64,
}

/// One candidate image; its noise is the stream of this key.
pub fn candidate(settings: &Generator, of: &CandidateOf<'_>) -> Inputs {
    // Each kind of network has its own version: a change to one's arithmetic makes no image of the other again.
    let version = match settings.kind {
        GeneratorKind::Ddpm(_) => 1,
        GeneratorKind::StableDiffusion(_) => 3,
    };
    let inputs = Inputs::new("candidate", version).digest("generator", of.generator).text("species", of.species);
    let inputs = match (of.prompt, &settings.kind) {
        (Some(prompt), GeneratorKind::StableDiffusion(model)) => {
            let inputs =
                inputs.text("generator.prompt", prompt).text("generator.negative_prompt", &model.negative_prompt);
            match model.guidance_rescale {
                0.0 => inputs,
                share => inputs.real("generator.guidance_rescale", share),
            }
        }
        _ => inputs.count("class", of.class as u64),
    };
    let inputs = inputs.text("generator.mode", settings.mode.name());
    let inputs = match (settings.mode, of.source) {
        (Mode::Img2Img, Some(source)) => {
            inputs.digest("source photo", source).real("generator.strength", settings.strength)
        }
        _ => inputs,
    };
    inputs
        .real("generator.guidance", settings.guidance)
        .count("generator.steps", settings.steps as u64)
        .text("generator.sampler", settings.sampler.name())
        .count("generator.size", settings.size as u64)
        .text("generator.precision", settings.precision.name())
        .count("generator.batch", settings.batch as u64)
        .count("generator.seed", settings.seed)
        .count("index", of.index)
}

/// Identifies what a species' candidates are compared with: its train photos, and all photos of valid and test.
pub fn references(own: Digest, held_out: Digest) -> Digest {
    *blake3::hash(&[own, held_out].concat()).as_bytes()
}

/// The highest SSIM of an image to any of a list of references, both at `side` x `side` pixels.
pub fn copy_score(image: Digest, references: Digest, side: usize) -> Inputs {
    Inputs::new("copy score", 1).digest("image", image).digest("references", references).count("side", side as u64)
}

/// The SSIM of an image to the photo it started from, both at `side` x `side` pixels.
pub fn source_score(image: Digest, source: Digest, side: usize) -> Inputs {
    Inputs::new("source score", 1).digest("image", image).digest("source photo", source).count("side", side as u64)
}

/// The highest SSIM of an image to any of a list of held-out photos, both at `side` x `side` pixels.
pub fn held_out_score(image: Digest, photos: Digest, side: usize) -> Inputs {
    Inputs::new("held-out score", 1).digest("image", image).digest("held-out photos", photos).count("side", side as u64)
}

/// The highest likeness (as `audit` measures it: shifted, cropped, mirrored or brightened) of an image to any of a list of
/// references but the one it started from.
pub fn likeness_score(image: Digest, references: Digest, source: Option<Digest>) -> Inputs {
    let inputs = Inputs::new("likeness score", 4).digest("image", image).digest("references", references);
    match source {
        Some(source) => inputs.digest("source photo", source),
        None => inputs,
    }
}

/// How real an image looks among real photos, in a network's features, by spheres that reach to `neighbours`.
pub fn realism_score(image: Digest, network: Digest, photos: &PhotoList, neighbours: usize) -> Inputs {
    Inputs::new("realism score", 1)
        .digest("image", image)
        .digest("classifier", network)
        .digest("photos", photos.digest())
        .count("neighbours", neighbours as u64)
}

/// SSIM of every pair of a species' candidates (digest of their images in order), at `side` x `side` pixels.
pub fn pairs(images: Digest, side: usize) -> Inputs {
    Inputs::new("likeness of candidates", 1).digest("images", images).count("side", side as u64)
}

/// How alike photos are: those of a list, and those among the held-out ones (digest of theirs), at `side` x `side` pixels.
pub fn photos_likeness(train: &PhotoList, held_out: Digest, side: usize) -> Inputs {
    Inputs::new("likeness of photos", 2)
        .digest("train photos", train.digest())
        .digest("held-out photos", held_out)
        .count("side", side as u64)
}

/// Which of a pool of candidates (digest of species, keys and images) the gates leave out.
pub fn gate(filter: &Filter, network: Digest, photos: &PhotoList, pool: Digest) -> Inputs {
    let thresholds = [
        ("filter.fid_max", filter.fid_max),
        ("filter.kid_max", filter.kid_max),
        ("filter.species_kid_max", filter.species_kid_max),
    ];
    let inputs = Inputs::new("gate", 1);
    let inputs = thresholds.iter().fold(inputs, |inputs, (name, threshold)| match threshold {
        Some(threshold) => inputs.real(name, *threshold),
        None => inputs,
    });
    inputs.digest("classifier", network).digest("photos", photos.digest()).digest("images", pool)
}

/// What a classifier says of an image: its probability of the right class, and its features.
pub fn class_score(image: Digest, classifier: Digest, class: usize) -> Inputs {
    Inputs::new("class score", 1).digest("image", image).digest("classifier", classifier).count("class", class as u64)
}

/// A classifier's features of a list of photos.
pub fn features(photos: &PhotoList, classifier: Digest) -> Inputs {
    Inputs::new("features", 1).digest("photos", photos.digest()).digest("classifier", classifier)
}

/// FID's Inception network, with everything that decides what comes out of it. `weights`: digest of their file.
pub fn inception(weights: Digest, resize: &str, precision: &str, batch: usize) -> Inputs {
    Inputs::new("inception", 1)
        .digest("filter.features", weights)
        .text("resize", resize)
        .text("precision", precision)
        .count("batch", batch as u64)
}

/// An image's features by a network (see [`inception`]).
pub fn inception_features(image: Digest, network: &Inputs) -> Inputs {
    Inputs::new("inception features", 1).digest("image", image).digest("filter.features", network.key().0)
}

/// Distances of a set of images (digest of their digests in order) from the photos of a list, in a classifier's features.
pub fn set_figures(photos: &PhotoList, classifier: Digest, images: Digest) -> Inputs {
    Inputs::new("set figures", 1)
        .digest("photos", photos.digest())
        .digest("classifier", classifier)
        .digest("images", images)
}

/// An image in the file format of the emitted tree.
pub fn encoded(image: Digest, encoding: Digest) -> Inputs {
    Inputs::new("encoded file", 1).digest("image", image).digest("emit.encode", encoding)
}

/// Fitting a classifier on one arm's photos with one seed. `start`: digest of the weights file, if any;
/// `sampling`: how batches are drawn (`uniform`, `class-balanced`); `synthetic`: how many photos at the end of `train` are
/// synthetic. A setting at its default leaves the key as it was before there was such a setting. Version 2: the weights lie
/// channels last in memory from the start, for which libtorch picks other kernels, hence other last bits.
pub fn classifier_fit(
    settings: &Classifier,
    start: Option<Digest>,
    sampling: &str,
    synthetic: usize,
    seed: u64,
    train: &PhotoList,
    valid: &PhotoList,
) -> Inputs {
    let inputs = Inputs::new("classifier fit", 2).text("classifier.arch", settings.arch.name());
    let inputs = match start {
        Some(digest) => inputs.digest("classifier.weights", digest),
        None => inputs,
    };
    let inputs = inputs
        .count("classifier.size", settings.size as u64)
        .count("classifier.steps", settings.steps as u64)
        .count("classifier.batch", settings.batch as u64)
        .real("classifier.learning_rate", settings.learning_rate)
        .text("classifier.precision", settings.precision.name())
        .text("sampling", sampling)
        .count("seed", seed)
        .digest("train photos", train.digest())
        .digest("valid photos", valid.digest());
    training(inputs, &settings.training, synthetic)
}

fn training(mut inputs: Inputs, training: &Training, synthetic: usize) -> Inputs {
    let default = Training::default();
    let jitter = training.jitter;
    let reals = [
        ("classifier.momentum", training.momentum, default.momentum),
        ("classifier.weight_decay", training.weight_decay, default.weight_decay),
        ("classifier.warmup", training.warmup, default.warmup),
        ("classifier.label_smoothing", training.label_smoothing, default.label_smoothing),
        ("classifier.crop_min", training.crop_min, default.crop_min),
        ("classifier.jitter.brightness", jitter.brightness, 0.0),
        ("classifier.jitter.contrast", jitter.contrast, 0.0),
        ("classifier.jitter.saturation", jitter.saturation, 0.0),
        ("classifier.jitter.hue", jitter.hue, 0.0),
        ("classifier.erasing", training.erasing, 0.0),
        ("classifier.mixup", training.mixup, 0.0),
        ("classifier.cutmix", training.cutmix, 0.0),
        ("classifier.ema", training.ema.unwrap_or(-1.0), -1.0),
        ("classifier.layer_decay", training.layer_decay, 1.0),
    ];
    if training.optimiser != default.optimiser {
        inputs = inputs.text("classifier.optimiser", training.optimiser.name());
    }
    for (name, value, unsaid) in reals {
        if value != unsaid {
            inputs = inputs.real(name, value);
        }
    }
    if training.augment != default.augment {
        inputs = inputs.text("classifier.augment", training.augment.name());
    }
    if training.augment == Augment::RandAugment {
        inputs = inputs
            .count("classifier.randaug_ops", training.randaug_ops as u64)
            .count("classifier.randaug_magnitude", training.randaug_magnitude as u64);
    }
    if training.freeze != default.freeze {
        inputs = inputs.text("classifier.freeze", training.freeze.name());
    }
    if let Some(patience) = training.patience {
        inputs = inputs.count("classifier.patience", patience as u64);
    }
    // Without synthetic images in the arm, or with all of them alike, these say nothing.
    if synthetic > 0 && (training.synthetic_share.is_some() || training.synthetic_weight != 1.0) {
        inputs = inputs.count("synthetic photos", synthetic as u64);
        if let Some(share) = training.synthetic_share {
            inputs = inputs.real("classifier.synthetic_share", share);
        }
        inputs = inputs.real("classifier.synthetic_weight", training.synthetic_weight);
    }
    inputs
}

/// A classifier's predictions for a list of photos.
pub fn predictions(classifier: Digest, photos: &PhotoList) -> Inputs {
    Inputs::new("predictions", 1).digest("classifier", classifier).digest("test photos", photos.digest())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::plan::Key;
    use crate::recipe::{self, Arch, Freeze, Optimiser, Precision, Recipe, Sampler};

    fn recipe() -> Recipe {
        let text = "[dataset]\nroot = \"x\"\n[generator]\nkind = \"ddpm\"\nmode = \"img2img\"\n";
        recipe::parse(text, Path::new("r.toml")).unwrap()
    }

    const OF: CandidateOf<'static> =
        CandidateOf { generator: [1; 32], species: "OWL", class: 2, prompt: None, source: Some([3; 32]), index: 4 };

    /// Every record's key is its own.
    fn all_differ(records: &[Inputs]) {
        let keys: BTreeSet<Key> = records.iter().map(Inputs::key).collect();
        assert_eq!(keys.len(), records.len());
    }

    type Change<T> = fn(&mut T);

    #[test]
    fn every_setting_of_a_candidate_changes_its_key() {
        let changes: [Change<Generator>; 9] = [
            |g| g.mode = Mode::Txt2Img,
            |g| g.strength = 0.5,
            |g| g.guidance = 1.5,
            |g| g.steps = 7,
            |g| g.sampler = Sampler::Ddim,
            |g| g.size = 128,
            |g| g.precision = Precision::Fp32,
            |g| g.batch = 3,
            |g| g.seed = 9,
        ];
        let base = recipe().generator;
        let mut records = vec![candidate(&base, &OF)];
        for change in changes {
            let mut changed = base.clone();
            change(&mut changed);
            records.push(candidate(&changed, &OF));
        }
        records.push(candidate(&base, &CandidateOf { generator: [2; 32], ..OF }));
        records.push(candidate(&base, &CandidateOf { species: "JAY", ..OF }));
        records.push(candidate(&base, &CandidateOf { class: 5, ..OF }));
        records.push(candidate(&base, &CandidateOf { source: Some([4; 32]), ..OF }));
        records.push(candidate(&base, &CandidateOf { index: 5, ..OF }));
        all_differ(&records);
    }

    #[test]
    fn a_prompts_words_enter_the_key_and_the_species_number_does_not() {
        let text = "[dataset]\nroot = \"x\"\n[generator]\nkind = \"stable-diffusion\"\nmodel = \"m\"\n";
        let base = recipe::parse(text, Path::new("r.toml")).unwrap().generator;
        let of = CandidateOf { prompt: Some("a photo of an owl"), ..OF };
        let mut without = base.clone();
        if let GeneratorKind::StableDiffusion(model) = &mut without.kind {
            model.negative_prompt = "text".to_string();
        }
        let mut rescaled = base.clone();
        if let GeneratorKind::StableDiffusion(model) = &mut rescaled.kind {
            model.guidance_rescale = 0.5;
        }
        all_differ(&[
            candidate(&rescaled, &of),
            candidate(&base, &of),
            candidate(&base, &CandidateOf { prompt: Some("a photo of a owl"), ..of }),
            candidate(&without, &of),
        ]);
        assert_eq!(candidate(&base, &CandidateOf { class: 7, ..of }).key(), candidate(&base, &of).key());
    }

    #[test]
    fn strength_means_nothing_without_a_source() {
        let mut one = recipe().generator;
        one.mode = Mode::Txt2Img;
        let two = Generator { strength: 0.123, ..one.clone() };
        let of = CandidateOf { source: None, ..OF };
        assert_eq!(candidate(&one, &of).key(), candidate(&two, &of).key());
    }

    #[test]
    fn every_setting_of_a_generator_fit_changes_its_key() {
        let base = recipe().generator;
        let GeneratorKind::Ddpm(ddpm) = base.kind.clone() else { panic!("a ddpm") };
        let mut photos = PhotoList::default();
        photos.push(&[1; 32], "OWL");
        let mut more = photos.clone();
        more.push(&[2; 32], "OWL");
        let mut records = vec![ddpm_fit(&base, &ddpm, &photos), ddpm_fit(&base, &ddpm, &more)];
        let changes: [Change<Ddpm>; 6] = [
            |d| d.width = 8,
            |d| d.levels = vec![1, 12],
            |d| d.depth = 5,
            |d| d.train.steps = 6,
            |d| d.train.batch = 5,
            |d| d.train.learning_rate = 0.5,
        ];
        for change in changes {
            let mut changed = ddpm.clone();
            change(&mut changed);
            records.push(ddpm_fit(&base, &changed, &photos));
        }
        let changes: [Change<Generator>; 3] = [|g| g.size = 96, |g| g.seed = 8, |g| g.precision = Precision::Fp32];
        for change in changes {
            let mut changed = base.clone();
            change(&mut changed);
            records.push(ddpm_fit(&changed, &ddpm, &photos));
        }
        all_differ(&records);
        // How images are sampled later is no part of the fit.
        let sampled = Generator { guidance: 9.0, steps: 3, strength: 0.1, batch: 2, ..base.clone() };
        assert_eq!(ddpm_fit(&sampled, &ddpm, &photos).key(), records[0].key());
    }

    #[test]
    fn every_setting_of_a_lora_fit_changes_its_key() {
        let text =
            "[dataset]\nroot = \"x\"\n[generator]\nkind = \"stable-diffusion\"\nmodel = \"m\"\n[generator.lora]\n";
        let base = recipe::parse(text, Path::new("r.toml")).unwrap().generator;
        let GeneratorKind::StableDiffusion(model) = base.kind.clone() else { panic!("the other kind") };
        let lora = model.lora.unwrap();
        let mut photos = PhotoList::default();
        photos.push(&[1; 32], "OWL");
        let mut more = photos.clone();
        more.push(&[2; 32], "OWL");
        let mut records = vec![
            lora_fit(&base, &lora, [3; 32], [4; 32], &photos),
            lora_fit(&base, &lora, [3; 32], [4; 32], &more),
            lora_fit(&base, &lora, [5; 32], [4; 32], &photos),
            lora_fit(&base, &lora, [3; 32], [5; 32], &photos),
        ];
        let changes: [Change<Lora>; 8] = [
            |l| l.rank = 5,
            |l| l.steps = 6,
            |l| l.batch = 7,
            |l| l.accumulate = 8,
            |l| l.learning_rate = 0.5,
            |l| l.text_encoder = true,
            |l| l.token = Some("bird".to_string()),
            |l| l.recompute = true,
        ];
        for change in changes {
            let mut changed = lora.clone();
            change(&mut changed);
            records.push(lora_fit(&base, &changed, [3; 32], [4; 32], &photos));
        }
        let changes: [Change<Generator>; 3] = [|g| g.size = 96, |g| g.seed = 8, |g| g.precision = Precision::Fp32];
        for change in changes {
            let mut changed = base.clone();
            change(&mut changed);
            records.push(lora_fit(&changed, &lora, [3; 32], [4; 32], &photos));
        }
        all_differ(&records);
        // How images are sampled later is no part of the fit.
        let sampled = Generator { guidance: 9.0, steps: 3, strength: 0.1, batch: 2, ..base.clone() };
        assert_eq!(lora_fit(&sampled, &lora, [3; 32], [4; 32], &photos).key(), records[0].key());
        let models: BTreeSet<Digest> =
            [([1; 32], [2; 32]), ([1; 32], [3; 32]), ([2; 32], [1; 32])].map(|(a, b)| fine_tuned(a, b)).into();
        assert_eq!(models.len(), 3);
        let (a, b) = ([1; 32], [2; 32]);
        assert_eq!(with_loras(a, &[]), a);
        let models: BTreeSet<Digest> = [
            with_loras(a, &[]),
            with_loras(a, &[(b, 1.0)]),
            with_loras(a, &[(b, 0.5)]),
            with_loras(b, &[(b, 1.0)]),
            with_loras(a, &[(a, 1.0)]),
            with_loras(a, &[(a, 1.0), (b, 1.0)]),
            with_loras(a, &[(b, 1.0), (a, 1.0)]),
        ]
        .into();
        assert_eq!(models.len(), 7);
    }

    #[test]
    fn every_setting_of_a_classifier_fit_changes_its_key() {
        let base = recipe().classifier;
        let (mut train, mut valid) = (PhotoList::default(), PhotoList::default());
        train.push(&[1; 32], "OWL");
        valid.push(&[2; 32], "OWL");
        let fit = |settings: &Classifier| classifier_fit(settings, None, "uniform", 0, 0, &train, &valid);
        let mut records = vec![
            fit(&base),
            classifier_fit(&base, Some([7; 32]), "uniform", 0, 0, &train, &valid),
            classifier_fit(&base, None, "class-balanced", 0, 0, &train, &valid),
            classifier_fit(&base, None, "uniform", 0, 1, &train, &valid),
            classifier_fit(&base, None, "uniform", 0, 0, &valid, &valid),
            classifier_fit(&base, None, "uniform", 0, 0, &train, &train),
        ];
        let changes: [Change<Classifier>; 6] = [
            |c| c.arch = Arch::ResNet50,
            |c| c.size = 96,
            |c| c.steps = 11,
            |c| c.batch = 12,
            |c| c.learning_rate = 0.3,
            |c| c.precision = Precision::Fp16,
        ];
        for change in changes {
            let mut changed = base.clone();
            change(&mut changed);
            records.push(fit(&changed));
        }
        let changes: [Change<Training>; 20] = [
            |t| t.optimiser = Optimiser::AdamW,
            |t| t.momentum = 0.5,
            |t| t.weight_decay = 0.0,
            |t| t.warmup = 0.0,
            |t| t.label_smoothing = 0.0,
            |t| t.crop_min = 0.08,
            |t| t.augment = Augment::RandAugment,
            |t| (t.augment, t.randaug_ops) = (Augment::RandAugment, 3),
            |t| (t.augment, t.randaug_magnitude) = (Augment::RandAugment, 3),
            |t| t.augment = Augment::TrivialAugment,
            |t| t.jitter.brightness = 0.1,
            |t| t.jitter.contrast = 0.1,
            |t| t.jitter.saturation = 0.1,
            |t| t.jitter.hue = 0.1,
            |t| t.erasing = 0.1,
            |t| t.mixup = 0.1,
            |t| t.cutmix = 0.1,
            |t| t.ema = Some(0.0),
            |t| t.freeze = Freeze::Layer1,
            |t| t.layer_decay = 0.7,
        ];
        let with = |change: Change<Training>, synthetic: usize| {
            let mut changed = base.clone();
            change(&mut changed.training);
            classifier_fit(&changed, None, "uniform", synthetic, 0, &train, &valid)
        };
        records.extend(changes.into_iter().map(|change| with(change, 0)));
        records.push(with(|t| t.patience = Some(3), 0));
        records.push(with(|t| t.synthetic_share = Some(0.5), 1));
        records.push(with(|t| t.synthetic_share = Some(0.5), 2));
        records.push(with(|t| t.synthetic_weight = 0.5, 1));
        all_differ(&records);
        // What has no effect leaves the key alone.
        let nothing: [Change<Training>; 4] = [
            |t| t.checkpoint_minutes = 9.0,
            |t| t.memory_mb = 9,
            |t| (t.synthetic_share, t.synthetic_weight) = (Some(0.5), 0.5),
            |t| t.randaug_magnitude = 3,
        ];
        for change in nothing {
            assert_eq!(with(change, 0).key(), records[0].key());
        }
        assert_eq!(with(|_| (), 5).key(), records[0].key());
        // Which seeds there are is not one seed's business.
        assert_eq!(fit(&Classifier { seeds: vec![4, 5], ..base.clone() }).key(), records[0].key());
    }

    #[test]
    fn scores_features_and_files_are_told_apart_by_all_they_are_made_from() {
        let (a, b) = ([1; 32], [2; 32]);
        let mut one = PhotoList::default();
        one.push(&a, "OWL");
        let mut other = PhotoList::default();
        other.push(&a, "JAY");
        all_differ(&[
            copy_score(a, b, 64),
            copy_score(b, b, 64),
            copy_score(a, a, 64),
            copy_score(a, b, 32),
            source_score(a, b, 64),
            source_score(a, a, 64),
            class_score(a, b, 1),
            class_score(a, b, 2),
            class_score(b, b, 1),
            inception(a, "clean", "fp32", 8),
            inception(b, "clean", "fp32", 8),
            inception(a, "tf-bilinear", "fp32", 8),
            inception(a, "clean", "bf16", 8),
            inception(a, "clean", "fp32", 4),
            inception_features(a, &inception(a, "clean", "fp32", 8)),
            inception_features(b, &inception(a, "clean", "fp32", 8)),
            inception_features(a, &inception(b, "clean", "fp32", 8)),
            held_out_score(a, b, 64),
            held_out_score(b, b, 64),
            held_out_score(a, a, 64),
            held_out_score(a, b, 32),
            likeness_score(a, b, None),
            likeness_score(b, b, None),
            likeness_score(a, a, None),
            likeness_score(a, b, Some(a)),
            likeness_score(a, b, Some(b)),
            realism_score(a, b, &one, 3),
            realism_score(b, b, &one, 3),
            realism_score(a, a, &one, 3),
            realism_score(a, b, &other, 3),
            realism_score(a, b, &one, 5),
            pairs(a, 64),
            pairs(b, 64),
            pairs(a, 32),
            photos_likeness(&one, a, 64),
            photos_likeness(&other, a, 64),
            photos_likeness(&one, b, 64),
            photos_likeness(&one, a, 32),
            encoded(a, b),
            encoded(b, a),
            features(&one, a),
            features(&other, a),
            features(&one, b),
            predictions(a, &one),
            predictions(b, &one),
        ]);
    }

    #[test]
    fn every_threshold_of_the_gates_changes_their_key_and_no_other_does() {
        let (mut one, mut other) = (PhotoList::default(), PhotoList::default());
        one.push(&[1; 32], "OWL");
        other.push(&[1; 32], "JAY");
        let base = recipe().filter;
        let changes: [Change<Filter>; 6] = [
            |f| f.fid_max = Some(5.0),
            |f| f.fid_max = Some(6.0),
            |f| f.kid_max = Some(5.0),
            |f| f.kid_max = Some(6.0),
            |f| f.species_kid_max = Some(5.0),
            |f| f.species_kid_max = Some(6.0),
        ];
        let mut records = vec![
            gate(&base, [1; 32], &one, [2; 32]),
            gate(&base, [3; 32], &one, [2; 32]),
            gate(&base, [1; 32], &other, [2; 32]),
            gate(&base, [1; 32], &one, [3; 32]),
        ];
        for change in changes {
            let mut changed = base.clone();
            change(&mut changed);
            records.push(gate(&changed, [1; 32], &one, [2; 32]));
        }
        all_differ(&records);
        // Which images are in the pool is another question.
        let stricter = Filter { ssim_max: None, realism_min: Some(0.9), candidates: 3.0, ..base };
        assert_eq!(gate(&stricter, [1; 32], &one, [2; 32]).key(), records[0].key());
    }
}
