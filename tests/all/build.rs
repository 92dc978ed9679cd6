//! A build from nothing: what it writes, and that it writes the same again.

use super::place::{Place, made};

#[test]
fn a_build_goes_through_every_step_and_the_next_one_makes_nothing() {
    let place = Place::new();
    let planned = place.plan();
    assert_eq!(planned["to_make"], 3);
    let first = place.build();
    // 6, 5 and 4 real photos, filled to 6: 0, 1 and 2 wanted, and refills where the filter dropped some.
    assert!(made(&first, "candidates") >= 3, "{}", first.stdout);
    assert_eq!(made(&first, "generator"), 1);
    assert!(first.stdout.contains("augmented vs real: macro accuracy"), "{}", first.stdout);
    let tree = place.files("out/tiny");
    let results = place.files("results/tiny");

    place.run(&["plan", "recipes/tiny.toml", "--check"]).exits(0);
    let again = place.build();
    assert!(again.stdout.starts_with("nothing to do"), "{}", again.stdout);
    assert_eq!(place.files("out/tiny"), tree);
    assert_eq!(place.files("results/tiny"), results);
    assert_eq!(place.plan()["to_make"], 0);
    assert!(place.plan()["steps"].as_array().unwrap().iter().all(|step| step["state"] == "fresh"));
}

#[test]
fn two_builds_in_two_places_write_the_same_tree_and_results() {
    let (one, two) = (Place::new(), Place::new());
    one.build();
    two.build();
    assert_eq!(one.files("out/tiny"), two.files("out/tiny"));
    assert_eq!(one.files("results/tiny"), two.files("results/tiny"));
    assert_eq!(one.files("recipes"), two.files("recipes"));
    let lock = String::from_utf8(one.files("recipes")["tiny.lock"].clone()).unwrap();
    assert!(lock.contains("[models]") && lock.contains("\"generator\" = "), "{lock}");
    // 0, 1 and 2 wanted, each with its candidates.
    assert!(lock.matches(" keep\"\n").count() == 3, "{lock}");
}

#[test]
fn the_tree_holds_the_real_files_byte_for_byte_and_the_kept_images_in_train_alone() {
    let place = Place::new();
    place.build();
    let (real, tree) = (place.files("birds"), place.files("out/tiny"));
    for (path, bytes) in real.iter().filter(|(path, _)| path.ends_with(".jpg")) {
        assert_eq!(tree.get(path), Some(bytes), "{path}");
    }
    let synthetic: Vec<&String> = tree.keys().filter(|path| path.contains("synthetic-")).collect();
    assert_eq!(synthetic.len(), 3);
    for path in &synthetic {
        assert!(path.starts_with("train/"), "{path}");
        let name = path.rsplit('/').next().unwrap();
        let digits = name.strip_prefix("synthetic-").unwrap().strip_suffix(".jpg").unwrap();
        assert!(digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{path}");
    }
    let others: Vec<&str> = tree.keys().filter(|path| !path.ends_with(".jpg")).map(String::as_str).collect();
    assert_eq!(others, ["birds.csv", "manifest.csv", "rejected.csv"]);
}

#[test]
fn the_csv_files_list_every_file_with_where_it_came_from() {
    let place = Place::new();
    place.build();
    let tree = place.files("out/tiny");
    let images = tree.keys().filter(|path| path.ends_with(".jpg")).count();
    let rows = |name: &str| -> Vec<Vec<String>> {
        let mut reader = csv::Reader::from_reader(&tree[name][..]);
        let header = reader.headers().unwrap().iter().map(String::from).collect();
        let rows = reader.records().map(|row| row.unwrap().iter().map(String::from).collect());
        std::iter::once(header).chain(rows).collect()
    };
    let birds = rows("birds.csv");
    assert_eq!(birds[0], ["class id", "filepaths", "labels", "data set", "scientific name"]);
    assert_eq!(birds.len() - 1, images);
    assert!(birds.iter().all(|row| !row[4].is_empty()), "scientific names are carried over");
    let manifest = rows("manifest.csv");
    assert_eq!(manifest.len() - 1, images);
    for row in &manifest[1..] {
        let digest = blake3::hash(&tree[&row[0]]).to_hex().to_string();
        assert_eq!(row[4], digest, "{}", row[0]);
        assert_eq!(row[3] == "synthetic", row[0].contains("synthetic-"));
        if row[3] == "synthetic" {
            assert!(row[0].contains(&row[5][..12]), "the name is the key's: {}", row[0]);
        }
    }
}

#[test]
fn the_generator_never_saw_a_photo_of_valid_or_test() {
    let place = Place::new();
    place.recipe_with("[balance]\n", "[split]\nkind = \"few-shot\"\nshots = 2\ntest = \"both\"\n\n[balance]\n");
    place.build();
    let store = birdaug::store::Store::open(&place.path("cache")).unwrap();
    let mut fits = 0;
    for record in store.records() {
        let inputs = birdaug::plan::Inputs::decode(&record.inputs).unwrap();
        if inputs.kind != "ddpm fit" {
            continue;
        }
        fits += 1;
        let Some(birdaug::plan::Value::Digest(list)) = inputs.get("train photos") else { panic!("no list") };
        let list = String::from_utf8(store.get(list).unwrap().unwrap()).unwrap();
        assert_eq!(list.lines().count(), 6, "two shots of three species");
        let tree = place.files("out/tiny");
        let held_out = tree.iter().filter(|(path, _)| path.starts_with("valid/") || path.starts_with("test/"));
        let mut seen = 0;
        for (path, bytes) in held_out {
            assert!(!list.contains(blake3::hash(bytes).to_hex().as_str()), "{path}");
            seen += 1;
        }
        assert!(seen >= 9, "{seen}");
    }
    assert_eq!(fits, 1);
}

#[test]
fn the_results_folder_holds_what_scripts_rely_on() {
    let place = Place::new();
    place.build();
    let files = place.files("results/tiny");
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    let models =
        ["augmented", "real"].map(|kind| ["json", "safetensors"].map(|file| format!("models/{kind}/model.{file}")));
    let tables = ["comparison.csv", "history.csv", "metrics.json", "predictions.csv", "report.html"];
    let mut expected: Vec<&str> = models.iter().flatten().map(String::as_str).chain(tables).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
    let metrics: serde_json::Value = serde_json::from_slice(&files["metrics.json"]).unwrap();
    let arms = metrics["arms"].as_array().unwrap();
    assert_eq!(arms.iter().map(|arm| arm["name"].as_str().unwrap()).collect::<Vec<_>>(), ["real", "augmented"]);
    for arm in arms {
        for list in ["seeds", "macro_accuracy", "tail_accuracy"] {
            assert_eq!(arm[list].as_array().unwrap().len(), 2, "{list}");
        }
    }
    let comparison = &metrics["comparisons"][0];
    for field in ["arm", "baseline", "difference", "low", "high", "p", "verdict"] {
        assert!(!comparison[field].is_null(), "{field}");
    }
    assert!(["helped", "hurt", "not shown"].contains(&comparison["verdict"].as_str().unwrap()));
}

#[test]
fn img2img_starts_from_the_photos_of_train_and_says_from_which() {
    let place = Place::new();
    place.recipe_with("mode = \"txt2img\"", "mode = \"img2img\"\nstrength = 0.5");
    place.build();
    let tree = place.files("out/tiny");
    let mut reader = csv::Reader::from_reader(&tree["manifest.csv"][..]);
    let mut sources = 0;
    for row in reader.records() {
        let row = row.unwrap();
        if &row[3] == "synthetic" {
            let species = &row[2];
            assert!(row[6].starts_with(&format!("train/{species}/")), "{}", &row[6]);
            assert!(row[11].parse::<f64>().is_ok(), "SSIM to the source: {}", &row[11]);
            sources += 1;
        }
    }
    assert_eq!(sources, 3);
}

#[test]
fn until_stops_after_the_step_and_the_rest_is_still_due() {
    let place = Place::new();
    let said = place.run(&["build", "recipes/tiny.toml", "--until", "generator"]).exits(0);
    assert_eq!(made(&said, "generator"), 1);
    assert_eq!(made(&said, "candidates"), 0);
    assert!(!place.path("out").exists());
    let wrong = place.run(&["build", "recipes/tiny.toml", "--until", "generatr"]).exits(2);
    assert!(wrong.stderr.contains("did you mean `generator`?"), "{}", wrong.stderr);
    place.run(&["plan", "recipes/tiny.toml", "--check"]).exits(3);
}
