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
        assert_eq!(moments(&a.pixels, a.centre, 45, 29), moments_plain(&a.pixels, a.centre, 45, 29));
    }
    for (a, one) in kinds.iter().zip(&prepared) {
        for (b, other) in kinds.iter().zip(&prepared) {
            let (a, b) = (image(45, 29, a), image(45, 29, b));
            let kept = one.ssim(other).unwrap();
            assert_eq!(ssim(&a, &b).unwrap().to_bits(), kept.to_bits(), "compared once, or kept for many");
            assert_eq!(fresh_sum(&a, &b).to_bits(), fresh_sum_plain(&a, &b).to_bits());
        }
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

/// For `bench/pairs.py`: seconds of a whole pair from pixels, on all threads, and of the copy guard's work.
#[test]
#[ignore = "prints timings, checks nothing; needs a folder of PNGs of 224x224 in BIRDAUG_PHOTOS"]
fn pairs_speed_of_ssim() {
    use rayon::prelude::*;
    let images = photos();
    let pairs: Vec<(&RgbImage, &RgbImage)> = images.iter().zip(&images[1..]).collect();
    let timed = |work: &dyn Fn()| {
        let once = || {
            let start = std::time::Instant::now();
            work();
            start.elapsed().as_secs_f64()
        };
        let mut times: Vec<f64> = (0..7).map(|_| once()).collect();
        times.sort_by(f64::total_cmp);
        times[3]
    };
    let whole = timed(&|| {
        std::hint::black_box(pairs.par_iter().map(|(a, b)| ssim(a, b).unwrap()).sum::<f64>());
    });
    println!("speed ssim-224 {:e} s", whole / pairs.len() as f64);
    for side in [64, 224] {
        let resized = |image: &RgbImage| image::imageops::thumbnail(image, side, side);
        let prepared: Vec<Prepared> = images.iter().map(|image| Prepared::new(&resized(image)).unwrap()).collect();
        let (candidate, others) = prepared.split_first().unwrap();
        // Copies, so that they fill the memory that 160 photos fill.
        let many: Vec<Prepared> = others.iter().cycle().take(160).cloned().collect();
        let many: Vec<&Prepared> = many.iter().collect();
        let guard = timed(&|| {
            std::hint::black_box(nearest(candidate, &many, true).unwrap());
        });
        println!("speed guard-{side} {guard:e} s");
    }
}

fn photos() -> Vec<RgbImage> {
    let folder = std::env::var("BIRDAUG_PHOTOS").unwrap();
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| image::open(path).unwrap().to_rgb8()).collect()
}
