//! `[classifier]`: every key read, every default, what is refused and how.

use super::super::schema::CLASSIFIER;
use super::super::*;
use super::{good, message};

const SHORT: &str = "[dataset]\nroot = \"data/birds\"\n[generator]\nkind = \"ddpm\"\n[classifier]\n";

#[test]
fn every_key_of_the_training_is_read() {
    let recipe = good(&format!(
        "{SHORT}weights = \"w\"\noptimiser = \"adamw\"\nmomentum = 0.8\nweight_decay = 0.1\nwarmup = 0.2\n\
         label_smoothing = 0.0\ncrop_min = 0.08\naugment = \"trivialaug\"\nrandaug_ops = 3\nrandaug_magnitude = 12\n\
         erasing = 0.25\nmixup = 0.2\ncutmix = 1\nema = 0.99\nfreeze = \"layer2\"\nlayer_decay = 0.7\n\
         synthetic_share = 0.5\nsynthetic_weight = 0.25\npatience = 4\ncheckpoint_minutes = 5\nmemory_mb = 100\n\
         [classifier.jitter]\nbrightness = 0.4\ncontrast = 0.3\nsaturation = 0.2\nhue = 0.1\n"
    ));
    assert_eq!(
        recipe.classifier.training,
        Training {
            optimiser: Optimiser::AdamW,
            momentum: 0.8,
            weight_decay: 0.1,
            warmup: 0.2,
            label_smoothing: 0.0,
            crop_min: 0.08,
            augment: Augment::TrivialAugment,
            randaug_ops: 3,
            randaug_magnitude: 12,
            jitter: Jitter { brightness: 0.4, contrast: 0.3, saturation: 0.2, hue: 0.1 },
            erasing: 0.25,
            mixup: 0.2,
            cutmix: 1.0,
            ema: Some(0.99),
            freeze: Freeze::Layer2,
            layer_decay: 0.7,
            synthetic_share: Some(0.5),
            synthetic_weight: 0.25,
            patience: Some(4),
            checkpoint_minutes: 5.0,
            memory_mb: 100,
        }
    );
    assert_eq!(recipe.classifier.learning_rate, 1e-4);
}

#[test]
fn adamw_has_defaults_of_its_own() {
    let classifier = good(&format!("{SHORT}optimiser = \"adamw\"\nema = false\nsynthetic_share = false\n")).classifier;
    assert_eq!((classifier.learning_rate, classifier.training.weight_decay), (1e-3, 0.05));
    let plain = Training { optimiser: Optimiser::AdamW, weight_decay: 0.05, ..Training::default() };
    assert_eq!(classifier.training, plain);
}

#[test]
fn the_template_names_every_key_with_its_default_or_a_usual_value() {
    let facts = TemplateFacts {
        name: "birds".into(),
        species: 3,
        train_images: 9,
        rarest: 3,
        commonest: 3,
        width: 64,
        height: 64,
        renames: vec![],
        device_has_bf16: false,
        is_gpu: false,
        likeness: None,
    };
    let text = template(std::path::Path::new("b"), &facts);
    let (start, end) = (text.find("[classifier]").unwrap(), text.find("[compare]").unwrap());
    let own: String = text[start..end].lines().map(|line| format!("{}\n", line.trim_start_matches("# "))).collect();
    for key in CLASSIFIER {
        assert!(own.contains(&format!("\n{key} = ")) || own.contains(&format!("[classifier.{key}]")), "{key}");
    }
    let recipe = good(&format!("{}{own}{}", &text[..start], &text[end..]));
    let training = recipe.classifier.training;
    assert_eq!((training.ema, training.freeze, training.patience), (Some(0.999), Freeze::Layer2, Some(3)));
    let usual = Training {
        ema: None,
        freeze: Freeze::None,
        layer_decay: 1.0,
        synthetic_share: None,
        patience: None,
        jitter: Jitter::default(),
        ..training
    };
    assert_eq!(usual, Training::default());
}

#[test]
fn what_cannot_be_trained_is_refused_with_its_place() {
    insta::assert_snapshot!(message(&format!("{SHORT}learning_rate = 0\n")), @r"
    error: `learning_rate` in `[classifier]` is impossible
     --> recipes/birds.toml:6:17
      |
    6 | learning_rate = 0
      |                 ^ found 0
      |
      = allowed: a number above 0
    ");
    insta::assert_snapshot!(message(&format!("{SHORT}freeze = \"layer2\"\n")), @r#"
    error: `freeze` in `[classifier]` is impossible
     --> recipes/birds.toml:6:10
      |
    6 | freeze = "layer2"
      |          ^^^^^^^^ there are no `weights` to keep
      |
      = allowed: with `weights` alone: random layers would stay random
    "#);
    insta::assert_snapshot!(message(&format!("{SHORT}augment = \"randaugment\"\n")), @r#"
    error: `augment` in `[classifier]` does not know `randaugment`
     --> recipes/birds.toml:6:11
      |
    6 | augment = "randaugment"
      |           ^^^^^^^^^^^^^ unknown
      |
      = allowed: `plain`, `randaug` or `trivialaug`
      = help: did you mean `randaug`?
    "#);
    insta::assert_snapshot!(message(&format!("{SHORT}jitter = {{ hue = 0.7 }}\n")), @r"
    error: `hue` in `[classifier.jitter]` is impossible
     --> recipes/birds.toml:6:18
      |
    6 | jitter = { hue = 0.7 }
      |                  ^^^ found 0.7
      |
      = allowed: a number from 0 to 0.5
    ");
    insta::assert_snapshot!(message(&format!("{SHORT}synthetic_shar = 0.5\n")), @r"
    error: `[classifier]` takes no `synthetic_shar`
     --> recipes/birds.toml:6:1
      |
    6 | synthetic_shar = 0.5
      | ^^^^^^^^^^^^^^ unknown
      |
      = allowed: arch, weights, size, steps, batch, learning_rate, precision, seeds, optimiser, momentum, weight_decay, warmup, label_smoothing, crop_min, augment, randaug_ops, randaug_magnitude, jitter, erasing, mixup, cutmix, ema, freeze, layer_decay, synthetic_share, synthetic_weight, patience, checkpoint_minutes, memory_mb
      = help: did you mean `synthetic_share`?
    ");
    insta::assert_snapshot!(message(&format!("{SHORT}ema = 1\npatience = 0\nsynthetic_weight = 0\n")), @r"
    error: `ema` in `[classifier]` is impossible
     --> recipes/birds.toml:6:7
      |
    6 | ema = 1
      |       ^ found 1
      |
      = allowed: a number from 0 to 0.99999, or `false` for no bound

    error: `patience` in `[classifier]` is impossible
     --> recipes/birds.toml:7:12
      |
    7 | patience = 0
      |            ^ found 0
      |
      = allowed: a whole number, 1 or more

    error: `synthetic_weight` in `[classifier]` is impossible
     --> recipes/birds.toml:8:20
      |
    8 | synthetic_weight = 0
      |                    ^ found 0
      |
      = allowed: a number above 0

    3 problems in `recipes/birds.toml`
    ");
}
