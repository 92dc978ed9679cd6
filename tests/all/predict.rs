//! Classifiers that a build leaves for others: which they are, and `birdaug predict`.

use std::fs;

use serde_json::Value;

use crate::place::{Place, made};

fn json(place: &Place, path: &str) -> Value {
    serde_json::from_slice(&fs::read(place.path(path)).unwrap()).unwrap()
}

/// `predictions.csv` of one arm and seed: path below the dataset, species named, its probability.
pub fn answers(place: &Place, arm: &str, seed: u64) -> Vec<(String, String, f64)> {
    let mut reader = csv::Reader::from_path(place.path("results/tiny/predictions.csv")).unwrap();
    let rows = reader.records().map(|row| row.unwrap());
    rows.filter(|row| &row[0] == arm && row[1] == seed.to_string())
        .map(|row| (row[2].to_string(), row[4].to_string(), row[5].parse().unwrap()))
        .collect()
}

#[test]
fn a_saved_classifier_says_of_the_test_photos_what_it_said_in_the_build() {
    let place = Place::new();
    place.build();
    let metrics = json(&place, "results/tiny/metrics.json");
    let listed: Vec<&str> =
        metrics["models"].as_array().unwrap().iter().map(|model| model["path"].as_str().unwrap()).collect();
    assert_eq!(listed, ["models/real", "models/augmented"]);
    for kind in ["real", "augmented"] {
        let model = format!("results/tiny/models/{kind}");
        let said = json(&place, &format!("{model}/model.json"));
        assert_eq!((&said["arch"], &said["size"], &said["arm"]), (&"resnet18".into(), &32.into(), &kind.into()));
        assert_eq!(said["classes"].as_array().unwrap().len(), 3);
        let expected = answers(&place, kind, said["seed"].as_u64().unwrap());
        assert_eq!(expected.len(), 6);
        let mut args = vec!["predict".to_string(), model, "--json".to_string()];
        args.extend(expected.iter().map(|(path, _, _)| format!("birds/{path}")));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let found = place.run(&args).exits(0).json();
        for (image, (path, species, probability)) in found["images"].as_array().unwrap().iter().zip(&expected) {
            assert_eq!(image["path"], format!("birds/{path}"));
            let top = image["top"].as_array().unwrap();
            assert_eq!(top.len(), 3, "there are only three species");
            assert_eq!(top[0]["species"], **species);
            assert!((top[0]["probability"].as_f64().unwrap() - probability).abs() < 1e-6);
            let sum: f64 = top.iter().map(|one| one["probability"].as_f64().unwrap()).sum();
            assert!((sum - 1.0).abs() < 1e-5);
        }
    }
}

#[test]
fn a_lost_classifier_is_written_again_without_training() {
    let place = Place::new();
    place.build();
    let before = place.files("results/tiny/models");
    fs::remove_dir_all(place.path("results/tiny/models")).unwrap();
    let said = place.run(&["plan", "recipes/tiny.toml", "--check"]).exits(3);
    assert!(said.stdout.contains("`results/tiny` is not there as it was written"), "{}", said.stdout);
    let said = place.build();
    assert_eq!((made(&said, "arms"), made(&said, "report")), (0, 1), "{}", said.stdout);
    assert_eq!(place.files("results/tiny/models"), before);
}

#[test]
fn predict_says_plainly_what_is_wrong() {
    let place = Place::new();
    place.build();
    let model = "results/tiny/models/real";
    let photo = "birds/test/".to_string()
        + &fs::read_dir(place.path("birds/test"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .min()
            .unwrap();
    let photo = fs::read_dir(place.path(&photo))
        .unwrap()
        .map(|e| format!("{photo}/{}", e.unwrap().file_name().into_string().unwrap()))
        .min()
        .unwrap();
    let told = |args: &[&str]| {
        let said = place.run(&[&["predict"], args].concat()).exits(1);
        said.stderr
    };
    const WANTED: &str = "  help: give the folder of a classifier, such as `results/NAME/models/augmented`\n";

    assert_eq!(
        told(&["results/tiny", &photo]),
        "error: `results/tiny` is no model: it holds no `model.json`\n  help: did you mean `results/tiny/models/augmented`?\n"
    );
    assert_eq!(told(&["gone", &photo]), format!("error: `gone` is not there: no `model.json`\n{WANTED}"));
    assert_eq!(
        told(&["out/tiny", &photo]),
        format!("error: `out/tiny` is no model: it holds no `model.json`\n{WANTED}")
    );
    place.write("other/model.json", br#"{"model_type": "vit"}"#);
    assert_eq!(
        told(&["other", &photo]),
        format!("error: `other/model.json` describes something else than a classifier of birdaug\n{WANTED}")
    );
    place.write("other/model.json", br#"{"format": 7}"#);
    assert_eq!(told(&["other", &photo]), "error: `other/model.json` has format 7; this birdaug reads 1\n");
    let description = fs::read(place.path(&format!("{model}/model.json"))).unwrap();
    place.write("other/model.json", &description);
    place.write("other/model.safetensors", b"half a file");
    assert_eq!(
        told(&["other", &photo]),
        "error: `other/model.safetensors` is not the file that `model.json` describes\n  \
         help: copy the model's folder again, or build it again\n"
    );

    place.write("page.jpg", b"<!DOCTYPE html>");
    let said = place.run(&["predict", model, "page.jpg", &photo, "gone.jpg"]).exits(1);
    assert_eq!(
        said.stderr,
        "error: 2 of 3 images could not be read:\n  \
         `page.jpg`: not an image: it looks like a web page (known: JPEG, PNG, WebP, BMP, GIF, TIFF)\n  \
         could not read `gone.jpg`: No such file or directory (os error 2)\n"
    );
    assert!(said.stdout.starts_with(&format!("{photo}\n")), "{}", said.stdout);
    assert_eq!(said.stdout.lines().count(), 4);
    place.run(&["predict", model]).exits(2);
}
