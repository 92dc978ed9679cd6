//! Pictures that look alike: a hash that survives re-encoding, resizing and mirroring, and the groups it makes.
//! Knows pixels and numbers, no files.
//!
//! The hash is Zauner's (2010, "Implementation and Benchmarking of Perceptual Image Hash Functions", section 3.2.1):
//! the signs of 64 low frequencies of a 32x32 grey picture's cosine transform against their median. Two hashes that
//! are near are only a hint; the pictures' thumbnails decide.

use std::collections::HashMap;

use image::RgbImage;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::decode;

/// Side of the grey picture that is transformed.
const SIDE: usize = 32;
/// Frequencies each way that enter the hash.
const LOW: usize = 8;
/// Side of the thumbnail.
const THUMB: usize = 16;
/// Bits by which the hashes of alike pictures may differ.
const MAX_BITS: u32 = 6;
/// Correlation that the thumbnails of alike pictures have at least.
const MIN_CORRELATION: f64 = 0.97;

/// What a picture looks like, in 272 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Face {
    hash: u64,
    /// Hash of the picture seen in a mirror.
    mirrored: u64,
    /// 16x16 grey values, row by row.
    thumb: Vec<u8>,
}

impl Face {
    /// The face of a picture; `None` if it is all but one even grey, which looks like any other such picture.
    pub fn of(image: &RgbImage) -> Option<Face> {
        let small = decode::stretch(image, SIDE as u32, SIDE as u32);
        // Luma of BT.601, as libjpeg's.
        let grey: Vec<f64> = small
            .pixels()
            .map(|p| 0.299 * f64::from(p.0[0]) + 0.587 * f64::from(p.0[1]) + 0.114 * f64::from(p.0[2]))
            .collect();
        let mut thumb = Vec::with_capacity(THUMB * THUMB);
        for y in 0..THUMB {
            for x in 0..THUMB {
                let at = 2 * y * SIDE + 2 * x;
                let sum = grey[at] + grey[at + 1] + grey[at + SIDE] + grey[at + SIDE + 1];
                thumb.push(libm::round(sum / 4.0) as u8);
            }
        }
        let mean = grey.iter().sum::<f64>() / grey.len() as f64;
        let variance = grey.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / grey.len() as f64;
        if variance < 9.0 {
            return None;
        }
        let mut waves = low_frequencies(&grey);
        let hash = bits(&waves);
        // A mirror turns the sign of every wave that is odd from left to right.
        waves.iter_mut().skip(1).step_by(2).for_each(|wave| *wave = -*wave);
        Some(Face { hash, mirrored: bits(&waves), thumb })
    }

    /// Whether two pictures look alike; if so, whether one is the other's mirror image.
    pub fn alike(&self, other: &Face) -> Option<Mirrored> {
        let near = |hash: u64| (self.hash ^ hash).count_ones() <= MAX_BITS;
        if near(other.hash) && correlation(&self.thumb, other.thumb.iter().copied()) >= MIN_CORRELATION {
            return Some(Mirrored(false));
        }
        let mirror = || other.thumb.chunks_exact(THUMB).flat_map(|row| row.iter().rev().copied());
        (near(other.mirrored) && correlation(&self.thumb, mirror()) >= MIN_CORRELATION).then_some(Mirrored(true))
    }
}

/// Whether a mirror is between two pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mirrored(pub bool);

/// The lowest `LOW` x `LOW` coefficients of the two-dimensional DCT-II, row by row.
fn low_frequencies(grey: &[f64]) -> Vec<f64> {
    let wave = |k: usize, x: usize| libm::cos(std::f64::consts::PI * k as f64 * (2 * x + 1) as f64 / (2 * SIDE) as f64);
    let waves: Vec<f64> = (0..LOW * SIDE).map(|i| wave(i / SIDE, i % SIDE)).collect();
    let mut rows = vec![0.0; SIDE * LOW];
    for y in 0..SIDE {
        for k in 0..LOW {
            rows[y * LOW + k] = (0..SIDE).map(|x| grey[y * SIDE + x] * waves[k * SIDE + x]).sum();
        }
    }
    let column = |l: usize, k: usize| (0..SIDE).map(|y| rows[y * LOW + k] * waves[l * SIDE + y]).sum();
    (0..LOW * LOW).map(|i| column(i / LOW, i % LOW)).collect()
}

/// A bit a coefficient: whether it is above the median of all but the first, the mean brightness.
fn bits(waves: &[f64]) -> u64 {
    let mut sorted = waves[1..].to_vec();
    sorted.sort_by(f64::total_cmp);
    let median = sorted[sorted.len() / 2];
    waves.iter().skip(1).enumerate().fold(0, |hash, (i, &wave)| hash | u64::from(wave > median) << i)
}

/// Pearson's correlation of two lists of equal length; 0 if one is constant.
fn correlation(a: &[u8], b: impl Iterator<Item = u8>) -> f64 {
    let n = a.len() as f64;
    let (mut sa, mut sb, mut saa, mut sbb, mut sab) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for (&a, b) in a.iter().zip(b) {
        let (a, b) = (f64::from(a), f64::from(b));
        sa += a;
        sb += b;
        saa += a * a;
        sbb += b * b;
        sab += a * b;
    }
    let spread = (saa - sa * sa / n) * (sbb - sb * sb / n);
    if spread > 0.0 { (sab - sa * sb / n) / libm::sqrt(spread) } else { 0.0 }
}

/// Groups of at least two faces that look alike, directly or through others, as sorted indices; sorted. `None`
/// stands for a picture that is in no group.
///
/// Hashes that differ in at most six bits agree in one of seven bands whole, so only faces that share a band are
/// compared: near linear in their number.
pub fn groups(faces: &[Option<&Face>]) -> Vec<Vec<usize>> {
    let bands = MAX_BITS + 1;
    let band = |hash: u64, b: u32| {
        let (from, to) = (64 * b / bands, 64 * (b + 1) / bands);
        (b, hash >> from & ((1u64 << (to - from)) - 1))
    };
    let mut buckets: HashMap<(u32, u64), Vec<usize>> = HashMap::new();
    for (i, face) in faces.iter().enumerate() {
        for b in (0..bands).filter(|_| face.is_some()) {
            buckets.entry(band(face.map_or(0, |f| f.hash), b)).or_default().push(i);
        }
    }
    let pairs: Vec<(usize, usize)> = faces
        .par_iter()
        .enumerate()
        .filter_map(|(i, face)| Some((i, (*face)?)))
        .flat_map_iter(|(i, face)| {
            let near = |j: usize| {
                let other = faces[j]?;
                let hashes = [face.hash ^ other.hash, face.hash ^ other.mirrored];
                (hashes.iter().any(|h| h.count_ones() <= MAX_BITS) && face.alike(other).is_some()).then_some((j, i))
            };
            let mut found: Vec<(usize, usize)> = [face.hash, face.mirrored]
                .into_iter()
                .flat_map(|hash| (0..bands).map(move |b| band(hash, b)))
                .filter_map(|key| buckets.get(&key))
                .flat_map(|bucket| bucket.iter().take_while(|&&j| j < i).filter_map(|&j| near(j)))
                .collect();
            found.sort_unstable();
            found.dedup();
            found
        })
        .collect();
    let mut first: Vec<usize> = (0..faces.len()).collect();
    fn find(first: &mut [usize], mut i: usize) -> usize {
        while first[i] != i {
            first[i] = first[first[i]];
            i = first[i];
        }
        i
    }
    for (a, b) in pairs {
        let (a, b) = (find(&mut first, a), find(&mut first, b));
        first[a.max(b)] = a.min(b);
    }
    let mut members = vec![Vec::new(); faces.len()];
    for i in 0..faces.len() {
        members[find(&mut first, i)].push(i);
    }
    members.retain(|group| group.len() > 1);
    members
}

#[cfg(test)]
mod tests {
    use super::super::encoding::{Encoding, Format, Jpeg, encode};
    use super::*;
    use image::{Rgb, imageops};
    use std::path::Path;

    /// Soft blobs whose places and colours follow from the seed.
    fn picture(seed: u32) -> RgbImage {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
        let mut next = |n: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % n
        };
        let blobs: Vec<[f64; 6]> = (0..9)
            .map(|_| [next(120), next(120), next(30) + 8, next(200), next(200), next(200)].map(f64::from))
            .collect();
        RgbImage::from_fn(120, 120, |x, y| {
            let mut colour = [60.0; 3];
            for [cx, cy, r, red, green, blue] in &blobs {
                let d = ((f64::from(x) - cx).powi(2) + (f64::from(y) - cy).powi(2)) / (r * r);
                let weight = 1.0 / (1.0 + d * d);
                for (c, to) in colour.iter_mut().zip([red, green, blue]) {
                    *c += (to - *c) * weight;
                }
            }
            Rgb(colour.map(|c| c as u8))
        })
    }

    fn face(image: &RgbImage) -> Face {
        Face::of(image).unwrap()
    }

    #[test]
    fn a_worse_a_smaller_a_brighter_and_a_mirrored_copy_look_alike() {
        let original = picture(1);
        let worse = encode(&Encoding { format: Format::Jpeg(Jpeg::standard(30)), width: 120, height: 120 }, &original);
        let worse = decode::from_bytes(Path::new("x"), &worse.unwrap()).unwrap();
        let brighter = RgbImage::from_fn(120, 120, |x, y| Rgb(original.get_pixel(x, y).0.map(|c| c / 2 + 40)));
        for (what, copy) in [("worse", worse), ("smaller", decode::square(&original, 50)), ("brighter", brighter)] {
            assert_eq!(face(&original).alike(&face(&copy)), Some(Mirrored(false)), "{what}");
            let mirrored = imageops::flip_horizontal(&copy);
            assert_eq!(face(&original).alike(&face(&mirrored)), Some(Mirrored(true)), "{what}, mirrored");
            assert_eq!(face(&mirrored).alike(&face(&original)), Some(Mirrored(true)), "{what}, mirrored");
        }
    }

    #[test]
    fn other_pictures_and_even_ones_do_not() {
        let faces: Vec<Face> = (0..40).map(|seed| face(&picture(seed))).collect();
        for i in 0..40 {
            for j in 0..i {
                assert_eq!(faces[i].alike(&faces[j]), None, "{i} {j}");
            }
        }
        assert_eq!(Face::of(&RgbImage::from_pixel(50, 50, Rgb([10, 200, 30]))), None);
        assert_eq!(Face::of(&RgbImage::new(1, 1)), None);
    }

    #[test]
    fn groups_are_found_by_bands_as_by_comparing_everything() {
        let mut pictures: Vec<RgbImage> = (0..30).map(picture).collect();
        pictures.push(imageops::flip_horizontal(&pictures[3]));
        pictures.push(decode::square(&pictures[7], 60));
        pictures.push(decode::square(&pictures[3], 80));
        let mut faces: Vec<Option<Face>> = pictures.iter().map(Face::of).collect();
        faces.push(None);
        let faces: Vec<Option<&Face>> = faces.iter().map(Option::as_ref).collect();
        assert_eq!(groups(&faces), [vec![3, 30, 32], vec![7, 31]]);
    }

    #[test]
    fn the_hash_of_a_picture_never_changes() {
        assert_eq!(format!("{:016x}", face(&picture(5)).hash), "554dd9bcb21289d8");
    }
}
