use super::*;
use image::{GrayAlphaImage, GrayImage, ImageBuffer, ImageFormat, LumaA, RgbaImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use std::fs;

fn written(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.into().write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// A picture with edges and colours everywhere.
fn scene(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, ((x / 5 + y / 3) % 2 * 200) as u8])
    })
}

fn jpeg(image: &RgbImage, quality: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let (w, h) = image.dimensions();
    Encoder::new(&mut out, quality).encode(image.as_raw(), w as u16, h as u16, ColorType::Rgb).unwrap();
    out
}

#[test]
fn a_colour_jpeg_read_directly_is_the_one_that_image_reads() {
    for sampling in [(1, 1), (2, 1), (2, 2)] {
        for progressive in [false, true] {
            let (mut bytes, scene) = (Vec::new(), scene(45, 38));
            let mut encoder = Encoder::new(&mut bytes, 80);
            encoder.set_sampling_factor(SamplingFactor::from_factors(sampling.0, sampling.1).unwrap());
            encoder.set_progressive(progressive);
            encoder.encode(scene.as_raw(), 45, 38, ColorType::Rgb).unwrap();
            let head = jpeg::head(&bytes).unwrap();
            assert_eq!(color_jpeg(&bytes, &head).unwrap(), to_rgb(open(&bytes).unwrap()), "{sampling:?} {progressive}");
        }
    }
    let other = four_channels([1, 2, 3, 4], ColorType::Cmyk);
    assert_eq!(color_jpeg(&other, &jpeg::head(&other).unwrap()), None);
    assert_eq!(check_head(&written(scene(9, 9), ImageFormat::Png)).unwrap(), None);
}

fn four_channels(pixel: [u8; 4], kind: ColorType) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new(&mut out, 100).encode(&pixel.repeat(256), 16, 16, kind).unwrap();
    out
}

fn decoded(bytes: &[u8]) -> RgbImage {
    from_bytes(Path::new("x"), bytes).unwrap()
}

fn refusal(bytes: &[u8]) -> String {
    from_bytes(Path::new("birds/1.jpg"), bytes).unwrap_err().to_string()
}

fn near(a: [u8; 3], b: [u8; 3], tolerance: u8) -> bool {
    a.iter().zip(b).all(|(&a, b)| a.abs_diff(b) <= tolerance)
}

#[test]
fn the_bytes_decide_the_format_and_not_the_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a bird é.jpg");
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::WebP] {
        fs::write(&path, written(scene(20, 10), format)).unwrap();
        assert_eq!(photo(&path).unwrap(), scene(20, 10), "{format:?}");
        assert_eq!(size(&path).unwrap(), (20, 10), "{format:?}");
    }
}

#[test]
fn grey_is_spread_over_three_channels() {
    let grey = GrayImage::from_pixel(3, 2, image::Luma([77]));
    assert_eq!(decoded(&written(grey.clone(), ImageFormat::Png)), RgbImage::from_pixel(3, 2, Rgb([77, 77, 77])));
    let decoded = decoded(&written(grey, ImageFormat::Jpeg));
    assert!(near(decoded.get_pixel(1, 1).0, [77, 77, 77], 1));
}

#[test]
fn transparency_lies_over_white() {
    let rgba = RgbaImage::from_pixel(2, 2, image::Rgba([255, 0, 100, 51]));
    // 51 / 255 is a fifth: 0.2 * colour + 0.8 * 255.
    assert_eq!(decoded(&written(rgba, ImageFormat::Png)).get_pixel(0, 0).0, [255, 204, 224]);
    let grey: GrayAlphaImage = ImageBuffer::from_pixel(2, 2, LumaA([0, 0]));
    assert_eq!(decoded(&written(grey, ImageFormat::Png)).get_pixel(0, 0).0, [255, 255, 255]);
}

#[test]
fn sixteen_bits_are_rounded_to_eight() {
    let deep: ImageBuffer<Rgb<u16>, _> = ImageBuffer::from_pixel(2, 2, Rgb([65_535, 257 * 100 + 129, 0]));
    assert_eq!(decoded(&written(deep, ImageFormat::Png)).get_pixel(0, 0).0, [255, 101, 0]);
}

#[test]
fn cmyk_becomes_rgb() {
    // Shares of ink; Pillow shows 255 * (1 - ink) * (1 - black) too.
    for kind in [ColorType::Cmyk, ColorType::CmykAsYcck] {
        let shown = decoded(&four_channels([255, 100, 50, 200], kind)).get_pixel(8, 8).0;
        assert!(near(shown, [0, 33, 44], 3), "{kind:?}: {shown:?}");
    }
}

#[test]
fn one_pixel_and_twelve_million_are_both_fine() {
    let one = decoded(&written(RgbImage::from_pixel(1, 1, Rgb([9, 8, 7])), ImageFormat::Png));
    assert_eq!(square(&one, 4), RgbImage::from_pixel(4, 4, Rgb([9, 8, 7])));
    let large = decoded(&jpeg(&scene(4000, 3000), 80));
    assert_eq!(large.dimensions(), (4000, 3000));
    assert_eq!(square(&large, 64).dimensions(), (64, 64));
}

#[test]
fn a_jpeg_cut_off_anywhere_is_refused_by_name() {
    let whole = jpeg(&scene(64, 48), 90);
    assert_eq!(decoded(&whole).dimensions(), (64, 48));
    for length in [whole.len() / 2, whole.len() - 2, whole.len() - 1] {
        assert_eq!(
            refusal(&whole[..length]),
            "`birds/1.jpg`: the JPEG is truncated: its end marker is missing",
            "{length} of {}",
            whole.len()
        );
    }
    assert_eq!(refusal(&whole[..100]), "`birds/1.jpg`: the JPEG is truncated: it ends inside its header");
    for length in 0..whole.len() - 1 {
        refusal(&whole[..length]);
    }
}

#[test]
fn a_cut_off_png_is_refused() {
    let whole = written(scene(64, 48), ImageFormat::Png);
    for length in [20, 40, whole.len() / 2] {
        assert!(refusal(&whole[..length]).starts_with("`birds/1.jpg`: "), "{length}");
    }
}

#[test]
fn what_is_no_image_is_refused_by_name() {
    assert_eq!(refusal(b""), "`birds/1.jpg`: the file is empty (0 bytes)");
    assert_eq!(
        refusal(b"\n<!DOCTYPE html>"),
        "`birds/1.jpg`: not an image: it looks like a web page (known: JPEG, PNG, WebP, BMP, GIF, TIFF)"
    );
    assert_eq!(
        refusal(b"no bird"),
        "`birds/1.jpg`: not an image: its bytes are of no known format (known: JPEG, PNG, WebP, BMP, GIF, TIFF)"
    );
    let message = photo(Path::new("no/bird.jpg")).unwrap_err().to_string();
    assert_eq!(message, "could not read `no/bird.jpg`: No such file or directory (os error 2)");
}

#[test]
fn an_image_that_would_fill_the_memory_is_refused_before_it_does() {
    // Width and height of a PNG are big-endian at bytes 16 and 20; the checksum of the header follows it.
    let mut bytes = written(RgbImage::new(1, 1), ImageFormat::Png);
    bytes[16..20].copy_from_slice(&50_000u32.to_be_bytes());
    bytes[20..24].copy_from_slice(&40_000u32.to_be_bytes());
    let crc = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.to_be_bytes());
    assert_eq!(refusal(&bytes), "`birds/1.jpg`: 50000x40000 pixels are too many (at most 200,000,000 in all)");
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 })
    })
}

#[test]
fn random_bytes_behind_a_magic_number_never_panic() {
    let mut state = 1u32;
    for magic in [&b"\xFF\xD8\xFF\xDB"[..], b"\x89PNG\r\n\x1a\n", b"RIFF\x40\0\0\0WEBPVP8 ", b"BM", b"GIF89a", b"II*\0"]
    {
        for _ in 0..200 {
            let noise = (0..64).map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            });
            let bytes: Vec<u8> = magic.iter().copied().chain(noise).collect();
            let _ = from_bytes(Path::new("x"), &bytes);
        }
    }
}

#[test]
fn the_middle_is_kept() {
    let mut image = RgbImage::from_pixel(30, 10, Rgb([255, 0, 0]));
    for (x, _, pixel) in image.enumerate_pixels_mut() {
        if (10..20).contains(&x) {
            *pixel = Rgb([0, 0, 255]);
        }
    }
    assert_eq!(square(&image, 10), RgbImage::from_pixel(10, 10, Rgb([0, 0, 255])));
    assert_eq!(square(&image, 3).get_pixel(1, 1).0, [0, 0, 255]);
    let wide = fit(&scene(40, 40), 20, 10);
    assert_eq!(wide.dimensions(), (20, 10));
    assert_eq!(square(&scene(16, 16), 16), scene(16, 16));
}

#[test]
fn a_fine_pattern_shrinks_to_its_mean_and_not_to_stripes() {
    let stripes = RgbImage::from_fn(64, 64, |x, _| Rgb([(x % 2 * 255) as u8; 3]));
    let small = square(&stripes, 8);
    assert!(small.pixels().all(|p| near(p.0, [128, 128, 128], 8)), "{:?}", small.get_pixel(4, 4));
}

#[test]
fn resizing_does_not_depend_on_the_processor() {
    use fast_image_resize::CpuExtensions;
    for (w, h, to) in [(227, 227, 224), (200, 301, 64), (33, 17, 224), (500, 333, 32)] {
        let image = scene(w, h);
        let side = w.min(h);
        let source = ImageRef::new(w, h, image.as_raw(), PixelType::U8x3).unwrap();
        let mut out = Image::new(to, to, PixelType::U8x3);
        let (left, top, side) = (f64::from((w - side) / 2), f64::from((h - side) / 2), f64::from(side));
        let options =
            ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom)).crop(left, top, side, side);
        let mut plain = Resizer::new();
        // The vector code must write what the code without it writes.
        unsafe { plain.set_cpu_extensions(CpuExtensions::None) };
        plain.resize(&source, &mut out, &options).unwrap();
        assert_eq!(square(&image, to).as_raw(), out.buffer(), "{w}x{h} to {to}");
    }
}

#[test]
fn all_files_are_checked_and_the_bad_ones_named() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["good.jpg", "cut.jpg", "empty.jpg"];
    let paths: Vec<PathBuf> = names.iter().map(|name| dir.path().join(name)).collect();
    let whole = jpeg(&scene(40, 40), 90);
    fs::write(&paths[0], &whole).unwrap();
    fs::write(&paths[1], &whole[..whole.len() / 2]).unwrap();
    fs::write(&paths[2], b"").unwrap();
    let problems: Vec<PathBuf> = check_all(&paths).into_iter().map(|(path, _)| path).collect();
    assert_eq!(problems, paths[1..]);
}

/// For `bench/pairs.py`: seconds a photo on one thread.
#[test]
#[ignore = "prints timings, checks nothing; needs a folder of photos in BIRDAUG_PHOTOS"]
fn pairs_speed_of_decoding() {
    let folder = std::env::var("BIRDAUG_PHOTOS").unwrap();
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let held: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    let decoded = || -> Vec<RgbImage> { held.iter().map(|bytes| from_bytes(Path::new("x"), bytes).unwrap()).collect() };
    let photos = decoded();
    let timed = |work: &dyn Fn()| {
        let start = std::time::Instant::now();
        work();
        start.elapsed().as_secs_f64() / held.len() as f64
    };
    println!("speed decode {:e} s", timed(&|| drop(std::hint::black_box(decoded()))));
    let resize = || photos.iter().for_each(|photo| drop(std::hint::black_box(stretch(photo, 64, 64))));
    println!("speed resize-64 {:e} s", timed(&resize));
}
