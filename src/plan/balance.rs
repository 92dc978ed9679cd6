//! How many synthetic images each species should get. Pure arithmetic on counts.

use crate::recipe::{Balance, Target};

/// Synthetic images wanted a species, in the order of `real` (species name, real train images).
pub fn wanted(balance: &Balance, real: &[(&str, usize)]) -> Vec<usize> {
    let mut counts: Vec<usize> = real.iter().map(|&(_, n)| n).collect();
    counts.sort_unstable();
    let target = target(balance.target, &counts);
    real.iter()
        .map(|&(name, n)| match balance.species.get(name) {
            Some(&exactly) => exactly,
            None => {
                let missing = target.saturating_sub(n);
                match balance.max_ratio {
                    Some(ratio) => missing.min((ratio * n as f64).floor() as usize),
                    None => missing,
                }
            }
        })
        .collect()
}

/// So many times the wanted images of a species, rounded; halves up.
pub fn dose(wanted: usize, times: f64) -> usize {
    (times * wanted as f64 + 0.5).floor() as usize
}

/// The number of images a species should reach, from the ascending counts. Quantiles are of the nearest rank, rounded
/// up (Hyndman and Fan 1996, definition 1), so that the target is some species' own count.
fn target(target: Target, ascending: &[usize]) -> usize {
    let rank = |q: f64| {
        let n = ascending.len();
        if n == 0 { 0 } else { ascending[((q * n as f64).ceil() as usize).clamp(1, n) - 1] }
    };
    match target {
        Target::Count(n) => n,
        Target::Max => rank(1.0),
        Target::Median => rank(0.5),
        Target::P90 => rank(0.9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const REAL: [(&str, usize); 5] = [("A", 50), ("B", 30), ("C", 20), ("D", 10), ("E", 4)];

    fn plan(target: Target, max_ratio: Option<f64>, species: &[(&str, usize)]) -> Vec<usize> {
        let species: BTreeMap<String, usize> = species.iter().map(|&(name, n)| (name.to_string(), n)).collect();
        wanted(&Balance { target, max_ratio, species }, &REAL)
    }

    #[test]
    fn every_species_is_filled_to_the_commonest() {
        assert_eq!(plan(Target::Max, None, &[]), [0, 20, 30, 40, 46]);
    }

    #[test]
    fn the_ratio_bounds_the_rare_ones() {
        assert_eq!(plan(Target::Max, Some(2.5), &[]), [0, 20, 30, 25, 10]);
    }

    #[test]
    fn a_named_species_gets_exactly_its_number() {
        assert_eq!(plan(Target::Count(25), Some(1.0), &[("A", 7), ("E", 40)]), [7, 0, 5, 10, 40]);
    }

    #[test]
    fn median_and_p90_are_counts_that_occur() {
        assert_eq!(plan(Target::Median, None, &[]), [0, 0, 0, 10, 16]);
        assert_eq!(plan(Target::P90, None, &[]), [0, 20, 30, 40, 46]);
    }

    #[test]
    fn a_dose_is_rounded_and_one_is_what_is_wanted() {
        assert_eq!([0, 1, 5, 8].map(|n| dose(n, 0.5)), [0, 1, 3, 4]);
        assert_eq!([0, 1, 5, 8].map(|n| dose(n, 1.0)), [0, 1, 5, 8]);
        assert_eq!([0, 1, 5, 8].map(|n| dose(n, 2.0)), [0, 2, 10, 16]);
    }

    #[test]
    fn no_species_is_no_work() {
        let balance = Balance { target: Target::Max, max_ratio: None, species: BTreeMap::new() };
        assert!(wanted(&balance, &[]).is_empty());
    }
}
