//! The features that `tests/golden/frechet.py` and `kid.py` make, by the same formula.

use super::features::Features;

pub fn features(rows: usize, dims: usize, seed: u64) -> Features {
    let value = |i: u64, j: u64| {
        let hash = ((i * 7919 + j * 104729 + seed * 1299709) * 2654435761) % (1 << 32);
        let noise = hash as f64 / (1u64 << 32) as f64;
        (noise * (1.0 + j as f64 / dims as f64) + 0.1 * seed as f64 * (j % 3) as f64) as f32
    };
    let values = (0..rows as u64).flat_map(|i| (0..dims as u64).map(move |j| value(i, j))).collect();
    Features::new(dims, values).unwrap()
}
