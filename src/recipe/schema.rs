//! Which keys each table of a recipe takes. Knows names only; their values are read in `tables`, which
//! may ask for no key that is missing here.

/// Every table but `[generator]` and those inside it, with its keys, in the order of the documentation.
pub(super) const TABLES: &[(&str, &[&str])] = &[
    ("dataset", &["root", "splits", "rename", "exclude"]),
    ("split", &["kind", "imbalance", "shots", "seed", "test"]),
    ("balance", &["target", "max_ratio", "species"]),
    ("generator", &[]),
    ("filter", FILTER),
    ("emit", &["out", "link", "encode"]),
    ("classifier", CLASSIFIER),
    ("compare", &["arms", "doses", "tail", "arm"]),
    ("report", &["out"]),
];

/// What `[filter]` takes.
const FILTER: &[&str] = &[
    "candidates",
    "ssim_max",
    "ssim_min",
    "held_out_max",
    "copy_max",
    "duplicate_max",
    "confidence_min",
    "realism_min",
    "fid_max",
    "kid_max",
    "species_kid_max",
    "features",
];

/// What `[classifier]` takes.
pub(super) const CLASSIFIER: &[&str] = &[
    "arch",
    "weights",
    "size",
    "steps",
    "batch",
    "learning_rate",
    "precision",
    "seeds",
    "optimiser",
    "momentum",
    "weight_decay",
    "warmup",
    "label_smoothing",
    "crop_min",
    "augment",
    "randaug_ops",
    "randaug_magnitude",
    "jitter",
    "erasing",
    "mixup",
    "cutmix",
    "ema",
    "freeze",
    "layer_decay",
    "synthetic_share",
    "synthetic_weight",
    "patience",
    "checkpoint_minutes",
    "memory_mb",
];

/// What `[generator]` takes of either kind.
pub(super) const GENERATOR: &[&str] =
    &["kind", "mode", "strength", "steps", "guidance", "sampler", "size", "precision", "batch", "seed"];

/// What `[generator]` takes of `kind = "stable-diffusion"` alone.
pub(super) const STABLE_DIFFUSION: &[&str] =
    &["model", "prediction_type", "prompt", "negative_prompt", "guidance_rescale", "names", "loras", "lora"];

/// What `[generator]` takes of `kind = "ddpm"` alone.
pub(super) const DDPM: &[&str] = &["width", "levels", "depth", "train"];

/// Tables inside tables, and inline tables.
pub(super) const SPLITS: &[&str] = &["train", "valid", "test"];
pub(super) const LORA: &[&str] =
    &["rank", "steps", "learning_rate", "batch", "accumulate", "text_encoder", "recompute", "token"];
pub(super) const TRAIN: &[&str] = &["steps", "batch", "learning_rate"];
pub(super) const ARM: &[&str] = &["real", "dose", "sampling", "augment", "synthetic_share"];
pub(super) const JITTER: &[&str] = &["brightness", "contrast", "saturation", "hue"];
pub(super) const ENCODE: &[&str] = &["format", "quality", "size"];

/// The names of the tables at the top.
pub(super) fn tables() -> Vec<&'static str> {
    TABLES.iter().map(|(name, _)| *name).collect()
}

/// The tables that take `key`, as they are written: `[filter]`.
pub(super) fn homes_of(key: &str) -> Vec<String> {
    let generator = GENERATOR.iter().chain(STABLE_DIFFUSION).chain(DDPM);
    let mut homes: Vec<String> =
        TABLES.iter().filter(|(_, keys)| keys.contains(&key)).map(|(name, _)| format!("[{name}]")).collect();
    if generator.clone().any(|known| *known == key) {
        homes.push("[generator]".to_string());
    }
    let inner = [
        ("generator.lora", LORA),
        ("generator.train", TRAIN),
        ("classifier.jitter", JITTER),
        ("compare.arm.NAME", ARM),
    ];
    for (name, keys) in inner {
        if keys.contains(&key) {
            homes.push(format!("[{name}]"));
        }
    }
    homes
}
