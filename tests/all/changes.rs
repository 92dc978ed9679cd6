//! Photos and folders of the dataset that change between two builds: what is due is what saw the change.

use std::fs;
use std::path::PathBuf;

use crate::place::{Place, made};

/// The first photo of a species in a split.
fn photo(place: &Place, split: &str, species: &str) -> PathBuf {
    place.photos(split, species).swap_remove(0)
}

fn species(place: &Place) -> String {
    let names = fs::read_dir(place.path("birds/train")).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).min().unwrap()
}

fn stale(place: &Place) -> Vec<String> {
    let plan = place.plan();
    let steps = plan["steps"].as_array().unwrap().iter();
    steps.filter(|step| step["state"] == "stale").map(|step| step["name"].as_str().unwrap().to_string()).collect()
}

/// The same dataset and recipe built into a cache of its own.
fn fresh_build(place: &Place) -> std::collections::BTreeMap<String, Vec<u8>> {
    let before = place.files("out/tiny");
    place.run(&["build", "recipes/tiny.toml", "--cache", "fresh", "--until", "emit"]).exits(0);
    let after = place.files("out/tiny");
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    after
}

#[test]
fn a_changed_valid_photo_is_compared_by_itself_and_the_scores_are_those_of_a_fresh_build() {
    let place = Place::new();
    place.build();
    let species = species(&place);
    let victim = photo(&place, "valid", &species);
    let mut image = image::open(&victim).unwrap().into_rgb8();
    image::imageops::flip_vertical_in_place(&mut image);
    image.save(&victim).unwrap();
    // Valid photos choose the classifiers' best weights, so that the baseline is due; candidates are not.
    let said = place.run(&["build", "recipes/tiny.toml", "--until", "emit"]).exits(0);
    assert_eq!((made(&said, "generator"), made(&said, "candidates")), (0, 0), "{}", said.stdout);
    let built = place.files("out/tiny");
    assert_eq!(built, fresh_build(&place));
}

#[test]
fn a_photo_that_comes_a_copy_guard_and_all_is_what_a_fresh_build_makes() {
    let place = Place::new();
    place.build();
    let species = species(&place);
    // The new valid photo is a train photo of another species turned upside down: not a duplicate, but a near one.
    let victim = photo(&place, "train", &species);
    let mut image = image::open(&victim).unwrap().into_rgb8();
    image::imageops::flip_vertical_in_place(&mut image);
    image.save(place.path(&format!("birds/valid/{species}/new.jpg"))).unwrap();
    fs::remove_file(photo(&place, "valid", &species)).unwrap();
    place.run(&["build", "recipes/tiny.toml", "--until", "emit"]).exits(0);
    assert_eq!(place.files("out/tiny"), fresh_build(&place));
}

#[test]
fn a_photo_replaced_in_place_with_its_size_and_time_is_noticed() {
    let place = Place::new();
    place.build();
    let victim = photo(&place, "test", &species(&place));
    let modified = fs::metadata(&victim).unwrap().modified().unwrap();
    let mut bytes = fs::read(&victim).unwrap();
    // The density in the file's head: other bytes, the same picture.
    assert_eq!(&bytes[6..10], b"JFIF");
    bytes[15] ^= 1;
    fs::write(&victim, &bytes).unwrap();
    fs::File::options().write(true).open(&victim).unwrap().set_modified(modified).unwrap();
    assert!(stale(&place).contains(&"emit".to_string()), "{:?}", stale(&place));
    let said = place.build();
    assert_eq!((made(&said, "generator"), made(&said, "candidates"), made(&said, "emit")), (0, 0, 1));
    let tree = place.files("out/tiny");
    assert!(tree.values().any(|file| *file == bytes));
}

#[test]
fn a_renamed_photo_moves_in_the_tree_and_nothing_is_made() {
    let place = Place::new();
    place.build();
    let victim = photo(&place, "test", &species(&place));
    // A name that sorts where the old one did.
    let name = format!("{}-again.jpg", victim.file_stem().unwrap().to_string_lossy());
    fs::rename(&victim, victim.with_file_name(&name)).unwrap();
    let said = place.build();
    for what in ["baseline", "generator", "candidates", "scores", "arms"] {
        assert_eq!(made(&said, what), 0, "{what}: {}", said.stdout);
    }
    assert!(place.files("out/tiny").keys().any(|path| path.starts_with("test/") && path.ends_with(&name)));
    assert!(place.build().stdout.starts_with("nothing to do"));
    // A name that sorts elsewhere changes the order in which the train photos are seen, and `why` names the file.
    let victim = photo(&place, "train", &species(&place));
    fs::rename(&victim, victim.with_file_name("zz.jpg")).unwrap();
    let why = place.run(&["why", "recipes/tiny.toml"]).exits(0).stdout;
    let renamed = format!("train photos: 1 photo renamed (train/{}/zz.jpg)", species(&place));
    assert!(why.contains(&renamed), "{why}");
}

#[test]
fn a_removed_photo_leaves_the_tree() {
    let place = Place::new();
    place.build();
    let victim = photo(&place, "test", &species(&place));
    let bytes = fs::read(&victim).unwrap();
    fs::remove_file(&victim).unwrap();
    let why = place.run(&["why", "recipes/tiny.toml"]).exits(0).stdout;
    let removed = format!("1 photo removed (test/{}/", species(&place));
    for step in ["audit: dataset: ", "candidates not scored yet: photos: "] {
        assert!(why.contains(&format!("{step}{removed}")), "no `{step}{removed}` in:\n{why}");
    }
    let said = place.build();
    assert_eq!((made(&said, "generator"), made(&said, "candidates")), (0, 0), "{}", said.stdout);
    assert!(!place.files("out/tiny").values().any(|file| *file == bytes));
}

#[test]
fn reading_everything_again_finds_nothing_new() {
    let place = Place::new();
    place.build();
    place.run(&["plan", "recipes/tiny.toml", "--check", "--rehash"]).exits(0);
    assert!(place.run(&["build", "recipes/tiny.toml", "--rehash"]).exits(0).stdout.starts_with("nothing to do"));
}

#[test]
fn a_species_renamed_by_case_or_spaces_is_refused_with_the_text_that_mends_it() {
    let place = Place::new();
    place.build();
    let name = species(&place);
    let other = format!("{} ", name.to_lowercase());
    fs::rename(place.path(&format!("birds/valid/{name}")), place.path(&format!("birds/valid/{other}"))).unwrap();
    let said = place.run(&["build", "recipes/tiny.toml"]).exits(1);
    assert!(said.stderr.contains(&format!("{other:?} = {name:?}")), "{}", said.stderr);
    // What is made is not lost: with the text in the recipe nothing but the path in the tree's csv is new.
    place.recipe_with("root = \"birds\"", &format!("root = \"birds\"\nrename = {{ {other:?} = {name:?} }}"));
    let said = place.build();
    for what in ["generator", "candidates", "scores", "arms"] {
        assert_eq!(made(&said, what), 0, "{what}: {}", said.stdout);
    }
}

#[test]
fn linked_species_folders_are_the_same_dataset() {
    let place = Place::new();
    place.build();
    let name = species(&place);
    fs::create_dir_all(place.path("elsewhere")).unwrap();
    fs::rename(place.path(&format!("birds/train/{name}")), place.path("elsewhere/folder")).unwrap();
    std::os::unix::fs::symlink(place.path("elsewhere/folder"), place.path(&format!("birds/train/{name}"))).unwrap();
    assert!(place.build().stdout.starts_with("nothing to do"));
}
