//! A plan is exact: what it says will be made is what the next build makes, to the image; and what it costs is told from
//! what the same kind of work cost before.

use std::fs;

use serde_json::Value;

use super::place::{Place, RECIPE, made};

fn unfiltered() -> String {
    RECIPE.replace("ssim_max = 0.99", "ssim_max = false")
}

fn number(json: &Value, field: &str) -> usize {
    json[field].as_u64().unwrap_or_else(|| panic!("no number `{field}` in {json}")) as usize
}

#[test]
fn without_drops_a_build_makes_exactly_what_the_plan_says() {
    let place = Place::new();
    let species: Vec<String> = {
        let plan = place.plan();
        plan["species"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_string()).collect()
    };
    let more = |recipe: &str| recipe.replace("target = 6", "target = 8");
    let mut expected = Vec::new();
    let edits = [
        unfiltered(),
        more(&unfiltered()),
        unfiltered(),
        more(&unfiltered()).replace("guidance = 1.5", "guidance = 2.0"),
        more(&unfiltered()).replace("guidance = 1.5", "guidance = 2.0\nseed = 7"),
        more(&unfiltered()).replace("root = \"birds\"", &format!("root = \"birds\"\nexclude = [{:?}]", species[0])),
    ];
    for recipe in edits {
        place.recipe(&recipe);
        let plan = place.plan();
        let said = place.run(&["build", "recipes/tiny.toml", "--until", "select"]).exits(0);
        assert_eq!(number(&plan, "to_make"), made(&said, "candidates"), "{plan}\n{}", said.stdout);
        assert_eq!(number(&place.plan(), "to_make"), 0);
        expected.push(number(&plan, "to_make"));
    }
    // 0 + 1 + 2; then 2 + 3 + 4 in all; nothing on the way back; all of them with new settings and a new seed.
    assert_eq!(expected[..5], [3, 6, 0, 9, 9]);
    assert!(expected[5] > 0 && expected[5] < 9, "{expected:?}");
}

#[test]
fn with_drops_a_build_makes_no_fewer_than_planned_and_no_more_than_at_most() {
    let place = Place::new();
    place.recipe(&unfiltered().replace("target = 6", "target = 12"));
    place.build();
    let manifest = place.files("out/tiny").remove("manifest.csv").unwrap();
    let mut reader = csv::Reader::from_reader(&manifest[..]);
    let mut likeness: Vec<f64> = reader.records().filter_map(|row| row.unwrap()[9].parse().ok()).collect();
    likeness.sort_by(f64::total_cmp);
    let middle = likeness[likeness.len() / 2];
    let filtered = |target: usize, seed: u64| {
        unfiltered()
            .replace("target = 6", &format!("target = {target}"))
            .replace("candidates = 1.5", "candidates = 1.8")
            .replace("ssim_max = false", &format!("ssim_max = {middle}"))
            .replace("guidance = 1.5", &format!("guidance = 1.5\nseed = {seed}"))
    };
    let mut dropped_some = false;
    // The threshold alone (all scores are known), more images, and everything anew.
    for recipe in [filtered(12, 0), filtered(14, 0), filtered(10, 3)] {
        place.recipe(&recipe);
        let plan = place.plan();
        let (least, most) = (number(&plan, "to_make"), number(&plan, "at_most"));
        let said = place.run(&["build", "recipes/tiny.toml", "--until", "select"]).exits(0);
        let made = made(&said, "candidates");
        assert!((least..=most).contains(&made), "{made} of {least} to {most}");
        dropped_some |= made > least;
        assert_eq!(number(&place.plan(), "to_make"), 0);
    }
    assert!(dropped_some, "the filter dropped nothing, so nothing was tested");
}

#[test]
fn a_generator_that_left_the_cache_is_fitted_again_and_no_image_is() {
    let place = Place::new();
    place.build();
    let store = birdaug::store::Store::open(&place.path("cache")).unwrap();
    let fit = store
        .records()
        .into_iter()
        .find(|record| birdaug::plan::Inputs::decode(&record.inputs).is_some_and(|inputs| inputs.kind == "ddpm fit"));
    fs::remove_file(store.blob_path(&fit.unwrap().blob("weights").unwrap())).unwrap();
    let plan = place.plan();
    assert_eq!(number(&plan, "to_make"), 0, "{plan}");
    let generator = plan["steps"].as_array().unwrap().iter().find(|step| step["name"] == "generator").unwrap();
    assert_eq!(generator["why"][0], "generator: no longer in the cache");
    let said = place.build();
    assert_eq!((made(&said, "generator"), made(&said, "candidates")), (1, 0), "{}", said.stdout);
}

#[test]
fn images_without_scores_are_told_from_images_to_make() {
    let place = Place::new();
    place.run(&["build", "recipes/tiny.toml", "--until", "candidates"]).exits(0);
    let plan = place.plan();
    // 1 and 2 wanted, at most 2 and 3 candidates.
    assert_eq!((number(&plan, "to_make"), number(&plan, "at_most")), (0, 2), "{plan}");
    let text = place.run(&["plan", "recipes/tiny.toml"]).exits(0).stdout;
    assert!(text.contains("to make: 0 images now: all that are wanted are in the cache; their scores"), "{text}");
    let said = place.build();
    assert!(made(&said, "candidates") <= 2);
}

#[test]
fn costs_are_told_from_earlier_work_of_the_same_kind_and_not_at_all_without() {
    let place = Place::new();
    let costs = |plan: &Value, field: &str| -> Vec<(String, Value)> {
        let steps = plan["steps"].as_array().unwrap().iter();
        steps.map(|step| (step["name"].as_str().unwrap().to_string(), step[field].clone())).collect()
    };
    let costly = ["baseline", "generator", "candidates", "scores", "arms"];
    let first = place.plan();
    assert_eq!((&first["seconds"], &first["bytes"]), (&Value::Null, &Value::Null));
    assert_eq!(first["not_estimated"], serde_json::json!(costly));
    let text = place.run(&["plan", "recipes/tiny.toml"]).exits(0).stdout;
    assert!(text.contains("not estimated, nothing like it was made on ") && !text.contains("estimated: "), "{text}");

    place.build();
    let nothing = place.plan();
    assert_eq!((&nothing["seconds"], &nothing["bytes"]), (&Value::from(0.0), &Value::from(0)));
    place.recipe(&RECIPE.replace("guidance = 1.5", "guidance = 1.5\nseed = 5"));
    let plan = place.plan();
    assert_eq!(plan["not_estimated"], serde_json::json!([]), "{plan}");
    let seconds = costs(&plan, "seconds");
    let known: Vec<f64> = seconds.iter().filter_map(|(_, value)| value.as_f64()).collect();
    assert!((known.iter().sum::<f64>() - plan["seconds"].as_f64().unwrap()).abs() < 1e-9, "{plan}");
    for (name, value) in &seconds {
        match name.as_str() {
            "baseline" | "scan" | "split" => assert_eq!(value, &Value::from(0.0), "{name}"),
            "generator" | "candidates" | "scores" | "arms" => assert!(value.as_f64().unwrap() > 0.0, "{name}: {value}"),
            _ => {}
        }
    }
    let store = birdaug::store::Store::open(&place.path("cache")).unwrap();
    let fit = store
        .records()
        .into_iter()
        .find(|record| birdaug::plan::Inputs::decode(&record.inputs).is_some_and(|inputs| inputs.kind == "ddpm fit"));
    let fit = fit.unwrap();
    let of = |field: &str| costs(&plan, field).into_iter().find(|(name, _)| name == "generator").unwrap().1;
    let noted: f64 = fit.noted("seconds").unwrap().parse().unwrap();
    assert!((of("seconds").as_f64().unwrap() - noted).abs() < 1e-9);
    let size = fs::metadata(store.blob_path(&fit.blob("weights").unwrap())).unwrap().len();
    assert_eq!(of("bytes"), size);
    // Twice the steps, twice the time.
    place.recipe(&RECIPE.replace("steps = 3\nbatch = 4\nlearning_rate", "steps = 6\nbatch = 4\nlearning_rate"));
    let longer = place.plan();
    let generator = costs(&longer, "seconds").into_iter().find(|(name, _)| name == "generator").unwrap().1;
    assert!((generator.as_f64().unwrap() - 2.0 * noted).abs() < 1e-6, "{generator} {noted}");
    let text = place.run(&["plan", "recipes/tiny.toml"]).exits(0).stdout;
    assert!(text.contains("estimated: "), "{text}");
}
