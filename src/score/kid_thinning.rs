//! Leaving images out of a set by their exact share in its Kernel Inception Distance. Knows no network and no gate.
//!
//! The unbiased estimate over the whole sets is a sum over pairs, so an image's share is a sum over its own pairs, and leaving
//! one out takes one kernel from each other image's sum: after the first sums a step costs one row of kernels. No subsets are
//! drawn, whatever the size: the distance depends on which images there are and on nothing else.

use tch::Tensor;

use super::features::{Features, same_dims};
use super::frechet::{matrix, values};
use super::kid::{kernel, unbiased};
use super::thin::{Check, Thinning, worst_of};
use crate::error::Result;
use crate::nn::TensorContext;

/// Rows of a kernel matrix that are in memory at once.
const BLOCK: i64 = 512;
/// Shares this near, as a part of a mean kernel over the images, are equal: rounding must not choose between them.
const TIE: f64 = 1e-11;

/// Sums over a real set that serve any synthetic one.
pub struct RealKernels {
    rows: Tensor,
    /// Over ordered pairs of different images.
    within: f64,
}

impl RealKernels {
    /// Of at least 2 images.
    ///
    /// # Errors
    /// Fewer, a value that is not finite; libtorch's; what `check` says.
    pub fn new(real: &Features, check: Check<'_>) -> Result<RealKernels> {
        real.check("the real images", 2)?;
        let rows = matrix(real)?;
        let within = row_sums(&rows, &rows, true, check)?.iter().sum();
        Ok(RealKernels { rows, within })
    }
}

/// A set of synthetic images against a real one.
pub struct KidThinning<'r> {
    real: &'r RealKernels,
    rows: Tensor,
    /// Each image's sum of kernels over the others that are left.
    within: Vec<f64>,
    /// Each image's sum of kernels over the real images.
    across: Vec<f64>,
    is_left: Vec<bool>,
    left: usize,
}

impl<'r> KidThinning<'r> {
    /// All images of a set.
    ///
    /// # Errors
    /// Fewer than 2 images, a value that is not finite, features of different widths; libtorch's; what `check` says.
    pub fn new(real: &'r RealKernels, synthetic: &Features, check: Check<'_>) -> Result<KidThinning<'r>> {
        synthetic.check("the synthetic images", 2)?;
        same_dims(real.rows.size()[1] as usize, synthetic.dims)?;
        let rows = matrix(synthetic)?;
        let within = row_sums(&rows, &rows, true, check)?;
        let across = row_sums(&rows, &real.rows, false, check)?;
        let is_left = vec![true; synthetic.rows];
        Ok(KidThinning { real, rows, within, across, is_left, left: synthetic.rows })
    }

    /// Real images, and sums over those left: of kernels within, and across.
    fn sums(&self) -> (usize, f64, f64) {
        let left = |sums: &[f64]| sums.iter().zip(&self.is_left).filter(|(_, left)| **left).map(|(sum, _)| sum).sum();
        (self.real.rows.size()[0] as usize, left(&self.within), left(&self.across))
    }
}

impl Thinning for KidThinning<'_> {
    fn left(&self) -> usize {
        self.left
    }

    fn distance(&mut self) -> Result<f64> {
        let (n, within, across) = self.sums();
        Ok(unbiased([n, self.left], [self.real.within, within], across))
    }

    fn worst(&mut self, _: Check<'_>) -> Result<Option<usize>> {
        let (n, within, across) = self.sums();
        let whole = unbiased([n, self.left], [self.real.within, within], across);
        let share = |row: usize| {
            let rest = [self.real.within, within - 2.0 * self.within[row]];
            (row, whole - unbiased([n, self.left - 1], rest, across - self.across[row]))
        };
        let shares: Vec<(usize, f64)> = (0..self.is_left.len()).filter(|&row| self.is_left[row]).map(share).collect();
        let m = self.left as f64;
        Ok(worst_of(&shares, TIE * across.abs() / (m * m * n as f64)))
    }

    fn leave_out(&mut self, row: usize) -> Result<()> {
        assert!(self.is_left[row] && self.left > 2, "row {row} cannot be left out");
        let kernels = values(&kernel(&self.rows, &self.rows.narrow(0, row as i64, 1))?)?;
        self.within.iter_mut().zip(&kernels).for_each(|(sum, kernel)| *sum -= kernel);
        self.is_left[row] = false;
        self.left -= 1;
        Ok(())
    }
}

/// Each x's sum of kernels over all y, or over all other y where `own` says that both are the same set; a block of x and of y
/// at a time, so that a set of fifty thousand needs no gigabytes and Ctrl-C is heard.
fn row_sums(x: &Tensor, y: &Tensor, own: bool, check: Check<'_>) -> Result<Vec<f64>> {
    const COLUMNS: i64 = 8192;
    let (n, m) = (x.size()[0], y.size()[0]);
    let mut sums = Vec::with_capacity(n as usize);
    for start in (0..n).step_by(BLOCK as usize) {
        let block = x.narrow(0, start, (n - start).min(BLOCK));
        let mut sum = vec![0.0; block.size()[0] as usize];
        for from in (0..m).step_by(COLUMNS as usize) {
            check()?;
            let kernels = kernel(&block, &y.narrow(0, from, (m - from).min(COLUMNS)))?;
            let part = kernels.f_sum_dim_intlist(Some([1i64].as_slice()), false, tch::Kind::Double);
            sum.iter_mut().zip(values(&part.doing("sum KID's kernel")?)?).for_each(|(sum, part)| *sum += part);
        }
        if own {
            let dims = x.size()[1] as f64;
            let squares = block.f_square().and_then(|t| t.f_sum_dim_intlist(Some([1i64].as_slice()), false, x.kind()));
            for (sum, square) in sum.iter_mut().zip(values(&squares.doing("sum KID's kernel")?)?) {
                let base = square / dims + 1.0;
                *sum -= base * base * base;
            }
        }
        sums.extend(sum);
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::noise::Stream;
    use crate::score::golden::features;
    use crate::score::kid::{Options, kid};
    use crate::score::thin::thin;

    fn go_on() -> Result<()> {
        Ok(())
    }

    /// By computing the whole distance again without each image, again and again.
    fn again(real: &Features, synthetic: &Features, threshold: f64) -> (Vec<usize>, f64) {
        let value = |rows: &[usize]| kid(real, &synthetic.select(rows), &Options::default()).unwrap().value;
        let mut rows: Vec<usize> = (0..synthetic.rows).collect();
        let mut out = Vec::new();
        while value(&rows) > threshold && rows.len() > 2 {
            let without = |at: usize| value(&[&rows[..at], &rows[at + 1..]].concat());
            let at = (0..rows.len()).min_by(|&a, &b| without(a).total_cmp(&without(b))).unwrap();
            if without(at) >= value(&rows) {
                break;
            }
            out.push(rows.remove(at));
        }
        let value = value(&rows);
        (out, value)
    }

    #[test]
    fn images_go_in_the_order_in_which_computing_everything_again_would_let_them_go() {
        let (real, synthetic) = (features(40, 6, 1), features(30, 6, 2));
        let kernels = RealKernels::new(&real, &go_on).unwrap();
        for threshold in [-1.0, 0.02, 0.1] {
            let mut set = KidThinning::new(&kernels, &synthetic, &go_on).unwrap();
            let found = thin(&mut set, threshold, 2, &go_on, &|_, _| ()).unwrap();
            let (wanted, value) = again(&real, &synthetic, threshold);
            assert!(!wanted.is_empty());
            assert_eq!(found.left_out.iter().map(|left| left.row).collect::<Vec<_>>(), wanted, "{threshold}");
            assert!((found.distance - value).abs() < 1e-12, "{} is not {value}", found.distance);
            assert_eq!((found.holds, found.left), (value <= threshold, 30 - wanted.len()));
        }
    }

    #[test]
    fn the_order_of_images_decides_nothing() {
        let (real, synthetic) = (features(40, 6, 1), features(30, 6, 2));
        let kernels = RealKernels::new(&real, &go_on).unwrap();
        let gone = |order: &[usize]| {
            let mut set = KidThinning::new(&kernels, &synthetic.select(order), &go_on).unwrap();
            let found = thin(&mut set, 0.05, 2, &go_on, &|_, _| ()).unwrap();
            found.left_out.iter().map(|left| order[left.row]).collect::<Vec<_>>()
        };
        let straight: Vec<usize> = (0..30).collect();
        let wanted = gone(&straight);
        for seed in 0..20 {
            let mut order = straight.clone();
            Stream::indexed(seed, "order", &[]).shuffle(&mut order);
            assert_eq!(gone(&order), wanted, "{order:?}");
        }
    }

    #[test]
    fn of_images_with_equal_features_the_last_goes() {
        let (real, mut synthetic) = (features(40, 6, 1), features(10, 6, 2));
        for row in [3, 8] {
            synthetic.values[row * 6..][..6].fill(9.0);
        }
        let kernels = RealKernels::new(&real, &go_on).unwrap();
        let mut set = KidThinning::new(&kernels, &synthetic, &go_on).unwrap();
        assert_eq!(set.worst(&go_on).unwrap(), Some(8));
        set.leave_out(8).unwrap();
        assert_eq!(set.worst(&go_on).unwrap(), Some(3));
    }

    #[test]
    fn sums_by_block_are_sums_of_the_whole_and_stop_when_asked() {
        let (x, y) = (features(BLOCK as usize + 40, 3, 1), features(9000, 3, 2));
        let (x, y) = (matrix(&x).unwrap(), matrix(&y).unwrap());
        let whole = |k: Tensor| values(&k.sum_dim_intlist(Some([1i64].as_slice()), false, tch::Kind::Double)).unwrap();
        let near = |a: Vec<f64>, b: Vec<f64>| a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-9 * b.abs());
        assert!(near(row_sums(&x, &y, false, &go_on).unwrap(), whole(kernel(&x, &y).unwrap())));
        let own = kernel(&x, &x).unwrap();
        assert!(near(
            row_sums(&x, &x, true, &go_on).unwrap(),
            whole(&own - Tensor::diag_embed(&own.diagonal(0, 0, 1), 0, 0, 1))
        ));
        let stop = || Err(crate::error::Error::Interrupted);
        assert!(matches!(row_sums(&x, &y, false, &stop), Err(crate::error::Error::Interrupted)));
    }
}
