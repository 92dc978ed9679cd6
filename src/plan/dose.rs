//! Which synthetic images an arm has whose dose is not the tree's. Pure.

use super::balance;
use super::key::Key;

/// A kept image, as it is offered to every arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    pub species: usize,
    /// Of its candidate.
    pub key: Key,
    /// Whether it is kept for doses above 1 alone.
    pub more: bool,
}

/// The places, ascending, of the images that an arm of this dose has, of those that are offered: `times` as many of each
/// species as are wanted, where there are so many. Below 1 those with the lowest keys, which are as good as random; above 1
/// all of the tree's and then the others as they come. So a smaller dose is part of a larger one, and dose 1 is the tree's.
pub fn taken(offers: &[Offer], wanted: &[usize], times: f64) -> Vec<usize> {
    let mut of_species: Vec<Vec<usize>> = vec![Vec::new(); wanted.len()];
    for (i, offer) in offers.iter().enumerate().filter(|(_, offer)| !offer.more || times > 1.0) {
        of_species[offer.species].push(i);
    }
    let mut places = Vec::new();
    for (mut own, &wanted) in of_species.into_iter().zip(wanted) {
        // Stable: those beyond the tree's keep their order behind it.
        own.sort_by_key(|&i| (offers[i].more, if offers[i].more { Key([0; 32]) } else { offers[i].key }));
        own.truncate(balance::dose(wanted, times));
        places.append(&mut own);
    }
    places.sort_unstable();
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(species: usize, key: u8, more: bool) -> Offer {
        Offer { species, key: Key([key; 32]), more }
    }

    /// Species 0 wants 4 and has them, and 3 more; species 1 wants 3 and has 2, and 1 more.
    fn offers() -> Vec<Offer> {
        let tree = [(0, 9), (0, 2), (0, 7), (0, 4), (1, 5), (1, 1)].map(|(species, key)| offer(species, key, false));
        let more = [(0, 8), (0, 1), (0, 3), (1, 6)].map(|(species, key)| offer(species, key, true));
        tree.into_iter().chain(more).collect()
    }

    #[test]
    fn a_smaller_dose_is_part_of_a_larger_one() {
        let doses = [0.1, 0.25, 0.5, 1.0, 1.5, 1.75, 2.0, 3.0];
        let sets = doses.map(|times| taken(&offers(), &[4, 3], times));
        for (few, many) in sets.iter().zip(&sets[1..]) {
            assert!(few.iter().all(|place| many.contains(place)), "{few:?} {many:?}");
        }
        assert_eq!(sets[0], [0usize; 0]);
    }

    #[test]
    fn half_a_dose_has_the_lowest_keys_and_one_is_the_tree() {
        assert_eq!(taken(&offers(), &[4, 3], 0.5), [1, 3, 4, 5], "keys 2 and 4 of the one, 1 and 5 of the other");
        assert_eq!(
            taken(&offers(), &[4, 3], 1.0),
            [0, 1, 2, 3, 4, 5],
            "a shortfall is not made up by what is for more"
        );
        assert_eq!(taken(&offers(), &[4, 3], 1.5), [0, 1, 2, 3, 4, 5, 6, 7, 9]);
        assert_eq!(taken(&offers(), &[4, 3], 2.0).len(), 10, "as many as there are");
    }

    #[test]
    fn which_images_are_there_beyond_does_not_change_half_a_dose() {
        assert_eq!(taken(&offers()[..6], &[4, 3], 0.5), taken(&offers(), &[4, 3], 0.5));
    }
}
