//! Files to pixels as Pillow reads them, for figures that are compared with other programs': bit by bit the same values, where
//! [`decode::photo`] may be off by a few units in JPEGs. A feature of the Inception network moves by 0.05 for that.
//!
//! JPEGs are read by libjpeg's own code, in its slow integer arithmetic with smooth chroma, which is Pillow's default. Where an
//! image is transparent the colour below is taken, as by Pillow's `convert("RGB")`, which FID's programs call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::{DynamicImage, RgbImage};
use mozjpeg::{ColorSpace, Decompress};

use super::{decode, jpeg};
use crate::error::{Error, IoContext, Result};

/// The photo at `path` as 8-bit RGB.
///
/// # Errors
/// As [`decode::photo`].
pub fn photo(path: &Path) -> Result<RgbImage> {
    from_bytes(path, &std::fs::read(path).doing("read", path)?)
}

/// As [`photo`], from the bytes of the file; `path` is for messages only.
///
/// # Errors
/// As [`decode::photo`].
pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<RgbImage> {
    // A decoder that panics on a strange file must not take the process down; libjpeg's errors arrive that way too.
    catch_unwind(AssertUnwindSafe(|| read(bytes)))
        .unwrap_or_else(|_| Err("the decoder gave up on it".into()))
        .map_err(|problem| Error::image(path, problem))
}

fn read(bytes: &[u8]) -> Result<RgbImage, String> {
    decode::check_head(bytes)?;
    if jpeg::is_jpeg(bytes)
        && let Some(image) = jpeg_rgb(bytes)?
    {
        return Ok(image);
    }
    Ok(match decode::open(bytes)? {
        image if image.color().has_alpha() => DynamicImage::ImageRgba8(image.into_rgba8()).into_rgb8(),
        image => image.into_rgb8(),
    })
}

/// `None` for a JPEG of four inks, which libjpeg does not turn into RGB.
fn jpeg_rgb(bytes: &[u8]) -> Result<Option<RgbImage>, String> {
    let jpeg = Decompress::new_mem(bytes).map_err(|error| error.to_string())?;
    if matches!(jpeg.color_space(), ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK) {
        return Ok(None);
    }
    let mut lines = jpeg.rgb().map_err(|error| error.to_string())?;
    let (width, height) = (lines.width() as u32, lines.height() as u32);
    let pixels: Vec<[u8; 3]> = lines.read_scanlines().map_err(|error| error.to_string())?;
    lines.finish().map_err(|error| error.to_string())?;
    Ok(RgbImage::from_raw(width, height, pixels.into_flattened()))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{GrayImage, ImageFormat, Luma, Rgb, Rgba, RgbaImage};

    use super::*;

    fn bytes(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Vec::new();
        image.into().write_to(&mut Cursor::new(&mut bytes), format).unwrap();
        bytes
    }

    #[test]
    fn jpegs_come_out_as_pillow_reads_them() {
        let golden: serde_json::Value = serde_json::from_str(include_str!("../../tests/golden/pillow.json")).unwrap();
        for case in golden.as_array().unwrap() {
            let file = case["hex"].as_str().unwrap();
            let file: Vec<u8> =
                (0..file.len()).step_by(2).map(|i| u8::from_str_radix(&file[i..i + 2], 16).unwrap()).collect();
            let image = from_bytes(Path::new("x.jpg"), &file).unwrap();
            let crc = image.as_raw().iter().fold(0u64, |hash, &v| hash.wrapping_mul(31).wrapping_add(u64::from(v)));
            assert_eq!(Some(crc.to_string().as_str()), case["hash"].as_str(), "{}", case["name"]);
        }
    }

    #[test]
    fn transparency_shows_the_colour_below_and_grey_is_spread() {
        let clear = RgbaImage::from_pixel(4, 3, Rgba([10, 20, 30, 0]));
        let found = from_bytes(Path::new("x.png"), &bytes(clear, ImageFormat::Png)).unwrap();
        assert_eq!(found, RgbImage::from_pixel(4, 3, Rgb([10, 20, 30])));
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let grey = GrayImage::from_pixel(16, 16, Luma([77]));
            let found = from_bytes(Path::new("x"), &bytes(grey, format)).unwrap();
            assert_eq!(found, RgbImage::from_pixel(16, 16, Rgb([77; 3])));
        }
    }

    #[test]
    fn broken_files_are_errors_that_name_them() {
        let image = RgbImage::from_fn(40, 40, |x, y| Rgb([(x * 6) as u8, (y * 6) as u8, (x * y) as u8]));
        let whole = bytes(image, ImageFormat::Jpeg);
        let message = |bytes: &[u8]| from_bytes(Path::new("a/b.jpg"), bytes).unwrap_err().to_string();
        assert!(message(&whole[..whole.len() / 2]).contains("truncated"), "{}", message(&whole[..whole.len() / 2]));
        assert!(message(b"").contains("`a/b.jpg`"), "{}", message(b""));
        assert!(message(b"<html>").contains("web page"));
        let mut odd = whole.clone();
        odd[20..60].fill(0xff);
        assert!(!message(&odd).is_empty());
    }
}
