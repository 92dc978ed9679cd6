//! The sample as its users see it: pictures that depend on their key alone, a tree and a table that agree.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn digest(image: &RgbImage) -> String {
    blake3::hash(image.as_raw()).to_hex().to_string()
}

/// Few and small, so that a test takes a second.
fn few() -> Options {
    Options { seed: 3, size: 32, species: 4, commonest: 8, rarest: 2, valid: 1, test: 2 }
}

/// Every file below a folder, by its path with forward slashes.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    walkdir::WalkDir::new(root)
        .into_iter()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| {
            let path = entry.path().strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/");
            (path, fs::read(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn a_picture_depends_on_its_key_alone_on_every_machine() {
    assert_eq!(digest(&draw(0, 0, 0, 64)), "6ae53d56c2ef6aa8ff05c2d229ca82d9f317b0273b2500de6de8871945179ced");
    assert_eq!(digest(&draw(8, 7, 3, 64)), "749828045dcfd475ae035b7e2c964bbf2c4bc27bf43e41149e7e623adbc48d7d");
    let base = digest(&draw(0, 0, 0, 48));
    assert_eq!(base, digest(&draw(0, 0, 0, 48)));
    assert_ne!(base, digest(&draw(0, 1, 0, 48)), "another seed");
    assert_ne!(base, digest(&draw(0, 0, 1, 48)), "another index");
}

#[test]
fn any_two_species_differ_and_every_size_works() {
    let seen: BTreeSet<String> = (0..SPECIES.len()).map(|species| digest(&draw(species, 0, 0, 32))).collect();
    assert_eq!(seen.len(), SPECIES.len());
    for size in [16, 32, 97, 224, 512] {
        let image = draw(5, 0, 4, size);
        assert_eq!(image.dimensions(), (size, size));
        let tones: BTreeSet<[u8; 3]> = image.pixels().map(|pixel| pixel.0).collect();
        assert!(tones.len() > 100, "{} tones at {size}", tones.len());
    }
}

#[test]
fn the_same_scene_is_drawn_at_every_size() {
    let small = draw(6, 1, 2, 56);
    let large = image::imageops::thumbnail(&draw(6, 1, 2, 224), 56, 56);
    let off: f64 = small.as_raw().iter().zip(large.as_raw()).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()).sum();
    let other = draw(6, 1, 3, 56);
    let far: f64 = small.as_raw().iter().zip(other.as_raw()).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()).sum();
    assert!(off < far / 4.0, "{off} against {far}");
}

#[test]
fn names_are_unique_and_every_part_of_a_bird_is_painted() {
    let names: BTreeSet<&str> = SPECIES.iter().map(|species| species.name).collect();
    let scientific: BTreeSet<&str> = SPECIES.iter().map(|species| species.scientific).collect();
    assert!(SPECIES.len() >= 12);
    assert_eq!((names.len(), scientific.len()), (SPECIES.len(), SPECIES.len()));
    for species in SPECIES {
        let pose = anatomy::Pose::draw(species, &mut Source::new(0, species.name, 0, "pose"));
        let bird = anatomy::Bird::pose(species, &pose);
        assert!(bird.solids.len() < 64, "{}", species.name);
        for skin in &bird.skins {
            let painted = species.plumage.iter().any(|layer| layer.part == skin.part);
            assert!(painted, "{}: {:?}", species.name, skin.part);
        }
    }
}

#[test]
fn train_has_a_long_tail_and_the_usual_size_by_default() {
    let options = Options::default();
    let counts: Vec<usize> = (0..options.species).map(|rank| train_count(&options, rank)).collect();
    assert_eq!(counts, [60, 50, 42, 35, 29, 24, 20, 17, 14, 12, 10, 8]);
    let one = Options { species: 1, ..few() };
    assert_eq!(train_count(&one, 0), 8);
}

#[test]
fn a_dataset_has_kaggles_layout_and_its_table_names_every_file() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("deep/birds");
    let written = write(&root, &few()).unwrap();
    assert_eq!(written, Written { species: 4, train: 8 + 5 + 3 + 2, valid: 4, test: 8 });

    let mut found = files(&root);
    let table = String::from_utf8(found.remove("birds.csv").unwrap()).unwrap();
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("class id,filepaths,labels,data set,scientific name"));
    assert_eq!(lines.next(), Some("0,train/CRIMSON TANAGER/001.jpg,CRIMSON TANAGER,train,PYRRHANGA ARDENS"));
    let mut named = BTreeSet::new();
    let mut ids = BTreeMap::new();
    for line in table.lines().skip(1) {
        let [id, path, label, split, _] = line.split(',').collect::<Vec<_>>().try_into().unwrap();
        assert!(path.starts_with(&format!("{split}/{label}/")), "{line}");
        assert_eq!(*ids.entry(label.to_string()).or_insert(id.to_string()), id);
        named.insert(path.to_string());
    }
    assert_eq!(named, found.keys().cloned().collect());
    assert_eq!(ids.values().collect::<BTreeSet<_>>().len(), 4);
    let distinct: BTreeSet<_> = found.values().collect();
    assert_eq!(distinct.len(), found.len(), "no picture twice");
    for (path, bytes) in &found {
        let image = image::load_from_memory_with_format(bytes, image::ImageFormat::Jpeg).unwrap();
        assert_eq!((image.width(), image.height()), (32, 32), "{path}");
    }
    let beside: Vec<_> = fs::read_dir(root.parent().unwrap()).unwrap().collect();
    assert_eq!(beside.len(), 1, "nothing temporary is left");
}

#[test]
fn the_same_seed_writes_the_same_bytes_and_more_pictures_change_none() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, options: &Options| {
        let root = folder.path().join(name);
        write(&root, options).unwrap();
        files(&root)
    };
    let first = at("first", &few());
    assert_eq!(first, at("again", &few()));
    let seeded = at("seeded", &Options { seed: 4, ..few() });
    assert!(first.iter().all(|(path, bytes)| path == "birds.csv" || seeded[path] != *bytes));
    let more = at("more", &Options { commonest: 9, rarest: 3, test: 3, ..few() });
    assert!(first.iter().all(|(path, bytes)| path == "birds.csv" || more[path] == *bytes));
}

#[test]
fn a_folder_with_something_in_it_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine.txt"), "keep").unwrap();
    let error = write(folder.path(), &few()).unwrap_err();
    let expected =
        format!("`{}` is not empty\n  help: name a new folder, or delete what is in this one", folder.path().display());
    assert_eq!(error.to_string(), expected);
    assert_eq!(files(folder.path()).keys().collect::<Vec<_>>(), ["mine.txt"]);

    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    write(&empty, &few()).unwrap();
    assert!(empty.join("birds.csv").is_file());

    let error = write(&folder.path().join("mine.txt"), &few()).unwrap_err();
    assert!(error.to_string().starts_with("could not list `"), "{error}");
}

#[test]
fn impossible_numbers_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("birds");
    let most = SPECIES.len();
    let refused = [
        (Options { species: 0, ..few() }, format!("there are 1 to {most} species to draw, not 0")),
        (Options { species: most + 1, ..few() }, format!("there are 1 to {most} species to draw, not {}", most + 1)),
        (Options { size: 8, ..few() }, "a picture's side is 16 to 4096 pixels, not 8".to_string()),
        (
            Options { commonest: 2, rarest: 3, ..few() },
            "the commonest species (2) needs at least as many pictures as the rarest (3), and that one 1".to_string(),
        ),
    ];
    for (options, message) in refused {
        let error = write(&root, &options).unwrap_err();
        assert_eq!((error.to_string(), error.exit_code()), (message, 2));
    }
    assert!(!root.exists());
}
