//! Stable Diffusion from outside: `generate`, and recipes whose generator is a checkpoint.

use std::collections::BTreeMap;
use std::fs;

use super::checkpoint;
use super::place::{Place, RECIPE, Said};

/// The tests' recipe with the small checkpoint as its generator.
fn recipe() -> String {
    let start = RECIPE.find("[generator]").unwrap();
    let end = RECIPE.find("[filter]").unwrap();
    let generator = r#"[generator]
kind = "stable-diffusion"
model = "model"
mode = "txt2img"
prompt = "a photo of a {species}"
negative_prompt = "text"
size = 32
steps = 2
guidance = 2.0
sampler = "euler-a"
batch = 4
precision = "fp32"
[generator.names]

"#;
    format!("{}{generator}{}", &RECIPE[..start], &RECIPE[end..])
}

fn place() -> Place {
    let place = Place::new();
    checkpoint::write(&place);
    place.recipe(&recipe());
    place
}

fn generate(place: &Place, more: &[&str]) -> Said {
    let mut args = vec!["generate", "model", "--size", "32", "--precision", "fp32"];
    args.extend(more);
    if !more.contains(&"--steps") {
        args.extend(["--steps", "2"]);
    }
    place.run(&args)
}

/// `[channels, h, w]` and the numbers of a file of latents.
fn latents(place: &Place, name: &str) -> (Vec<usize>, Vec<u8>) {
    let bytes = fs::read(place.path(name)).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor("latents").unwrap();
    (tensor.shape().to_vec(), tensor.data().to_vec())
}

#[test]
fn a_prompt_is_made_into_images_that_say_how_and_come_out_the_same_again() {
    let place = place();
    let said = generate(
        &place,
        &[
            "--prompt",
            "a tit",
            "--negative",
            "a cat",
            "--seed",
            "5",
            "--count",
            "3",
            "--batch",
            "2",
            "--sheet",
            "--out",
            "one",
        ],
    )
    .exits(0);
    assert_eq!(said.stdout, "one/0001.png\none/0002.png\none/0003.png\none/sheet.png\n");
    let image = image::open(place.path("one/0001.png")).unwrap();
    assert_eq!((image.width(), image.height()), (32, 32));
    let bytes = fs::read(place.path("one/0002.png")).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    for part in
        ["a tit\nNegative prompt: a cat\nSteps: 2, Sampler: pndm, CFG scale: 7.5, Seed: 6, Size: 32x32", "Batch: 2"]
    {
        assert!(text.contains(part), "no {part:?}");
    }
    let sheet = image::open(place.path("one/sheet.png")).unwrap();
    assert_eq!((sheet.width(), sheet.height()), (3 * 36 + 4, 36 + 4));
    // One seed is one image, whatever is made with it.
    generate(&place, &["--prompt", "a tit", "--negative", "a cat", "--seed", "6", "--batch", "2", "--out", "two"])
        .exits(0);
    let pixels = |name: &str| image::open(place.path(name)).unwrap().into_rgb8();
    assert!(pixels("two/0001.png") == pixels("one/0002.png"));
    assert!(pixels("one/0001.png") != pixels("one/0002.png"));
}

#[test]
fn an_empty_prompt_and_one_that_is_too_long_are_said_and_one_step_is_enough() {
    let place = place();
    let long = "tit ".repeat(60);
    place.write("prompts.txt", format!("{long}\n\na tit\n").as_bytes());
    let said = generate(
        &place,
        &["--prompt", "", "--prompts", "prompts.txt", "--steps", "1", "--guidance", "1", "--out", "one"],
    );
    let said = said.exits(0);
    assert_eq!(said.stdout, "one/0001.png\none/0002.png\none/0003.png\n");
    let lines: Vec<&str> = said.stderr.lines().filter(|line| line.contains("prompt")).collect();
    assert_eq!(lines.len(), 2, "{}", said.stderr);
    assert!(lines[0].ends_with("the prompt is empty: the image will be of nothing in particular"), "{}", lines[0]);
    // Three tokens a word: 180, of which 75 fit between beginning and end.
    assert!(lines[1].ends_with("is too long for the model: its last 105 tokens are not read"), "{}", lines[1]);
}

#[test]
fn noise_comes_from_a_file_and_latents_go_to_one() {
    let place = place();
    let numbers: Vec<u8> = (0..2 * 64).flat_map(|i| ((i as f32 * 0.7).sin() * 1.4).to_le_bytes()).collect();
    let noise = BTreeMap::from([("latents".to_string(), (vec![2, 4, 4, 4], numbers))]);
    place.write("noise.safetensors", &checkpoint::safetensors(&noise));
    let with = |out: &str, more: &[&str]| {
        let mut args = vec!["--prompt", "a tit", "--count", "2", "--noise", "noise.safetensors", "--out", out];
        args.extend(more);
        generate(&place, &args)
    };
    with("a", &["--seed", "1", "--latents", "a.safetensors"]).exits(0);
    with("b", &["--seed", "2", "--latents", "b.safetensors"]).exits(0);
    assert_eq!(latents(&place, "a.safetensors").0, [2, 4, 4, 4]);
    assert!(latents(&place, "a.safetensors") == latents(&place, "b.safetensors"), "the noise decides, not the seed");
    let said = with("c", &["--count", "3"]);
    assert_eq!(said.status, 2, "{said:?}");
    let said =
        generate(&place, &["--prompt", "x", "--count", "3", "--noise", "noise.safetensors", "--out", "c"]).exits(2);
    assert_eq!(
        said.stderr,
        "error: `noise.safetensors` holds noise of size [2, 4, 4, 4]; 3 images of this size want [3, 4, 4, 4]\n"
    );
}

#[test]
fn a_checkpoint_that_is_told_the_guidance_makes_images_by_its_own_sampler_and_hears_no_negative_prompt() {
    let place = place();
    checkpoint::tell_guidance(&place);
    let made = |more: &[&str], out: &str| {
        let mut args = vec!["--prompt", "a tit", "--steps", "4", "--out", out];
        args.extend(more);
        let said = generate(&place, &args).exits(0);
        let bytes = fs::read(place.path(&format!("{out}/0001.png"))).unwrap();
        assert!(String::from_utf8_lossy(&bytes).contains("Steps: 4, Sampler: lcm, CFG scale: "));
        (image::load_from_memory(&bytes).unwrap().into_rgb8(), said.stderr)
    };
    let (plain, said) = made(&["--guidance", "8"], "plain");
    assert!(!said.contains("warning"), "{said}");
    let (negative, said) = made(&["--guidance", "8", "--negative", "a cat", "--guidance-rescale", "0.5"], "negative");
    let why = "has no effect: `model` is told the guidance and makes no pass without the prompt";
    let warnings: Vec<&str> =
        said.lines().filter_map(|line| line.split_once("warning: ")).map(|(_, line)| line).collect();
    assert_eq!(warnings, [format!("the negative prompt {why}"), format!("guidance rescale {why}")]);
    assert!(negative == plain);
    assert!(made(&["--guidance", "2"], "less").0 != plain);

    place.recipe(&recipe().replace("euler-a", "lcm"));
    let said = place.build();
    assert!(said.stderr.contains(&format!("warning: the negative prompt {why}\n")), "{}", said.stderr);
    place.recipe(&recipe().replace("[generator.names]", "[generator.lora]"));
    assert_eq!(
        place.run(&["build", "recipes/tiny.toml"]).exits(1).stderr.lines().rev().take(2).collect::<Vec<_>>(),
        [
            "  help: fit it to the checkpoint that this one was distilled from: name that one as `model` in `[generator]`",
            "error: `model/unet` is told the guidance (`time_cond_proj_dim`): no LoRA can be fitted to it"
        ]
    );
}

#[test]
fn a_photo_is_varied_by_strength() {
    let place = place();
    let photo =
        walkdir::WalkDir::new(place.path("birds/train")).into_iter().flatten().find(|e| e.file_type().is_file());
    let photo = photo.unwrap().path().to_string_lossy().into_owned();
    let made = |strength: &str, out: &str| {
        generate(
            &place,
            &["--prompt", "a tit", "--image", &photo, "--strength", strength, "--steps", "4", "--out", out],
        )
        .exits(0);
        image::open(place.path(&format!("{out}/0001.png"))).unwrap().into_rgb8()
    };
    assert!(made("0.3", "little") != made("1", "all"));
    let said = generate(&place, &["--prompt", "x", "--image", &photo, "--strength", "0", "--out", "none"]).exits(2);
    assert_eq!(
        said.stderr,
        "error: `--strength` is above 0 (the photo as it is) and at most 1 (nothing left of it), not 0\n"
    );
}

#[test]
fn a_recipe_builds_with_a_checkpoint_and_only_what_its_words_change_is_made_again() {
    let place = place();
    place.build();
    let manifest = fs::read_to_string(place.path("out/tiny/manifest.csv")).unwrap();
    let synthetic: Vec<&str> = manifest.lines().filter(|line| line.contains(",synthetic,")).collect();
    assert_eq!(synthetic.len(), 3, "{manifest}");
    let species: Vec<String> = fs::read_dir(place.path("birds/train"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        synthetic
            .iter()
            .all(|line| species.iter().any(|name| line.contains(&format!("a photo of a {}", name.to_lowercase()))))
    );
    let again = place.run(&["build", "recipes/tiny.toml"]).exits(0);
    assert!(again.stdout.starts_with("nothing to do"), "{}", again.stdout);
    let verified = place.run(&["verify", "recipes/tiny.toml"]);
    assert_eq!(verified.status, 0, "{}", verified.stdout);
    let verified = place.run(&["verify", "recipes/tiny.toml", "--json"]).exits(0).json();
    assert_eq!((verified["level"].as_str(), verified["checked"] == verified["equal"]), (Some("E1"), true));

    // What the prompt calls one species is that species' business alone.
    let to_make = |recipe: &str| {
        place.recipe(recipe);
        place.run(&["plan", "recipes/tiny.toml", "--json"]).exits(0).json()["to_make"].as_u64().unwrap()
    };
    let wanted: BTreeMap<String, u64> = place.run(&["plan", "recipes/tiny.toml", "--json"]).json()["species"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["name"].as_str().unwrap().to_string(), row["wanted"].as_u64().unwrap()))
        .collect();
    let (name, n) = wanted.iter().find(|(_, n)| **n > 0).unwrap();
    let renamed = recipe().replace("[generator.names]\n", &format!("[generator.names]\n\"{name}\" = \"tit\"\n"));
    assert_eq!(to_make(&renamed), *n);
    assert_eq!(to_make(&recipe().replace("\"text\"", "\"words\"")), 3);
    assert_eq!(to_make(&recipe()), 0);
    let why = {
        place.recipe(&recipe().replace("steps = 2", "steps = 3"));
        place.run(&["why", "recipes/tiny.toml"]).stdout
    };
    assert!(why.contains("[generator] steps 2 -> 3"), "{why}");
    place.recipe(&recipe());

    // Other weights are another generator.
    let mut unet = checkpoint::tensors("unet");
    unet.get_mut("conv_out.bias").unwrap().1[3] ^= 1;
    place.write("model/unet/diffusion_pytorch_model.safetensors", &checkpoint::safetensors(&unet));
    assert_eq!(to_make(&recipe()), 3);
}

#[test]
fn a_checkpoint_that_cannot_be_used_is_said_before_anything_is_fitted() {
    let place = place();
    let refused = |from: &str, to: &str| {
        place.recipe(&recipe().replace(from, to));
        let said = place.run(&["build", "recipes/tiny.toml"]);
        assert!(said.status == 1 || said.status == 2, "{said:?}");
        assert!(!said.stderr.contains("real seed 0"), "{}", said.stderr);
        said.stderr
    };
    let said = refused("model = \"model\"", "model = \"models/none\"");
    assert!(said.ends_with("error: `models/none`: there is no such checkpoint\n"), "{said}");
    let said = refused("model = \"model\"", "model = \"model/unet/diffusion_pytorch_model.safetensors\"");
    assert!(said.contains("error: `model/unet/diffusion_pytorch_model.safetensors`"), "{said}");
    fs::remove_file(place.path("model/tokenizer/vocab.json")).unwrap();
    let said = refused("steps = 2", "steps = 2");
    assert!(said.contains("`tokenizer/vocab.json`"), "{said}");
}

#[test]
fn loras_and_guidance_rescale_of_a_recipe_are_in_its_images_and_a_lock_holds_the_weights() {
    let place = place();
    let q = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
    let numbers = |n: usize| (0..n).flat_map(|i| ((i as f32 * 0.7).sin()).to_le_bytes()).collect::<Vec<u8>>();
    let lora = BTreeMap::from([
        (format!("{q}.lora_A.weight"), (vec![2, 32], numbers(64))),
        (format!("{q}.lora_B.weight"), (vec![32, 2], numbers(64))),
    ]);
    place.write("style/pytorch_lora_weights.safetensors", &checkpoint::safetensors(&lora));
    place.build();
    let synthetic = |place: &Place| {
        let files = place.files("out/tiny");
        files.into_keys().filter(|name| name.contains("synthetic-")).collect::<Vec<_>>()
    };
    let plain = synthetic(&place);
    let with = |scale: f64| recipe().replace("[generator.names]", &format!("[generator.loras]\nstyle = {scale:?}\n"));
    let to_make = |recipe: &str| {
        place.recipe(recipe);
        place.run(&["plan", "recipes/tiny.toml", "--json"]).exits(0).json()["to_make"].as_u64().unwrap()
    };
    assert_eq!(to_make(&recipe().replace("guidance = 2.0", "guidance = 2.0\nguidance_rescale = 0.7")), 3);
    assert_eq!(to_make(&recipe().replace("guidance = 2.0", "guidance = 2.0\nguidance_rescale = 0")), 0);
    assert_eq!(to_make(&with(1.0)), 3);
    place.build();
    assert!(synthetic(&place).iter().all(|name| !plain.contains(name)));
    let verified = place.run(&["verify", "recipes/tiny.toml", "--json"]).exits(0).json();
    assert_eq!((verified["level"].as_str(), verified["checked"] == verified["equal"]), (Some("E1"), true));
    assert!(place.build().stdout.starts_with("nothing to do"));
    assert_eq!(to_make(&with(0.5)), 3);
    assert_eq!(to_make(&with(1.0)), 0);
    // Another file of that name is another generator, which the lock refuses.
    let mut other = lora.clone();
    other.values_mut().next().unwrap().1[3] ^= 1;
    place.write("style/pytorch_lora_weights.safetensors", &checkpoint::safetensors(&other));
    assert_eq!(to_make(&with(1.0)), 3);
    let said = place.run(&["build", "recipes/tiny.toml", "--locked"]).exits(3);
    assert!(said.stderr.contains("model"), "{}", said.stderr);
    fs::remove_dir_all(place.path("style")).unwrap();
    let said = place.run(&["build", "recipes/tiny.toml"]).exits(1);
    assert!(
        said.stderr.ends_with("error: could not read `style`: No such file or directory (os error 2)\n"),
        "{}",
        said.stderr
    );
}

#[test]
fn images_of_photos_are_balanced_over_a_species_photos() {
    let place = place();
    place.recipe(&recipe().replace("\"txt2img\"", "\"img2img\"").replace("target = 6", "target = 8"));
    place.build();
    let manifest = fs::read_to_string(place.path("out/tiny/manifest.csv")).unwrap();
    let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
    for line in manifest.lines().filter(|line| line.contains(",synthetic,")) {
        *uses
            .entry(line.split(',').find(|field| field.starts_with("train/") && !field.contains("synthetic")).unwrap())
            .or_default() += 1;
    }
    assert!(uses.len() > 4 && uses.values().all(|&n| n == 1), "{uses:?}");
}

#[test]
fn images_of_no_numbers_are_dropped_for_that_and_never_written() {
    let place = place();
    let mut unet = checkpoint::tensors("unet");
    unet.get_mut("conv_out.bias").unwrap().1[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    place.write("model/unet/diffusion_pytorch_model.safetensors", &checkpoint::safetensors(&unet));
    let said = generate(&place, &["--prompt", "x", "--out", "none"]).exits(1);
    assert!(
        said.stderr.contains("the image of seed 0 is dropped: some of its numbers are not finite"),
        "{}",
        said.stderr
    );
    assert!(
        said.stderr.ends_with(
            "error: 1 of 1 image came out as no numbers and was not written\n  help: try `--precision fp32`; if that does \
             not help, the weights are damaged\n"
        ),
        "{}",
        said.stderr
    );
    assert!(!place.path("none/0001.png").exists());
    for made in ["candidates: 3 images", ""] {
        let said = place.run(&["build", "recipes/tiny.toml"]).exits(1);
        let end = "error: the filter dropped every candidate: not finite dropped 5\n  help: the generator's numbers overflow: \
                   take another `precision` (bf16 in place of fp16, or fp32), or fetch the weights again\n";
        assert!(said.stderr.ends_with(end) && said.stderr.contains(made), "{}", said.stderr);
        assert_eq!(said.stderr.contains("candidates:"), !made.is_empty(), "made once: {}", said.stderr);
    }
    assert!(!place.path("out/tiny").exists());
}

#[test]
fn what_cannot_be_run_is_refused_before_any_work_in_plain_words() {
    let place = place();
    let refused = |args: &[&str]| {
        let said = place.run(args);
        assert!(said.status == 1 || said.status == 2, "{args:?}: {said:?}");
        said.stderr
    };
    let with = |more: &[&str]| {
        let mut args = vec!["generate", "model", "--prompt", "x", "--out", "none"];
        args.extend(more);
        refused(&args)
    };
    assert_eq!(
        with(&["--size", "100"]),
        "error: `--size 100` is no size; give WIDTHxHEIGHT, each a multiple of 8 from 8 to 4096\n"
    );
    assert_eq!(with(&["--steps", "0"]), "error: a sampler takes 1 to 1000 steps, not 0\n");
    assert_eq!(
        with(&["--sampler", "heun"]),
        "error: there is no sampler `heun`; allowed: `ddim`, `dpm++2m`, `dpm++2m-karras`, `euler`, `euler-a`, `unipc`, `pndm`, \
         `ddpm`, `lcm`\n"
    );
    assert_eq!(
        with(&["--strength", "2", "--image", "x.jpg"]),
        "error: `--strength` is above 0 (the photo as it is) and at most 1 (nothing left of it), not 2\n"
    );
    assert_eq!(
        with(&["--lora", "nothing"]),
        "error: could not read `nothing`: No such file or directory (os error 2)\n"
    );
    assert_eq!(
        refused(&["generate", "model", "--out", "none"]),
        "error: there is no prompt: give `--prompt TEXT`, or `--prompts FILE` with a line each\n"
    );
    assert_eq!(
        refused(&["generate", "nowhere", "--prompt", "x", "--out", "none"]),
        "error: `nowhere`: there is no such checkpoint\n"
    );
    let lora = BTreeMap::from([
        (
            "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight".to_string(),
            (vec![1, 9], vec![0; 36]),
        ),
        (
            "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_B.weight".to_string(),
            (vec![9, 1], vec![0; 36]),
        ),
    ]);
    place.write("other/pytorch_lora_weights.safetensors", &checkpoint::safetensors(&lora));
    assert_eq!(
        with(&["--lora", "other:0.5"]),
        "error: a LoRA is not for `model/unet`: `other/pytorch_lora_weights.safetensors` has another shape than \
         mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight\n  help: it was made for another base model; take the \
         base that its page names\n"
    );
    assert!(!place.path("none").exists(), "nothing is written before it is known to run");
}
