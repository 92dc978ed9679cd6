//! Weights as safetensors bytes, read strictly: a missing, unexpected or misshapen tensor is an error that names it.

use std::collections::BTreeMap;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tch::nn::VarStore;
use tch::{Kind, Tensor};

use super::TensorContext;
use crate::error::{Error, Result};

/// Named tensors in the order of their names, any float kind, on the CPU.
pub type Named = BTreeMap<String, Tensor>;

/// Safetensors bytes of the tensors, always fp32 or i64; the same tensors give the same bytes.
pub fn to_bytes(tensors: &Named) -> Result<Vec<u8>> {
    let mut plain: Vec<(String, Vec<usize>, Dtype, Vec<u8>)> = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let shape: Vec<usize> = tensor.size().iter().map(|&n| n as usize).collect();
        let integer = tensor.kind() == Kind::Int64;
        let (kind, dtype, width) = if integer { (Kind::Int64, Dtype::I64, 8) } else { (Kind::Float, Dtype::F32, 4) };
        let tensor = tensor.detach().to_device(tch::Device::Cpu).to_kind(kind).contiguous();
        let mut bytes = vec![0u8; tensor.numel() * width];
        tensor.view([-1]).f_copy_data_u8(&mut bytes, tensor.numel()).doing("read a tensor's bytes")?;
        plain.push((name.clone(), shape, dtype, bytes));
    }
    let views = plain
        .iter()
        .map(|(name, shape, dtype, bytes)| {
            TensorView::new(*dtype, shape.clone(), bytes).map(|view| (name.as_str(), view))
        })
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(|error| Error::input(format!("could not lay out weights: {error}")))?;
    safetensors::serialize(views, None).map_err(|error| Error::input(format!("could not write weights: {error}")))
}

/// The tensors inside safetensors bytes; fp32, fp16, bf16, f64, i64 and u8 in their own kind.
///
/// # Errors
/// [`Error::Input`] naming `what` if the bytes are no safetensors file, or hold another type.
pub fn from_bytes(bytes: &[u8], what: &str) -> Result<Named> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| {
        Error::input_help(format!("{what} is not a whole safetensors file: {error}"), "fetch or make the file again")
    })?;
    let mut tensors = Named::new();
    for (name, view) in file.tensors() {
        let kind = match view.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::BF16 => Kind::BFloat16,
            Dtype::F64 => Kind::Double,
            Dtype::I64 => Kind::Int64,
            Dtype::U8 => Kind::Uint8,
            other => {
                return Err(Error::input(format!("{what}: tensor `{name}` has type {other:?}, which is not read")));
            }
        };
        let size: Vec<i64> = view.shape().iter().map(|&n| n as i64).collect();
        tensors.insert(name, Tensor::f_from_data_size(view.data(), &size, kind).doing("read a tensor")?);
    }
    Ok(tensors)
}

/// Whether bytes are a zip archive, as TorchScript files and PyTorch's pickles are.
pub fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// The parameters of a TorchScript file by name, on the CPU. Nothing of its code is run.
///
/// # Errors
/// [`Error::Input`] naming `what` if the bytes are no TorchScript.
pub fn from_torchscript(mut bytes: &[u8], what: &str) -> Result<Named> {
    let mut read = || tch::CModule::load_data_on_device(&mut bytes, tch::Device::Cpu)?.named_parameters();
    let parameters = read().map_err(|_| {
        Error::input_help(
            format!("{what} is neither safetensors nor a whole TorchScript file"),
            "pickles (`.pth`, `.pt` of a state dict) can run any code when they are read and are refused: save their \
             tensors with `safetensors.torch.save_file`",
        )
    })?;
    Ok(parameters.into_iter().map(|(name, tensor)| (name, tensor.detach())).collect())
}

/// A network's variables, trainable or not, as safetensors bytes.
pub fn save(variables: &VarStore) -> Result<Vec<u8>> {
    to_bytes(&variables.variables().into_iter().collect())
}

/// Fills a network's variables from `tensors`, each by its exact name and shape.
///
/// # Errors
/// [`Error::Input`] that names what is missing, unexpected or misshapen (at most five of each).
pub fn load(variables: &VarStore, tensors: &Named, what: &str) -> Result<()> {
    let own: BTreeMap<String, Tensor> = variables.variables().into_iter().collect();
    fits(&own.iter().map(|(name, variable)| (name.clone(), variable.size())).collect(), tensors, what)?;
    tch::no_grad(|| {
        for (name, mut variable) in own {
            variable.f_copy_(&tensors[&name]).doing("copy weights")?;
        }
        Ok(())
    })
}

/// Whether the tensors are just those of a network, each by its exact name and shape.
///
/// # Errors
/// As [`load`].
pub fn fits(own: &BTreeMap<String, Vec<i64>>, tensors: &Named, what: &str) -> Result<()> {
    let mut problems = Vec::new();
    list(&mut problems, "missing", own.keys().filter(|name| !tensors.contains_key(*name)).cloned());
    list(&mut problems, "unexpected", tensors.keys().filter(|name| !own.contains_key(*name)).cloned());
    list(
        &mut problems,
        "misshapen",
        own.iter().filter_map(|(name, wanted)| {
            let found = tensors.get(name)?.size();
            (found != *wanted).then(|| format!("{name} is {found:?}, not {wanted:?}"))
        }),
    );
    if !problems.is_empty() {
        return Err(Error::input_help(
            format!("{what} does not fit this network: {}", problems.join("; ")),
            "these are weights of another network, or of other settings",
        ));
    }
    Ok(())
}

fn list(problems: &mut Vec<String>, what: &str, names: impl Iterator<Item = String>) {
    let names: Vec<String> = names.collect();
    if names.is_empty() {
        return;
    }
    let shown: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
    let more =
        if names.len() > shown.len() { format!(" and {} more", names.len() - shown.len()) } else { String::new() };
    problems.push(format!("{what} {}{more}", shown.join(", ")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::nn::{self, Module};

    fn layer() -> (VarStore, nn::Linear) {
        let variables = VarStore::new(tch::Device::Cpu);
        let layer = nn::linear(variables.root() / "fc", 3, 2, Default::default());
        (variables, layer)
    }

    #[test]
    fn weights_survive_a_round_trip_and_their_bytes_are_stable() {
        let (from, a) = layer();
        let bytes = save(&from).unwrap();
        assert_eq!(bytes, save(&from).unwrap());
        let (to, b) = layer();
        load(&to, &from_bytes(&bytes, "test").unwrap(), "test").unwrap();
        let x = Tensor::ones([1, 3], (Kind::Float, tch::Device::Cpu));
        assert_eq!(a.forward(&x), b.forward(&x));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let (variables, _) = layer();
        let tensors = Named::from([
            ("fc.weight".to_string(), Tensor::zeros([2, 4], (Kind::Float, tch::Device::Cpu))),
            ("extra".to_string(), Tensor::zeros([1], (Kind::Float, tch::Device::Cpu))),
        ]);
        let message = load(&variables, &tensors, "`w.safetensors`").unwrap_err().to_string();
        assert_eq!(
            message,
            "`w.safetensors` does not fit this network: missing fc.bias; unexpected extra; misshapen fc.weight is [2, 4], \
             not [2, 3]\n  help: these are weights of another network, or of other settings"
        );
    }

    #[test]
    fn half_a_file_is_refused() {
        let (variables, _) = layer();
        let bytes = save(&variables).unwrap();
        let error = from_bytes(&bytes[..bytes.len() - 3], "`w`").unwrap_err().to_string();
        assert!(error.starts_with("`w` is not a whole safetensors file"), "{error}");
    }
}
