//! What to say when memory runs out. Knows no network.

use crate::error::Error;

/// An error for want of memory as one that names the largest batch that fits, found by trying: `fits` takes a batch. Any
/// other error stays as it is.
pub fn explain(error: Error, batch: usize, (width, height): (usize, usize), fits: impl Fn(usize) -> bool) -> Error {
    let Error::Tensor { doing, message } = &error else { return error };
    let lower = message.to_lowercase();
    if !(lower.contains("out of memory") || lower.contains("not enough memory") || lower.contains("can't allocate")) {
        return error;
    }
    let smaller = std::iter::successors(Some(batch / 2), |&batch| Some(batch / 2)).take_while(|&batch| batch > 0);
    let help = match smaller.into_iter().find(|&batch| fits(batch)) {
        Some(found) => format!("`batch = {found}` fits at this size (the batch is part of an image's key)"),
        None => "not even one image fits at this size: take a smaller `size`, or fewer bytes by `precision = \"bf16\"`"
            .to_string(),
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
        explain(error, 8, (512, 512), |batch| batch <= most).to_string()
    }

    #[test]
    fn want_of_memory_names_the_batch_that_fits_and_other_errors_stay() {
        assert_eq!(
            said("CUDA out of memory. Tried to allocate 2.00 GiB", 3),
            "out of memory with a batch of 8 at 512x512 (could not take a step of the walk: CUDA out of memory. Tried to \
             allocate 2.00 GiB)\n  help: `batch = 2` fits at this size (the batch is part of an image's key)"
        );
        assert!(said("CUDA out of memory", 0).contains("not even one image fits"));
        assert_eq!(said("shapes differ", 3), "could not take a step of the walk: shapes differ");
    }
}
