use super::*;
use crate::dataset::digest;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// A dataset of files whose bytes are their own paths, all of them last written in 2001.
struct Birds(tempfile::TempDir);

impl Birds {
    fn new(files: &[&str]) -> Birds {
        let birds = Birds(tempfile::tempdir().unwrap());
        for file in files {
            birds.write(file, file, 1_000_000_000);
        }
        birds
    }

    fn root(&self) -> std::path::PathBuf {
        self.0.path().join("birds")
    }

    fn write(&self, file: &str, text: &str, seconds: u64) {
        let path = self.root().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        touch(&path, seconds);
    }

    fn index(&self) -> StatIndex {
        StatIndex::load(&self.0.path().join("index"))
    }

    fn options(&self) -> ScanOptions {
        ScanOptions::new(self.root())
    }

    fn scan(&self) -> Dataset {
        scan(&self.options(), &mut self.index()).unwrap()
    }

    /// The message of a scan that fails, with the root's own path as `ROOT`.
    fn refusal(&self, options: &ScanOptions) -> String {
        let message = scan(options, &mut self.index()).unwrap_err().to_string();
        message.replace(&*self.root().to_string_lossy(), "ROOT")
    }
}

fn touch(path: &Path, seconds: u64) {
    let time = UNIX_EPOCH + Duration::from_secs(seconds);
    fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

fn paths(dataset: &Dataset) -> Vec<&str> {
    dataset.photos.iter().map(|p| p.path.as_str()).collect()
}

#[test]
fn photos_are_sorted_by_split_species_and_number_whatever_the_disk_says() {
    let mut files = [
        "train/ROBIN/10.jpg",
        "train/ROBIN/2.jpg",
        "train/MUTE SWAN/1.jpg",
        "train/Überläufer 鳥/a b.PNG",
        "valid/ROBIN/1.jpg",
        "test/ROBIN/1.jpg",
    ];
    let first = Birds::new(&files);
    files.reverse();
    let second = Birds::new(&files);
    let dataset = first.scan();
    assert_eq!(dataset.species, ["MUTE SWAN", "ROBIN", "Überläufer 鳥"]);
    assert_eq!(
        paths(&dataset),
        [
            "train/MUTE SWAN/1.jpg",
            "train/ROBIN/2.jpg",
            "train/ROBIN/10.jpg",
            "train/Überläufer 鳥/a b.PNG",
            "valid/ROBIN/1.jpg",
            "test/ROBIN/1.jpg",
        ]
    );
    let swan = &dataset.photos[0];
    assert_eq!((swan.split, swan.species, swan.bytes), (Split::Train, 0, 21));
    assert_eq!(swan.digest, digest::of(b"train/MUTE SWAN/1.jpg"));
    assert_eq!(fs::read_to_string(dataset.path(0)).unwrap(), "train/MUTE SWAN/1.jpg");
    assert_eq!(dataset.photos, second.scan().photos);
}

#[test]
fn a_rescan_reads_nothing_and_a_touched_file_alone_is_read_again() {
    let birds = Birds::new(&["train/ROBIN/1.jpg", "train/ROBIN/2.jpg", "train/WREN/1.jpg", "test/WREN/1.jpg"]);
    let mut index = birds.index();
    let first = scan(&birds.options(), &mut index).unwrap();
    assert_eq!(first.hashed, 4);
    index.save().unwrap();

    let mut index = birds.index();
    let second = scan(&birds.options(), &mut index).unwrap();
    assert_eq!(second.hashed, 0);
    assert_eq!(second.photos, first.photos);

    touch(&birds.root().join("train/ROBIN/2.jpg"), 1_000_000_001);
    let third = scan(&birds.options(), &mut index).unwrap();
    assert_eq!((third.hashed, &third.photos), (1, &first.photos));

    birds.write("train/ROBIN/1.jpg", "another robin....", 1_000_000_002);
    let fourth = scan(&birds.options(), &mut index).unwrap();
    assert_eq!(fourth.hashed, 1);
    assert_eq!(fourth.photos[0].digest, digest::of(b"another robin...."));

    fs::remove_file(birds.root().join("train/ROBIN/1.jpg")).unwrap();
    birds.write("train/ROBIN/3.jpg", "3", 1_000_000_000);
    assert_eq!(scan(&birds.options(), &mut index).unwrap().hashed, 1);
    assert_eq!(scan(&birds.options(), &mut index).unwrap().hashed, 0);
    index.forget();
    assert_eq!(scan(&birds.options(), &mut index).unwrap().hashed, 4);
}

#[test]
fn what_is_no_photo_is_skipped_and_said() {
    let birds = Birds::new(&[
        "train/ROBIN/1.jpg",
        "train/ROBIN/Thumbs.db",
        "train/ROBIN/notes.txt",
        "train/ROBIN/.hidden.jpg",
        "train/ROBIN/more/1.jpg",
        "train/.cache/1.jpg",
        "train/birds.csv",
        "birds.csv",
    ]);
    fs::create_dir(birds.root().join("train/ROBIN/folder.jpg")).unwrap();
    let dataset = birds.scan();
    assert_eq!(paths(&dataset), ["train/ROBIN/1.jpg"]);
    let said: Vec<String> = dataset.skipped.iter().map(|(path, why)| format!("{path}: {why}")).collect();
    assert_eq!(
        said,
        [
            "train/ROBIN/Thumbs.db: not an image file",
            "train/ROBIN/folder.jpg: not a regular file",
            "train/ROBIN/more: a folder inside a species folder",
            "train/ROBIN/notes.txt: not an image file",
            "train/birds.csv: a file beside the species folders",
        ]
    );
}

#[test]
fn linked_folders_and_files_are_followed() {
    let birds = Birds::new(&["train/ROBIN/1.jpg"]);
    let elsewhere = Birds::new(&["WREN/1.jpg"]);
    symlink(elsewhere.root().join("WREN"), birds.root().join("train/WREN")).unwrap();
    symlink(elsewhere.root().join("WREN/1.jpg"), birds.root().join("train/ROBIN/2.jpg")).unwrap();
    let dataset = birds.scan();
    assert_eq!(paths(&dataset), ["train/ROBIN/1.jpg", "train/ROBIN/2.jpg", "train/WREN/1.jpg"]);
    assert_eq!(dataset.photos[1].digest, digest::of(b"WREN/1.jpg"));
}

#[test]
fn renamed_folders_become_one_species_and_excluded_ones_none() {
    let birds = Birds::new(&[
        "train/PARAKETT  AUKLET/2.jpg",
        "train/PARAKETT AUKLET/1.jpg",
        "train/PARAKETT AUKLET/3.jpg",
        "train/LOONEY BIRDS/1.jpg",
        "test/PARAKETT AUKLET/1.jpg",
        "test/LOONEY BIRDS/1.jpg",
    ]);
    let mut options = birds.options();
    options.rename.insert("PARAKETT  AUKLET".into(), "PARAKEET AUKLET".into());
    options.rename.insert("PARAKETT AUKLET".into(), "PARAKEET AUKLET".into());
    options.exclude.push("LOONEY BIRDS".into());
    let dataset = scan(&options, &mut birds.index()).unwrap();
    assert_eq!(dataset.species, ["PARAKEET AUKLET"]);
    assert_eq!(
        paths(&dataset),
        [
            "train/PARAKETT AUKLET/1.jpg",
            "train/PARAKETT  AUKLET/2.jpg",
            "train/PARAKETT AUKLET/3.jpg",
            "test/PARAKETT AUKLET/1.jpg",
        ]
    );
}

#[test]
fn names_that_differ_by_case_alone_are_two_species() {
    let birds = Birds::new(&["train/Robin/1.jpg", "train/ROBIN/1.jpg", "test/Robin/1.jpg"]);
    assert_eq!(birds.scan().species, ["ROBIN", "Robin"]);
}

#[test]
fn a_missing_root_is_named_with_its_nearest_neighbour() {
    let birds = Birds::new(&["train/ROBIN/1.jpg"]);
    let mut options = birds.options();
    options.root = birds.0.path().join("birdz");
    let message = scan(&options, &mut birds.index()).unwrap_err().to_string();
    let here = birds.0.path().display();
    assert_eq!(
        message,
        format!("the dataset root `{here}/birdz` does not exist\n  help: `{here}/birds` exists: did you mean that?")
    );
    options.root = birds.0.path().join("photographs");
    assert_eq!(
        scan(&options, &mut birds.index()).unwrap_err().to_string(),
        format!(
            "the dataset root `{here}/photographs` does not exist\n  help: give the folder that holds train/, valid/ \
             and test/ (paths are relative to the working folder); `birdaug sample DIR` draws a dataset to try"
        )
    );
}

#[test]
fn a_missing_train_folder_is_named_with_what_to_write() {
    let birds = Birds::new(&["Training/ROBIN/1.jpg", "test/ROBIN/1.jpg"]);
    assert_eq!(
        birds.refusal(&birds.options()),
        "the dataset `ROOT` has no folder `train`\n  help: there is a folder `Training`: write in the recipe's \
         [dataset]:\n    splits = { train = \"Training\" }"
    );
    let nested = Birds::new(&["archive/train/ROBIN/1.jpg"]);
    assert_eq!(
        nested.refusal(&nested.options()),
        "the dataset `ROOT` has no folder `train`\n  help: `archive` has one: write in the recipe's [dataset]:\n    \
         root = \"ROOT/archive\""
    );
    let flat = Birds::new(&["ROBIN/1.jpg"]);
    assert_eq!(
        flat.refusal(&flat.options()),
        "the dataset `ROOT` has no folder `train`\n  help: a dataset has train/, valid/ and test/ with a folder a \
         species in each; other names go into the recipe's [dataset] as `splits`"
    );
    let empty = Birds::new(&[]);
    fs::create_dir(empty.root()).unwrap();
    assert_eq!(
        empty.refusal(&empty.options()),
        "the dataset `ROOT` has no folder `train`\n  help: it is empty: put a folder a species into train/, valid/ \
         and test/"
    );
}

#[test]
fn another_name_of_the_valid_folder_is_not_taken_for_an_empty_split() {
    let birds = Birds::new(&["train/ROBIN/1.jpg", "val/ROBIN/1.jpg"]);
    assert_eq!(
        birds.refusal(&birds.options()),
        "the dataset `ROOT` has no folder `valid`\n  help: there is a folder `val`: write in the recipe's \
         [dataset]:\n    splits = { valid = \"val\" }"
    );
    let mut options = birds.options();
    options.splits.valid = "val".into();
    assert_eq!(scan(&options, &mut birds.index()).unwrap().photos[1].split, Split::Valid);
}

#[test]
fn a_train_folder_without_species_says_so() {
    let birds = Birds::new(&["train/1.jpg"]);
    assert_eq!(
        birds.refusal(&birds.options()),
        "`ROOT/train` has no species folders\n  help: train/ holds a folder for each species, named as the species, \
         with its images"
    );
    let birds = Birds::new(&["train/ROBIN/1.jpg"]);
    let options = ScanOptions { exclude: vec!["ROBIN".into()], ..birds.options() };
    assert_eq!(
        birds.refusal(&options),
        "`ROOT/train` has no species left: all are excluded\n  help: train/ holds a folder for each species, named as \
         the species, with its images"
    );
}

#[test]
fn an_empty_species_is_named_with_the_text_that_excludes_it() {
    let birds = Birds::new(&["train/ROBIN/1.jpg", "train/DODO/notes.txt", "train/LOON/1.jpg"]);
    let options = ScanOptions { exclude: vec!["LOON".into()], ..birds.options() };
    assert_eq!(
        birds.refusal(&options),
        "the species `DODO` has no image in `ROOT/train/DODO`\n  help: write in the recipe's [dataset]:\n    \
         exclude = [\"DODO\", \"LOON\"]"
    );
}

#[test]
fn a_species_that_train_spells_otherwise_is_named_with_the_text_that_renames_it() {
    let birds = Birds::new(&[
        "train/PARAKETT  AUKLET/1.jpg",
        "train/ROBIN/1.jpg",
        "valid/PARAKETT  AUKLET/1.jpg",
        "test/PARAKETT AUKLET/1.jpg",
        "valid/GHOST/1.jpg",
        "test/GHOST/1.jpg",
    ]);
    assert_eq!(
        birds.refusal(&birds.options()),
        "the species `GHOST` is in valid and test of `ROOT`, but not in train\n\
         the species `PARAKETT AUKLET` is in test of `ROOT`, but not in train; train has `PARAKETT  AUKLET`, nearly \
         the same name\n  help: write in the recipe's [dataset]:\n    \
         rename = { \"PARAKETT AUKLET\" = \"PARAKETT  AUKLET\" }\n    exclude = [\"GHOST\"]"
    );
    let mut options = birds.options();
    options.rename.insert("PARAKETT AUKLET".into(), "PARAKETT  AUKLET".into());
    options.exclude.push("GHOST".into());
    assert_eq!(scan(&options, &mut birds.index()).unwrap().species, ["PARAKETT  AUKLET", "ROBIN"]);
}

#[test]
fn names_in_the_recipe_that_are_not_there_are_named_with_the_nearest() {
    let birds = Birds::new(&["train/ROBIN/1.jpg", "train/MALLARD/1.jpg"]);
    let mut options = birds.options();
    options.rename.insert("MALARD".into(), "DUCK".into());
    options.exclude = vec!["ROBINS".into(), "UNICORN".into()];
    assert_eq!(
        birds.refusal(&options),
        "`rename` names `MALARD`, which is no folder of `ROOT`; did you mean `MALLARD`?\n\
         `exclude` names `ROBINS`, which is no species of `ROOT`; did you mean `ROBIN`?\n\
         `exclude` names `UNICORN`, which is no species of `ROOT`\n  help: write in the recipe's [dataset]:\n    \
         rename = { \"MALLARD\" = \"DUCK\" }\n    exclude = [\"ROBIN\"]"
    );
}

#[test]
fn a_file_or_folder_that_cannot_be_read_stops_the_scan_and_is_named() {
    let birds = Birds::new(&["train/ROBIN/1.jpg"]);
    symlink("nowhere", birds.root().join("train/ROBIN/2.jpg")).unwrap();
    let message = "could not read `ROOT/train/ROBIN/2.jpg`: No such file or directory (os error 2)";
    assert_eq!(birds.refusal(&birds.options()), message);
    fs::remove_file(birds.root().join("train/ROBIN/2.jpg")).unwrap();
    symlink("WREN", birds.root().join("train/WREN")).unwrap();
    let message = "could not read `ROOT/train/WREN`: Too many levels of symbolic links (os error 40)";
    assert_eq!(birds.refusal(&birds.options()), message);
}
