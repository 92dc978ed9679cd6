//! Weights in the order that the CPU's kernels want: laid out once, not at every call. Knows no network.

use std::cell::RefCell;

use tch::{Device, Kind, TchError, Tensor};

use super::heap;

/// Weights of a convolution or a linear layer. Where they are for inference alone they are packed at their first use on
/// the CPU, for inputs of the size that come then; other sizes still give the right result.
pub struct Weight(RefCell<Held>);

enum Held {
    Plain(Tensor),
    ToBePacked(Tensor),
    Packed(Tensor),
}

impl Weight {
    /// `[outputs, inputs]`, or `[outputs, inputs, side, side]` with channels innermost in memory. `inference`: no gradient
    /// will ever be asked of a result.
    pub fn new(weight: Tensor, inference: bool) -> Weight {
        let packs = inference
            && weight.device() == Device::Cpu
            && (weight.kind() == Kind::Float || (weight.kind() == Kind::BFloat16 && packs_bf16()));
        Weight(RefCell::new(if packs { Held::ToBePacked(weight) } else { Held::Plain(weight) }))
    }

    /// `[batch, inputs, h, w]`, channels innermost in memory, convolved.
    pub fn conv2d(&self, x: &Tensor, bias: &Tensor, stride: i64, padding: i64) -> Result<Tensor, TchError> {
        self.convolved(x, bias, stride, [padding; 2], false)
    }

    /// The same with max(0, x) after it; `padding`: rows above and below, columns left and right.
    pub fn conv2d_relu(&self, x: &Tensor, bias: &Tensor, stride: i64, padding: [i64; 2]) -> Result<Tensor, TchError> {
        self.convolved(x, bias, stride, padding, true)
    }

    fn convolved(
        &self,
        x: &Tensor,
        bias: &Tensor,
        stride: i64,
        padding: [i64; 2],
        relu: bool,
    ) -> Result<Tensor, TchError> {
        match &*self.pack(|weight| torch_shim::pack_conv2d(weight, stride, padding, &x.size()))? {
            Held::Packed(weight) => torch_shim::conv2d_packed(x, weight, bias, stride, padding, relu),
            Held::Plain(weight) | Held::ToBePacked(weight) => {
                let mut y = x.f_conv2d(weight, Some(bias), [stride, stride], padding, [1, 1], 1)?;
                if relu { y.f_relu_() } else { Ok(y) }
            }
        }
    }

    /// `[.., inputs]` to `[.., outputs]`.
    pub fn linear(&self, x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        let size = x.size();
        let rows = size[..size.len() - 1].iter().product();
        match &*self.pack(|weight| torch_shim::pack_linear(weight, rows))? {
            Held::Packed(weight) => torch_shim::linear_packed(x, weight, bias),
            Held::Plain(weight) | Held::ToBePacked(weight) => x.f_linear(weight, bias),
        }
    }

    fn pack(
        &self,
        how: impl FnOnce(&Tensor) -> Result<Tensor, TchError>,
    ) -> Result<std::cell::Ref<'_, Held>, TchError> {
        let packed = match &*self.0.borrow() {
            Held::ToBePacked(weight) => Some(how(weight)?),
            _ => None,
        };
        if let Some(packed) = packed {
            let bytes = packed.numel() * packed.kind().elt_size_in_bytes();
            *self.0.borrow_mut() = Held::Packed(packed);
            heap::freed(bytes);
        }
        Ok(self.0.borrow())
    }
}

/// Whether oneDNN takes bf16 on this CPU; elsewhere libtorch's own kernels do, slowly.
fn packs_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    let can = is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq");
    #[cfg(not(target_arch = "x86_64"))]
    let can = false;
    can
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_and_plain_weights_give_the_same_and_only_plain_ones_gradients() {
        let x = Tensor::arange(64, (Kind::Float, Device::Cpu)).view([2, 8, 2, 2]).sin();
        let weight = Tensor::arange(128, (Kind::Float, Device::Cpu)).view([16, 8, 1, 1]).cos();
        let bias = Tensor::zeros([16], (Kind::Float, Device::Cpu));
        let (plain, packed) = (Weight::new(weight.shallow_clone(), false), Weight::new(weight.shallow_clone(), true));
        let expected = plain.conv2d(&x, &bias, 1, 0).unwrap();
        for x in [x.shallow_clone(), Tensor::cat(&[&x, &x, &x], 0)] {
            let found = packed.conv2d(&x, &bias, 1, 0).unwrap().narrow(0, 0, 2);
            assert!((found - &expected).abs().max().double_value(&[]) < 1e-5);
        }
        let rows = x.permute([0, 2, 3, 1]).contiguous();
        let matrix = weight.view([16, 8]);
        let found = Weight::new(matrix.shallow_clone(), true).linear(&rows, Some(&bias)).unwrap();
        assert!((found.permute([0, 3, 1, 2]) - &expected).abs().max().double_value(&[]) < 1e-5);

        let mut x = x.set_requires_grad(true);
        let summed = plain.conv2d(&x, &bias, 1, 0).unwrap().sum(Kind::Float);
        summed.backward();
        assert!(x.grad().abs().max().double_value(&[]) > 0.1);
        x.zero_grad();
    }
}
