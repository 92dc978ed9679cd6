//! Faults at random moments, many times over: kills, races, full disks, lost permissions, flipped bits, clocks. After
//! each the build goes on to the bytes of an undisturbed one. `BIRDAUG_FAULTS=200` (`make faults`) is for long runs;
//! the moments differ with `BIRDAUG_FAULTS_SEED`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::place::{Place, RECIPE, said};

/// How often a fault is tried: a few times beside the other tests, as often as asked for otherwise.
fn times(few: usize) -> usize {
    std::env::var("BIRDAUG_FAULTS").ok().and_then(|n| n.parse().ok()).unwrap_or(few)
}

/// Whole numbers that look random and are the same in every run of a seed.
struct Dice(u64);

impl Dice {
    fn new() -> Dice {
        Dice(std::env::var("BIRDAUG_FAULTS_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1))
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n.max(1)
    }
}

/// The recipe with one classifier an arm: fitting is most of a build's time, and no fault that is not tried by
/// [`RECIPE`] itself depends on how many there are.
fn short() -> String {
    RECIPE.replace("seeds = [0, 1]", "seeds = [0]")
}

/// A place with [`short`] as its recipe, and what that leaves undisturbed.
fn short_place() -> (Undisturbed, Place) {
    let place = Place::new();
    place.recipe(&short());
    (undisturbed(&short()), place)
}

type Files = BTreeMap<String, Vec<u8>>;

/// What an undisturbed build leaves, and how long it took.
struct Undisturbed {
    tree: Files,
    results: Files,
    millis: u64,
}

fn undisturbed(recipe: &str) -> Undisturbed {
    let place = Place::new();
    place.recipe(recipe);
    let started = Instant::now();
    place.build();
    let millis = started.elapsed().as_millis() as u64;
    Undisturbed { tree: place.files("out/tiny"), results: place.files("results/tiny"), millis }
}

#[track_caller]
fn assert_same(place: &Place, whole: &Undisturbed) {
    let (tree, results) = (place.files("out/tiny"), place.files("results/tiny"));
    assert_eq!(tree.keys().collect::<Vec<_>>(), whole.tree.keys().collect::<Vec<_>>());
    for (files, wanted) in [(&tree, &whole.tree), (&results, &whole.results)] {
        for (path, bytes) in wanted {
            assert!(files.get(path) == Some(bytes), "`{path}` differs from the undisturbed build's");
        }
    }
}

/// A tree is there whole or not at all: every file of its manifest with its digest, and nothing else.
#[track_caller]
fn assert_whole_or_absent(tree: &Path) {
    if !tree.exists() {
        return;
    }
    let mut rows = csv::Reader::from_path(tree.join("manifest.csv")).unwrap();
    let mut listed = 3;
    for row in rows.records() {
        let row = row.unwrap();
        let bytes = fs::read(tree.join(&row[0])).unwrap_or_else(|error| panic!("{}: {error}", &row[0]));
        assert_eq!(blake3::hash(&bytes).to_hex().as_str(), &row[4], "{}", &row[0]);
        listed += 1;
    }
    assert_eq!(walkdir::WalkDir::new(tree).into_iter().flatten().filter(|e| !e.file_type().is_dir()).count(), listed);
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

fn start(place: &Place, args: &[&str]) -> Child {
    let mut command = place.command(args);
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    command.spawn().unwrap()
}

fn remove(path: &Path) {
    if path.exists() {
        fs::remove_dir_all(path).unwrap();
    }
}

#[test]
fn killed_at_random_moments_a_build_ends_in_the_same_bytes() {
    let whole = undisturbed(RECIPE);
    let place = Place::new();
    let mut dice = Dice::new();
    for _ in 0..times(8) {
        let mut child = start(&place, &["build", "recipes/tiny.toml"]);
        std::thread::sleep(Duration::from_millis(dice.below(whole.millis)));
        let finished = child.try_wait().unwrap();
        kill(child);
        assert_whole_or_absent(&place.path("out/tiny"));
        if finished.is_some_and(|status| status.success()) {
            assert_same(&place, &whole);
            // From the beginning, or from the emitted tree on.
            for folder in ["cache", "out", "results"].iter().skip(dice.below(2) as usize) {
                remove(&place.path(folder));
            }
        }
    }
    place.build();
    assert_same(&place, &whole);
    place.run(&["cache", "check"]).exits(0);
}

#[test]
fn two_racing_builds_of_overlapping_recipes_killed_at_random_end_in_the_same_bytes() {
    let more = short().replace("target = 6", "target = 8");
    let whole_more = undisturbed(&more);
    let (whole, place) = short_place();
    place.write("recipes/more.toml", more.replace("out/tiny", "out/more").as_bytes());
    let mut dice = Dice::new();
    let recipes = ["recipes/tiny.toml", "recipes/more.toml"];
    for round in 0..times(4) {
        let [one, two] = recipes.map(|recipe| start(&place, &["build", recipe]));
        std::thread::sleep(Duration::from_millis(dice.below(whole.millis * 2)));
        kill(one);
        if round % 2 == 0 {
            kill(two);
        } else {
            // The other goes on alone.
            said(two.wait_with_output().unwrap()).exits(0);
        }
        if dice.below(4) == 0 {
            remove(&place.path("cache"));
        }
    }
    let [one, two] = recipes.map(|recipe| place.command(&["build", recipe]).spawn().unwrap());
    for child in [one, two] {
        said(child.wait_with_output().unwrap()).exits(0);
    }
    assert_same(&place, &whole);
    // The other recipe's results name its own paths; its tree does not.
    assert!(place.files("out/more") == whole_more.tree);
    place.run(&["cache", "check"]).exits(0);
}

#[test]
fn a_gc_killed_at_random_moments_leaves_a_whole_cache_and_tree() {
    let (whole, place) = short_place();
    place.build();
    let mut dice = Dice::new();
    for round in 0..times(3) {
        // Something to throw away: another recipe's candidates, scores and classifiers.
        let other =
            short().replace("guidance = 1.5", &format!("guidance = 1.{round}1")).replace("out/tiny", "out/other");
        place.write("recipes/other.toml", other.as_bytes());
        place.run(&["build", "recipes/other.toml"]).exits(0);
        fs::remove_file(place.path("recipes/other.lock")).unwrap();
        let child = start(&place, &["cache", "gc", "--keep-days", "0"]);
        std::thread::sleep(Duration::from_millis(dice.below(400)));
        kill(child);
        assert_whole_or_absent(&place.path("out/tiny"));
        place.run(&["cache", "check"]).exits(0);
        if dice.below(2) == 0 {
            remove(&place.path("out/tiny"));
        }
        place.build();
        assert_same(&place, &whole);
    }
    place.run(&["cache", "gc", "--keep-days", "0"]).exits(0);
    assert!(place.build().stdout.starts_with("nothing to do"));
}

/// A small file system in memory; unmounted when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where mounting is not allowed.
    fn new(path: PathBuf, kib: u64) -> Option<SmallDisk> {
        fs::create_dir_all(&path).unwrap();
        let disk = SmallDisk(path);
        disk.mount(&["-t", "tmpfs", "-o", &format!("size={kib}k"), "tmpfs"]).then_some(disk)
    }

    fn resize(&self, kib: u64) {
        assert!(self.mount(&["-o", &format!("remount,size={kib}k")]));
    }

    fn used_kib(&self) -> u64 {
        let path = std::ffi::CString::new(self.0.to_str().unwrap()).unwrap();
        // SAFETY: a plain struct that the call fills, and a path that outlives it.
        let found = unsafe {
            let mut found: libc::statvfs = std::mem::zeroed();
            assert_eq!(libc::statvfs(path.as_ptr(), &mut found), 0);
            found
        };
        (found.f_blocks - found.f_bfree) * found.f_frsize / 1024
    }

    fn mount(&self, args: &[&str]) -> bool {
        Command::new("mount").args(args).arg(&self.0).output().is_ok_and(|done| done.status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn a_disk_that_fills_at_random_moments_stops_the_build_and_loses_nothing() {
    let (whole, place) = short_place();
    let Some(disk) = SmallDisk::new(place.path("disk"), 64) else {
        println!("skipped: a small file system cannot be mounted here");
        return;
    };
    let folders = ["cache", "out", "results"];
    for folder in folders {
        fs::create_dir(disk.0.join(folder)).unwrap();
        std::os::unix::fs::symlink(disk.0.join(folder), place.path(folder)).unwrap();
    }
    let mut dice = Dice::new();
    let mut full = 0;
    for _ in 0..times(6) {
        // Room for a part of what is missing.
        disk.resize(disk.used_kib() + 8 + dice.below(60_000));
        let done = place.run(&["build", "recipes/tiny.toml"]);
        assert_whole_or_absent(&place.path("out/tiny"));
        if done.status == 0 {
            for folder in folders {
                fs::remove_dir_all(disk.0.join(folder)).unwrap();
                fs::create_dir(disk.0.join(folder)).unwrap();
            }
            continue;
        }
        full += 1;
        assert_eq!(done.status, 1, "{}", done.stderr);
        assert!(done.stderr.contains("No space left on device"), "{}", done.stderr);
    }
    assert!(full > 0, "the disk was never full");
    disk.resize(1 << 20);
    place.build();
    assert_same(&place, &whole);
}

/// Runs birdaug as somebody whom permissions bind; root may read and write everything.
fn as_a_user(place: &Place, args: &[&str]) -> Option<super::place::Said> {
    let mut command = place.command(args);
    // SAFETY: asks for the own user number.
    if unsafe { libc::geteuid() } == 0 {
        command.uid(65_534).gid(65_534);
    }
    command.output().ok().map(said)
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn lost_permissions_are_named_and_once_given_back_the_build_goes_on() {
    let (whole, place) = short_place();
    // SAFETY: asks for the own user number.
    if unsafe { libc::geteuid() } == 0 {
        let owned = Command::new("chown").args(["-R", "65534:65534"]).arg(place.path("")).status();
        assert!(owned.unwrap().success());
    }
    match as_a_user(&place, &["build", "recipes/tiny.toml", "--until", "generator"]) {
        Some(done) if done.status == 0 => {}
        other => {
            println!("skipped: birdaug cannot be run as another user here: {other:?}");
            return;
        }
    }
    let photo = walkdir::WalkDir::new(place.path("birds/train"))
        .sort_by_file_name()
        .into_iter()
        .flatten()
        .find(|entry| entry.file_type().is_file())
        .unwrap()
        .into_path();
    // Rewritten in place, so that it has to be read.
    fs::write(&photo, fs::read(&photo).unwrap()).unwrap();
    let blob = walkdir::WalkDir::new(place.path("cache/blobs"))
        .sort_by_file_name()
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_file())
        .max_by_key(|entry| entry.metadata().unwrap().len())
        .unwrap()
        .into_path();
    for (path, lost) in [
        (photo.as_path(), 0o000),
        (&place.path("birds/train"), 0o000),
        (&blob, 0o000),
        (&place.path("cache/records.log"), 0o000),
        (&place.path("cache/records.log"), 0o444),
        (&place.path("cache"), 0o555),
        (&place.path(""), 0o555),
    ] {
        let had = fs::metadata(path).unwrap().permissions().mode();
        chmod(path, lost);
        let done = as_a_user(&place, &["build", "recipes/tiny.toml"]).unwrap();
        chmod(path, had);
        if done.status == 0 {
            // What is not needed may be lost unnoticed: then everything has to be there.
            assert_same(&place, &whole);
            continue;
        }
        assert_eq!(done.status, 1, "{}: {}", path.display(), done.stderr);
        assert!(done.stderr.contains("Permission denied") || done.stderr.contains("permission"), "{}", done.stderr);
    }
    as_a_user(&place, &["build", "recipes/tiny.toml"]).unwrap().exits(0);
    assert_same(&place, &whole);
}

/// Every file of the cache with what kind it is.
fn cache_files(place: &Place) -> BTreeMap<String, Vec<PathBuf>> {
    let mut kinds: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in walkdir::WalkDir::new(place.path("cache")).sort_by_file_name().into_iter().flatten() {
        let path = entry.path().strip_prefix(place.path("cache")).unwrap().to_string_lossy().into_owned();
        // A spare tree's files are links of photos and blobs: they have no bytes of their own.
        if entry.file_type().is_file() && !path.contains("/tree/") {
            let kind = match path.split_once('/') {
                Some(("last", rest)) if rest.ends_with(".finished") => "finished".to_string(),
                Some((folder, _)) => folder.to_string(),
                None => path.split('-').next().unwrap().to_string(),
            };
            kinds.entry(kind).or_default().push(entry.into_path());
        }
    }
    kinds
}

#[test]
fn a_flipped_bit_or_a_cut_in_any_kind_of_cache_file_is_mended_to_the_same_bytes() {
    let (whole, place) = short_place();
    // Photos of long ago: the index does not remember what was only just written.
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for entry in walkdir::WalkDir::new(place.path("birds")).into_iter().flatten() {
        fs::File::open(entry.path()).unwrap().set_modified(long_ago).unwrap();
    }
    place.build();
    let mut dice = Dice::new();
    let kinds: Vec<String> = cache_files(&place).into_keys().collect();
    for kind in ["blobs", "finished", "last", "records.log", "stat", "trees", "version"] {
        assert!(kinds.contains(&kind.to_string()), "{kind} of {kinds:?}");
    }
    for round in 0..times(1).div_ceil(kinds.len()) * 2 {
        for kind in &kinds {
            let files = cache_files(&place);
            let Some(files) = files.get(kind) else { continue };
            let victim = &files[dice.below(files.len() as u64) as usize];
            let bytes = fs::read(victim).unwrap();
            if bytes.is_empty() {
                continue;
            }
            let mode = fs::metadata(victim).unwrap().permissions().mode();
            let mut damaged = bytes.clone();
            match round % 2 {
                // The end of the version's line is nobody's format.
                0 if kind == "version" => damaged[0] ^= 1 << dice.below(8),
                0 => damaged[dice.below(bytes.len() as u64) as usize] ^= 1 << dice.below(8),
                // A version without its line end is the same version.
                _ if kind == "version" => damaged.clear(),
                _ => damaged.truncate(dice.below(bytes.len() as u64) as usize),
            }
            chmod(victim, 0o644);
            fs::write(victim, &damaged).unwrap();
            chmod(victim, mode);
            let what = format!("{kind}, round {round}");
            if kind == "version" {
                // Another format is refused, not guessed at.
                let refused = place.run(&["build", "recipes/tiny.toml"]);
                assert!(refused.status == 1 || refused.status == 2, "{what}: {refused:?}");
                fs::write(victim, &bytes).unwrap();
                continue;
            }
            let checked = place.run(&["cache", "check"]);
            assert!(checked.status == 0 || checked.status == 3, "{what}: {checked:?}");
            if kind == "blobs" {
                assert_eq!(checked.status, 3, "{what}: {checked:?}");
            }
            if dice.below(2) == 0 {
                // The tree is written again from what the cache holds.
                remove(&place.path("out"));
            }
            let built = place.run(&["build", "recipes/tiny.toml"]);
            assert_eq!(built.status, 0, "{what}: {built:?}");
            assert_same(&place, &whole);
            let again = place.run(&["cache", "check"]);
            assert_eq!(again.status, 0, "{what}: {again:?}");
            assert!(place.build().stdout.starts_with("nothing to do"), "{what}");
        }
    }
}

#[test]
fn a_clock_that_was_set_back_neither_restarts_nor_hides_anything() {
    let (whole, place) = short_place();
    place.build();
    // Everything is from tomorrow, as after a clock that went wrong was put right.
    let tomorrow = std::time::SystemTime::now() + Duration::from_secs(86_400);
    for folder in ["birds", "cache", "out", "results"] {
        for entry in walkdir::WalkDir::new(place.path(folder)).into_iter().flatten() {
            let file = fs::File::open(entry.path()).unwrap();
            file.set_modified(tomorrow).unwrap();
        }
    }
    assert!(place.build().stdout.starts_with("nothing to do"));
    assert!(place.build().stdout.starts_with("nothing to do"));
    assert_same(&place, &whole);
    let mut photos: Vec<PathBuf> =
        place.files("birds/test").into_keys().map(|path| place.path("birds/test").join(path)).collect();
    let mut bytes = fs::read(&photos[0]).unwrap();
    bytes[15] ^= 1;
    let mode = fs::metadata(&photos[0]).unwrap().permissions();
    fs::write(&photos[0], &bytes).unwrap();
    fs::set_permissions(photos.swap_remove(0), mode).unwrap();
    place.run(&["plan", "recipes/tiny.toml", "--check"]).exits(3);
}

#[test]
fn any_sequence_of_edits_and_reverts_ends_in_the_bytes_of_a_fresh_build() {
    const EDITS: [(&str, &str); 9] = [
        ("target = 6", "target = 7"),
        ("[balance.species]", "max_ratio = 0.5\n[balance.species]"),
        ("ssim_max = 0.99", "ssim_max = 0.6"),
        ("candidates = 1.5", "candidates = 2.0"),
        ("guidance = 1.5", "guidance = 1.0"),
        ("out = \"out/tiny\"", "out = \"out/tiny\"\nencode = { format = \"png\", quality = 90, size = 24 }"),
        ("out = \"out/tiny\"", "out = \"out/tiny\"\nlink = \"copy\""),
        ("seeds = [0]", "seeds = [1]"),
        ("tail = 0.34", "tail = 0.67"),
    ];
    let place = Place::new();
    let mut dice = Dice::new();
    let mut on = [false; EDITS.len()];
    let text = |on: &[bool]| {
        let edits = EDITS.iter().zip(on).filter(|(_, on)| **on);
        edits.fold(short(), |text, ((from, to), _)| text.replacen(from, to, 1))
    };
    for _ in 0..times(5) {
        let edit = dice.below(EDITS.len() as u64) as usize;
        on[edit] = !on[edit];
        place.recipe(&text(&on));
        place.build();
        place.run(&["plan", "recipes/tiny.toml", "--check"]).exits(0);
    }
    let fresh = Place::new();
    fresh.recipe(&text(&on));
    fresh.build();
    assert!(place.files("out/tiny") == fresh.files("out/tiny"), "{on:?}");
    assert!(place.files("results/tiny") == fresh.files("results/tiny"), "{on:?}");
    // All edits taken back, it is the first recipe's build.
    place.recipe(&short());
    place.build();
    assert_same(&place, &undisturbed(&short()));
}
