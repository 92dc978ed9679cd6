//! How far a figure of two sets would move if other images had been drawn: a bootstrap over each image's own share. Knows no
//! metric.
//!
//! Drawing a set again with repetitions takes an image `w` times in place of once, which moves the figure by `(w - 1)` times
//! its influence; the influence is `(n - 1) / n` times what leaving the image out changes (the infinitesimal jackknife;
//! Efron and Tibshirani 1993, chapter 20). For a mean of the images' shares this is the bootstrap itself; for a distance it is
//! the bootstrap of its linear part, without its bias for small sets.

use serde::Serialize;

use crate::nn::noise::Stream;
use crate::stats::summary::quantile_of_sorted;

/// Of 95 of 100 such intervals the figure of all images there are is inside.
const CONFIDENCE: f64 = 0.95;
const RESAMPLES: usize = 1000;

/// An interval around a figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// The interval of a figure of two sets, from what leaving out each image of each takes away from it.
pub fn of_figure(value: f64, left_out: [&[f64]; 2], seed: u64) -> Interval {
    let mut random = Stream::indexed(seed, "bootstrap of a figure", &[]);
    let influences = left_out.map(|shares| {
        let n = shares.len() as f64;
        let mean = shares.iter().sum::<f64>() / n;
        shares.iter().map(|share| (share - mean) * (n - 1.0) / n).collect::<Vec<f64>>()
    });
    let draw = |random: &mut Stream, influences: &[f64]| -> f64 {
        (0..influences.len()).map(|_| influences[random.below(influences.len())]).sum()
    };
    let mut moved: Vec<f64> = (0..RESAMPLES)
        .map(|_| influences.iter().map(|influences| draw(&mut random, influences)).sum::<f64>())
        .collect();
    moved.sort_by(f64::total_cmp);
    let at = |level: f64| value + quantile_of_sorted(&moved, level).unwrap_or(0.0);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    Interval { low: at(tail), high: at(1.0 - tail) }
}

/// The interval of a mean of shares, an image each.
pub fn of_mean(shares: &[f64], seed: u64) -> Interval {
    let n = shares.len() as f64;
    let mean = shares.iter().sum::<f64>() / n;
    // Leaving one out moves the mean by this.
    let left_out: Vec<f64> = shares.iter().map(|share| (share - mean) / (n - 1.0)).collect();
    of_figure(mean, [&left_out, &[]], seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_means_interval_is_that_of_the_normal_approximation_where_there_are_many() {
        let shares: Vec<f64> = (0..2000).map(|i| f64::from(i % 10)).collect();
        let interval = of_mean(&shares, 0);
        let half = 1.96 * (8.25f64 / 2000.0).sqrt();
        assert!((interval.low - (4.5 - half)).abs() < 0.02, "{interval:?}");
        assert!((interval.high - (4.5 + half)).abs() < 0.02, "{interval:?}");
        assert_eq!(interval, of_mean(&shares, 0));
        assert_ne!(interval, of_mean(&shares, 1));
    }

    #[test]
    fn two_sets_widen_it_and_equal_images_have_none() {
        let shares: Vec<f64> = (0..100).map(|i| f64::from(i % 7) - 3.0).collect();
        let (one, both) = (of_figure(1.0, [&shares, &[]], 3), of_figure(1.0, [&shares, &shares], 3));
        assert!(both.high - both.low > 1.2 * (one.high - one.low), "{one:?} {both:?}");
        assert_eq!(of_mean(&[2.0; 9], 0), Interval { low: 2.0, high: 2.0 });
    }
}
