//! The documented recipe, whole, with its comments taken away, and each of its defaults.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::*;
use super::good;

/// The recipe as it is documented.
const PAGE: &str = include_str!("page.toml");

/// The shortest recipe.
const SHORT: &str = "[dataset]\nroot = \"data/birds\"\n[generator]\nkind = \"ddpm\"\n";

/// The recipe without what does not matter for a build.
fn meaning(text: &str) -> Recipe {
    Recipe { lines: BTreeMap::new(), text: String::new(), ..good(text) }
}

fn names(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(from, to)| (from.to_string(), to.to_string())).collect()
}

const LORA: Lora = Lora {
    rank: 8,
    steps: 2000,
    learning_rate: 1e-4,
    batch: 1,
    accumulate: 1,
    text_encoder: false,
    recompute: false,
    token: None,
};

#[test]
fn the_documented_recipe_says_what_its_page_says() {
    let recipe = good(PAGE);
    assert_eq!(recipe.name, "birds");
    assert_eq!(recipe.path, PathBuf::from("recipes/birds.toml"));
    assert_eq!(recipe.split.kind, SplitKind::LongTail { imbalance: 0.05 });
    assert_eq!(recipe.split.test, TestImages::UnusedTrain);
    assert_eq!(recipe.balance.species, BTreeMap::from([("INDIGO BUNTING".to_string(), 40)]));
    assert_eq!(
        recipe.generator,
        Generator {
            kind: GeneratorKind::StableDiffusion(StableDiffusion {
                model: "models/sd15".into(),
                prediction_type: None,
                prompt: "a photo of a {species}, a bird".into(),
                negative_prompt: String::new(),
                names: names(&[("MANDRIN DUCK", "mandarin duck")]),
                guidance_rescale: 0.0,
                loras: BTreeMap::new(),
                lora: Some(LORA),
            }),
            mode: Mode::Img2Img,
            strength: 0.7,
            steps: 25,
            guidance: 4.0,
            sampler: Sampler::DpmSolver2M,
            size: 512,
            precision: Precision::Bf16,
            batch: 8,
            seed: 0,
        }
    );
    assert_eq!(recipe.emit.out, PathBuf::from("out/balanced"));
    assert_eq!(recipe.report.out, PathBuf::from("results/balanced"));
    assert_eq!(warnings(&recipe), Vec::<String>::new());
}

/// The page with the keys taken out of its comments, but for those of the other kinds of split and generator.
fn uncommented() -> String {
    const OTHER_KINDS: [&str; 7] = ["shots", "kind", "width", "levels", "steps", "batch", "learning_rate"];
    let key_of = |line: &'static str| {
        let rest = line.strip_prefix("# ")?;
        let (key, _) = rest.split_once(" = ")?;
        let is_key = key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        (is_key && !OTHER_KINDS.contains(&key)).then_some(rest)
    };
    PAGE.lines().map(|line| key_of(line).unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_commented_keys_of_the_page_are_keys() {
    let recipe = good(&uncommented());
    assert_eq!(recipe.dataset.rename, names(&[("PARAKETT  AUKLET", "PARAKETT AUKLET")]));
    assert_eq!(recipe.dataset.exclude, ["LOONEY BIRDS"]);
    assert_eq!(
        recipe.filter,
        Filter {
            candidates: 1.5,
            ssim_max: Some(0.90),
            ssim_min: Some(0.05),
            held_out_max: Some(0.45),
            copy_max: Some(0.85),
            duplicate_max: Some(0.90),
            confidence_min: Some(0.10),
            realism_min: Some(0.80),
            fid_max: Some(80.0),
            kid_max: Some(0.05),
            species_kid_max: Some(0.20),
            features: Features::Inception("weights/inception.safetensors".into()),
        }
    );
    assert_eq!(recipe.classifier.weights, Some("weights/resnet18.safetensors".into()));
    let own = "width = 32\nlevels = [1, 2]\n[generator.train]\nsteps = 9\nbatch = 7\nlearning_rate = 1e-3\n";
    let fitted = good(&format!("{SHORT}{own}"));
    let train = DdpmTrain { steps: 9, batch: 7, learning_rate: 1e-3 };
    assert_eq!(fitted.generator.kind, GeneratorKind::Ddpm(Ddpm { width: 32, levels: vec![1, 2], depth: 2, train }));
}

#[test]
fn what_the_shortest_recipe_leaves_out_has_its_documented_default() {
    let split = |name: &str| name.to_string();
    assert_eq!(
        meaning(SHORT),
        Recipe {
            name: "birds".into(),
            path: "recipes/birds.toml".into(),
            dataset: Dataset {
                root: "data/birds".into(),
                splits: SplitNames { train: split("train"), valid: split("valid"), test: split("test") },
                rename: BTreeMap::new(),
                exclude: vec![],
            },
            split: Split { kind: SplitKind::Full, seed: 0, test: TestImages::Test },
            balance: Balance { target: Target::Max, max_ratio: Some(4.0), species: BTreeMap::new() },
            generator: Generator {
                kind: GeneratorKind::Ddpm(Ddpm {
                    width: 64,
                    levels: vec![1, 2, 3],
                    depth: 2,
                    train: DdpmTrain { steps: 20_000, batch: 64, learning_rate: 2e-4 },
                }),
                mode: Mode::Txt2Img,
                strength: 0.7,
                steps: 25,
                guidance: 4.0,
                sampler: Sampler::DpmSolver2M,
                size: 64,
                precision: Precision::Bf16,
                batch: 8,
                seed: 0,
            },
            filter: Filter {
                candidates: 1.5,
                ssim_max: Some(0.90),
                ssim_min: None,
                held_out_max: None,
                copy_max: None,
                duplicate_max: None,
                confidence_min: None,
                realism_min: None,
                fid_max: None,
                kid_max: None,
                species_kid_max: None,
                features: Features::Classifier,
            },
            emit: Emit { out: "out/birds".into(), link: Link::Auto, encode: Encode::Match },
            classifier: Classifier {
                arch: Arch::ResNet18,
                weights: None,
                size: 224,
                steps: 2000,
                batch: 32,
                learning_rate: 0.05,
                precision: Precision::Fp32,
                seeds: vec![0, 1, 2, 3, 4],
                training: Training::default(),
            },
            compare: Compare {
                arms: [ArmWord::Real, ArmWord::Oversampled, ArmWord::Augmented].map(Arm::of).to_vec(),
                tail: 0.33
            },
            report: Report { out: "results/birds".into() },
            lines: BTreeMap::new(),
            text: String::new(),
        }
    );
}

#[test]
fn stable_diffusion_has_defaults_of_its_own() {
    let recipe = good(&SHORT.replace("ddpm", "stable-diffusion"));
    assert_eq!((recipe.generator.mode, recipe.generator.size), (Mode::Img2Img, 512));
    let GeneratorKind::StableDiffusion(model) = recipe.generator.kind else { panic!("the other kind") };
    assert_eq!(model.prompt, "a photo of a {species}, a bird");
    assert_eq!((model.model.as_str(), model.lora), ("models/sd15", None));
    let lora = good(&(SHORT.replace("ddpm", "stable-diffusion") + "[generator.lora]\n"));
    let GeneratorKind::StableDiffusion(model) = lora.generator.kind else { panic!("the other kind") };
    assert_eq!(model.lora, Some(LORA));
    let more = "guidance_rescale = 0.7\nprediction_type = \"v_prediction\"\n[generator.loras]\n\"loras/style\" = 0.8\nplain = -1\n[generator.lora]\nrecompute = true\n";
    let GeneratorKind::StableDiffusion(model) =
        good(&(SHORT.replace("ddpm", "stable-diffusion") + more)).generator.kind
    else {
        panic!("the other kind")
    };
    assert_eq!(model.guidance_rescale, 0.7);
    assert_eq!(model.prediction_type, Some(PredictionType::V));
    assert_eq!(model.loras, BTreeMap::from([("loras/style".to_string(), 0.8), ("plain".to_string(), -1.0)]));
    assert_eq!(model.lora, Some(Lora { recompute: true, ..LORA }));
}

#[test]
fn a_classifier_that_starts_from_weights_takes_smaller_steps() {
    let tuned = good(&format!("{SHORT}[classifier]\nweights = \"w.safetensors\"\n"));
    assert_eq!(tuned.classifier.learning_rate, 0.01);
}

#[test]
fn order_and_comments_and_style_mean_nothing() {
    let one = "
[dataset]
root = \"data/birds\"
rename = { \"A  B\" = \"A B\" }
[balance]
target = 40
[balance.species]
\"INDIGO BUNTING\" = 40
[generator]
kind = \"ddpm\"
size = 32
guidance = 2.0
[generator.train]
steps = 100
";
    let other = "
# The same, written by someone else.
generator.size = 0x20
generator.train = { steps = 1_00 }   # a hundred
generator.guidance = 2
generator.kind = 'ddpm'

[balance]
species.'INDIGO BUNTING' = 40
target = 40

[dataset.rename]
'A  B' = \"A\\u0020B\"
[dataset]
root = 'data/birds'
";
    assert_eq!(meaning(one), meaning(other));
    assert_eq!(meaning(one), meaning(&one.replace('\n', "\r\n")));
}

#[test]
fn every_key_knows_its_line() {
    let recipe = good(
        "[dataset]\nroot = \"b\"\n\n[generator]\nkind = \"ddpm\"\n[generator.train]\nsteps = 5\n[balance.species]\n\"A B\" = 1\n",
    );
    let lines: Vec<(&str, usize)> = recipe.lines.iter().map(|(key, line)| (key.as_str(), *line)).collect();
    assert_eq!(
        lines,
        [
            ("balance", 8),
            ("balance.species", 8),
            ("balance.species.A B", 9),
            ("dataset", 1),
            ("dataset.root", 2),
            ("generator", 4),
            ("generator.kind", 5),
            ("generator.train", 6),
            ("generator.train.steps", 7),
        ]
    );
    assert_eq!(recipe.line(&["balance", "species", "A B"]), Some(9));
    assert_eq!(recipe.line(&["filter", "ssim_max"]), None);
}

#[test]
fn a_bound_that_is_on_by_default_can_be_turned_off() {
    let recipe = good(&format!("{SHORT}[balance]\nmax_ratio = false\n[filter]\nssim_max = false\n"));
    assert_eq!((recipe.balance.max_ratio, recipe.filter.ssim_max), (None, None));
}

#[test]
fn the_written_encoding_is_read() {
    let recipe = good(&format!("{SHORT}[emit]\nencode = {{ format = \"png\", size = 96 }}\n"));
    assert_eq!(recipe.emit.encode, Encode::As { format: ImageFormat::Png, quality: 95, size: 96 });
}

#[test]
fn every_name_reads_back_as_itself() {
    for sampler in Sampler::ALL {
        assert_eq!(Sampler::from_name(sampler.name()), Some(*sampler));
        let recipe = good(&format!("{SHORT}sampler = \"{sampler}\"\n"));
        assert_eq!(recipe.generator.sampler, *sampler);
    }
    for arm in ArmWord::ALL {
        assert_eq!(ArmWord::from_name(arm.name()), Some(*arm));
    }
    let precisions: Vec<&str> = Precision::ALL.iter().map(|precision| precision.name()).collect();
    assert_eq!(precisions, ["fp32", "bf16", "fp16"]);
}
