//! Figures of two folders of images by FID's Inception network: who the images are, what was skipped, and the distances with
//! all that should stand beside them. Prints nothing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use crate::dataset::folder::Folder;
use crate::dataset::pillow;
use crate::dataset::stat_index::StatIndex;
use crate::error::{Error, Result};
use crate::nn::device::{self, Precision};
use crate::nn::inception::FEATURES;
use crate::plan::inputs::Digest;
use crate::score::contribution;
use crate::score::features::Features;
use crate::score::floor::{halves, real_floor};
use crate::score::frechet::{Moments, frechet};
use crate::score::inception;
use crate::score::interval::{self, Interval};
use crate::score::kid::{self, Kid};
use crate::score::prdc::{self, Prdc};
use crate::score::resize::Resize;
use crate::store::Store;
use crate::text;

use super::inception::{Network, Workplace, gather, unchanged};
use super::progress::Progress;
use super::session::blank;
use super::stop;
use super::survey::stat_index_path;

/// Files named in one message at most.
const NAMED: usize = 3;
/// Images on which half precision is compared with fp32 at most.
const COMPARED: usize = 32;

/// What to measure.
pub struct Asked {
    /// The real images, or whatever the others are compared with.
    pub a: PathBuf,
    pub b: PathBuf,
    pub weights: PathBuf,
    pub resize: Resize,
    pub precision: Precision,
    /// Files that are no images are left out instead of refused.
    pub skip_unreadable: bool,
    pub device: String,
    /// Images that each folder must hold.
    pub least: usize,
}

/// A folder's images by their features.
pub struct Set {
    pub features: Features,
    /// What could not be read, and why.
    pub skipped: Vec<(PathBuf, Error)>,
}

/// Both folders' features.
pub struct Measured {
    pub sets: [Set; 2],
    /// Of half precision, where that was asked for.
    pub deviation: Option<Deviation>,
    /// Identifies the weights' file.
    pub weights: Digest,
}

/// How far half precision is from fp32 on some of the images.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Deviation {
    pub images: usize,
    /// Length of the difference of the features, over the length of fp32's.
    pub relative: f64,
    /// The largest difference of one feature.
    pub largest: f64,
}

/// The features of both folders' images, out of the cache or measured now.
///
/// # Errors
/// Folders that are none, or hold too few images; files that cannot be read, unless they may be skipped; weights of another
/// network; libtorch's and the cache's.
pub fn measure(asked: &Asked, store: &Store, progress: &Progress) -> Result<Measured> {
    let network = Network::new(&asked.weights, asked.resize, asked.precision)?;
    let device = device::select(&asked.device)?;
    let at = Workplace { store, progress, device, blank: &|inputs| blank(inputs, device) };
    // Both are looked at before the first is measured: what is wrong is said before any work.
    let mut looks = Vec::new();
    for root in [&asked.a, &asked.b] {
        let mut index = StatIndex::load(&stat_index_path(store, "metrics", root));
        let look = Look::new(Folder::look(root, &mut index)?, &network, store);
        index.save()?;
        looks.push(look);
    }
    for look in &looks {
        look.refuse(asked)?;
    }
    let sets = looks.iter().map(|look| look.measure(&network, &at)).collect::<Result<Vec<Features>>>()?;
    let deviation = match asked.precision {
        Precision::Fp32 => None,
        _ => Some(deviation(asked, &looks, &sets, &at)?),
    };
    let mut sets = looks.into_iter().zip(sets).map(|(look, features)| Set { features, skipped: look.unreadable });
    let sets = [sets.next(), sets.next()].map(|set| set.expect("both folders were measured"));
    Ok(Measured { sets, deviation, weights: network.weights() })
}

/// A folder, looked at but not measured.
struct Look {
    root: PathBuf,
    /// The files that can be read.
    files: Vec<(PathBuf, Digest)>,
    unreadable: Vec<(PathBuf, Error)>,
}

impl Look {
    /// Reads what is not in the cache once, to know what cannot be read.
    fn new(folder: Folder, network: &Network, store: &Store) -> Look {
        let paths: Vec<(PathBuf, Digest)> =
            (0..folder.files.len()).map(|i| (folder.path(i), folder.files[i].1)).collect();
        let read = |(path, digest): &(PathBuf, Digest)| match network.place(store, *digest) {
            Some(_) => None,
            None => pillow::photo(path).err(),
        };
        let problems: Vec<Option<Error>> = paths.par_iter().map(read).collect();
        let (mut files, mut unreadable) = (Vec::new(), folder.unreadable);
        for (file, problem) in paths.into_iter().zip(problems) {
            match problem {
                None => files.push(file),
                Some(error) => unreadable.push((file.0, error)),
            }
        }
        Look { root: folder.root, files, unreadable }
    }

    fn refuse(&self, asked: &Asked) -> Result<()> {
        let root = self.root.display();
        let all = self.files.len() + self.unreadable.len();
        if all == 0 {
            return Err(Error::input_help(
                format!("`{root}` holds no images"),
                "files that end in .jpg, .png, .webp, .bmp, .gif or .tif are looked for, in sub-folders too",
            ));
        }
        if !self.unreadable.is_empty() && !asked.skip_unreadable {
            let named: Vec<String> =
                self.unreadable.iter().take(NAMED).map(|(_, error)| format!("\n  {}", first_line(error))).collect();
            let more = match self.unreadable.len() - named.len() {
                0 => String::new(),
                n => format!("\n  and {} more", text::thousands(n)),
            };
            return Err(Error::input_help(
                format!(
                    "{} of {} in `{root}` cannot be read:{}{more}",
                    text::thousands(self.unreadable.len()),
                    text::count(all, "file"),
                    named.concat()
                ),
                "take them away, or leave them out with `--skip-unreadable`",
            ));
        }
        if self.files.len() < asked.least {
            let can = if self.unreadable.is_empty() { "" } else { " that can be read" };
            return Err(Error::input_help(
                format!(
                    "`{root}` holds {}{can}; this figure needs at least {}",
                    text::count(self.files.len(), "image"),
                    asked.least
                ),
                "it is a figure of sets, not of an image: give more images (`birdaug metrics ssim` compares single ones)",
            ));
        }
        Ok(())
    }

    fn measure(&self, network: &Network, at: &Workplace<'_>) -> Result<Features> {
        features(network, at, &self.files)
    }
}

/// The features of files, measured where they are not in the cache or turn out damaged there.
fn features(network: &Network, at: &Workplace<'_>, files: &[(PathBuf, Digest)]) -> Result<Features> {
    let mut last = None;
    for _ in 0..3 {
        // Equal files are measured once.
        let mut due: HashMap<Digest, &Path> = HashMap::new();
        let mut order = Vec::new();
        for (path, digest) in files {
            if network.place(at.store, *digest).is_none() && due.insert(*digest, path).is_none() {
                order.push(*digest);
            }
        }
        let load = |i: usize| unchanged(due[&order[i]], &order[i]);
        if let Some((_, error)) = network.measure(at, &order, &load)?.into_iter().next() {
            return Err(error);
        }
        let places = files.iter().filter_map(|(_, digest)| network.place(at.store, *digest));
        match gather(at.store, places) {
            Ok(features) if features.rows == files.len() => return Ok(features),
            Ok(_) => {}
            // The damaged blob is forgotten now, so that its images are due again.
            Err(error) => last = Some(error),
        }
        at.store.damage().iter().for_each(|line| at.progress.warn(line));
    }
    Err(last.unwrap_or_else(|| Error::input("the cache loses the features that are written to it")))
}

/// Measures some of the images in fp32 as well.
fn deviation(asked: &Asked, looks: &[Look], sets: &[Features], at: &Workplace<'_>) -> Result<Deviation> {
    let exact = Network::new(&asked.weights, asked.resize, Precision::Fp32)?;
    let all: usize = sets.iter().map(|set| set.rows).sum();
    let images = all.min(COMPARED);
    let chosen: Vec<usize> = (0..images).map(|i| i * all / images).collect();
    let files: Vec<(PathBuf, Digest)> = looks.iter().flat_map(|look| look.files.iter().cloned()).collect();
    let files: Vec<(PathBuf, Digest)> = chosen.iter().map(|&i| files[i].clone()).collect();
    let fine = features(&exact, at, &files)?;
    let row = |i: usize| if i < sets[0].rows { sets[0].row(i) } else { sets[1].row(i - sets[0].rows) };
    let (mut apart, mut size, mut largest) = (0.0f64, 0.0f64, 0.0f64);
    for (at, &i) in chosen.iter().enumerate() {
        for (&exact, &coarse) in fine.row(at).iter().zip(row(i)) {
            let difference = f64::from(exact) - f64::from(coarse);
            apart += difference * difference;
            size += f64::from(exact) * f64::from(exact);
            largest = largest.max(difference.abs());
        }
    }
    Ok(Deviation { images, relative: (apart / size.max(f64::MIN_POSITIVE)).sqrt(), largest })
}

fn first_line(error: &Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_string()
}

/// A Frechet distance and what belongs beside it.
pub struct Fid {
    pub value: f64,
    /// `None` with two images in a set, which leave nothing to leave out.
    pub interval: Option<Interval>,
    /// Between two halves of the first set; images in each.
    pub floor: Option<(f64, [usize; 2])>,
    /// Where a set is too small for the distance to mean much.
    pub kid: Option<Kid>,
}

/// The Frechet Inception Distance of two sets.
///
/// # Errors
/// Fewer than 2 images, features that are no numbers; libtorch's.
pub fn fid(sets: &[Set; 2]) -> Result<Fid> {
    let [a, b] = [&sets[0].features, &sets[1].features];
    let moments = [Moments::of(a)?, Moments::of(b)?];
    let value = frechet(&moments[0], &moments[1])?;
    let interval = match a.rows.min(b.rows) {
        ..3 => None,
        _ => {
            let of_b = contribution::contributions(&moments[0], b, &stop::check)?;
            let of_a = contribution::contributions(&moments[1], a, &stop::check)?;
            let Interval { low, high } = interval::of_figure(value, [&of_a, &of_b], 0);
            Some(Interval { low: low.max(0.0), high: high.max(0.0) })
        }
    };
    let options = kid::Options::default();
    let floor = match a.rows {
        ..4 => None,
        _ => Some(real_floor(a, &options)?).map(|floor| (floor.frechet, floor.n)),
    };
    let kid = if a.rows.min(b.rows) < FEATURES { Some(kid::kid(a, b, &options)?) } else { None };
    Ok(Fid { value, interval, floor, kid })
}

/// A Kernel Inception Distance and what belongs beside it.
pub struct KidFigure {
    pub kid: Kid,
    /// Over the whole sets, without subsets.
    pub whole: f64,
    pub interval: Option<Interval>,
    pub floor: Option<(f64, [usize; 2])>,
}

/// The Kernel Inception Distance of two sets.
///
/// # Errors
/// Fewer than 2 images, features that are no numbers; libtorch's.
pub fn kid(sets: &[Set; 2]) -> Result<KidFigure> {
    let [a, b] = [&sets[0].features, &sets[1].features];
    let kid = kid::kid(a, b, &kid::Options::default())?;
    let whole = match kid.by_subsets {
        false => kid.value,
        true => kid::kid(a, b, &kid::Options { subset: a.rows.max(b.rows), ..Default::default() })?.value,
    };
    let interval = match a.rows.min(b.rows) {
        ..3 => None,
        _ => {
            let (of_a, of_b) = (kid::contributions(b, a)?, kid::contributions(a, b)?);
            Some(interval::of_figure(kid.value, [&of_a, &of_b], 0))
        }
    };
    let floor = match a.rows {
        ..4 => None,
        _ => Some(real_floor(a, &kid::Options::default())?).map(|floor| (floor.kid.value, floor.n)),
    };
    Ok(KidFigure { kid, whole, interval, floor })
}

/// Precision, recall, density and coverage, and what belongs beside them.
pub struct PrdcFigure {
    pub figures: Prdc,
    /// In the order precision, recall, density, coverage.
    pub intervals: [Interval; 4],
    pub floor: Option<(Prdc, [usize; 2])>,
}

/// Precision, recall, density and coverage of two sets, by balls out to the `k`-th nearest image.
///
/// # Errors
/// No more than `k` images, features that are no numbers; libtorch's.
pub fn prdc(sets: &[Set; 2], k: usize) -> Result<PrdcFigure> {
    let [a, b] = [&sets[0].features, &sets[1].features];
    let shares = prdc::shares(a, b, k)?;
    let intervals = [&shares.precision, &shares.recall, &shares.density, &shares.coverage]
        .map(|shares| interval::of_mean(shares, 0))
        .map(|Interval { low, high }| Interval { low: low.max(0.0) + 0.0, high });
    let floor = match a.rows / 2 > k {
        true => {
            let [first, second] = halves(a, 0);
            Some((prdc::shares(&first, &second, k)?.figures(), [first.rows, second.rows]))
        }
        false => None,
    };
    Ok(PrdcFigure { figures: shares.figures(), intervals, floor })
}

/// What result files call the features.
pub const FEATURES_NAME: &str = inception::NAME;
