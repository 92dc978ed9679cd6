//! What to say when memory runs out. Knows no network.

use tch::TchError;

use crate::error::Error;

/// What always takes less of a card's memory.
pub const LESS: &str = "`precision = \"bf16\"` takes half of fp32's memory, `--device cpu` the machine's own";

/// Whether libtorch wanted more memory than there was.
pub fn is_want(error: &Error) -> bool {
    matches!(error, Error::Tensor { message, .. } if says_want(message))
}

/// As [`is_want`], of libtorch's own error.
pub fn is_wanted_by(error: &TchError) -> bool {
    says_want(&error.to_string())
}

fn says_want(message: &str) -> bool {
    let lower = message.to_lowercase();
    ["out of memory", "not enough memory", "can't allocate"].iter().any(|words| lower.contains(words))
}

/// An error for want of memory that no other batch would mend as one that says so, with what to do instead. Any other error
/// stays as it is.
pub fn plainly(error: Error, help: &str) -> Error {
    match &error {
        Error::Tensor { doing, message } if is_want(&error) => {
            Error::input_help(format!("out of memory (could not {doing}: {message})"), help)
        }
        _ => error,
    }
}

/// Sides that are tried where not even one image fits: shares of the side that was asked for, in eighths.
const SMALLER: [usize; 4] = [6, 4, 3, 2];

/// An error for want of memory as one that names the largest batch that fits at this size, or else the largest size at
/// which one image does, found by trying: `fits` takes a batch, a width and a height. `aside`: what to know of another
/// batch. Any other error stays as it is.
pub fn explain(
    error: Error,
    batch: usize,
    (width, height): (usize, usize),
    aside: &str,
    fits: impl Fn(usize, (usize, usize)) -> bool,
) -> Error {
    if !is_want(&error) {
        return error;
    }
    let Error::Tensor { doing, message } = &error else { return error };
    let smaller = std::iter::successors(Some(batch / 2), |&batch| Some(batch / 2)).take_while(|&batch| batch > 0);
    let help = match smaller.into_iter().find(|&batch| fits(batch, (width, height))) {
        Some(found) => format!("`batch = {found}` fits at this size ({aside})"),
        None => {
            let share = |side: usize, eighths: usize| (side * eighths / 512 * 64).max(64);
            let mut sizes = SMALLER.iter().map(|&eighths| (share(width, eighths), share(height, eighths)));
            match sizes.find(|&size| fits(1, size)) {
                Some((w, h)) => {
                    format!("`batch = 1` at {w}x{h} fits; `precision = \"bf16\"` takes half of fp32's memory")
                }
                None => format!("not even one small image fits: {LESS}"),
            }
        }
    };
    Error::input_help(
        format!("out of memory with a batch of {batch} at {width}x{height} (could not {doing}: {message})"),
        help,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(message: &str, most: usize) -> String {
        let error = Error::Tensor { doing: "take a step of the walk".to_string(), message: message.to_string() };
        let fits = |batch: usize, (w, h): (usize, usize)| batch * w * h <= most;
        explain(error, 8, (768, 512), "the batch is part of an image's key", fits).to_string()
    }

    #[test]
    fn want_of_memory_names_the_batch_and_the_size_that_fit_and_other_errors_stay() {
        assert_eq!(
            said("CUDA out of memory. Tried to allocate 2.00 GiB", 3 * 768 * 512),
            "out of memory with a batch of 8 at 768x512 (could not take a step of the walk: CUDA out of memory. Tried to \
             allocate 2.00 GiB)\n  help: `batch = 2` fits at this size (the batch is part of an image's key)"
        );
        assert_eq!(
            said("CUDA out of memory", 512 * 300),
            "out of memory with a batch of 8 at 768x512 (could not take a step of the walk: CUDA out of memory)\n  help: \
             `batch = 1` at 384x256 fits; `precision = \"bf16\"` takes half of fp32's memory"
        );
        assert_eq!(
            said("DefaultCPUAllocator: can't allocate memory", 0),
            "out of memory with a batch of 8 at 768x512 (could not take a step of the walk: DefaultCPUAllocator: can't \
             allocate memory)\n  help: not even one small image fits: `precision = \"bf16\"` takes half of fp32's memory, \
             `--device cpu` the machine's own"
        );
        let error = |message: &str| Error::Tensor { doing: "encode a photo".to_string(), message: message.to_string() };
        assert_eq!(
            plainly(error("CUDA out of memory"), "a smaller `size`").to_string(),
            "out of memory (could not encode a photo: CUDA out of memory)\n  help: a smaller `size`"
        );
        assert_eq!(plainly(error("shapes differ"), "x").to_string(), "could not encode a photo: shapes differ");
        assert_eq!(said("shapes differ", 3), "could not take a step of the walk: shapes differ");
    }
}
