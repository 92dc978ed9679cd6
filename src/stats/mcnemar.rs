//! McNemar's exact test: do two classifiers err equally often on the same images?

/// What two classifiers did differently on the same images.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct McNemar {
    /// Images that only the arm names rightly.
    pub only_arm: usize,
    /// Images that only the baseline names rightly.
    pub only_baseline: usize,
    /// Two-sided exact p.
    pub p: f64,
}

/// The exact two-sided test (McNemar 1947; the binomial form): given the images on which just one of the two is right,
/// each is the arm's with probability one half under the null. Compares two trained networks on one test set, nothing
/// about further seeds.
///
/// Both lists say of the same images, in the same order, whether they were named rightly.
pub fn mcnemar(baseline: &[bool], arm: &[bool]) -> McNemar {
    let count = |which: bool| baseline.iter().zip(arm).filter(|(b, a)| a != b && **a == which).count();
    let (only_arm, only_baseline) = (count(true), count(false));
    McNemar { only_arm, only_baseline, p: fair_coin(only_arm, only_arm + only_baseline) }
}

/// The two-sided exact binomial p of `heads` among `tosses` of a fair coin.
pub fn fair_coin(heads: usize, tosses: usize) -> f64 {
    let fewer = heads.min(tosses - heads);
    if 2 * fewer == tosses {
        return 1.0;
    }
    let n = tosses as f64;
    let log_term = |k: usize| {
        let k = k as f64;
        libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0) - n * std::f64::consts::LN_2
    };
    (2.0 * (0..=fewer).map(|k| libm::exp(log_term(k))).sum::<f64>()).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::golden::golden;

    #[test]
    fn the_exact_binomial_p_equals_scipys() {
        let golden = golden();
        for case in golden["binomial"].as_array().unwrap() {
            let [heads, tosses] = [0, 1].map(|i| case[i].as_u64().unwrap() as usize);
            let (found, wanted) = (fair_coin(heads, tosses), case[2].as_f64().unwrap());
            assert!((found - wanted).abs() < 1e-9 * wanted, "{case}: {found}");
        }
        assert_eq!(fair_coin(0, 0), 1.0);
    }

    #[test]
    fn only_images_that_differ_count() {
        let baseline = [true, true, false, false, false, false, false, false];
        let arm = [true, false, true, true, true, true, true, false];
        let found = mcnemar(&baseline, &arm);
        assert_eq!((found.only_arm, found.only_baseline), (5, 1));
        assert!((found.p - 14.0 / 64.0).abs() < 1e-12, "2 (1 + 6) / 2^6");
        assert_eq!(mcnemar(&arm, &arm).p, 1.0);
    }
}
