//! How often predictions are right: over all images, by species, by group of species. Species are dense ids 0..n.

use crate::error::{Error, Result};

/// Accuracies of one classifier on one test set.
#[derive(Debug, Clone, PartialEq)]
pub struct Accuracy {
    /// The mean of the species' recalls, over species that have test images.
    pub macro_: f64,
    /// Right images by all images.
    pub micro: f64,
    /// Right images of a species by its images; `None` where it has no test image. `[species]`
    pub recall: Vec<Option<f64>>,
    /// Test images, `[species]`.
    pub images: Vec<usize>,
}

/// Accuracies from the true and the predicted species of every test image.
///
/// # Errors
/// No image, lists of different lengths, a label that is no species.
pub fn accuracy(labels: &[usize], predictions: &[usize], species: usize) -> Result<Accuracy> {
    check(labels, predictions, species)?;
    let mut images = vec![0usize; species];
    let mut right = vec![0usize; species];
    for (&label, &prediction) in labels.iter().zip(predictions) {
        images[label] += 1;
        right[label] += usize::from(label == prediction);
    }
    let recall: Vec<Option<f64>> =
        right.iter().zip(&images).map(|(&right, &n)| (n > 0).then(|| right as f64 / n as f64)).collect();
    let tested: Vec<f64> = recall.iter().flatten().copied().collect();
    Ok(Accuracy {
        macro_: tested.iter().sum::<f64>() / tested.len() as f64,
        micro: right.iter().sum::<usize>() as f64 / labels.len() as f64,
        recall,
        images,
    })
}

impl Accuracy {
    /// The mean recall of a group of species, such as the tail; `None` where none of them has a test image.
    pub fn group(&self, members: &[usize]) -> Option<f64> {
        let tested: Vec<f64> = members.iter().filter_map(|&one| self.recall.get(one).copied().flatten()).collect();
        super::summary::mean(&tested)
    }
}

/// Species by their number of train images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    /// The rarest, ascending ids.
    pub tail: Vec<usize>,
    /// All others, ascending ids.
    pub head: Vec<usize>,
}

/// The rarest `share` of the species (in [0, 1]; rounded, at least one where `share` is above 0 and there are species),
/// and the others. Of equally many images, the lower id is the rarer.
pub fn tail_and_head(train_images: &[usize], share: f64) -> Groups {
    let n = train_images.len();
    let wanted = (share.clamp(0.0, 1.0) * n as f64).round() as usize;
    let size = wanted.max(usize::from(share > 0.0)).min(n);
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by_key(|&species| (train_images[species], species));
    let mut head = order.split_off(size);
    order.sort_unstable();
    head.sort_unstable();
    Groups { tail: order, head }
}

/// One kind of error: images of `truth` that were called `predicted`.
#[derive(Debug, Clone, PartialEq)]
pub struct Confusion {
    pub truth: usize,
    pub predicted: usize,
    pub images: usize,
    /// Of all test images of `truth`.
    pub share: f64,
}

/// Every kind of error that was made, most images first, then by species.
///
/// # Errors
/// As [`accuracy`].
pub fn confusions(labels: &[usize], predictions: &[usize], species: usize) -> Result<Vec<Confusion>> {
    check(labels, predictions, species)?;
    let mut totals = vec![0usize; species];
    let mut pairs = std::collections::BTreeMap::new();
    for (&truth, &predicted) in labels.iter().zip(predictions) {
        totals[truth] += 1;
        if truth != predicted {
            *pairs.entry((truth, predicted)).or_insert(0usize) += 1;
        }
    }
    let mut found: Vec<Confusion> = pairs
        .into_iter()
        .map(|((truth, predicted), images)| Confusion {
            truth,
            predicted,
            images,
            share: images as f64 / totals[truth] as f64,
        })
        .collect();
    found.sort_by_key(|one| std::cmp::Reverse(one.images));
    Ok(found)
}

fn check(labels: &[usize], predictions: &[usize], species: usize) -> Result<()> {
    if labels.is_empty() {
        return Err(Error::input("there is no test image to measure accuracy on"));
    }
    if labels.len() != predictions.len() {
        return Err(Error::input(format!("{} test images, but {} predictions", labels.len(), predictions.len())));
    }
    if let Some(&bad) = labels.iter().chain(predictions).find(|&&one| one >= species) {
        return Err(Error::input(format!("species number {bad} of {species} does not exist")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [usize; 8] = [0, 0, 0, 0, 1, 1, 2, 2];
    const PREDICTIONS: [usize; 8] = [0, 0, 0, 1, 1, 2, 0, 0];

    #[test]
    fn accuracies_are_counted_by_hand() {
        let found = accuracy(&LABELS, &PREDICTIONS, 4).unwrap();
        assert_eq!(found.micro, 0.5);
        assert_eq!(found.recall, [Some(0.75), Some(0.5), Some(0.0), None]);
        assert!((found.macro_ - 1.25 / 3.0).abs() < 1e-15, "the species without test images is left out");
        assert_eq!(found.images, [4, 2, 2, 0]);
        assert_eq!(found.group(&[0, 1]), Some(0.625));
        assert_eq!(found.group(&[3]), None);
    }

    #[test]
    fn confusions_come_most_frequent_first() {
        let found = confusions(&LABELS, &PREDICTIONS, 3).unwrap();
        let told: Vec<_> = found.iter().map(|one| (one.truth, one.predicted, one.images, one.share)).collect();
        assert_eq!(told, [(2, 0, 2, 1.0), (0, 1, 1, 0.25), (1, 2, 1, 0.5)]);
    }

    #[test]
    fn the_tail_is_the_rarest_share_and_ties_go_by_id() {
        let groups = tail_and_head(&[5, 2, 9, 2, 7, 7], 0.33);
        assert_eq!(groups, Groups { tail: vec![1, 3], head: vec![0, 2, 4, 5] });
        assert_eq!(tail_and_head(&[4, 4, 4], 0.4).tail, [0]);
        assert_eq!(tail_and_head(&[4, 4, 4], 0.01).tail, [0], "at least one");
        assert_eq!(tail_and_head(&[4, 4], 0.0).tail, [0usize; 0]);
        assert_eq!(tail_and_head(&[], 0.5), Groups { tail: vec![], head: vec![] });
    }

    #[test]
    fn what_cannot_be_counted_is_refused() {
        assert!(accuracy(&[], &[], 3).is_err());
        assert!(accuracy(&[0, 1], &[0], 3).is_err());
        assert_eq!(accuracy(&[0, 3], &[0, 1], 3).unwrap_err().to_string(), "species number 3 of 3 does not exist");
    }
}
