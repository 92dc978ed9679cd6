//! Seeded random numbers for resampling: ChaCha8 over a seed and a label; the same on every machine.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream that depends on seed and label alone.
pub struct Random(ChaCha8Rng);

impl Random {
    /// Different labels are independent streams.
    pub fn new(seed: u64, label: &str) -> Random {
        let mut hasher = blake3::Hasher::new_derive_key("birdaug 2026 statistics stream v1");
        hasher.update(&seed.to_le_bytes());
        hasher.update(label.as_bytes());
        Random(ChaCha8Rng::from_seed(*hasher.finalize().as_bytes()))
    }

    /// 64 independent coin tosses.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in 0..n, `n` at least 1 and below 2^32 (Lemire 2019, without bias).
    pub fn below(&mut self, n: usize) -> usize {
        let n = n as u32;
        loop {
            let product = u64::from(self.0.next_u32()) * u64::from(n);
            if product as u32 >= n || product as u32 >= n.wrapping_neg() % n {
                return (product >> 32) as usize;
            }
        }
    }

    /// Uniform in [0, 1).
    #[cfg(test)]
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with probability `p`.
    #[cfg(test)]
    pub fn chance(&mut self, p: f64) -> bool {
        self.uniform() < p
    }

    /// A standard normal variate.
    #[cfg(test)]
    pub fn normal(&mut self) -> f64 {
        super::distributions::normal_quantile(self.uniform() + 0.5 / (1u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_even_and_repeat() {
        let mut counts = [0; 7];
        let mut random = Random::new(3, "test");
        (0..70_000).for_each(|_| counts[random.below(7)] += 1);
        assert!(counts.iter().all(|&count| (9_600..10_400).contains(&count)), "{counts:?}");
        assert_eq!(Random::new(3, "test").bits(), Random::new(3, "test").bits());
        assert_ne!(Random::new(3, "test").bits(), Random::new(3, "other").bits());
    }
}
