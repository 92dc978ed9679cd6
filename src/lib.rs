//! birdaug: make for image datasets.
//!
//! A recipe says how many synthetic images each species should get; a build makes exactly those that are
//! missing, keeps each by content, filters them, writes an augmented tree, and compares classifiers.
//!
//! Layers, lowest first; a layer uses lower ones only, never a neighbour (`tests/all/layers.rs` holds it true):
//!
//! | layer | modules | |
//! |---|---|---|
//! | 0 | [`error`], [`text`], `simd` | no project imports |
//! | 1 | [`recipe`], [`dataset`], [`checkpoint`], [`stats`] | what was written; images and models on disk; pure statistics |
//! | 2 | [`plan`], [`store`], [`report`] | what must happen; bytes by key; plain results and their writers |
//! | 3 | [`nn`] | tensors begin here |
//! | 4 | [`diffusion`], [`score`], [`train`] | generators; image and set metrics; classifiers |
//! | 5 | [`run`] | the plan carried out |
//! | 6 | [`cli`] | what was typed |

#[macro_use]
mod simd;
pub mod error;
pub mod text;

pub mod checkpoint;
pub mod dataset;
pub mod recipe;
pub mod stats;

pub mod plan;
pub mod report;
pub mod store;

pub mod nn;

pub mod diffusion;
pub mod score;
pub mod train;

pub mod run;

pub mod cli;
