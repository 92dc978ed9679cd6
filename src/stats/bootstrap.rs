//! The BCa bootstrap interval: bias-corrected and accelerated (Efron 1987; Efron and Tibshirani 1993, section 14.3).

use super::distributions::{normal_cdf, normal_quantile};
use super::random::Random;
use super::summary::quantile_of_sorted;
use crate::error::{Error, Result};

/// An interval that covers what is estimated with the confidence that was asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// The BCa interval of a statistic of `n` rows. `statistic` takes row numbers, with repetitions, and returns a finite
/// number; paired data stay paired, since a row is drawn whole. `confidence` in (0, 1); 2,000 `resamples` are usual.
///
/// # Errors
/// Fewer than 2 rows, no resample, a confidence outside (0, 1), a statistic that is not finite.
pub fn bca(
    n: usize,
    statistic: impl Fn(&[usize]) -> f64,
    confidence: f64,
    resamples: usize,
    seed: u64,
) -> Result<Interval> {
    if n < 2 || resamples == 0 || !(confidence > 0.0 && confidence < 1.0) {
        return Err(Error::input(format!(
            "a bootstrap interval needs 2 rows, a resample, and a confidence between 0 and 1; these are {n}, {resamples}, \
             {confidence}"
        )));
    }
    let all: Vec<usize> = (0..n).collect();
    let estimate = statistic(&all);
    let without = |row: usize| {
        let rest: Vec<usize> = all.iter().copied().filter(|&other| other != row).collect();
        statistic(&rest)
    };
    let left_out: Vec<f64> = all.iter().map(|&row| without(row)).collect();
    let mut random = Random::new(seed, "bootstrap");
    let mut rows = vec![0; n];
    let mut resampled: Vec<f64> = (0..resamples)
        .map(|_| {
            rows.iter_mut().for_each(|row| *row = random.below(n));
            statistic(&rows)
        })
        .collect();
    if !left_out.iter().chain(&resampled).chain([&estimate]).all(|value| value.is_finite()) {
        return Err(Error::input("the statistic of a resample is not finite, so it has no bootstrap interval"));
    }
    resampled.sort_by(f64::total_cmp);
    let middle = left_out.iter().sum::<f64>() / n as f64;
    let influences: Vec<f64> = left_out.iter().map(|value| middle - value).collect();
    let levels = levels(estimate, &resampled, acceleration(&influences), confidence);
    let [low, high] = levels.map(|level| quantile_of_sorted(&resampled, level).unwrap_or(estimate));
    Ok(Interval { low, high })
}

/// The acceleration from each row's influence (any common scale): a sixth of their skewness.
pub fn acceleration(influences: &[f64]) -> f64 {
    let squares: f64 = influences.iter().map(|u| u * u).sum();
    let cubes: f64 = influences.iter().map(|u| u * u * u).sum();
    if squares > 0.0 { cubes / (6.0 * squares * squares.sqrt()) } else { 0.0 }
}

/// At which quantiles of the ascending resampled values the interval ends, in [0, 1]. Ties with the estimate count half
/// for the bias.
pub fn levels(estimate: f64, sorted: &[f64], acceleration: f64, confidence: f64) -> [f64; 2] {
    let below = sorted.partition_point(|&value| value < estimate);
    let up_to = sorted.partition_point(|&value| value <= estimate);
    let bias = normal_quantile((below + up_to) as f64 / (2 * sorted.len()) as f64);
    let tail = normal_quantile(0.5 - 0.5 * confidence);
    [tail, -tail].map(|tail| {
        let shifted = bias + tail;
        // A bias of the whole distribution to one side leaves no interval on the other: the extreme value is its end.
        if shifted.is_infinite() {
            return f64::from(shifted > 0.0);
        }
        normal_cdf(bias + shifted / (1.0 - acceleration * shifted))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::golden::{golden, numbers};
    use crate::stats::summary::{mean, std};

    fn close(found: f64, wanted: f64, tolerance: f64) {
        assert!((found - wanted).abs() <= tolerance, "{found} is not {wanted}");
    }

    #[test]
    fn bias_correction_and_acceleration_equal_scipys() {
        let golden = golden();
        let cases = golden["bca"].as_array().unwrap();
        assert_eq!(cases.len(), 3);
        for case in cases {
            let data = numbers(&case["data"]);
            let mut resampled = numbers(&case["resampled"]);
            resampled.sort_by(f64::total_cmp);
            let statistic = |rows: &[usize]| {
                let drawn: Vec<f64> = rows.iter().map(|&row| data[row]).collect();
                if case["statistic"] == "mean" { mean(&drawn).unwrap() } else { std(&drawn).unwrap() }
            };
            let n = data.len();
            let left_out: Vec<f64> =
                (0..n).map(|i| statistic(&(0..n).filter(|&j| j != i).collect::<Vec<_>>())).collect();
            let middle = mean(&left_out).unwrap();
            let a = acceleration(&left_out.iter().map(|value| middle - value).collect::<Vec<_>>());
            close(a, case["acceleration"].as_f64().unwrap(), 1e-12);
            let found = levels(statistic(&(0..n).collect::<Vec<_>>()), &resampled, a, 0.9);
            close(found[0], case["levels"][0].as_f64().unwrap(), 1e-12);
            close(found[1], case["levels"][1].as_f64().unwrap(), 1e-12);

            let whole = bca(n, statistic, 0.9, 20_000, 0).unwrap();
            let width = case["interval"][1].as_f64().unwrap() - case["interval"][0].as_f64().unwrap();
            close(whole.low, case["interval"][0].as_f64().unwrap(), 0.02 * width);
            close(whole.high, case["interval"][1].as_f64().unwrap(), 0.02 * width);
        }
    }

    #[test]
    fn a_constant_has_an_interval_of_no_width() {
        let found = bca(5, |_| 2.0, 0.95, 100, 0).unwrap();
        assert_eq!(found, Interval { low: 2.0, high: 2.0 });
    }

    #[test]
    fn what_has_no_interval_is_refused() {
        assert!(bca(1, |_| 0.0, 0.95, 100, 0).is_err());
        assert!(bca(9, |_| 0.0, 1.0, 100, 0).is_err());
        assert!(bca(9, |rows| 1.0 / (rows.len() as f64 - 8.0), 0.95, 100, 0).is_err());
    }
}
