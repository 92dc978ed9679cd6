//! How image files are written: read off the real ones, and used for the synthetic ones, so that a classifier finds
//! nothing in a synthetic file that tells its encoder. Knows nothing of species or recipes.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageFormat, ImageReader, RgbImage};
use jpeg_encoder::{ChromaSubsamplingMethod, ColorType, Encoder, QuantizationTableType, SamplingFactor};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{decode, jpeg};
use crate::error::{Error, IoContext, Result};

/// File format and size in pixels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Encoding {
    pub format: Format,
    pub width: u32,
    pub height: u32,
}

/// A file format with all of its settings that leave a trace in the pixels.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    Jpeg(Jpeg),
    /// 8 bits a channel.
    Png {
        grey: bool,
    },
    Bmp,
    Tiff,
    Gif,
    WebpLossless,
    /// Can be read off, not written.
    WebpLossy,
}

/// A JPEG's settings.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Jpeg {
    /// 64 divisors of the luma coefficients, 1 to 255, row by row.
    pub luma: Vec<u8>,
    /// The same for chroma; `None`: a grey image.
    pub chroma: Option<Vec<u8>>,
    /// Luma samples per chroma sample, horizontally and vertically: (2, 2) is 4:2:0, (2, 1) 4:2:2, (1, 1) 4:4:4.
    pub sampling: (u8, u8),
    pub progressive: bool,
}

/// Luma and chroma tables of T.81, annex K.1, row by row.
const ANNEX_K: [[u8; 64]; 2] = [
    [
        16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29,
        51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121,
        120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
    ],
    [
        17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99,
        99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
        99, 99, 99, 99, 99, 99, 99, 99,
    ],
];

/// An annex K table at libjpeg's quality 1 to 100 (`jpeg_quality_scaling`).
fn standard_table(table: &[u8; 64], quality: u8) -> Vec<u8> {
    let quality = u32::from(quality.clamp(1, 100));
    let scale = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
    table.iter().map(|&v| ((u32::from(v) * scale + 50) / 100).clamp(1, 255) as u8).collect()
}

impl Jpeg {
    /// What libjpeg and Pillow write at a quality of 1 to 100: annex K tables, 4:2:0, baseline.
    pub fn standard(quality: u8) -> Jpeg {
        Jpeg {
            luma: standard_table(&ANNEX_K[0], quality),
            chroma: Some(standard_table(&ANNEX_K[1], quality)),
            sampling: (2, 2),
            progressive: false,
        }
    }

    /// libjpeg's quality whose luma table is nearest, and whether it is equal.
    fn quality(&self) -> (u8, bool) {
        let distance = |q: u8| -> u32 {
            standard_table(&ANNEX_K[0], q).iter().zip(&self.luma).map(|(&a, &b)| u32::from(a.abs_diff(b))).sum()
        };
        let best = (1..=100).min_by_key(|&q| distance(q)).unwrap_or(100);
        (best, distance(best) == 0)
    }
}

impl Format {
    /// The usual ending of such a file, without the dot.
    pub fn ending(&self) -> &'static str {
        match self {
            Format::Jpeg(_) => "jpg",
            Format::Png { .. } => "png",
            Format::Bmp => "bmp",
            Format::Tiff => "tif",
            Format::Gif => "gif",
            Format::WebpLossless | Format::WebpLossy => "webp",
        }
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.format {
            Format::Jpeg(_) => "JPEG",
            Format::Png { .. } => "PNG",
            Format::Bmp => "BMP",
            Format::Tiff => "TIFF",
            Format::Gif => "GIF",
            Format::WebpLossless => "lossless WebP",
            Format::WebpLossy => "lossy WebP",
        };
        write!(f, "{name} {}x{}", self.width, self.height)?;
        if let Format::Jpeg(jpeg) = &self.format {
            let (quality, exact) = jpeg.quality();
            write!(f, ", quality {}{quality}", if exact { "" } else { "about " })?;
            match (&jpeg.chroma, jpeg.sampling) {
                (None, _) => f.write_str(", grey")?,
                (_, (1, 1)) => f.write_str(", 4:4:4")?,
                (_, (2, 1)) => f.write_str(", 4:2:2")?,
                (_, (2, 2)) => f.write_str(", 4:2:0")?,
                (_, (h, v)) => write!(f, ", chroma {h}x{v}")?,
            }
            if jpeg.progressive {
                f.write_str(", progressive")?;
            }
        }
        if self.format == (Format::Png { grey: true }) {
            f.write_str(", grey")?;
        }
        Ok(())
    }
}

/// Reads the encoding off a file's bytes; `path` is for messages only. CMYK and RGB JPEGs are taken for the YCbCr
/// ones with their tables and sampling, since that is what is written.
pub fn sniff(path: &Path, bytes: &[u8]) -> Result<Encoding> {
    sniff_bytes(bytes).map_err(|problem| Error::image(path, problem))
}

fn sniff_bytes(bytes: &[u8]) -> Result<Encoding, String> {
    if jpeg::is_jpeg(bytes) {
        let head = jpeg::head(bytes)?;
        let table = |component: &jpeg::Component| {
            let missing = "the JPEG is damaged: a quantisation table is missing";
            head.tables[component.table].map(|t| t.to_vec()).ok_or(missing)
        };
        let luma = head.components.first().ok_or("the JPEG is damaged: no components")?;
        let chroma = head.components.get(1);
        let ratio = |l: u8, c: u8| if c > 0 && l.is_multiple_of(c) { l / c } else { 1 };
        let jpeg = Jpeg {
            luma: table(luma)?,
            chroma: chroma.map(table).transpose()?,
            sampling: chroma
                .map_or((1, 1), |c| (ratio(luma.sampling.0, c.sampling.0), ratio(luma.sampling.1, c.sampling.1))),
            progressive: head.progressive,
        };
        return Ok(Encoding { format: Format::Jpeg(jpeg), width: head.width, height: head.height });
    }
    let (width, height) = decode::size_of(bytes)?;
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    let format = match reader.format() {
        // Byte 25 of a PNG is IHDR's colour type: 0 grey, 4 grey with alpha (PNG specification, 11.2.1).
        Some(ImageFormat::Png) => Format::Png { grey: matches!(bytes.get(25), Some(0 | 4)) },
        Some(ImageFormat::Bmp) => Format::Bmp,
        Some(ImageFormat::Tiff) => Format::Tiff,
        Some(ImageFormat::Gif) => Format::Gif,
        Some(ImageFormat::WebP) => {
            let lossless = bytes.windows(4).take(4096).any(|chunk| chunk == b"VP8L");
            if lossless { Format::WebpLossless } else { Format::WebpLossy }
        }
        other => return Err(format!("images of the format {other:?} are not supported")),
    };
    Ok(Encoding { format, width, height })
}

/// The commonest format among files, and, apart from it, the commonest size; of equals the smallest. Files that
/// cannot be read or are no images are passed over; fails if none is left.
pub fn commonest<P: AsRef<Path> + Sync>(paths: &[P]) -> Result<Encoding> {
    let all: Vec<Encoding> = paths.par_iter().filter_map(|path| sniff_file(path.as_ref()).ok()).collect();
    commonest_of(all.iter().map(|encoding| (encoding, 1)))
}

/// As [`commonest`], of encodings with how many files have each.
pub fn commonest_of<'e>(counts: impl Iterator<Item = (&'e Encoding, usize)>) -> Result<Encoding> {
    let mut formats = BTreeMap::new();
    let mut sizes = BTreeMap::new();
    for (encoding, n) in counts {
        *formats.entry(&encoding.format).or_insert(0) += n;
        *sizes.entry((encoding.width, encoding.height)).or_insert(0) += n;
    }
    match (most(&formats), most(&sizes)) {
        (Some(&format), Some(&(width, height))) => Ok(Encoding { format: format.clone(), width, height }),
        _ => Err(Error::input_help(
            "the encoding of the real images cannot be matched: none of them is readable",
            "run `birdaug audit` on the dataset, or give [emit] encode = { format = \"jpg\", quality = 95, size = 224 }",
        )),
    }
}

/// The key with the highest count; of equals the first.
fn most<K>(counts: &BTreeMap<K, usize>) -> Option<&K> {
    counts.iter().rev().max_by_key(|&(_, &n)| n).map(|(key, _)| key)
}

/// Reads the encoding of the file at `path`.
pub fn sniff_file(path: &Path) -> Result<Encoding> {
    sniff(path, &std::fs::read(path).doing("read", path)?)
}

/// Writes `image`, fitted to the encoding's size ([`decode::fit`]), as a file's bytes. The same image and encoding
/// give the same bytes on every machine. Fails for lossy WebP, which only can be read.
pub fn encode(encoding: &Encoding, image: &RgbImage) -> Result<Vec<u8>> {
    let image = decode::fit(image, encoding.width, encoding.height);
    let format = match &encoding.format {
        Format::Jpeg(jpeg) => return encode_jpeg(jpeg, &image),
        Format::Png { .. } => ImageFormat::Png,
        Format::Bmp => ImageFormat::Bmp,
        Format::Tiff => ImageFormat::Tiff,
        Format::Gif => ImageFormat::Gif,
        Format::WebpLossless => ImageFormat::WebP,
        Format::WebpLossy => {
            return Err(Error::input_help(
                "the real images are lossy WebP files, which birdaug cannot write",
                "give [emit] encode = { format = \"jpg\", quality = 95, size = 224 }",
            ));
        }
    };
    let image = match encoding.format {
        Format::Png { grey: true } => DynamicImage::ImageLuma8(DynamicImage::ImageRgb8(image).into_luma8()),
        _ => DynamicImage::ImageRgb8(image),
    };
    let mut out = Cursor::new(Vec::new());
    image.write_to(&mut out, format).map_err(|e| Error::input(format!("could not encode an image: {e}")))?;
    Ok(out.into_inner())
}

fn encode_jpeg(jpeg: &Jpeg, image: &RgbImage) -> Result<Vec<u8>> {
    let failed = |e: &dyn fmt::Display| Error::input(format!("could not encode a JPEG: {e}"));
    let table = |values: &[u8]| -> Result<QuantizationTableType> {
        let values: Vec<u16> = values.iter().map(|&v| u16::from(v)).collect();
        Ok(QuantizationTableType::Custom(values.try_into().map_err(|_| failed(&"a table has not 64 entries"))?))
    };
    let (width, height) = match (u16::try_from(image.width()), u16::try_from(image.height())) {
        (Ok(width), Ok(height)) => (width, height),
        _ => return Err(failed(&format!("{}x{} is more than 65535 a side", image.width(), image.height()))),
    };
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, 100);
    let luma = table(&jpeg.luma)?;
    let chroma = jpeg.chroma.as_deref().map(table).transpose()?;
    let (h, v) = jpeg.sampling;
    let sampling = SamplingFactor::from_factors(h, v);
    encoder.set_sampling_factor(sampling.ok_or_else(|| failed(&format!("chroma sampling {h}x{v}")))?);
    // libjpeg averages the chroma samples; taking one of them would leave its own trace.
    encoder.set_chroma_subsampling_method(ChromaSubsamplingMethod::Average);
    encoder.set_progressive(jpeg.progressive);
    let result = if let Some(chroma) = chroma {
        encoder.set_quantization_tables(luma, chroma);
        encoder.encode(image.as_raw(), width, height, ColorType::Rgb)
    } else {
        encoder.set_quantization_tables(luma.clone(), luma);
        let grey = DynamicImage::ImageRgb8(image.clone()).into_luma8();
        encoder.encode(grey.as_raw(), width, height, ColorType::Luma)
    };
    result.map_err(|e| failed(&e))?;
    Ok(out)
}

#[cfg(test)]
#[path = "encoding_tests.rs"]
mod tests;
