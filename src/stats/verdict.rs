//! From an interval and a test to one of three words.

use super::difference::Difference;

/// What a comparison shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Helped,
    Hurt,
    NotShown,
}

impl Verdict {
    /// As reports write it.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Helped => "helped",
            Verdict::Hurt => "hurt",
            Verdict::NotShown => "not shown",
        }
    }
}

/// `helped` or `hurt` only where the interval leaves 0 out on that side and the test agrees at `alpha`; else `not shown`.
/// Where several arms are compared, `p` is [`holm`]'s.
pub fn verdict(difference: &Difference, p: f64, alpha: f64) -> Verdict {
    if p >= alpha || p.is_nan() {
        Verdict::NotShown
    } else if difference.low > 0.0 && difference.difference > 0.0 {
        Verdict::Helped
    } else if difference.high < 0.0 && difference.difference < 0.0 {
        Verdict::Hurt
    } else {
        Verdict::NotShown
    }
}

/// p values adjusted for their number (Holm 1979), in the order given: to reject those below alpha keeps the chance of
/// even one false rejection at alpha.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut largest = 0.0f64;
    for (rank, &index) in order.iter().enumerate() {
        largest = largest.max((p[index] * (p.len() - rank) as f64).min(1.0));
        adjusted[index] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(difference: f64, low: f64, high: f64) -> Difference {
        Difference {
            difference,
            low,
            high,
            p: 1.0,
            standard_error: 0.01,
            degrees: 9.0,
            seeds: 3,
            images: 100,
            species: 10,
        }
    }

    #[test]
    fn a_verdict_needs_the_interval_and_the_test() {
        assert_eq!(verdict(&found(0.03, 0.01, 0.05), 0.01, 0.05), Verdict::Helped);
        assert_eq!(verdict(&found(-0.03, -0.05, -0.01), 0.01, 0.05), Verdict::Hurt);
        assert_eq!(verdict(&found(0.03, 0.01, 0.05), 0.05, 0.05), Verdict::NotShown);
        assert_eq!(verdict(&found(0.03, 0.0, 0.05), 0.01, 0.05), Verdict::NotShown);
        assert_eq!(verdict(&found(-0.03, -0.05, 0.01), 0.01, 0.05), Verdict::NotShown);
        assert_eq!(verdict(&found(0.03, 0.01, 0.05), f64::NAN, 0.05), Verdict::NotShown);
        assert_eq!(Verdict::NotShown.name(), "not shown");
    }

    #[test]
    fn holm_adjusts_as_r_does() {
        // R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") = 0.03 0.06 0.06 0.02
        for (found, wanted) in holm(&[0.01, 0.04, 0.03, 0.005]).iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found - wanted).abs() < 1e-15);
        }
        assert_eq!(holm(&[0.7, 0.6]), [1.0, 1.0]);
        assert_eq!(holm(&[]), [0.0; 0]);
    }
}
