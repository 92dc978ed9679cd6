//! Plain results and their writers: one struct, one writer a format. Reads no cache and computes no statistic
//! beyond a mean over seeds.

pub mod data;

pub use data::*;
