//! Fits and applies classifiers. Knows no recipe, plan or store: takes plain values, photos behind a trait, and a supervisor.
//!
//! A fit is a function of its [`Config`], photos and thread count: batch order, crops and flips come from the seed and an
//! index, never from a thread's turn, and every arm takes the same number of steps.

mod augment;
mod batches;
mod checkpoint;
mod fit;
mod order;
mod photos;
mod predict;
mod schedule;
#[cfg(test)]
mod tests;

pub use augment::{Augment, Rect, center, resize};
pub use fit::{Config, Fitted, HistoryRow, fit};
pub use order::Sampling;
pub use photos::{Kept, Photos};
pub use predict::{Classifier, Predictions};
