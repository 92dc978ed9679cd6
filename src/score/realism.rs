//! How real a single image looks by its features: Kynkaanniemi, Karras, Laine, Lehtinen, Aila, "Improved Precision and
//! Recall Metric for Assessing Generative Models" (2019), section 5, equation 3. Knows no network and no threshold.
//!
//! Every real image has a sphere that reaches to its `k`-th nearest other real image. The score of an image is the greatest
//! ratio, over all real images, of the sphere's radius to the image's distance from its centre: at least 1 where the image lies
//! in some sphere, that is, where it would count as precise. As in the paper, half of the spheres are left out, those with a
//! radius above the median, since an outlier's wide sphere would make everything look real. `k` is 3 in the paper.
//!
//! Squared distances come from a matrix product first, with a bound on its rounding; those that could be the greatest ratio
//! are then computed again, difference by difference in a fixed order, so that an image's score does not depend on the images
//! that are scored beside it.

use rayon::prelude::*;
use tch::{Kind, Tensor};

use super::features::{Features, same_dims};
use super::frechet::{matrix, values};
use super::thin::Check;
use crate::error::{Error, Result};
use crate::nn::TensorContext;

/// Neighbours that a sphere reaches to, as in the paper.
pub const K: usize = 3;
/// Rows whose distances are in memory at once, and columns.
const BLOCK: i64 = 512;
const COLUMNS: i64 = 8192;
/// A squared distance by products is right to this part of both squared lengths.
const ROUNDING: f64 = 1e-12;

/// The spheres of a real set, without the wider half.
pub struct Spheres {
    spheres: Kept,
    /// Their centres, `[spheres, dims]`.
    rows: Tensor,
    /// The median of all radii: the widest that was kept is at most this.
    pub median: f64,
    /// Real images, each with a sphere before half of them went.
    pub real: usize,
}

/// The spheres that were kept, as plain numbers.
struct Kept {
    dims: usize,
    /// Row by row.
    centres: Vec<f64>,
    /// Squared lengths of the centres.
    lengths: Vec<f64>,
    radii: Vec<f64>,
}

impl Spheres {
    /// Of at least `k + 1` real images.
    ///
    /// # Errors
    /// Fewer, `k` of 0, a value that is not finite; libtorch's; what `check` says.
    pub fn new(real: &Features, k: usize, check: Check<'_>) -> Result<Spheres> {
        if k == 0 || real.rows <= k {
            return Err(Error::input_help(
                format!("realism by {k} neighbours needs at least {} real images, there are {}", k + 1, real.rows),
                "give more real images",
            ));
        }
        real.check("the real images", k + 1)?;
        let rows = matrix(real)?;
        let all = radii(real, &rows, k, check)?;
        let median = median(&all);
        let kept: Vec<usize> = (0..real.rows).filter(|&i| all[i] <= median).collect();
        let chosen = real.select(&kept);
        let rows = matrix(&chosen)?;
        let spheres = Kept {
            dims: real.dims,
            lengths: lengths(&rows)?,
            centres: values(&rows)?,
            radii: kept.iter().map(|&i| all[i]).collect(),
        };
        Ok(Spheres { spheres, rows, median, real: real.rows })
    }

    /// The realism score of each image, at least 0; infinite where an image's features are a real image's own. An image's
    /// score does not depend on the others.
    ///
    /// # Errors
    /// A value that is not finite, features of another width; libtorch's; what `check` says.
    pub fn realism(&self, images: &Features, check: Check<'_>) -> Result<Vec<f64>> {
        let spheres = &self.spheres;
        same_dims(spheres.dims, images.dims)?;
        images.check("the synthetic images", 0)?;
        let rows = matrix(images)?;
        let all = lengths(&rows)?;
        let mut scores = Vec::with_capacity(images.rows);
        for start in (0..rows.size()[0]).step_by(BLOCK as usize) {
            let block = rows.narrow(0, start, (rows.size()[0] - start).min(BLOCK));
            let mut likely: Vec<Likely> = vec![Likely::default(); block.size()[0] as usize];
            for from in (0..self.rows.size()[0]).step_by(COLUMNS as usize) {
                check()?;
                let part = self.rows.narrow(0, from, (self.rows.size()[0] - from).min(COLUMNS));
                let dots = values(&block.f_matmul(&part.tr()).doing("compute distances")?)?;
                let width = part.size()[0] as usize;
                likely.par_iter_mut().zip(dots.par_chunks_exact(width)).enumerate().for_each(|(i, (likely, dots))| {
                    let length = all[start as usize + i];
                    for (j, dot) in dots.iter().enumerate() {
                        let at = from as usize + j;
                        let (sum, radius) = (length + spheres.lengths[at], spheres.radii[at]);
                        likely.meet(at, radius * radius, sum - 2.0 * dot, ROUNDING * sum);
                    }
                });
            }
            scores.extend(
                likely
                    .into_par_iter()
                    .enumerate()
                    .map(|(i, likely)| {
                        let image = images.row(start as usize + i);
                        likely.may.iter().map(|&(at, _)| spheres.ratio(image, at)).fold(0.0, f64::max)
                    })
                    .collect::<Vec<_>>(),
            );
        }
        Ok(scores)
    }
}

impl Kept {
    /// The ratio of a sphere's radius to an image's distance from its centre.
    fn ratio(&self, image: &[f32], at: usize) -> f64 {
        let centre = &self.centres[at * self.dims..][..self.dims];
        let square = image.iter().zip(centre).map(|(&a, b)| (f64::from(a) - b) * (f64::from(a) - b)).sum::<f64>();
        match (self.radii[at], square) {
            // On the one point that the sphere is.
            (0.0, 0.0) => 1.0,
            (radius, square) => radius / square.sqrt(),
        }
    }
}

/// The spheres whose squared ratio to an image could be the greatest, by distances that are right to rounding.
#[derive(Debug, Clone, Default)]
struct Likely {
    /// A squared ratio that some sphere reaches.
    reached: f64,
    /// Spheres with the greatest squared ratio that theirs can be.
    may: Vec<(usize, f64)>,
}

impl Likely {
    fn meet(&mut self, at: usize, radius: f64, square: f64, slack: f64) {
        let most = if square <= slack { f64::INFINITY } else { radius / (square - slack) };
        if most < self.reached {
            return;
        }
        let reached = radius / (square + slack).max(f64::MIN_POSITIVE);
        if reached > self.reached {
            self.reached = reached;
            self.may.retain(|&(_, most)| most >= reached);
        }
        self.may.push((at, most));
    }
}

/// Distance of every real image to its `k`-th nearest other.
fn radii(real: &Features, rows: &Tensor, k: usize, check: Check<'_>) -> Result<Vec<f64>> {
    let lengths = lengths(rows)?;
    let centres = values(rows)?;
    let n = real.rows;
    let mut radii = Vec::with_capacity(n);
    for start in (0..n as i64).step_by(BLOCK as usize) {
        let block = rows.narrow(0, start, (n as i64 - start).min(BLOCK));
        let mut near: Vec<Near> = vec![Near::default(); block.size()[0] as usize];
        for from in (0..n as i64).step_by(COLUMNS as usize) {
            check()?;
            let part = rows.narrow(0, from, (n as i64 - from).min(COLUMNS));
            let dots = values(&block.f_matmul(&part.tr()).doing("compute distances")?)?;
            let width = part.size()[0] as usize;
            near.par_iter_mut().zip(dots.par_chunks_exact(width)).enumerate().for_each(|(i, (near, dots))| {
                let own = start as usize + i;
                for (j, dot) in dots.iter().enumerate() {
                    let at = from as usize + j;
                    if at != own {
                        let sum = lengths[own] + lengths[at];
                        near.meet(k, at, sum - 2.0 * dot, ROUNDING * sum);
                    }
                }
            });
        }
        radii.extend(
            near.into_par_iter()
                .enumerate()
                .map(|(i, near)| {
                    let row = |at: usize| &centres[at * real.dims..][..real.dims];
                    let own = row(start as usize + i);
                    let square = |at: usize| own.iter().zip(row(at)).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
                    let mut squares: Vec<f64> = near.may.into_iter().map(|(at, _)| square(at)).collect();
                    squares.sort_unstable_by(f64::total_cmp);
                    squares[k - 1].sqrt()
                })
                .collect::<Vec<_>>(),
        );
    }
    Ok(radii)
}

/// The images that could be among the `k` nearest, by distances that are right to rounding.
#[derive(Debug, Clone, Default)]
struct Near {
    /// The `k` least of the greatest squared distances that met images can have, ascending.
    least: Vec<f64>,
    /// Images with the least squared distance that theirs can be.
    may: Vec<(usize, f64)>,
}

impl Near {
    fn meet(&mut self, k: usize, at: usize, square: f64, slack: f64) {
        let (low, high) = (square - slack, square + slack);
        if self.least.len() == k && low > self.least[k - 1] {
            return;
        }
        self.may.push((at, low));
        let place = self.least.partition_point(|&other| other <= high);
        self.least.insert(place, high);
        if self.least.len() > k {
            self.least.truncate(k);
        }
        if self.may.len() > 8 * (k + 1) && self.least.len() == k {
            let bound = self.least[k - 1];
            self.may.retain(|&(_, low)| low <= bound);
        }
    }
}

/// Squared length of each row.
fn lengths(rows: &Tensor) -> Result<Vec<f64>> {
    let squares = rows.f_square().and_then(|t| t.f_sum_dim_intlist(Some([1i64].as_slice()), false, Kind::Double));
    values(&squares.doing("measure features")?)
}

/// The middle value, or the mean of the two.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { 0.5 * (sorted[half - 1] + sorted[half]) }
}

#[cfg(test)]
#[path = "realism_tests.rs"]
mod tests;
