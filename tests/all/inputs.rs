//! Bad and odd input: each message names the file and what to do; odd but whole images work.

use std::fs;

use image::{DynamicImage, ImageBuffer, Luma, Rgb, RgbImage};

use super::place::{Place, RECIPE};

/// The file name of a train photo of the first species.
fn a_photo(place: &Place) -> (String, std::path::PathBuf) {
    let mut names: Vec<_> = fs::read_dir(place.path("birds/train")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    let species = names[0].to_string_lossy().into_owned();
    let folder = place.path("birds/train").join(&species);
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    (species, files[0].clone())
}

#[test]
fn a_missing_dataset_is_named_before_any_work() {
    let place = Place::empty();
    place.recipe(RECIPE);
    let said = place.run(&["build", "recipes/tiny.toml"]).exits(1);
    assert!(said.stderr.starts_with("error: ") && said.stderr.contains("`birds`"), "{}", said.stderr);
    assert!(said.stderr.contains("help: "), "{}", said.stderr);
}

#[test]
fn a_dataset_without_species_is_refused() {
    let place = Place::empty();
    place.recipe(RECIPE);
    fs::create_dir_all(place.path("birds/train")).unwrap();
    let said = place.run(&["plan", "recipes/tiny.toml"]).exits(1);
    assert!(said.stderr.contains("birds/train"), "{}", said.stderr);
}

#[test]
fn an_empty_species_is_named_with_the_recipe_text_that_leaves_it_out() {
    let place = Place::new();
    fs::create_dir_all(place.path("birds/train/GHOST OWL")).unwrap();
    let said = place.run(&["plan", "recipes/tiny.toml"]).exits(1);
    assert!(said.stderr.contains("GHOST OWL"), "{}", said.stderr);
    assert!(said.stderr.contains("exclude = [\"GHOST OWL\"]"), "{}", said.stderr);
}

#[test]
fn truncated_photos_are_all_named_before_any_work() {
    let place = Place::new();
    let (species, photo) = a_photo(&place);
    let bytes = fs::read(&photo).unwrap();
    fs::write(&photo, &bytes[..bytes.len() / 2]).unwrap();
    let second = photo.with_file_name("zero.jpg");
    fs::write(&second, b"").unwrap();
    let said = place.run(&["build", "recipes/tiny.toml"]).exits(1);
    let name = photo.file_name().unwrap().to_string_lossy().into_owned();
    assert!(said.stderr.contains("2 photos cannot be used"), "{}", said.stderr);
    assert!(said.stderr.contains(&format!("birds/train/{species}/{name}")), "{}", said.stderr);
    assert!(said.stderr.contains(&format!("birds/train/{species}/zero.jpg")), "{}", said.stderr);
    assert!(said.stderr.contains("help: mend or remove them; `birdaug audit`"), "{}", said.stderr);
    assert!(!said.stderr.contains("real seed 0"), "{}", said.stderr);
}

#[test]
fn odd_but_whole_images_are_used() {
    let place = Place::new();
    let (_, photo) = a_photo(&place);
    let at = |name: &str| photo.with_file_name(name);
    let colour: RgbImage = ImageBuffer::from_fn(60, 40, |x, y| Rgb([x as u8 * 4, y as u8 * 6, 90]));
    let png = at("png.png");
    colour.save(&png).unwrap();
    fs::rename(&png, at("really-a-png.jpg")).unwrap();
    let grey: ImageBuffer<Luma<u8>, Vec<u8>> = ImageBuffer::from_fn(50, 50, |x, y| Luma([(x * y) as u8]));
    grey.save(at("grey.jpg")).unwrap();
    let deep: ImageBuffer<Rgb<u16>, Vec<u16>> =
        ImageBuffer::from_fn(50, 50, |x, y| Rgb([x as u16 * 900, y as u16 * 900, 7]));
    DynamicImage::ImageRgb16(deep).save(at("deep.png")).unwrap();
    RgbImage::from_pixel(1, 1, Rgb([9, 8, 7])).save(at("one.png")).unwrap();
    ImageBuffer::from_fn(4000, 3000, |x, y| Rgb([(x / 20) as u8, (y / 20) as u8, 0])).save(at("large.jpg")).unwrap();
    let cmyk: Vec<u8> = (0..40 * 40).flat_map(|i| [i as u8, (i / 7) as u8, 90, 20]).collect();
    let encoder = jpeg_encoder::Encoder::new_file(at("cmyk.jpg"), 90).unwrap();
    encoder.encode(&cmyk, 40, 40, jpeg_encoder::ColorType::Cmyk).unwrap();
    place.build();
    let tree = place.files("out/tiny");
    for name in ["really-a-png.jpg", "grey.jpg", "deep.png", "one.png", "large.jpg", "cmyk.jpg"] {
        let path = tree.keys().find(|path| path.ends_with(&format!("/{name}"))).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(tree[path], fs::read(at(name)).unwrap(), "{name}");
    }
}

#[test]
fn a_photo_that_is_in_test_too_is_left_out_of_train_and_it_is_said() {
    let place = Place::new();
    let (species, photo) = a_photo(&place);
    fs::copy(&photo, place.path(&format!("birds/test/{species}/copy.jpg"))).unwrap();
    let said = place.build();
    assert!(said.stderr.contains("note: 1 photo of train left out, byte for byte the same"), "{}", said.stderr);
    let name = photo.file_name().unwrap().to_string_lossy().into_owned();
    assert!(!place.files("out/tiny").contains_key(&format!("train/{species}/{name}")));
}

#[test]
fn an_unknown_species_in_the_balance_is_named_with_its_line_and_the_nearest_name() {
    let place = Place::new();
    let (species, _) = a_photo(&place);
    let typo = species.replacen(' ', "", 1);
    place.recipe_with("[balance.species]", &format!("[balance.species]\n\"{typo}\" = 3"));
    let said = place.run(&["plan", "recipes/tiny.toml"]).exits(1);
    assert!(
        said.stderr.contains(&format!("recipes/tiny.toml:8: the dataset has no species `{typo}`")),
        "{}",
        said.stderr
    );
    assert!(said.stderr.contains(&format!("did you mean `{species}`?")), "{}", said.stderr);
}

#[test]
fn every_problem_of_a_recipe_is_shown_at_once_with_status_2() {
    let place = Place::new();
    place.recipe(
        &RECIPE.replace("guidance = 1.5", "guidence = 1.5").replace("batch = 4\nprecision", "batch = 0\nprecision"),
    );
    let said = place.run(&["build", "recipes/tiny.toml"]).exits(2);
    assert!(said.stderr.contains("guidence") && said.stderr.contains("guidance"), "{}", said.stderr);
    assert!(said.stderr.contains("recipes/tiny.toml:17:1"), "{}", said.stderr);
    assert!(said.stderr.contains("recipes/tiny.toml:18:9"), "{}", said.stderr);
}

#[test]
fn the_arm_of_randaugment_is_trained_on_the_real_photos() {
    let place = Place::new();
    place.recipe_with("arms = [\"real\", ", "arms = [\"real\", \"real+randaug\", ");
    let said = place.run(&["build", "recipes/tiny.toml"]).exits(0);
    let metrics: serde_json::Value =
        serde_json::from_slice(&std::fs::read(place.path("results/tiny/metrics.json")).unwrap()).unwrap();
    let arms: Vec<&str> = metrics["arms"].as_array().unwrap().iter().map(|arm| arm["name"].as_str().unwrap()).collect();
    assert!(arms.contains(&"real+randaug"), "{arms:?}");
    // Ten and more photos an arm: no arm is smaller than a batch of four.
    assert!(!said.stderr.contains("fewer than `batch"), "{}", said.stderr);
}

#[test]
fn a_batch_larger_than_the_arm_and_a_species_of_one_photo_are_said_and_trained_all_the_same() {
    let place = Place::new();
    let photos = place.files("birds/train");
    let rare = photos.keys().next().unwrap().split('/').next().unwrap();
    for path in photos.keys().filter(|path| path.split('/').next() == Some(rare)).skip(1) {
        std::fs::remove_file(place.path("birds/train").join(path)).unwrap();
    }
    place.recipe_with("batch = 4\nseeds", "batch = 64\nseeds");
    let said = place.run(&["build", "recipes/tiny.toml", "--until", "baseline"]).exits(0);
    assert!(
        said.stderr.contains("fewer than `batch = 64`: a batch holds some of them more than once"),
        "{}",
        said.stderr
    );
    let single = format!("`{rare}` has a single image in the arm `real`: nothing but crops tells its kind");
    assert!(said.stderr.contains(&single), "{}", said.stderr);
}

#[test]
fn weights_of_another_network_are_refused_before_anything_is_fitted() {
    let place = Place::new();
    place.recipe_with("[classifier]\n", "[classifier]\nweights = \"w.safetensors\"\n");
    place.write("w.safetensors", b"\x02\0\0\0\0\0\0\0{}");
    let said = place.run(&["build", "recipes/tiny.toml"]).exits(1);
    assert!(said.stderr.contains("`w.safetensors` does not fit this network: missing bn1.bias, "), "{}", said.stderr);
    assert!(!place.path("cache/unfinished").exists());
}

#[test]
fn a_gate_that_cannot_be_met_stops_with_the_figure_and_keeps_everything() {
    let place = Place::new();
    place.recipe_with("ssim_max = 0.99", "ssim_max = false\nfid_max = 1e-9");
    let said = place.run(&["build", "recipes/tiny.toml"]).exits(1);
    assert!(said.stderr.contains("error: the gate cannot be met: fid_max = 0.000000001: it is "), "{}", said.stderr);
    assert!(said.stderr.contains(" with 3 images, and fewer mean nothing (0 dropped for it; "), "{}", said.stderr);
    assert!(said.stderr.contains("help: raise the gate"), "{}", said.stderr);
    place.recipe_with("ssim_max = 0.99", "ssim_max = false\nfid_max = 1e9\nkid_max = 1e9");
    let wide = place.build();
    assert_eq!(super::place::made(&wide, "generator"), 0, "{}", wide.stdout);
    let report = String::from_utf8(place.files("results/tiny")["metrics.json"].clone()).unwrap();
    let metrics: serde_json::Value = serde_json::from_str(&report).unwrap();
    for metric in metrics["set_metrics"].as_array().unwrap() {
        assert_eq!((&metric["passed"], &metric["n_synthetic"]), (&true.into(), &3.into()), "{metric}");
        assert!(metric["value"].is_f64() && metric["floor"].is_f64(), "{metric}");
    }
}

#[test]
fn a_filter_that_drops_everything_says_which_rule_dropped_how_many() {
    let place = Place::new();
    place.recipe_with("ssim_max = 0.99", "ssim_max = false\nconfidence_min = 1.0");
    let said = place.run(&["build", "recipes/tiny.toml"]).exits(1);
    // 1 and 2 wanted, half as many again tried.
    let line = "error: the filter dropped every candidate: confidence_min dropped 5\n  help: loosen `[filter]`";
    assert!(said.stderr.contains(line), "{}", said.stderr);
}

#[test]
fn a_shortfall_is_said_for_each_species_and_every_dropped_candidate_is_listed() {
    let place = Place::new();
    let mut kept = 0;
    // Somewhere between these thresholds some candidates pass and others do not.
    for percent in (10..100).step_by(4) {
        let text = format!("ssim_max = false\nconfidence_min = 0.{percent}");
        place.recipe_with("ssim_max = 0.99", &text);
        let said = place.run(&["build", "recipes/tiny.toml", "--until", "emit"]);
        if said.status == 1 {
            break;
        }
        let tree = place.files("out/tiny");
        let rejected = String::from_utf8(tree["rejected.csv"].clone()).unwrap().lines().count() - 1;
        kept = tree.keys().filter(|path| path.contains("synthetic-")).count();
        let said_short = said.stderr.matches(" wanted images kept, all ").count();
        assert_eq!(said_short > 0, kept < 3, "{}", said.stderr);
        assert!(kept == 3 || rejected > 0, "{kept} kept, {rejected} rejected");
        assert!(kept + rejected <= 5 && kept <= 3);
    }
    assert!(kept <= 3);
}

#[test]
fn a_cache_of_another_format_is_refused() {
    let place = Place::new();
    place.write("cache/version", b"99\n");
    let said = place.run(&["plan", "recipes/tiny.toml"]).exits(1);
    assert!(said.stderr.contains("the cache `cache` has format version \"99\""), "{}", said.stderr);
}

#[test]
fn an_unknown_device_is_a_mistake_on_the_command_line() {
    let place = Place::new();
    let said = place.run(&["build", "recipes/tiny.toml", "--device", "tpu"]).exits(2);
    assert_eq!(said.stderr, "error: unknown device `tpu`; allowed: `auto`, `cpu`, `cuda`, `cuda:N`\n");
}

#[test]
fn quiet_says_nothing_and_lines_go_to_standard_error() {
    let place = Place::new();
    let said = place.run(&["build", "recipes/tiny.toml", "--quiet"]).exits(0);
    assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""));
    fs::remove_dir_all(place.path("cache")).unwrap();
    let said = place.build();
    assert!(said.stderr.contains("generator: 3 steps in "), "{}", said.stderr);
    assert!(!said.stderr.contains('\r') && !said.stderr.contains('\x1b'), "{}", said.stderr);
}

#[test]
fn a_species_without_test_photos_is_refused_and_files_without_a_label_are_counted() {
    let place = Place::new();
    let species: Vec<String> = std::fs::read_dir(place.path("birds/test"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    let missing = species.iter().min().unwrap();
    // Photos beside the folders, as a test set without labels has them.
    for (i, photo) in std::fs::read_dir(place.path("birds/test").join(missing)).unwrap().enumerate() {
        std::fs::rename(photo.unwrap().path(), place.path(&format!("birds/test/{i}.jpg"))).unwrap();
    }
    let said = place.run(&["plan", "recipes/tiny.toml"]).exits(1);
    assert_eq!(
        said.stderr,
        format!(
            "error: this cut leaves no photo to be tested on for `{missing}`\n  help: add photos, or exclude these species \
             in the recipe's [dataset]; [split] test = \"both\" also tests on train's unused photos; 2 files beside the \
             folders of species and so without a label (first: `test/0.jpg`)\n"
        )
    );
}

#[test]
fn some_files_without_a_label_are_passed_over_and_said() {
    let place = Place::new();
    std::fs::copy(first_photo(&place.path("birds/test")), place.path("birds/test/unknown.jpg")).unwrap();
    let plan = place.plan();
    assert_eq!(
        plan["notes"][0],
        "1 file of the dataset passed over (first: `test/unknown.jpg`, a file beside the species folders)"
    );
}

fn first_photo(folder: &std::path::Path) -> std::path::PathBuf {
    let mut entries: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    if entries[0].is_dir() { first_photo(&entries[0]) } else { entries[0].clone() }
}
