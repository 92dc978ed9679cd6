//! The Inception network of FID: the TensorFlow graph of 2015-12-05 up to its 2,048 pooled features. Knows no files, no
//! resizing and no metric.
//!
//! It differs from the network of Szegedy et al. (2016) as torchvision builds it: the means of a block's pooling branch do not
//! count the padding, and the last block takes the maximum there (found by pytorch-fid, whose names are used here).
//! For inference alone: each batch norm (epsilon 1e-3, gain 1 in the graph) is folded into its convolution in f64.

#[cfg(test)]
pub mod golden;
mod layout;
mod names;

use tch::{Device, Kind, TchError, Tensor};

use super::TensorContext;
use super::packed::Weight;
use super::weights::Named;
use crate::error::Result;
use layout::{Block, Branch, Pool};
pub use names::{canonical, shapes};

/// Length of an image's features.
pub const FEATURES: usize = 2048;
/// Side of the square input in pixels.
pub const SIDE: usize = 299;

/// Of the graph's batch norms.
const EPSILON: f64 = 1e-3;

type Torch<T> = std::result::Result<T, TchError>;

/// The network.
pub struct Inception {
    blocks: Vec<Block<Unit>>,
    kind: Kind,
    device: Device,
}

/// A convolution, its batch norm folded in, and a relu.
struct Unit {
    weight: Weight,
    bias: Tensor,
    stride: i64,
    padding: [i64; 2],
}

impl Inception {
    /// From tensors in one of the published layouts (see [`canonical`]); weights and activations are of `kind`.
    ///
    /// # Errors
    /// What [`canonical`] says; libtorch's, such as memory. `what` names the file.
    pub fn new(tensors: Named, what: &str, kind: Kind, device: Device) -> Result<Inception> {
        let mut tensors = canonical(tensors, what)?;
        let mut made =
            |unit: layout::Unit| fold(&mut tensors, &unit, kind, device).doing("lay out Inception's weights");
        let mut blocks = Vec::new();
        for block in layout::layout() {
            let mut branches = Vec::new();
            for Branch { pool, units, fork } in block {
                let units = units.into_iter().map(&mut made).collect::<Result<_>>()?;
                let fork = fork.into_iter().map(&mut made).collect::<Result<_>>()?;
                branches.push(Branch { pool, units, fork });
            }
            blocks.push(branches);
        }
        Ok(Inception { blocks, kind, device })
    }

    /// Features, fp32 `[batch, 2048]` on the CPU, of `pixels` `[batch, 299, 299, 3]`, fp32, (value - 128) / 128 of values
    /// 0 to 255. Their bits depend on the batch's size and on nothing else of the batch.
    ///
    /// # Errors
    /// libtorch's, such as memory.
    pub fn features(&self, pixels: &Tensor) -> Result<Tensor> {
        let _guard = tch::no_grad_guard();
        self.forward(pixels).doing("run the Inception network")
    }

    fn forward(&self, pixels: &Tensor) -> Torch<Tensor> {
        // Channels stay innermost in memory all the way.
        let mut x = pixels.f_to_device(self.device)?.f_to_kind(self.kind)?.f_permute([0, 3, 1, 2])?;
        for block in &self.blocks {
            x = match block.as_slice() {
                [alone] => through(alone, &x)?.swap_remove(0),
                branches => {
                    let mut outputs = Vec::new();
                    for branch in branches {
                        outputs.extend(through(branch, &x)?);
                    }
                    Tensor::f_cat(&outputs, 1)?
                }
            };
        }
        x.f_mean_dim([2i64, 3].as_slice(), false, Kind::Float)?.f_to_device(Device::Cpu)
    }
}

/// A branch's outputs: one, or one a unit of its fork.
fn through(branch: &Branch<Unit>, x: &Tensor) -> Torch<Vec<Tensor>> {
    let mut x = match branch.pool {
        None => x.shallow_clone(),
        Some(Pool::Mean) => x.f_avg_pool2d([3, 3], [1, 1], [1, 1], false, false, None)?,
        Some(Pool::Max) => x.f_max_pool2d([3, 3], [1, 1], [1, 1], [1, 1], false)?,
        Some(Pool::Halve) => x.f_max_pool2d([3, 3], [2, 2], [0, 0], [1, 1], false)?,
    };
    for unit in &branch.units {
        x = unit.forward(&x)?;
    }
    match branch.fork.as_slice() {
        [] => Ok(vec![x]),
        fork => fork.iter().map(|unit| unit.forward(&x)).collect(),
    }
}

impl Unit {
    fn forward(&self, x: &Tensor) -> Torch<Tensor> {
        self.weight.conv2d_relu(x, &self.bias, self.stride, self.padding)
    }
}

/// Takes a unit's tensors and folds its batch norm: `gain (w x - mean) / (var + eps)^(1/2) + bias`.
fn fold(tensors: &mut Named, unit: &layout::Unit, kind: Kind, device: Device) -> Torch<Unit> {
    let mut take = |part: &str| {
        let tensor = tensors.remove(&format!("{}.{part}", unit.name)).expect("checked with the whole layout");
        tensor.f_to_kind(Kind::Double)
    };
    let weight = take("conv.weight")?;
    let scale = take("bn.weight")?.f_div(&(take("bn.running_var")? + EPSILON).f_sqrt()?)?;
    let bias = take("bn.bias")?.f_sub(&take("bn.running_mean")?.f_mul(&scale)?)?;
    let weight = weight.f_mul(&scale.f_view([-1, 1, 1, 1])?)?.f_to_kind(kind)?.f_to_device(device)?;
    let weight = weight.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])?;
    Ok(Unit {
        weight: Weight::new(weight, true),
        bias: bias.f_to_kind(kind)?.f_to_device(device)?,
        stride: unit.stride,
        padding: unit.padding,
    })
}
