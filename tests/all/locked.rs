//! The lock: what it holds, and what `--locked` and `--offline` refuse.

use std::fs;
use std::path::Path;

use birdaug::run::lock::Lock;

use super::place::{Place, RECIPE, Said, made};

fn locked(place: &Place) -> Said {
    place.run(&["build", "recipes/tiny.toml", "--locked"])
}

fn lock_text(place: &Place) -> String {
    fs::read_to_string(place.path("recipes/tiny.lock")).unwrap()
}

/// How many fits the cache knows.
fn fits(place: &Place) -> usize {
    let store = birdaug::store::Store::open(&place.path("cache")).unwrap();
    store.records().iter().filter(|record| record.blob("weights").is_some()).count()
}

/// The species with 4 photos: 2 images wanted.
fn rarest(place: &Place) -> String {
    let plan = place.plan();
    let rows = plan["species"].as_array().unwrap();
    rows.iter().find(|row| row["real"] == 4).unwrap()["name"].as_str().unwrap().to_string()
}

/// A locked build is refused, says this, and leaves the lock as it was.
#[track_caller]
fn refused(place: &Place, words: &[&str]) -> Said {
    let before = lock_text(place);
    let said = locked(place).exits(3);
    assert!(said.stderr.contains("`recipes/tiny.lock` would change, and --locked refuses that:\n"), "{}", said.stderr);
    for word in words {
        assert!(said.stderr.contains(word), "no `{word}` in:\n{}", said.stderr);
    }
    assert_eq!(lock_text(place), before);
    said
}

#[test]
fn a_locked_build_needs_a_lock_and_makes_the_same_again_from_an_empty_cache() {
    let place = Place::new();
    let said = locked(&place).exits(3);
    assert!(said.stderr.contains("there is no lock `recipes/tiny.lock`"), "{}", said.stderr);
    assert!(!place.path("out").exists());
    place.build();
    let (lock, tree) = (lock_text(&place), place.files("out/tiny"));
    for folder in ["cache", "out", "results"] {
        fs::remove_dir_all(place.path(folder)).unwrap();
    }
    let again = locked(&place).exits(0);
    assert_eq!(made(&again, "generator"), 1);
    assert_eq!(lock_text(&place), lock);
    assert_eq!(place.files("out/tiny"), tree);
}

#[test]
fn the_lock_names_every_output_of_the_cache_that_it_rests_on() {
    let place = Place::new();
    place.build();
    let lock = Lock::read(&place.path("recipes/tiny.lock")).unwrap().unwrap();
    let store = birdaug::store::Store::open(&place.path("cache")).unwrap();
    let mut outputs = 0;
    for (key, digest) in lock.outputs() {
        let record = store.record(&key.0).unwrap();
        assert!(record.outputs.iter().any(|(_, output)| *output == digest), "{key:?}");
        outputs += 1;
    }
    // The generator, two arms of two seeds, and the candidates.
    assert_eq!(outputs, 5 + lock.candidates().count());
    assert!(lock.candidates().filter(|candidate| candidate.image.kept()).count() == 3);
    assert_eq!(lock.dataset.keys().collect::<Vec<_>>(), ["encoding", "photos", "test", "train", "valid"]);
    assert!(lock.tree.is_some() && lock.weights.is_empty());
}

#[test]
fn a_changed_photo_a_setting_and_more_images_are_refused_before_any_work() {
    let place = Place::new();
    place.build();
    let species = rarest(&place);
    let fits = fits(&place);

    place.recipe(&RECIPE.replace("steps = 3\nbatch = 4\nlearning_rate", "steps = 4\nbatch = 4\nlearning_rate"));
    refused(&place, &["  model generator, generator.train.steps: 3 -> 4\n"]);
    place.recipe(&RECIPE.replace("[balance.species]", &format!("[balance.species]\n\"{species}\" = 22")));
    refused(&place, &[&format!("  candidates of {species}: "), " -> 22 candidates"]);
    place.recipe(&RECIPE.replace("guidance = 1.5", "guidance = 2.5"));
    refused(&place, &[&format!("  candidates of {species}: ")]);
    place.recipe(&RECIPE.replace("arms = [", "arms = [\"oversampled\", "));
    refused(&place, &["  model classifier oversampled seed 0: nothing -> fitted\n"]);
    place.recipe(RECIPE);

    let photo = fs::read_dir(place.path(&format!("birds/train/{species}"))).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&photo).unwrap();
    fs::remove_file(&photo).unwrap();
    refused(&place, &["  all photos of the dataset: ", "  train photos: ", "  model generator, "]);
    assert_eq!(self::fits(&place), fits, "something was fitted");
    fs::write(&photo, whole).unwrap();
    assert!(locked(&place).exits(0).stdout.starts_with("nothing to do"));
}

#[test]
fn another_image_or_verdict_than_the_locks_is_refused_before_the_tree_is_written() {
    let place = Place::new();
    place.build();
    fs::remove_dir_all(place.path("out")).unwrap();
    let lock = lock_text(&place);
    place.write("recipes/tiny.lock", lock.replacen(" keep\"", " drop\"", 1).as_bytes());
    refused(&place, &["  candidate ", ": drop ", " -> keep "]);
    let parsed = Lock::read(&place.path("recipes/tiny.lock")).unwrap().unwrap();
    let image = parsed.candidates().next().unwrap().image.digest;
    let hex = birdaug::plan::Key(image).hex();
    place.write("recipes/tiny.lock", lock.replace(&hex, &"ab".repeat(32)).as_bytes());
    refused(&place, &["keep abababababab", &format!("keep {}", &hex[..12])]);
    assert!(!place.path("out").exists());
    // A build without the option writes what is right.
    place.build();
    assert_eq!(lock_text(&place), lock);
}

#[test]
fn a_lock_whose_candidates_are_of_other_weights_is_refused() {
    let place = Place::new();
    place.build();
    let lock = lock_text(&place);
    let weights =
        birdaug::plan::Key(Lock::read(&place.path("recipes/tiny.lock")).unwrap().unwrap().models["generator"].weights);
    place.write("recipes/tiny.lock", lock.replace(&weights.hex(), &"cd".repeat(32)).as_bytes());
    fs::remove_dir_all(place.path("cache")).unwrap();
    // Candidates' keys rest on the weights: a lock like that does not even hold together.
    refused(&place, &["candidates of "]);
}

#[test]
fn a_lock_of_another_format_is_refused_plainly() {
    let place = Place::new();
    place.build();
    let lock = lock_text(&place);
    place.write("recipes/tiny.lock", lock.replace("format = 2", "format = 9").as_bytes());
    let said = locked(&place).exits(1);
    assert!(said.stderr.contains("`recipes/tiny.lock` has format version 9; this birdaug reads 2"), "{}", said.stderr);
}

#[test]
fn an_offline_build_makes_nothing_new_and_says_what_is_due() {
    let place = Place::new();
    let offline = ["build", "recipes/tiny.toml", "--offline"];
    let said = place.run(&offline).exits(3);
    for line in [
        "work is due, and --offline refuses it:\n",
        "  baseline: classifier real seed 0 to be fitted\n",
        "  generator: generator to be fitted\n",
        "  candidates: 3 images to be made\n",
    ] {
        assert!(said.stderr.contains(line), "no `{line}` in:\n{}", said.stderr);
    }
    assert_eq!(fs::metadata(place.path("cache/records.log")).unwrap().len(), 0);

    place.build();
    let (tree, results) = (place.files("out/tiny"), place.files("results/tiny"));
    for folder in ["out", "results"] {
        fs::remove_dir_all(place.path(folder)).unwrap();
    }
    place.run(&offline).exits(0);
    assert_eq!((place.files("out/tiny"), place.files("results/tiny")), (tree, results));

    let store = birdaug::store::Store::open(&place.path("cache")).unwrap();
    let image = store.records().iter().find_map(|record| record.blob("image")).unwrap();
    fs::remove_file(store.blob_path(&image)).unwrap();
    let said = place.run(&offline).exits(3);
    assert!(said.stderr.contains("  candidates: 1 image to be made\n"), "{}", said.stderr);
    assert!(!store.has(&image));
}

#[test]
fn a_lock_that_was_removed_or_edited_is_due_and_written_again() {
    let place = Place::new();
    place.build();
    let lock = lock_text(&place);
    fs::remove_file(place.path("recipes/tiny.lock")).unwrap();
    let plan = place.run(&["plan", "recipes/tiny.toml", "--check", "--json"]).exits(3).json();
    let report = plan["steps"].as_array().unwrap().iter().find(|step| step["name"] == "report").unwrap();
    assert_eq!(report["why"][0], "the lock `recipes/tiny.lock` is not there");
    locked(&place).exits(3);
    place.build();
    assert_eq!(lock_text(&place), lock);
    let conflict = format!("<<<<<<< HEAD\n{lock}");
    for wrong in [lock.replace(" keep\"", " drop\""), conflict] {
        // Neither a plan nor `why` takes it for right, and so hides it from the build.
        place.write("recipes/tiny.lock", wrong.as_bytes());
        let plan = place.run(&["plan", "recipes/tiny.toml", "--check"]).exits(3).stdout;
        assert!(plan.contains("the lock `recipes/tiny.lock` is not this build's"), "{plan}");
        place.run(&["why", "recipes/tiny.toml"]).exits(0);
        assert_ne!(locked(&place).status, 0);
        place.build();
        assert_eq!(lock_text(&place), lock);
    }
    place.run(&["plan", "recipes/tiny.toml", "--check"]).exits(0);
}

#[test]
fn a_build_that_stops_early_writes_no_lock() {
    let place = Place::new();
    place.run(&["build", "recipes/tiny.toml", "--until", "emit"]).exits(0);
    assert!(!Path::new(&place.path("recipes/tiny.lock")).exists());
}
