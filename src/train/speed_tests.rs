//! Photos a second of a whole fit and of loading alone, by hand or by `bench/train.py`:
//! `PHOTOS=DIR cargo test --release speed_of -- --ignored --nocapture`, DIR with a folder a class.

use std::path::PathBuf;
use std::time::Instant;

use image::RgbImage;

use super::batches::{Batch, Shape, ahead};
use super::order::Order;
use super::*;
use crate::dataset::decode;
use crate::error::Result;
use crate::nn::device::Precision;
use crate::nn::resnet::Arch;
use crate::nn::supervise::{Supervisor, Unsupervised};

/// Files in a folder a class, as torchvision's ImageFolder lists them.
struct Folder(Vec<(PathBuf, usize)>);

impl Folder {
    fn open(split: &str) -> Folder {
        let list = |dir: &std::path::Path| {
            let mut paths: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
            paths.sort();
            paths
        };
        let classes = list(&std::path::Path::new(&setting("PHOTOS", "")).join(split));
        Folder(classes.iter().enumerate().flat_map(|(i, dir)| list(dir).into_iter().map(move |p| (p, i))).collect())
    }
}

impl Photos for Folder {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn class(&self, i: usize) -> usize {
        self.0[i].1
    }

    fn load(&self, i: usize) -> Result<RgbImage> {
        decode::photo(&self.0[i].0)
    }
}

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or(default.to_string())
}

fn number(name: &str, default: usize) -> usize {
    setting(name, &default.to_string()).parse().unwrap()
}

/// No photos.
struct Nothing;
impl Photos for Nothing {
    fn len(&self) -> usize {
        0
    }
    fn class(&self, _: usize) -> usize {
        0
    }
    fn load(&self, _: usize) -> Result<RgbImage> {
        unreachable!()
    }
}

/// Notes when each step was done.
struct Clock(Vec<Instant>);

impl Supervisor for Clock {
    fn step(&mut self, _done: usize, _total: usize, _loss: f64) {
        self.0.push(Instant::now());
    }
}

#[test]
#[ignore = "a benchmark"]
fn speed_of_a_fit() {
    let photos = Folder::open("");
    let (size, batch, warm) = (number("SIZE", 64), number("BATCH", 32), number("WARM", 2));
    let steps = warm + number("STEPS", 20);
    let precision = match setting("PRECISION", "fp32").as_str() {
        "bf16" => Precision::Bf16,
        _ => Precision::Fp32,
    };
    let classes = photos.0.last().unwrap().1 + 1;
    let config = Config { precision, validations: 1, ..Config::new(Arch::ResNet18, classes, size, steps, batch) };
    let photos = Kept::new(photos, Some(2 * size as u32), (number("MEMORY_MB", 2048) as u64) << 20);
    let mut clock = Clock(Vec::new());
    fit(&config, &photos, &Nothing, &mut clock).unwrap();
    let took = (clock.0[steps - 1] - clock.0[warm - 1]).as_secs_f64();
    println!("RESULT {:.3}", ((steps - warm) * batch) as f64 / took);
}

#[test]
#[ignore = "a benchmark"]
fn speed_of_loading() {
    let photos = Folder::open("");
    let (size, batch, steps) = (number("SIZE", 64), number("BATCH", 32), number("STEPS", 60));
    let order = Order::new(Sampling::Uniform, 0, &photos, Synthetic::default());
    let augment = Augment::default();
    let shape = Shape { batch, size };
    let started = Instant::now();
    ahead(
        0..steps,
        |step| Batch::train(&photos, &order, &augment, 0, step, shape),
        |next| {
            for _ in 0..steps {
                let _ = next()?.input(tch::Kind::Float, tch::Device::Cpu)?;
            }
            Ok(())
        },
    )
    .unwrap();
    println!("RESULT {:.3}", (steps * batch) as f64 / started.elapsed().as_secs_f64());
}

#[test]
#[ignore = "a benchmark"]
fn accuracy_of_a_fit() {
    let (train, test) = (Folder::open("train"), Folder::open("test"));
    let (size, batch, steps) = (number("SIZE", 64), number("BATCH", 32), number("STEPS", 300));
    let classes = train.0.last().unwrap().1 + 1;
    let config = Config {
        precision: Precision::Fp32,
        learning_rate: setting("RATE", "0.1").parse().unwrap(),
        seed: number("SEED", 0) as u64,
        ..Config::new(Arch::ResNet18, classes, size, steps, batch)
    };
    let train = Kept::new(train, Some(2 * size as u32), 2 << 30);
    let weights = fit(&config, &train, &Nothing, &mut Unsupervised).unwrap().weights;
    let classifier = Classifier::new(config.arch, classes, size, &weights, config.precision, config.device).unwrap();
    let said = classifier.predict(&test, batch).unwrap();
    let right = (0..said.len()).filter(|&i| said.top(i) == test.class(i)).count();
    println!("RESULT {:.4}", right as f64 / said.len() as f64);
}
