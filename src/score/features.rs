//! A set of feature vectors, one an image. Knows neither the images nor the network they came from.

use crate::error::{Error, Result};

/// Features of `rows` images, `[rows, dims]`, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    pub rows: usize,
    pub dims: usize,
    pub values: Vec<f32>,
}

impl Features {
    /// The values as `[values.len() / dims, dims]`.
    ///
    /// # Errors
    /// A number of values that is no multiple of `dims`.
    pub fn new(dims: usize, values: Vec<f32>) -> Result<Features> {
        if dims == 0 || !values.len().is_multiple_of(dims) {
            return Err(Error::input(format!("{} values are no whole rows of {dims} features", values.len())));
        }
        Ok(Features { rows: values.len() / dims, dims, values })
    }

    /// The features of one image.
    pub fn row(&self, index: usize) -> &[f32] {
        &self.values[index * self.dims..][..self.dims]
    }

    /// The chosen rows in the order given.
    pub fn select(&self, rows: &[usize]) -> Features {
        let values = rows.iter().flat_map(|&row| self.row(row)).copied().collect();
        Features { rows: rows.len(), dims: self.dims, values }
    }

    /// Whether a metric can be computed from these: a whole matrix, at least `least` rows, all finite.
    ///
    /// # Errors
    /// What is wrong; `what` names the set: "the real images".
    pub fn check(&self, what: &str, least: usize) -> Result<()> {
        if self.dims == 0 || self.values.len() != self.rows * self.dims {
            return Err(Error::input(format!(
                "features of {what}: {} values are not {} rows of {}",
                self.values.len(),
                self.rows,
                self.dims
            )));
        }
        if self.rows < least {
            return Err(Error::input_help(
                format!("a distance between sets needs at least {least} images, {what} are {}", self.rows),
                "give more images",
            ));
        }
        if let Some(at) = self.values.iter().position(|value| !value.is_finite()) {
            return Err(Error::input_help(
                format!("features of {what}: row {} holds {}", at / self.dims, self.values[at]),
                "the network that made them overflowed; try it in fp32, or check its weights",
            ));
        }
        Ok(())
    }
}

/// Refuses to compare features of different networks.
///
/// # Errors
/// The two widths.
pub fn same_dims(real: usize, synthetic: usize) -> Result<()> {
    if real != synthetic {
        return Err(Error::input_help(
            format!("features of {real} and of {synthetic} numbers cannot be compared"),
            "compute both sets' features by the same network",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_features_are_named_by_set_and_row() {
        let message = |values: Vec<f32>, least| {
            Features::new(2, values).unwrap().check("the real images", least).unwrap_err().to_string()
        };
        assert_eq!(
            message(vec![0.0; 2], 2),
            "a distance between sets needs at least 2 images, the real images are 1\n  help: give more images"
        );
        assert_eq!(
            message(vec![0.0, 1.0, 2.0, f32::NAN], 2),
            "features of the real images: row 1 holds NaN\n  help: the network that made them overflowed; try it in fp32, \
             or check its weights"
        );
        assert!(Features::new(3, vec![0.0; 4]).is_err());
        assert!(same_dims(512, 2048).is_err());
        let torn = Features { rows: 2, dims: 2, values: vec![0.0; 3] };
        assert!(torn.check("the real images", 1).is_err());
    }

    #[test]
    fn rows_are_chosen_in_the_order_given() {
        let features = Features::new(2, vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert_eq!(features.select(&[2, 0]).values, [4.0, 5.0, 0.0, 1.0]);
    }
}
