//! Metrics of images and of sets of images. Knows no recipe, plan or store: takes plain values.

pub mod features;
pub mod ssim;
