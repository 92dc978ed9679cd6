//! Files to pixels: whatever a folder of photos holds becomes 8-bit RGB, or an error that names the file.
//!
//! The bytes decide the format, never the file's ending. Orientation tags are ignored, as Pillow and torchvision
//! ignore them, so that other programs that train on the same folder see the same pictures. Colour profiles are
//! ignored too.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, ImageReader, Limits, Rgb, RgbImage};
use rayon::prelude::*;

use super::jpeg;
use crate::error::{Error, IoContext, Result};
use crate::text;

/// Images with more pixels are refused before memory is taken for them.
pub const MAX_PIXELS: u64 = 200_000_000;

/// The photo at `path` as 8-bit RGB: grey is spread over the channels, transparency laid over white, CMYK
/// converted, 16-bit values rounded. A file that is cut off is an error, never half a picture.
pub fn photo(path: &Path) -> Result<RgbImage> {
    from_bytes(path, &std::fs::read(path).doing("read", path)?)
}

/// As [`photo`], from the bytes of the file; `path` is for messages only.
pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<RgbImage> {
    // A decoder that panics on a strange file must not take the build down.
    catch_unwind(AssertUnwindSafe(|| decode(bytes)))
        .unwrap_or_else(|_| Err("the decoder gave up on it".into()))
        .map_err(|problem| Error::image(path, problem))
}

/// Width and height of the photo at `path`, from its header.
pub fn size(path: &Path) -> Result<(u32, u32)> {
    let bytes = std::fs::read(path).doing("read", path)?;
    size_of(&bytes).map_err(|problem| Error::image(path, problem))
}

pub(super) fn size_of(bytes: &[u8]) -> Result<(u32, u32), String> {
    dimensions(bytes, jpeg_head(bytes)?.as_ref())
}

fn jpeg_head(bytes: &[u8]) -> Result<Option<jpeg::Head>, String> {
    jpeg::is_jpeg(bytes).then(|| jpeg::head(bytes)).transpose()
}

fn dimensions(bytes: &[u8], head: Option<&jpeg::Head>) -> Result<(u32, u32), String> {
    match head {
        Some(head) => Ok((head.width, head.height)),
        None => reader(bytes)?.into_dimensions().map_err(|e| e.to_string()),
    }
}

fn reader(bytes: &[u8]) -> Result<ImageReader<Cursor<&[u8]>>, String> {
    if bytes.is_empty() {
        return Err("the file is empty (0 bytes)".into());
    }
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    if reader.format().is_none() {
        let page = bytes.trim_ascii_start().first() == Some(&b'<');
        let what = if page { "it looks like a web page" } else { "its bytes are of no known format" };
        return Err(format!("not an image: {what} (known: JPEG, PNG, WebP, BMP, GIF, TIFF)"));
    }
    Ok(reader)
}

fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    let head = check_head(bytes)?;
    match head.and_then(|head| color_jpeg(bytes, &head)) {
        Some(image) => Ok(image),
        None => Ok(to_rgb(open(bytes)?)),
    }
}

/// A JPEG of three colours, by the decoder and with the options that [`open`] uses too, but without its second reading of
/// the header. `None` for what is something else or cannot be decoded.
fn color_jpeg(bytes: &[u8], head: &jpeg::Head) -> Option<RgbImage> {
    use zune_jpeg::zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
    if head.components.len() != 3 {
        return None;
    }
    let options = DecoderOptions::default().set_strict_mode(false).set_max_width(usize::MAX).set_max_height(usize::MAX);
    let options = options.jpeg_set_out_colorspace(ColorSpace::RGB);
    let pixels = zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options).decode().ok()?;
    RgbImage::from_raw(head.width, head.height, pixels)
}

/// Refuses what is empty, too large, cut off or no image, before memory is taken for it; the head of a JPEG.
pub(super) fn check_head(bytes: &[u8]) -> Result<Option<jpeg::Head>, String> {
    let head = jpeg_head(bytes)?;
    let (width, height) = dimensions(bytes, head.as_ref())?;
    let pixels = u64::from(width) * u64::from(height);
    if pixels == 0 {
        return Err(format!("an image of {width}x{height} pixels"));
    }
    if pixels > MAX_PIXELS {
        let limit = text::thousands(MAX_PIXELS as usize);
        return Err(format!("{width}x{height} pixels are too many (at most {limit} in all)"));
    }
    if head.as_ref().is_some_and(|head| !jpeg::is_complete(bytes, head)) {
        return Err("the JPEG is truncated: its end marker is missing".into());
    }
    Ok(head)
}

/// The image in its own colour type.
pub(super) fn open(bytes: &[u8]) -> Result<DynamicImage, String> {
    let mut reader = reader(bytes)?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(8 * MAX_PIXELS + (64 << 20));
    reader.limits(limits);
    reader.decode().map_err(|e| e.to_string())
}

fn to_rgb(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let rgba = image.into_rgba8();
    RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, a] = rgba.get_pixel(x, y).0;
        let over_white = |c: u8| ((u32::from(c) * u32::from(a) + 255 * (255 - u32::from(a)) + 127) / 255) as u8;
        Rgb([over_white(r), over_white(g), over_white(b)])
    })
}

/// The middle square of `image`, resized to `size` pixels a side; see [`fit`].
pub fn square(image: &RgbImage, size: u32) -> RgbImage {
    fit(image, size, size)
}

/// The middle of `image` with the wanted aspect, resized to `width` x `height` (each at least 1) by an antialiased
/// Catmull-Rom filter (Pillow's bicubic). The arithmetic is in integers: the same pixels on every machine.
pub fn fit(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    let (w, h) = image.dimensions();
    if (w, h) == (width, height) {
        return image.clone();
    }
    let (a, b) = (u64::from(w) * u64::from(height), u64::from(h) * u64::from(width));
    let (crop_w, crop_h) =
        if a > b { (((b / u64::from(height)) as u32).max(1), h) } else { (w, ((a / u64::from(width)) as u32).max(1)) };
    resize(image, ((w - crop_w) / 2, (h - crop_h) / 2), (crop_w, crop_h), (width, height))
}

/// The whole of `image` resized to `width` x `height`, whatever its aspect; the filter is that of [`fit`].
pub fn stretch(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    resize(image, (0, 0), image.dimensions(), (width, height))
}

/// The part of `image` that begins at `from` and has the size `part`, resized to the size `to`.
fn resize(image: &RgbImage, from: (u32, u32), part: (u32, u32), to: (u32, u32)) -> RgbImage {
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom)).crop(
        f64::from(from.0),
        f64::from(from.1),
        f64::from(part.0),
        f64::from(part.1),
    );
    let source = ImageRef::new(image.width(), image.height(), image.as_raw(), PixelType::U8x3)
        .expect("an RgbImage's buffer fits its size");
    let mut out = Image::new(to.0, to.1, PixelType::U8x3);
    Resizer::new().resize(&source, &mut out, &options).expect("the part lies inside the image");
    RgbImage::from_raw(to.0, to.1, out.into_vec()).expect("the resized buffer fits its size")
}

/// Decodes every file, on all threads; the problems in the order of `paths`. What was found for a file holds as long
/// as its digest does.
pub fn check_all(paths: &[PathBuf]) -> Vec<(PathBuf, Error)> {
    paths.par_iter().filter_map(|path| photo(path).err().map(|error| (path.clone(), error))).collect()
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
