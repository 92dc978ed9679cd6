//! Photos gathered into the network's input, one batch ahead of the network. Knows no loss and no weights.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::mpsc::sync_channel;

use image::RgbImage;
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use super::augment::{Augment, Rect, center};
use super::order::Order;
use super::photos::Photos;
use crate::error::{Error, Result};
use crate::nn::TensorContext;
use crate::nn::noise::Stream;

/// Mean and standard deviation of ImageNet's red, green and blue in [0, 1], which torchvision's weights expect.
pub const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
pub const DEVIATION: [f64; 3] = [0.229, 0.224, 0.225];

/// Batches that may wait for the network.
const AHEAD: usize = 3;

/// Square views of photos, bytes in `[batch, size, size, 3]`, and their classes.
#[derive(PartialEq)]
pub struct Batch {
    size: usize,
    pixels: Vec<u8>,
    labels: Vec<i64>,
    /// A place and the rectangle of its view that is zero after normalisation.
    erased: Vec<(usize, Rect)>,
    /// Whether each place holds a synthetic photo; empty: none does.
    synthetic: Vec<bool>,
}

/// One photo's part of a batch: view, class, what is erased.
type View = (RgbImage, usize, Option<Rect>);

impl Batch {
    fn gather(size: usize, views: Vec<Result<View>>) -> Result<Batch> {
        let pixels = Vec::with_capacity(views.len() * size * size * 3);
        let mut batch = Batch { size, pixels, labels: Vec::new(), erased: Vec::new(), synthetic: Vec::new() };
        for (place, view) in views.into_iter().enumerate() {
            let (view, class, erased) = view?;
            batch.pixels.extend_from_slice(view.as_raw());
            batch.labels.push(class as i64);
            batch.erased.extend(erased.map(|rect| (place, rect)));
        }
        Ok(batch)
    }

    /// The training batch of `step`: each place draws its own crop and flip, and whatever else varies its photo.
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
            let (view, erased) = photos.with(i, &mut |photo| augment.apply(&mut stream, photo, shape.size as u32))?;
            Ok((view, photos.class(i), erased))
        };
        let mut batch = Batch::gather(shape.size, chosen.par_iter().enumerate().map(view).collect())?;
        batch.synthetic = chosen.iter().map(|&i| order.is_synthetic(i)).collect();
        Ok(batch)
    }

    /// Evaluation views of the photos in `range`.
    pub fn eval(photos: &dyn Photos, range: Range<usize>, size: usize) -> Result<Batch> {
        let view = |i| {
            let (view, _) = photos.with(i, &mut |photo| (center(photo, size as u32), None))?;
            Ok((view, photos.class(i), None))
        };
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
            for &(place, rect) in &self.erased {
                let part = x.f_narrow(0, place as i64, 1)?.f_narrow(1, i64::from(rect.top), i64::from(rect.height))?;
                let _ = part.f_narrow(2, i64::from(rect.left), i64::from(rect.width))?.f_zero_()?;
            }
            x.f_permute([0, 3, 1, 2])?.f_to_kind(kind)
        };
        make().doing("move a batch of photos to the device")
    }

    /// How much each photo counts, fp32 `[batch]`, where a synthetic one counts `synthetic`; `None`: all the same.
    pub fn weights(&self, synthetic: f64, device: Device) -> Result<Option<Tensor>> {
        if synthetic == 1.0 || !self.synthetic.contains(&true) {
            return Ok(None);
        }
        let weights: Vec<f32> = self.synthetic.iter().map(|&is| if is { synthetic as f32 } else { 1.0 }).collect();
        Tensor::f_from_slice(&weights).and_then(|t| t.f_to_device(device)).map(Some).doing("move weights to the device")
    }

    /// Classes, i64 `[batch]`.
    pub fn targets(&self, device: Device) -> Result<Tensor> {
        Tensor::f_from_slice(&self.labels).and_then(|t| t.f_to_device(device)).doing("move labels to the device")
    }
}

/// How much nicer the threads that make batches are: a third of the share of a core that the network's have.
#[cfg(target_os = "linux")]
const GIVE_WAY: i32 = 5;

/// Photos a batch and pixels a side.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub batch: usize,
    pub size: usize,
}

/// The threads that make batches, as many as there are cores. They give way to the network's threads, which then wait less for
/// one another; where the network waits for a batch, nothing holds them up.
fn loaders() -> &'static rayon::ThreadPool {
    static LOADERS: OnceLock<rayon::ThreadPool> = OnceLock::new();
    LOADERS.get_or_init(|| {
        let give_way = |_| {
            #[cfg(target_os = "linux")]
            // SAFETY: reads and sets the priority of the calling thread alone, which Linux means by 0; a refusal changes nothing.
            unsafe {
                let own = libc::getpriority(libc::PRIO_PROCESS, 0);
                libc::setpriority(libc::PRIO_PROCESS, 0, (own + GIVE_WAY).min(19));
            }
        };
        let build = |threads| {
            let name = |i| format!("photos {i}");
            rayon::ThreadPoolBuilder::new().num_threads(threads).thread_name(name).start_handler(give_way).build()
        };
        build(0).or_else(|_| build(1)).expect("a process may start a thread")
    })
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
                let batch = loaders().install(|| make(i));
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
