//! Results as a real build has them, made up, for the tests of the writers.

use super::data::*;

/// The smallest PNG there is: a grey pixel.
pub const PIXEL: &[u8] = &[
    0x89, b'P', b'N', b'G', 13, 10, 26, 10, 0, 0, 0, 13, b'I', b'H', b'D', b'R', 0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0,
    0x3a, 0x7e, 0x9b, 0x55, 0, 0, 0, 10, b'I', b'D', b'A', b'T', 0x78, 0x9c, 0x63, 0x68, 0, 0, 0, 0x82, 0, 0x81, 0x77,
    0xcd, 0x72, 0xb6, 0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82,
];

const NAMES: [&str; 12] = [
    "INDIGO BUNTING",
    "PAINTED BUNTING",
    "BALTIMORE ORIOLE",
    "ORCHARD ORIOLE",
    "BROWN PELICAN",
    "WHITE PELICAN",
    "CEDAR WAXWING",
    "GREEN JAY",
    "HOODED MERGANSER",
    "MALLARD",
    "PILEATED WOODPECKER",
    "RUFOUS HUMMINGBIRD",
];

/// A build of `species` long-tailed species, three arms and three seeds, that shows nothing.
pub fn results(species: usize) -> Results {
    let counts: Vec<SpeciesCounts> = (0..species).map(|i| counts(i, species)).collect();
    let comparisons = vec![
        comparison("oversampled", "real", 0.0042, [-0.0143, 0.0228], 0.68),
        comparison("augmented", "real", 0.0121, [-0.0082, 0.0314], 0.237),
        comparison("augmented", "oversampled", 0.0079, [-0.0121, 0.0276], 0.44),
    ];
    let arms = vec![arm("real", &counts, 0.0), arm("oversampled", &counts, 0.004), arm("augmented", &counts, 0.012)];
    let rejected: usize = counts.iter().map(|s| s.rejected).sum();
    Results {
        name: "birds24".into(),
        recipe: "recipes/birds24.toml".into(),
        dataset: "data/birds24".into(),
        engine: "0.1.0".into(),
        libtorch: "2.11.0".into(),
        device: "cpu avx512+amx".into(),
        split: "long-tail, imbalance 0.1, seed 0".into(),
        tested_on: "unused train images".into(),
        generator: Some(Generator {
            kind: "ddpm".into(),
            mode: "img2img".into(),
            size: 32,
            steps: 25,
            sampler: "dpm++2m".into(),
            guidance: 2.0,
            strength: Some(0.7),
            precision: "bf16".into(),
            train_steps: Some(4000),
        }),
        rejections: vec![
            Rejections { reason: "copy of a real image".into(), count: rejected / 3, threshold: Some(0.9) },
            Rejections { reason: "low confidence".into(), count: rejected - rejected / 3, threshold: Some(0.1) },
        ],
        set_metrics: vec![
            SetMetric {
                metric: "fid".into(),
                value: Some(41.23),
                n_real: 412,
                n_synthetic: 310,
                floor: Some(12.31),
                floor_n: Some(206),
                features: "classifier".into(),
                threshold: Some(80.0),
                passed: Some(true),
                note: Some("310 synthetic images are too few for 512 features: read KID instead.".into()),
            },
            SetMetric {
                metric: "kid".into(),
                value: Some(0.0312),
                n_real: 412,
                n_synthetic: 310,
                floor: Some(0.0004),
                floor_n: Some(206),
                features: "classifier".into(),
                ..SetMetric::default()
            },
        ],
        baseline: Some(Baseline {
            arch: "resnet18".into(),
            valid_accuracy: Some(0.667),
            names_rightly: Some(0.741),
            candidates: counts.iter().map(|s| s.candidates).sum(),
        }),
        guards: vec![Guard {
            key: "ssim_max".into(),
            against: "every real image of the species, and all of valid and test".into(),
            real_against: "train photos against the others of their species".into(),
            real: (0..120).map(|i| 0.2 + 0.3 * wave(i + 3)).collect(),
            real_quantile: Some(0.48),
            kept: (0..310).map(|i| 0.35 + 0.52 * wave(i)).collect(),
            rejected: (0..58).map(|i| 0.45 + 0.53 * wave(i + 7)).collect(),
            threshold: Some(0.9),
            side: 64,
        }],
        gates: vec![],
        gallery: counts.iter().filter(|s| s.kept > 0).take(GALLERY_SPECIES).map(gallery).collect(),
        rejected: (0..6).map(|i| dropped(i, &counts)).collect(),
        history: history(),
        test_images: (0..2 * species)
            .map(|i| TestImage { path: format!("train/{}/{i:03}.jpg", counts[i % species].name), label: i % species })
            .collect(),
        predictions: vec![Predictions {
            arm: "augmented".into(),
            seed: 0,
            predicted: (0..2 * species).map(|i| (i + i % 3) % species).collect(),
            probability: (0..2 * species).map(wave).collect(),
        }],
        notes: vec!["RUFOUS HUMMINGBIRD: 3 of 36 wanted images are missing, all 54 candidates are used.".into()],
        species: counts,
        arms,
        comparisons,
        unfinished: None,
        models: vec![SavedModel {
            path: "models/augmented".into(),
            arm: "augmented".into(),
            seed: 2,
            valid_accuracy: Some(0.714),
        }],
    }
}

/// A number in [0, 1) that looks random and is the same everywhere.
pub fn wave(i: usize) -> f64 {
    let mixed = (i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f64 / (1u64 << 24) as f64
}

fn counts(i: usize, all: usize) -> SpeciesCounts {
    let round = i / NAMES.len();
    let name = if round == 0 { NAMES[i].to_string() } else { format!("{} {round}", NAMES[i % NAMES.len()]) };
    let real = 40 - 36 * i / all.max(2);
    let wanted = (40 - real).min(4 * real);
    let shortfall = if i + 1 == all { wanted.min(3) } else { 0 };
    let rejected = wanted / 5 + shortfall;
    let (kept, tail) = (wanted - shortfall, 3 * i >= 2 * all);
    SpeciesCounts {
        name,
        real,
        wanted,
        kept,
        rejected,
        candidates: kept + rejected,
        shortfall,
        valid: 6,
        test: 10,
        tail,
    }
}

fn comparison(arm: &str, baseline: &str, difference: f64, interval: [f64; 2], p: f64) -> Comparison {
    let [low, high] = interval;
    Comparison {
        arm: arm.into(),
        baseline: baseline.into(),
        difference,
        low: Some(low),
        high: Some(high),
        p: Some(p),
        p_unadjusted: Some(p / 2.0),
        verdict: Verdict::NotShown,
        confidence: 0.95,
        micro_difference: 0.9 * difference,
        head: Some(TailDifference { difference: 0.5 * difference, low: Some(low), high: Some(high), p: Some(p) }),
        tail: Some(TailDifference {
            difference: 3.0 * difference,
            low: Some(3.0 * low),
            high: Some(3.0 * high),
            p: Some(p),
        }),
        mcnemar: (0..3).map(|seed| McNemar { seed, only_arm: 18 - seed as usize, only_baseline: 14, p: 0.6 }).collect(),
        smallest_difference: Some(0.034),
        design: PairDesign { seeds: 3, comparisons: 3, disagreement: 0.25, persistent: 0.5, run_std: 0.01 },
        test_images: 240,
    }
}

fn arm(name: &str, counts: &[SpeciesCounts], gain: f64) -> ArmResult {
    let real: usize = counts.iter().map(|s| s.real).sum();
    let kept = if name == "augmented" { counts.iter().map(|s| s.kept).sum() } else { 0 };
    let at = |base: f64, seed: usize| base + gain + 0.03 * (wave(seed + name.len()) - 0.5);
    let recall = |i: usize, seed: usize| ((at(0.5, seed) + 0.4 * wave(i)) * 10.0).round().min(10.0) / 10.0;
    ArmResult {
        name: name.into(),
        made_of: MadeOf {
            real: true,
            dose: if kept > 0 { 1.0 } else { 0.0 },
            sampling: if name == "oversampled" { "class-balanced" } else { "uniform" }.into(),
            augment: "plain".into(),
            synthetic_share: None,
        },
        train_images: real + kept,
        synthetic_images: kept,
        steps: 600,
        seeds: vec![0, 1, 2],
        macro_accuracy: (0..3).map(|seed| at(0.69, seed)).collect(),
        tail_accuracy: (0..3).map(|seed| Some(at(0.52, seed) + gain)).collect(),
        head_accuracy: (0..3).map(|seed| Some(at(0.75, seed))).collect(),
        micro_accuracy: (0..3).map(|seed| at(0.70, seed)).collect(),
        calibration_error: (0..3).map(|seed| 0.06 + 0.01 * wave(seed)).collect(),
        macro_interval: Some(Interval { low: 0.66 + gain, high: 0.72 + gain }),
        tail_interval: Some(Interval { low: 0.47 + gain, high: 0.56 + gain }),
        species: counts
            .iter()
            .enumerate()
            .map(|(i, s)| SpeciesRecall {
                name: s.name.clone(),
                recall: (0..3).map(|seed| Some(recall(i, seed))).collect(),
            })
            .collect(),
        confusions: (1..counts.len().min(4))
            .map(|i| Confusion {
                species: counts[i].name.clone(),
                called: counts[i - 1].name.clone(),
                images: 9 - i,
                share: (9 - i) as f64 / 30.0,
            })
            .collect(),
    }
}

fn scores(i: usize, species: &str) -> Scores {
    Scores {
        ssim: Some(0.3 + 0.5 * wave(i)),
        nearest: Some(format!("train/{species}/012.jpg")),
        source_ssim: Some(0.2 + 0.6 * wave(i + 1)),
        confidence: Some(0.2 + 0.8 * wave(i + 2)),
        named: Some(species.to_string()),
        frechet: Some(0.02 + 0.1 * wave(i + 3)),
        ..Scores::default()
    }
}

fn gallery(s: &SpeciesCounts) -> Gallery {
    let picture = || Picture(PIXEL.to_vec());
    let real = |i| RealImage { picture: picture(), path: format!("train/{}/{i:03}.jpg", s.name) };
    let kept = |i| KeptImage {
        picture: picture(),
        key: format!("{:012x}", (wave(i + s.real) * 2.8e14) as u64),
        source: Some(format!("train/{}/{i:03}.jpg", s.name)),
        scores: scores(i + s.real, &s.name),
    };
    Gallery {
        species: s.name.clone(),
        real: (0..s.real.min(3)).map(real).collect(),
        kept: (0..s.kept.min(8)).map(kept).collect(),
    }
}

fn dropped(i: usize, counts: &[SpeciesCounts]) -> RejectedImage {
    let species = &counts[counts.len() - 1 - i % counts.len()].name;
    let copy = i.is_multiple_of(2);
    let mut scores = scores(i, species);
    scores.ssim = if copy { Some(0.93) } else { scores.ssim };
    scores.confidence = if copy { scores.confidence } else { Some(0.041) };
    RejectedImage {
        picture: Picture(PIXEL.to_vec()),
        species: species.clone(),
        key: format!("{:012x}", (wave(i + 99) * 2.8e14) as u64),
        source: Some(format!("train/{species}/003.jpg")),
        reason: if copy { "copy of a real image" } else { "low confidence" }.into(),
        value: if copy { scores.ssim } else { scores.confidence },
        threshold: Some(if copy { 0.9 } else { 0.1 }),
        nearest_picture: copy.then(|| Picture(PIXEL.to_vec())),
        scores,
    }
}

fn history() -> Vec<HistoryRow> {
    let mut rows = Vec::new();
    for (arm, seeds, most) in
        [("generator", 1, 4000), ("baseline", 1, 600), ("real", 3, 600), ("oversampled", 3, 600), ("augmented", 3, 600)]
    {
        for seed in 0..seeds {
            for i in 0..=60 {
                let share = f64::from(i) / 60.0;
                let noise = wave(i as usize + 61 * seed as usize + 1000 * arm.len()) - 0.5;
                rows.push(HistoryRow {
                    arm: arm.into(),
                    seed,
                    step: most * i as usize / 60,
                    loss: Some(0.3 + 2.6 / (1.0 + 9.0 * share) + 0.12 * noise),
                    valid_accuracy: (arm != "generator" && i % 6 == 0).then(|| 0.7 * share.sqrt() + 0.04 * noise),
                    learning_rate: Some(1e-3 * (1.0 - share)),
                });
            }
        }
    }
    rows
}
