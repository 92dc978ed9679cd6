//! How alike different pictures of one kind are in a dataset: what a copy must exceed to be called one. Knows faces, no
//! photos.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::face::Face;

/// Pairs that are enough for a steady 99th percentile.
pub const PAIRS: usize = 4000;
/// Likeness from which a pair is a copy in any dataset: copies score 0.97 and more, strangers seldom 0.6.
const LEAST: f64 = 0.80;
/// Likeness above which no threshold goes, whatever the dataset: one whose photos are mostly copies has no pairs of
/// strangers to learn from.
const MOST: f64 = 0.95;
/// Pairs below which the percentile says nothing.
const FEW: usize = 50;

/// Likeness of pairs of different real pictures of the same kind.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RealPairs {
    /// Sorted, each in [0, 1].
    pub scores: Vec<f64>,
}

impl RealPairs {
    /// Measures pairs of pictures with the same `kind`, at most `most` of them, spread evenly over all there are. Which
    /// pairs depends on the order of the list alone; equal faces (the same picture twice) are no pair.
    pub fn measure(pictures: &[(usize, Option<&Face>)], most: usize) -> RealPairs {
        let kinds = pictures.iter().map(|&(kind, _)| kind + 1).max().unwrap_or(0);
        let mut by_kind: Vec<Vec<&Face>> = vec![Vec::new(); kinds];
        for &(kind, face) in pictures {
            by_kind[kind].extend(face);
        }
        // Pairs are numbered kind by kind; `ends` is where each kind's numbers end.
        let mut total = 0;
        let ends: Vec<usize> = by_kind
            .iter()
            .map(|faces| {
                total += faces.len() * faces.len().saturating_sub(1) / 2;
                total
            })
            .collect();
        let asked = most.min(total);
        let mut scores: Vec<f64> = (0..asked)
            .into_par_iter()
            .filter_map(|k| {
                // One from each of `asked` equal stretches of the numbers; where in the stretch is mixed from k.
                let (from, to) = (part(k, total, asked), part(k + 1, total, asked));
                let number = from + (mixed(k as u64) % (to - from) as u64) as usize;
                let kind = ends.partition_point(|&end| end <= number);
                let within = number - if kind == 0 { 0 } else { ends[kind - 1] };
                let (i, j) = pair(within);
                let (a, b) = (by_kind[kind][i], by_kind[kind][j]);
                (a != b).then(|| a.likeness(b).score)
            })
            .collect();
        scores.sort_by(f64::total_cmp);
        RealPairs { scores }
    }

    /// The score that the share `q` of the pairs does not exceed; `None` without pairs.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let last = self.scores.len().checked_sub(1)?;
        self.scores.get(((q * last as f64).ceil() as usize).min(last)).copied()
    }

    /// Share of the pairs with at least this score.
    pub fn share_from(&self, score: f64) -> f64 {
        let below = self.scores.partition_point(|&one| one < score);
        (self.scores.len() - below) as f64 / self.scores.len().max(1) as f64
    }

    /// The likeness from which one picture counts as a copy of another: half way from the pairs' 99th percentile to 1,
    /// within [0.80, 0.95].
    pub fn threshold(&self) -> f64 {
        match self.quantile(0.99) {
            Some(percentile) if self.scores.len() >= FEW => ((1.0 + percentile) / 2.0).clamp(LEAST, MOST),
            _ => LEAST,
        }
    }
}

/// Where the k-th of `parts` equal stretches of `total` begins.
fn part(k: usize, total: usize, parts: usize) -> usize {
    (k as u128 * total as u128 / parts as u128) as usize
}

/// The n-th pair `(i, j)` with `j < i`, in the order (1, 0), (2, 0), (2, 1), (3, 0), ...
fn pair(n: usize) -> (usize, usize) {
    let mut i = ((1.0 + (1.0 + 8.0 * n as f64).sqrt()) / 2.0) as usize;
    while i * (i - 1) / 2 > n {
        i -= 1;
    }
    while (i + 1) * i / 2 <= n {
        i += 1;
    }
    (i, n - i * (i - 1) / 2)
}

/// SplitMix64's mixing function (Steele, Lea, Flood 2014).
fn mixed(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
