//! Each image's own share in the Frechet distance: what leaving it out would change. Knows no network and no gate.
//!
//! Leaving row x of m out moves the mean to `m - c / (m - 1)` and the covariance to `a S - b c c^T`, where `c` is x less
//! the mean, `a = (m - 1) / (m - 2)`, `b = m / ((m - 1) (m - 2))`: exact, by the definition of both. So every term of
//! the distance is a rank-one update. For the trace of the root, write the real covariance as `R^T R` and
//! `M = R S R^T = Q L Q^T`; then `tr (a M - b v v^T)^(1/2)`, with `v = R c`, `z = Q^T v`, follows from
//!
//! `x^(1/2) = (1 / pi) int_0^inf log(1 + x / t^2) dt` (differentiate both sides by x),
//! so that a trace of roots is an integral of log-determinants, and from the matrix determinant lemma
//! `det(t^2 + a M - b v v^T) = det(t^2 + a M) (1 - b sum_j z_j^2 / (t^2 + a l_j))`:
//!
//! `tr (a M - b v v^T)^(1/2) = a^(1/2) tr M^(1/2) + (1 / pi) int_0^inf log(1 - b sum_j z_j^2 / (t^2 + a l_j)) dt`.
//!
//! With `t = e^u` the integrand is analytic in a strip of half-width pi / 2, so the trapezoid rule in u converges
//! geometrically: step 0.3 leaves 1e-14 (Trefethen and Weideman 2014). One eigenvalue problem serves all images.

use tch::{Kind, Tensor};

use super::features::{Features, same_dims};
use super::frechet::{Moments, centred, rounding, values};
use super::thin::Check;
use crate::error::Result;
use crate::nn::TensorContext;

/// Step of the trapezoid rule in `u = log t`.
const STEP: f64 = 0.3;
/// The rule runs over this many e-folds below and above the largest root; what it leaves out is 1e-12 of that root.
const REACH: f64 = 27.6;
/// Images that are integrated at once: memory stays at some megabytes, and Ctrl-C is heard.
const BLOCK: i64 = 2048;

/// For each synthetic image, by how much the Frechet distance of the whole set exceeds that of the set without it:
/// positive where dropping the image brings the set nearer to the real one. Exact to about 1e-9 of the total variance.
///
/// # Errors
/// Fewer than 3 synthetic images, a value that is not finite, features of different widths; libtorch's; what `check` says.
pub fn contributions(real: &Moments, synthetic: &Features, check: Check<'_>) -> Result<Vec<f64>> {
    synthetic.check("the synthetic images", 3)?;
    same_dims(real.dims(), synthetic.dims)?;
    let (mean, rows) = centred(synthetic)?;
    let offset: Vec<f64> = mean.iter().zip(&real.mean).map(|(synthetic, real)| real - synthetic).collect();
    let what = "compute each image's share in the Frechet distance";

    let along = values(&rows.f_matmul(&Tensor::from_slice(&offset)).doing(what)?)?;
    let squares = values(
        &rows.f_square().and_then(|t| t.f_sum_dim_intlist(Some([1i64].as_slice()), false, Kind::Double)).doing(what)?,
    )?;
    let variance = squares.iter().sum::<f64>() / (synthetic.rows as f64 - 1.0);

    check()?;
    let spectrum = Spectrum::new(&rows, &real.factor)?;
    let without = Without::of(synthetic.rows);
    let changes = spectrum.root_trace_changes(&without, check)?;
    let share = |i: usize| without.share(along[i], squares[i], variance, spectrum.roots(), changes[i]);
    Ok((0..synthetic.rows).map(share).collect())
}

/// What leaving one image out of a set does to its moments.
pub(super) struct Without {
    m: f64,
    /// The covariance becomes `a S - b c c^T`.
    pub a: f64,
    pub b: f64,
}

impl Without {
    /// Of a set of at least 3 images.
    pub fn of(images: usize) -> Without {
        let m = images as f64;
        Without { m, a: (m - 1.0) / (m - 2.0), b: m / ((m - 1.0) * (m - 2.0)) }
    }

    /// The distance with the image less the distance without it. `along`: the image less the set's mean, times the real
    /// mean less the set's; `square`: its squared distance from the set's mean; `variance`: the set's; `roots`: the trace
    /// of the root; `change`: by how much that of `a M` changes by the image.
    pub fn share(&self, along: f64, square: f64, variance: f64, roots: f64, change: f64) -> f64 {
        let Without { m, a, b } = *self;
        let means = -2.0 * along / (m - 1.0) - square / ((m - 1.0) * (m - 1.0));
        let variances = variance - (a * variance - b * square);
        let cross = roots - (a.sqrt() * roots + change);
        means + variances - 2.0 * cross
    }
}

/// `M = R S R^T` by its eigenvalues, and every image in its eigenvectors.
pub(super) struct Spectrum {
    /// Those of `M` that are not zero, `[k]`.
    pub eigenvalues: Vec<f64>,
    /// `z_j^2` of every image, `[images, k]`.
    pub squares: Tensor,
}

impl Spectrum {
    /// `rows` are the centred features `[images, dims]`, `real` any factor of the real covariance.
    fn new(rows: &Tensor, real: &Tensor) -> Result<Spectrum> {
        assert_eq!((rows.kind(), real.kind()), (Kind::Double, Kind::Double), "must be computed in f64");
        let what = "compute eigenvalues for the images' shares in the Frechet distance";
        let images = rows.size()[0];
        let scale = (images - 1) as f64;
        let seen = real.f_tr().and_then(|real| rows.f_matmul(&real)).doing(what)?; // [images, k]: each v
        let small = images <= seen.size()[1];
        // M = seen^T seen / (images - 1) shares its eigenvalues, but for zeros, with the images' Gram matrix.
        if small {
            return Spectrum::of_gram(&seen.f_matmul(&seen.tr()).doing(what)?);
        }
        let m = seen.tr().f_matmul(&seen).and_then(|m| m.f_div_scalar(scale)).doing(what)?;
        let (eigenvalues, vectors) = eigen(&m)?;
        let squares = seen.f_matmul(&vectors).and_then(|t| t.f_square()).doing(what)?;
        Ok(Spectrum { eigenvalues, squares })
    }

    /// From the products of all centred images with each other as the real covariance sees them, `[images, images]`.
    pub fn of_gram(gram: &Tensor) -> Result<Spectrum> {
        let scale = (gram.size()[0] - 1) as f64;
        let (eigenvalues, vectors) = eigen(&(gram / scale))?;
        let scaled = Tensor::from_slice(&eigenvalues) * scale;
        let squares = vectors.f_square().and_then(|t| t.f_mul(&scaled)).doing("compute the images' shares")?;
        Ok(Spectrum { eigenvalues, squares })
    }

    /// `tr M^(1/2)`.
    pub fn roots(&self) -> f64 {
        self.eigenvalues.iter().map(|l| l.sqrt()).sum()
    }

    /// `tr (a M - b v v^T)^(1/2) - tr (a M)^(1/2)` for every image's v.
    pub fn root_trace_changes(&self, without: &Without, check: Check<'_>) -> Result<Vec<f64>> {
        let images = self.squares.size()[0];
        let mut changes = Vec::with_capacity(images as usize);
        for start in (0..images).step_by(BLOCK as usize) {
            check()?;
            let block = self.squares.narrow(0, start, (images - start).min(BLOCK));
            changes.extend(root_trace_changes(&self.eigenvalues, &block, without)?);
        }
        Ok(changes)
    }
}

/// Eigenvalues above rounding, ascending, with their vectors `[dims, k]`.
pub(super) fn eigen(symmetric: &Tensor) -> Result<(Vec<f64>, Tensor)> {
    let what = "compute eigenvalues for the images' shares in the Frechet distance";
    let (eigenvalues, vectors) = symmetric.f_linalg_eigh("L").doing(what)?;
    let list = values(&eigenvalues)?;
    let cut = rounding(&list);
    let first = list.iter().take_while(|&&value| value <= cut).count();
    let vectors = vectors.f_narrow(1, first as i64, (list.len() - first) as i64).doing(what)?;
    Ok((list[first..].to_vec(), vectors))
}

/// `tr (a M - b v v^T)^(1/2) - tr (a M)^(1/2)` of a block of images, from the eigenvalues of M (ascending, none zero) and the
/// images' squares in its eigenvectors.
pub(super) fn root_trace_changes(eigenvalues: &[f64], squares: &Tensor, without: &Without) -> Result<Vec<f64>> {
    let Without { a, b, .. } = *without;
    let Some(&largest) = eigenvalues.last() else { return Ok(vec![0.0; squares.size()[0] as usize]) };
    let largest = a * largest;
    let middle = 0.5 * largest.ln();
    let steps = (REACH / STEP).ceil() as i64;
    let times: Vec<f64> = (-steps..=steps).map(|k| (middle + k as f64 * STEP).exp()).collect();

    // 1 - b sum z^2 / (t^2 + a l) cancels for small t, and its difference from 1 for large t. So: q itself above the
    // largest root, and below it (1 - q(0)) + t^2 sum b z^2 / (a l (t^2 + a l)), of which every term is positive.
    let term = |t: f64, l: f64| {
        let below = b / (t * t + a * l);
        if t * t > largest { below } else { t * t / (a * l) * below }
    };
    let at_zero = eigenvalues.iter().map(|&l| b / (a * l));
    let weights: Vec<f64> =
        times.iter().flat_map(|&t| eigenvalues.iter().map(move |&l| term(t, l))).chain(at_zero).collect();
    let sums = Tensor::f_from_slice(&weights)
        .and_then(|w| squares.f_matmul(&w.f_view([times.len() as i64 + 1, -1])?.f_tr()?))
        .doing("integrate the images' shares in the Frechet distance")?;
    let sums = values(&sums)?; // [images, times + 1]

    let change = |row: &[f64]| {
        // Exactly 0 where the image alone spans a direction, as every one does in a set smaller than the dimensions.
        let rest = 1.0 - row[times.len()];
        let rest = if rest < 1e-13 { 0.0 } else { rest };
        let at = |(&t, &sum): (&f64, &f64)| {
            let log = if t * t > largest { (-sum).ln_1p() } else { (rest + sum).min(1.0).ln() };
            t * log
        };
        times.iter().zip(row).map(at).sum::<f64>() * STEP / std::f64::consts::PI
    };
    Ok(sums.chunks_exact(times.len() + 1).map(change).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::noise::Stream;
    use crate::score::frechet::frechet;

    fn set(rows: usize, dims: usize, seed: u64, shift: f32) -> Features {
        let mut values = Stream::indexed(seed, "contribution", &[]).normals(rows * dims);
        for (i, value) in values.iter_mut().enumerate() {
            *value = *value * (1.0 + (i % dims) as f32 / 4.0) + shift;
        }
        Features::new(dims, values).unwrap()
    }

    /// By leaving out each image and computing everything again.
    fn again(real: &Moments, synthetic: &Features) -> Vec<f64> {
        let whole = frechet(real, &Moments::of(synthetic).unwrap()).unwrap();
        let without = |i: usize| {
            let rows: Vec<usize> = (0..synthetic.rows).filter(|&row| row != i).collect();
            whole - frechet(real, &Moments::of(&synthetic.select(&rows)).unwrap()).unwrap()
        };
        (0..synthetic.rows).map(without).collect()
    }

    #[test]
    fn every_share_equals_computing_the_distance_again_without_the_image() {
        // More images than dimensions, fewer, fewer real ones than dimensions, and the smallest set allowed.
        for (real, synthetic, dims) in [(60, 40, 8), (60, 12, 20), (9, 40, 20), (9, 7, 20), (30, 3, 6), (5, 21, 20)] {
            let real = Moments::of(&set(real, dims, 1, 0.0)).unwrap();
            let synthetic = set(synthetic, dims, 2, 0.3);
            let found = contributions(&real, &synthetic, &|| Ok(())).unwrap();
            for (found, wanted) in found.iter().zip(again(&real, &synthetic)) {
                assert!((found - wanted).abs() < 1e-8, "{found} is not {wanted} with {dims} dimensions");
            }
        }
    }

    #[test]
    fn an_image_far_from_all_others_raises_the_distance_most() {
        let real = Moments::of(&set(100, 6, 1, 0.0)).unwrap();
        let mut synthetic = set(50, 6, 2, 0.0);
        synthetic.values[17 * 6..18 * 6].fill(20.0);
        let found = contributions(&real, &synthetic, &|| Ok(())).unwrap();
        let worst = (0..50).max_by(|&a, &b| found[a].total_cmp(&found[b])).unwrap();
        assert_eq!(worst, 17);
        assert!(found[17] > 1.0);
    }

    #[test]
    fn constant_features_have_no_share() {
        let flat = Features::new(3, vec![2.0; 12]).unwrap();
        assert_eq!(contributions(&Moments::of(&flat).unwrap(), &flat, &|| Ok(())).unwrap(), [0.0; 4]);
    }

    #[test]
    fn two_images_are_too_few_to_leave_one_out() {
        let real = Moments::of(&set(10, 4, 1, 0.0)).unwrap();
        let message = contributions(&real, &set(2, 4, 2, 0.0), &|| Ok(())).unwrap_err().to_string();
        assert!(message.starts_with("a distance between sets needs at least 3 images, the synthetic images are 2"));
    }
}
