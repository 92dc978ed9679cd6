//! Random numbers by key: the same key gives the same numbers on every machine, thread count and device.
//!
//! A stream is ChaCha20 (RFC 8439) seeded by BLAKE3 in its key-derivation mode over the key and a label. Normal
//! variates are Box and Muller's (1958) in double precision with `libm`'s own functions, never the platform's.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of numbers that depends on its key and label alone.
pub struct Stream(ChaCha20Rng);

impl Stream {
    /// The stream of `key` for one purpose; different labels are independent.
    pub fn new(key: &[u8], label: &str) -> Stream {
        let mut hasher = blake3::Hasher::new_derive_key("birdaug 2026 noise stream v1");
        hasher.update(&(label.len() as u64).to_le_bytes());
        hasher.update(label.as_bytes());
        hasher.update(key);
        Stream(ChaCha20Rng::from_seed(*hasher.finalize().as_bytes()))
    }

    /// The stream of a seed and a list of indices, such as `(epoch, photo)`.
    pub fn indexed(seed: u64, label: &str, indices: &[u64]) -> Stream {
        let mut key = seed.to_le_bytes().to_vec();
        for index in indices {
            key.extend(index.to_le_bytes());
        }
        Stream::new(&key, label)
    }

    /// Uniform in [0, 1) with 53 random bits.
    pub fn uniform(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in [low, high).
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in 0..n without bias; `n` at least 1.
    pub fn below(&mut self, n: usize) -> usize {
        let n = n as u64;
        let limit = u64::MAX - u64::MAX % n;
        loop {
            let value = self.0.next_u64();
            if value < limit {
                return (value % n) as usize;
            }
        }
    }

    /// True with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// Puts the items into a uniformly random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// Two independent standard normal variates.
    pub fn normal_pair(&mut self) -> (f64, f64) {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.uniform()));
        let angle = std::f64::consts::TAU * self.uniform();
        (radius * libm::cos(angle), radius * libm::sin(angle))
    }

    /// `n` standard normal variates.
    pub fn normals(&mut self, n: usize) -> Vec<f32> {
        let mut out = Vec::with_capacity(n + 1);
        while out.len() < n {
            let (a, b) = self.normal_pair();
            out.push(a as f32);
            out.push(b as f32);
        }
        out.truncate(n);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_key_gives_the_same_numbers_forever() {
        let values = Stream::new(b"key", "latents").normals(4);
        assert_eq!(values, [0.8734566, 0.716159, 1.7615085, -0.1887956]);
    }

    #[test]
    fn labels_and_indices_separate_streams() {
        let mut seen = std::collections::BTreeSet::new();
        for label in ["a", "b"] {
            for index in 0..3 {
                seen.insert(Stream::indexed(0, label, &[index]).uniform().to_bits());
            }
        }
        assert_eq!(seen.len(), 6);
    }

    #[test]
    fn normals_have_mean_zero_and_variance_one() {
        let values = Stream::new(b"k", "test").normals(100_000);
        let mean = values.iter().map(|&v| v as f64).sum::<f64>() / 1e5;
        let variance = values.iter().map(|&v| (v as f64 - mean).powi(2)).sum::<f64>() / 1e5;
        assert!(mean.abs() < 0.015, "{mean}");
        assert!((variance - 1.0).abs() < 0.02, "{variance}");
        assert!(values.iter().all(|v| v.is_finite()));
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        Stream::new(b"k", "shuffle").shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
