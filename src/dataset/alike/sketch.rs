//! A few numbers a picture by which those that may be copies are found among many, without comparing each with each in
//! full. Knows numbers, no photos.
//!
//! A sketch is the 63 lowest frequencies of the picture's cosine transform (those that Zauner's perceptual hash of 2010
//! takes the signs of), scaled to one length and rounded: the product of two sketches is the correlation of the
//! softened pictures. Frequencies that are odd from left to right change sign in a mirror, so that the two parts of
//! the product, added and subtracted, answer for the picture and for its mirror image at once. The arithmetic is in
//! integers: the same on every machine.

use std::sync::OnceLock;

use super::face::SIDE;
use super::register::Grey;

/// Frequencies each way.
pub(super) const LOW: usize = 8;
/// Values of each part: half of the frequencies (the mean brightness, among the even ones, is 0).
pub(super) const PART: usize = LOW * LOW / 2;
/// The length of a sketch; its square is the product of equal ones.
pub(super) const LENGTH: f64 = 8192.0;
/// Sketches that are multiplied at once.
const LANES: usize = 8;

/// Frequencies that are even from left to right, and those that are odd; row by row of `LOW`, every second one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sketch {
    pub even: [i16; PART],
    pub odd: [i16; PART],
}

impl Sketch {
    /// Of a picture that is not all one grey.
    pub fn new(picture: &Grey<SIDE>) -> Sketch {
        let waves = waves(picture);
        let length = libm::sqrt(waves.iter().map(|wave| wave * wave).sum::<f64>()).max(1e-9);
        let part = |odd: usize| std::array::from_fn(|i| libm::round(waves[2 * i + odd] / length * LENGTH) as i16);
        Sketch { even: part(0), odd: part(1) }
    }
}

/// Where pixel `x` lies on the `k`-th wave.
pub(super) fn angle(k: usize, x: usize) -> f64 {
    std::f64::consts::PI * k as f64 * (2 * x + 1) as f64 / (2 * SIDE) as f64
}

/// The `k`-th cosine of the DCT-II at pixel `x`; orthonormal once multiplied by the root of 2 / `SIDE`.
pub(super) fn wave(k: usize, x: usize) -> f64 {
    let scale = if k == 0 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 };
    scale * libm::cos(angle(k, x))
}

/// The lowest `LOW` x `LOW` coefficients of the DCT-II, row by row, orthonormal up to one factor; the first is 0.
fn waves(picture: &Grey<SIDE>) -> Vec<f64> {
    static TABLE: OnceLock<Vec<f64>> = OnceLock::new();
    let table = TABLE.get_or_init(|| (0..LOW * SIDE).map(|i| wave(i / SIDE, i % SIDE)).collect());
    let mut rows = [[0.0; LOW]; SIDE];
    for (row, values) in rows.iter_mut().zip(&picture.values) {
        let values = values.map(f64::from);
        for (k, out) in row.iter_mut().enumerate() {
            *out = values.iter().zip(&table[k * SIDE..]).map(|(value, wave)| value * wave).sum();
        }
    }
    let column = |l: usize, k: usize| (0..SIDE).map(|y| rows[y][k] * table[l * SIDE + y]).sum();
    let mut out: Vec<f64> = (0..LOW * LOW).map(|i| column(i / LOW, i % LOW)).collect();
    out[0] = 0.0;
    out
}

/// Eight sketches, value by value beside each other, in pairs.
#[derive(Clone)]
struct Block {
    even: [[i16; 2 * LANES]; PART / 2],
    odd: [[i16; 2 * LANES]; PART / 2],
}

/// Sketches of many pictures.
#[derive(Clone, Default)]
pub(super) struct Sketches {
    blocks: Vec<Block>,
    len: usize,
}

impl Sketches {
    pub fn new<'s>(sketches: impl Iterator<Item = &'s Sketch>) -> Sketches {
        let mut out = Sketches::default();
        for sketch in sketches {
            let lane = out.len % LANES;
            if lane == 0 {
                out.blocks.push(Block { even: [[0; 2 * LANES]; PART / 2], odd: [[0; 2 * LANES]; PART / 2] });
            }
            let block = out.blocks.last_mut().expect("one was pushed for the first lane");
            for i in 0..PART {
                block.even[i / 2][2 * lane + i % 2] = sketch.even[i];
                block.odd[i / 2][2 * lane + i % 2] = sketch.odd[i];
            }
            out.len += 1;
        }
        out
    }

    /// For the n-th of the asked sketches calls `found(n, index, mirrored)` for each picture whose correlation with it,
    /// or with its mirror image, is at least `least`, in order of the index; with each asked sketch stands how many
    /// pictures it is compared with. Many asked at once read the pictures' sketches once.
    pub fn near(&self, asked: &[(&Sketch, usize)], least: f64, found: impl FnMut(usize, usize, bool)) {
        let least = (least * LENGTH * LENGTH) as i32;
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the machine has AVX2, as was just asked.
            return unsafe { self.near_avx2(asked, least, found) };
        }
        self.near_by(products_plain, asked, least, found);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn near_avx2(&self, asked: &[(&Sketch, usize)], least: i32, found: impl FnMut(usize, usize, bool)) {
        self.near_by(|sketch, block| products_avx2(sketch, block), asked, least, found);
    }

    #[inline(always)]
    fn near_by(
        &self,
        products: impl Fn(&Sketch, &Block) -> Products,
        asked: &[(&Sketch, usize)],
        least: i32,
        mut found: impl FnMut(usize, usize, bool),
    ) {
        let most = asked.iter().map(|&(_, among)| among).max().unwrap_or(0).min(self.len);
        for (b, block) in self.blocks[..most.div_ceil(LANES)].iter().enumerate() {
            for (n, &(sketch, among)) in asked.iter().enumerate() {
                let (even, odd) = products(sketch, block);
                // Most blocks hold nothing near: all eight are asked at once.
                let mut nearest = i32::MIN;
                for lane in 0..LANES {
                    nearest = nearest.max(even[lane] + odd[lane].abs());
                }
                if nearest < least {
                    continue;
                }
                for lane in 0..LANES.min(among.min(self.len).saturating_sub(b * LANES)) {
                    for (mirrored, product) in [(false, even[lane] + odd[lane]), (true, even[lane] - odd[lane])] {
                        if product >= least {
                            found(n, b * LANES + lane, mirrored);
                        }
                    }
                }
            }
        }
    }
}

/// The products of the even and of the odd parts, in units of `LENGTH` squared.
type Products = ([i32; LANES], [i32; LANES]);

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
#[inline]
fn products_avx2(sketch: &Sketch, block: &Block) -> Products {
    use std::arch::x86_64::*;
    let part = |values: &[i16; PART], block: &[[i16; 2 * LANES]; PART / 2]| {
        let mut sums = _mm256_setzero_si256();
        for (pair, row) in values.as_chunks::<2>().0.iter().zip(block) {
            let pair = i32::from(pair[0]) & 0xFFFF | i32::from(pair[1]) << 16;
            // SAFETY: a row is 32 bytes, and an unaligned load is meant.
            let row = unsafe { _mm256_loadu_si256(row.as_ptr().cast()) };
            sums = _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_set1_epi32(pair), row));
        }
        let mut out = [0; LANES];
        // SAFETY: `out` is 32 bytes.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), sums) };
        out
    };
    (part(&sketch.even, &block.even), part(&sketch.odd, &block.odd))
}

fn products_plain(sketch: &Sketch, block: &Block) -> Products {
    let part = |values: &[i16; PART], block: &[[i16; 2 * LANES]; PART / 2]| {
        let mut sums = [0; LANES];
        for (pair, row) in values.as_chunks::<2>().0.iter().zip(block) {
            for lane in 0..LANES {
                sums[lane] +=
                    i32::from(pair[0]) * i32::from(row[2 * lane]) + i32::from(pair[1]) * i32::from(row[2 * lane + 1]);
            }
        }
        sums
    };
    (part(&sketch.even, &block.even), part(&sketch.odd, &block.odd))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(seed: usize) -> Grey<SIDE> {
        let value = |i: usize| ((i % SIDE * (3 + seed) + i / SIDE * 7 + (i * i * (seed + 1)) % 97) % 251) as f32;
        Grey { values: std::array::from_fn(|y| std::array::from_fn(|x| value(y * SIDE + x))) }
    }

    #[test]
    fn products_are_correlations_of_the_picture_and_of_its_mirror_image_with_any_vectors() {
        let pictures: Vec<Grey<SIDE>> = (0..11).map(picture).collect();
        let sketches: Vec<Sketch> = pictures.iter().map(Sketch::new).collect();
        let many = Sketches::new(sketches.iter());
        let mirrored: Vec<Sketch> = pictures.iter().map(|picture| Sketch::new(&picture.mirrored())).collect();
        let exact = |a: &Sketch, b: &Sketch| -> i32 {
            let of = |x: &[i16], y: &[i16]| x.iter().zip(y).map(|(&x, &y)| i32::from(x) * i32::from(y)).sum::<i32>();
            of(&a.even, &b.even) + of(&a.odd, &b.odd)
        };
        for (i, sketch) in sketches.iter().enumerate() {
            assert!((f64::from(exact(sketch, sketch)) / LENGTH / LENGTH - 1.0).abs() < 1e-3);
            for (b, block) in many.blocks.iter().enumerate() {
                let (even, odd) = products_plain(sketch, block);
                #[cfg(target_arch = "x86_64")]
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the machine has AVX2, as was just asked.
                    assert_eq!(unsafe { products_avx2(sketch, block) }, (even, odd));
                }
                for lane in 0..LANES.min(11 - b * LANES) {
                    assert_eq!(even[lane] + odd[lane], exact(sketch, &sketches[b * LANES + lane]));
                    assert_eq!(even[lane] - odd[lane], exact(&mirrored[i], &sketches[b * LANES + lane]));
                }
            }
        }
        let mut near = Vec::new();
        let asked = [(&sketches[9], 11), (&sketches[9], 9), (&mirrored[3], 11)];
        many.near(&asked, 0.999, |n, i, mirrored| near.push((n, i, mirrored)));
        near.sort();
        assert_eq!(near, [(0, 9, false), (2, 3, true)]);
    }
}
