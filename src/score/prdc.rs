//! Precision, recall, density and coverage of two sets of features. Knows no network.
//!
//! Precision and recall (Kynkaanniemi, Karras, Laine, Lehtinen, Aila 2019): the share of synthetic images in the ball, out to
//! the k-th nearest other real image and its surface, of any real image; and the same with the sets exchanged. Density and
//! coverage (Naeem, Oh, Uh, Choi, Yoo 2020): in how many real images' open balls a synthetic image lies in the mean, over k;
//! and the share of real images with a synthetic image in theirs. All distances are computed in f64.

use serde::Serialize;
use tch::{Kind, Tensor};

use super::features::{Features, same_dims};
use super::frechet::{matrix, values};
use crate::error::{Error, Result};
use crate::nn::TensorContext;

/// Rows of a matrix of distances that are in memory at once.
const BLOCK: i64 = 1024;

/// The four figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Prdc {
    /// 0 to 1.
    pub precision: f64,
    /// 0 to 1.
    pub recall: f64,
    /// From 0; 1 for sets of the same distribution.
    pub density: f64,
    /// 0 to 1.
    pub coverage: f64,
}

/// What each image adds to the figures, which are the means of these.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares {
    /// A synthetic image.
    pub precision: Vec<f64>,
    /// A real image.
    pub recall: Vec<f64>,
    /// A synthetic image.
    pub density: Vec<f64>,
    /// A real image.
    pub coverage: Vec<f64>,
}

impl Shares {
    /// Their means.
    pub fn figures(&self) -> Prdc {
        let mean = |shares: &[f64]| shares.iter().sum::<f64>() / shares.len() as f64;
        Prdc {
            precision: mean(&self.precision),
            recall: mean(&self.recall),
            density: mean(&self.density),
            coverage: mean(&self.coverage),
        }
    }
}

/// Each image's share, with balls out to the `k`-th nearest other image of the same set.
///
/// # Errors
/// No more than `k` images in a set, `k` of 0, a value that is not finite, different widths; libtorch's.
pub fn shares(real: &Features, synthetic: &Features, k: usize) -> Result<Shares> {
    if k == 0 {
        return Err(Error::input("a neighbourhood of 0 images holds nothing; give at least 1"));
    }
    real.check("the real images", k + 1)?;
    synthetic.check("the synthetic images", k + 1)?;
    same_dims(real.dims, synthetic.dims)?;
    let (x, y) = (matrix(real)?, matrix(synthetic)?);
    let what = "compare the images' neighbourhoods";
    let (around_real, around_synthetic) = (radii(&x, k as i64)?, radii(&y, k as i64)?);

    let mut shares = Shares { precision: Vec::new(), recall: Vec::new(), density: Vec::new(), coverage: Vec::new() };
    // A column a real image, a row a synthetic one.
    for (start, rows) in blocks(y.size()[0]) {
        let found = squares(&y.narrow(0, start, rows), &x)?;
        let inside = found.f_le_tensor(&around_real).and_then(|inside| inside.f_any_dim(1, false));
        shares.precision.extend(values(&inside.doing(what)?.to_kind(Kind::Double))?);
        let within = found
            .f_lt_tensor(&around_real)
            .and_then(|inside| Ok(inside.f_sum_dim_intlist(Some([1i64].as_slice()), false, Kind::Double)? / k as f64));
        shares.density.extend(values(&within.doing(what)?)?);
    }
    for (start, rows) in blocks(x.size()[0]) {
        let found = squares(&x.narrow(0, start, rows), &y)?;
        let inside = found.f_le_tensor(&around_synthetic).and_then(|inside| inside.f_any_dim(1, false));
        shares.recall.extend(values(&inside.doing(what)?.to_kind(Kind::Double))?);
        let own = around_real.narrow(0, start, rows).unsqueeze(1);
        let covered = found.f_lt_tensor(&own).and_then(|covered| covered.f_any_dim(1, false));
        shares.coverage.extend(values(&covered.doing(what)?.to_kind(Kind::Double))?);
    }
    Ok(shares)
}

/// The squared distance of each row to its `k`-th nearest other row, `[rows]`.
fn radii(x: &Tensor, k: i64) -> Result<Tensor> {
    let mut all = Vec::new();
    for (start, rows) in blocks(x.size()[0]) {
        let found = squares(&x.narrow(0, start, rows), x)?;
        // Itself is the nearest of all, whatever rounding says.
        let _ = found.diagonal(start, 0, 1).f_fill_(-1.0).doing("find neighbours")?;
        all.push(found.f_kthvalue(k + 1, 1, false).doing("find neighbours")?.0);
    }
    Tensor::f_cat(&all, 0).doing("find neighbours")
}

/// Squared distances of every pair, `[rows of x, rows of y]`; 0 where they are nothing but rounding.
fn squares(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    assert_eq!((x.kind(), y.kind()), (Kind::Double, Kind::Double), "distances must be computed in f64");
    let make = || {
        let norms = |t: &Tensor| t.f_square()?.f_sum_dim_intlist(Some([1i64].as_slice()), false, Kind::Double);
        let sizes = norms(x)?.f_unsqueeze(1)?.f_add(&norms(y)?)?;
        let squares = sizes.f_sub(&(x.f_matmul(&y.f_tr()?)? * 2.0))?;
        let rounding = sizes * (4.0 * f64::EPSILON * (x.size()[1] as f64).sqrt());
        squares.f_masked_fill(&squares.f_le_tensor(&rounding)?, 0.0)
    };
    make().doing("compute distances between images")
}

fn blocks(rows: i64) -> impl Iterator<Item = (i64, i64)> {
    (0..rows).step_by(BLOCK as usize).map(move |start| (start, (rows - start).min(BLOCK)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::golden::uniform;
    use crate::score::golden::features;
    use serde_json::Value;

    #[test]
    fn every_figure_equals_the_references() {
        let golden: Value = serde_json::from_str(include_str!("../../tests/golden/prdc.json")).unwrap();
        let cases = golden.as_array().unwrap();
        assert_eq!(cases.len(), 6);
        for case in cases {
            let number = |name: &str| case[name].as_u64().unwrap() as usize;
            let scale = case["scale"].as_f64().unwrap() as f32;
            let set = |name: &str, scale: f32| {
                let values = uniform(name, number(name) * number("dims"));
                Features::new(number("dims"), values.into_iter().map(|u| u as f32 * scale).collect()).unwrap()
            };
            let (real, synthetic) = (set("real", 1.0), set("synthetic", scale));
            let found = shares(&real, &synthetic, number("k")).unwrap().figures();
            for (name, found) in [
                ("precision", found.precision),
                ("recall", found.recall),
                ("density", found.density),
                ("coverage", found.coverage),
            ] {
                let wanted = case[name].as_f64().unwrap();
                assert!((found - wanted).abs() < 1e-6, "{name} {found} of {case}");
            }
        }
    }

    #[test]
    fn a_set_covers_itself_and_one_far_away_nothing() {
        let one = features(60, 5, 1);
        let same = shares(&one, &one, 3).unwrap().figures();
        assert_eq!((same.precision, same.recall, same.coverage), (1.0, 1.0, 1.0));
        let mut far = one.clone();
        far.values.iter_mut().for_each(|value| *value += 50.0);
        let apart = shares(&one, &far, 3).unwrap().figures();
        assert_eq!(apart, Prdc { precision: 0.0, recall: 0.0, density: 0.0, coverage: 0.0 });
    }

    #[test]
    fn blocks_come_to_the_same() {
        let (real, synthetic) = (features(BLOCK as usize + 70, 3, 1), features(40, 3, 1));
        let found = shares(&real, &synthetic, 5).unwrap();
        assert_eq!((found.recall.len(), found.precision.len()), (BLOCK as usize + 70, 40));
        // The synthetic images are the first real ones.
        assert_eq!(found.figures().precision, 1.0);
        assert!(found.coverage[..40].iter().all(|&covered| covered == 1.0));
    }

    #[test]
    fn constant_sets_are_inside_each_other() {
        let flat = |n: usize| Features::new(2, vec![1.5; 2 * n]).unwrap();
        let found = shares(&flat(9), &flat(7), 3).unwrap().figures();
        assert_eq!((found.precision, found.recall, found.density, found.coverage), (1.0, 1.0, 0.0, 0.0));
    }

    #[test]
    fn sets_that_are_too_small_for_a_neighbourhood_are_refused() {
        let message = shares(&features(9, 4, 1), &features(5, 4, 2), 5).unwrap_err().to_string();
        assert!(message.contains("needs at least 6 images, the synthetic images are 5"), "{message}");
        assert!(shares(&features(9, 4, 1), &features(9, 5, 2), 5).is_err());
        assert!(shares(&features(9, 4, 1), &features(9, 4, 2), 0).is_err());
    }
}
