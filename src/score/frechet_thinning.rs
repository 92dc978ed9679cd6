//! Leaving images out of a set by their exact share in its Frechet distance, fast enough to leave out hundreds of fifty
//! thousand. Knows no network and no gate.
//!
//! [`super::contribution`] has each image's exact share as an integral that needs the image in the eigenvectors of M. With
//! more images than dimensions that is asked of a few only: everybody else is passed over by a bound that is proven.
//!
//! The trace of the root is concave, so `tr (a M - b v v^T)^(1/2) <= a^(1/2) tr M^(1/2) - b / 2 v^T (a M)^(-1/2) v`: the share to
//! first order is never less than the share. And M only shrinks but for a factor: after some images went it is `A M0` less a
//! positive matrix, and the inverse root is antitone (Loewner 1934), so `v^T M^(-1/2) v >= A^(-1/2) v^T M0^(-1/2) v`. The
//! right side is a quadratic form that is computed once for all images; what moves is v, by the drift of the mean, which is
//! one product of a matrix with a vector a step. So a step costs that product, one eigenvalue problem, and the exact shares of
//! those whose bound reaches the best exact share.
//!
//! With no more images than dimensions an image nearly spans a direction by itself and the bound says little; then the
//! images' products with each other give all exact shares at once, by an eigenvalue problem of their number.

use tch::{Kind, Tensor};

use super::contribution::{Spectrum, Without, eigen, root_trace_changes};
use super::features::{Features, same_dims};
use super::frechet::{Moments, centred, values};
use super::thin::{Check, Thinning, worst_of};
use crate::error::Result;
use crate::nn::TensorContext;

/// Exact shares that are worked out together.
const BATCH: usize = 64;
/// The reference of the bound is renewed after so many images went, and after fewer once it lets too many through.
const RENEW: usize = 64;
const RENEW_SOON: usize = 8;
const TOO_MANY: usize = 512;
/// Shares this near, as a part of all variance, are equal: rounding must not choose between them.
const TIE: f64 = 1e-11;
/// Images whose quadratic forms are computed at once.
const BLOCK: i64 = 8192;

/// A set of synthetic images against a real one.
pub struct FrechetThinning<'r> {
    real: &'r Moments,
    /// Features less the mean of all, `[images, dims]` in f64.
    rows: Tensor,
    /// Squared length of each row.
    squares: Vec<f64>,
    /// The real mean less the mean of all.
    offset: Vec<f64>,
    is_left: Vec<bool>,
    left: usize,
    /// The mean of those left, as rows have it.
    mean: Vec<f64>,
    way: Way,
    /// How many exact shares the last step worked out.
    worked_out: usize,
}

enum Way {
    /// No more images than dimensions: products of the rows that were left when this was made, as the real covariance
    /// sees them, and their places.
    Few {
        gram: Tensor,
        members: Vec<usize>,
        spectrum: Option<Spectrum>,
    },
    Many(Box<Many>),
}

/// The state of a set with more images than dimensions; `k` is the rank of the real factor.
struct Many {
    /// `M` of those left, `[k, k]`.
    m: Tensor,
    /// Its eigenvalues and vectors, once asked for.
    eigen: Option<(Vec<f64>, Tensor)>,
    /// The mean of those left at the reference, as rows have it.
    mean: Vec<f64>,
    /// Inverse root of the reference's M, `[k, k]`.
    inverse_root: Tensor,
    /// `v^T M0^(-1/2) v` of every row with the reference's mean.
    forms: Vec<f64>,
    /// The product of all factors `a` since the reference.
    grown: f64,
    /// Images that went since then.
    gone: usize,
}

impl<'r> FrechetThinning<'r> {
    /// All images of a set.
    ///
    /// # Errors
    /// Fewer than 2 images, a value that is not finite, features of different widths; libtorch's; what `check` says.
    pub fn new(real: &'r Moments, synthetic: &Features, check: Check<'_>) -> Result<FrechetThinning<'r>> {
        synthetic.check("the synthetic images", 2)?;
        same_dims(real.dims(), synthetic.dims)?;
        let (mean, rows) = centred(synthetic)?;
        let squares = rows.f_square().and_then(|t| t.f_sum_dim_intlist(Some([1i64].as_slice()), false, Kind::Double));
        let squares = values(&squares.doing("measure features")?)?;
        let mut set = FrechetThinning {
            real,
            squares,
            offset: real.mean.iter().zip(&mean).map(|(real, mean)| real - mean).collect(),
            is_left: vec![true; synthetic.rows],
            left: synthetic.rows,
            mean: vec![0.0; synthetic.dims],
            way: Way::Few { gram: Tensor::new(), members: Vec::new(), spectrum: None },
            rows,
            worked_out: 0,
        };
        set.renew(check)?;
        Ok(set)
    }

    /// How many exact shares the last [`Thinning::worst`] worked out; the bound spared the others.
    pub fn worked_out(&self) -> usize {
        self.worked_out
    }

    fn rows_left(&self) -> Vec<usize> {
        (0..self.is_left.len()).filter(|&row| self.is_left[row]).collect()
    }

    fn take(&self, rows: &[usize]) -> Result<Tensor> {
        let index: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        self.rows.f_index_select(0, &Tensor::from_slice(&index)).doing("take features")
    }

    /// Total variance of those left.
    fn variance(&self) -> f64 {
        let squares: f64 = self.squares.iter().zip(&self.is_left).filter(|(_, left)| **left).map(|(s, _)| s).sum();
        (squares - self.left as f64 * dot(&self.mean, &self.mean)) / (self.left as f64 - 1.0)
    }

    /// The real mean less that of those left.
    fn between(&self) -> Vec<f64> {
        self.offset.iter().zip(&self.mean).map(|(offset, mean)| offset - mean).collect()
    }

    /// Works everything out again for those that are left, so that neither rounding nor slack adds up.
    fn renew(&mut self, check: Check<'_>) -> Result<()> {
        let what = "compute the images' shares in the Frechet distance";
        let members = self.rows_left();
        let left = if members.len() == self.is_left.len() { self.rows.shallow_clone() } else { self.take(&members)? };
        self.mean = values(&left.f_mean_dim(Some([0i64].as_slice()), false, Kind::Double).doing(what)?)?;
        check()?;
        let k = self.real.factor.size()[0];
        let mean = Tensor::from_slice(&self.mean);
        if members.len() as i64 <= k {
            let seen = left.f_sub(&mean).and_then(|t| t.f_matmul(&self.real.factor.tr())).doing(what)?;
            let gram = seen.f_matmul(&seen.tr()).doing(what)?;
            self.way = Way::Few { gram, members, spectrum: None };
            return Ok(());
        }
        // M = R S R^T, from S.
        let scatter = left.tr().f_matmul(&left).and_then(|t| t.f_sub(&(mean.outer(&mean) * self.left as f64)));
        let m = scatter
            .and_then(|s| self.real.factor.f_matmul(&s)?.f_matmul(&self.real.factor.tr()))
            .and_then(|m| m.f_div_scalar(self.left as f64 - 1.0))
            .doing(what)?;
        check()?;
        let (eigenvalues, vectors) = eigen(&m)?;
        let powers: Vec<f64> = eigenvalues.iter().map(|l| l.powf(-0.25)).collect();
        let scaled = vectors.f_mul(&Tensor::from_slice(&powers)).doing(what)?; // [k, rank]
        let inverse_root = scaled.f_matmul(&scaled.tr()).doing(what)?;
        let to_forms = self.real.factor.tr().f_matmul(&scaled).doing(what)?; // [dims, rank]
        let middle = mean.unsqueeze(0).f_matmul(&to_forms).doing(what)?;
        let mut forms = Vec::with_capacity(self.is_left.len());
        for start in (0..self.rows.size()[0]).step_by(BLOCK as usize) {
            check()?;
            let block = self.rows.narrow(0, start, (self.rows.size()[0] - start).min(BLOCK));
            let seen = block.f_matmul(&to_forms).and_then(|t| t.f_sub(&middle)).and_then(|t| t.f_square());
            let sums = seen.and_then(|t| t.f_sum_dim_intlist(Some([1i64].as_slice()), false, Kind::Double));
            forms.extend(values(&sums.doing(what)?)?);
        }
        let eigen = Some((eigenvalues, vectors));
        let mean = self.mean.clone();
        self.way = Way::Many(Box::new(Many { m, eigen, mean, inverse_root, forms, grown: 1.0, gone: 0 }));
        Ok(())
    }

    /// `tr M^(1/2)` of those left.
    fn roots(&mut self) -> Result<f64> {
        match &mut self.way {
            Way::Few { gram, members, spectrum } => {
                if spectrum.is_none() {
                    *spectrum = Some(spectrum_of_left(gram, members, &self.is_left)?);
                }
                Ok(spectrum.as_ref().map_or(0.0, Spectrum::roots))
            }
            Way::Many(many) => Ok(many.eigen()?.0.iter().map(|l| l.sqrt()).sum()),
        }
    }

    /// Each row times a vector.
    fn along(&self, vector: &[f64]) -> Result<Vec<f64>> {
        values(&self.rows.f_mv(&Tensor::from_slice(vector)).doing("compute features' means")?)
    }

    fn worst_of_few(&mut self, check: Check<'_>) -> Result<Option<usize>> {
        let (without, variance, roots) = (Without::of(self.left), self.variance(), self.roots()?);
        let between = self.between();
        let along = self.along(&between)?;
        let from_mean = self.along(&self.mean)?;
        let (mean_along, mean_square) = (dot(&self.mean, &between), dot(&self.mean, &self.mean));
        let tie = self.tie(variance);
        let Way::Few { members, spectrum: Some(spectrum), .. } = &self.way else { return Ok(None) };
        let changes = spectrum.root_trace_changes(&without, check)?;
        let left = members.iter().copied().filter(|&row| self.is_left[row]);
        let share = |(row, change): (usize, f64)| {
            let square = self.squares[row] - 2.0 * from_mean[row] + mean_square;
            (row, without.share(along[row] - mean_along, square, variance, roots, change))
        };
        let shares: Vec<(usize, f64)> = left.zip(changes).map(share).collect();
        self.worked_out = shares.len();
        Ok(worst_of(&shares, tie))
    }

    fn worst_of_many(&mut self, check: Check<'_>) -> Result<Option<usize>> {
        let (without, variance, roots) = (Without::of(self.left), self.variance(), self.roots()?);
        let between = self.between();
        let tie = self.tie(variance);
        let Way::Many(many) = &self.way else { return Ok(None) };
        let what = "bound the images' shares in the Frechet distance";

        let mut bounds = self.bounds(many, &without, &between, variance, roots)?;
        bounds.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
        let (mean_along, mean_square) = (dot(&self.mean, &between), dot(&self.mean, &self.mean));
        let Some((eigenvalues, vectors)) = &many.eigen else { return Ok(None) };
        let to_vectors = self.real.factor.tr().f_matmul(vectors).doing(what)?; // [dims, rank]
        let mean = Tensor::from_slice(&self.mean);
        let (between, mean_row) = (Tensor::from_slice(&between), mean.unsqueeze(0));
        let mut shares: Vec<(usize, f64)> = Vec::new();
        let mut most = f64::NEG_INFINITY;
        for batch in bounds.chunks(BATCH) {
            check()?;
            if batch[0].1 < (most - tie).max(0.0) {
                break;
            }
            let rows: Vec<usize> = batch.iter().map(|&(row, _)| row).collect();
            let taken = self.take(&rows)?;
            let squares = taken.f_sub(&mean_row).and_then(|t| t.f_matmul(&to_vectors)?.f_square()).doing(what)?;
            let changes = root_trace_changes(eigenvalues, &squares, &without)?;
            let along = values(&taken.f_mv(&between).doing(what)?)?;
            let from_mean = values(&taken.f_mv(&mean).doing(what)?)?;
            for (i, &row) in rows.iter().enumerate() {
                let square = self.squares[row] - 2.0 * from_mean[i] + mean_square;
                let share = without.share(along[i] - mean_along, square, variance, roots, changes[i]);
                debug_assert!(share <= batch[i].1 + tie, "{share} is above its bound {}", batch[i].1);
                most = most.max(share);
                shares.push((row, share));
            }
        }
        self.worked_out = shares.len();
        Ok(worst_of(&shares, tie))
    }

    /// For each row that is left, a number that its exact share does not exceed.
    fn bounds(
        &self,
        many: &Many,
        without: &Without,
        between: &[f64],
        variance: f64,
        roots: f64,
    ) -> Result<Vec<(usize, f64)>> {
        let what = "bound the images' shares in the Frechet distance";
        // v now is v then plus d: all means moved by as much.
        let moved: Vec<f64> = many.mean.iter().zip(&self.mean).map(|(then, now)| then - now).collect();
        let d = self.real.factor.f_mv(&Tensor::from_slice(&moved)).doing(what)?;
        let form_d = many.inverse_root.f_mv(&d).doing(what)?;
        let d_form_d = d.f_dot(&form_d).and_then(|t| t.f_double_value(&[])).doing(what)?;
        let back = values(&self.real.factor.tr().f_mv(&form_d).doing(what)?)?; // R^T P d
        let along = self.along(between)?;
        let from_mean = self.along(&self.mean)?;
        let drift = self.along(&back)?;
        let then_drift = dot(&many.mean, &back);
        let (mean_along, mean_square) = (dot(&self.mean, between), dot(&self.mean, &self.mean));
        let least = 0.5 * without.b / (without.a * many.grown).sqrt();
        let bound = |row: usize| {
            let form = many.forms[row] + 2.0 * (drift[row] - then_drift) + d_form_d;
            let square = self.squares[row] - 2.0 * from_mean[row] + mean_square;
            let change = -least * form.max(0.0);
            (row, without.share(along[row] - mean_along, square, variance, roots, change))
        };
        Ok(self.rows_left().into_iter().map(bound).collect())
    }

    fn tie(&self, variance: f64) -> f64 {
        let between = self.between();
        TIE * (variance + self.real.variance() + dot(&between, &between))
    }
}

impl Thinning for FrechetThinning<'_> {
    fn left(&self) -> usize {
        self.left
    }

    fn distance(&mut self) -> Result<f64> {
        let between = self.between();
        let roots = self.roots()?;
        Ok((dot(&between, &between) + self.real.variance() + self.variance() - 2.0 * roots).max(0.0))
    }

    fn worst(&mut self, check: Check<'_>) -> Result<Option<usize>> {
        if let Way::Many(many) = &self.way {
            let loose = self.worked_out > TOO_MANY && many.gone >= RENEW_SOON;
            if loose || many.gone >= RENEW || self.left as i64 <= self.real.factor.size()[0] {
                self.renew(check)?;
            }
        }
        match &self.way {
            Way::Few { .. } => self.worst_of_few(check),
            Way::Many(_) => self.worst_of_many(check),
        }
    }

    fn leave_out(&mut self, row: usize) -> Result<()> {
        assert!(self.is_left[row] && self.left > 2, "row {row} cannot be left out");
        let what = "leave an image out";
        let features = values(&self.rows.f_get(row as i64).doing(what)?)?;
        let centred: Vec<f64> = features.iter().zip(&self.mean).map(|(x, mean)| x - mean).collect();
        let without = (self.left > 2).then(|| Without::of(self.left));
        if let (Way::Many(many), Some(without)) = (&mut self.way, without) {
            let v = self.real.factor.f_mv(&Tensor::from_slice(&centred)).doing(what)?;
            many.m = v
                .f_outer(&v)
                .and_then(|t| t.f_mul_scalar(-without.b))
                .and_then(|t| t.f_add(&(&many.m * without.a)))
                .doing(what)?;
            (many.eigen, many.grown, many.gone) = (None, many.grown * without.a, many.gone + 1);
        }
        if let Way::Few { spectrum, .. } = &mut self.way {
            *spectrum = None;
        }
        self.is_left[row] = false;
        self.left -= 1;
        let rest = self.left as f64;
        self.mean.iter_mut().zip(&centred).for_each(|(mean, c)| *mean -= c / rest);
        Ok(())
    }
}

impl Many {
    fn eigen(&mut self) -> Result<&(Vec<f64>, Tensor)> {
        let found = match self.eigen.take() {
            Some(found) => found,
            None => eigen(&self.m)?,
        };
        Ok(self.eigen.insert(found))
    }
}

/// The spectrum of the members that are left: their products, with the mean of those left taken away.
fn spectrum_of_left(gram: &Tensor, members: &[usize], is_left: &[bool]) -> Result<Spectrum> {
    let what = "compute the images' shares in the Frechet distance";
    let left: Vec<i64> = (0..members.len()).filter(|&i| is_left[members[i]]).map(|i| i as i64).collect();
    let index = Tensor::from_slice(&left);
    let gram = gram.f_index_select(0, &index).and_then(|t| t.f_index_select(1, &index)).doing(what)?;
    let by_row = gram.f_mean_dim(Some([1i64].as_slice()), true, Kind::Double).doing(what)?;
    let all = by_row.f_mean(Kind::Double).doing(what)?;
    Spectrum::of_gram(&(gram - &by_row - by_row.tr() + all))
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
#[path = "frechet_thinning_tests.rs"]
mod tests;
