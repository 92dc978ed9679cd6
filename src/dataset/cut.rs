//! A task cut out of a dataset: which photos the arms train on, validate on and are tested on. Knows counts and
//! digests, no pixels.
//!
//! Which photos are chosen follows from seed, species and each file's own digest: a photo that is added or taken away
//! moves at most one other.

use std::collections::{HashMap, HashSet};

use super::digest::Digest;
use super::listing::BESIDE;
use super::scan::{Dataset, Split};
use crate::error::{Error, Result};
use crate::text;

/// Which of train's photos the arms may train on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CutKind {
    Full,
    /// So many photos a species.
    FewShot {
        shots: usize,
    },
    /// An exponential profile over the species, put into a seeded order: the i-th of C gets `n * imbalance^(i/(C-1))`
    /// photos, n being the median of what the species have to give (Cao et al. 2019, section 4.1). A species that has
    /// fewer gives all it has; each gives at least one. `imbalance`, rarest / commonest, is in (0, 1].
    LongTail {
        imbalance: f64,
    },
}

/// What the arms are tested on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestPhotos {
    /// The test split.
    Test,
    /// The photos of train that the cut leaves over. At least a quarter of each species is left.
    UnusedTrain,
    Both,
}

/// A cut as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CutOptions {
    pub kind: CutKind,
    pub seed: u64,
    pub test: TestPhotos,
}

/// Indices into [`Dataset::photos`], each list sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    pub train: Vec<usize>,
    pub valid: Vec<usize>,
    pub test: Vec<usize>,
    /// Photos of train that were left out since they are byte for byte one of valid or test: (train, valid or test).
    pub removed: Vec<(usize, usize)>,
}

/// Cuts a dataset. Photos of train that are also in valid or test, byte for byte, are left out of train and named in
/// [`Cut::removed`]. Fails if a species would have no photo to train on or none to be tested on.
pub fn cut(dataset: &Dataset, options: &CutOptions) -> Result<Cut> {
    let of = |split| (0..dataset.photos.len()).filter(move |&i| dataset.photos[i].split == split);
    let valid: Vec<usize> = of(Split::Valid).collect();
    let mut test: Vec<usize> = if options.test == TestPhotos::UnusedTrain { vec![] } else { of(Split::Test).collect() };

    let mut held_out: HashMap<&Digest, usize> = HashMap::new();
    for &photo in valid.iter().chain(&test) {
        held_out.entry(&dataset.photos[photo].digest).or_insert(photo);
    }
    let mut removed = Vec::new();
    let mut pools = vec![Vec::new(); dataset.species.len()];
    for photo in of(Split::Train) {
        match held_out.get(&dataset.photos[photo].digest) {
            Some(&other) => removed.push((photo, other)),
            None => pools[dataset.photos[photo].species as usize].push(photo),
        }
    }
    for (species, pool) in pools.iter_mut().enumerate() {
        pool.sort_by_cached_key(|&photo| {
            (rank(options.seed, &dataset.species[species], Some(&dataset.photos[photo].digest)), photo)
        });
    }
    let wanted = wanted(dataset, options, &pools)?;
    let mut train: Vec<usize> = Vec::new();
    let mut unused: Vec<usize> = Vec::new();
    for (pool, n) in pools.iter().zip(wanted) {
        train.extend(&pool[..n]);
        unused.extend(&pool[n..]);
    }
    if options.test != TestPhotos::Test {
        // A copy of a chosen photo tests nothing.
        let chosen: HashSet<&Digest> = train.iter().map(|&photo| &dataset.photos[photo].digest).collect();
        test.extend(unused.into_iter().filter(|&photo| !chosen.contains(&dataset.photos[photo].digest)));
    }
    train.sort_unstable();
    test.sort_unstable();
    let cut = Cut { train, valid, test, removed };
    check(dataset, options, &cut)?;
    Ok(cut)
}

/// How many photos of each species go into train.
fn wanted(dataset: &Dataset, options: &CutOptions, pools: &[Vec<usize>]) -> Result<Vec<usize>> {
    let usable: Vec<usize> = pools
        .iter()
        .map(|pool| match options.test {
            TestPhotos::UnusedTrain => pool.len() - pool.len().div_ceil(4),
            TestPhotos::Test | TestPhotos::Both => pool.len(),
        })
        .collect();
    match options.kind {
        CutKind::Full if options.test == TestPhotos::UnusedTrain => Err(Error::input_help(
            "a full cut trains on every photo of train and leaves none to be tested on",
            "in the recipe's [split], write test = \"test\", or kind = \"few-shot\" or \"long-tail\"",
        )),
        CutKind::Full => Ok(pools.iter().map(Vec::len).collect()),
        CutKind::FewShot { shots } => {
            let spare = usize::from(options.test == TestPhotos::UnusedTrain);
            let short: Vec<String> = pools
                .iter()
                .zip(&dataset.species)
                .filter(|(pool, _)| pool.len() < shots + spare)
                .map(|(pool, species)| format!("`{species}` ({})", pool.len()))
                .collect();
            if short.is_empty() {
                return Ok(vec![shots; pools.len()]);
            }
            let least = pools.iter().map(Vec::len).min().unwrap_or(0).saturating_sub(spare);
            let left = if spare == 1 { " and one to be tested on" } else { "" };
            let images = text::count(shots, "photo");
            Err(Error::input_help(
                format!("too few photos in train for {images} to train on{left}: {}", short.join(", ")),
                format!("in the recipe's [split], write shots = {}, or exclude these species", least.max(1)),
            ))
        }
        CutKind::LongTail { imbalance } => {
            let mut sorted = usable.clone();
            sorted.sort_unstable();
            let most = sorted.get(sorted.len() / 2).copied().unwrap_or(0) as f64;
            let mut order: Vec<usize> = (0..pools.len()).collect();
            order.sort_by_cached_key(|&s| (rank(options.seed, &dataset.species[s], None), s));
            let mut out = vec![0; pools.len()];
            let last = (pools.len().max(2) - 1) as f64;
            for (place, species) in order.into_iter().enumerate() {
                let n = libm::round(most * libm::pow(imbalance, place as f64 / last)).max(1.0) as usize;
                out[species] = n.min(usable[species]);
            }
            Ok(out)
        }
    }
}

/// A number that puts a species, or its photos, into an order that depends on the seed alone.
fn rank(seed: u64, species: &str, photo: Option<&Digest>) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("birdaug 2026 cut v1");
    hasher.update(&seed.to_le_bytes());
    hasher.update(&(species.len() as u64).to_le_bytes());
    hasher.update(species.as_bytes());
    hasher.update(photo.map_or(&[], |digest| digest.as_slice()));
    *hasher.finalize().as_bytes()
}

fn check(dataset: &Dataset, options: &CutOptions, cut: &Cut) -> Result<()> {
    for (list, what) in [(&cut.train, "train on"), (&cut.test, "be tested on")] {
        let mut has = vec![false; dataset.species.len()];
        for &photo in list {
            has[dataset.photos[photo].species as usize] = true;
        }
        let none: Vec<&str> =
            dataset.species.iter().zip(has).filter(|(_, has)| !has).map(|(s, _)| s.as_str()).collect();
        if none.is_empty() {
            continue;
        }
        let names: Vec<String> = none.iter().take(8).map(|name| format!("`{name}`")).collect();
        let more = if none.len() > 8 { format!(" and {} more", none.len() - 8) } else { String::new() };
        let names = names.join(", ") + &more;
        let beside = dataset.skipped.iter().filter(|(_, why)| why == BESIDE).collect::<Vec<_>>();
        let unlabeled = match beside.first() {
            Some((first, _)) if what == "be tested on" => format!(
                "; {} beside the folders of species and so without a label (first: `{first}`)",
                text::count(beside.len(), "file")
            ),
            _ => String::new(),
        };
        let from = match options.test {
            TestPhotos::Test if what == "be tested on" => {
                "; [split] test = \"both\" also tests on train's unused photos"
            }
            TestPhotos::UnusedTrain if what == "be tested on" => {
                "; [split] test = \"both\" also tests on the test split"
            }
            _ => "",
        };
        return Err(Error::input_help(
            format!("this cut leaves no photo to {what} for {names}"),
            format!("add photos, or exclude these species in the recipe's [dataset]{from}{unlabeled}"),
        ));
    }
    Ok(())
}

/// Pairs (photo of train, photo of valid or test) that are the same byte for byte; none in what [`cut`] gives.
pub fn leaks(dataset: &Dataset, cut: &Cut) -> Vec<(usize, usize)> {
    let mut held_out: HashMap<&Digest, Vec<usize>> = HashMap::new();
    for &photo in cut.valid.iter().chain(&cut.test) {
        held_out.entry(&dataset.photos[photo].digest).or_default().push(photo);
    }
    let others = |photo: usize| held_out.get(&dataset.photos[photo].digest).into_iter().flatten();
    cut.train.iter().flat_map(|&photo| others(photo).map(move |&other| (photo, other))).collect()
}

#[cfg(test)]
#[path = "cut_tests.rs"]
mod tests;
