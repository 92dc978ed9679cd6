//! Convolutions and matrix products in the precision of their operands. Knows no layer.
//!
//! On a CPU that cannot multiply bf16 numbers, bf16 operands are multiplied as fp32 ones, which is exact, summed in fp32, as
//! such hardware does, and the sums rounded: libtorch's own bf16 kernels are ten and more times slower there. Gradients pass.

use tch::{Device, Kind, TchError, Tensor};

type Out = Result<Tensor, TchError>;

/// `x` `[batch, inputs, h, w]` convolved by `weight` `[outputs, inputs, side, side]`.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, stride: i64, padding: [i64; 2]) -> Out {
    if widens(x) {
        let (x, weight, bias) = (wide(x)?, wide(weight)?, bias.map(wide).transpose()?);
        return x.f_conv2d(&weight, bias, [stride; 2], padding, [1, 1], 1)?.f_to_kind(Kind::BFloat16);
    }
    x.f_conv2d(weight, bias, [stride; 2], padding, [1, 1], 1)
}

/// `x` `[.., inputs]` through `weight` `[outputs, inputs]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Out {
    match widens(x) {
        true => wide(x)?.f_linear(&wide(weight)?, bias.map(wide).transpose()?)?.f_to_kind(Kind::BFloat16),
        false => x.f_linear(weight, bias),
    }
}

/// `a` `[.., n, k]` times `b` `[.., k, m]`.
pub fn matmul(a: &Tensor, b: &Tensor) -> Out {
    match widens(a) {
        true => wide(a)?.f_matmul(&wide(b)?)?.f_to_kind(Kind::BFloat16),
        false => a.f_matmul(b),
    }
}

/// Whether products with these numbers are computed in fp32.
pub fn widens(x: &Tensor) -> bool {
    x.device() == Device::Cpu && x.kind() == Kind::BFloat16 && !torch_shim::computes_bf16()
}

/// The same numbers in fp32.
pub fn wide(x: &Tensor) -> Out {
    x.f_to_kind(Kind::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounded(shape: &[i64]) -> Tensor {
        let numel = shape.iter().product::<i64>();
        (Tensor::arange(numel, (Kind::Float, Device::Cpu)) * 0.37).sin().view(shape).to_kind(Kind::BFloat16)
    }

    /// Half a unit in the last place of bf16's eight bits.
    #[track_caller]
    fn near(found: &Tensor, expected: &Tensor) {
        assert_eq!(found.kind(), Kind::BFloat16);
        let apart = (wide(found).unwrap() - expected).abs() / (expected.abs() + 0.05);
        assert!(apart.max().double_value(&[]) < 1.0 / 200.0);
    }

    #[test]
    fn bf16_products_are_those_of_the_same_numbers_in_fp32_rounded() {
        let float = |x: &Tensor| x.to_kind(Kind::Float);
        let (x, weight, bias) = (rounded(&[2, 16, 6, 6]), rounded(&[24, 16, 3, 3]), rounded(&[24]));
        let expected = float(&x).conv2d(&float(&weight), Some(&float(&bias)), [2, 2], [1, 1], [1, 1], 1);
        near(&conv2d(&x, &weight, Some(&bias), 2, [1, 1]).unwrap(), &expected);
        let (rows, matrix) = (rounded(&[5, 16]), rounded(&[24, 16]));
        near(&linear(&rows, &matrix, Some(&bias)).unwrap(), &float(&rows).linear(&float(&matrix), Some(&float(&bias))));
        near(&matmul(&rows, &matrix.tr()).unwrap(), &float(&rows).matmul(&float(&matrix).tr()));
    }

    #[test]
    fn gradients_come_back_in_the_kind_of_what_they_are_of() {
        let (x, weight) = (rounded(&[2, 8, 4, 4]), rounded(&[8, 8, 3, 3]).set_requires_grad(true));
        let exact = weight.detach().to_kind(Kind::Float).set_requires_grad(true);
        conv2d(&x, &weight, None, 1, [1, 1]).unwrap().sum(Kind::Float).backward();
        conv2d(&x.to_kind(Kind::Float), &exact, None, 1, [1, 1]).unwrap().sum(Kind::Float).backward();
        near(&weight.grad(), &exact.grad());
    }
}
