use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::spare::Spare;
use super::*;
use crate::dataset::digest;
use crate::dataset::stat_index::StatIndex;
use crate::error::Result;
use crate::recipe::Link;

/// A folder with photos, a place for trees, and what a build would remember of both.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { dir: tempfile::tempdir().unwrap() }
    }

    fn out(&self) -> PathBuf {
        self.dir.path().join("out/tree")
    }

    fn spare(&self) -> PathBuf {
        self.dir.path().join("cache/trees/one")
    }

    fn index(&self) -> StatIndex {
        StatIndex::load(&self.dir.path().join("index"))
    }

    fn look(&self) -> Option<Present> {
        let mut index = self.index();
        let present = Present::look(&self.out(), &mut index).unwrap();
        index.save().unwrap();
        present
    }

    fn difference(&self, tree: &Tree) -> Option<String> {
        match self.look() {
            Some(present) => present.difference(tree, &self.out()),
            None => Some("nothing there".to_string()),
        }
    }

    fn write(&self, tree: &Tree, link: Link) -> Result<Written> {
        let (out, spare) = (self.out(), self.spare());
        Writer { out: &out, link, spare, whole: &|_| Ok(true), each: &|_| {} }.write(tree)
    }

    fn write_anew(&self, tree: &Tree) {
        let (out, spare) = (self.out(), self.spare());
        let writer = Writer { out: &out, link: Link::Hardlink, spare, whole: &|_| Ok(true), each: &|_| {} };
        assert_eq!(writer.write_anew(tree).unwrap(), Written::Anew);
    }

    /// A photo of the dataset, older than the index trusts nothing of.
    fn photo(&self, name: &str, text: &str) -> File {
        let path = self.dir.path().join("birds").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
        File { content: Content::Photo(path), digest: digest::of(text.as_bytes()) }
    }
}

fn tree(files: &[(&str, &str)]) -> Tree {
    let mut tree = Tree::default();
    for (path, text) in files {
        tree.insert_bytes(path, text.as_bytes().to_vec());
    }
    tree
}

#[test]
fn a_written_tree_does_not_differ_and_a_changed_one_does() {
    let place = Place::new();
    let tree = tree(&[(MARK, "path\n"), ("train/A/1.jpg", "x"), ("train/B/1.jpg", "y")]);
    assert!(place.look().is_none());
    place.write(&tree, Link::Auto).unwrap();
    assert_eq!(place.difference(&tree), None);
    assert_eq!(place.look().unwrap().digest(), Some(tree.digest()));
    fs::write(place.out().join("train/A/1.jpg"), "z").unwrap();
    assert!(place.difference(&tree).unwrap().ends_with("train/A/1.jpg` was changed"));
    assert_ne!(place.look().unwrap().digest(), Some(tree.digest()));
    fs::remove_file(place.out().join("train/A/1.jpg")).unwrap();
    assert!(place.difference(&tree).unwrap().ends_with("train/A/1.jpg` is missing"));
    place.write(&tree, Link::Auto).unwrap();
    fs::write(place.out().join("extra"), "z").unwrap();
    assert!(place.difference(&tree).unwrap().ends_with("extra` is not of this build"));
}

#[test]
fn a_new_tree_takes_the_place_of_the_old_one_and_leaves_nothing_beside_it() {
    let place = Place::new();
    place.write(&tree(&[(MARK, "1"), ("train/A/old.jpg", "x")]), Link::Auto).unwrap();
    place.write(&tree(&[(MARK, "2"), ("train/A/new.jpg", "x")]), Link::Auto).unwrap();
    assert!(!place.out().join("train/A/old.jpg").exists() && place.out().join("train/A/new.jpg").exists());
    assert_eq!(fs::read_dir(place.out().parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn what_a_killed_build_left_beside_the_tree_goes_and_what_another_is_writing_stays() {
    let place = Place::new();
    let beside = |name: &str| {
        let path = place.out().with_file_name(name);
        fs::create_dir_all(path.join("train")).unwrap();
        path
    };
    let (left, held) = (beside(".tree.building-left"), beside(".tree.building-held"));
    let lock = fs::File::open(&held).unwrap();
    lock.lock().unwrap();
    place.write(&tree(&[(MARK, "1")]), Link::Auto).unwrap();
    assert!(!left.exists() && held.exists());
}

#[test]
fn a_folder_of_somebody_else_is_never_replaced() {
    let place = Place::new();
    fs::create_dir_all(place.out()).unwrap();
    fs::write(place.out().join("thesis.tex"), "years of work").unwrap();
    let message = place.write(&tree(&[(MARK, "1")]), Link::Auto).unwrap_err().to_string();
    assert!(message.contains("is not empty and was not written by birdaug"), "{message}");
    assert!(place.out().join("thesis.tex").exists());
}

#[test]
fn links_have_the_bytes_of_their_file() {
    for link in [Link::Auto, Link::Hardlink, Link::Copy, Link::Symlink] {
        let place = Place::new();
        let mut tree = tree(&[(MARK, "1")]);
        tree.insert("train/A/1.jpg", place.photo("A/1.jpg", "bird"));
        place.write(&tree, link).unwrap();
        assert_eq!(fs::read(place.out().join("train/A/1.jpg")).unwrap(), b"bird");
        assert_eq!(place.difference(&tree), None);
    }
}

#[test]
fn only_the_folders_that_changed_are_written_again() {
    let place = Place::new();
    let with = |files: &[(&str, File)]| {
        let mut tree = tree(&[(MARK, &format!("{files:?}"))]);
        files.iter().for_each(|(path, file)| tree.insert(path, file.clone()));
        tree
    };
    let (a, b, c) = (place.photo("A/1.jpg", "a"), place.photo("B/1.jpg", "b"), place.photo("B/2.jpg", "c"));
    let first = with(&[("train/A/1.jpg", a.clone()), ("train/B/1.jpg", b.clone())]);
    assert_eq!(place.write(&first, Link::Hardlink).unwrap(), Written::Anew);
    let second = with(&[("train/A/1.jpg", a.clone()), ("train/B/1.jpg", b.clone()), ("train/B/2.jpg", c.clone())]);
    // The root with its csv, and the folder that changed.
    assert_eq!(place.write(&second, Link::Hardlink).unwrap(), Written::FromSpare(2));
    assert_eq!(place.difference(&second), None);
    // The tree that comes back now is the first one: it lacks what the second one gained.
    let third = with(&[("train/A/1.jpg", a), ("train/B/2.jpg", c)]);
    assert_eq!(place.write(&third, Link::Hardlink).unwrap(), Written::FromSpare(2));
    assert_eq!(place.difference(&third), None);
    let only = with(&[("train/B/1.jpg", b)]);
    assert_eq!(place.write(&only, Link::Hardlink).unwrap(), Written::FromSpare(2));
    assert_eq!(place.difference(&only), None);
}

#[test]
fn what_somebody_did_to_the_old_tree_does_not_come_back_with_it() {
    let place = Place::new();
    let first = tree(&[(MARK, "1"), ("train/A/1.jpg", "x"), ("train/B/1.jpg", "y")]);
    let second = tree(&[(MARK, "2"), ("train/A/1.jpg", "x"), ("train/B/1.jpg", "z")]);
    place.write(&first, Link::Hardlink).unwrap();
    fs::write(place.out().join("train/A/note.txt"), "mine").unwrap();
    place.write(&second, Link::Hardlink).unwrap();
    assert_eq!(place.difference(&second), None);
    place.write(&first, Link::Hardlink).unwrap();
    assert_eq!(place.difference(&first), None);
    // Somebody even went into the spare tree.
    let spare = Spare::new(place.spare());
    fs::write(spare.tree().join("train/A/other.txt"), "mine").unwrap();
    assert_eq!(place.write(&second, Link::Hardlink).unwrap(), Written::FromSpare(2));
    assert_eq!(place.difference(&second), None);
    // A file changed in place shows in no folder's state: such a tree is written anew.
    fs::write(place.out().join("train/A/1.jpg"), "scribble").unwrap();
    assert!(place.difference(&second).is_some());
    place.write_anew(&second);
    assert_eq!(place.difference(&second), None);
    place.write(&first, Link::Hardlink).unwrap();
    assert_eq!(place.difference(&first), None);
}

#[test]
fn a_spare_tree_that_is_in_doubt_is_not_used() {
    let place = Place::new();
    let first = tree(&[(MARK, "1"), ("train/A/1.jpg", "x")]);
    place.write(&first, Link::Hardlink).unwrap();
    let held = place.spare().join("held");
    let mut bytes = fs::read(&held).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&held, bytes).unwrap();
    let second = tree(&[(MARK, "2"), ("train/A/1.jpg", "x")]);
    assert_eq!(place.write(&second, Link::Hardlink).unwrap(), Written::Anew);
    assert_eq!(place.difference(&second), None);
    assert!(Spare::new(place.spare()).held(Link::Hardlink).is_some());
    assert!(Spare::new(place.spare()).held(Link::Symlink).is_none());
}

#[test]
fn copies_keep_no_spare_tree() {
    let place = Place::new();
    let mut tree = tree(&[(MARK, "1")]);
    tree.insert("train/A/1.jpg", place.photo("A/1.jpg", "bird"));
    place.write(&tree, Link::Copy).unwrap();
    assert!(!place.spare().exists());
}

#[test]
fn after_settling_nothing_is_read_again_and_the_photos_are_known_in_their_new_state() {
    let place = Place::new();
    let root = place.dir.path().join("birds");
    let mut all = tree(&[]);
    all.insert("train/A/1.jpg", place.photo("A/1.jpg", "bird"));
    let mut photos = StatIndex::load(&place.dir.path().join("photos"));
    assert!(Present::look(&root, &mut photos).unwrap().is_some());
    let before = photos.entry(&fs::canonicalize(root.join("A")).unwrap().to_string_lossy(), "1.jpg").unwrap().clone();
    place.write(&all, Link::Hardlink).unwrap();
    let mut index = place.index();
    let (out, key) = (place.out(), fs::canonicalize(place.out().join("train/A")).unwrap());
    all.settle(&out, Indices { tree: &mut index, photos: &mut photos, root: &root }).unwrap();
    let entry = index.entry(&key.to_string_lossy(), "1.jpg").unwrap();
    assert_eq!(entry.digest, digest::of(b"bird"));
    let now = fs::metadata(out.join("train/A/1.jpg")).unwrap();
    assert_eq!((entry.stat.inode, entry.stat.size), (now.ino(), 4));
    let after = photos.entry(&fs::canonicalize(root.join("A")).unwrap().to_string_lossy(), "1.jpg").unwrap().clone();
    assert_eq!(after.stat, entry.stat);
    assert_eq!((after.stat.inode, after.digest), (before.stat.inode, before.digest));
}

#[test]
fn a_photo_that_changed_since_it_was_hashed_is_not_taken_for_known() {
    let place = Place::new();
    let root = place.dir.path().join("birds");
    let mut all = tree(&[]);
    all.insert("train/A/1.jpg", place.photo("A/1.jpg", "bird"));
    let mut photos = StatIndex::load(&place.dir.path().join("photos"));
    Present::look(&root, &mut photos).unwrap();
    fs::write(root.join("A/1.jpg"), "fish").unwrap();
    place.write(&all, Link::Hardlink).unwrap();
    let mut index = place.index();
    all.settle(&place.out(), Indices { tree: &mut index, photos: &mut photos, root: &root }).unwrap();
    assert!(index.is_empty());
    assert!(place.difference(&all).unwrap().ends_with("1.jpg` was changed"));
}

#[test]
fn any_sequence_of_trees_ends_in_the_last_one() {
    // A fixed generator of numbers: the sequence is the same in every run.
    let mut state = 1_u64;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let place = Place::new();
    let photos: Vec<(String, File)> = (0..24)
        .map(|i| {
            let path = format!("{}/{i}.jpg", ["A", "B", "C", "D"][i % 4]);
            let file = place.photo(&path, &format!("photo {i}"));
            (format!("train/{path}"), file)
        })
        .collect();
    for round in 0..60 {
        let mut now = tree(&[(MARK, &format!("{round}"))]);
        for (path, file) in &photos {
            if next(3) > 0 {
                now.insert(path, file.clone());
            }
        }
        if next(10) == 0 {
            // Now and then somebody removes a folder.
            let _ = fs::remove_dir_all(place.out().join("train/B"));
        }
        place.write(&now, Link::Hardlink).unwrap();
        assert_eq!(place.difference(&now), None, "round {round}");
    }
}
