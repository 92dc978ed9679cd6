//! `birdaug why`: every reason back to the line or the file behind it, and the stories of species, keys and files.

use std::fs;

use serde_json::Value;

use super::place::{Place, RECIPE};

fn unfiltered() -> String {
    RECIPE.replace("ssim_max = 0.99", "ssim_max = false")
}

/// The line of the recipe that says this.
#[track_caller]
fn line_of(recipe: &str, text: &str) -> usize {
    1 + recipe.lines().position(|line| line.starts_with(text)).unwrap_or_else(|| panic!("no line `{text}`"))
}

fn why(place: &Place) -> Value {
    place.run(&["why", "recipes/tiny.toml", "--json"]).exits(0).json()
}

fn step<'v>(json: &'v Value, name: &str) -> &'v Value {
    json["steps"].as_array().unwrap().iter().find(|step| step["name"] == name).unwrap()
}

/// The species with so many real photos.
fn species_of(place: &Place, real: u64) -> String {
    let plan = place.plan();
    let rows = plan["species"].as_array().unwrap();
    rows.iter().find(|row| row["real"] == real).unwrap()["name"].as_str().unwrap().to_string()
}

#[test]
fn a_setting_of_candidates_is_traced_to_its_line_with_both_values() {
    let place = Place::new();
    place.recipe(&unfiltered());
    place.build();
    let edited = unfiltered().replace("guidance = 1.5", "guidance = 2.5");
    place.recipe(&edited);
    let json = why(&place);
    let line = line_of(&edited, "guidance");
    let (rare, middle) = (species_of(&place, 4), species_of(&place, 5));
    let mut names = [rare, middle];
    names.sort();
    assert_eq!(
        step(&json, "candidates")["why"][0],
        format!("3 candidates ({}): recipes/tiny.toml:{line}: [generator] guidance 1.5 -> 2.5", names.join(", "))
    );
    let cause = &step(&json, "candidates")["causes"][0];
    assert_eq!((&cause["field"], &cause["line"]), (&Value::from("generator.guidance"), &Value::from(line)));
    assert_eq!((&cause["old"], &cause["new"]), (&Value::from("1.5"), &Value::from("2.5")));
    assert_eq!(cause["file"], "recipes/tiny.toml");
    assert_eq!(step(&json, "generator")["state"], "fresh");
    // A line that is gone leaves the default.
    place.recipe(&unfiltered().replace("guidance = 1.5\n", ""));
    let reason = step(&why(&place), "candidates")["why"][0].as_str().unwrap().to_string();
    assert!(reason.contains("recipes/tiny.toml: [generator] guidance 1.5 -> "), "{reason}");
    assert!(reason.ends_with("(not said there: the default)"), "{reason}");
}

#[test]
fn more_images_and_another_threshold_are_traced_though_they_stand_in_no_key() {
    let place = Place::new();
    place.recipe(&unfiltered());
    place.build();
    let edited = unfiltered().replace("target = 6", "target = 8");
    place.recipe(&edited);
    let reasons = step(&why(&place), "candidates")["why"].to_string();
    let line = line_of(&edited, "target");
    assert!(reasons.contains(&format!("recipes/tiny.toml:{line}: [balance] target 6 -> 8")), "{reasons}");
    place.build();
    // Every image has a likeness above this, so that all but few fall; the tree then changes.
    let edited = edited.replace("target = 8", "target = 5");
    place.recipe(&edited);
    let reasons = step(&why(&place), "emit")["why"].to_string();
    assert!(!reasons.is_empty(), "{reasons}");
    let report = step(&why(&place), "arms")["why"].to_string();
    assert!(report.contains("classifier augmented seed 0: "), "{report}");
}

#[test]
fn photos_added_removed_and_changed_are_named_by_their_files() {
    let place = Place::new();
    place.build();
    let species = species_of(&place, 6);
    let folder = place.path(&format!("birds/train/{species}"));
    let photos = place.photos("train", &species);
    let name = |i: usize| format!("train/{species}/{}", photos[i].file_name().unwrap().to_string_lossy());
    fs::remove_file(&photos[1]).unwrap();
    let json = why(&place);
    let reason = step(&json, "generator")["why"][0].as_str().unwrap();
    assert_eq!(reason, format!("generator: train photos: 1 photo removed ({})", name(1)));
    let mut bytes = fs::read(&photos[0]).unwrap();
    bytes.extend(b"another file of the same picture");
    fs::write(folder.join("new.jpg"), bytes).unwrap();
    let json = why(&place);
    let reason = step(&json, "generator")["why"][0].as_str().unwrap();
    let new = format!("train/{species}/new.jpg");
    assert_eq!(reason, format!("generator: train photos: 1 photo added ({new}), 1 photo removed ({})", name(1)));
    let photos = &step(&json, "generator")["causes"][0]["photos"];
    assert_eq!((&photos[0]["change"], &photos[0]["path"]), (&Value::from("added"), &Value::from(new)));
}

#[test]
fn a_copy_of_a_photo_is_named_by_its_own_path() {
    let place = Place::new();
    place.build();
    let species = species_of(&place, 6);
    let folder = place.path(&format!("birds/train/{species}"));
    let photos = place.photos("train", &species);
    fs::copy(&photos[0], folder.join("zz copy.jpg")).unwrap();
    let json = why(&place);
    let reason = step(&json, "generator")["why"][0].as_str().unwrap();
    assert_eq!(reason, format!("generator: train photos: 1 photo added (train/{species}/zz copy.jpg)"));
}

#[test]
fn a_species_of_another_name_is_told_as_one_and_how_to_keep_the_old_name() {
    let place = Place::new();
    place.build();
    let tree = place.files("out/tiny");
    let species = species_of(&place, 4);
    let other = format!("{} ", species.to_lowercase().replace(' ', "  ")).trim_end().to_string();
    assert_ne!(species, other);
    for split in ["train", "valid", "test"] {
        let folder = |name: &str| place.path(&format!("birds/{split}/{name}"));
        fs::rename(folder(&species), folder(&other)).unwrap();
    }
    let json = why(&place);
    let of = format!(" of `{species}` now of `{other}`");
    let generator = step(&json, "generator")["why"][0].as_str().unwrap();
    assert_eq!(generator, format!("generator: train photos: 4 photos{of}"));
    let change = &step(&json, "generator")["causes"][0]["photos"][0];
    assert_eq!((&change["was"], &change["species"]), (&species.as_str().into(), &other.as_str().into()));
    let notes = place.plan()["notes"].to_string();
    let mend = format!("rename = {{ \\\"{other}\\\" = \\\"{species}\\\" }}");
    assert!(notes.contains(&format!("`{species}` is called `{other}` now")) && notes.contains(&mend), "{notes}");
    // With what the note says, nothing is made again, and the tree keeps its names.
    let mended = RECIPE.replacen("[dataset]", &format!("[dataset]\nrename = {{ \"{other}\" = \"{species}\" }}"), 1);
    place.recipe(&mended);
    let plan = place.plan();
    let states = |name: &str| step(&plan, name)["state"].clone();
    assert_eq!((&plan["to_make"], states("generator"), states("arms")), (&0.into(), "fresh".into(), "fresh".into()));
    place.build();
    assert_eq!(place.files("out/tiny").keys().collect::<Vec<_>>(), tree.keys().collect::<Vec<_>>());
    // Without it, the build says it before it begins, and once.
    place.recipe(RECIPE);
    let said = place.run(&["build", "recipes/tiny.toml"]).exits(0).stderr;
    assert!(said.contains(&format!("`{species}` is called `{other}` now")), "{said}");
    assert_eq!(place.plan()["notes"].to_string().matches("is called").count(), 0);
}

#[test]
fn another_encoding_is_traced_to_its_line() {
    let place = Place::new();
    place.recipe(&unfiltered());
    place.build();
    let edited = unfiltered().replacen("[emit]", "[emit]\nencode = { format = \"png\" }", 1);
    assert_ne!(edited, unfiltered());
    place.recipe(&edited);
    let reason = step(&why(&place), "emit")["why"][0].as_str().unwrap().to_string();
    let line = line_of(&edited, "encode");
    let cause = format!(": recipes/tiny.toml:{line}: [emit.encode] format the default -> \"png\"");
    assert!(reason.contains(" to be encoded as ") && reason.ends_with(&cause), "{reason}");
}

#[test]
fn a_species_tells_what_it_has_wants_kept_and_dropped() {
    let place = Place::new();
    place.build();
    let species = species_of(&place, 4);
    let what = format!("species:{species}");
    let json = place.run(&["why", "recipes/tiny.toml", &what, "--json"]).exits(0).json();
    assert_eq!((&json["real"], &json["wanted"], &json["to_make"]), (&4.into(), &2.into(), &0.into()));
    let (looked_at, kept) = (json["looked_at"].as_u64().unwrap(), json["kept"].as_u64().unwrap());
    let dropped: u64 = json["dropped"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!((looked_at, kept), (kept + dropped, 2));
    assert_eq!(json["in_lock"], serde_json::json!([looked_at, kept]));
    assert_eq!(json["due"].as_array().unwrap().len(), 0);

    place.recipe(&RECIPE.replace("[balance.species]", &format!("[balance.species]\n\"{species}\" = 9")));
    let text = place.run(&["why", "recipes/tiny.toml", &what]).exits(0).stdout;
    assert!(text.contains("  wanted       9\n") && text.contains("not known before what is due is done"), "{text}");
    let wrong = place.run(&["why", "recipes/tiny.toml", &format!("species:{species}S")]).exits(1);
    assert!(wrong.stderr.contains(&format!("did you mean `{species}`?")), "{}", wrong.stderr);
}

#[test]
fn a_key_is_taken_apart_in_the_order_of_its_fields() {
    let place = Place::new();
    place.build();
    let tree = place.files("out/tiny");
    let synthetic = tree.keys().find(|path| path.contains("/synthetic-")).unwrap();
    let prefix = &synthetic.rsplit("synthetic-").next().unwrap()[..12];
    let what = format!("key:{prefix}");
    let json = place.run(&["why", "recipes/tiny.toml", &what, "--json"]).exits(0).json();
    let record = &json[0];
    assert_eq!(json.as_array().unwrap().len(), 1);
    assert_eq!((&record["kind"], &record["version"]), (&"candidate".into(), &1.into()));
    let fields: Vec<&str> =
        record["fields"].as_array().unwrap().iter().map(|field| field[0].as_str().unwrap()).collect();
    assert_eq!(fields[..4], ["generator", "species", "class", "generator.mode"]);
    assert_eq!(fields.last(), Some(&"index"));
    assert_eq!(record["outputs"][0][0], "image");
    assert_eq!(record["outputs"][0][2], true);
    let notes: Vec<&str> = record["notes"].as_array().unwrap().iter().map(|note| note[0].as_str().unwrap()).collect();
    assert!(["engine", "libtorch", "device"].iter().all(|note| notes.contains(note)), "{notes:?}");
    let text = place.run(&["why", "recipes/tiny.toml", &what]).exits(0).stdout;
    assert!(text.contains("generator.sampler") && text.contains("note device"), "{text}");
    // The empty prefix is everybody's.
    let all = place.run(&["why", "recipes/tiny.toml", "key:"]).exits(0).stdout;
    assert!(all.contains("records begin so:") && all.contains("  ddpm fit\n"), "{all}");
    let none = place.run(&["why", "recipes/tiny.toml", "key:zz"]).exits(1);
    assert!(none.stderr.contains("no record whose key begins with `zz`"), "{}", none.stderr);
}

#[test]
fn a_file_of_the_tree_tells_its_model_source_scores_and_siblings() {
    let place = Place::new();
    // Two from each of four photos; the half of the species' candidates have a sibling.
    let species = species_of(&place, 4);
    place.recipe(
        &unfiltered()
            .replace("mode = \"txt2img\"", "mode = \"img2img\"\nstrength = 0.5")
            .replace("[balance.species]", &format!("[balance.species]\n\"{species}\" = 8")),
    );
    place.build();
    let tree = place.files("out/tiny");
    let mine = format!("train/{species}/synthetic-");
    let synthetic = tree.keys().find(|path| path.starts_with(&mine)).unwrap();
    let path = format!("out/tiny/{synthetic}");
    let json = place.run(&["why", &path, "--json"]).exits(0).json();
    assert_eq!(json["changed"], false);
    let manifest = &json["manifest"];
    assert!(manifest["source"].as_str().unwrap().starts_with(&format!("train/{species}/")));
    for field in ["key", "seed", "ssim", "confidence", "verdict", "digest"] {
        assert!(manifest[field].is_string(), "{field}");
    }
    assert_eq!(json["candidate"]["key"], manifest["key"]);
    let weights = &json["candidate"]["fields"][0][1];
    assert_eq!(json["generator"]["kind"], "ddpm fit");
    assert_eq!(&json["generator"]["outputs"][0][1], weights);
    let siblings = json["siblings"].as_array().unwrap();
    assert_eq!(siblings.len(), 1);
    assert_ne!(siblings[0]["key"], manifest["key"]);
    assert_eq!(siblings[0]["verdict"], "keep");
    assert_eq!(json["species_verdicts"], serde_json::json!({ "keep": 8 }));
    // With the recipe, by the path in the tree; and from inside of the tree.
    let again = place.run(&["why", "recipes/tiny.toml", synthetic]).exits(0).stdout;
    assert!(again.contains("from the same photo:\n") && again.contains("with weights of ddpm fit"), "{again}");
    let inside = place.run(&["-C", "out/tiny", "--cache", "../../cache", "why", synthetic]).exits(0).stdout;
    assert!(inside.contains("made by candidate"), "{inside}");

    let real = tree.keys().find(|path| path.starts_with("test/")).unwrap();
    let json = place.run(&["why", "recipes/tiny.toml", real, "--json"]).exits(0).json();
    assert_eq!((&json["manifest"]["origin"], &json["candidate"]), (&"real".into(), &Value::Null));
    let wrong = place.run(&["why", "recipes/tiny.toml", "birds/birds.csv"]).exits(1);
    assert!(wrong.stderr.contains("is in no emitted tree"), "{}", wrong.stderr);
    place.run(&["why", "recipes/tiny.toml", "nowhere.jpg"]).exits(2);
}

/// Every source file below a folder, without its tests.
fn sources(folder: &std::path::Path, out: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !path.to_string_lossy().ends_with("tests.rs")
        {
            out.push(fs::read_to_string(&path).unwrap().split("#[cfg(test)]").next().unwrap().to_string());
        }
    }
}

#[test]
fn the_constitution_of_the_keys_names_every_kind_of_work() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let constitution = fs::read_to_string(root.join("plan/inputs.rs")).unwrap();
    let mut texts = Vec::new();
    sources(&root, &mut texts);
    let mut kinds: Vec<String> = texts
        .iter()
        .flat_map(|text| text.split("Inputs::new(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_string()))
        .collect();
    kinds.sort();
    kinds.dedup();
    assert!(kinds.len() >= 16, "{kinds:?}");
    for kind in kinds {
        assert!(constitution.contains(&format!("//! | {kind} | ")), "`{kind}` is not in the table of plan/inputs.rs");
    }
}
