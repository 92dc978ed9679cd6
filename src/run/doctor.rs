//! What this machine and installation offer: libtorch, devices, CPU features, weights, the cache. Changes nothing.

use std::path::Path;

use serde::Serialize;

use crate::error::Result;
use crate::nn::device;
use crate::plan::ENGINE;
use crate::store::Store;

/// State of an installation.
#[derive(Debug, Clone, Serialize)]
pub struct Health {
    pub birdaug: String,
    pub libtorch: String,
    /// The file that libtorch was loaded from.
    pub libtorch_path: Option<String>,
    pub threads: usize,
    /// Devices that `--device` takes here.
    pub devices: Vec<String>,
    /// Why there is no CUDA, where there is none.
    pub cuda: Option<String>,
    pub cpu_features: Vec<String>,
    /// Weight files under `weights/`, with their sizes in bytes.
    pub weights: Vec<(String, u64)>,
    pub cache: CacheHealth,
}

/// State of a cache.
#[derive(Debug, Clone, Serialize)]
pub struct CacheHealth {
    pub dir: String,
    pub exists: bool,
    pub records: usize,
    pub blobs: usize,
    pub bytes: u64,
}

/// Looks around. The cache is only counted where it exists.
pub fn health(cache: &Path) -> Result<Health> {
    let opened = device::open_cuda();
    let gpus = if opened.is_ok() { tch::Cuda::device_count() } else { 0 };
    let mut devices = vec!["cpu".to_string()];
    devices.extend((0..gpus).map(|i| format!("cuda:{i}")));
    let cuda = match opened {
        Err(message) => Some(message),
        Ok(()) if gpus == 0 => Some("libtorch_cuda is there and sees no GPU".to_string()),
        Ok(()) => None,
    };
    Ok(Health {
        birdaug: ENGINE.to_string(),
        libtorch: device::LIBTORCH.to_string(),
        libtorch_path: loaded_from("libtorch_cpu.so"),
        threads: tch::get_num_threads() as usize,
        devices,
        cuda,
        cpu_features: device::cpu_features().into_iter().map(String::from).collect(),
        weights: weights(Path::new("weights")),
        cache: cache_health(cache)?,
    })
}

fn cache_health(dir: &Path) -> Result<CacheHealth> {
    let mut health = CacheHealth {
        dir: dir.display().to_string(),
        exists: dir.join("version").exists(),
        records: 0,
        blobs: 0,
        bytes: 0,
    };
    if health.exists {
        let store = Store::open(dir)?;
        let blobs = store.blobs()?;
        health.records = store.records().len();
        health.blobs = blobs.len();
        health.bytes = blobs.iter().map(|(_, size)| size).sum();
    }
    Ok(health)
}

/// The path of a library that is mapped into this process.
fn loaded_from(name: &str) -> Option<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    maps.lines()
        .filter_map(|line| line.find('/').map(|at| &line[at..]))
        .find(|path| path.ends_with(name))
        .map(String::from)
}

fn weights(folder: &Path) -> Vec<(String, u64)> {
    let mut found: Vec<(String, u64)> = walkdir::WalkDir::new(folder)
        .into_iter()
        .flatten()
        .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "safetensors"))
        .filter_map(|entry| Some((entry.path().display().to_string(), entry.metadata().ok()?.len())))
        .collect();
    found.sort();
    found
}
