//! A small Stable Diffusion checkpoint on disk: the configurations of `tests/golden/sd/one`, weights by the formula of
//! `tests/golden/sd.py`, and a vocabulary of single letters.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};

use super::place::Place;

/// Where the golden files of a model are.
fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sd/one")
}

fn uniform(name: &str, n: usize) -> impl Iterator<Item = f64> {
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

fn weight(name: &str, shape: &[usize]) -> Vec<u8> {
    let n: usize = shape.iter().product();
    let scale = |u: f64| match shape.len() {
        1 if name.ends_with("weight") => 1.0 + 0.2 * u,
        1 => 0.2 * u,
        _ if name.contains("_embedding.weight") => u,
        _ => u * (12.0 / (n / shape[0]) as f64).sqrt(),
    };
    uniform(name, n).flat_map(|u| (scale(u) as f32).to_le_bytes()).collect()
}

/// Tensors by name, as a safetensors file's bytes.
pub fn safetensors(tensors: &BTreeMap<String, (Vec<usize>, Vec<u8>)>) -> Vec<u8> {
    let views =
        tensors.iter().map(|(name, (shape, bytes))| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    safetensors::serialize(views, None).unwrap()
}

/// The tensors of a part, by name.
pub fn tensors(part: &str) -> BTreeMap<String, (Vec<usize>, Vec<u8>)> {
    let text = fs::read_to_string(golden().join("shapes.json")).unwrap();
    let shapes: BTreeMap<String, BTreeMap<String, Vec<usize>>> = serde_json::from_str(&text).unwrap();
    shapes[part]
        .iter()
        .map(|(name, shape)| (name.clone(), (shape.clone(), weight(&format!("{part}.{name}"), shape))))
        .collect()
}

/// The file of a part's weights.
pub fn file(part: &str) -> &'static str {
    if part == "text_encoder" { "model.safetensors" } else { "diffusion_pytorch_model.safetensors" }
}

/// Makes the checkpoint in the place's folder `model` one whose U-Net is told the guidance, as LCM_Dreamshaper_v7's is.
pub fn tell_guidance(place: &Place) {
    let config = fs::read_to_string(place.path("model/unet/config.json")).unwrap();
    let told = config.replace("\"time_cond_proj_dim\": null", "\"time_cond_proj_dim\": 16");
    assert_ne!(config, told);
    place.write("model/unet/config.json", told.as_bytes());
    let mut unet = tensors("unet");
    let (name, shape) = ("time_embedding.cond_proj.weight", vec![16, 16]);
    unet.insert(name.to_string(), (shape.clone(), weight(&format!("unet.{name}"), &shape)));
    place.write("model/unet/diffusion_pytorch_model.safetensors", &safetensors(&unet));
    place.write(
        "model/scheduler/scheduler_config.json",
        br#"{"_class_name": "LCMScheduler", "original_inference_steps": 50, "timestep_scaling": 10.0}"#,
    );
    let index = fs::read_to_string(place.path("model/model_index.json")).unwrap();
    let index = index.replace("StableDiffusionPipeline", "LatentConsistencyModelPipeline");
    place.write("model/model_index.json", index.replace("PNDMScheduler", "LCMScheduler").as_bytes());
}

/// Writes the checkpoint into the place's folder `model`.
pub fn write(place: &Place) {
    for part in ["unet", "vae", "text_encoder"] {
        place.write(&format!("model/{part}/config.json"), &fs::read(golden().join(part).join("config.json")).unwrap());
        place.write(&format!("model/{part}/{}", file(part)), &safetensors(&tensors(part)));
    }
    let scheduler = fs::read(golden().join("scheduler/scheduler_config.json")).unwrap();
    place.write("model/scheduler/scheduler_config.json", &scheduler);
    let letters = || ('a'..='z').chain([',', '.', '-', '\'', '!']);
    let mut words: Vec<String> = letters().map(String::from).collect();
    words.extend(letters().map(|letter| format!("{letter}</w>")));
    words.extend(["<|startoftext|>".to_string(), "<|endoftext|>".to_string()]);
    let vocabulary: BTreeMap<&String, usize> = words.iter().enumerate().map(|(i, word)| (word, i)).collect();
    place.write("model/tokenizer/vocab.json", serde_json::to_string(&vocabulary).unwrap().as_bytes());
    place.write("model/tokenizer/merges.txt", b"#version: 0.2\n");
    place.write(
        "model/tokenizer/tokenizer_config.json",
        br#"{"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "bos_token": "<|startoftext|>",
             "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}"#,
    );
    place.write(
        "model/model_index.json",
        br#"{"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.42.1",
             "scheduler": ["diffusers", "PNDMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"],
             "tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"],
             "vae": ["diffusers", "AutoencoderKL"], "safety_checker": [null, null], "feature_extractor": [null, null]}"#,
    );
}
