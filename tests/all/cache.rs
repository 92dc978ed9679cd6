//! The cache as a store: checked, refused, read from elsewhere, joined, and thinned out.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

use birdaug::store::{Record, Store};

use super::place::{Place, made};

/// Every file below a folder with its bytes and its time.
fn state(place: &Place, folder: &str) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let time = |name: &str| fs::metadata(place.path(folder).join(name)).unwrap().modified().unwrap();
    place.files(folder).into_iter().map(|(name, bytes)| (name.clone(), (bytes, time(&name)))).collect()
}

fn overwrite(path: &Path, bytes: &[u8]) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_check_finds_each_damage_once_and_says_so_as_json_too() {
    let place = Place::empty();
    let store = Store::open(&place.path("cache")).unwrap();
    let (bird, owl) = (store.put(b"bird").unwrap(), store.put(b"owl").unwrap());
    store.commit(&[Record::of(vec![1]).output("image", bird), Record::of(vec![2]).output("image", owl)]).unwrap();
    store.commit(&[Record::of(vec![3]), Record::of(vec![4])]).unwrap();
    store.keep_unfinished(&[5; 32], b"half way").unwrap();
    store.keep_unfinished(&[6; 32], b"half way").unwrap();
    let whole = place.run(&["cache", "check", "--json"]).exits(0).json();
    assert_eq!((&whole["blobs"], &whole["records"], &whole["unfinished"]), (&2.into(), &4.into(), &2.into()));
    assert_eq!(whole["damage"].as_array().unwrap().len(), 0);

    overwrite(&store.blob_path(&bird), b"bard");
    let unfinished = place.path("cache/unfinished").join("05".repeat(32));
    fs::write(&unfinished, b"short").unwrap();
    let log = place.path("cache/records.log");
    let mut bytes = fs::read(&log).unwrap();
    let last = bytes.len() - 60;
    bytes[last] ^= 4;
    fs::write(&log, bytes).unwrap();
    let found = place.run(&["cache", "check"]).exits(3);
    for said in ["bytes; what they recorded is made again", "` was damaged and is made again", "` was damaged; the fit"]
    {
        assert!(found.stdout.contains(said), "{said}: {}", found.stdout);
    }
    assert!(found.stdout.contains("1 record of which a blob is missing"), "{}", found.stdout);
    assert_eq!(found.stderr, "3 damaged entries forgotten; a build makes what is missing again\n");
    assert!(!unfinished.exists() && !store.blob_path(&bird).exists());
    let after = place.run(&["cache", "check", "--json"]).exits(0).json();
    assert_eq!(
        (&after["blobs"], &after["incomplete_records"], &after["unfinished"]),
        (&1.into(), &1.into(), &1.into())
    );
}

#[test]
fn a_cache_of_another_format_is_refused_and_left_as_it_is() {
    let place = Place::empty();
    let store = Store::open(&place.path("cache")).unwrap();
    store.commit(&[Record::of(vec![1])]).unwrap();
    let log = place.path("cache/records.log");
    let mut older = fs::read(&log).unwrap();
    older[3] = b'0';
    fs::write(&log, &older).unwrap();
    for command in [&["cache", "check"][..], &["cache", "stats"]] {
        let refused = place.run(command).exits(1);
        assert!(
            refused.stderr.starts_with("error: `cache/records.log` was written in format 0; this birdaug reads 1\n"),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(fs::read(&log).unwrap(), older);
    let behind = place.run(&["cache", "stats", "--cache", "own", "--cache-from", "cache"]).exits(1);
    assert!(behind.stderr.contains("was written in format 0"), "{}", behind.stderr);
    fs::write(place.path("cache/version"), "2\n").unwrap();
    let refused = place.run(&["cache", "stats"]).exits(1);
    assert!(refused.stderr.contains("has format version \"2\"; this birdaug reads 1"), "{}", refused.stderr);
}

#[test]
fn a_build_takes_everything_from_a_second_cache_and_writes_nothing_there() {
    let place = Place::new();
    place.build();
    let (tree, results) = (place.files("out/tiny"), place.files("results/tiny"));
    let team = state(&place, "cache");
    fs::remove_dir_all(place.path("out")).unwrap();
    let said = place.run(&["build", "recipes/tiny.toml", "--cache", "own", "--cache-from", "cache"]).exits(0);
    for what in ["audit", "baseline", "generator", "candidates", "scores", "arms"] {
        assert_eq!(made(&said, what), 0, "{what}: {}", said.stdout);
    }
    assert_eq!(place.files("out/tiny"), tree);
    assert_eq!(place.files("results/tiny"), results);
    assert!(state(&place, "cache") == team, "nothing is written to a cache of somebody else");

    let mut plan = place.command(&["plan", "recipes/tiny.toml", "--check", "--cache", "third"]);
    plan.env("BIRDAUG_CACHE_FROM", format!("{}:own", place.path("cache").display()));
    let said = super::place::said(plan.output().unwrap());
    assert_eq!(said.status, 0, "{} {}", said.stdout, said.stderr);
}

#[test]
fn damage_in_a_second_cache_is_said_passed_over_and_made_again_in_the_own_one() {
    let place = Place::new();
    place.build();
    let tree = place.files("out/tiny");
    let store = Store::open(&place.path("cache")).unwrap();
    let image = store.records().iter().find_map(|record| record.blob("image")).unwrap();
    overwrite(&store.blob_path(&image), b"no image");
    // Another quality, so that the images themselves are read.
    place.recipe_with(
        "out = \"out/tiny\"",
        "out = \"out/tiny\"\nencode = { format = \"jpg\", quality = 80, size = 48 }",
    );
    let args = ["build", "recipes/tiny.toml", "--cache", "own", "--cache-from", "cache"];
    let first = place.run(&args);
    assert!(first.stderr.contains("` is damaged and passed over"), "{}", first.stderr);
    let again = if first.status == 0 { first } else { place.run(&args).exits(0) };
    assert_eq!(made(&again, "candidates"), 1, "{} {}", again.stdout, again.stderr);
    assert_eq!(fs::read(store.blob_path(&image)).unwrap(), b"no image", "not ours to mend");
    assert_eq!(place.files("out/tiny").len(), tree.len());
}

#[test]
fn a_second_cache_that_is_none_is_a_wrong_command_line() {
    let place = Place::new();
    for wrong in ["nowhere", "birds"] {
        let said = place.run(&["plan", "recipes/tiny.toml", "--cache-from", wrong]).exits(2);
        assert!(said.stderr.starts_with(&format!("error: `{wrong}` is no cache of birdaug")), "{}", said.stderr);
    }
    assert!(!place.path("nowhere").exists());
}

#[test]
fn a_merge_skips_what_is_damaged_and_a_second_one_completes_it() {
    let place = Place::empty();
    let other = Store::open(&place.path("other")).unwrap();
    let (bird, owl) = (other.put(b"bird").unwrap(), other.put(b"owl").unwrap());
    let records = [Record::of(vec![1]).output("image", bird), Record::of(vec![2]).output("image", owl)];
    other.commit(&records).unwrap();
    let list = other.put(b"a list that no record names").unwrap();
    overwrite(&other.blob_path(&bird), b"bard");
    let first = place.run(&["cache", "merge", "other"]).exits(0);
    assert!(first.stdout.contains("` is damaged and passed over\n"), "{}", first.stdout);
    assert!(first.stdout.contains("`other`: 1 record left behind, for want of a blob\n"), "{}", first.stdout);
    assert!(first.stdout.ends_with("1 record and 2 blobs (30 B) taken over\n"), "{}", first.stdout);
    let own = Store::open(&place.path("cache")).unwrap();
    assert_eq!((own.hit(&records[0].key), own.hit(&records[1].key)), (None, Some(records[1].clone())));
    assert_eq!(own.get(&list).unwrap().unwrap(), b"a list that no record names");

    overwrite(&other.blob_path(&bird), b"bird");
    let second = place.run(&["cache", "merge", "other"]).exits(0);
    assert_eq!(second.stdout, "1 record and 1 blob (4 B) taken over\n");
    let own = Store::open(&place.path("cache")).unwrap();
    assert_eq!(own.hit(&records[0].key), Some(records[0].clone()));
    let third = place.run(&["cache", "merge", "other"]).exits(0);
    assert_eq!(third.stdout, "0 records and 0 blobs (0 B) taken over\n");

    let itself = place.run(&["cache", "merge", "cache"]).exits(2);
    assert!(itself.stderr.contains("`cache` is the cache itself"), "{}", itself.stderr);
    place.run(&["cache", "merge", "nowhere"]).exits(2);
}

#[test]
fn of_two_outputs_for_one_key_the_first_wins_unless_a_lock_names_the_other() {
    let inputs = birdaug::plan::Inputs::new("ddpm fit", 1).count("generator.seed", 7);
    let key = inputs.key();
    let cache = |place: &Place, dir: &str, weights: &[u8]| {
        let store = Store::open(&place.path(dir)).unwrap();
        let digest = store.put(weights).unwrap();
        store.commit(&[Record::of(inputs.encode()).output("weights", digest)]).unwrap();
        digest
    };
    let kept = |place: &Place| Store::open(&place.path("cache")).unwrap().hit(&key.0).unwrap().blob("weights").unwrap();

    let place = Place::empty();
    let one = cache(&place, "one", b"one");
    cache(&place, "two", b"two");
    let said = place.run(&["cache", "merge", "one", "two"]).exits(0);
    let line = format!("ddpm fit {}: `two` has another output; ours stays\n", key.short());
    assert!(said.stdout.contains(&line), "{}", said.stdout);
    assert_eq!(kept(&place), one);

    let place = Place::empty();
    cache(&place, "cache", b"one");
    let two = cache(&place, "two", b"two");
    let text = format!("[models]\ngenerator = \"{} {}\"\n", key.hex(), birdaug::plan::Key(two).hex());
    place.write("recipes/a.lock", text.as_bytes());
    let said = place.run(&["cache", "merge", "two"]).exits(0);
    assert!(
        said.stdout.contains("`two` has another output; its own is taken, since a lock names it"),
        "{}",
        said.stdout
    );
    assert_eq!(kept(&place), two);
}

#[test]
fn a_dry_run_prints_the_list_that_a_real_one_removes_and_the_build_after_it_makes_nothing() {
    let place = Place::new();
    place.build();
    place.recipe_with("learning_rate = 1e-3", "learning_rate = 2e-3");
    place.build();
    let tree = place.files("out/tiny");
    let before = place.files("cache");
    let args = ["cache", "gc", "--max-size", "1k"];
    let dry = place.run(&["cache", "gc", "--max-size", "1k", "--dry-run"]).exits(0);
    assert!(place.files("cache") == before, "a dry run changes nothing");
    let listed = |text: &str| -> Vec<String> {
        text.lines().take_while(|line| !line.contains(" entries (")).map(String::from).collect()
    };
    let real = place.run(&args).exits(0);
    assert_eq!(listed(&dry.stdout), listed(&real.stdout));
    // The other fit's weights, images, scores and files.
    for kind in ["ddpm fit", "candidate", "copy score", "class score"] {
        assert!(listed(&real.stdout).iter().any(|line| line.starts_with(kind)), "{kind}: {}", real.stdout);
    }
    assert!(dry.stdout.contains(" would go, ") && real.stdout.contains(" gone, "), "{}", real.stdout);
    assert!(real.stdout.contains("what the locks reach takes"), "{}", real.stdout);
    assert!(place.run(&args).exits(0).stdout.starts_with("0 entries (0 B) gone"));
    place.run(&["cache", "check"]).exits(0);
    let again = place.build();
    for what in ["generator", "baseline", "candidates", "scores", "arms"] {
        assert_eq!(made(&again, what), 0, "{what}: {}", again.stdout);
    }
    assert_eq!(place.files("out/tiny"), tree);
    place.run(&["cache", "gc", "--max-size", "much"]).exits(2);
}

#[test]
fn nothing_is_thrown_away_while_a_build_holds_the_cache() {
    let place = Place::empty();
    let store = Store::open(&place.path("cache")).unwrap();
    store.put(b"bird").unwrap();
    let held = store.hold().unwrap();
    let refused = place.run(&["cache", "gc", "--max-size", "0"]).exits(1);
    assert!(
        refused.stderr.starts_with("error: a build is using the cache `cache`\n  help: wait"),
        "{}",
        refused.stderr
    );
    let dry = place.run(&["cache", "gc", "--max-size", "0", "--dry-run"]).exits(0);
    assert!(dry.stdout.contains("1 entry (4 B) would go, 0 B left"), "{}", dry.stdout);
    drop(held);
    place.run(&["cache", "gc", "--max-size", "0"]).exits(0);
    assert!(store.blobs().unwrap().is_empty());
}

#[test]
fn a_lock_named_by_hand_protects_what_it_names() {
    let place = Place::empty();
    let store = Store::open(&place.path("cache")).unwrap();
    let weights = store.put(b"weights").unwrap();
    let inputs = birdaug::plan::Inputs::new("ddpm fit", 1);
    store.commit(&[Record::of(inputs.encode()).output("weights", weights)]).unwrap();
    place.write("elsewhere/a.lock", format!("generator = \"{}\"\n", inputs.key().hex()).as_bytes());
    let kept = place.run(&["cache", "gc", "--max-size", "0", "--root", "elsewhere/a.lock"]).exits(0);
    assert!(kept.stdout.contains("0 entries (0 B) gone") && !kept.stdout.contains("no lock"), "{}", kept.stdout);
    place.run(&["cache", "gc", "--root", "elsewhere/b.lock"]).exits(1);
    let gone = place.run(&["cache", "gc", "--max-size", "0"]).exits(0);
    assert!(gone.stdout.contains("no lock in `recipes/`") && gone.stdout.contains("1 entry"), "{}", gone.stdout);
}

#[test]
fn stats_count_by_kind_recipe_age_and_reach() {
    let place = Place::new();
    place.build();
    let store = Store::open(&place.path("cache")).unwrap();
    let keys = store.records().iter().map(|record| record.key).take(4).collect();
    store.note_uses("tiny", keys).unwrap();
    // All that the build made is reached from its lock; this blob is nobody's.
    store.put(b"nobody's").unwrap();
    let stats = place.run(&["cache", "stats", "--json"]).exits(0).json();
    let total = store.records().len();
    let sum = |table: &serde_json::Value| -> usize {
        table.as_object().unwrap().values().map(|row| row["entries"].as_u64().unwrap() as usize).sum()
    };
    assert_eq!(stats["kinds"]["ddpm fit"]["entries"], 1);
    assert_eq!(stats["records"]["ddpm fit"], 1);
    assert!(sum(&stats["kinds"]) >= total && sum(&stats["ages"]) == sum(&stats["kinds"]), "{stats:#}");
    assert_eq!(stats["ages"]["today"]["entries"].as_u64().unwrap() as usize, sum(&stats["kinds"]));
    let tiny = stats["recipes"].as_array().unwrap().iter().find(|row| row["name"] == "tiny").unwrap();
    assert_eq!(tiny["entries"], 4);
    let reached = stats["reachable"]["entries"].as_u64().unwrap() as usize;
    assert!(reached > 10 && reached < sum(&stats["kinds"]), "{stats:#}");
    let text = place.run(&["cache", "stats"]).exits(0).stdout;
    for word in ["kind ", "used by", "reached from a lock", "today"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn a_killed_merge_leaves_a_whole_cache_and_the_next_one_completes_it() {
    let place = Place::empty();
    let other = Store::open(&place.path("other")).unwrap();
    let records: Vec<Record> = (0..4000u32)
        .map(|n| {
            Record::of(n.to_le_bytes().to_vec())
                .output("image", other.put(format!("image {n} ").repeat(60).as_bytes()).unwrap())
        })
        .collect();
    other.commit(&records).unwrap();
    for wait in [5, 15, 30, 60] {
        let mut child = place.command(&["cache", "merge", "other"]).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait));
        child.kill().unwrap();
        child.wait().unwrap();
        if place.path("cache/version").exists() {
            let checked = place.run(&["cache", "check", "--json"]).exits(0).json();
            assert_eq!(checked["incomplete_records"], 0, "a record never comes before its blobs");
        }
    }
    place.run(&["cache", "merge", "other"]).exits(0);
    let own = Store::open(&place.path("cache")).unwrap();
    assert!(records.iter().all(|record| own.hit(&record.key).as_ref() == Some(record)));
}

#[test]
fn a_running_build_holds_the_cache() {
    let place = Place::new();
    place.recipe_with("steps = 3\nbatch = 4\nlearning_rate", "steps = 100000\nbatch = 4\nlearning_rate");
    let mut child = place.command(&["build", "recipes/tiny.toml"]).spawn().unwrap();
    let stderr = child.stderr.take().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stderr));
    assert!(lines.by_ref().any(|line| line.unwrap().contains("real seed 0:")), "the build ended early");
    std::thread::spawn(move || lines.for_each(drop));
    let refused = place.run(&["cache", "gc", "--max-size", "0"]).exits(1);
    assert!(refused.stderr.contains("a build is using the cache"), "{}", refused.stderr);
    place.run(&["cache", "gc", "--max-size", "0", "--dry-run"]).exits(0);
    child.kill().unwrap();
    child.wait().unwrap();
    // Whoever was killed holds nothing.
    place.run(&["cache", "gc"]).exits(0);
}
