//! Randomness of the drawings: numbers by seed, species and index alone, and smooth noise. Knows no birds.
//!
//! A source is ChaCha20 (RFC 8439) keyed by BLAKE3 over its name; all arithmetic is IEEE addition, multiplication
//! and integer hashing, so that a drawing has the same bytes on every machine.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of numbers for one purpose of one drawing.
pub struct Source(ChaCha20Rng);

impl Source {
    /// The stream of drawing `index` of `species` under `seed`; different purposes are independent.
    pub fn new(seed: u64, species: &str, index: u64, purpose: &str) -> Source {
        let mut hasher = blake3::Hasher::new_derive_key("birdaug 2026 drawn sample v1");
        for text in [species, purpose] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.update(&seed.to_le_bytes());
        hasher.update(&index.to_le_bytes());
        Source(ChaCha20Rng::from_seed(*hasher.finalize().as_bytes()))
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in [low, high).
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Bell-shaped in (-1, 1) with standard deviation 1/3: the sum of three uniforms, so no logarithm is needed.
    pub fn bell(&mut self) -> f64 {
        (self.uniform() + self.uniform() + self.uniform()) * (2.0 / 3.0) - 1.0
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// One of the items.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[((self.uniform() * items.len() as f64) as usize).min(items.len() - 1)]
    }

    /// A seed for the noise functions of this module.
    pub fn salt(&mut self) -> u32 {
        self.0.next_u32()
    }
}

/// Uniform in [0, 1) by lattice point.
pub fn hash(salt: u32, x: i64, y: i64, z: i64) -> f64 {
    let mut h = salt ^ 0x9E37_79B9;
    for part in [x, y, z] {
        h ^= (part as u32).wrapping_mul(0x85EB_CA6B);
        h = h.rotate_left(13).wrapping_mul(0xC2B2_AE35);
        h ^= h >> 15;
    }
    h = h.wrapping_mul(0x2C1B_3C6D);
    h ^= h >> 13;
    f64::from(h) * (1.0 / 4_294_967_296.0)
}

fn fade(t: f64) -> f64 {
    t * t * (3.0 - 2.0 * t)
}

fn mix(a: f64, b: f64, t: f64) -> f64 {
    a + (b - a) * t
}

/// Smooth noise over the plane in [0, 1), one feature a unit.
pub fn noise(salt: u32, x: f64, y: f64) -> f64 {
    let (fx, fy) = (x.floor(), y.floor());
    let (tx, ty) = (fade(x - fx), fade(y - fy));
    let (ix, iy) = (fx as i64, fy as i64);
    let at = |dx, dy| hash(salt, ix + dx, iy + dy, 0);
    mix(mix(at(0, 0), at(1, 0), tx), mix(at(0, 1), at(1, 1), tx), ty)
}

/// Smooth noise in space in [0, 1), one feature a unit.
pub fn noise3(salt: u32, x: f64, y: f64, z: f64) -> f64 {
    let (fx, fy, fz) = (x.floor(), y.floor(), z.floor());
    let (tx, ty, tz) = (fade(x - fx), fade(y - fy), fade(z - fz));
    let (ix, iy, iz) = (fx as i64, fy as i64, fz as i64);
    let at = |dx, dy, dz| hash(salt, ix + dx, iy + dy, iz + dz);
    let plane = |dz| mix(mix(at(0, 0, dz), at(1, 0, dz), tx), mix(at(0, 1, dz), at(1, 1, dz), tx), ty);
    mix(plane(0), plane(1), tz)
}

/// Noise summed over octaves, each twice as fine and half as strong, in [0, 1).
pub fn fractal(salt: u32, x: f64, y: f64, octaves: u32) -> f64 {
    let (mut sum, mut weight, mut total, mut scale) = (0.0, 1.0, 0.0, 1.0);
    for octave in 0..octaves {
        sum += weight * noise(salt.wrapping_add(octave.wrapping_mul(0x632B_E5AB)), x * scale, y * scale);
        total += weight;
        weight *= 0.5;
        scale *= 2.0;
    }
    sum / total
}
