//! The small checkpoints of `tests/golden/sd.py`, their weights made by its formula, for the tests of this folder.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tch::{Device, Kind, Tensor};

use crate::checkpoint::tensors::{Dtype, Stored, Tensors};
use crate::nn::weights::{self, Named};

/// The folder of a model.
pub fn folder(model: &str) -> PathBuf {
    PathBuf::from(format!("{}/tests/golden/sd/{model}", env!("CARGO_MANIFEST_DIR")))
}

/// `n` numbers in [-0.5, 0.5), as `uniform` of the script.
pub fn uniform(name: &str, n: usize) -> impl Iterator<Item = f64> {
    let seed = name
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    (1..=n as u64).map(move |i| {
        let z = seed.wrapping_add(i.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 24) - 0.5
    })
}

/// An input, as `wave` of the script.
pub fn wave(name: &str, shape: &[i64]) -> Tensor {
    let n = shape.iter().product::<i64>() as usize;
    let values: Vec<f32> = uniform(name, n).map(|u| (u * 12f64.sqrt()) as f32).collect();
    Tensor::from_slice(&values).view(shape)
}

pub fn weight(name: &str, shape: &[usize]) -> Vec<f32> {
    let n: usize = shape.iter().product();
    let parts: Vec<&str> = name.split('.').collect();
    let scale = |u: f64| {
        if shape.len() == 1 {
            0.2 * u + if name.ends_with("weight") { 1.0 } else { 0.0 }
        } else if parts[parts.len() - 2].contains("embedding") {
            u
        } else {
            u * (12.0 / (n / shape[0]) as f64).sqrt()
        }
    };
    uniform(name, n).map(|u| scale(u) as f32).collect()
}

/// The tensors of `unet`, `vae` or `text_encoder`.
pub fn tensors(model: &str, part: &str) -> Tensors {
    let text = std::fs::read_to_string(folder(model).join("shapes.json")).unwrap();
    let shapes: BTreeMap<String, BTreeMap<String, Vec<usize>>> = serde_json::from_str(&text).unwrap();
    let stored = |(name, shape): (&String, &Vec<usize>)| {
        let values = weight(&format!("{part}.{name}"), shape);
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        (name.clone(), Stored { dtype: Dtype::Fp32, shape: shape.clone(), start: 0, bytes: Arc::new(bytes) })
    };
    shapes[part].iter().map(stored).collect()
}

/// What diffusers computed.
pub fn golden(model: &str) -> Named {
    weights::from_bytes(&std::fs::read(folder(model).join("golden.safetensors")).unwrap(), "golden").unwrap()
}

/// `|a - b| / |b|`.
pub fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    let (a, b) = (a.to_device(Device::Cpu).to_kind(Kind::Double), b.to_kind(Kind::Double));
    ((a - &b).norm() / b.norm()).double_value(&[])
}
