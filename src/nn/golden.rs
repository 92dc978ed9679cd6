//! The numbers that `tests/golden/formula.py` makes, by the same formula.

/// `n` numbers in [-1, 1) from a name.
pub fn uniform(name: &str, n: usize) -> Vec<f64> {
    let key = name.bytes().fold(0u64, |key, byte| key.wrapping_mul(131).wrapping_add(byte as u64));
    (1..=n as u64)
        .map(|i| {
            let mut x = i.wrapping_mul(6364136223846793005).wrapping_add(key);
            x ^= x >> 33;
            x = x.wrapping_mul(0xFF51AFD7ED558CCD);
            x ^= x >> 33;
            (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
        })
        .collect()
}
