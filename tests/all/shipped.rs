//! What is shipped works: recipes, the sample, the smaller commands.

use std::fs;
use std::path::Path;

use super::checkpoint;
use super::place::Place;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_shipped_recipe_is_a_right_one() {
    let mut seen = 0;
    for entry in fs::read_dir(root().join("recipes")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            birdaug::recipe::load(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen} recipes");
}

#[test]
fn every_toml_block_of_the_readme_is_a_right_recipe() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let blocks: Vec<&str> = readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(!blocks.is_empty());
    for block in blocks {
        // A block may show one table alone.
        let dataset = if block.contains("[dataset]") { "" } else { "[dataset]\nroot = \"data/birds\"\n" };
        let generator = if block.contains("[generator]") { "" } else { "[generator]\nkind = \"ddpm\"\n" };
        let whole = format!("{dataset}{generator}{block}");
        birdaug::recipe::parse(&whole, Path::new("readme.toml")).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn the_full_size_recipe_plans_on_a_dataset_of_kaggles_layout() {
    let place = Place::empty();
    let drawn = birdaug::dataset::sample::Options {
        size: 32,
        species: 3,
        commonest: 8,
        rarest: 5,
        valid: 1,
        test: 1,
        ..Default::default()
    };
    birdaug::dataset::sample::write(&place.path("data/birds"), &drawn).unwrap();
    // The folders that the recipe mends and leaves out.
    let some: Vec<_> = fs::read_dir(place.path("data/birds/train")).unwrap().map(|e| e.unwrap().path()).collect();
    for (split, name) in [("train", "PARAKETT  AUKLET"), ("valid", "PARAKETT AUKLET"), ("train", "LOONEY BIRDS")] {
        let folder = place.path(&format!("data/birds/{split}/{name}"));
        fs::create_dir_all(&folder).unwrap();
        for (i, file) in fs::read_dir(&some[0]).unwrap().enumerate() {
            let mut bytes = fs::read(file.unwrap().path()).unwrap();
            // Bytes after the end marker make another file of the same picture.
            bytes.extend(format!("{split}{name}{i}").bytes());
            fs::write(folder.join(format!("{i}.jpg")), bytes).unwrap();
        }
    }
    fs::create_dir_all(place.path("recipes")).unwrap();
    fs::copy(root().join("recipes/balanced.toml"), place.path("recipes/balanced.toml")).unwrap();
    let missing = place.run(&["plan", "recipes/balanced.toml"]).exits(1);
    assert!(missing.stderr.ends_with("`models/sd15`: there is no such checkpoint\n"), "{}", missing.stderr);
    checkpoint::write(&place);
    fs::create_dir(place.path("models")).unwrap();
    fs::rename(place.path("model"), place.path("models/sd15")).unwrap();
    let plan = place.run(&["plan", "recipes/balanced.toml", "--json"]).exits(0).json();
    let names: Vec<&str> =
        plan["species"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(names.contains(&"PARAKETT AUKLET") && !names.contains(&"LOONEY BIRDS"), "{names:?}");
    assert!(plan["to_make"].as_u64().unwrap() > 0);
}

#[test]
fn init_writes_a_recipe_that_plans_and_mends_a_misspelt_species() {
    let place = Place::new();
    let species = fs::read_dir(place.path("birds/test")).unwrap().next().unwrap().unwrap().file_name();
    let species = species.to_string_lossy().into_owned();
    let twice = species.replacen(' ', "  ", 1);
    fs::rename(place.path(&format!("birds/test/{species}")), place.path(&format!("birds/test/{twice}"))).unwrap();
    let said = place.run(&["init", "birds", "-o", "recipes/birds.toml"]).exits(0);
    assert!(said.stdout.starts_with("recipes/birds.toml: written"), "{}", said.stdout);
    let text = fs::read_to_string(place.path("recipes/birds.toml")).unwrap();
    assert!(text.contains(&format!("\"{twice}\" = \"{species}\"")), "{text}");
    place.run(&["plan", "recipes/birds.toml"]).exits(0);
    place.run(&["init", "birds", "-o", "recipes/birds.toml"]).exits(1);
}

#[test]
fn audit_finds_planted_defects_and_names_them_in_json() {
    let place = Place::new();
    let species = fs::read_dir(place.path("birds/train")).unwrap().next().unwrap().unwrap().path();
    let photo = fs::read_dir(&species).unwrap().next().unwrap().unwrap().path();
    let name = species.file_name().unwrap().to_string_lossy().into_owned();
    fs::copy(&photo, place.path(&format!("birds/test/{name}/copy.jpg"))).unwrap();
    fs::write(species.join("broken.jpg"), b"no image").unwrap();
    let findings = place.run(&["audit", "birds", "--json"]).exits(0).json();
    let kinds: Vec<&str> =
        findings["findings"].as_array().unwrap().iter().map(|f| f["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"unreadable") && kinds.contains(&"exact-duplicate"), "{kinds:?}");
    for finding in findings["findings"].as_array().unwrap() {
        for field in ["files", "message", "fix"] {
            assert!(!finding[field].is_null(), "{field}");
        }
    }
    let text = place.run(&["audit", "birds"]).exits(0).stdout;
    assert!(text.contains("exact-duplicate\n  "), "{text}");
}

#[test]
fn doctor_tells_libtorch_devices_features_and_the_cache() {
    let place = Place::empty();
    let text = place.run(&["doctor"]).exits(0).stdout;
    for word in ["libtorch      2.11.0 (/", "devices       cpu", "cpu features", "cache         cache: not made yet"] {
        assert!(text.contains(word), "no `{word}` in:\n{text}");
    }
    let json = place.run(&["doctor", "--json"]).exits(0).json();
    assert_eq!(json["libtorch"], "2.11.0");
    assert!(json["devices"].as_array().unwrap().iter().any(|device| device == "cpu"));
}

#[test]
fn the_binary_runs_from_anywhere_without_a_library_path() {
    let place = Place::empty();
    fs::create_dir_all(place.path("deep/down")).unwrap();
    place.run(&["-C", "deep/down", "doctor"]).exits(0);
    let said = place.run(&["-C", "nowhere", "doctor"]).exits(1);
    assert!(said.stderr.contains("could not work in `nowhere`"), "{}", said.stderr);
}

#[test]
fn sample_refuses_a_folder_with_something_in_it() {
    let place = Place::empty();
    place.write("full/file", b"x");
    let said = place.run(&["sample", "full"]).exits(1);
    assert!(said.stderr.contains("`full`") && said.stderr.contains("help: "), "{}", said.stderr);
}

#[test]
fn ssim_of_two_folders_pairs_files_of_the_same_name() {
    let place = Place::new();
    let species = fs::read_dir(place.path("birds/train")).unwrap().next().unwrap().unwrap().file_name();
    let folder = format!("birds/train/{}", species.to_string_lossy());
    let json = place.run(&["metrics", "ssim", &folder, &folder, "--json"]).exits(0).json();
    assert_eq!(json["mean"], 1.0);
    assert!(json["pairs"].as_array().unwrap().iter().all(|pair| pair["ssim"] == 1.0 && pair["name"].is_string()));
    let said = place.run(&["metrics", "ssim", &folder, "nowhere"]).exits(1);
    assert!(said.stderr.contains("`nowhere`"), "{}", said.stderr);
}

#[test]
fn the_report_can_be_written_again_from_the_cache() {
    let place = Place::new();
    let early = place.run(&["report", "recipes/tiny.toml"]).exits(3);
    assert!(early.stderr.contains("the results are not complete: "), "{}", early.stderr);
    place.build();
    let before = place.files("results/tiny");
    fs::remove_dir_all(place.path("results")).unwrap();
    let said = place.run(&["report", "recipes/tiny.toml"]).exits(0);
    assert!(said.stdout.contains("report: results/tiny/report.html"), "{}", said.stdout);
    assert_eq!(place.files("results/tiny"), before);
}

#[test]
fn the_recipe_for_real_photos_plans_on_them() {
    if !root().join("../shared/data/birds24").exists() {
        println!("skipped: no ../shared");
        return;
    }
    let place = Place::empty();
    let text = fs::read_to_string(root().join("recipes/birds24.toml")).unwrap();
    let real = root().join("../shared/data/birds24").canonicalize().unwrap();
    place.write("recipes/birds24.toml", text.replace("../shared/data/birds24", real.to_str().unwrap()).as_bytes());
    let plan = place.run(&["plan", "recipes/birds24.toml", "--json"]).exits(0).json();
    let species = plan["species"].as_array().unwrap();
    assert_eq!(species.len(), 24);
    let real: Vec<u64> = species.iter().map(|row| row["real"].as_u64().unwrap()).collect();
    let (rarest, commonest) = (*real.iter().min().unwrap(), *real.iter().max().unwrap());
    assert!((3..=6).contains(&rarest) && commonest >= 40, "{rarest} to {commonest}");
}

#[test]
fn completions_are_printed() {
    let said = Place::empty().run(&["completions", "bash"]).exits(0);
    assert!(said.stdout.contains("_birdaug"), "{}", said.stdout);
}

#[test]
fn the_size_rule_of_the_recipe_is_the_networks_own() {
    for size in [16, 24, 32, 40, 48, 64, 72, 96, 128] {
        for levels in [vec![1], vec![1, 2], vec![1, 2, 3], vec![1, 1, 2, 2]] {
            let text =
                format!("[dataset]\nroot = \"x\"\n[generator]\nkind = \"ddpm\"\nsize = {size}\nlevels = {levels:?}\n");
            let recipe = birdaug::recipe::parse(&text, Path::new("r.toml")).is_ok();
            let config =
                birdaug::diffusion::unet::Config { size, width: 64, levels: levels.clone(), depth: 2, classes: 3 };
            assert_eq!(recipe, config.check().is_ok(), "size {size}, levels {levels:?}");
        }
    }
}
