//! Photos gathered into the network's input, one batch ahead of the network. Knows no loss and no weights.

use std::ops::Range;
use std::sync::mpsc::sync_channel;

use image::RgbImage;
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use super::augment::{Augment, center};
use super::order::Order;
use super::photos::Photos;
use crate::error::{Error, Result};
use crate::nn::TensorContext;
use crate::nn::noise::Stream;

/// Mean and standard deviation of ImageNet's red, green and blue in [0, 1], which torchvision's weights expect.
const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const DEVIATION: [f64; 3] = [0.229, 0.224, 0.225];

/// Batches that may wait for the network.
const AHEAD: usize = 3;

/// Square views of photos, bytes in `[batch, size, size, 3]`, and their classes.
#[derive(PartialEq)]
pub struct Batch {
    size: usize,
    pixels: Vec<u8>,
    labels: Vec<i64>,
}

impl Batch {
    fn gather(size: usize, views: Vec<Result<(RgbImage, usize)>>) -> Result<Batch> {
        let mut batch = Batch { size, pixels: Vec::new(), labels: Vec::new() };
        for view in views {
            let (view, class) = view?;
            batch.pixels.extend_from_slice(view.as_raw());
            batch.labels.push(class as i64);
        }
        Ok(batch)
    }

    /// The training batch of `step`: each place draws its own crop and flip.
    pub fn train(
        photos: &dyn Photos,
        order: &Order,
        augment: &Augment,
        seed: u64,
        step: usize,
        shape: Shape,
    ) -> Result<Batch> {
        let chosen = order.batch(step, shape.batch);
        let view = |(place, &i): (usize, &usize)| {
            let mut stream = Stream::indexed(seed, "augment", &[step as u64, place as u64]);
            Ok((augment.apply(&mut stream, &photos.load(i)?, shape.size as u32), photos.class(i)))
        };
        Batch::gather(shape.size, chosen.par_iter().enumerate().map(view).collect())
    }

    /// Evaluation views of the photos in `range`.
    pub fn eval(photos: &dyn Photos, range: Range<usize>, size: usize) -> Result<Batch> {
        let view = |i| Ok((center(&photos.load(i)?, size as u32), photos.class(i)));
        Batch::gather(size, range.into_par_iter().map(view).collect())
    }

    /// Photos in it.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Fills up to `batch` photos with black ones of class 0, so that every run of the network has the same shape.
    pub fn pad(&mut self, batch: usize) {
        self.pixels.resize(batch * self.size * self.size * 3, 0);
        self.labels.resize(batch, 0);
    }

    /// Normalised input `[batch, 3, size, size]` in `kind`, channels last in memory.
    pub fn input(&self, kind: Kind, device: Device) -> Result<Tensor> {
        let side = self.size as i64;
        let make = || {
            let bytes = Tensor::f_from_data_size(&self.pixels, &[self.len() as i64, side, side, 3], Kind::Uint8)?;
            let constants = |values: [f64; 3]| Tensor::from_slice(&values).to_kind(Kind::Float).f_to_device(device);
            let scale = constants(DEVIATION.map(|d| 1.0 / (255.0 * d)))?;
            let shift = constants([0, 1, 2].map(|c| -MEAN[c] / DEVIATION[c]))?;
            let x = bytes.f_to_device(device)?.f_to_kind(Kind::Float)?.f_mul_(&scale)?.f_add_(&shift)?;
            x.f_permute([0, 3, 1, 2])?.f_to_kind(kind)
        };
        make().doing("move a batch of photos to the device")
    }

    /// Classes, i64 `[batch]`.
    pub fn targets(&self, device: Device) -> Result<Tensor> {
        Tensor::f_from_slice(&self.labels).and_then(|t| t.f_to_device(device)).doing("move labels to the device")
    }
}

/// Photos a batch and pixels a side.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub batch: usize,
    pub size: usize,
}

/// Runs `body` while a thread makes the batches of `range` in order, a few ahead; `body` takes them one by one.
pub fn ahead<T>(
    range: Range<usize>,
    make: impl Fn(usize) -> Result<Batch> + Sync,
    body: impl FnOnce(&mut dyn FnMut() -> Result<Batch>) -> Result<T>,
) -> Result<T> {
    std::thread::scope(|scope| {
        let (send, receive) = sync_channel(AHEAD);
        let make = &make;
        scope.spawn(move || {
            for i in range {
                let batch = make(i);
                let failed = batch.is_err();
                if send.send(batch).is_err() || failed {
                    break;
                }
            }
        });
        let mut next =
            move || receive.recv().unwrap_or_else(|_| Err(Error::input("the photos ran out before the steps")));
        body(&mut next)
    })
}
