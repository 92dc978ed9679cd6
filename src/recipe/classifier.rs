//! `[classifier]`: how every arm's classifiers are trained; its keys, their defaults and what they must hold. Knows no file but
//! the recipe.

use std::path::PathBuf;

use super::read::Section;
use super::schema;
use super::tables::{table, value};
use super::types::{Arch, Augment, Classifier, Freeze, Jitter, Optimiser, Precision, Training};
use super::within::{ABOVE_ZERO, BELOW_ONE, FROM_ZERO, HALF, SHARE, UNIT};

impl Default for Training {
    /// What a recipe that says nothing of it means: SGD from scratch with crops and flips.
    fn default() -> Training {
        Training {
            optimiser: Optimiser::Sgd,
            momentum: 0.9,
            weight_decay: 5e-4,
            warmup: 0.1,
            label_smoothing: 0.1,
            crop_min: 0.35,
            augment: Augment::Plain,
            randaug_ops: 2,
            randaug_magnitude: 9,
            jitter: Jitter::default(),
            erasing: 0.0,
            mixup: 0.0,
            cutmix: 0.0,
            ema: None,
            freeze: Freeze::None,
            layer_decay: 1.0,
            synthetic_share: None,
            synthetic_weight: 1.0,
            patience: None,
            checkpoint_minutes: 1.0,
            memory_mb: 2048,
        }
    }
}

pub(super) fn read(root: &Section<'_, '_>) -> Classifier {
    let section = table(root, "classifier");
    let weights = section.filled("weights", "a file of weights").map(|file| PathBuf::from(file.value));
    let training = training(&section);
    // Fine-tuning wants smaller steps than training from nothing (Kornblith et al. 2019, appendix A); so does AdamW than SGD.
    let learning_rate = match (training.optimiser, section.has("weights")) {
        (Optimiser::Sgd, false) => 0.05,
        (Optimiser::Sgd, true) => 0.01,
        (Optimiser::AdamW, false) => 1e-3,
        (Optimiser::AdamW, true) => 1e-4,
    };
    let seed = |item| section.whole_of("seeds", item, 0..=i64::MAX as u64);
    let seeds = section.distinct("seeds", "whole numbers", 1, seed);
    Classifier {
        arch: value(section.choice("arch"), Arch::ResNet18),
        weights,
        size: value(section.whole("size", 32..=1024), 224) as usize,
        steps: value(section.count("steps", 1), 2000),
        // Batch normalisation has no statistics of a single image.
        batch: value(section.whole("batch", 2..=4096), 32) as usize,
        learning_rate: value(section.number("learning_rate", ABOVE_ZERO), learning_rate),
        precision: value(section.choice("precision"), Precision::Fp32),
        seeds: seeds.map_or(vec![0, 1, 2, 3, 4], |seeds| seeds.into_iter().map(|seed| seed.value).collect()),
        training,
    }
}

fn training(section: &Section<'_, '_>) -> Training {
    let default = Training::default();
    let optimiser = value(section.choice("optimiser"), default.optimiser);
    let weight_decay = match optimiser {
        Optimiser::Sgd => default.weight_decay,
        Optimiser::AdamW => 0.05,
    };
    let jitter = section.table("jitter", schema::JITTER);
    let strength = |key, within| value(jitter.number(key, within), 0.0);
    let freeze = section.choice::<Freeze>("freeze");
    if let Some(freeze) = &freeze
        && freeze.value != Freeze::None
        && !section.has("weights")
    {
        let allowed = "with `weights` alone: random layers would stay random";
        section.impossible("freeze", freeze.at.clone(), "there are no `weights` to keep", allowed);
    }
    let ema = section.bound("ema", BELOW_ONE);
    let patience = section.count("patience", 1);
    Training {
        optimiser,
        momentum: value(section.number("momentum", BELOW_ONE), default.momentum),
        weight_decay: value(section.number("weight_decay", FROM_ZERO), weight_decay),
        warmup: value(section.number("warmup", BELOW_ONE), default.warmup),
        label_smoothing: value(section.number("label_smoothing", BELOW_ONE), default.label_smoothing),
        crop_min: value(section.number("crop_min", SHARE), default.crop_min),
        augment: value(section.choice("augment"), default.augment),
        randaug_ops: value(section.whole("randaug_ops", 1..=14), default.randaug_ops as u64) as usize,
        randaug_magnitude: value(section.whole("randaug_magnitude", 0..=30), default.randaug_magnitude as u64) as usize,
        jitter: Jitter {
            brightness: strength("brightness", FROM_ZERO),
            contrast: strength("contrast", FROM_ZERO),
            saturation: strength("saturation", FROM_ZERO),
            hue: strength("hue", HALF),
        },
        erasing: value(section.number("erasing", UNIT), default.erasing),
        mixup: value(section.number("mixup", FROM_ZERO), default.mixup),
        cutmix: value(section.number("cutmix", FROM_ZERO), default.cutmix),
        ema: ema.flatten().map(|decay| decay.value),
        freeze: value(freeze, default.freeze),
        layer_decay: value(section.number("layer_decay", SHARE), default.layer_decay),
        synthetic_share: section.bound("synthetic_share", UNIT).flatten().map(|share| share.value),
        synthetic_weight: value(section.number("synthetic_weight", ABOVE_ZERO), default.synthetic_weight),
        patience: patience.map(|times| times.value),
        checkpoint_minutes: value(section.number("checkpoint_minutes", ABOVE_ZERO), default.checkpoint_minutes),
        memory_mb: value(section.whole("memory_mb", 0..=1_000_000), default.memory_mb),
    }
}
