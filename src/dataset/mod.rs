//! Images on disk: scan, decode, encode, cut, audit, and the drawn sample. Knows nothing of recipes, keys or tensors.

pub mod sample;
