use super::*;
use image::{ImageFormat, Rgb, RgbImage, imageops};
use std::fs;
use std::path::PathBuf;

/// Stripes and a slope that differ with the seed.
fn picture(seed: u32) -> RgbImage {
    let mut state = seed.wrapping_mul(2_654_435_761) + 77;
    let cells: Vec<u8> = (0..36)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    RgbImage::from_fn(48, 48, |x, y| Rgb([cells[(y / 8 * 6 + x / 8) as usize], (x * 4) as u8, (y * 4) as u8]))
}

struct Birds(tempfile::TempDir);

impl Birds {
    fn new() -> Birds {
        Birds(tempfile::tempdir().unwrap())
    }

    fn path(&self, file: &str) -> PathBuf {
        let path = self.0.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn put(&self, file: &str, image: &RgbImage) {
        image.save_with_format(self.path(file), ImageFormat::Png).unwrap();
    }

    /// Two healthy species, ten photos each in train, one in valid and test.
    fn healthy() -> Birds {
        let birds = Birds::new();
        for (s, species) in ["MALLARD", "ROBIN"].into_iter().enumerate() {
            for i in 0..12 {
                let split = ["train", "valid", "test"][(i as usize).saturating_sub(9)];
                birds.put(&format!("{split}/{species}/{i}.png"), &picture(100 * s as u32 + i));
            }
        }
        birds
    }

    fn audit_with(&self, options: &ScanOptions) -> Vec<Finding> {
        let mut index = StatIndex::load(&self.0.path().join(".index"));
        audit(options, &mut index, &mut HashMap::new(), &|_, _| {}).unwrap()
    }

    fn audit(&self) -> Vec<Finding> {
        self.audit_with(&ScanOptions::new(self.0.path()))
    }
}

fn found(kind: Kind, files: &[&str], message: &str, fix: &str) -> Finding {
    let files = files.iter().map(|f| f.to_string()).collect();
    Finding { kind, files, message: message.into(), fix: fix.into() }
}

#[test]
fn a_healthy_dataset_has_no_findings() {
    assert_eq!(Birds::healthy().audit(), []);
}

#[test]
fn files_that_are_no_whole_image_are_named() {
    let birds = Birds::healthy();
    fs::write(birds.path("train/ROBIN/empty.jpg"), b"").unwrap();
    fs::write(birds.path("train/ROBIN/page.jpg"), b"<html>").unwrap();
    std::os::unix::fs::symlink("nowhere", birds.path("train/ROBIN/gone.jpg")).unwrap();
    std::os::unix::fs::symlink("nowhere", birds.path("test/WREN")).unwrap();
    let unreadable = |file: &str, message: &str| {
        found(Kind::Unreadable, &[file], message, &format!("# delete or replace \"{file}\""))
    };
    let page = "not an image: it looks like a web page (known: JPEG, PNG, WebP, BMP, GIF, TIFF)";
    assert_eq!(
        birds.audit(),
        [
            unreadable("test/WREN", "cannot be read: No such file or directory (os error 2)"),
            unreadable("train/ROBIN/empty.jpg", "the file is empty (0 bytes)"),
            unreadable("train/ROBIN/gone.jpg", "cannot be read: No such file or directory (os error 2)"),
            unreadable("train/ROBIN/page.jpg", page),
        ]
    );
}

#[test]
fn a_split_that_spells_a_species_otherwise_gets_the_text_that_renames_it() {
    let birds = Birds::healthy();
    fs::rename(birds.0.path().join("test/ROBIN"), birds.0.path().join("test/ROBINN")).unwrap();
    let root = birds.0.path().display();
    let message = format!(
        "the species `ROBINN` is in test of `{root}`, but not in train; train has `ROBIN`, nearly the same name"
    );
    assert_eq!(
        birds.audit(),
        [found(Kind::SplitMismatch, &["test/ROBINN"], &message, "rename = { \"ROBINN\" = \"ROBIN\" }")]
    );
    let mut options = ScanOptions::new(birds.0.path());
    options.rename.insert("ROBINN".into(), "ROBIN".into());
    assert_eq!(birds.audit_with(&options), []);
}

#[test]
fn a_species_that_a_split_lacks_and_one_with_few_images_are_found_unless_excluded() {
    let birds = Birds::healthy();
    fs::remove_dir_all(birds.0.path().join("test/ROBIN")).unwrap();
    birds.put("train/EMU/1.png", &picture(900));
    birds.put("valid/EMU/2.png", &picture(901));
    birds.put("test/EMU/3.png", &picture(902));
    fs::create_dir(birds.0.path().join("train/DODO")).unwrap();
    let root = birds.0.path().display();
    let dodo = format!("the species `DODO` has no image in `{root}/train/DODO`");
    assert_eq!(
        birds.audit(),
        [
            found(
                Kind::SplitMismatch,
                &["train/ROBIN", "valid/ROBIN"],
                "the species `ROBIN` has no image in test",
                "exclude = [\"ROBIN\"]"
            ),
            found(Kind::TinyClass, &["train/DODO"], &dodo, "exclude = [\"DODO\"]"),
            found(
                Kind::TinyClass,
                &["train/EMU", "valid/EMU", "test/EMU"],
                "the species `EMU` has 1 image in train",
                "exclude = [\"EMU\"]"
            ),
        ]
    );
    let mut options = ScanOptions::new(birds.0.path());
    options.exclude = ["ROBIN", "DODO", "EMU"].map(String::from).to_vec();
    assert_eq!(birds.audit_with(&options), []);
}

#[test]
fn names_that_differ_by_case_or_a_letter_are_found() {
    let birds = Birds::healthy();
    for (i, split) in ["train", "valid", "test"].into_iter().enumerate() {
        for n in 0..[11, 1, 1][i] {
            birds.put(&format!("{split}/Mallard/{n}.png"), &picture(300 + 20 * i as u32 + n));
        }
    }
    assert_eq!(
        birds.audit(),
        [found(
            Kind::SimilarName,
            &["train/MALLARD", "valid/MALLARD", "test/MALLARD", "train/Mallard", "valid/Mallard", "test/Mallard"],
            "the species `MALLARD` and `Mallard` have nearly the same name; where the file system ignores case they \
             are one folder",
            "rename = { \"MALLARD\" = \"Mallard\" }"
        )]
    );
}

#[test]
fn copies_and_look_alikes_within_and_across_splits_are_found() {
    let birds = Birds::healthy();
    fs::copy(birds.0.path().join("test/ROBIN/11.png"), birds.path("train/ROBIN/copy.png")).unwrap();
    fs::copy(birds.0.path().join("train/MALLARD/0.png"), birds.path("train/ROBIN/wrong.png")).unwrap();
    birds.put("valid/ROBIN/mirror.png", &imageops::flip_horizontal(&picture(103)));
    let mut dim = picture(5);
    dim.pixels_mut().for_each(|p| p.0 = p.0.map(|c| c - c / 8));
    birds.put("train/MALLARD/dim.png", &dim);
    assert_eq!(
        birds.audit(),
        [
            found(
                Kind::ExactDuplicate,
                &["train/MALLARD/0.png", "train/ROBIN/wrong.png"],
                "the same file, 2 times, in train of `MALLARD` and `ROBIN`",
                "# delete \"train/ROBIN/wrong.png\""
            ),
            found(
                Kind::ExactDuplicate,
                &["train/ROBIN/copy.png", "test/ROBIN/11.png"],
                "the same file, 2 times, in train and test of `ROBIN`",
                "# none needed: a build leaves the copy in train out"
            ),
            found(
                Kind::NearDuplicate,
                &["train/MALLARD/5.png", "train/MALLARD/dim.png"],
                "pictures that look alike, 2 times, in train of `MALLARD`",
                "# delete \"train/MALLARD/dim.png\""
            ),
            found(
                Kind::NearDuplicate,
                &["train/ROBIN/3.png", "valid/ROBIN/mirror.png"],
                "pictures that look alike, mirrored, 2 times, in train and valid of `ROBIN`",
                "# delete \"train/ROBIN/3.png\""
            ),
        ]
    );
}

#[test]
fn odd_sizes_are_found_where_the_rest_agree() {
    let birds = Birds::healthy();
    birds.put("train/ROBIN/wide.png", &decode::stretch(&picture(500), 96, 48));
    birds.put("train/ROBIN/dot.png", &RgbImage::new(1, 1));
    let fix = "# none needed: the middle square of every picture is used; delete what is no photo";
    assert_eq!(
        birds.audit(),
        [
            found(Kind::OddSize, &["train/ROBIN/dot.png"], "1 image is 1x1 pixels, others 48x48", fix),
            found(Kind::OddSize, &["train/ROBIN/wide.png"], "1 image is 96x48 pixels, others 48x48", fix),
        ]
    );
}

#[test]
fn a_second_audit_decodes_nothing() {
    let birds = Birds::healthy();
    let options = ScanOptions::new(birds.0.path());
    let mut index = StatIndex::load(&birds.0.path().join(".index"));
    let mut looks = HashMap::new();
    let looked = AtomicUsize::new(0);
    let progress = |_: usize, all: usize| {
        assert_eq!(all, 24);
        looked.fetch_add(1, Ordering::Relaxed);
    };
    audit(&options, &mut index, &mut looks, &progress).unwrap();
    assert_eq!(looked.load(Ordering::Relaxed), 24);
    audit(&options, &mut index, &mut looks, &progress).unwrap();
    assert_eq!(looked.load(Ordering::Relaxed), 24);
}

#[test]
fn a_finding_is_written_with_its_kind_in_kebab_case() {
    let finding = found(Kind::NearDuplicate, &["a"], "m", "f");
    assert_eq!(
        serde_json::to_string(&finding).unwrap(),
        r#"{"kind":"near-duplicate","files":["a"],"message":"m","fix":"f"}"#
    );
}

/// For `bench/pairs.py`: seconds of an audit, and of decoding the same files on the same threads.
#[test]
#[ignore = "prints timings, checks nothing; needs a dataset in BIRDAUG_PHOTOS"]
fn pairs_speed_of_audit() {
    let root = std::path::PathBuf::from(std::env::var("BIRDAUG_PHOTOS").unwrap());
    let files = walkdir::WalkDir::new(&root).into_iter().map(|entry| entry.unwrap().into_path());
    let files: Vec<std::path::PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "jpg")).collect();
    let start = std::time::Instant::now();
    assert_eq!(decode::check_all(&files).len(), 0);
    println!("speed decode-all {:e} s", start.elapsed().as_secs_f64());
    let start = std::time::Instant::now();
    let mut index = StatIndex::load(Path::new(""));
    audit(&ScanOptions::new(&root), &mut index, &mut HashMap::new(), &|_, _| ()).unwrap();
    println!("speed audit-all {:e} s", start.elapsed().as_secs_f64());
}
