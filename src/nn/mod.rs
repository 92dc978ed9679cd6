//! Tensors begin here: device, noise, weights, and the networks' building blocks.

pub mod adamw;
pub mod blocks;
pub mod device;
pub mod ema;
pub mod heap;
pub mod inception;
pub mod noise;
pub mod norm_silu;
pub mod optimiser;
pub mod packed;
pub mod params;
pub mod products;
pub mod resnet;
pub mod slices;
pub mod supervise;
pub mod weights;

#[cfg(test)]
pub mod golden;

use crate::error::{Error, Result};

/// Turns a libtorch error into [`Error::Tensor`] with the first line of its message.
pub trait TensorContext<T> {
    /// `doing` completes "could not ...": "load the generator's weights".
    fn doing(self, doing: &str) -> Result<T>;
}

impl<T> TensorContext<T> for std::result::Result<T, tch::TchError> {
    fn doing(self, doing: &str) -> Result<T> {
        self.map_err(|error| {
            let text = error.to_string();
            let message = text.lines().next().unwrap_or("libtorch gave no reason").to_string();
            Error::Tensor { doing: doing.to_string(), message }
        })
    }
}
