//! Recipes that fine-tune a checkpoint on the arm's train photos before it makes images.

use std::fs;

use super::checkpoint;
use super::place::{Place, RECIPE, made};

/// The tests' recipe with a small checkpoint that is fine-tuned.
fn recipe() -> String {
    let start = RECIPE.find("[generator]").unwrap();
    let end = RECIPE.find("[filter]").unwrap();
    let generator = r#"[generator]
kind = "stable-diffusion"
model = "model"
mode = "txt2img"
prompt = "a photo of a {species}"
size = 32
steps = 2
guidance = 2.0
batch = 4
precision = "fp32"
[generator.lora]
rank = 2
steps = 3
learning_rate = 1e-3
batch = 2
accumulate = 2

"#;
    format!("{}{generator}{}", &RECIPE[..start], &RECIPE[end..])
}

fn place() -> Place {
    let place = Place::new();
    checkpoint::write(&place);
    place.recipe(&recipe());
    place
}

/// The digests of the synthetic images.
fn images(place: &Place) -> Vec<String> {
    let manifest = fs::read_to_string(place.path("out/tiny/manifest.csv")).unwrap();
    let synthetic = manifest.lines().filter(|line| line.contains(",synthetic,"));
    synthetic.map(|line| line.split(',').find(|field| field.len() == 64).unwrap().to_string()).collect()
}

#[test]
fn a_checkpoint_is_fine_tuned_once_and_its_images_hang_on_what_it_was_fitted_to() {
    let place = place();
    let said = place.build();
    assert_eq!((made(&said, "generator"), made(&said, "candidates")), (1, 3), "{}", said.stdout);
    let tuned = images(&place);
    assert_eq!(tuned.len(), 3);
    assert!(place.build().stdout.starts_with("nothing to do"));
    let lock = fs::read_to_string(place.path("recipes/tiny.lock")).unwrap();
    assert!(lock.contains("generator"), "{lock}");
    place.run(&["build", "recipes/tiny.toml", "--locked"]).exits(0);
    let verified = place.run(&["verify", "recipes/tiny.toml", "--json"]).exits(0).json();
    assert_eq!((verified["level"].as_str(), verified["checked"].as_u64()), (Some("E1"), Some(3)));
    assert_eq!(verified["checked"], verified["equal"]);
    let file = place.files("out/tiny").into_keys().find(|name| name.contains("synthetic-")).unwrap();
    let story = place.run(&["why", &format!("out/tiny/{file}")]).exits(0).stdout;
    assert!(story.contains("lora fit"), "{story}");

    // What is in the fit's key fits it again, and then every image is another.
    let due = |from: &str, to: &str| {
        place.recipe(&recipe().replace(from, to));
        let plan = place.run(&["plan", "recipes/tiny.toml", "--json"]).exits(0).json();
        let state = |step: &str| {
            let steps = plan["steps"].as_array().unwrap();
            steps.iter().find(|row| row["name"] == step).unwrap()["state"] == "stale"
        };
        (state("generator"), plan["to_make"].as_u64().unwrap())
    };
    assert_eq!(due("", ""), (false, 0));
    for (from, to) in [
        ("rank = 2", "rank = 3"),
        ("accumulate = 2", "accumulate = 1"),
        ("batch = 2\n", "batch = 1\n"),
        ("accumulate = 2", "accumulate = 2\ntext_encoder = true"),
        ("a photo of", "a picture of"),
    ] {
        assert_eq!(due(from, to), (true, 3), "{from} -> {to}");
    }
    // How images are sampled is not.
    assert_eq!(due("guidance = 2.0", "guidance = 3.0"), (false, 3));
    place.recipe(&recipe().replace("rank = 2", "rank = 3"));
    let why = place.run(&["why", "recipes/tiny.toml"]).stdout;
    assert!(why.contains("[generator.lora] rank 2 -> 3"), "{why}");

    // Without it the same checkpoint makes other images.
    let plain = recipe();
    let (start, end) = (plain.find("[generator.lora]").unwrap(), plain.find("[filter]").unwrap());
    place.recipe(&format!("{}{}", &plain[..start], &plain[end..]));
    let said = place.build();
    assert_eq!((made(&said, "generator"), made(&said, "candidates")), (0, 3), "{}", said.stdout);
    assert!(images(&place).iter().all(|image| !tuned.contains(image)));
    place.run(&["build", "recipes/tiny.toml", "--locked"]).exits(0);
}

#[test]
fn a_fine_tuned_generator_is_fitted_again_to_the_same_bytes_where_the_cache_is_empty() {
    let place = place();
    place.build();
    let empty = ["verify", "recipes/tiny.toml", "--cache", "elsewhere"];
    let said = place.run(&empty);
    assert!(said.stdout.contains("the generator's weights are not in the cache"), "{}", said.stdout);
    let said = place.run(&[&empty[..], &["--deep"]].concat());
    assert!(said.stdout.contains("the generator was fitted again to the same bytes"), "{}", said.stdout);
}

#[test]
fn a_photo_that_is_held_out_is_never_trained_on_and_a_new_one_fits_again() {
    let place = place();
    place.build();
    let photo = |split: &str, number: usize| {
        let files = place.files(&format!("birds/{split}"));
        format!("birds/{split}/{}", files.into_keys().nth(number).unwrap())
    };
    // Train's first photo becomes a copy of a test photo: it is left out, which is another train set.
    fs::copy(place.path(&photo("test", 0)), place.path(&photo("train", 0))).unwrap();
    let said = place.build();
    assert_eq!(made(&said, "generator"), 1, "{}", said.stdout);
    let both = format!("{}{}", said.stdout, said.stderr);
    assert!(both.contains("1 photo of train left out, byte for byte the same as one of valid or test"), "{both}");
}

#[test]
fn a_learned_token_stands_for_the_species_in_the_prompt() {
    let with_token = recipe()
        .replace("a photo of a {species}", "a {token} {species}")
        .replace("rank = 2", "rank = 0\ntoken = \"a\"");
    let place = place();
    place.recipe(&with_token);
    let said = place.build();
    assert_eq!((made(&said, "generator"), made(&said, "candidates")), (1, 3), "{}", said.stdout);
    let manifest = fs::read_to_string(place.path("out/tiny/manifest.csv")).unwrap();
    let prompts: Vec<&str> = manifest.lines().filter_map(|line| Some(line.split_once(",a <")?.1)).collect();
    assert_eq!(prompts.len(), 3, "{manifest}");
    assert!(place.build().stdout.starts_with("nothing to do"));
    let verified = place.run(&["verify", "recipes/tiny.toml", "--json"]).exits(0).json();
    assert_eq!((verified["level"].as_str(), verified["checked"].as_u64()), (Some("E1"), Some(3)));
    let refused = |recipe: &str| {
        place.recipe(recipe);
        let said = place.run(&["build", "recipes/tiny.toml"]);
        assert!(said.status == 1 || said.status == 2, "{said:?}");
        said.stderr
    };
    assert!(
        refused(&with_token.replace("token = \"a\"", "token = \"owl\"")).ends_with(
            "error: `owl` is not one token of the checkpoint's\n  help: take a plainer word, such as `bird`\n"
        )
    );
    let said = refused(&with_token.replace("{token} ", ""));
    assert!(said.contains("error: `token` in `[generator.lora]` is impossible"), "{said}");
    assert!(said.contains("allowed: with `{token}` in `prompt`"), "{said}");
    let said = refused(&with_token.replace("token = \"a\"", "").replace("rank = 0", "rank = 1"));
    assert!(said.contains("`prompt` in `[generator]` is impossible"), "{said}");
}
