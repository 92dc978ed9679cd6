//! Metrics of images and of sets of images. Knows no recipe, plan or store: takes plain values.

pub mod contribution;
pub mod features;
pub mod floor;
pub mod frechet;
pub mod inception;
pub mod interval;
pub mod kid;
pub mod ms_ssim;
pub mod prdc;
pub mod resize;
pub mod ssim;

#[cfg(test)]
mod golden;
