//! `birdaug metrics ssim` and `ms-ssim` on folders, as people and scripts see them: figures, and what is said of bad input.

use std::io::Cursor;

use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};

use super::place::Place;

fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.into().write_to(&mut out, ImageFormat::Png).unwrap();
    out.into_inner()
}

fn scene(width: u32, height: u32, tint: u8) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 5 % 256) as u8, (y * 7 % 256) as u8, tint]))
}

#[test]
fn ms_ssim_of_two_folders_is_a_value_a_pair_and_their_mean() {
    let place = Place::empty();
    let noisy = RgbImage::from_fn(180, 176, |x, y| {
        Rgb(scene(180, 176, 90).get_pixel(x, y).0.map(|c| c.saturating_add((x * 31 % 17 + y * 13 % 11) as u8)))
    });
    place.write("a/1.png", &png(scene(180, 176, 90)));
    place.write("b/1.png", &png(scene(180, 176, 90)));
    place.write("a/2.png", &png(scene(180, 176, 90)));
    place.write("b/2.png", &png(noisy));
    place.write("b/alone.png", &png(scene(180, 176, 90)));
    place.write("b/notes.txt", b"no image");
    let json = place.run(&["metrics", "ms-ssim", "a", "b", "--json"]).exits(0).json();
    assert_eq!(json["pairs"][0], serde_json::json!({ "name": "1.png", "ms-ssim": 1.0 }));
    let second = json["pairs"][1]["ms-ssim"].as_f64().unwrap();
    assert!((0.5..1.0).contains(&second), "{second}");
    assert_eq!(json["mean"].as_f64().unwrap(), (1.0 + second) / 2.0);
    assert_eq!((&json["unpaired"], &json["unreadable"]), (&serde_json::json!(1), &serde_json::json!(0)));
    let table = place.run(&["metrics", "ms-ssim", "a", "b"]).exits(0).stdout;
    assert!(
        table.contains("1.png") && table.contains("1.0000") && table.contains("1 file without a partner"),
        "{table}"
    );
}

#[test]
fn images_too_small_for_a_metric_or_of_two_sizes_are_named() {
    let place = Place::empty();
    place.write("a/1.png", &png(scene(100, 100, 0)));
    place.write("b/1.png", &png(scene(100, 101, 0)));
    let said = place.run(&["metrics", "ssim", "a", "b"]).exits(1);
    assert!(
        said.stderr.ends_with(
            "`a/1.png`: SSIM compares images of one size, these are 100x100 and 100x101\n  help: resize both to the same \
             width and height first\n"
        ),
        "{}",
        said.stderr
    );
    let said = place.run(&["metrics", "ms-ssim", "a", "a"]).exits(1);
    assert!(
        said.stderr.ends_with(
            "`a/1.png`: MS-SSIM needs images of at least 176x176 pixels, this one is 100x100\n  help: compare small \
             images by `birdaug metrics ssim`\n"
        ),
        "{}",
        said.stderr
    );
}

#[test]
fn grey_transparent_and_even_images_are_compared_as_what_they_show() {
    let place = Place::empty();
    place.write("a/even.png", &png(RgbImage::from_pixel(40, 40, Rgb([200; 3]))));
    place.write("b/even.png", &png(GrayImage::from_pixel(40, 40, Luma([200]))));
    place.write("a/white.png", &png(RgbImage::from_pixel(40, 40, Rgb([255; 3]))));
    place.write("b/white.png", &png(RgbaImage::from_pixel(40, 40, Rgba([9, 9, 9, 0]))));
    let json = place.run(&["metrics", "ssim", "a", "b", "--json"]).exits(0).json();
    assert_eq!(json["mean"], 1.0);
}

#[test]
fn unreadable_files_are_refused_all_at_once_or_passed_over_and_counted() {
    let place = Place::empty();
    for i in 0..10 {
        place.write(&format!("a/{i}.png"), &png(scene(20, 20, i)));
        let bytes = if i % 3 == 0 { Vec::new() } else { png(scene(20, 20, i)) };
        place.write(&format!("b/{i}.png"), &bytes);
    }
    let said = place.run(&["metrics", "ssim", "a", "b"]).exits(1);
    let lines: Vec<String> = [0, 3, 6, 9].map(|i| format!("  `b/{i}.png`: the file is empty (0 bytes)")).into();
    let wanted = format!(
        "4 of 10 pairs cannot be read:\n{}\n  help: mend or remove them, or pass them over by `--skip-unreadable`\n",
        lines.join("\n")
    );
    assert!(said.stderr.ends_with(&wanted), "{}", said.stderr);
    let json = place.run(&["metrics", "ssim", "a", "b", "--skip-unreadable", "--json"]).exits(0).json();
    assert_eq!((json["mean"].as_f64(), json["unreadable"].as_u64()), (Some(1.0), Some(4)));
    assert_eq!(json["pairs"].as_array().unwrap().len(), 6);
}
