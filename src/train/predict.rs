//! A fitted classifier applied to photos, in padded batches of one size, so that a photo's bits do not depend on its
//! neighbours. Knows no training.

use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use super::batches::{Batch, ahead};
use super::photos::Photos;
use crate::error::{Error, Result};
use crate::nn::TensorContext;
use crate::nn::device::Precision;
use crate::nn::resnet::{self, Arch, Mode, ResNet, Stem};
use crate::nn::weights;

/// A network with its weights, ready to predict.
pub struct Classifier {
    net: ResNet,
    arch: Arch,
    classes: usize,
    size: usize,
    kind: Kind,
    device: Device,
}

/// What a classifier says about photos, a row a photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    pub classes: usize,
    /// `[n, classes]`, each row adding up to 1.
    pub probabilities: Vec<f32>,
    /// Penultimate features, `[n, dims]`.
    pub features: Vec<f32>,
    pub dims: usize,
}

impl Predictions {
    /// Photos that were predicted.
    pub fn len(&self) -> usize {
        self.probabilities.len() / self.classes
    }

    /// Whether there was no photo.
    pub fn is_empty(&self) -> bool {
        self.probabilities.is_empty()
    }

    /// Probabilities of photo `i`, `[classes]`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.probabilities[i * self.classes..(i + 1) * self.classes]
    }

    /// The most probable class of photo `i`; the first of equals.
    pub fn top(&self, i: usize) -> usize {
        let row = self.row(i);
        (0..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best })
    }
}

impl Classifier {
    /// A classifier of `classes` classes for inputs of `size` pixels a side, from safetensors with torchvision's names.
    ///
    /// # Errors
    /// [`Error::Input`] if the weights are another network's.
    pub fn new(
        arch: Arch,
        classes: usize,
        size: usize,
        weights: &[u8],
        precision: Precision,
        device: Device,
    ) -> Result<Self> {
        let variables = VarStore::new(device);
        let config = resnet::Config { arch, stem: Stem::for_size(size), classes };
        let mut net = ResNet::blank(&variables.root(), &config)?;
        resnet::load(&variables, weights::from_bytes(weights, "the classifier")?, "the classifier", false)?;
        net.freeze(precision.kind());
        Ok(Classifier { net, arch, classes, size, kind: precision.kind(), device })
    }

    /// Probabilities and features of every photo, `batch` at a time; the bits depend on `batch`, so keep it the same.
    pub fn predict(&self, photos: &dyn Photos, batch: usize) -> Result<Predictions> {
        self.predict_told(photos, batch, &mut |_| Ok(()))
    }

    /// As [`Classifier::predict`]; after each batch `told` hears how many photos are done, and ends the work by an error.
    ///
    /// # Errors
    /// As [`Classifier::predict`], and what `told` gives.
    pub fn predict_told(
        &self,
        photos: &dyn Photos,
        batch: usize,
        told: &mut dyn FnMut(usize) -> Result<()>,
    ) -> Result<Predictions> {
        if batch == 0 {
            return Err(Error::input("a batch holds at least one photo"));
        }
        let mut out = Predictions {
            classes: self.classes,
            probabilities: Vec::with_capacity(photos.len() * self.classes),
            features: Vec::with_capacity(photos.len() * self.arch.features()),
            dims: self.arch.features(),
        };
        let size = self.size;
        let make = |i: usize| Batch::eval(photos, i * batch..((i + 1) * batch).min(photos.len()), size);
        let batches = photos.len().div_ceil(batch);
        ahead(0..batches, make, |next| {
            let _guard = tch::no_grad_guard();
            for _ in 0..batches {
                let mut photos = next()?;
                let wanted = photos.len() as i64;
                photos.pad(batch);
                let features = self.net.features(&photos.input(self.kind, self.device)?, Mode::Eval)?;
                let logits = self.net.head(&features)?;
                let probabilities = logits.f_softmax(-1, Kind::Double).doing("compare classes")?;
                append(&mut out.probabilities, &probabilities, wanted)?;
                append(&mut out.features, &features, wanted)?;
                told(out.len())?;
            }
            Ok(())
        })?;
        Ok(out)
    }
}

/// Appends the first `rows` rows.
fn append(to: &mut Vec<f32>, tensor: &Tensor, rows: i64) -> Result<()> {
    let mut read = || {
        let tensor = tensor.f_narrow(0, 0, rows)?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
        let from = to.len();
        to.resize(from + tensor.numel(), 0.0);
        tensor.f_view([-1])?.f_copy_data(&mut to[from..], tensor.numel())
    };
    read().doing("read the classifier's answers")
}
