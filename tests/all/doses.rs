//! Arms of other doses: planned to the image, made by the same plan, nested, and kept out of the tree.

use std::collections::BTreeSet;

use crate::place::{Place, made};
use birdaug::run::lock::Lock;

const DOSES: &str = "arms = [\"real\", \"augmented\", \"synthetic\", \"dose\"]";

fn with_doses() -> Place {
    let place = Place::new();
    place.recipe_with("arms = [\"real\", \"augmented\"]", DOSES);
    place
}

#[test]
fn two_doses_are_planned_to_the_image_and_the_tree_stays_the_same() {
    let place = Place::new();
    place.build();
    let tree = place.files("out/tiny");
    place.recipe_with("arms = [\"real\", \"augmented\"]", DOSES);
    let plan = place.plan();
    assert_eq!(plan["to_make"], 3, "three are wanted and in the cache, twice as many in the larger dose: {plan}");
    assert!(plan["species"].as_array().unwrap().iter().all(|one| one["wanted"].as_u64() <= one["real"].as_u64()));
    let said = place.build();
    assert_eq!(made(&said, "candidates"), 3, "{}", said.stdout);
    assert_eq!(made(&said, "generator"), 0);
    // Two seeds of `synthetic`, `dose-0.5x` and `dose-2x`, with their answers; `dose-1x` is `augmented`.
    assert_eq!(made(&said, "arms"), 12, "{}", said.stdout);
    assert_eq!(place.files("out/tiny"), tree);
    assert_eq!(place.plan()["to_make"], 0);
    assert_eq!(place.run(&["plan", "recipes/tiny.toml", "--check"]).exits(0).status, 0);
    place.run(&["build", "recipes/tiny.toml", "--locked"]).exits(0);
    place.run(&["verify", "recipes/tiny.toml"]).exits(0);

    let lock = Lock::read(&place.path("recipes/tiny.lock")).unwrap().unwrap();
    assert_eq!((lock.candidates().count(), lock.candidates().filter(|one| one.image.kept()).count()), (6, 3));
    let text = std::fs::read_to_string(place.path("recipes/tiny.lock")).unwrap();
    assert_eq!(text.matches(" more\"").count(), 3, "{text}");

    let metrics = std::fs::read_to_string(place.path("results/tiny/metrics.json")).unwrap();
    let metrics: serde_json::Value = serde_json::from_str(&metrics).unwrap();
    let counts: Vec<_> = metrics["arms"]
        .as_array()
        .unwrap()
        .iter()
        .map(|arm| {
            (
                arm["name"].as_str().unwrap(),
                arm["train_images"].as_u64().unwrap(),
                arm["synthetic_images"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        counts,
        [
            ("real", 15, 0),
            ("augmented", 18, 3),
            ("synthetic", 3, 3),
            ("dose-0.5x", 17, 2),
            ("dose-1x", 18, 3),
            ("dose-2x", 21, 6)
        ]
    );
}

#[test]
fn a_build_with_doses_from_nothing_makes_what_one_after_the_other_makes() {
    let at_once = with_doses();
    assert_eq!(at_once.plan()["to_make"], 6);
    assert_eq!(made(&at_once.build(), "candidates"), 6);
    let later = Place::new();
    later.build();
    later.recipe_with("arms = [\"real\", \"augmented\"]", DOSES);
    later.build();
    let read = |place: &Place| std::fs::read_to_string(place.path("recipes/tiny.lock")).unwrap();
    assert_eq!(read(&at_once), read(&later));
    assert_eq!(at_once.files("out/tiny"), later.files("out/tiny"));
    let shard = with_doses();
    shard.run(&["build", "recipes/tiny.toml", "--until", "generator"]).exits(0);
    shard.run(&["build", "recipes/tiny.toml", "--shard", "1/1"]).exits(0);
    let keys = |place: &Place| -> BTreeSet<String> {
        let lock = Lock::read(&place.path("recipes/tiny.lock")).unwrap().unwrap();
        lock.candidates().map(|one| one.key.hex()).collect()
    };
    let said = shard.build();
    assert_eq!(made(&said, "candidates"), 0, "{}", said.stdout);
    assert_eq!(keys(&shard), keys(&at_once));
}
