//! Times and numbers of the full-size networks, by hand: `BIRDAUG_SD15=DIR cargo test --release full_size -- --ignored --nocapture`,
//! DIR as `bench/sd.py` makes it.

use std::sync::Arc;
use std::time::Instant;

use safetensors::tensor::{Dtype as Type, SafeTensors};
use tch::{Device, Kind, Tensor};

use super::clip::TextEncoder;
use super::fixture::{distance, wave};
use super::lora::Patches;
use super::unet::Unet;
use super::vae::Vae;
use crate::checkpoint::config::{UnetConfig, UnetLevel, VaeConfig};
use crate::checkpoint::tensors::{Bytes, Dtype, Stored, Tensors};
use crate::checkpoint::{Checkpoint, Component};
use crate::nn::weights;

fn read(path: &std::path::Path) -> Tensors {
    let bytes: Arc<dyn Bytes> = Arc::new(std::fs::read(path).unwrap());
    let file = SafeTensors::deserialize(bytes.bytes()).unwrap();
    let start = bytes.bytes().as_ptr() as usize;
    file.tensors()
        .into_iter()
        .map(|(name, view)| {
            let dtype = match view.dtype() {
                Type::F32 => Dtype::Fp32,
                Type::BF16 => Dtype::Bf16,
                other => panic!("{other:?}"),
            };
            let at = view.data().as_ptr() as usize - start;
            (name, Stored { dtype, shape: view.shape().to_vec(), start: at, bytes: Arc::clone(&bytes) })
        })
        .collect()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

#[test]
#[ignore = "needs a full-size checkpoint"]
fn times_at_full_size() {
    let folder = std::path::PathBuf::from(std::env::var("BIRDAUG_SD15").unwrap());
    crate::nn::heap::keep_freed();
    let _no_grad = tch::no_grad_guard();
    let level = |channels, attends| UnetLevel {
        channels,
        depth: 2,
        attends,
        heads: 8,
        transformers: 1,
        only_cross_attention: false,
    };
    let unet = UnetConfig {
        in_channels: 4,
        out_channels: 4,
        sample_size: 64,
        center_input: false,
        levels: vec![level(320, true), level(640, true), level(1280, true), level(1280, false)],
        up_attends: vec![false, true, true, true],
        middle: true,
        text_width: 768,
        norm_groups: 32,
        norm_epsilon: 1e-5,
        linear_projection: false,
        upcast_attention: false,
        flip_sin_to_cos: true,
        frequency_shift: 0.0,
        downsample_padding: 1,
        middle_scale: 1.0,
        guidance_width: None,
    };
    let vae = VaeConfig {
        in_channels: 3,
        out_channels: 3,
        latent_channels: 4,
        channels: vec![128, 256, 512, 512],
        depth: 2,
        norm_groups: 32,
        scaling_factor: 0.18215,
        force_upcast: true,
        quant_conv: true,
        post_quant_conv: true,
        middle_attention: true,
    };
    let cpu = Device::Cpu;
    let kinds: &[Kind] = match std::env::var("KIND").as_deref() {
        Ok("fp32") => &[Kind::Float],
        _ => &[Kind::BFloat16],
    };
    for &kind in kinds {
        let tensors = read(&folder.join("unet/diffusion_pytorch_model.safetensors"));
        for inference in [false, true] {
            let net = Unet::load(&unet, &tensors, &Patches::new(), kind, cpu, inference, "unet").unwrap();
            let text = net.listen(&wave("text", &[2, 77, 768])).unwrap();
            let (x, times) = (wave("x", &[2, 4, 32, 32]), Tensor::full([2], 500, (Kind::Float, cpu)));
            let took: Vec<f64> = (0..7)
                .map(|_| {
                    let started = Instant::now();
                    let _ = net.forward(&x, &times, &text).unwrap();
                    started.elapsed().as_secs_f64()
                })
                .collect();
            println!("{kind:?} packed {inference}: U-Net step {took:.3?} median {:.3} s", median(took[1..].to_vec()));
        }
        let tensors = read(&folder.join("vae/diffusion_pytorch_model.safetensors"));
        let vae = Vae::load(&vae, &tensors, kind, cpu, "vae").unwrap();
        for side in [32, 64] {
            let took: Vec<f64> = (0..4)
                .map(|_| {
                    let started = Instant::now();
                    let _ = vae.decode(&wave("latents", &[1, 4, side, side])).unwrap();
                    started.elapsed().as_secs_f64()
                })
                .collect();
            println!("{kind:?}: decode at {} px {took:.3?} s", 8 * side);
        }
    }
}

#[test]
#[ignore = "needs full-size checkpoints and what `bench/sd.py WORK --forwards` writes into them"]
fn full_size_networks_give_what_diffusers_gives() {
    let _no_grad = tch::no_grad_guard();
    for folder in std::env::var("BIRDAUG_FORWARDS").unwrap().split(':').map(std::path::PathBuf::from) {
        let golden =
            weights::from_bytes(&std::fs::read(folder.join("forwards.safetensors")).unwrap(), "forwards").unwrap();
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let tensors = |component| checkpoint.tensors(component).unwrap();
        let (kind, cpu, none) = (Kind::Float, Device::Cpu, Patches::new());
        let near = |what: &str, found: &Tensor, name: &str| {
            let apart = distance(found, &golden[name]);
            println!("{}: {what} {apart:.1e} apart", folder.display());
            assert!(apart < 1e-4, "{what}");
        };
        {
            let tensors = tensors(Component::TextEncoder);
            let encoder =
                TextEncoder::load(&checkpoint.text_encoder, &tensors, &none, kind, cpu, true, "text").unwrap();
            near("text encoder", &encoder.forward(&golden["ids"]).unwrap(), "embeddings");
        }
        {
            let unet = Unet::load(&checkpoint.unet, &tensors(Component::Unet), &none, kind, cpu, true, "unet").unwrap();
            let text = unet.listen(&golden["embeddings"]).unwrap();
            near("U-Net", &unet.forward(&golden["latents"], &golden["times"], &text).unwrap(), "predicted");
        }
        let vae = Vae::load(&checkpoint.vae, &tensors(Component::Vae), kind, cpu, "vae").unwrap();
        near("encoder", &vae.encode(&golden["images"]).unwrap(), "encoded");
        near("decoder", &vae.decode(&golden["latents"].narrow(0, 0, 1)).unwrap(), "decoded");
    }
}
