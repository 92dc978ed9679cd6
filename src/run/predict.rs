//! Asks a saved classifier about images from anywhere. Knows no recipe and no cache.

use std::path::{Path, PathBuf};

use image::RgbImage;
use rayon::prelude::*;

use crate::dataset::decode;
use crate::error::Result;
use crate::nn::device;
use crate::train::Photos;

use super::saved;
use super::score::CLASSIFIER_BATCH;
use super::stop;

/// How many species an answer names.
const TOP: usize = 5;
/// Images that are in memory at once.
const CHUNK: usize = 64;

/// What a classifier says of one image.
#[derive(Debug)]
pub struct Answer {
    pub path: PathBuf,
    /// The most probable species, at most five, and their probabilities; of equals the first. Or why the file is no image.
    pub top: Result<Vec<(String, f64)>>,
}

/// Asks the classifier in `folder` about each image, in their order, on a device (`auto`, `cpu`, ...). A file that cannot
/// be read is an answer of its own.
///
/// # Errors
/// What opening the classifier says; what libtorch says.
pub fn predict(folder: &Path, images: &[PathBuf], device: &str) -> Result<Vec<Answer>> {
    let (classifier, said) = saved::open(folder, device::select(device)?)?;
    let mut answers = Vec::with_capacity(images.len());
    for chunk in images.chunks(CHUNK) {
        stop::check()?;
        let (mut read, mut tops) = (Vec::new(), Vec::new());
        for photo in chunk.par_iter().map(|path| decode::photo(path)).collect::<Vec<_>>() {
            tops.push(photo.map(|photo| {
                read.push(photo);
                read.len() - 1
            }));
        }
        let found = classifier.predict(&Memory(read), CLASSIFIER_BATCH)?;
        for (path, top) in chunk.iter().zip(tops) {
            let top = top.map(|row| {
                let row = found.row(row);
                let mut order: Vec<usize> = (0..row.len()).collect();
                order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
                order.iter().take(TOP).map(|&class| (said.classes[class].clone(), f64::from(row[class]))).collect()
            });
            answers.push(Answer { path: path.clone(), top });
        }
    }
    Ok(answers)
}

/// Decoded images; their classes are not known.
struct Memory(Vec<RgbImage>);

impl Photos for Memory {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn class(&self, _: usize) -> usize {
        0
    }

    fn load(&self, i: usize) -> Result<RgbImage> {
        Ok(self.0[i].clone())
    }
}
