//! The filter's guards and gates from outside: what is dropped, for what, and what a build says that cannot meet them.

use std::collections::BTreeMap;

use super::place::{Place, RECIPE, Said, made};

/// A row of a csv file by column.
type Row = BTreeMap<String, String>;

fn table(place: &Place, path: &str) -> Vec<Row> {
    let mut reader = csv::Reader::from_path(place.path(path)).unwrap();
    let header = reader.headers().unwrap().clone();
    let row = |row: csv::StringRecord| header.iter().map(String::from).zip(row.iter().map(String::from)).collect();
    reader.records().map(|found| row(found.unwrap())).collect()
}

fn filter(lines: &str) -> String {
    RECIPE.replace("candidates = 1.5\nssim_max = 0.99\n", &format!("candidates = 3.0\nssim_max = false\n{lines}"))
}

fn emit(place: &Place, lines: &str) -> Said {
    place.recipe(&filter(lines));
    place.run(&["build", "recipes/tiny.toml", "--until", "emit"])
}

/// Dropped for a reason.
fn dropped(place: &Place, reason: &str) -> Vec<Row> {
    let mut rows = table(place, "out/tiny/rejected.csv");
    rows.retain(|row| row["reason"] == reason);
    rows
}

fn number(row: &Row, column: &str) -> f64 {
    row[column].parse().unwrap_or_else(|_| panic!("{column} is {:?}", row[column]))
}

#[test]
fn guards_name_what_a_candidate_is_too_like_and_new_thresholds_score_nothing_again() {
    let place = Place::new();
    emit(&place, "").exits(0);
    let plain = table(&place, "out/tiny/manifest.csv");
    for column in ["held_out_ssim", "nearest_held_out", "realism"] {
        assert!(!plain[0].contains_key(column), "{column} without having been asked for");
    }
    // Loose thresholds: every score is taken, nothing is dropped.
    let said = emit(&place, "held_out_max = 1.0\nduplicate_max = 1.0\nrealism_min = 1e-9\n").exits(0);
    assert_eq!((made(&said, "candidates"), made(&said, "generator")), (0, 0), "{}", said.stdout);
    assert!(made(&said, "scores") > 0, "{}", said.stdout);
    let mut kept = table(&place, "out/tiny/manifest.csv");
    kept.retain(|row| row["origin"] == "synthetic");
    let likeness: Vec<f64> = kept.iter().map(|row| number(row, "held_out_ssim")).collect();
    for row in &kept {
        let of = &row["nearest_held_out"];
        let own = |split: &str| of.starts_with(&format!("{split}/{}/", row["species"]));
        assert!(own("valid") || own("test"), "{row:?}");
        assert!(number(row, "realism") > 0.0, "{row:?}");
    }

    // Between the likeness of the two that are nearest.
    let mut sorted = likeness.clone();
    sorted.sort_by(f64::total_cmp);
    let [second, first] = sorted[sorted.len() - 2..] else { panic!("two candidates") };
    let threshold = 0.5 * (second + first);
    let said = emit(&place, &format!("held_out_max = {threshold}\n")).exits(0);
    assert_eq!(made(&said, "generator"), 0);
    let leaks = dropped(&place, "held_out_max");
    assert!(leaks.iter().any(|row| (number(row, "value") - first).abs() < 1e-5), "{leaks:?}");
    for row in &leaks {
        assert!(number(row, "value") > threshold && number(row, "threshold") == threshold, "{row:?}");
        assert!(row["nearest_held_out"].contains(&row["species"]), "{row:?}");
    }

    emit(&place, "duplicate_max = 0.05\n").exits(0);
    let said = emit(&place, "duplicate_max = 0.1\n").exits(0);
    assert_eq!((made(&said, "candidates"), made(&said, "scores")), (0, 0), "{}", said.stdout);

    // Images of an untrained generator are alike or not by chance, and on another machine by another: of so many pairs some
    // are.
    let emit_many = |lines: &str| {
        place.recipe(&filter(lines).replace("target = 6", "target = 16"));
        place.run(&["build", "recipes/tiny.toml", "--until", "emit"])
    };
    let twins = |place: &Place| {
        let rows = dropped(place, "duplicate_max");
        let all = table(place, "out/tiny/manifest.csv");
        for row in &rows {
            let twin = all.iter().find(|kept| kept["key"] == row["duplicate_of"]).expect("a kept twin");
            assert_eq!((&twin["species"], twin["verdict"].as_str()), (&row["species"], "keep"));
            assert!(number(row, "value") > number(row, "threshold"), "{row:?}");
        }
        rows.len()
    };
    emit_many("duplicate_max = 0.01\n").exits(0);
    let many = twins(&place);
    assert!(many > 0);
    // Pairs of those that the first threshold dropped were never looked at; none is looked at twice.
    let said = emit_many("duplicate_max = 0.1\n").exits(0);
    assert_eq!(made(&said, "candidates"), 0, "{}", said.stdout);
    assert!(twins(&place) <= many);
    let again = emit_many("duplicate_max = 0.1\n").exits(0);
    assert_eq!((made(&again, "scores"), made(&again, "emit")), (0, 0), "{}", again.stdout);
    let back = emit_many("duplicate_max = 0.01\n").exits(0);
    assert_eq!((made(&back, "candidates"), made(&back, "scores")), (0, 0), "{}", back.stdout);
    assert_eq!(twins(&place), many);
}

#[test]
fn a_candidate_that_is_a_photo_though_mirrored_and_cropped_is_dropped_and_the_photo_named() {
    let place = Place::new();
    let plan = place.plan();
    let rarest = plan["species"].as_array().unwrap().iter().min_by_key(|row| row["real"].as_u64()).unwrap();
    let species = rarest["name"].as_str().unwrap();
    let photo = place.files(&format!("birds/train/{species}")).into_keys().next().unwrap();
    // What a careless split leaves in valid: a photo of train, mirrored and cropped by a twentieth a side.
    let picture = image::open(place.path(&format!("birds/train/{species}/{photo}"))).unwrap().to_rgb8();
    let (w, h) = picture.dimensions();
    let cropped = image::imageops::crop_imm(&picture, w / 20, h / 20, w - w / 10, h - h / 10).to_image();
    let leak = format!("valid/{species}/leak.png");
    image::imageops::flip_horizontal(&cropped).save(place.path(&format!("birds/{leak}"))).unwrap();
    // Images that are all but the photos that they start from.
    let recipe = |more: &str| {
        let text = filter(more).replace("mode = \"txt2img\"", "mode = \"img2img\"\nstrength = 0.05");
        text.replace("size = 16", "size = 32").replace("steps = 2\n", "steps = 20\n")
    };
    let emit = |more: &str| {
        place.recipe(&recipe(more));
        place.run(&["build", "recipes/tiny.toml", "--until", "emit"]).exits(0)
    };
    emit("copy_max = 1.0\n");
    let mut kept = table(&place, "out/tiny/manifest.csv");
    kept.retain(|row| row["origin"] == "synthetic");
    let source = format!("train/{species}/{photo}");
    let (of_leak, others): (Vec<&Row>, Vec<&Row>) = kept.iter().partition(|row| row["source"] == source);
    assert!(!of_leak.is_empty() && !others.is_empty());
    for row in &of_leak {
        assert_eq!(row["nearest_alike"], leak, "{row:?}");
    }
    assert!(kept.iter().all(|row| row["nearest_alike"] != row["source"]));
    let least = of_leak.iter().map(|row| number(row, "likeness")).fold(1.0, f64::min);
    let most = others.iter().map(|row| number(row, "likeness")).fold(0.0, f64::max);
    assert!(least > 0.8 && most < least, "copies from {least}, others to {most}");
    let threshold = (0.5 * (least + most)).max(0.6);
    let said = emit(&format!("copy_max = {threshold}\n"));
    assert_eq!((made(&said, "generator"), made(&said, "baseline")), (0, 0));
    let gone = dropped(&place, "copy_max");
    assert!(!gone.is_empty());
    for row in gone {
        assert_eq!((&row["source"], &row["nearest_alike"]), (&source, &leak));
        assert!(number(&row, "value") > threshold && number(&row, "threshold") == threshold, "{row:?}");
    }
    let mut left = table(&place, "out/tiny/manifest.csv");
    left.retain(|row| row["origin"] == "synthetic");
    assert!(!left.is_empty());
    for row in left {
        assert!(row["nearest_alike"] != leak || number(&row, "likeness") <= threshold, "{row:?}");
    }
}

#[test]
fn a_pooled_gate_drops_refills_and_holds_and_one_that_cannot_be_met_says_how_far_it_came() {
    let place = Place::new();
    // Enough images that some can be spared.
    let filter = |lines: &str| filter(lines).replace("target = 6", "target = 16");
    place.recipe(&filter(""));
    place.build();
    let figure = |name: &str| {
        let text = std::fs::read_to_string(place.path("results/tiny/metrics.json")).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let metric = value["set_metrics"].as_array().unwrap().iter().find(|m| m["metric"] == name).unwrap().clone();
        (metric["value"].as_f64().unwrap(), value)
    };
    let (open, _) = figure("kid");
    let gate = open * 0.99;
    place.recipe(&filter(&format!("kid_max = {gate}\n")));
    let said = place.run(&["build", "recipes/tiny.toml"]).exits(0);
    assert_eq!(made(&said, "generator"), 0);
    let (held, metrics) = figure("kid");
    assert!(held <= gate, "{held} is above {gate}");
    assert_eq!(metrics["gates"][0]["gate"], "kid_max");
    assert!((metrics["gates"][0]["value"].as_f64().unwrap() - held).abs() < 1e-6 * held);
    let gone = dropped(&place, "kid_max");
    assert!(!gone.is_empty());
    for row in &gone {
        assert!(number(row, "value") > gate && number(row, "threshold") == gate, "{row:?}");
    }
    // Others took the places of those that went, as far as there were candidates.
    assert!(made(&said, "candidates") >= 1, "{}", said.stdout);
    assert!(place.run(&["build", "recipes/tiny.toml"]).exits(0).stdout.starts_with("nothing to do"));
    let why = place.run(&["why", "recipes/tiny.toml", &format!("species:{}", gone[0]["species"])]).exits(0);
    assert!(why.stdout.contains("kid_max"), "{}", why.stdout);

    place.recipe(&filter("fid_max = 0.0\n"));
    let said = place.run(&["build", "recipes/tiny.toml", "--until", "emit"]).exits(1);
    let line = said.stderr.lines().find(|line| line.contains("the gate cannot be met")).expect("a plain report");
    assert!(line.contains("the gate cannot be met: fid_max = 0: it "), "{line}");
    assert!(line.contains("dropping any of them raises it (") || line.contains("and fewer mean nothing ("), "{line}");
    assert!(line.contains("two halves of 15 real photos are at "), "{line}");
    assert!(said.stderr.contains("help: raise the gate"), "{}", said.stderr);
}

#[test]
fn thresholds_that_the_images_cannot_answer_are_refused_with_a_whole_message() {
    let place = Place::new();
    let said = emit(&place, "species_kid_max = 0.5\n").exits(1);
    let error = said.stderr.lines().skip_while(|line| !line.starts_with("error")).collect::<Vec<_>>().join("\n");
    let named = error.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(names, _)| names).unwrap();
    // One of the three species wants no images.
    assert_eq!(named.split(", ").count(), 2, "{named}");
    assert_eq!(
        error.replace(named, "A, B"),
        "error: `species_kid_max` judges no species: each has fewer than 10 real or kept images (A, B)\n  help: use \
         `kid_max`, which judges the pooled set, or cut less of train away by `[split]`"
    );

    place.recipe(
        &filter("realism_min = 0.5\n").replace("[balance]", "[split]\nkind = \"few-shot\"\nshots = 1\n[balance]"),
    );
    let said = place.run(&["build", "recipes/tiny.toml", "--until", "emit"]).exits(1);
    let error = said.stderr.lines().skip_while(|line| !line.starts_with("error")).collect::<Vec<_>>().join("\n");
    assert_eq!(
        error,
        "error: `realism_min` needs at least 4 real train photos, there are 3\n  help: a photo's sphere reaches to its \
         third nearest neighbour: cut less away by `[split]`, or leave `realism_min` out"
    );

    let said = emit(&place, "realism_min = 1e300\n").exits(1);
    assert!(said.stderr.contains("the filter dropped every candidate: realism_min dropped "), "{}", said.stderr);
}
