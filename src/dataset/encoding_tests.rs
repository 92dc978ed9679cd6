use super::*;
use image::Rgb;
use std::fs;

fn scene(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, ((x / 8 + y / 8) % 2 * 120) as u8])
    })
}

fn sniffed(bytes: &[u8]) -> Encoding {
    sniff(Path::new("x"), bytes).unwrap()
}

#[test]
fn what_is_read_off_a_written_file_is_what_was_asked_for() {
    for quality in [10, 75, 90, 95, 100] {
        for sampling in [(2, 2), (2, 1), (1, 1), (1, 2)] {
            for progressive in [false, true] {
                let jpeg = Jpeg { sampling, progressive, ..Jpeg::standard(quality) };
                let encoding = Encoding { format: Format::Jpeg(jpeg), width: 50, height: 40 };
                let bytes = encode(&encoding, &scene(50, 40)).unwrap();
                assert_eq!(sniffed(&bytes), encoding, "{encoding}");
            }
        }
        let grey = Jpeg { chroma: None, sampling: (1, 1), ..Jpeg::standard(quality) };
        let encoding = Encoding { format: Format::Jpeg(grey), width: 33, height: 31 };
        assert_eq!(sniffed(&encode(&encoding, &scene(33, 31)).unwrap()), encoding);
    }
    for format in [
        Format::Png { grey: false },
        Format::Png { grey: true },
        Format::Bmp,
        Format::Tiff,
        Format::Gif,
        Format::WebpLossless,
    ] {
        let encoding = Encoding { format, width: 20, height: 30 };
        assert_eq!(sniffed(&encode(&encoding, &scene(20, 30)).unwrap()), encoding, "{encoding}");
    }
}

#[test]
fn a_table_of_ones_own_is_kept_entry_by_entry() {
    let luma: Vec<u8> = (1..=64).collect();
    let chroma: Vec<u8> = (101..=164).collect();
    let jpeg = Jpeg { luma, chroma: Some(chroma), sampling: (2, 2), progressive: false };
    let encoding = Encoding { format: Format::Jpeg(jpeg), width: 16, height: 16 };
    assert_eq!(sniffed(&encode(&encoding, &scene(16, 16)).unwrap()), encoding);
}

#[test]
fn the_standard_tables_are_those_of_libjpeg() {
    // First row of the luma table, and last of the chroma table, as Pillow shows them for these qualities.
    let luma = |q| Jpeg::standard(q).luma[..8].to_vec();
    assert_eq!(luma(75), [8, 6, 5, 8, 12, 20, 26, 31]);
    assert_eq!(luma(95), [2, 1, 1, 2, 2, 4, 5, 6]);
    assert_eq!(luma(30), [27, 18, 17, 27, 40, 66, 85, 101]);
    assert_eq!(Jpeg::standard(90).chroma.unwrap()[56..], [20; 8]);
}

#[test]
fn a_written_jpeg_shows_the_picture_and_has_the_wanted_size() {
    let encoding = Encoding { format: Format::Jpeg(Jpeg::standard(95)), width: 224, height: 224 };
    let smooth = RgbImage::from_fn(64, 64, |x, y| Rgb([(x * 3) as u8, (y * 3) as u8, 90]));
    let shown = decode::from_bytes(Path::new("x"), &encode(&encoding, &smooth).unwrap()).unwrap();
    assert_eq!(shown.dimensions(), (224, 224));
    let wanted = decode::square(&smooth, 224);
    let error: f64 = shown.as_raw().iter().zip(wanted.as_raw()).map(|(&a, &b)| f64::from(a.abs_diff(b))).sum::<f64>()
        / shown.as_raw().len() as f64;
    assert!(error < 1.5, "mean absolute error {error}");
}

#[test]
fn the_same_picture_gives_the_same_bytes_for_ever() {
    let encoding = Encoding { format: Format::Jpeg(Jpeg::standard(90)), width: 48, height: 32 };
    let bytes = encode(&encoding, &scene(48, 32)).unwrap();
    assert_eq!(super::super::digest::hex(&super::super::digest::of(&bytes))[..16], *"d7d7d81600113ad1");
}

#[test]
fn the_commonest_format_and_size_win_and_bad_files_do_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let jpeg = |quality, side| Encoding { format: Format::Jpeg(Jpeg::standard(quality)), width: side, height: side };
    let files = [jpeg(75, 32), jpeg(75, 24), jpeg(90, 32), jpeg(75, 16), jpeg(90, 32)];
    let mut paths = Vec::new();
    for (i, encoding) in files.iter().enumerate() {
        paths.push(dir.path().join(format!("{i}.jpg")));
        fs::write(&paths[i], encode(encoding, &scene(32, 32)).unwrap()).unwrap();
    }
    for bad in ["empty.jpg", "missing.jpg"] {
        paths.push(dir.path().join(bad));
    }
    fs::write(dir.path().join("empty.jpg"), b"").unwrap();
    assert_eq!(commonest(&paths).unwrap(), jpeg(75, 32));
    assert_eq!(
        commonest(&paths[5..]).unwrap_err().to_string(),
        "the encoding of the real images cannot be matched: none of them is readable\n  help: run `birdaug audit` on \
         the dataset, or give [emit] encode = { format = \"jpg\", quality = 95, size = 224 }"
    );
}

#[test]
fn an_encoding_reads_as_people_say_it() {
    let mut jpeg = Jpeg::standard(75);
    let shown = |jpeg: &Jpeg| Encoding { format: Format::Jpeg(jpeg.clone()), width: 224, height: 200 }.to_string();
    assert_eq!(shown(&jpeg), "JPEG 224x200, quality 75, 4:2:0");
    jpeg.luma[0] += 1;
    jpeg.sampling = (2, 1);
    jpeg.progressive = true;
    assert_eq!(shown(&jpeg), "JPEG 224x200, quality about 75, 4:2:2, progressive");
    let png = Encoding { format: Format::Png { grey: true }, width: 1, height: 2 };
    assert_eq!((png.to_string().as_str(), png.format.ending()), ("PNG 1x2, grey", "png"));
}

#[test]
fn an_encoding_survives_being_written_as_json() {
    let encoding = Encoding { format: Format::Jpeg(Jpeg::standard(90)), width: 3, height: 4 };
    let text = serde_json::to_string(&encoding).unwrap();
    assert_eq!(serde_json::from_str::<Encoding>(&text).unwrap(), encoding);
}

#[test]
fn lossy_webp_is_refused_with_what_to_write_instead() {
    let encoding = Encoding { format: Format::WebpLossy, width: 8, height: 8 };
    assert_eq!(
        encode(&encoding, &scene(8, 8)).unwrap_err().to_string(),
        "the real images are lossy WebP files, which birdaug cannot write\n  help: give [emit] encode = { format = \
         \"jpg\", quality = 95, size = 224 }"
    );
}

#[test]
fn a_file_that_is_no_image_is_named() {
    let message = sniff(Path::new("birds/1.jpg"), b"\xFF\xD8\xFF\xE0\0").unwrap_err().to_string();
    assert_eq!(message, "`birds/1.jpg`: the JPEG is truncated: it ends inside its header");
}
