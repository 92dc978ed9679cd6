//! The results folder as its readers see it: other programs, pandas, a browser.

use std::fs;

use serde_json::Value;

use super::data::*;
use super::fixture::{self, results};

/// All files of the folder that these results are written to.
fn written(results: &Results) -> Vec<(String, String)> {
    let dir = tempfile::tempdir().unwrap();
    super::write(results, &dir.path().join("results")).unwrap();
    let mut files: Vec<_> =
        fs::read_dir(dir.path().join("results")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let name = |path: &std::path::Path| path.file_name().unwrap().to_str().unwrap().to_string();
    files.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

fn file(results: &Results, name: &str) -> String {
    written(results).into_iter().find(|(found, _)| found == name).unwrap().1
}

fn page(results: &Results) -> String {
    file(results, "report.html")
}

/// The page's text without its style and tags, spaces run together.
fn prose(page: &str) -> String {
    let body = &page[page.find("<body>").unwrap()..];
    let mut text = String::new();
    let mut inside = false;
    for c in body.chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Fails where a tag is not closed, or closed in the wrong order, or an attribute has no quotes.
fn assert_balanced(page: &str) {
    const VOID: [&str; 5] = ["meta", "img", "br", "wbr", "link"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>").unwrap();
    while let Some(at) = rest.find('<') {
        let end = at + rest[at..].find('>').unwrap();
        let tag = &rest[at + 1..end];
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes in <{tag}>");
        let name = tag.trim_start_matches('/').split_whitespace().next().unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "before {:?}", &rest[at..rest.len().min(at + 80)]);
        } else if !VOID.contains(&name) {
            open.push(name);
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

/// A build that wanted nothing and compared nothing.
fn empty() -> Results {
    Results { name: "nothing".into(), ..Results::default() }
}

#[test]
fn the_folder_holds_the_five_files_and_nothing_else() {
    let names: Vec<String> = written(&results(12)).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["comparison.csv", "history.csv", "metrics.json", "predictions.csv", "report.html"]);
}

#[test]
fn the_same_results_give_the_same_bytes_and_a_second_write_replaces_the_first() {
    assert_eq!(written(&results(12)), written(&results(12)));
    let dir = tempfile::tempdir().unwrap();
    super::write(&results(24), dir.path()).unwrap();
    super::write(&results(12), dir.path()).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("report.html")).unwrap(), page(&results(12)));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5);
}

#[test]
fn a_failed_write_names_the_file_and_leaves_the_old_ones_whole() {
    let dir = tempfile::tempdir().unwrap();
    super::write(&results(12), dir.path()).unwrap();
    let mut broken = results(24);
    broken.test_images[0].label = 99;
    let error = super::write(&broken, dir.path()).unwrap_err().to_string();
    assert!(error.contains("predictions.csv") && error.contains("species 99 of 24"), "{error}");
    broken.predictions[0].predicted.pop();
    let error = super::write(&broken, dir.path()).unwrap_err().to_string();
    assert!(error.contains("arm `augmented`, seed 0: 47 predictions"), "{error}");
    assert_eq!(fs::read_to_string(dir.path().join("report.html")).unwrap(), page(&results(12)));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5);
}

#[cfg(unix)]
#[test]
fn the_files_are_as_readable_as_any_other_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    super::write(&results(12), dir.path()).unwrap();
    fs::write(dir.path().join("plain"), "").unwrap();
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
    assert_eq!(mode("report.html"), mode("plain"));
}

#[test]
fn metrics_json_has_the_fields_that_scripts_rely_on() {
    let json: Value = serde_json::from_str(&file(&results(12), "metrics.json")).unwrap();
    let arm = &json["arms"][2];
    assert_eq!(arm["name"], "augmented");
    assert_eq!(arm["seeds"], serde_json::json!([0, 1, 2]));
    assert_eq!(arm["macro_accuracy"].as_array().unwrap().len(), 3);
    assert_eq!(arm["macro_accuracy"][0].as_f64(), Some(results(12).arms[2].macro_accuracy[0]));
    assert_eq!(arm["tail_accuracy"][1].as_f64(), results(12).arms[2].tail_accuracy[1]);
    assert_eq!(arm["species"][0]["name"], "INDIGO BUNTING");
    assert_eq!(arm["species"][0]["recall"].as_array().unwrap().len(), 3);
    let comparison = &json["comparisons"][1];
    for (field, expected) in [("difference", 0.0121), ("low", -0.0082), ("high", 0.0314), ("p", 0.237)] {
        assert_eq!(comparison[field].as_f64(), Some(expected), "{field}");
    }
    assert_eq!(
        [&comparison["arm"], &comparison["baseline"], &comparison["verdict"]],
        ["augmented", "real", "not shown"]
    );
    assert_eq!((&json["format"], &json["name"]), (&Value::from(1), &Value::from("birds24")));
}

#[test]
fn what_was_not_measured_is_null_an_empty_field_and_a_dash() {
    let mut r = results(12);
    r.comparisons.truncate(1);
    r.comparisons[0] = Comparison {
        low: None,
        high: None,
        p: None,
        p_unadjusted: None,
        tail: None,
        head: None,
        smallest_difference: None,
        ..r.comparisons[0].clone()
    };
    r.arms[0].tail_accuracy = vec![None; 3];
    r.history = vec![HistoryRow { arm: "real".into(), step: 10, loss: Some(f64::NAN), ..HistoryRow::default() }];
    let json: Value = serde_json::from_str(&file(&r, "metrics.json")).unwrap();
    assert!(json["comparisons"][0]["p"].is_null() && json["arms"][0]["tail_accuracy"][2].is_null());
    let csv = file(&r, "comparison.csv");
    assert_eq!(csv.lines().nth(1), Some("oversampled,real,0.0042,,,,not shown,0.95,,,,,,240,,0.00378,,,,,3,3"));
    assert_eq!(file(&r, "history.csv"), "arm,seed,step,loss,valid_accuracy,learning_rate\nreal,0,10,,,\n");
    let page = page(&r);
    assert!(page.contains("<td class=\"n\">+0.4</td><td class=\"n\">–</td><td class=\"n\">–</td>"));
    assert!(
        !page.contains("NaN") && prose(&page).contains("how small a difference that could show was not worked out")
    );
}

#[test]
fn an_absolute_path_is_not_written_anywhere() {
    let mut r = results(12);
    r.recipe = "/home/someone/recipes/birds24.toml".into();
    r.dataset = "/home/someone/data/birds24/".into();
    for (name, text) in written(&r) {
        assert!(!text.contains("/home") && !text.contains("someone"), "{name}");
    }
    let json: Value = serde_json::from_str(&file(&r, "metrics.json")).unwrap();
    assert_eq!((&json["recipe"], &json["dataset"]), (&Value::from("birds24.toml"), &Value::from("birds24")));
    assert_eq!(portable("data/birds"), "data/birds");
    assert_eq!(portable(r"C:\data\birds"), "birds");
}

#[test]
fn csv_fields_with_commas_and_quotes_are_quoted() {
    let mut r = results(12);
    r.species[0].name = r#"BIRD, "JOKE""#.into();
    r.test_images[0].path = "train/a,b.jpg".into();
    r.predictions[0].probability[0] = 0.25;
    let csv = file(&r, "predictions.csv");
    assert_eq!(csv.lines().next(), Some("arm,seed,path,label,predicted,probability"));
    let joke = r#""BIRD, ""JOKE""""#;
    assert_eq!(csv.lines().nth(1), Some(format!("augmented,0,\"train/a,b.jpg\",{joke},{joke},0.25").as_str()));
    assert_eq!(csv.lines().count(), 1 + 24);
    let mut reader = ::csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(&reader.records().next().unwrap().unwrap()[3], r#"BIRD, "JOKE""#);
}

#[test]
fn every_tag_of_the_page_is_closed() {
    for r in [results(12), results(60), empty()] {
        assert_balanced(&page(&r));
    }
}

#[test]
fn a_name_cannot_become_markup() {
    let mut r = results(12);
    let name = r#"<script>alert("1")</script> & CO's"#;
    r.species[11].name = name.into();
    r.gallery.iter_mut().for_each(|gallery| gallery.species = name.into());
    r.rejected.iter_mut().for_each(|image| image.species = name.into());
    r.rejected.iter_mut().for_each(|image| image.scores.nearest = Some(format!("train/{name}/1.jpg")));
    r.notes.push(name.into());
    r.arms[0].name = name.into();
    r.comparisons[0].baseline = name.into();
    r.name = name.into();
    let page = page(&r);
    assert_balanced(&page);
    assert!(!page.contains("<script") && !page.contains(r#"alert("1")"#));
    assert!(page.contains("&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; CO's"));
}

#[test]
fn the_page_fetches_nothing_and_runs_nothing() {
    let page = page(&results(60)).to_lowercase();
    for forbidden in [
        "http:",
        "https:",
        "src=\"//",
        "<script",
        "<link",
        "javascript:",
        "@import",
        "url(",
        " onload",
        " onclick",
        "<iframe",
    ] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    let sources = page.matches(" src=\"").count();
    assert!(sources > 0 && page.matches(" src=\"data:image/png;base64,").count() == sources);
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn every_picture_and_chart_says_what_it_shows_and_every_table_what_it_holds() {
    let page = page(&results(12));
    assert_eq!(page.matches("<img ").count(), page.matches(" alt=\"").count());
    assert!(!page.contains(" alt=\"\""));
    let charts = page.matches("<svg").count();
    assert_eq!(
        charts,
        page.matches("<svg class=\"chart\" viewBox").count() + page.matches("aria-hidden=\"true\"><").count()
    );
    assert_eq!(page.matches("<svg class=\"chart\"").count(), page.matches("role=\"img\" aria-label").count());
    assert_eq!(page.matches("<table").count(), page.matches("<caption>").count());
    assert!(page.contains("<html lang=\"en\">") && page.matches("<h1>").count() == 1);
}

#[test]
fn the_verdict_stands_first_in_plain_words() {
    let text = prose(&page(&results(12)));
    let verdict = text.find("Not shown: this test cannot tell whether the synthetic images helped or hurt.").unwrap();
    let evidence = "augmented against real: macro accuracy +1.2 points (95 % interval −0.8 to +3.1, p = 0.24).";
    assert!(text.find(evidence).unwrap() > verdict);
    assert!(
        text.contains("With 240 test images and 3 seeds, a true difference of about 3.4 points or more could be shown")
    );
    assert!(text.find("Images before and after").unwrap() > verdict);
    let mut r = results(12);
    r.comparisons[1].verdict = Verdict::Hurt;
    assert!(prose(&page(&r)).contains("The synthetic images hurt."));
    r.comparisons[1].verdict = Verdict::Helped;
    let text = prose(&page(&r));
    let reservation = "The synthetic images helped over “real” alone; that they do more than “oversampled”, without them, is not shown.";
    assert!(text.contains(reservation), "{text}");
    r.comparisons[2].verdict = Verdict::Hurt;
    assert!(super::headline(&r).ends_with("that they do more than “oversampled”, without them, is refuted."));
    r.comparisons[2].verdict = Verdict::Helped;
    assert!(prose(&page(&r)).contains("The synthetic images helped."));
    assert_eq!(super::headline(&r), "The synthetic images helped.");
}

#[test]
fn numbers_of_the_results_reach_the_page() {
    let text = prose(&page(&results(12)));
    for expected in [
        "Train images a species: 7 to 40 before, 32 to 40 after. One species got fewer synthetic images than the recipe asks for.",
        "RUFOUS HUMMINGBIRD † 7 25 28 8 33",
        "The filter rejected 37 of 227 candidates",
        "copy of a real image 12 0.9",
        "Some of them 6 of 37 shown",
        "kept (310) rejected for any reason (58)",
        "FID 41.2 12.3 310 412 206 classifier ≤ 80 yes",
        "FID lies 28.9 above its floor: by these features the synthetic images are farther from the real ones than real images",
        "The least tested species has 10 test images: one of them moves its recall by 10.0 points in a seed",
        "KID 0.0312 0.0004 310 412 206 classifier – –",
        "it names 66.7 % of the validation images rightly, and 74.1 % of 227 candidates before the filter",
        "RUFOUS HUMMINGBIRD: 3 of 36 wanted images are missing, all 54 candidates are used.",
        "birdaug build recipes/birds24.toml",
        "ddpm, img2img at 32 px, dpm++2m with 25 steps, guidance 2, strength 0.7, bf16, fitted here for 4,000 steps",
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
}

#[test]
fn a_species_without_test_images_has_no_recall_rather_than_none_right() {
    let mut r = results(12);
    r.species[3].test = 0;
    r.arms.iter_mut().for_each(|arm| arm.species[3].recall = vec![None; 3]);
    let text = prose(&page(&r));
    assert!(text.contains("ORCHARD ORIOLE 31 9 0 – – – –"), "{text}");
}

#[test]
fn a_build_without_arms_or_images_says_so_in_words() {
    let text = prose(&page(&empty()));
    for expected in [
        "No arms were compared, so nothing is said about whether the images help.",
        "No species was counted.",
        "No synthetic image was kept, so there is none to show.",
        "No candidate was made, so none was rejected.",
        "The copy guard was off",
        "No set metric was measured.",
        "No arm was trained.",
        "No arm was tested species by species.",
        "No training was recorded.",
    ] {
        assert!(text.contains(expected), "{expected}");
    }
    let json: Value = serde_json::from_str(&file(&empty(), "metrics.json")).unwrap();
    assert_eq!((&json["arms"], &json["generator"]), (&serde_json::json!([]), &Value::Null));
    assert_eq!(file(&empty(), "predictions.csv"), "arm,seed,path,label,predicted,probability\n");
    let mut none_rejected = results(12);
    none_rejected.rejected.clear();
    none_rejected.rejections.clear();
    none_rejected.species.iter_mut().for_each(|s| s.rejected = 0);
    assert!(prose(&page(&none_rejected)).contains("The filter rejected none of the 227 candidates."));
}

#[test]
fn five_hundred_species_with_large_pictures_stay_a_few_megabytes() {
    let mut r = results(525);
    let large = || {
        let mut bytes = fixture::PIXEL.to_vec();
        bytes.resize(15_000, 0);
        Picture(bytes)
    };
    r.gallery = r.species.iter().map(|s| Gallery { species: s.name.clone(), real: vec![], kept: vec![] }).collect();
    for gallery in &mut r.gallery {
        gallery.real = vec![RealImage { picture: large(), path: "a".into() }; 20];
        gallery.kept = vec![KeptImage { picture: large(), ..KeptImage::default() }; 20];
    }
    r.rejected = vec![RejectedImage { picture: large(), ..r.rejected[0].clone() }; 500];
    let page = page(&r);
    assert!(page.len() < 7 << 20, "{} bytes", page.len());
    assert_balanced(&page);
    let text = prose(&page);
    assert!(text.contains("All 525 species") && text.contains("more species with synthetic images: see manifest.csv"));
    assert!(text.contains("Largest gains") && text.contains("RUFOUS HUMMINGBIRD 42"));
    assert_eq!(
        page.matches("alt=\"rejected candidate for").count(),
        GALLERY_REJECTED,
        "the gallery leaves room for them"
    );
}
