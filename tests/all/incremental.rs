//! What a change costs: exactly what depends on it, and nothing else.

use std::fs;

use super::place::{Place, RECIPE, made};

/// Names of the steps that are due.
fn stale(plan: &serde_json::Value) -> Vec<String> {
    let steps = plan["steps"].as_array().unwrap();
    steps.iter().filter(|step| step["state"] == "stale").map(|step| step["name"].as_str().unwrap().into()).collect()
}

/// Names of the species that have images to make, with their number.
fn due(plan: &serde_json::Value) -> Vec<(String, u64)> {
    let species = plan["species"].as_array().unwrap();
    let rows = species.iter().map(|row| (row["name"].as_str().unwrap().into(), row["to_make"].as_u64().unwrap()));
    rows.filter(|(_, n)| *n > 0).collect()
}

/// The tiny recipe without a filter, so that every candidate is kept and numbers are exact.
fn unfiltered() -> String {
    RECIPE.replace("ssim_max = 0.99", "ssim_max = false")
}

#[test]
fn a_species_that_wants_more_gets_exactly_what_is_missing_and_no_other_is_touched() {
    let place = Place::new();
    place.recipe(&unfiltered());
    place.build();
    let name = due_name(&place);
    place.recipe(&unfiltered().replace("[balance.species]", &format!("[balance.species]\n\"{name}\" = 22")));
    let plan = place.plan();
    // It had 2 before.
    assert_eq!(due(&plan), [(name, 20)]);
    assert_eq!(plan["to_make"], 20);
    let said = place.build();
    assert_eq!(made(&said, "candidates"), 20);
    assert_eq!(made(&said, "generator"), 0);
}

/// The rarest species: 4 photos, so 2 images wanted.
fn due_name(place: &Place) -> String {
    let plan = place.plan();
    let row = plan["species"].as_array().unwrap().iter().find(|row| row["real"] == 4).unwrap().clone();
    row["name"].as_str().unwrap().to_string()
}

#[test]
fn a_lowered_target_makes_nothing_and_takes_images_out_of_the_tree() {
    let place = Place::new();
    place.recipe(&unfiltered());
    place.build();
    place.recipe(&unfiltered().replace("target = 6", "target = 5"));
    assert_eq!(place.plan()["to_make"], 0);
    let said = place.build();
    assert_eq!((made(&said, "candidates"), made(&said, "scores")), (0, 0));
    let synthetic = place.files("out/tiny").keys().filter(|path| path.contains("synthetic-")).count();
    assert_eq!(synthetic, 1);
    place.recipe(&unfiltered());
    let back = place.build();
    assert_eq!((made(&back, "candidates"), made(&back, "arms")), (0, 0), "{}", back.stdout);
}

#[test]
fn a_new_threshold_makes_and_scores_nothing_that_is_there() {
    let place = Place::new();
    place.build();
    place.recipe_with("ssim_max = 0.99", "ssim_max = 0.98");
    let said = place.build();
    assert_eq!((made(&said, "candidates"), made(&said, "scores"), made(&said, "generator")), (0, 0, 0));
}

#[test]
fn a_new_encoding_makes_no_image_and_writes_the_tree_anew() {
    let place = Place::new();
    place.build();
    let before = place.files("out/tiny");
    place.recipe_with(
        "out = \"out/tiny\"",
        "out = \"out/tiny\"\nencode = { format = \"jpg\", quality = 60, size = 48 }",
    );
    let said = place.build();
    assert_eq!((made(&said, "candidates"), made(&said, "scores"), made(&said, "generator")), (0, 0, 0));
    assert_eq!(made(&said, "emit"), 1);
    let after = place.files("out/tiny");
    for (path, bytes) in before.iter().filter(|(path, _)| path.ends_with(".jpg")) {
        assert_eq!(path.contains("synthetic-"), after[path] != *bytes, "{path}");
    }
}

#[test]
fn a_new_place_for_the_report_trains_and_makes_nothing() {
    let place = Place::new();
    place.build();
    place.recipe_with("tail = 0.34", "tail = 0.34\n[report]\nout = \"elsewhere\"");
    let said = place.build();
    for step in ["candidates", "scores", "generator", "arms", "emit"] {
        assert_eq!(made(&said, step), 0, "{step}");
    }
    assert!(place.path("elsewhere/report.html").exists());
}

#[test]
fn comments_and_the_order_of_keys_restart_nothing() {
    let place = Place::new();
    place.build();
    place.recipe(&RECIPE.replace("size = 16\nwidth = 8\n", "# as small as can be\nwidth = 8\nsize = 16  # pixels\n"));
    assert_eq!(stale(&place.plan()), Vec::<String>::new());
    assert!(place.build().stdout.starts_with("nothing to do"));
}

#[test]
fn a_changed_photo_restarts_what_saw_it_and_the_plan_says_so() {
    let place = Place::new();
    place.build();
    let species = due_name(&place);
    let photo = fs::read_dir(place.path(&format!("birds/train/{species}"))).unwrap().next().unwrap().unwrap().path();
    let other = fs::read_dir(place.path(&format!("birds/test/{species}"))).unwrap().next().unwrap().unwrap().path();
    let mut image = image::open(&other).unwrap().into_rgb8();
    image::imageops::invert(&mut image);
    image.save(&photo).unwrap();

    let plan = place.plan();
    let stale = stale(&plan);
    for step in ["baseline", "generator", "candidates"] {
        assert!(stale.contains(&step.to_string()), "{step} of {stale:?}");
    }
    let generator = plan["steps"].as_array().unwrap().iter().find(|step| step["name"] == "generator").unwrap();
    let path = format!("train/{species}/{}", photo.file_name().unwrap().to_string_lossy());
    assert_eq!(generator["why"][0], format!("generator: train photos: 1 photo changed ({path})"));
    let said = place.build();
    assert_eq!(made(&said, "generator"), 1);
    assert!(place.build().stdout.starts_with("nothing to do"));
}

#[test]
fn a_touched_photo_restarts_nothing() {
    let place = Place::new();
    place.build();
    let species = due_name(&place);
    let photo = fs::read_dir(place.path(&format!("birds/train/{species}"))).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&photo).unwrap();
    fs::remove_file(&photo).unwrap();
    fs::write(&photo, bytes).unwrap();
    assert!(place.build().stdout.starts_with("nothing to do"));
}

#[test]
fn a_changed_setting_is_named_with_both_values() {
    let place = Place::new();
    place.build();
    place.recipe_with("steps = 3\nbatch = 4\nlearning_rate", "steps = 4\nbatch = 4\nlearning_rate");
    let said = place.run(&["why", "recipes/tiny.toml"]).exits(0);
    let line = 1 + RECIPE.lines().take_while(|line| *line != "[generator.train]").count() + 1;
    let reason = format!("generator: recipes/tiny.toml:{line}: [generator.train] steps 3 -> 4\n");
    assert!(said.stdout.contains(&reason), "no `{reason}` in:\n{}", said.stdout);
    // One step by itself.
    let of = |step: &str| place.run(&["why", "recipes/tiny.toml", step]).exits(0).stdout;
    assert_eq!(of("generator"), format!("generator\n  {reason}"));
    assert_eq!(of("audit"), "nothing is stale\n");
    let unknown = place.run(&["why", "recipes/tiny.toml", "baking"]).exits(2).stderr;
    assert!(unknown.contains("`baking` is no file") && unknown.contains("or one of scan, audit, "), "{unknown}");
}

#[test]
fn two_recipes_share_what_they_have_in_common() {
    let place = Place::new();
    place.build();
    place.write(
        "recipes/other.toml",
        RECIPE.replace("out/tiny", "out/other").replace("target = 6", "target = 8").as_bytes(),
    );
    let said = place.run(&["build", "recipes/other.toml"]).exits(0);
    assert_eq!(made(&said, "generator"), 0, "{}", said.stdout);
    // 2, 3 and 4 wanted, of which 0, 1 and 2 are there; the filter may ask for more.
    assert!(made(&said, "candidates") >= 6, "{}", said.stdout);
}

#[test]
fn a_changed_tree_is_put_right_again() {
    let place = Place::new();
    place.build();
    let before = place.files("out/tiny");
    let victim = before.keys().find(|path| path.starts_with("train/")).unwrap();
    fs::remove_file(place.path("out/tiny").join(victim)).unwrap();
    place.run(&["plan", "recipes/tiny.toml", "--check"]).exits(3);
    let said = place.build();
    assert_eq!((made(&said, "emit"), made(&said, "candidates"), made(&said, "arms")), (1, 0, 0));
    assert_eq!(place.files("out/tiny"), before);
}
