//! Kills, interruptions and damage: nothing that was made is lost, and the end is the same to the byte.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};

use super::place::{Place, RECIPE, made, said};

/// Starts a build and waits until it says a line that holds `word`.
fn build_until_it_says(place: &Place, word: &str) -> Child {
    let mut child = place.command(&["build", "recipes/tiny.toml"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let heard = lines.by_ref().any(|line| line.unwrap().contains(word));
    assert!(heard, "the build ended without saying `{word}`");
    // Keep reading, so that the build never waits for its reader.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

#[test]
fn a_killed_build_goes_on_to_the_same_bytes() {
    let (whole, killed) = (Place::new(), Place::new());
    whole.build();
    for word in ["audit:", "real seed 0:", "generator:", "candidates:", "emit:"] {
        let mut child = build_until_it_says(&killed, word);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let last = killed.build();
    assert_eq!(made(&last, "generator"), 0, "{}", last.stdout);
    assert_eq!(killed.files("out/tiny"), whole.files("out/tiny"));
    assert_eq!(killed.files("results/tiny"), whole.files("results/tiny"));
}

#[test]
fn ctrl_c_keeps_everything_and_exits_130() {
    let place = Place::new();
    // Long enough to be interrupted in the middle of a fit.
    place.recipe(&RECIPE.replace("steps = 3\nbatch = 4\nlearning_rate", "steps = 100000\nbatch = 4\nlearning_rate"));
    let mut child = build_until_it_says(&place, "real seed 0:");
    // The generator's fit comes next; it has begun when its state can be kept.
    std::thread::sleep(std::time::Duration::from_millis(500));
    // SAFETY: sends a signal to a child that is not waited for yet.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGINT) }, 0);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let kept = fs::read_dir(place.path("cache/unfinished")).unwrap().count();
    assert_eq!(kept, 1, "the state of the interrupted fit");
    place.run(&["cache", "check"]).exits(0);
}

#[test]
fn a_second_ctrl_c_in_the_middle_of_a_step_exits_130_too() {
    let place = Place::new();
    // Steps that last.
    place.recipe(
        &RECIPE.replace("batch = 4\nlearning_rate", "batch = 512\nlearning_rate").replace("size = 16", "size = 64"),
    );
    let mut child = build_until_it_says(&place, "real seed 0:");
    std::thread::sleep(std::time::Duration::from_millis(500));
    for _ in 0..2 {
        // SAFETY: sends a signal to a child that is not waited for yet.
        unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(child.wait().unwrap().code(), Some(130));
    place.run(&["cache", "check"]).exits(0);
}

#[test]
fn an_interrupted_fit_resumes_to_the_bytes_of_a_straight_one() {
    let (whole, place) = (Place::new(), Place::new());
    let recipe = RECIPE.replace("steps = 3\nbatch = 4\nlearning_rate", "steps = 300\nbatch = 4\nlearning_rate");
    whole.recipe(&recipe);
    place.recipe(&recipe);
    let generator = ["build", "recipes/tiny.toml", "--until", "generator"];
    whole.run(&generator).exits(0);
    let mut child = build_until_it_says(&place, "real seed 0:");
    std::thread::sleep(std::time::Duration::from_millis(300));
    // SAFETY: sends a signal to a child that is not waited for yet.
    unsafe { libc::kill(child.id() as i32, libc::SIGINT) };
    child.wait().unwrap();
    place.run(&generator).exits(0);
    let weights = |place: &Place| -> Vec<[u8; 32]> {
        let store = birdaug::store::Store::open(&place.path("cache")).unwrap();
        store
            .records()
            .iter()
            .filter_map(|record| record.blob("weights"))
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect()
    };
    assert_eq!(weights(&place), weights(&whole));
}

#[test]
fn a_damaged_cache_entry_is_said_and_made_again() {
    let place = Place::new();
    place.build();
    let tree = place.files("out/tiny");
    let store = birdaug::store::Store::open(&place.path("cache")).unwrap();
    let images: Vec<[u8; 32]> = store.records().iter().filter_map(|record| record.blob("image")).collect();
    assert!(!images.is_empty());
    let path = store.blob_path(&images[0]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();

    let check = place.run(&["cache", "check"]).exits(3);
    assert!(check.stdout.contains("was damaged and is made again"), "{}", check.stdout);
    let again = place.build();
    assert_eq!(made(&again, "candidates"), 1, "{}", again.stdout);
    assert_eq!(place.files("out/tiny"), tree);
    place.run(&["cache", "check"]).exits(0);
}

#[test]
fn every_blob_may_vanish_and_the_end_is_the_same() {
    let place = Place::new();
    place.build();
    let (tree, results) = (place.files("out/tiny"), place.files("results/tiny"));
    fs::remove_dir_all(place.path("cache/blobs")).unwrap();
    fs::remove_dir_all(place.path("out")).unwrap();
    place.build();
    assert_eq!(place.files("out/tiny"), tree);
    assert_eq!(place.files("results/tiny"), results);
}

#[test]
fn an_output_that_cannot_be_written_is_named_and_nothing_made_is_lost() {
    let place = Place::new();
    place.write("out", b"a file stands where the folder should be");
    let failed = place.run(&["build", "recipes/tiny.toml"]).exits(1);
    assert!(failed.stderr.contains("`out"), "{}", failed.stderr);
    fs::remove_file(place.path("out")).unwrap();
    let said = place.build();
    assert_eq!((made(&said, "candidates"), made(&said, "generator")), (0, 0), "{}", said.stdout);
}

#[test]
fn a_folder_of_somebody_else_is_never_replaced() {
    let place = Place::new();
    place.write("out/tiny/thesis.tex", b"years of work");
    let failed = place.run(&["build", "recipes/tiny.toml"]).exits(1);
    assert!(
        failed.stderr.contains("error: `out/tiny` is not empty and was not written by birdaug\n  help: choose another"),
        "{}",
        failed.stderr
    );
    assert!(place.path("out/tiny/thesis.tex").exists());
}

#[test]
fn two_builds_at_once_end_in_the_same_tree() {
    let (alone, place) = (Place::new(), Place::new());
    alone.build();
    place.write("recipes/other.toml", RECIPE.replace("out/tiny", "out/other").as_bytes());
    let one = place.command(&["build", "recipes/tiny.toml"]).spawn().unwrap();
    let two = place.command(&["build", "recipes/other.toml"]).spawn().unwrap();
    for child in [one, two] {
        said(child.wait_with_output().unwrap()).exits(0);
    }
    assert_eq!(place.files("out/tiny"), alone.files("out/tiny"));
    assert_eq!(place.files("out/other"), alone.files("out/tiny"));
    place.run(&["cache", "check"]).exits(0);
}
