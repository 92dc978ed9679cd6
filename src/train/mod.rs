//! Fits and applies classifiers. Knows no recipe, plan or store: takes plain values, photos behind a trait, and a supervisor.
//!
//! A fit is a function of its [`Config`], photos and thread count: batch order, crops and flips come from the seed and an
//! index, never from a thread's turn, and every arm takes the same number of steps.

mod augment;
mod batches;
mod checkpoint;
mod fit;
mod mix;
mod order;
mod photos;
mod pixels;
mod predict;
mod schedule;
#[cfg(test)]
mod speed_tests;
#[cfg(test)]
mod tests;
mod vary;

pub use augment::{Augment, EVALUATED, Rect, center, resize};
pub use batches::{DEVIATION, MEAN};
pub use fit::{Config, Fitted, HistoryRow, Start, fit, refuse_unfit, row_of_result};
pub use mix::Mix;
pub use order::{Sampling, Synthetic};
pub use photos::{Kept, Photos};
pub use predict::{Classifier, Predictions};
pub use vary::{Jitter, Policy};
