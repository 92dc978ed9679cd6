//! Stable Diffusion checkpoints on disk: configurations and tensors as plain values. Knows no libtorch.

pub mod config;
pub mod tensors;
