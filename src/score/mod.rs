//! Metrics of images and of sets of images. Knows no recipe, plan or store: takes plain values.

pub mod contribution;
pub mod features;
pub mod floor;
pub mod frechet;
pub mod frechet_thinning;
pub mod gates;
pub mod inception;
pub mod interval;
pub mod kid;
pub mod kid_thinning;
pub mod ms_ssim;
pub mod prdc;
pub mod realism;
pub mod resize;
pub mod ssim;
mod ssim_rows;
pub mod thin;

#[cfg(test)]
mod golden;
