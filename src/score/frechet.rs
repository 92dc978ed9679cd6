//! The Frechet distance between two sets of features, whatever their ranks. Knows no network.
//!
//! Dowson and Landau (1982), as Heusel et al. (2017) use it for FID: with means m and covariances S (divisor n - 1),
//! `|m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)`. The last trace is taken without a matrix root: with any factors
//! `S = F^T F`, the eigenvalues of `S1 S2` are the squared singular values of `F1 F2^T` (and zeros), so the trace is
//! their sum. They are real and never negative, and identical sets give 0 to rounding. A set of no
//! more images than dimensions is its own factor (its centred rows), which makes the product small.

use tch::{Device, Kind, Tensor};

use super::features::{Features, same_dims};
use crate::error::{Error, Result};
use crate::nn::TensorContext;

/// Mean and covariance of a set of features, in f64.
pub struct Moments {
    /// Images in the set.
    pub n: usize,
    /// `[dims]`
    pub mean: Vec<f64>,
    /// Any matrix `[k, dims]` in f64 with `factor^T factor` = the covariance.
    pub(super) factor: Tensor,
}

impl Moments {
    /// The moments of at least 2 images (covariance with divisor n - 1).
    ///
    /// # Errors
    /// Fewer than 2 rows, or a value that is not finite.
    pub fn of(features: &Features) -> Result<Moments> {
        features.check("the set", 2)?;
        let (mean, rows) = centred(features)?;
        let scaled = rows / (features.rows as f64 - 1.0).sqrt();
        let factor = if features.rows <= features.dims {
            scaled
        } else {
            factor_of(&scaled.f_tr().and_then(|t| t.f_matmul(&scaled)).doing("compute a covariance")?)?
        };
        Ok(Moments { n: features.rows, mean, factor })
    }

    /// Moments computed elsewhere; `covariance` is `[dims, dims]`, row by row.
    ///
    /// # Errors
    /// Sizes that do not fit, a value that is not finite, a covariance that is not symmetric.
    pub fn from_parts(n: usize, mean: Vec<f64>, covariance: &[f64]) -> Result<Moments> {
        let dims = mean.len();
        if n < 2 || dims == 0 || covariance.len() != dims * dims {
            return Err(Error::input(format!(
                "moments of {n} images with {dims} means and {} covariances do not fit together",
                covariance.len()
            )));
        }
        let largest = covariance.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        let even = |i: usize, j: usize| (covariance[i * dims + j] - covariance[j * dims + i]).abs() <= 1e-9 * largest;
        if !mean.iter().chain(covariance).all(|value| value.is_finite())
            || !(0..dims).all(|i| (0..i).all(|j| even(i, j)))
        {
            return Err(Error::input("a covariance must be symmetric and finite"));
        }
        let covariance = Tensor::f_from_slice(covariance)
            .and_then(|t| t.f_view([dims as i64, dims as i64]))
            .doing("read a covariance")?;
        Ok(Moments { n, mean, factor: factor_of(&covariance)? })
    }

    /// Numbers a feature vector has.
    pub fn dims(&self) -> usize {
        self.mean.len()
    }

    /// The covariance `[dims, dims]`, row by row.
    ///
    /// # Errors
    /// libtorch's, such as memory.
    pub fn covariance(&self) -> Result<Vec<f64>> {
        let covariance = self.factor.f_tr().and_then(|t| t.f_matmul(&self.factor)).doing("compute a covariance")?;
        values(&covariance)
    }

    /// The covariance's trace: the set's total variance.
    pub fn variance(&self) -> f64 {
        self.factor.square().sum(Kind::Double).double_value(&[])
    }
}

/// The squared Frechet distance (what is called FID, where the features are Inception's); 0 for equal moments.
///
/// # Errors
/// Features of different widths; libtorch's.
pub fn frechet(real: &Moments, synthetic: &Moments) -> Result<f64> {
    same_dims(real.dims(), synthetic.dims())?;
    let between: f64 = real.mean.iter().zip(&synthetic.mean).map(|(a, b)| (a - b) * (a - b)).sum();
    let cross = root_trace(&real.factor, &synthetic.factor)?;
    Ok((between + real.variance() + synthetic.variance() - 2.0 * cross).max(0.0))
}

/// `tr (S1 S2)^(1/2)`: the sum of the singular values of `P = F1 F2^T`, which are the roots of the eigenvalues of the smaller
/// of `P P^T` and `P^T P`. An eigenvalue that is zero but for rounding counts as zero; one just above is off by 1e-9 of the
/// largest root at most. Symmetric eigenvalues take a quarter of the time of singular values.
fn root_trace(a: &Tensor, b: &Tensor) -> Result<f64> {
    assert_eq!((a.kind(), b.kind()), (Kind::Double, Kind::Double), "Frechet distance must be computed in f64");
    let what = "compute the Frechet distance";
    let (a, b) = if a.size()[0] <= b.size()[0] { (a, b) } else { (b, a) };
    let product = b.f_tr().and_then(|b| a.f_matmul(&b)).doing(what)?;
    let gram = product.f_tr().and_then(|t| product.f_matmul(&t)).doing(what)?;
    let eigenvalues = values(&gram.f_linalg_eigvalsh("L").doing("compute eigenvalues for the Frechet distance")?)?;
    let cut = rounding(&eigenvalues);
    Ok(eigenvalues.iter().filter(|&&value| value > cut).map(|value| value.sqrt()).sum())
}

/// Any `F` with `F^T F` = the covariance: Cholesky's where it exists, else from the eigenvalues, without those that are
/// zero to rounding.
fn factor_of(covariance: &Tensor) -> Result<Tensor> {
    assert_eq!(covariance.kind(), Kind::Double, "a covariance must be in f64");
    let what = "factor a covariance";
    let (upper, failed) = covariance.f_linalg_cholesky_ex(true, false).doing(what)?;
    if failed.f_int64_value(&[]).doing(what)? == 0 {
        return Ok(upper);
    }
    let (eigenvalues, vectors) = covariance.f_linalg_eigh("L").doing(what)?;
    let list = values(&eigenvalues)?;
    let cut = rounding(&list);
    let first = list.iter().take_while(|&&value| value <= cut).count() as i64;
    let kept = list.len() as i64 - first;
    (|| {
        let roots = eigenvalues.f_narrow(0, first, kept)?.f_sqrt()?;
        vectors.f_narrow(1, first, kept)?.f_mul(&roots)?.f_tr()?.f_contiguous()
    })()
    .doing(what)
}

/// Eigenvalues up to this are zero but for rounding.
pub(super) fn rounding(eigenvalues: &[f64]) -> f64 {
    eigenvalues.iter().fold(0.0f64, |a, b| a.max(b.abs())) * eigenvalues.len() as f64 * f64::EPSILON
}

/// The mean `[dims]`, and the rows less the mean, `[rows, dims]` in f64.
pub(super) fn centred(features: &Features) -> Result<(Vec<f64>, Tensor)> {
    let rows = matrix(features)?;
    let mean = rows.f_mean_dim(Some([0i64].as_slice()), true, Kind::Double).doing("compute a mean")?;
    let centred = rows.f_sub(&mean).doing("centre features")?;
    Ok((values(&mean)?, centred))
}

/// The features as `[rows, dims]` in f64 on the CPU.
pub(super) fn matrix(features: &Features) -> Result<Tensor> {
    Tensor::f_from_slice(&features.values)
        .and_then(|t| t.f_view([features.rows as i64, features.dims as i64]))
        .and_then(|t| t.f_to_device(Device::Cpu)?.f_to_kind(Kind::Double))
        .doing("read features")
}

/// A tensor's numbers, row by row.
pub(super) fn values(tensor: &Tensor) -> Result<Vec<f64>> {
    assert_eq!(tensor.kind(), Kind::Double);
    tensor.f_contiguous().and_then(|t| Vec::<f64>::try_from(t.f_view([-1])?)).doing("read numbers")
}

#[cfg(test)]
#[path = "frechet_tests.rs"]
mod tests;
