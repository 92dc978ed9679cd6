//! Images on disk: scan, decode, encode, cut, audit, and the drawn sample. Knows nothing of recipes, keys or tensors.

pub mod alike;
pub mod audit;
pub mod cut;
pub mod decode;
pub mod digest;
pub mod encoding;
pub mod folder;
pub mod hashing;
mod jpeg;
mod listing;
mod names;
pub mod pillow;
pub mod sample;
pub mod scan;
pub mod stat_index;

pub use names::rename_text;
pub use scan::{Dataset, Photo, ScanOptions, Split, SplitFolders, misspelt, scan};
