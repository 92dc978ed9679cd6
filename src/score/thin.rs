//! A set that is brought under a distance by leaving images out, one at a time and the worst first. Knows neither the
//! distance nor where images come from.

use crate::error::Result;

/// Asked between two pieces of long work whether to go on; its error ends the work.
pub type Check<'c> = &'c dyn Fn() -> Result<()>;

/// A set of images from which images are left out; rows are those that it was made from, in their order.
pub trait Thinning {
    /// Images that are left.
    fn left(&self) -> usize;

    /// The distance of what is left, exactly.
    ///
    /// # Errors
    /// libtorch's.
    fn distance(&mut self) -> Result<f64>;

    /// The row whose leaving lowers the distance most, exactly, of at least 3 that are left; `None` if none lowers it. Of
    /// rows that are equal to rounding the last, so that neither machine nor order of work decides.
    ///
    /// # Errors
    /// libtorch's; what `check` says.
    fn worst(&mut self, check: Check<'_>) -> Result<Option<usize>>;

    /// Leaves a row out.
    ///
    /// # Errors
    /// libtorch's.
    fn leave_out(&mut self, row: usize) -> Result<()>;
}

/// A row that was left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Left {
    pub row: usize,
    /// The distance before it went.
    pub distance: f64,
}

/// What came of thinning a set.
#[derive(Debug, Clone, PartialEq)]
pub struct Thinned {
    /// In the order in which they went.
    pub left_out: Vec<Left>,
    /// The distance of the rest.
    pub distance: f64,
    /// How many the rest are.
    pub left: usize,
    /// Whether the distance is at most the threshold; else no single image whose leaving would lower it is left, or the
    /// fewest are.
    pub holds: bool,
}

/// Leaves images out until the distance is at most `threshold`, no image lowers it any more, or `fewest` are left (at
/// least 2). `tell` hears how many went, and the distance.
///
/// # Errors
/// libtorch's; what `check` says.
pub fn thin(
    set: &mut dyn Thinning,
    threshold: f64,
    fewest: usize,
    check: Check<'_>,
    tell: &dyn Fn(usize, f64),
) -> Result<Thinned> {
    let mut left_out = Vec::new();
    loop {
        check()?;
        let (distance, left) = (set.distance()?, set.left());
        tell(left_out.len(), distance);
        let holds = distance <= threshold;
        let worst = if holds || left <= fewest.max(2) { None } else { set.worst(check)? };
        let Some(row) = worst else { return Ok(Thinned { left_out, distance, left, holds }) };
        left_out.push(Left { row, distance });
        set.leave_out(row)?;
    }
}

/// The greatest of `(row, share)` that is above 0; within `tie` of it, the last row.
pub(super) fn worst_of(shares: &[(usize, f64)], tie: f64) -> Option<usize> {
    let most = shares.iter().map(|&(_, share)| share).fold(f64::NEG_INFINITY, f64::max);
    if most <= tie {
        return None;
    }
    shares.iter().filter(|&&(_, share)| share >= most - tie).map(|&(row, _)| row).max()
}
