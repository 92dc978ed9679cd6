//! `birdaug metrics` on folders of images, as people and scripts see it: figures, tables, and what is said of bad input.

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use birdaug::nn::inception::shapes;
use image::{DynamicImage, ImageFormat, RgbImage, RgbaImage};
use serde_json::Value;

use super::checkpoint::safetensors;
use super::place::{Place, Said};

/// Weights of FID's network, drawn: as good as the real ones for all but the figures. Written once a run of the tests.
fn weights() -> &'static Path {
    static WEIGHTS: OnceLock<PathBuf> = OnceLock::new();
    WEIGHTS.get_or_init(|| write_weights("inception.safetensors", &drawn()))
}

type Tensors = BTreeMap<String, (Vec<usize>, Vec<u8>)>;

fn drawn() -> Tensors {
    let tensor = |(name, shape): (String, Vec<i64>)| {
        let shape: Vec<usize> = shape.into_iter().map(|n| n as usize).collect();
        let n: usize = shape.iter().product();
        let bound = (6.0 / (n / shape[0]) as f32).sqrt();
        let mut state = name.bytes().fold(1u32, |state, byte| state.wrapping_mul(31).wrapping_add(u32::from(byte)));
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let value = |u: f32| match shape.len() {
            4 => u * bound,
            _ if name.ends_with("bn.weight") || name.ends_with("running_var") => 1.0 + 0.1 * u,
            _ => 0.1 * u,
        };
        let bytes = (0..n).flat_map(|_| value(next()).to_le_bytes()).collect();
        (name.clone(), (shape, bytes))
    };
    shapes().into_iter().map(tensor).collect()
}

fn write_weights(name: &str, tensors: &Tensors) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, safetensors(tensors)).unwrap();
    path
}

fn picture(seed: u32) -> RgbImage {
    RgbImage::from_fn(40 + seed % 3, 40, |x, y| {
        let wave = |k: u32| ((x * (seed % 5 + k) + y * (seed % 7 + 1)) * 9 % 256) as u8;
        image::Rgb([wave(1), wave(2), (seed * 37 % 256) as u8])
    })
}

fn bytes(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    image.into().write_to(&mut Cursor::new(&mut bytes), format).unwrap();
    bytes
}

/// A folder of so many pictures; some lie in sub-folders, as a dataset's do.
fn pictures(place: &Place, folder: &str, n: u32, first: u32) {
    for i in 0..n {
        let species = if i % 2 == 0 { "JAY/" } else { "" };
        place.write(&format!("{folder}/{species}{i}.png"), &bytes(picture(first + i), ImageFormat::Png));
    }
}

fn measure(place: &Place, figure: &str, more: &[&str]) -> Said {
    let weights = weights().display().to_string();
    place.run(&[&["metrics", figure, "a", "b", "--weights", &weights], more].concat())
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn figures_of_two_folders_carry_all_that_belongs_beside_them_and_a_second_call_measures_nothing() {
    let place = Place::empty();
    pictures(&place, "a", 9, 0);
    pictures(&place, "b", 7, 100);
    let first = measure(&place, "fid", &["--json"]).exits(0);
    assert!(first.stderr.contains("features: 9 images in "), "{}", first.stderr);
    let fid = first.json();
    assert!(number(&fid["value"]) > 0.0);
    assert_eq!(fid["n"], serde_json::json!([9, 7]));
    assert_eq!(fid["features"], "inception-2015-12-05");
    assert_eq!((&fid["resize"], &fid["precision"]), (&"clean".into(), &"fp32".into()));
    assert!(number(&fid["interval"]["low"]) <= number(&fid["value"]));
    assert_eq!(fid["floor"]["n"], serde_json::json!([4, 5]));
    assert_eq!(fid["note"], "FID of fewer than 2,048 images is mostly its own bias: read KID in its place");
    assert_eq!(fid["skipped"], serde_json::json!([0, 0]));

    let kid = measure(&place, "kid", &["--json"]).exits(0).json();
    assert_eq!(fid["kid"]["value"], kid["value"]);
    assert!(number(&kid["std"]) > 0.0 && kid["by_subsets"] == false);
    let prdc = measure(&place, "prdc", &["--json", "--k", "2"]).exits(0).json();
    for name in ["precision", "recall", "density", "coverage"] {
        assert!(number(&prdc[name]) >= 0.0 && prdc["interval"][name]["high"].is_number(), "{prdc}");
    }
    assert_eq!((&prdc["k"], &prdc["n"]), (&2.into(), &serde_json::json!([9, 7])));

    let again = measure(&place, "fid", &["--json"]).exits(0);
    assert_eq!(again.stdout, first.stdout);
    assert!(!again.stderr.contains("features"), "{}", again.stderr);
    // A new name or place of a file is no new image.
    fs::rename(place.path("b/JAY"), place.path("b/OWL")).unwrap();
    let moved = measure(&place, "fid", &["--json"]).exits(0);
    assert!((number(&moved.json()["value"]) - number(&fid["value"])).abs() < 1e-6);
    assert!(!moved.stderr.contains("features"), "{}", moved.stderr);
    // Another way of resizing is another figure.
    let other = measure(&place, "fid", &["--json", "--resize", "tf-bilinear"]).exits(0).json();
    assert_eq!(other["resize"], "tf-bilinear");
    assert_ne!(other["value"], fid["value"]);
}

#[test]
fn a_folder_is_at_distance_zero_from_itself_and_the_table_says_what_it_is() {
    let place = Place::empty();
    pictures(&place, "a", 5, 0);
    pictures(&place, "b", 5, 0);
    let found = measure(&place, "fid", &["--json"]).exits(0).json();
    assert!(number(&found["value"]) < 1e-6, "{found}");
    let table = measure(&place, "fid", &[]).exits(0).stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("figure") && lines[0].ends_with("floor"), "{table}");
    let cells = |line: &str| line.split_whitespace().map(String::from).collect::<Vec<_>>();
    assert_eq!(cells(lines[1])[..2], ["fid", "0.000"], "{table}");
    assert_eq!(cells(lines[2])[0], "kid", "{table}");
    assert_eq!(
        lines[3..],
        [
            "5 images in `a`, 5 in `b`; features inception-2015-12-05, resize clean, fp32",
            "floor: two halves of the first folder (2 and 3 images) from each other",
            "note: FID of fewer than 2,048 images is mostly its own bias: read KID in its place",
        ]
    );
}

#[test]
fn half_precision_says_how_far_it_is_from_single() {
    let place = Place::empty();
    pictures(&place, "a", 3, 0);
    pictures(&place, "b", 3, 9);
    let found = measure(&place, "kid", &["--json", "--precision", "bf16"]).exits(0).json();
    assert_eq!(found["precision"], "bf16");
    assert_eq!(found["deviation"]["images"], 6);
    let relative = number(&found["deviation"]["relative"]);
    assert!(relative > 0.0 && relative < 0.1, "{found}");
    let table = measure(&place, "kid", &["--precision", "bf16"]).exits(0).stdout;
    assert!(table.contains("bf16 against fp32 on 6 images: features "), "{table}");
}

#[test]
fn constant_grey_and_transparent_images_of_any_size_are_measured() {
    let place = Place::empty();
    for i in 0..4u32 {
        let side = 1 + 50 * i;
        let flat = RgbImage::from_pixel(side, 7, image::Rgb([9, 9, 9]));
        place.write(&format!("a/{i}.png"), &bytes(flat, ImageFormat::Png));
        let grey = DynamicImage::from(picture(i)).into_luma8();
        place.write(&format!("b/{i}.jpg"), &bytes(grey, ImageFormat::Jpeg));
        let mut clear: RgbaImage = DynamicImage::from(picture(i)).into_rgba8();
        clear.pixels_mut().for_each(|pixel| pixel.0[3] = 100);
        place.write(&format!("b/clear {i}.png"), &bytes(clear, ImageFormat::Png));
    }
    let found = measure(&place, "fid", &["--json"]).exits(0).json();
    assert_eq!(found["n"], serde_json::json!([4, 8]));
    assert!(number(&found["value"]) > 0.0);
    // All images of `a` are the same to the network, so its halves are too.
    assert!(number(&found["floor"]["value"]) < 1e-6, "{found}");
}

#[test]
fn unreadable_files_are_refused_with_their_number_or_left_out_and_counted() {
    let place = Place::empty();
    pictures(&place, "a", 3, 0);
    // 700 that can be read, of five contents, and 300 that cannot, in three ways.
    pictures(&place, "b", 5, 9);
    let held: Vec<Vec<u8>> = ["JAY/0", "1", "JAY/2", "3", "JAY/4"]
        .map(|name| fs::read(place.path(&format!("b/{name}.png"))).unwrap())
        .into();
    for i in 5..700 {
        place.write(&format!("b/{i}.png"), &held[i % 5]);
    }
    for i in 0..300 {
        let content: &[u8] = [b"".as_slice(), b"<html>", &held[0][..40]][i / 100];
        place.write(&format!("b/bad {i:03}.png"), content);
    }
    assert_eq!(
        measure(&place, "fid", &[]).exits(1).stderr,
        "error: 300 of 1,000 files in `b` cannot be read:\n  \
         `b/bad 000.png`: the file is empty (0 bytes)\n  \
         `b/bad 001.png`: the file is empty (0 bytes)\n  \
         `b/bad 002.png`: the file is empty (0 bytes)\n  \
         and 297 more\n  \
         help: take them away, or leave them out with `--skip-unreadable`\n"
    );
    let found = measure(&place, "fid", &["--skip-unreadable", "--json"]).exits(0).json();
    assert_eq!((&found["n"], &found["skipped"]), (&serde_json::json!([3, 700]), &serde_json::json!([0, 300])));
    let table = measure(&place, "fid", &["--skip-unreadable"]).exits(0).stdout;
    assert!(table.contains("\n300 unreadable files left out of `b`\n"), "{table}");
    // Nothing but unreadable files is nothing.
    fs::remove_dir_all(place.path("b")).unwrap();
    place.write("b/x.png", b"<html>");
    let said = measure(&place, "fid", &["--skip-unreadable"]).exits(1).stderr;
    assert!(said.starts_with("error: `b` holds 0 images that can be read; this figure needs at least 2\n"), "{said}");
}

#[test]
fn folders_that_hold_too_little_are_refused_before_any_work() {
    let place = Place::empty();
    pictures(&place, "a", 1, 0);
    let refused = |figure: &str| measure(&place, figure, &[]).exits(1).stderr;
    assert_eq!(
        refused("fid"),
        "error: `b` does not exist\n  help: give a folder of images; its sub-folders are looked through too\n"
    );
    place.write("b/notes.txt", b"no image");
    assert_eq!(
        refused("kid"),
        "error: `a` holds 1 image; this figure needs at least 2\n  help: it is a figure of sets, not of an image: give more \
         images (`birdaug metrics ssim` compares single ones)\n"
    );
    pictures(&place, "a", 6, 0);
    assert_eq!(
        refused("fid"),
        "error: `b` holds no images\n  help: files that end in .jpg, .png, .webp, .bmp, .gif or .tif are looked for, in \
         sub-folders too\n"
    );
    pictures(&place, "b", 3, 9);
    assert!(refused("prdc").starts_with("error: `b` holds 3 images; this figure needs at least 6\n"));
}

#[test]
fn weights_that_are_not_fids_are_refused_by_what_is_wrong_with_them() {
    let place = Place::empty();
    pictures(&place, "a", 2, 0);
    pictures(&place, "b", 2, 9);
    let refused = |weights: &Path| {
        let weights = weights.display().to_string();
        let said = place.run(&["metrics", "fid", "a", "b", "--weights", &weights]).exits(1).stderr;
        said.replace(&weights, "W")
    };
    assert_eq!(
        refused(Path::new("none.safetensors")),
        "error: the weights `W` do not exist\n  help: `make weights` fetches FID's and writes \
         `weights/inception.safetensors`\n"
    );
    place.write("another.safetensors", &safetensors(&BTreeMap::from([("fc.x".into(), (vec![1], vec![0; 4]))])));
    let said = refused(&place.path("another.safetensors"));
    assert!(said.starts_with("error: `W` does not fit this network: missing Conv2d_1a_3x3.bn.bias, "), "{said}");
    assert!(said.ends_with("help: these are weights of another network, or of other settings\n"), "{said}");
    place.write("half.safetensors", &fs::read(place.path("another.safetensors")).unwrap()[..20]);
    assert!(refused(&place.path("half.safetensors")).starts_with("error: `W` is not a whole safetensors file"));
    place.write("pickle.pth", b"PK\x03\x04 and more");
    assert!(
        refused(&place.path("pickle.pth"))
            .starts_with("error: `W` is neither safetensors nor a whole TorchScript file\n")
    );

    // Weights whose features overflow.
    let mut tensors = drawn();
    for (name, (_, bytes)) in &mut tensors {
        if name.ends_with("bn.weight") {
            *bytes = bytes.chunks(4).flat_map(|_| 1e9f32.to_le_bytes()).collect();
        }
    }
    let loud = write_weights("loud.safetensors", &tensors);
    let said = refused(&loud);
    let known = [
        "error: the Inception network gives NaN for an image\n",
        "error: the Inception network gives inf for an image\n",
    ];
    assert!(known.iter().any(|line| said.starts_with(line)), "{said}");
    fs::remove_file(loud).unwrap();
}

#[test]
fn figures_of_real_birds_equal_torch_fidelitys_and_clean_fids() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let birds = root.join("../shared/data/birds24");
    let weights = root.join("weights/inception.safetensors");
    for (needed, how) in [(&birds, "no ../shared"), (&weights, "no weights/inception.safetensors: `make weights`")] {
        if !needed.exists() {
            println!("skipped: {how}");
            return;
        }
    }
    let golden: Value =
        serde_json::from_slice(&fs::read(root.join("tests/golden/inception_birds.json")).unwrap()).unwrap();
    let place = Place::empty();
    let folder = |i: usize| birds.join(golden["folders"][i].as_str().unwrap()).display().to_string();
    for case in golden["cases"].as_array().unwrap() {
        let resize = case["resize"].as_str().unwrap();
        for figure in ["fid", "kid"] {
            let args = ["metrics", figure, &folder(0), &folder(1), "--weights", weights.to_str().unwrap(), "--json"];
            let found = place.run(&[&args[..], &["--resize", resize]].concat()).exits(0).json();
            assert_eq!(found["n"], case["n"]);
            let (value, wanted) = (number(&found["value"]), number(&case[figure]));
            assert!((value / wanted - 1.0).abs() < 1e-3, "{figure} after {resize}: {value}, not {wanted}");
        }
    }
}
