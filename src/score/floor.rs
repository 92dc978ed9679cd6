//! The real-vs-real figure: how far apart two halves of the real set itself are. Knows no network.

use serde::{Deserialize, Serialize};

use super::features::Features;
use super::frechet::{Moments, frechet};
use super::kid::{self, Kid};
use crate::error::Result;
use crate::nn::noise::Stream;

/// What a perfect generator would score at this many images: no distance below it means anything.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// Images in each half.
    pub n: [usize; 2],
    pub frechet: f64,
    pub kid: Kid,
}

/// Splits the real set into two random halves and measures their distance. The Frechet distance of small sets is biased
/// upwards, so the halves' figure is comparable with one of about as many images only: `n` says how many.
///
/// # Errors
/// Fewer than 4 images, a value that is not finite; libtorch's.
pub fn real_floor(real: &Features, options: &kid::Options) -> Result<Floor> {
    real.check("the real images", 4)?;
    let [first, second] = halves(real, options.seed);
    Ok(Floor {
        n: [first.rows, second.rows],
        frechet: frechet(&Moments::of(&first)?, &Moments::of(&second)?)?,
        kid: kid::kid(&first, &second, options)?,
    })
}

/// A set's images in two random halves; of an odd number the second has one more.
pub fn halves(set: &Features, seed: u64) -> [Features; 2] {
    let mut order: Vec<usize> = (0..set.rows).collect();
    Stream::indexed(seed, "real floor", &[]).shuffle(&mut order);
    let (first, second) = order.split_at(set.rows / 2);
    [set.select(first), set.select(second)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::golden::features;

    #[test]
    fn the_floor_is_near_zero_for_the_unbiased_metric_and_repeats() {
        let real = features(401, 8, 1);
        let floor = real_floor(&real, &kid::Options::default()).unwrap();
        assert_eq!(floor.n, [200, 201]);
        assert!(floor.frechet > 0.0 && floor.frechet < 0.1, "{}", floor.frechet);
        assert!(floor.kid.value.abs() < 4.0 * floor.kid.std.unwrap(), "{:?}", floor.kid);
        assert_eq!(floor, real_floor(&real, &kid::Options::default()).unwrap());
        let other = real_floor(&real, &kid::Options { seed: 1, ..Default::default() }).unwrap();
        assert_ne!(floor.frechet, other.frechet);
    }

    #[test]
    fn three_images_have_no_halves() {
        let message = real_floor(&features(3, 8, 1), &kid::Options::default()).unwrap_err().to_string();
        assert!(
            message.starts_with("a distance between sets needs at least 4 images, the real images are 3"),
            "{message}"
        );
    }
}
