//! The published files' tensors under one set of names, pytorch-fid's. Knows no network.
//!
//! Three kinds of file hold the weights of 2015-12-05: TorchScript made from the TensorFlow graph (`mixed.conv.weight`,
//! `.beta`, `.mean`, `.var`; its batch norm has no gain), the same tensors as safetensors, and the state dict of pytorch-fid
//! and torch-fidelity (`Mixed_5b.branch1x1.conv.weight`, `.bn.weight`, `.bn.bias`, `.bn.running_mean`, `.bn.running_var`).

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use super::layout::{Unit, units};
use crate::error::{Error, Result};
use crate::nn::weights::{self, Named};

/// The tensors of one unit after its name, and their names in the graph; `None`: the graph has none.
const PARTS: [(&str, Option<&str>); 5] = [
    ("conv.weight", Some("weight")),
    ("bn.weight", None),
    ("bn.bias", Some("beta")),
    ("bn.running_mean", Some("mean")),
    ("bn.running_var", Some("var")),
];

/// Outputs of the graph's classifier; ImageNet's networks of other makers have 1,000 and other weights.
const CLASSES: i64 = 1008;

/// The tensors of a file in either layout, under pytorch-fid's names; `what` names the file.
///
/// # Errors
/// [`Error::Input`] naming what is missing, unexpected or misshapen (at most five of each), what is not finite, and
/// the weights of torchvision's network of the same layout.
pub fn canonical(mut tensors: Named, what: &str) -> Result<Named> {
    let graph = tensors.keys().any(|name| name.ends_with(".beta"));
    if graph {
        tensors = from_graph(tensors);
    } else {
        refuse_torchvision(&tensors, what)?;
        let beside = |name: &str| name.starts_with("fc.") || name.ends_with(".num_batches_tracked");
        tensors.retain(|name, _| !beside(name));
    }
    weights::fits(&shapes(), &tensors, what)?;
    for (name, tensor) in &tensors {
        let finite = tensor.isfinite().all().int64_value(&[]) != 0;
        if !finite || (name.ends_with("running_var") && tensor.min().double_value(&[]) < 0.0) {
            let holds = if finite { "negative variances" } else { "values that are no finite numbers" };
            let help = "the file is damaged: fetch it again";
            return Err(Error::input_help(format!("{what}: tensor `{name}` holds {holds}"), help));
        }
    }
    Ok(tensors)
}

/// Every tensor of [`canonical`], with its shape.
pub fn shapes() -> BTreeMap<String, Vec<i64>> {
    let of = |unit: Unit| {
        PARTS.map(|(part, _)| {
            let [h, w] = unit.kernel;
            let shape = if part == "conv.weight" { vec![unit.outputs, unit.inputs, h, w] } else { vec![unit.outputs] };
            (format!("{}.{part}", unit.name), shape)
        })
    };
    units().into_iter().flat_map(of).collect()
}

/// Renames what is known and leaves the rest, so that it is named as unexpected.
fn from_graph(tensors: Named) -> Named {
    let mut names = BTreeMap::new();
    let mut renamed = Named::new();
    for unit in units() {
        for (part, graph) in PARTS {
            if let Some(graph) = graph {
                names.insert(format!("{}.{graph}", unit.graph), format!("{}.{part}", unit.name));
            }
        }
        let gain = Tensor::ones([unit.outputs], (Kind::Float, Device::Cpu));
        renamed.insert(format!("{}.bn.weight", unit.name), gain);
    }
    for (name, tensor) in tensors {
        // What the graph hangs under, and its classifier, differ from file to file.
        let short = name.strip_prefix("net.").unwrap_or(&name);
        let short = short.strip_prefix("layers.").unwrap_or(short);
        if short.starts_with("output.") || short.starts_with("softmax.") || short.starts_with("logits.") {
            continue;
        }
        renamed.insert(names.get(short).cloned().unwrap_or(name), tensor);
    }
    renamed
}

fn refuse_torchvision(tensors: &Named, what: &str) -> Result<()> {
    let classes = tensors.get("fc.weight").and_then(|fc| fc.size().first().copied());
    let other = classes.is_some_and(|n| n != CLASSES);
    if !other && !tensors.keys().any(|name| name.starts_with("AuxLogits.")) {
        return Ok(());
    }
    let why = match classes.filter(|_| other) {
        Some(n) => format!("its classifier has {n} outputs, not {CLASSES}"),
        None => "it has an auxiliary classifier".to_string(),
    };
    Err(Error::input_help(
        format!("{what} is an Inception network of the same layout with other weights: {why}"),
        "FID is defined by the weights of 2015-12-05: `make weights` fetches them",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weights of the right shapes, all alike.
    fn plain() -> Named {
        shapes().into_iter().map(|(name, shape)| (name, Tensor::ones(shape, (Kind::Float, Device::Cpu)))).collect()
    }

    fn graph() -> Named {
        let mut tensors = Named::new();
        for unit in units() {
            let [h, w] = unit.kernel;
            let ones = |shape: &[i64]| Tensor::ones(shape, (Kind::Float, Device::Cpu));
            tensors.insert(format!("net.layers.{}.weight", unit.graph), ones(&[unit.outputs, unit.inputs, h, w]));
            for part in ["beta", "mean", "var"] {
                tensors.insert(format!("net.layers.{}.{part}", unit.graph), ones(&[unit.outputs]));
            }
        }
        tensors
    }

    fn refused(tensors: Named) -> String {
        canonical(tensors, "`w`").unwrap_err().to_string()
    }

    #[test]
    fn both_layouts_come_out_under_the_same_names() {
        assert_eq!(graph().len(), 376);
        let names: Vec<String> = canonical(graph(), "`w`").unwrap().into_keys().collect();
        let mut other = plain();
        other.insert("fc.weight".into(), Tensor::zeros([1008, 2048], (Kind::Float, Device::Cpu)));
        other.insert("Mixed_5b.branch1x1.bn.num_batches_tracked".into(), Tensor::from(0i64));
        assert_eq!(names, canonical(other, "`w`").unwrap().into_keys().collect::<Vec<_>>());
        assert_eq!(names.len(), 5 * 94);
    }

    #[test]
    fn what_is_missing_unexpected_or_misshapen_is_named() {
        let mut tensors = graph();
        tensors.remove("net.layers.mixed_9.tower_1_mixed_conv.mean");
        tensors.insert("net.layers.conv.gamma".into(), Tensor::from_slice(&[1f32]));
        tensors.insert("net.layers.conv_1.beta".into(), Tensor::from_slice(&[1f32]));
        assert_eq!(
            refused(tensors),
            "`w` does not fit this network: missing Mixed_7b.branch3x3dbl_3a.bn.running_mean; unexpected \
             net.layers.conv.gamma; misshapen Conv2d_2a_3x3.bn.bias is [1], not [32]\n  help: these are weights of another \
             network, or of other settings"
        );
    }

    #[test]
    fn another_network_of_the_same_layout_is_refused() {
        let mut tensors = plain();
        tensors.insert("fc.weight".into(), Tensor::zeros([1000, 2048], (Kind::Float, Device::Cpu)));
        assert_eq!(
            refused(tensors),
            "`w` is an Inception network of the same layout with other weights: its classifier has 1000 outputs, not \
             1008\n  help: FID is defined by the weights of 2015-12-05: `make weights` fetches them"
        );
        let mut tensors = plain();
        tensors.insert("AuxLogits.fc.weight".into(), Tensor::from_slice(&[1f32]));
        assert!(refused(tensors).contains("it has an auxiliary classifier"));
    }

    #[test]
    fn weights_that_are_no_numbers_are_named() {
        let mut tensors = plain();
        tensors.insert("Mixed_6a.branch3x3.bn.bias".into(), Tensor::full([384], f64::NAN, (Kind::Float, Device::Cpu)));
        assert_eq!(
            refused(tensors),
            "`w`: tensor `Mixed_6a.branch3x3.bn.bias` holds values that are no finite numbers\n  help: the file is damaged: \
             fetch it again"
        );
        let mut tensors = plain();
        tensors.insert("Conv2d_1a_3x3.bn.running_var".into(), -Tensor::ones([32], (Kind::Float, Device::Cpu)));
        assert!(refused(tensors).contains("holds negative variances"));
    }
}
