//! Whether a classifier is as often right as it says. Knows no network.

use crate::error::{Error, Result};

/// One bin of confidences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    pub images: usize,
    /// Mean of the confidences in it; 0 without images.
    pub confidence: f64,
    /// Share of its images that were named rightly; 0 without images.
    pub accuracy: f64,
}

/// Confidences (probability of the predicted species, in [0, 1]) in `bins` bins of equal width, (low, high] each.
///
/// # Errors
/// No bin, no image, lists of different lengths, a confidence outside [0, 1].
pub fn reliability(confidences: &[f64], right: &[bool], bins: usize) -> Result<Vec<Bin>> {
    if bins == 0 || confidences.is_empty() || confidences.len() != right.len() {
        return Err(Error::input(format!(
            "calibration over {bins} bins of {} confidences and {} answers cannot be measured",
            confidences.len(),
            right.len()
        )));
    }
    if let Some(bad) = confidences.iter().find(|value| !(0.0..=1.0).contains(*value)) {
        return Err(Error::input(format!("confidence {bad} is not between 0 and 1")));
    }
    let mut sums = vec![(0usize, 0.0f64, 0usize); bins];
    for (&confidence, &right) in confidences.iter().zip(right) {
        let bin = ((confidence * bins as f64).ceil() as usize).clamp(1, bins) - 1;
        sums[bin].0 += 1;
        sums[bin].1 += confidence;
        sums[bin].2 += usize::from(right);
    }
    let bin = |(images, confidence, right): (usize, f64, usize)| {
        let n = images.max(1) as f64;
        Bin { images, confidence: confidence / n, accuracy: right as f64 / n }
    };
    Ok(sums.into_iter().map(bin).collect())
}

/// The expected calibration error (Guo et al. 2017, equation 5): the mean gap between confidence and accuracy over
/// `bins` bins of equal width (15 is usual), weighted by images; in [0, 1].
///
/// # Errors
/// As [`reliability`].
pub fn expected_calibration_error(confidences: &[f64], right: &[bool], bins: usize) -> Result<f64> {
    let gap = |bin: &Bin| bin.images as f64 * (bin.confidence - bin.accuracy).abs();
    Ok(reliability(confidences, right, bins)?.iter().map(gap).sum::<f64>() / confidences.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::golden::{golden, numbers};

    #[test]
    fn the_error_equals_torchmetrics() {
        let golden = &golden()["calibration"];
        let confidences = numbers(&golden["confidences"]);
        let right: Vec<bool> = golden["right"].as_array().unwrap().iter().map(|v| v.as_bool().unwrap()).collect();
        let found = expected_calibration_error(&confidences, &right, 15).unwrap();
        assert!((found - golden["ece"].as_f64().unwrap()).abs() < 1e-6, "{found}");
    }

    #[test]
    fn bins_hold_their_upper_edge() {
        let bins = reliability(&[0.0, 0.5, 0.51, 1.0], &[false, true, false, true], 2).unwrap();
        assert_eq!((bins[0].images, bins[1].images), (2, 2));
        assert_eq!((bins[0].accuracy, bins[0].confidence), (0.5, 0.25));
        assert!(
            (expected_calibration_error(&[0.0, 0.5, 0.51, 1.0], &[false, true, false, true], 2).unwrap() - 0.2525)
                .abs()
                < 1e-12
        );
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        assert!(reliability(&[1.5], &[true], 15).is_err());
        assert!(reliability(&[f64::NAN], &[true], 15).is_err());
        assert!(reliability(&[], &[], 15).is_err());
    }
}
