//! Stable Diffusion 1.x and 2.x (Rombach et al. 2022): the networks over a checkpoint's tensors. Knows no recipe, plan or
//! store, and touches no disk.

pub mod adapters;
mod blocks;
pub mod clip;
mod guide;
mod layers;
pub mod load;
pub mod lora;
pub mod lora_fit;
mod lora_names;
mod memory;
mod pieces;
pub mod pipeline;
mod transformer;
pub mod unet;
pub mod vae;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod lora_fit_tests;
#[cfg(test)]
mod lora_tests;
#[cfg(test)]
mod speed_tests;
#[cfg(test)]
mod tests;
