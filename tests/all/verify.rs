//! `birdaug verify`: what it proves, and that it finds what was tampered with.

use std::fs;

use birdaug::plan::Key;
use birdaug::run::lock::Lock;
use birdaug::store::{Record, Store};
use serde_json::Value;

use super::place::{Place, RECIPE, Said};

const VERIFY: [&str; 3] = ["verify", "recipes/tiny.toml", "--json"];

fn lock(place: &Place) -> Lock {
    Lock::read(&place.path("recipes/tiny.lock")).unwrap().unwrap()
}

/// Writes the lock with one text replaced everywhere.
#[track_caller]
fn edit_lock(place: &Place, from: &str, to: &str) {
    let text = fs::read_to_string(place.path("recipes/tiny.lock")).unwrap();
    assert!(text.contains(from), "no `{from}` in the lock");
    place.write("recipes/tiny.lock", text.replace(from, to).as_bytes());
}

/// The device class of the lock becomes one that this machine is not of.
fn move_lock_elsewhere(place: &Place) {
    let device = lock(place).candidates().next().unwrap().machine.device.clone();
    edit_lock(place, &format!("\"{device}, libtorch"), "\"cuda, libtorch");
}

fn part<'v>(json: &'v Value, name: &str) -> &'v Value {
    json["parts"].as_array().unwrap().iter().find(|part| part["name"] == name).unwrap()
}

/// What differs, as one text.
fn findings(said: &Said) -> String {
    let json = said.json();
    let parts = json["parts"].as_array().unwrap();
    let lines = parts.iter().flat_map(|part| part["findings"].as_array().unwrap());
    lines.map(|line| format!("{}\n", line.as_str().unwrap())).collect()
}

#[test]
fn a_build_is_proven_from_its_cache_part_by_part() {
    let place = Place::new();
    place.build();
    let before = (place.files("out/tiny"), place.files("recipes"));
    let json = place.run(&VERIFY).exits(0).json();
    let candidates = lock(&place).candidates().count();
    assert_eq!((&json["level"], &json["holds"]), (&Value::from("E1"), &Value::from(true)));
    assert_eq!((&json["checked"], &json["equal"]), (&Value::from(candidates), &Value::from(candidates)));
    assert_eq!((&json["distance"], &json["ssim_min"]), (&Value::from(0.0), &Value::from(1.0)));
    for name in ["plan", "records", "selection", "tree", "images"] {
        assert_eq!(part(&json, name)["state"], "holds", "{json}");
    }
    assert_eq!(part(&json, "tree")["checked"], before.0.len());
    assert_eq!(part(&json, "records")["checked"], candidates + 5);
    assert_eq!((place.files("out/tiny"), place.files("recipes")), before);
    let few = place.run(&["verify", "recipes/tiny.toml", "--json", "--sample", "1"]).exits(0).json();
    assert_eq!(few["checked"], 1);
    let none = place.run(&["verify", "recipes/tiny.toml", "--json", "--sample", "0"]).exits(0).json();
    assert_eq!((&none["level"], &none["distance"]), (&Value::from("E0"), &Value::Null));
    let text = place.run(&["verify", "recipes/tiny.toml"]).exits(0).stdout;
    assert!(text.contains("equal bit by bit") && text.contains("E1: "), "{text}");
}

#[test]
fn an_empty_cache_is_enough_with_deep_and_is_said_not_to_be_without() {
    let place = Place::new();
    place.build();
    let candidates = lock(&place).candidates().count();
    fs::remove_dir_all(place.path("cache")).unwrap();
    let said = place.run(&VERIFY).exits(3);
    assert_eq!(said.json()["level"], "E0");
    assert!(findings(&said).contains("`--deep` fits it first"), "{}", said.stdout);

    let json = place.run(&["verify", "recipes/tiny.toml", "--json", "--deep"]).exits(0).json();
    assert_eq!((&json["level"], &json["equal"]), (&Value::from("E1"), &Value::from(candidates)));
    assert_eq!(part(&json, "records")["state"], "not checked");
    assert_eq!(part(&json, "tree")["state"], "holds");
    let notes = part(&json, "images")["notes"].to_string();
    assert!(notes.contains("fitted again to the same bytes"), "{notes}");
    // A fresh clone: recipe, lock and photos.
    for folder in ["cache", "out", "results"] {
        fs::remove_dir_all(place.path(folder)).unwrap();
    }
    let json = place.run(&["verify", "recipes/tiny.toml", "--json", "--deep"]).exits(0).json();
    assert_eq!(part(&json, "tree")["state"], "not checked");
    assert_eq!(json["level"], "E1");
}

#[test]
fn img2img_is_made_again_from_the_photos() {
    let place = Place::new();
    place.recipe(&RECIPE.replace("mode = \"txt2img\"", "mode = \"img2img\"\nstrength = 0.5"));
    place.build();
    fs::remove_dir_all(place.path("cache")).unwrap();
    let json = place.run(&["verify", "recipes/tiny.toml", "--json", "--deep"]).exits(0).json();
    assert_eq!((&json["level"], &json["equal"]), (&Value::from("E1"), &json["checked"]));
}

#[test]
fn every_change_of_the_tree_is_found_and_named() {
    let place = Place::new();
    place.build();
    let tree = place.files("out/tiny");
    let find = |what: &str| tree.keys().find(|path| path.contains(what)).unwrap().clone();
    let (synthetic, test) = (find("/synthetic-"), find("test/"));
    let train = tree.keys().find(|path| path.starts_with("train/") && !path.contains("synthetic-")).unwrap().clone();
    // Files of the tree share their bytes with the dataset: replace, never write in place.
    let replace = |path: &str, bytes: &[u8]| {
        let _ = fs::remove_file(place.path("out/tiny").join(path));
        place.write(&format!("out/tiny/{path}"), bytes);
    };
    let flipped = |path: &str| {
        let mut bytes = tree[path].clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        bytes
    };
    let check = |expected: &[&str]| {
        let said = place.run(&["verify", "recipes/tiny.toml", "--json", "--sample", "0"]).exits(3);
        for words in expected {
            assert!(findings(&said).contains(words), "no `{words}` in:\n{}", findings(&said));
        }
    };
    for path in [&synthetic, &test, &train] {
        replace(path, &flipped(path));
        check(&[&format!("`out/tiny/{path}` was changed")]);
        replace(path, &tree[path]);
    }
    fs::remove_file(place.path("out/tiny").join(&train)).unwrap();
    check(&[&format!("`out/tiny/{train}` is missing")]);
    replace(&train, &tree[&train]);

    let smuggled = synthetic.replacen("train/", "test/", 1);
    replace(&smuggled, &tree[&synthetic]);
    check(&[
        &format!("`out/tiny/{smuggled}` is not of this tree"),
        &format!("`out/tiny/{smuggled}` is a synthetic image outside of train"),
        "is trained on and is `test/",
    ]);
    fs::remove_file(place.path("out/tiny").join(&smuggled)).unwrap();

    // A manifest that was made to fit.
    let manifest = String::from_utf8(tree["manifest.csv"].clone()).unwrap();
    let old = blake3::hash(&tree[&synthetic]).to_hex().to_string();
    let new = blake3::hash(&flipped(&synthetic)).to_hex().to_string();
    replace(&synthetic, &flipped(&synthetic));
    replace("manifest.csv", manifest.replace(&old, &new).as_bytes());
    check(&[&format!("`out/tiny/{synthetic}` is not what emit makes of its image")]);
    replace(&synthetic, &tree[&synthetic]);
    replace("manifest.csv", &tree["manifest.csv"]);
    replace("birds.csv", b"class id,filepaths\n");
    check(&["the files at `out/tiny` are together "]);
    replace("birds.csv", &tree["birds.csv"]);
    place.run(&["verify", "recipes/tiny.toml", "--sample", "0"]).exits(0);
}

#[test]
fn a_lock_with_another_digest_is_found_with_and_without_a_cache() {
    let place = Place::new();
    place.build();
    let locked = lock(&place);
    let one = locked.candidates().next().unwrap();
    edit_lock(&place, &Key(one.image.digest).hex(), &"ab".repeat(32));
    let name = format!("candidate {} of {}: ", one.key.short(), one.species);
    let said = place.run(&VERIFY).exits(3);
    assert!(findings(&said).contains(&format!("{name}the cache has ")), "{}", said.stdout);
    fs::remove_dir_all(place.path("cache")).unwrap();
    let said = place.run(&["verify", "recipes/tiny.toml", "--json", "--deep"]).exits(3);
    assert!(findings(&said).contains(&format!("{name}made again it is ")), "{}", said.stdout);
    let json = said.json();
    assert_eq!(json["equal"].as_u64().unwrap() + 1, json["checked"].as_u64().unwrap());
}

#[test]
fn a_lock_of_another_device_is_measured_and_never_passed_off_as_exact() {
    let place = Place::new();
    place.build();
    move_lock_elsewhere(&place);
    let json = place.run(&VERIFY).exits(0).json();
    assert_eq!((&json["level"], &json["equal"]), (&Value::from("E2"), &json["checked"]));
    assert_eq!((&json["distance"], &json["ssim_min"]), (&Value::from(0.0), &Value::from(1.0)));
    assert_eq!(json["lock_made_on"][0], "cuda, libtorch 2.11.0");
    let text = place.run(&["verify", "recipes/tiny.toml"]).exits(0).stdout;
    assert!(text.contains("E2: ") && text.contains("measured relative L2 of pixels at most 0.00e0"), "{text}");
}

#[test]
fn an_image_that_differs_fails_on_the_same_device_and_is_measured_on_another() {
    let place = Place::new();
    place.build();
    fs::remove_dir_all(place.path("out")).unwrap();
    // The lock and the cache of somebody whose device gave one image a little otherwise.
    let locked = lock(&place);
    let one = locked.candidates().next().unwrap();
    let store = Store::open(&place.path("cache")).unwrap();
    let bytes = store.get(&one.image.digest).unwrap().unwrap();
    let mut image = image::load_from_memory(&bytes).unwrap().into_rgb8();
    for pixel in image.pixels_mut().step_by(3) {
        pixel.0[0] ^= 8;
    }
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    let digest = store.put(&bytes.into_inner()).unwrap();
    let old = store.record(&one.key.0).unwrap();
    let record = Record { outputs: vec![("image".to_string(), digest)], ..old };
    store.commit(&[record]).unwrap();
    edit_lock(&place, &Key(one.image.digest).hex(), &Key(digest).hex());

    let said = place.run(&VERIFY).exits(3);
    assert_eq!(said.json()["level"], "E1");
    assert!(findings(&said).contains("made again, it is another image (relative L2 "), "{}", said.stdout);
    move_lock_elsewhere(&place);
    let json = place.run(&VERIFY).exits(0).json();
    assert_eq!(json["level"], "E2");
    assert_eq!(json["equal"].as_u64().unwrap() + 1, json["checked"].as_u64().unwrap());
    let (distance, ssim) = (json["distance"].as_f64().unwrap(), json["ssim_min"].as_f64().unwrap());
    assert!((1e-3..0.5).contains(&distance) && (0.1..0.9999).contains(&ssim), "{distance} {ssim}");
}

#[test]
fn a_changed_recipe_or_photo_differs_from_the_lock() {
    let place = Place::new();
    let early = place.run(&VERIFY).exits(3);
    assert!(early.stderr.contains("there is no lock `recipes/tiny.lock`"), "{}", early.stderr);
    place.build();
    place.recipe(&RECIPE.replace("guidance = 1.5", "guidance = 2.5"));
    let said = place.run(&VERIFY).exits(3);
    assert!(findings(&said).contains("recipe and photos no longer lead to it"), "{}", said.stdout);
    place.recipe(&RECIPE.replace("steps = 3\nbatch = 4\nlearning_rate", "steps = 5\nbatch = 4\nlearning_rate"));
    let said = place.run(&VERIFY).exits(3);
    assert!(findings(&said).contains("model generator, generator.train.steps: 3 -> 5"), "{}", said.stdout);
}
