//! One recipe's candidates made in several caches, and what joins them: each image once, the same bytes in the end.

use std::collections::BTreeSet;

use super::place::{Place, RECIPE, made};

const N: usize = 3;

/// More candidates than [`RECIPE`] asks for, so that every shard has some.
fn recipe() -> String {
    RECIPE.replace("target = 6", "target = 12")
}

fn candidates(place: &Place, cache: &str) -> BTreeSet<[u8; 32]> {
    let store = birdaug::store::Store::open(&place.path(cache)).unwrap();
    let kind = |inputs: &[u8]| birdaug::plan::Inputs::decode(inputs).unwrap().kind;
    store.records().iter().filter(|record| kind(&record.inputs) == "candidate").map(|record| record.key).collect()
}

#[test]
fn three_shards_make_each_candidate_once_and_the_joined_build_makes_none() {
    let (plain, place) = (Place::new(), Place::new());
    plain.recipe(&recipe());
    place.recipe(&recipe());
    let alone = plain.build();
    assert!(made(&alone, "candidates") > 0);

    place.run(&["build", "recipes/tiny.toml", "--until", "generator"]).exits(0);
    let mut seen = BTreeSet::new();
    let mut sum = 0;
    for i in 1..=N {
        let (shard, cache) = (format!("{i}/{N}"), format!("cache-{i}"));
        let args = ["build", "recipes/tiny.toml", "--shard", &shard, "--cache", &cache, "--cache-from", "cache"];
        let said = place.run(&args).exits(0);
        assert_eq!(made(&said, "generator") + made(&said, "baseline"), 0, "{}", said.stdout);
        let here = candidates(&place, &cache);
        assert_eq!(made(&said, "candidates"), here.len());
        assert!(!here.is_empty(), "shard {shard} made nothing");
        let told = format!("note: shard {shard} has {} of 32 candidates", here.len());
        assert!(said.stderr.contains(&told), "{}", said.stderr);
        sum += here.len();
        seen.extend(here);
        assert!(place.run(&args).exits(0).stdout.starts_with("nothing to do"));
    }
    // 6, 7 and 8 wanted, and half as many more that the filter may ask for.
    assert_eq!((sum, seen.len()), (32, 32), "no candidate is made twice");

    let merged = place.run(&["cache", "merge", "cache-1", "cache-2", "cache-3"]).exits(0);
    assert!(merged.stdout.ends_with("taken over\n"), "{}", merged.stdout);
    let last = place.build();
    assert_eq!((made(&last, "candidates"), made(&last, "generator")), (0, 0), "{}", last.stdout);
    assert_eq!(place.files("out/tiny"), plain.files("out/tiny"));
    assert_eq!(place.files("results/tiny"), plain.files("results/tiny"));
}

#[test]
fn a_shard_fits_nothing_and_says_what_to_do_first() {
    let place = Place::new();
    let said = place.run(&["build", "recipes/tiny.toml", "--shard", "1/2"]).exits(1);
    assert!(
        said.stderr.contains("a shard makes candidates alone\n  help: run `birdaug build RECIPE --until generator`")
    );
    assert!(!said.stderr.contains("generator:"), "{}", said.stderr);
    assert_eq!(candidates(&place, "cache").len(), 0);
}

#[test]
fn a_shard_that_is_no_part_of_a_whole_is_refused() {
    let place = Place::new();
    for wrong in ["0/2", "3/2", "1", "x/y", "1/0"] {
        let said = place.run(&["build", "recipes/tiny.toml", "--shard", wrong]).exits(2);
        assert!(said.stderr.contains(&format!("`--shard {wrong}`: give it as I/N")), "{}", said.stderr);
    }
    place.run(&["build", "recipes/tiny.toml", "--shard", "1/2", "--until", "emit"]).exits(2);
}

#[test]
fn without_a_filter_only_the_wanted_candidates_are_made() {
    let place = Place::new();
    place.recipe(&recipe().replace("ssim_max = 0.99", "ssim_max = false"));
    place.run(&["build", "recipes/tiny.toml", "--until", "generator"]).exits(0);
    let said = place.run(&["build", "recipes/tiny.toml", "--shard", "1/1"]).exits(0);
    // 6, 7 and 8 are missing to 12.
    assert_eq!(made(&said, "candidates"), 21, "{}", said.stdout);
}
