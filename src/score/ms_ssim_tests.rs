use super::*;
use image::Rgb;
use serde_json::Value;

/// The formula of `tests/golden/ms_ssim.py`.
fn image(width: u32, height: u32, kind: &str) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([0u64, 1, 2].map(|c| {
            let (x, y) = (u64::from(x), u64::from(y));
            let smooth = (3 * x + 5 * y + 40 * c) % 256;
            let noise = ((x * 7919 + y * 104729 + c * 1299709) * 2654435761 % (1 << 32)) >> 24;
            let mixed = (3 * smooth + noise) / 4;
            let waves = (x / 9 * 37 + y / 13 * 53 + c * 11) % 256;
            let value = match kind {
                "smooth" => smooth,
                "noise" => noise,
                "mixed" => mixed,
                "waves" => waves,
                "noisy waves" => (7 * waves + noise) / 8,
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
fn every_pair_equals_torchmetrics() {
    let golden: Value = serde_json::from_str(include_str!("../../tests/golden/ms_ssim.json")).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 36);
    for case in cases {
        let (width, height) = (case["width"].as_u64().unwrap() as u32, case["height"].as_u64().unwrap() as u32);
        let a = image(width, height, case["a"].as_str().unwrap());
        let b = image(width, height, case["b"].as_str().unwrap());
        let wanted = case["ms_ssim"].as_f64().unwrap();
        let found = ms_ssim(&a, &b).unwrap();
        assert!((found - wanted).abs() < 1e-5, "{case}: {found}");
    }
}

#[test]
fn equal_images_give_one_and_pairs_are_symmetric() {
    let (a, b) = (image(180, 176, "waves"), image(180, 176, "noisy waves"));
    assert_eq!(ms_ssim(&a, &a).unwrap(), 1.0);
    assert_eq!(ms_ssim(&a, &b).unwrap().to_bits(), ms_ssim(&b, &a).unwrap().to_bits());
}

#[test]
fn images_of_other_sizes_or_too_small_for_five_scales_are_refused() {
    let message = |a: (u32, u32), b: (u32, u32)| {
        ms_ssim(&RgbImage::new(a.0, a.1), &RgbImage::new(b.0, b.1)).unwrap_err().to_string()
    };
    assert_eq!(
        message((224, 224), (224, 225)),
        "MS-SSIM compares images of one size, these are 224x224 and 224x225\n  help: resize both to the same width and \
         height first"
    );
    assert_eq!(
        message((224, 175), (224, 175)),
        "MS-SSIM needs images of at least 176x176 pixels, this one is 224x175\n  help: compare small images by \
         `birdaug metrics ssim`"
    );
}
