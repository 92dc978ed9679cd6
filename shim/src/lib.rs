//! The few calls of libtorch that tch does not have. A crate of its own, since its C++ is slow to compile and hardly ever
//! changes.

use std::cell::RefCell;
use std::ffi::{CStr, c_char};
use std::sync::OnceLock;

use tch::{Device, Kind, TchError, Tensor};
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
    fn shim_set_reproducible();
    fn shim_computes_bf16() -> bool;
    fn shim_packed_numbers(packed: *const C_tensor) -> *mut C_tensor;
    fn shim_packed_layout(packed: *const C_tensor) -> *mut C_tensor;
    fn shim_packed_of(numbers: *const C_tensor, layout: *const C_tensor, shape: *const i64, dims: i64)
    -> *mut C_tensor;
}

/// Whether oneDNN computes in bf16 on this CPU. Where it does not, libtorch's own kernels do, many times slower than fp32's,
/// and bf16 weights cannot be packed.
pub fn computes_bf16() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    // SAFETY: asks oneDNN about the CPU.
    *ANSWER.get_or_init(|| unsafe { shim_computes_bf16() })
}

/// Packed fp32 weights kept in bf16, half the memory: exact where the weights were bf16 before.
pub struct Narrowed {
    /// bf16, in the packed order.
    numbers: Tensor,
    /// oneDNN's own description of that order.
    layout: Tensor,
    shape: Vec<i64>,
}

impl Narrowed {
    /// `packed`: fp32 weights of [`pack_conv2d`] or [`pack_linear`].
    ///
    /// # Errors
    /// What libtorch says.
    pub fn new(packed: &Tensor) -> Result<Narrowed, TchError> {
        // SAFETY: the tensor lives through both calls, which copy what they return.
        let (numbers, layout) =
            unsafe { (taken(shim_packed_numbers(packed.as_ptr()))?, taken(shim_packed_layout(packed.as_ptr()))?) };
        Ok(Narrowed { numbers, layout, shape: packed.size() })
    }

    /// Calls `with` with the packed fp32 weights. They lie in memory that the thread's next call uses again: `with` must not
    /// keep them.
    ///
    /// # Errors
    /// What libtorch or `with` says.
    pub fn widened<T>(&self, with: impl FnOnce(&Tensor) -> Result<T, TchError>) -> Result<T, TchError> {
        thread_local! {
            static ROOM: RefCell<Option<Tensor>> = const { RefCell::new(None) };
        }
        ROOM.with_borrow_mut(|room| {
            let count = self.numbers.numel() as i64;
            let enough = room.as_ref().is_some_and(|room| room.numel() as i64 >= count);
            if !enough {
                *room = None;
                *room = Some(Tensor::f_empty([count], (Kind::Float, Device::Cpu))?);
            }
            let room = room.as_ref().expect("it was just made");
            let mut numbers = room.f_narrow(0, 0, count)?;
            numbers.f_copy_(&self.numbers)?;
            // SAFETY: the numbers and the layout outlive the tensor made over them, which ends with this block.
            let packed = taken(unsafe {
                let shape = self.shape.as_slice();
                shim_packed_of(numbers.as_ptr(), self.layout.as_ptr(), shape.as_ptr(), shape.len() as i64)
            })?;
            with(&packed)
        })
    }
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
    convolved(x, weight, Some(bias), stride, padding, relu)
}

fn convolved(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    stride: i64,
    [h, w]: [i64; 2],
    relu: bool,
) -> Result<Tensor, TchError> {
    let bias = bias.map_or(std::ptr::null(), Tensor::as_ptr);
    // SAFETY: the tensors live through the call, which takes its own references; no bias is a null pointer, which the other
    // side looks for.
    taken(unsafe { shim_conv2d_packed(x.as_ptr(), weight.as_ptr(), bias, stride, h, w, relu) })
}

/// A linear layer's weights `[outputs, inputs]` on the CPU, laid out as oneDNN wants them for inputs `[batch, places, inputs]`:
/// those of a 1x1 convolution. oneDNN's products of matrices cut all rows of a batch into blocks, and on some CPUs the rows of
/// a last, smaller block are summed in another order: then a row's bits depend on where in the batch it stands. Convolutions
/// go through one image after the other.
///
/// # Errors
/// What libtorch says.
pub fn pack_linear(weight: &Tensor, batch: i64, places: i64) -> Result<Tensor, TchError> {
    let (outputs, inputs) = weight.size2()?;
    pack_conv2d(&weight.f_reshape([outputs, inputs, 1, 1])?, 1, [0, 0], &[batch, inputs, places, 1])
}

/// An affine map by weights of [`pack_linear`]: `[batch, .., inputs]` to `[batch, .., outputs]`, without gradients; a row's bits
/// do not depend on the others'.
///
/// # Errors
/// What libtorch says.
pub fn linear_packed(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
    let mut size = x.size();
    let (batch, inputs) = (size[0], size[size.len() - 1]);
    let image = x.f_reshape([batch, -1, 1, inputs])?.f_permute([0, 3, 1, 2])?;
    let y = convolved(&image, weight, bias, 1, [0, 0], false)?;
    *size.last_mut().expect("a tensor of two dimensions or more") = y.size()[1];
    y.f_permute([0, 2, 3, 1])?.f_reshape(size)
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

    fn wave(shape: &[i64], kind: Kind) -> Tensor {
        let numel = shape.iter().product::<i64>();
        (Tensor::arange(numel, (Kind::Float, Device::Cpu)) * 0.37).sin().view(shape).to_kind(kind)
    }

    #[test]
    fn packed_weights_give_what_plain_ones_give() {
        for kind in [Kind::Float, Kind::BFloat16] {
            if kind == Kind::BFloat16 && !computes_bf16() {
                continue;
            }
            let (x, weight, bias) = (wave(&[2, 16, 8, 8], kind), wave(&[32, 16, 3, 3], kind), wave(&[32], kind));
            for (padding, relu) in [([1, 1], false), ([0, 2], true)] {
                let plain = x.conv2d(&weight, Some(&bias), [2, 2], padding, [1, 1], 1);
                let plain = if relu { plain.relu() } else { plain };
                let packed = pack_conv2d(&weight, 2, padding, &x.size()).unwrap();
                let ours = conv2d_packed(&x, &packed, &bias, 2, padding, relu).unwrap();
                assert!((ours - plain).abs().max().double_value(&[]) < 0.05);
            }

            let (x, weight, bias) = (wave(&[3, 5, 16], kind), wave(&[32, 16], kind), wave(&[32], kind));
            let packed = pack_linear(&weight, 3, 5).unwrap();
            for bias in [Some(&bias), None] {
                let ours = linear_packed(&x, &packed, bias).unwrap();
                assert!((ours - x.linear(&weight, bias)).abs().max().double_value(&[]) < 0.05);
            }
        }
    }

    #[test]
    fn packed_weights_of_bf16_numbers_survive_half_the_memory_bit_for_bit() {
        for side in [8, 5] {
            let rounded = |shape: &[i64]| wave(shape, Kind::BFloat16).to_kind(Kind::Float);
            let (x, weight, bias) = (rounded(&[2, 16, side, side]), rounded(&[24, 16, 3, 3]), rounded(&[24]));
            let packed = pack_conv2d(&weight, 1, [1, 1], &x.size()).unwrap();
            let narrowed = Narrowed::new(&packed).unwrap();
            let convolved = |weight: &Tensor| conv2d_packed(&x, weight, &bias, 1, [1, 1], false);
            let expected = convolved(&packed).unwrap();
            // Another layer's weights lie in the same room between.
            let matrix = rounded(&[40, 16]);
            let other = Narrowed::new(&pack_linear(&matrix, 6, 1).unwrap()).unwrap();
            let rows = rounded(&[6, 16]);
            let mapped = other.widened(|weight| linear_packed(&rows, weight, None)).unwrap();
            assert!((mapped - rows.linear(&matrix, None::<&Tensor>)).abs().max().double_value(&[]) < 1e-4);
            assert_eq!(narrowed.widened(convolved).unwrap(), expected);
        }
    }

    #[test]
    fn what_libtorch_refuses_is_an_error_with_its_words() {
        let (x, weight) = (wave(&[3, 7], Kind::Float), wave(&[4, 5], Kind::Float));
        assert!(linear_packed(&x, &weight, None).is_err());
    }
}
