//! The few calls of libtorch that tch does not have. A crate of its own, since its C++ is slow to compile and hardly ever
//! changes.

use std::ffi::{CStr, c_char};

use tch::{TchError, Tensor};
use torch_sys::C_tensor;

unsafe extern "C" {
    fn shim_error() -> *const c_char;
    fn shim_conv2d_packed(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        stride: i64,
        padding_h: i64,
        padding_w: i64,
        relu: bool,
    ) -> *mut C_tensor;
    fn shim_pack_linear(weight: *const C_tensor, rows: i64) -> *mut C_tensor;
    fn shim_linear_packed(x: *const C_tensor, weight: *const C_tensor, bias: *const C_tensor) -> *mut C_tensor;
    fn shim_set_reproducible();
}

/// A convolution's weights `[outputs, inputs, h, w]` on the CPU, laid out as oneDNN wants them for inputs of this size.
///
/// # Errors
/// What libtorch says.
pub fn pack_conv2d(weight: &Tensor, stride: i64, padding: [i64; 2], input: &[i64]) -> Result<Tensor, TchError> {
    weight.f_to_mkldnn(None)?.f_mkldnn_reorder_conv2d_weight(padding, [stride, stride], [1, 1], 1, Some(input))
}

/// A convolution by weights of [`pack_conv2d`], and max(0, x) of it where `relu`: `[batch, inputs, h, w]` to
/// `[batch, outputs, ..]`, without gradients. `padding`: rows above and below, columns left and right.
///
/// # Errors
/// What libtorch says.
pub fn conv2d_packed(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    stride: i64,
    padding: [i64; 2],
    relu: bool,
) -> Result<Tensor, TchError> {
    let [h, w] = padding;
    // SAFETY: the tensors live through the call, which takes its own references.
    taken(unsafe { shim_conv2d_packed(x.as_ptr(), weight.as_ptr(), bias.as_ptr(), stride, h, w, relu) })
}

/// A linear layer's weights `[outputs, inputs]` on the CPU, laid out as oneDNN wants them for about so many rows.
///
/// # Errors
/// What libtorch says.
pub fn pack_linear(weight: &Tensor, rows: i64) -> Result<Tensor, TchError> {
    // SAFETY: as above.
    taken(unsafe { shim_pack_linear(weight.as_ptr(), rows) })
}

/// An affine map by weights of [`pack_linear`]: `[.., inputs]` to `[.., outputs]`, without gradients.
///
/// # Errors
/// What libtorch says.
pub fn linear_packed(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
    let bias = bias.map_or(std::ptr::null(), Tensor::as_ptr);
    // SAFETY: as above; no bias is a null pointer, which the other side looks for.
    taken(unsafe { shim_linear_packed(x.as_ptr(), weight.as_ptr(), bias) })
}

/// The same bits from the same inputs, as far as CUDA's libraries can: no TF32, no timing of algorithms, deterministic
/// ones where there is a choice.
pub fn set_reproducible() {
    // SAFETY: sets plain values of libtorch's context.
    unsafe { shim_set_reproducible() }
}

fn taken(tensor: *mut C_tensor) -> Result<Tensor, TchError> {
    if tensor.is_null() {
        // SAFETY: the text belongs to this thread and lives until its next failing call.
        let message = unsafe { CStr::from_ptr(shim_error()) }.to_string_lossy().into_owned();
        return Err(TchError::Torch(message));
    }
    // SAFETY: a new tensor that nobody else holds.
    Ok(unsafe { Tensor::from_ptr(tensor) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn wave(shape: &[i64], kind: Kind) -> Tensor {
        let numel = shape.iter().product::<i64>();
        (Tensor::arange(numel, (Kind::Float, Device::Cpu)) * 0.37).sin().view(shape).to_kind(kind)
    }

    #[test]
    fn packed_weights_give_what_plain_ones_give() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let (x, weight, bias) = (wave(&[2, 16, 8, 8], kind), wave(&[32, 16, 3, 3], kind), wave(&[32], kind));
            for (padding, relu) in [([1, 1], false), ([0, 2], true)] {
                let plain = x.conv2d(&weight, Some(&bias), [2, 2], padding, [1, 1], 1);
                let plain = if relu { plain.relu() } else { plain };
                let packed = pack_conv2d(&weight, 2, padding, &x.size()).unwrap();
                let ours = conv2d_packed(&x, &packed, &bias, 2, padding, relu).unwrap();
                assert!((ours - plain).abs().max().double_value(&[]) < 0.05);
            }

            let (x, weight, bias) = (wave(&[3, 5, 16], kind), wave(&[32, 16], kind), wave(&[32], kind));
            let packed = pack_linear(&weight, 15).unwrap();
            for bias in [Some(&bias), None] {
                let ours = linear_packed(&x, &packed, bias).unwrap();
                assert!((ours - x.linear(&weight, bias)).abs().max().double_value(&[]) < 0.05);
            }
        }
    }

    #[test]
    fn what_libtorch_refuses_is_an_error_with_its_words() {
        let (x, weight) = (wave(&[3, 7], Kind::Float), wave(&[4, 5], Kind::Float));
        assert!(linear_packed(&x, &weight, None).is_err());
    }
}
