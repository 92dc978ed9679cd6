//! Pure statistics in double precision. Knows no files, images or tensors.

pub mod accuracy;
pub mod bootstrap;
pub mod calibration;
pub mod difference;
pub mod distributions;
pub mod mcnemar;
pub mod permutation;
pub mod power;
mod random;
pub mod summary;
pub mod verdict;

#[cfg(test)]
mod golden;

#[cfg(test)]
mod simulate;
