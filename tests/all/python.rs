//! What Python programs do with a build's files: torchvision with the saved weights, pandas with the tables, TensorBoard with
//! its event files. `BIRDAUG_PYTHON` names a Python; without it, or without what is needed in it, a test says so.

use std::process::Command;

use crate::place::{Place, Said, said};
use crate::predict::answers;

/// Runs a program of Python in the place, if there is a Python that has these modules.
fn python(place: &Place, needs: &[&str], program: &str) -> Option<Said> {
    let python = std::env::var("BIRDAUG_PYTHON").unwrap_or_else(|_| "python3".to_string());
    let has = |module: &&str| {
        let found = Command::new(&python).args(["-c", &format!("import {module}")]).output();
        found.is_ok_and(|output| output.status.success())
    };
    if let Some(missing) = needs.iter().find(|module| !has(module)) {
        println!("skipped: `{python}` has no {missing}; BIRDAUG_PYTHON names another one");
        return None;
    }
    let mut command = Command::new(&python);
    command.args(["-c", program]).current_dir(place.path(".")).env("OMP_NUM_THREADS", "1");
    Some(said(command.output().unwrap()))
}

/// The README's block of Python.
fn snippet() -> String {
    let readme = include_str!("../../README.md");
    let block = readme.split("```python\n").nth(1).expect("the README has a block of Python");
    block.split("```").next().unwrap().to_string()
}

#[test]
fn the_readmes_python_loads_the_weights_into_torchvision_and_sees_the_same() {
    let place = Place::new();
    // As precise as what torchvision computes.
    place.recipe_with("batch = 4\nseeds", "batch = 4\nprecision = \"fp32\"\nseeds");
    place.build();
    let said = std::fs::read(place.path("results/tiny/models/augmented/model.json")).unwrap();
    let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
    // In a 37 px picture the middle square is 32 px, the classifier's size: nothing is resized, so the two must agree to
    // the four digits that are printed. Photos are decoded and resized first, whose rounding to 8 bits moves this hardly
    // trained network.
    let exact = (0..3u8).map(|i| {
        let image = image::RgbImage::from_fn(37, 37, |x, y| image::Rgb([(7 * x) as u8, (6 * y) as u8, 80 * i]));
        let path = format!("exact-{i}.png");
        image.save(place.path(&path)).unwrap();
        let found = place.run(&["predict", "results/tiny/models/augmented", "--json", &path]).exits(0).json();
        let first = &found["images"][0]["top"][0];
        (path, first["species"].as_str().unwrap().to_string(), first["probability"].as_f64().unwrap(), 1e-4)
    });
    let photos = answers(&place, "augmented", said["seed"].as_u64().unwrap());
    let photos = photos.into_iter().map(|(path, species, p)| (format!("birds/{path}"), species, p, 0.02));
    for (path, species, probability, tolerance) in exact.chain(photos) {
        let program = snippet()
            .replace("results/birds24/models/augmented", "results/tiny/models/augmented")
            .replace("bird.jpg", &path);
        let Some(found) = python(&place, &["torch", "torchvision", "safetensors", "PIL"], &program) else { return };
        let found = found.exits(0).stdout;
        let (first, name) = found.lines().next().unwrap().split_once(' ').unwrap();
        let off = (first.parse::<f64>().unwrap() - probability).abs();
        assert!(off < tolerance, "{path}: {found} is not {species} {probability}");
        assert!(name == species || probability < 0.35, "{path}: {found} is not {species} {probability}");
    }
}

#[test]
fn pandas_reads_the_tables_as_they_are() {
    let place = Place::new();
    place.build();
    let program = r#"
import pandas
read = lambda name: pandas.read_csv(f"results/tiny/{name}.csv")
p, h, c = read("predictions"), read("history"), read("comparison")
assert list(p.columns) == ["arm", "seed", "path", "label", "predicted", "probability"], p.columns
assert p.probability.dtype == "float64" and p.seed.dtype == "int64" and len(p) == 2 * 2 * 6, p
assert not p.isna().any().any()
assert h.loss.dtype == "float64" and h.step.dtype == "int64" and set(h.arm) == {"real", "augmented"}, h
assert c.difference.dtype == "float64" and list(c.arm) == ["augmented"] and list(c.baseline) == ["real"], c
assert c.head_difference.notna().all() and c.p_unadjusted.between(0, 1).all()
right = (p.label == p.predicted).groupby([p.arm, p.seed]).mean()
print(right.to_json())
"#;
    let Some(found) = python(&place, &["pandas"], program) else { return };
    found.exits(0);
}

#[test]
fn event_files_hold_every_runs_curves() {
    let place = Place::new();
    place.build();
    // Curves that are in the cache are written too.
    place.run(&["build", "recipes/tiny.toml", "--tensorboard", "curves"]).exits(0);
    let files: Vec<String> = place.files("curves").into_keys().collect();
    let file = |run: &str| format!("{run}/events.out.tfevents.birdaug");
    assert_eq!(files, ["augmented/seed-0", "augmented/seed-1", "real/seed-0", "real/seed-1"].map(file));
    let program = r#"
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator("curves/augmented/seed-1").Reload()
assert sorted(events.Tags()["scalars"]) == ["learning_rate", "loss", "valid_accuracy"], events.Tags()
rows = [row.split(",") for row in open("results/tiny/history.csv").read().splitlines()]
rows = [row for row in rows if row[:2] == ["augmented", "1"]]
found = events.Scalars("loss")
assert [event.step for event in found] == [int(row[2]) for row in rows]
assert all(abs(event.value - float(row[3])) < 1e-5 for event, row in zip(found, rows))
"#;
    let Some(found) = python(&place, &["tensorboard"], program) else { return };
    found.exits(0);
}
