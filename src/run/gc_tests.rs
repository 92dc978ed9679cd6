use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::gc::{self, Going, Rules, Waste};
use super::inventory::{Inventory, LONE_BLOB};
use super::locks::Named;
use crate::plan::{Inputs, Key};
use crate::store::{Digest, Record, Store};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A day of a made-up calendar, so that no test looks at the clock.
fn day(n: u32) -> SystemTime {
    UNIX_EPOCH + DAY * (10_000 + n)
}

fn touch(path: &Path, time: SystemTime) {
    File::open(path).unwrap().set_modified(time).unwrap();
}

/// A blob that was put on some day.
fn blob(store: &Store, text: &str, put: u32) -> Digest {
    let digest = store.put(text.as_bytes()).unwrap();
    touch(&store.blob_path(&digest), day(put));
    digest
}

/// A generator with two candidates, each with a score and an encoded file.
struct Scene {
    _dir: tempfile::TempDir,
    store: Store,
    fit: [u8; 32],
    candidates: [[u8; 32]; 2],
    scores: [[u8; 32]; 2],
    files: [[u8; 32]; 2],
    list: Digest,
    lone: Digest,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("cache")).unwrap();
    let list = blob(&store, "a list of photos", 1);
    let weights = blob(&store, "weights", 1);
    let fit = Record::of(Inputs::new("ddpm fit", 1).digest("train photos", list).encode()).output("weights", weights);
    let mut records = vec![fit.clone()];
    let (mut candidates, mut scores, mut files) = ([[0; 32]; 2], [[0; 32]; 2], [[0; 32]; 2]);
    for i in 0..2u32 {
        let image = blob(&store, &format!("image {i}"), 10 + i);
        let file = blob(&store, &format!("file {i}"), 20 + i);
        let inputs = Inputs::new("candidate", 1).digest("generator", weights).count("index", u64::from(i));
        let candidate = Record::of(inputs.encode()).output("image", image);
        let score = Inputs::new("class score", 1).digest("image", image).digest("classifier", weights);
        let score = Record::of(score.encode()).inline(vec![1]);
        let encoded = Record::of(Inputs::new("encoded", 1).digest("image", image).encode()).output("file", file);
        let at = i as usize;
        (candidates[at], scores[at], files[at]) = (candidate.key, score.key, encoded.key);
        records.extend([candidate, score, encoded]);
    }
    store.commit(&records).unwrap();
    let lone = blob(&store, "nobody's", 15);
    Scene { _dir: dir, store, fit: fit.key, candidates, scores, files, list, lone }
}

impl Scene {
    /// A lock that names the fit and the first candidate.
    fn lock(&self) -> Vec<Named> {
        vec![Named { keys: vec![self.fit, self.candidates[0]], ..Named::default() }]
    }

    fn waste(&self, roots: &[Named], keep: u32, max_size: Option<u64>) -> Waste {
        let inventory = Inventory::take(&self.store, roots).unwrap();
        gc::plan(&self.store, &inventory, &Rules { keep: DAY * keep, max_size, now: day(50) }).unwrap()
    }

    fn keys(&self) -> BTreeSet<[u8; 32]> {
        self.store.records().iter().map(|record| record.key).collect()
    }
}

fn names(going: &[Going]) -> Vec<(&str, String)> {
    going.iter().map(|going| (going.kind.as_str(), going.name.clone())).collect()
}

fn short(key: [u8; 32]) -> String {
    Key(key).short()
}

#[test]
fn what_a_lock_reaches_stays_and_the_rest_goes_oldest_first() {
    let scene = scene();
    let waste = scene.waste(&scene.lock(), 0, None);
    // The score's age is that of its image, the candidate's too; equal ages go by key.
    let mut second = [("candidate", scene.candidates[1]), ("class score", scene.scores[1])];
    second.sort_unstable_by_key(|&(_, key)| key);
    let mut expected: Vec<_> = second.map(|(kind, key)| (kind, short(key))).to_vec();
    expected.push((LONE_BLOB, short(scene.lone)));
    expected.push(("encoded", short(scene.files[1])));
    assert_eq!(names(&waste.going), expected);
    assert_eq!(waste.before - waste.after, waste.going.iter().map(|going| going.bytes).sum::<u64>());

    gc::carry_out(&scene.store, &waste).unwrap();
    let kept = [scene.fit, scene.candidates[0], scene.scores[0], scene.files[0]];
    assert_eq!(scene.keys(), kept.into_iter().collect());
    assert!(kept.iter().all(|key| scene.store.hit(key).is_some()));
    assert!(scene.store.has(&scene.list), "a list that a kept key names");
    assert_eq!(scene.store.blobs().unwrap().len(), 4);
    let again = scene.waste(&scene.lock(), 0, None);
    assert_eq!((again.going.len(), again.before), (0, waste.after));
    assert!(scene.store.check().unwrap().damage.is_empty());
}

#[test]
fn what_was_used_lately_stays_without_a_lock() {
    let scene = scene();
    scene.store.note_uses("tiny", vec![scene.fit, scene.candidates[1]]).unwrap();
    touch(&scene.store.dir().join("uses/tiny"), day(45));
    let gone: BTreeSet<_> = scene.waste(&[], 30, None).going.into_iter().map(|going| going.name).collect();
    // Day 20 is the last of thirty days; the files of days 20 and 21 are younger or just as old.
    let old = [scene.candidates[0], scene.scores[0], scene.scores[1], scene.lone];
    assert_eq!(gone, old.map(short).into_iter().collect());
    assert_eq!(scene.waste(&[], 60, None).going, []);
}

#[test]
fn nothing_goes_while_it_is_not_known_what_a_recipe_needs() {
    let scene = scene();
    scene.store.note_uses("tiny", vec![scene.fit, scene.candidates[1]]).unwrap();
    let path = scene.store.dir().join("uses/tiny");
    let whole = std::fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[7] ^= 1;
    for damaged in [&flipped[..], &whole[..whole.len() - 1], &whole[..whole.len() - 32], &[]] {
        std::fs::write(&path, damaged).unwrap();
        let (uses, damaged) = scene.store.uses().unwrap();
        assert_eq!((uses, damaged), (Vec::new(), vec![path.clone()]));
        let inventory = Inventory::take(&scene.store, &[]).unwrap();
        let rules = Rules { keep: Duration::ZERO, max_size: None, now: day(50) };
        let said = gc::plan(&scene.store, &inventory, &rules).err().unwrap().to_string();
        assert!(said.contains("uses/tiny` is damaged") && said.contains("nothing is thrown away"), "{said}");
    }
    let damage = scene.store.check().unwrap().damage;
    assert!(damage.len() == 1 && damage[0].contains("uses/tiny` was damaged"), "{damage:?}");
    assert!(!path.exists() && scene.store.check().unwrap().damage.is_empty());
}

#[test]
fn what_the_recipe_beside_a_lock_needed_last_stays_however_old() {
    let scene = scene();
    let name = crate::run::session::use_name(std::path::Path::new("recipes/tiny.toml"));
    scene.store.note_uses(&name, vec![scene.fit, scene.candidates[1]]).unwrap();
    touch(&scene.store.dir().join("uses").join(&name), day(1));
    let beside = |path: &str| vec![Named { path: path.into(), ..Named::default() }];
    let gone = |path: &str| -> BTreeSet<String> {
        scene.waste(&beside(path), 0, None).going.into_iter().map(|going| going.name).collect()
    };
    let second = [scene.candidates[1], scene.scores[1], scene.files[1]].map(short);
    let with = gone("recipes/tiny.lock");
    assert!(second.iter().all(|name| !with.contains(name)), "{with:?}");
    assert!(with.contains(&short(scene.candidates[0])));
    let without = gone("recipes/other.lock");
    assert!(second.iter().all(|name| without.contains(name)), "{without:?}");
}

#[test]
fn a_size_takes_the_least_recently_used_and_never_what_is_reached() {
    let scene = scene();
    let all = scene.waste(&scene.lock(), 1000, Some(0));
    assert_eq!(names(&all.going), names(&scene.waste(&scene.lock(), 0, None).going));
    assert!(all.after > 0, "what the lock reaches is more than nothing, and stays");
    let first = all.going[0].bytes;
    let one = scene.waste(&scene.lock(), 1000, Some(all.before - 1));
    assert_eq!(one.going, all.going[..1]);
    let two = scene.waste(&scene.lock(), 1000, Some(all.before - first - 1));
    assert_eq!(two.going, all.going[..2]);
    assert_eq!(scene.waste(&scene.lock(), 1000, Some(all.before)).going, []);
}

#[test]
fn a_clock_that_was_set_back_throws_nothing_away() {
    let scene = scene();
    let inventory = Inventory::take(&scene.store, &[]).unwrap();
    let waste = gc::plan(&scene.store, &inventory, &Rules { keep: DAY, max_size: None, now: day(0) }).unwrap();
    assert_eq!(waste.going, []);
}

#[test]
fn an_interruption_leaves_a_whole_cache_and_the_next_one_finishes() {
    let scene = scene();
    let waste = scene.waste(&scene.lock(), 0, None);
    // Killed after the records went, before the first blob did.
    let records = [scene.candidates[1], scene.scores[1], scene.files[1]].into_iter().collect();
    scene.store.discard(&records, &[]).unwrap();
    let checked = scene.store.check().unwrap();
    assert_eq!((checked.damage.len(), checked.incomplete, checked.records), (0, 0, 4));
    let rest = scene.waste(&scene.lock(), 0, None);
    assert!(rest.going.iter().all(|going| going.kind == LONE_BLOB));
    gc::carry_out(&scene.store, &rest).unwrap();
    assert_eq!(scene.waste(&scene.lock(), 0, None).before, waste.after);
}

#[test]
fn a_process_that_has_the_cache_open_goes_on_with_the_new_log() {
    let scene = scene();
    let other = Store::open(scene.store.dir()).unwrap();
    assert!(other.hit(&scene.candidates[1]).is_some());
    gc::carry_out(&scene.store, &scene.waste(&scene.lock(), 0, None)).unwrap();
    let late = Record::of(vec![9]);
    other.commit(std::slice::from_ref(&late)).unwrap();
    assert_eq!((other.record(&scene.candidates[1]), other.record(&late.key)), (None, Some(late.clone())));
    assert!(other.hit(&scene.candidates[0]).is_some());
    let third = Store::open(scene.store.dir()).unwrap();
    assert_eq!(third.record(&late.key), Some(late));
    assert_eq!(third.records().len(), 5);
}

#[test]
fn half_written_files_and_forgotten_fits_go_when_they_are_old() {
    let scene = scene();
    let dir = scene.store.dir();
    for (name, written) in [("blobs/ab/.new-1-1", 48), ("last/.birdaug-x", 48), ("uses/.birdaug-y", 50)] {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, b"half").unwrap();
        touch(&path, day(written));
    }
    for (key, written) in [([1; 32], 10), ([2; 32], 49)] {
        scene.store.keep_unfinished(&key, b"state").unwrap();
        let path = dir.join("unfinished").join(Key(key).hex());
        touch(&path, day(written));
    }
    let everything = vec![Named { keys: scene.keys().into_iter().collect(), ..Named::default() }];
    let waste = scene.waste(&everything, 36, None);
    let expected = [
        ("unfinished fit", short([1; 32])),
        ("half-written file", ".new-1-1".to_string()),
        ("half-written file", ".birdaug-x".to_string()),
    ];
    assert_eq!(names(&waste.going), expected);
    gc::carry_out(&scene.store, &waste).unwrap();
    assert_eq!(scene.waste(&everything, 36, None).going, []);
    assert_eq!(scene.store.unfinished(&[2; 32]).unwrap().unwrap(), b"state");
}

#[test]
#[ignore = "prints times; asserts none"]
fn times_of_half_a_million_entries() {
    const N: u32 = 500_000;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("cache")).unwrap();
    let (mut keys, mut records) = (Vec::new(), Vec::new());
    for n in 0..N {
        let image = store.put(&n.to_le_bytes()).unwrap();
        let inputs = Inputs::new("candidate", 1).text("species", "OWL").digest("generator", [7; 32]);
        let inputs = inputs.text("sampler", "dpm++2m").count("steps", 25).count("index", u64::from(n));
        records.push(Record::of(inputs.encode()).output("image", image).note("engine", "0.1.0"));
        if records.len() == 512 || n + 1 == N {
            store.commit(&records).unwrap();
            keys.extend(records.drain(..).map(|record| record.key));
        }
    }
    drop(store);
    let started = Instant::now();
    let mut last = 0.0;
    let mut lap = |what: &str| {
        let now = started.elapsed().as_secs_f64();
        println!("{what}: {:.2} s", now - last);
        last = now;
    };
    let store = Store::open(&dir.path().join("cache")).unwrap();
    store.load().unwrap();
    lap("read the log");
    let roots = [Named { keys: keys[..keys.len() / 2].to_vec(), ..Named::default() }];
    let inventory = Inventory::take(&store, &roots).unwrap();
    lap("list and reach");
    let now = SystemTime::now() + DAY;
    let waste = gc::plan(&store, &inventory, &Rules { keep: Duration::ZERO, max_size: None, now }).unwrap();
    lap("decide");
    gc::carry_out(&store, &waste).unwrap();
    lap("throw away");
    println!("{} of {N} entries gone in {:.2} s", waste.going.len(), started.elapsed().as_secs_f64());
    assert_eq!(waste.going.len(), keys.len() / 2);
}
