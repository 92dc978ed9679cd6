//! The sign-flip permutation test of paired differences.
//!
//! Null hypothesis: the two arms are exchangeable on every unit, so each unit's difference might as well have had the
//! other sign, independently of the others. For arms the unit is a test image with its difference averaged over the
//! paired seeds: the networks that were trained are taken as they are, and what is asked is whether they differ on
//! such images. Thus p is not bounded from below by the number of seeds (three seeds alone could not go under 0.25).
//! How much the arms would vary over further seeds is not this test's question but the interval's: that is why a
//! verdict needs both.

use super::random::Random;

/// Units of a difference other than zero up to which all sign patterns are tried.
const EXACT: usize = 16;

/// Two-sided p of the sum of `differences` (weights included) under random signs. All `2^k` patterns are tried where at
/// most 16 differences are not zero, which is exact; else `draws` random ones, and p is `(hits + 1) / (draws + 1)`
/// (Phipson and Smyth 2010), which keeps the test valid.
pub fn sign_flip(differences: &[f64], draws: usize, seed: u64) -> f64 {
    let moved: Vec<f64> = differences.iter().copied().filter(|&value| value != 0.0).collect();
    let size: f64 = moved.iter().map(|value| value.abs()).sum();
    // Patterns that tie with what was seen count as hits, also where rounding parts them.
    let seen = moved.iter().sum::<f64>().abs() - 1e-12 * size;
    if moved.len() <= EXACT {
        let patterns = 1u64 << moved.len();
        let hits = (0..patterns).filter(|&pattern| flipped(&moved, || pattern).abs() >= seen).count();
        return hits as f64 / patterns as f64;
    }
    let mut random = Random::new(seed, "sign flip");
    let hits = (0..draws).filter(|_| flipped(&moved, || random.bits()).abs() >= seen).count();
    (hits + 1) as f64 / (draws + 1) as f64
}

/// The sum with the sign of every value turned whose bit is set, 64 values a word.
fn flipped(values: &[f64], mut word: impl FnMut() -> u64) -> f64 {
    let mut sum = 0.0;
    for chunk in values.chunks(64) {
        let bits = word();
        let turn = |(i, value): (usize, &f64)| f64::from_bits(value.to_bits() ^ (((bits >> i) & 1) << 63));
        sum += chunk.iter().enumerate().map(turn).sum::<f64>();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::golden::{golden, numbers};

    #[test]
    fn small_cases_equal_scipys_exact_test() {
        let golden = golden();
        let cases = golden["sign_flip"].as_array().unwrap();
        assert_eq!(cases.len(), 4);
        for case in cases {
            let found = sign_flip(&numbers(&case["differences"]), 0, 0);
            let wanted = case["p"].as_f64().unwrap();
            assert!((found - wanted).abs() < 1e-12, "{case}: {found}");
        }
    }

    #[test]
    fn random_signs_come_near_the_exact_p() {
        // 40 units of +1 and 20 of -1: the exact p is the fair coin's.
        let differences: Vec<f64> = (0..60).map(|i| if i % 3 == 0 { -1.0 } else { 1.0 }).collect();
        let wanted = crate::stats::mcnemar::fair_coin(20, 60);
        let found = sign_flip(&differences, 20_000, 1);
        assert!((found - wanted).abs() < 4.0 * (wanted / 20_000.0f64).sqrt(), "{found} is not {wanted}");
        assert_eq!(found, sign_flip(&differences, 20_000, 1));
    }

    #[test]
    fn no_difference_is_no_evidence_and_zeros_do_not_count() {
        assert_eq!(sign_flip(&[], 100, 0), 1.0);
        assert_eq!(sign_flip(&[0.0; 50], 100, 0), 1.0);
        let padded: Vec<f64> = [1.0; 6].into_iter().chain([0.0; 100]).collect();
        assert_eq!(sign_flip(&padded, 0, 0), 2.0 / 64.0);
    }
}
