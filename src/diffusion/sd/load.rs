//! Takes a checkpoint's tensors apart by name, each into the wanted precision as it is asked for, strictly: what is missing,
//! unexpected or misshapen is named. Knows no network.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use tch::{Device, Kind, TchError, Tensor};

use super::adapters::{Adapter, Adapters};
use super::lora::{Delta, Patches};
use super::memory;
use crate::checkpoint::tensors::{Dtype, Stored, Tensors};
use crate::error::{Error, Result};
use crate::nn::heap;

/// Names of one kind of problem listed in one message at most.
const LISTED: usize = 5;

/// A place among a checkpoint's names: `down_blocks.0.resnets.1`.
#[derive(Clone)]
pub struct Loader<'t> {
    tensors: &'t Tensors,
    path: String,
    kind: Kind,
    device: Device,
    inference: bool,
    patches: Option<&'t Patches>,
    adapters: Option<&'t Adapters>,
    seen: Rc<RefCell<Seen>>,
}

#[derive(Default)]
struct Seen {
    taken: BTreeSet<String>,
    missing: Vec<String>,
    misshapen: Vec<String>,
    broken: Vec<String>,
    /// LoRAs of another network.
    strangers: Vec<String>,
    /// The first refusal for want of memory.
    want: Option<String>,
}

impl Seen {
    /// Remembers why the tensor `name` could not be made.
    fn failed(&mut self, name: &str, error: &TchError) {
        let message = error.to_string().lines().next().unwrap_or_default().to_string();
        match memory::is_wanted_by(error) {
            true => drop(self.want.get_or_insert(message)),
            false => self.broken.push(format!("{name}: {message}")),
        }
    }
}

impl<'t> Loader<'t> {
    /// All of a checkpoint's tensors, to be had in this kind on this device. `inference`: no gradients will be asked for.
    pub fn new(tensors: &'t Tensors, kind: Kind, device: Device, inference: bool) -> Loader<'t> {
        let (path, seen) = (String::new(), Rc::default());
        Loader { tensors, path, kind, device, inference, patches: None, adapters: None, seen }
    }

    /// With what LoRAs add to the weights.
    pub fn patched(self, patches: &'t Patches) -> Loader<'t> {
        Loader { patches: Some(patches), ..self }
    }

    /// With adapters in training beside the layers that they name.
    pub fn adapted(self, adapters: &'t Adapters) -> Loader<'t> {
        Loader { adapters: Some(adapters), ..self }
    }

    /// The adapter of the layer at this place.
    pub fn adapter(&self) -> Option<Adapter> {
        self.adapters.and_then(|adapters| adapters.of(&self.path))
    }

    /// Whether the network will never be asked for gradients.
    pub fn inference(&self) -> bool {
        self.inference
    }

    /// The names below `name`.
    pub fn sub(&self, name: impl std::fmt::Display) -> Loader<'t> {
        let path = if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) };
        Loader { path, ..self.clone() }
    }

    /// Where it stands.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tensor of that name and shape. One that is not there as it should be is remembered for [`Loader::finish`], and an
    /// empty one stands in.
    pub fn get(&self, name: &str, shape: &[i64]) -> Tensor {
        self.get_any(name, &[shape])
    }

    /// As [`Loader::get`], of one of several shapes that hold the same numbers in the same order; the first is the shape
    /// that it comes in.
    pub fn get_any(&self, name: &str, shapes: &[&[i64]]) -> Tensor {
        let name = self.sub(name).path;
        let nothing = Tensor::zeros([0], (self.kind, self.device));
        let mut seen = self.seen.borrow_mut();
        let Some(stored) = self.tensors.get(&name) else {
            seen.missing.push(name);
            return nothing;
        };
        let found: Vec<i64> = stored.shape.iter().map(|&n| n as i64).collect();
        seen.taken.insert(name.clone());
        if !shapes.contains(&found.as_slice()) {
            seen.misshapen.push(format!("{name} is {found:?}, not {:?}", shapes[0]));
            return nothing;
        }
        let patches = self.patches.and_then(|patches| patches.get(&name));
        let loaded = match patches {
            None => tensor(stored, self.kind, self.device),
            Some(deltas) => self.patch(stored, deltas, &name, &mut seen),
        };
        loaded.and_then(|tensor| tensor.f_view(shapes[0])).unwrap_or_else(|error| {
            seen.failed(&name, &error);
            nothing
        })
    }

    /// A weight with deltas added in fp32, before it is rounded.
    fn patch(
        &self,
        stored: &Stored,
        deltas: &[Delta],
        name: &str,
        seen: &mut Seen,
    ) -> std::result::Result<Tensor, TchError> {
        let mut sum = tensor(stored, Kind::Float, Device::Cpu)?;
        for delta in deltas {
            match delta.added(&sum) {
                Ok(added) => sum = added,
                Err(error) if memory::is_wanted_by(&error) => return Err(error),
                Err(_) => seen.strangers.push(format!("`{}` has another shape than {name}", delta.from)),
            }
        }
        sum.f_to_kind(self.kind)?.f_to_device(self.device)
    }

    /// Says what was not as it should be; `what` names the network's file.
    ///
    /// # Errors
    /// [`Error::Input`] that names what is missing, unexpected or misshapen (at most five of each), or says that memory ran
    /// out.
    pub fn finish(self, what: &str) -> Result<()> {
        let seen = self.seen.borrow();
        if let Some(message) = &seen.want {
            let error = Error::Tensor { doing: format!("load the weights of {what}"), message: message.clone() };
            return Err(memory::plainly(error, memory::LESS));
        }
        let unexpected: Vec<String> = self.tensors.keys().filter(|name| !seen.taken.contains(*name)).cloned().collect();
        let problems: Vec<String> = [
            ("missing", &seen.missing),
            ("unexpected", &unexpected),
            ("misshapen", &seen.misshapen),
            ("unreadable", &seen.broken),
        ]
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(kind, names)| {
            let more = names.len().saturating_sub(LISTED);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("{kind} {}{more}", names[..names.len().min(LISTED)].join(", "))
        })
        .collect();
        if problems.is_empty() {
            return self.strangers(&seen, what);
        }
        Err(Error::input_help(
            format!("the weights of {what} do not fit its config: {}", problems.join("; ")),
            "the files are of two models, or one of them was changed or not fetched whole",
        ))
    }
}

impl Loader<'_> {
    /// Refuses LoRAs that name weights which this network does not have, or of other shapes.
    fn strangers(&self, seen: &Seen, what: &str) -> Result<()> {
        let mut strangers = seen.strangers.clone();
        for (name, deltas) in self.patches.into_iter().flatten().filter(|(name, _)| !seen.taken.contains(*name)) {
            strangers
                .extend(deltas.iter().map(|delta| format!("`{}` adds to {name}, which it does not have", delta.from)));
        }
        let Some(first) = strangers.first() else { return Ok(()) };
        let more = if strangers.len() > 1 { format!(", and {} more", strangers.len() - 1) } else { String::new() };
        Err(Error::input_help(
            format!("a LoRA is not for {what}: {first}{more}"),
            "it was made for another base model; take the base that its page names",
        ))
    }
}

/// Values of a tensor that are held in both kinds at a time while they are rounded.
const ROUNDED_AT_ONCE: usize = 1 << 18;

/// A stored tensor in another kind on a device, read piece by piece: little more is held than the result.
pub fn tensor(stored: &Stored, kind: Kind, device: Device) -> std::result::Result<Tensor, TchError> {
    let found = match stored.dtype {
        Dtype::Fp32 => Kind::Float,
        Dtype::Fp16 => Kind::Half,
        Dtype::Bf16 => Kind::BFloat16,
        Dtype::Fp64 => Kind::Double,
        Dtype::Int64 => Kind::Int64,
    };
    let shape: Vec<i64> = stored.shape.iter().map(|&n| n as i64).collect();
    if found == kind {
        let tensor = Tensor::f_from_data_size(stored.data(), &shape, found)?;
        stored.give_back(0..stored.data().len());
        return tensor.f_to_device(device);
    }
    // Rounded on the CPU, so that every device gets the same weights.
    let tensor = Tensor::f_empty(&shape, (kind, Device::Cpu))?;
    let (flat, mut at) = (tensor.f_view([-1])?, 0);
    for piece in stored.data().chunks(ROUNDED_AT_ONCE * stored.dtype.width()) {
        let values = (piece.len() / stored.dtype.width()) as i64;
        let wide = Tensor::f_from_data_size(piece, &[values], found)?;
        flat.f_narrow(0, at, values)?.f_copy_(&wide)?;
        at += values;
        // From the start: what is read next maps pages before it again.
        stored.give_back(0..at as usize * stored.dtype.width());
    }
    heap::freed(stored.data().len());
    tensor.f_to_device(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_memory_while_weights_are_loaded_is_said_as_that() {
        let tensors = Tensors::new();
        let loader = Loader::new(&tensors, Kind::Float, Device::Cpu, true);
        let refused = |message: &str| TchError::Torch(message.to_string());
        loader.seen.borrow_mut().failed("conv_in.bias", &refused("shapes differ"));
        loader
            .seen
            .borrow_mut()
            .failed("conv_in.weight", &refused("CUDA out of memory. Tried to allocate 20 MiB\nat x"));
        assert_eq!(
            loader.clone().finish("`sd15/unet`").unwrap_err().to_string(),
            "out of memory (could not load the weights of `sd15/unet`: Internal torch error: CUDA out of memory. Tried to allocate 20 MiB)\n  help: \
             `precision = \"bf16\"` takes half of fp32's memory, `--device cpu` the machine's own"
        );
        loader.seen.borrow_mut().want = None;
        assert_eq!(
            loader.finish("`sd15/unet`").unwrap_err().to_string(),
            "the weights of `sd15/unet` do not fit its config: unreadable conv_in.bias: Internal torch error: shapes differ\n  help: the files are of \
             two models, or one of them was changed or not fetched whole"
        );
    }
}
