//! A tensor's numbers as a slice. Knows nothing of what is done with them.

use tch::Tensor;

/// Whether a tensor fills its memory without gaps, as it is or channels last.
pub fn dense(tensor: &Tensor) -> bool {
    tensor.is_contiguous() || (tensor.dim() == 4 && tensor.permute([0, 2, 3, 1]).is_contiguous())
}

/// The numbers in the order in which they lie in memory.
///
/// # Safety
/// The tensor is [`dense`], of numbers as `T` has them, on the CPU, and lives longer than the slice.
pub unsafe fn of<'a, T>(tensor: &Tensor) -> &'a [T] {
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr() as *const T, tensor.numel()) }
}

/// # Safety
/// As [`of`], and nobody else reads or writes the memory meanwhile.
pub unsafe fn of_mut<'a, T>(tensor: &Tensor) -> &'a mut [T] {
    // SAFETY: as above.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr() as *mut T, tensor.numel()) }
}
