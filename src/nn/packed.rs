//! Weights in the order that the CPU's kernels want: laid out once, not at every call. Knows no network.

use std::cell::RefCell;

use tch::{Device, Kind, TchError, Tensor};
use torch_shim::Narrowed;

use super::heap;
use super::products::{self, wide, widens};

/// Weights of a convolution or a linear layer. Where they are for inference alone they are packed at their first use on
/// the CPU, for inputs of the size that come then; other sizes still give the right result.
///
/// On a CPU that cannot multiply bf16 numbers, bf16 layers compute as [`products`] do.
pub struct Weight(RefCell<Held>);

enum Held {
    Plain(Tensor),
    ToBePacked(Tensor),
    Packed(Tensor),
    Narrowed(Narrowed),
}

impl Weight {
    /// `[outputs, inputs]`, or `[outputs, inputs, side, side]` with channels innermost in memory. `inference`: no gradient
    /// will ever be asked of a result.
    pub fn new(weight: Tensor, inference: bool) -> Weight {
        let on_cpu = weight.device() == Device::Cpu;
        let packs = inference && on_cpu && matches!(weight.kind(), Kind::Float | Kind::BFloat16);
        Weight(RefCell::new(match packs {
            true => Held::ToBePacked(weight),
            false => Held::Plain(weight),
        }))
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
            Held::Narrowed(narrowed) => {
                let (x, bias) = (wide(x)?, wide(bias)?);
                narrowed
                    .widened(|weight| torch_shim::conv2d_packed(&x, weight, &bias, stride, padding, relu))?
                    .f_to_kind(Kind::BFloat16)
            }
            Held::Plain(weight) | Held::ToBePacked(weight) => {
                let mut y = products::conv2d(x, weight, Some(bias), stride, padding)?;
                if relu { y.f_relu_() } else { Ok(y) }
            }
        }
    }

    /// `[batch, .., inputs]` to `[batch, .., outputs]`.
    pub fn linear(&self, x: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        let size = x.size();
        let places = size[1..size.len() - 1].iter().product();
        match &*self.pack(|weight| torch_shim::pack_linear(weight, size[0], places))? {
            Held::Packed(weight) => torch_shim::linear_packed(x, weight, bias),
            Held::Narrowed(narrowed) => {
                let (x, bias) = (wide(x)?, bias.map(wide).transpose()?);
                narrowed
                    .widened(|weight| torch_shim::linear_packed(&x, weight, bias.as_ref()))?
                    .f_to_kind(Kind::BFloat16)
            }
            Held::Plain(weight) | Held::ToBePacked(weight) => products::linear(x, weight, bias),
        }
    }

    fn pack(
        &self,
        how: impl FnOnce(&Tensor) -> Result<Tensor, TchError>,
    ) -> Result<std::cell::Ref<'_, Held>, TchError> {
        let packed = match &*self.0.borrow() {
            Held::ToBePacked(weight) if widens(weight) => {
                Some((Held::Narrowed(Narrowed::new(&how(&wide(weight)?)?)?), bytes(weight)))
            }
            Held::ToBePacked(weight) => Some((Held::Packed(how(weight)?), bytes(weight))),
            _ => None,
        };
        if let Some((packed, bytes)) = packed {
            *self.0.borrow_mut() = packed;
            heap::freed(bytes);
        }
        Ok(self.0.borrow())
    }
}

fn bytes(weight: &Tensor) -> usize {
    weight.numel() * weight.kind().elt_size_in_bytes()
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

    #[test]
    fn the_bits_of_a_packed_layers_row_do_not_depend_on_its_place_in_the_batch() {
        let waves = |shape: &[i64]| {
            let numel = shape.iter().product::<i64>();
            (Tensor::arange(numel, (Kind::Float, Device::Cpu)) * 0.37).sin().view(shape)
        };
        for (places, inputs, outputs) in
            [(64, 4, 32), (1, 64, 64), (16, 64, 256), (4, 64, 64), (77, 64, 64), (64, 1280, 320)]
        {
            for batch in [2, 6, 16] {
                let x = waves(&[1, places, inputs]).expand([batch, -1, -1], false).contiguous();
                let layer = Weight::new(waves(&[outputs, inputs]), true);
                let y = layer.linear(&x, Some(&waves(&[outputs]))).unwrap();
                for i in 1..batch {
                    assert_eq!(y.get(i), y.get(0), "{places} {inputs} {outputs}: {i} of {batch}");
                }
            }
        }
    }

    #[test]
    fn bf16_layers_round_what_fp32_layers_of_the_same_numbers_give() {
        let rounded = |shape: &[i64]| {
            let numel = shape.iter().product::<i64>();
            (Tensor::arange(numel, (Kind::Float, Device::Cpu)) * 0.37).sin().view(shape).to_kind(Kind::BFloat16)
        };
        let (x, weight, bias) = (rounded(&[2, 16, 6, 6]), rounded(&[24, 16, 3, 3]), rounded(&[24]));
        let float = |x: &Tensor| x.to_kind(Kind::Float);
        let expected = float(&x).conv2d(&float(&weight), Some(&float(&bias)), [1, 1], [1, 1], [1, 1], 1);
        let matrix = weight.narrow(2, 1, 1).narrow(3, 1, 1).reshape([24, 16]);
        let rows = x.permute([0, 2, 3, 1]).contiguous();
        let expected_rows = float(&rows).linear(&float(&matrix), Some(&float(&bias)));
        for inference in [true, false] {
            let near = |found: Tensor, expected: &Tensor| {
                assert_eq!(found.kind(), Kind::BFloat16);
                // Half a unit in the last place of bf16's eight bits.
                let apart = (float(&found) - expected).abs() / (expected.abs() + 0.05);
                assert!(apart.max().double_value(&[]) < 1.0 / 200.0, "{inference}");
            };
            let layer = Weight::new(weight.shallow_clone(), inference);
            for _ in 0..2 {
                near(layer.conv2d(&x, &bias, 1, 1).unwrap(), &expected);
            }
            let layer = Weight::new(matrix.shallow_clone(), inference);
            for _ in 0..2 {
                near(layer.linear(&rows, Some(&bias)).unwrap(), &expected_rows);
            }
        }
    }
}
