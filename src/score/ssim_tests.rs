use super::*;
use image::Rgb;
use serde_json::Value;

/// The formula of `tests/golden/ssim.py`.
fn image(width: u32, height: u32, kind: &str) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([0u64, 1, 2].map(|c| {
            let (x, y) = (u64::from(x), u64::from(y));
            let smooth = (3 * x + 5 * y + 40 * c) % 256;
            let noise = ((x * 7919 + y * 104729 + c * 1299709) * 2654435761 % (1 << 32)) >> 24;
            let mixed = (3 * smooth + noise) / 4;
            let value = match kind {
                "smooth" => smooth,
                "noise" => noise,
                "mixed" => mixed,
                "dark" => smooth / 16,
                "constant" => 200,
                "black" => 0,
                "inverse" => 255 - mixed,
                other => panic!("no formula for {other}"),
            };
            value as u8
        }))
    })
}

#[test]
fn every_pair_equals_scikit_image() {
    let golden: Value = serde_json::from_str(include_str!("../../tests/golden/ssim.json")).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 28);
    for case in cases {
        let (width, height) = (case["width"].as_u64().unwrap() as u32, case["height"].as_u64().unwrap() as u32);
        let a = image(width, height, case["a"].as_str().unwrap());
        let b = image(width, height, case["b"].as_str().unwrap());
        let wanted = case["ssim"].as_f64().unwrap();
        let found = ssim(&a, &b).unwrap();
        assert!((found - wanted).abs() < 1e-5, "{case}: {found}");
    }
}

#[test]
fn an_image_equals_itself_exactly_and_pairs_are_symmetric() {
    let (a, b) = (image(40, 30, "mixed"), image(40, 30, "noise"));
    assert_eq!(ssim(&a, &a).unwrap(), 1.0);
    assert_eq!(ssim(&a, &b).unwrap().to_bits(), ssim(&b, &a).unwrap().to_bits());
    assert!(ssim(&a, &b).unwrap() < 0.9);
}

#[test]
fn a_mirror_has_the_bits_of_the_mirrored_image_prepared() {
    let image = image(37, 19, "mixed");
    let mirror = Prepared::new(&image).unwrap().flipped();
    let fresh = Prepared::new(&image::imageops::flip_horizontal(&image)).unwrap();
    for (a, b) in mirror.channels.iter().zip(&fresh.channels) {
        assert_eq!(a.pixels, b.pixels);
        assert_eq!(a.means, b.means);
        assert_eq!(a.variances, b.variances);
    }
}

#[test]
fn the_nearest_is_the_maximum_over_all_pairs_and_their_mirrors() {
    let kinds = ["noise", "smooth", "inverse", "dark", "mixed", "mixed"];
    let images: Vec<RgbImage> = kinds.iter().map(|kind| image(48, 32, kind)).collect();
    let prepared: Vec<Prepared> = images.iter().map(|image| Prepared::new(image).unwrap()).collect();
    let many: Vec<&Prepared> = prepared.iter().collect();

    let found = nearest(&prepared[4], &many, true).unwrap().unwrap();
    assert_eq!(found, Nearest { index: 4, flipped: false, ssim: 1.0 }, "of two equals the first");

    let mirrored = Prepared::new(&image::imageops::flip_horizontal(&images[2])).unwrap();
    let found = nearest(&mirrored, &many, true).unwrap().unwrap();
    assert_eq!(found, Nearest { index: 2, flipped: true, ssim: 1.0 });
    let without = nearest(&mirrored, &many, false).unwrap().unwrap();
    let by_hand = many.iter().map(|other| mirrored.ssim(other).unwrap()).fold(f64::MIN, f64::max);
    assert_eq!((without.flipped, without.ssim), (false, by_hand));
    assert_eq!(nearest(&mirrored, &[], true).unwrap(), None);
}

#[test]
fn the_bits_do_not_depend_on_threads_or_vector_width() {
    let kinds = ["noise", "smooth", "inverse", "dark", "mixed"];
    let prepared: Vec<Prepared> = kinds.iter().map(|kind| Prepared::new(&image(45, 29, kind)).unwrap()).collect();
    let many: Vec<&Prepared> = prepared.iter().collect();
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let four = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    let alone = one.install(|| compare(&prepared[4], &many, true).unwrap());
    assert_eq!(alone, four.install(|| compare(&prepared[4], &many, true).unwrap()));
    for (a, b) in prepared[4].channels.iter().zip(&prepared[0].channels) {
        assert_eq!(channel_sum(a, b, 45, 29).to_bits(), channel_sum_plain(a, b, 45, 29).to_bits());
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused_with_what_to_do() {
    let message = |result: Result<f64>| result.unwrap_err().to_string();
    assert_eq!(
        message(ssim(&image(20, 20, "dark"), &image(20, 21, "dark"))),
        "SSIM compares images of one size, these are 20x20 and 20x21\n  help: resize both to the same width and height first"
    );
    assert_eq!(
        message(ssim(&image(10, 20, "dark"), &image(10, 20, "dark"))),
        "SSIM needs images of at least 11x11 pixels, this one is 10x20\n  help: enlarge the images, or leave the small ones out"
    );
    let (a, b) = (Prepared::new(&image(20, 20, "dark")).unwrap(), Prepared::new(&image(21, 20, "dark")).unwrap());
    assert!(nearest(&a, &[&a, &b], true).is_err());
}

/// Not a test of speed: prints the time of the copy guard's work. `cargo test --release ssim_speed -- --ignored --nocapture`
#[test]
#[ignore = "prints timings, checks nothing"]
fn ssim_speed() {
    for side in [64, 224] {
        let candidate = Prepared::new(&image(side, side, "mixed")).unwrap();
        let prepared: Vec<Prepared> = (0..160)
            .map(|i| Prepared::new(&image(side, side, ["noise", "smooth", "inverse"][i % 3])).unwrap())
            .collect();
        let many: Vec<&Prepared> = prepared.iter().collect();
        let times: Vec<u128> = (0..7)
            .map(|_| {
                let start = std::time::Instant::now();
                std::hint::black_box(nearest(&candidate, &many, true).unwrap());
                start.elapsed().as_micros()
            })
            .collect();
        println!("320 pairs of {side}x{side}: {times:?} us");
    }
}

/// Prints the SSIM of the first images of a folder of PNGs, pair by pair, to be compared with scikit-image's by
/// `tests/golden/ssim_photos.py`.
#[test]
#[ignore = "needs a folder of PNGs in BIRDAUG_PHOTOS"]
fn ssim_of_photos() {
    let folder = std::env::var("BIRDAUG_PHOTOS").unwrap();
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let images: Vec<RgbImage> = paths.iter().map(|path| image::open(path).unwrap().to_rgb8()).collect();
    for pair in images.windows(2) {
        println!("ssim {}", ssim(&pair[0], &pair[1]).unwrap());
    }
}
