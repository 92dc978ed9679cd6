//! The Kernel Inception Distance between two sets of features, and each image's own share in it. Knows no network.
//!
//! Binkowski, Sutherland, Arbel, Gretton, "Demystifying MMD GANs" (2018): the unbiased estimate of the squared maximum
//! mean discrepancy under the kernel `(x . y / dims + 1)^3`. Unlike the Frechet distance it is unbiased for sets of any
//! size, so it may come out below 0. Sets of at most `subset` images are compared whole; larger ones by `subsets`
//! random subsets of `subset` images, as torch-fidelity does. All kernels are computed in f64.

use serde::{Deserialize, Serialize};

use tch::{Kind, Tensor};

use super::features::{Features, same_dims};
use super::frechet::{matrix, values};
use crate::error::{Error, Result};
use crate::nn::TensorContext;
use crate::nn::noise::Stream;

/// Rows of a kernel matrix that are in memory at once.
const BLOCK: usize = 1024;

/// How large sets are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Images of each set in a subset, at least 2.
    pub subset: usize,
    /// How many subsets, at least 1.
    pub subsets: usize,
    /// Which subsets.
    pub seed: u64,
}

impl Default for Options {
    /// torch-fidelity's: 100 subsets of 1,000.
    fn default() -> Options {
        Options { subset: 1000, subsets: 100, seed: 0 }
    }
}

/// A Kernel Inception Distance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Kid {
    /// The squared discrepancy; 0 in the mean for sets of the same distribution, so it may be negative.
    pub value: f64,
    /// Over subsets: their standard deviation (as torch-fidelity prints it). Whole: the jackknife's standard error over
    /// images (Efron and Stein 1981); `None` for sets of 2, which leave nothing to leave out.
    pub std: Option<f64>,
    /// Images in the real and in the synthetic set.
    pub n: [usize; 2],
    /// Whether random subsets were compared instead of the whole sets.
    pub by_subsets: bool,
}

/// The distance between two sets of at least 2 images. The order of rows decides which subsets are drawn, and nothing else.
///
/// # Errors
/// Fewer than 2 rows, a value that is not finite, different widths, impossible options; libtorch's.
pub fn kid(real: &Features, synthetic: &Features, options: &Options) -> Result<Kid> {
    check(real, synthetic, 2)?;
    if options.subset < 2 || options.subsets == 0 {
        return Err(Error::input(format!(
            "KID by {} subsets of {} images cannot be computed; a subset needs 2",
            options.subsets, options.subset
        )));
    }
    let n = [real.rows, synthetic.rows];
    let (x, y) = (matrix(real)?, matrix(synthetic)?);
    if n.iter().all(|&n| n <= options.subset) {
        let sums = Sums::new(&x, &y)?;
        return Ok(Kid { value: sums.discrepancy(), std: sums.standard_error(), n, by_subsets: false });
    }
    let picks = [(n[0], "kid real"), (n[1], "kid synthetic")]
        .map(|(n, label)| draws(n, options.subset.min(n), options.subsets, options.seed, label));
    let found = over_subsets(&x, &y, &picks)?;
    let mean = found.iter().sum::<f64>() / found.len() as f64;
    let variance = found.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / found.len() as f64;
    Ok(Kid { value: mean, std: Some(variance.sqrt()), n, by_subsets: true })
}

/// For each synthetic image, by how much the distance of the whole sets exceeds that without the image: positive where
/// dropping it brings the set nearer to the real one. Exact: a sum over pairs without its row.
///
/// # Errors
/// As [`kid`], and fewer than 3 synthetic images.
pub fn contributions(real: &Features, synthetic: &Features) -> Result<Vec<f64>> {
    check(real, synthetic, 3)?;
    let (x, y) = (matrix(real)?, matrix(synthetic)?);
    let within = row_sums(&y, &y, true)?;
    let across = row_sums(&y, &x, false)?;
    let (n, m) = (real.rows as f64, synthetic.rows as f64);
    let (all_within, all_across) = (within.iter().sum::<f64>(), across.iter().sum::<f64>());
    let share = |(within, across): (&f64, &f64)| {
        let whole = all_within / (m * (m - 1.0)) - 2.0 * all_across / (n * m);
        let without =
            (all_within - 2.0 * within) / ((m - 1.0) * (m - 2.0)) - 2.0 * (all_across - across) / (n * (m - 1.0));
        whole - without
    };
    Ok(within.iter().zip(&across).map(share).collect())
}

fn check(real: &Features, synthetic: &Features, least_synthetic: usize) -> Result<()> {
    real.check("the real images", 2)?;
    synthetic.check("the synthetic images", least_synthetic)?;
    same_dims(real.dims, synthetic.dims)
}

/// `(x . y / dims + 1)^3` of every pair, `[rows of x, rows of y]`.
pub(super) fn kernel(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    assert_eq!((x.kind(), y.kind()), (Kind::Double, Kind::Double), "KID must be computed in f64");
    let dims = x.size()[1] as f64;
    let dots = x.f_matmul(&y.tr()).doing("compute KID's kernel")?;
    ((dots / dims) + 1.0).f_pow_tensor_scalar(3).doing("compute KID's kernel")
}

/// Each x's sum of kernels over all y, or over all other y where `own` says that both are the same set.
fn row_sums(x: &Tensor, y: &Tensor, own: bool) -> Result<Vec<f64>> {
    let mut sums = Vec::with_capacity(x.size()[0] as usize);
    for start in (0..x.size()[0]).step_by(BLOCK) {
        let rows = (x.size()[0] - start).min(BLOCK as i64);
        let block = kernel(&x.narrow(0, start, rows), y)?;
        let mut sum =
            block.f_sum_dim_intlist(Some([1i64].as_slice()), false, Kind::Double).doing("sum KID's kernel")?;
        if own {
            sum -= block.f_diagonal(start, 0, 1).doing("sum KID's kernel")?;
        }
        sums.extend(values(&sum)?);
    }
    Ok(sums)
}

/// Sums of the kernel over pairs, by image.
struct Sums {
    /// Over the other real images, a real image.
    real: Vec<f64>,
    /// Over the other synthetic images, a synthetic image.
    synthetic: Vec<f64>,
    /// Over the synthetic images, a real image.
    real_across: Vec<f64>,
    /// Over the real images, a synthetic image.
    synthetic_across: Vec<f64>,
}

impl Sums {
    fn new(x: &Tensor, y: &Tensor) -> Result<Sums> {
        Ok(Sums {
            real: row_sums(x, x, true)?,
            synthetic: row_sums(y, y, true)?,
            real_across: row_sums(x, y, false)?,
            synthetic_across: row_sums(y, x, false)?,
        })
    }

    fn discrepancy(&self) -> f64 {
        unbiased(
            [self.real.len(), self.synthetic.len()],
            [self.real.iter().sum(), self.synthetic.iter().sum()],
            self.real_across.iter().sum(),
        )
    }

    /// The jackknife over the images of each set.
    fn standard_error(&self) -> Option<f64> {
        let n = [self.real.len(), self.synthetic.len()];
        if n.iter().any(|&n| n < 3) {
            return None;
        }
        let within = [self.real.iter().sum::<f64>(), self.synthetic.iter().sum::<f64>()];
        let across = self.real_across.iter().sum::<f64>();
        let without_real = self
            .real
            .iter()
            .zip(&self.real_across)
            .map(|(own, cross)| unbiased([n[0] - 1, n[1]], [within[0] - 2.0 * own, within[1]], across - cross));
        let without_synthetic = self
            .synthetic
            .iter()
            .zip(&self.synthetic_across)
            .map(|(own, cross)| unbiased([n[0], n[1] - 1], [within[0], within[1] - 2.0 * own], across - cross));
        let variance = jackknife(without_real.collect()) + jackknife(without_synthetic.collect());
        Some(variance.sqrt())
    }
}

/// `(n - 1) / n` times the squared deviations of the leave-one-out values.
fn jackknife(values: Vec<f64>) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (n - 1.0) / n * values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>()
}

/// From the sums over ordered pairs of different images within each set, and over all pairs across.
pub(super) fn unbiased(n: [usize; 2], within: [f64; 2], across: f64) -> f64 {
    let [a, b] = n.map(|n| n as f64);
    within[0] / (a * (a - 1.0)) + within[1] / (b * (b - 1.0)) - 2.0 * across / (a * b)
}

/// Random subsets without repetition.
fn draws(n: usize, size: usize, subsets: usize, seed: u64, label: &str) -> Vec<Vec<i64>> {
    let draw = |subset: usize| {
        let mut order: Vec<i64> = (0..n as i64).collect();
        let mut stream = Stream::indexed(seed, label, &[subset as u64]);
        for i in 0..size.min(n - 1) {
            order.swap(i, i + stream.below(n - i));
        }
        order.truncate(size);
        order
    };
    (0..subsets).map(draw).collect()
}

/// The discrepancy of each pair of subsets. Kernels of the whole sets are computed once and summed by subset where that
/// is less work than each subset's own.
fn over_subsets(x: &Tensor, y: &Tensor, picks: &[Vec<Vec<i64>>; 2]) -> Result<Vec<f64>> {
    let (n, m) = (x.size()[0] as usize, y.size()[0] as usize);
    let (a, b) = (picks[0][0].len(), picks[1][0].len());
    let pairs = |a: usize, b: usize| a * a + b * b + a * b;
    if pairs(n, m) <= picks[0].len() * pairs(a, b) {
        let members = [member(n, &picks[0])?, member(m, &picks[1])?];
        let real = subset_sums(x, x, [&members[0], &members[0]], true)?;
        let synthetic = subset_sums(y, y, [&members[1], &members[1]], true)?;
        let across = subset_sums(x, y, [&members[0], &members[1]], false)?;
        return Ok((0..real.len()).map(|i| unbiased([a, b], [real[i], synthetic[i]], across[i])).collect());
    }
    let rows = |t: &Tensor, pick: &[i64]| t.f_index_select(0, &Tensor::from_slice(pick)).doing("take a subset");
    let one = |(real, synthetic): (&Vec<i64>, &Vec<i64>)| {
        let (x, y) = (rows(x, real)?, rows(y, synthetic)?);
        let [real, synthetic] = [row_sums(&x, &x, true)?, row_sums(&y, &y, true)?].map(|sums| sums.iter().sum());
        Ok(unbiased([a, b], [real, synthetic], row_sums(&x, &y, false)?.iter().sum()))
    };
    picks[0].iter().zip(&picks[1]).map(one).collect()
}

/// 1 where an image is in a subset, else 0, `[subsets, n]`.
fn member(n: usize, picks: &[Vec<i64>]) -> Result<Tensor> {
    let mut flags = vec![0.0f64; n * picks.len()];
    for (row, pick) in flags.chunks_exact_mut(n).zip(picks) {
        pick.iter().for_each(|&image| row[image as usize] = 1.0);
    }
    Tensor::f_from_slice(&flags).and_then(|t| t.f_view([picks.len() as i64, n as i64])).doing("lay out subsets")
}

/// Each subset's sum of kernels over its pairs, without those of an image and itself where `own`.
fn subset_sums(x: &Tensor, y: &Tensor, members: [&Tensor; 2], own: bool) -> Result<Vec<f64>> {
    let mut sums = Tensor::zeros([members[0].size()[0]], (Kind::Double, tch::Device::Cpu));
    for start in (0..x.size()[0]).step_by(BLOCK) {
        let rows = (x.size()[0] - start).min(BLOCK as i64);
        let block = kernel(&x.narrow(0, start, rows), y)?;
        let here = members[0].narrow(1, start, rows);
        let mut across = here.f_matmul(&block).and_then(|t| t.f_mul(members[1])).doing("sum KID's kernel")?;
        if own {
            let diagonal = here * block.f_diagonal(start, 0, 1).doing("sum KID's kernel")?;
            across = Tensor::f_cat(&[across, -diagonal], 1).doing("sum KID's kernel")?;
        }
        sums += across.f_sum_dim_intlist(Some([1i64].as_slice()), false, Kind::Double).doing("sum KID's kernel")?;
    }
    values(&sums)
}

#[cfg(test)]
#[path = "kid_tests.rs"]
mod tests;
