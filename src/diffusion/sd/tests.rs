use std::rc::Rc;

use image::RgbImage;
use tch::{Device, Kind, Tensor};

use super::clip::TextEncoder;
use super::fixture::{distance, folder, golden, tensors, uniform, wave};
use super::lora::{Lora, Patches};
use super::pipeline::{Options, Parts, Pipeline, Request, Start};
use super::unet::Unet;
use super::vae::Vae;
use crate::checkpoint::config::{Activation, TextEncoderConfig, UnetConfig, UnetLevel, VaeConfig};
use crate::checkpoint::scheduler::SchedulerConfig;
use crate::diffusion::sampler::{self, Prescribed, SamplerKind};
use crate::nn::device::Precision;
use crate::nn::weights::{self, Named};

const CPU: Device = Device::Cpu;

fn level(channels: usize, depth: usize, attends: bool, heads: usize) -> UnetLevel {
    UnetLevel { channels, depth, attends, heads, transformers: 1, only_cross_attention: false }
}

pub fn configs(model: &str) -> (UnetConfig, VaeConfig, TextEncoderConfig) {
    let unet = UnetConfig {
        in_channels: 4,
        out_channels: 4,
        sample_size: 8,
        center_input: false,
        levels: vec![],
        up_attends: vec![],
        middle: true,
        text_width: 24,
        norm_groups: 4,
        norm_epsilon: 1e-5,
        linear_projection: false,
        upcast_attention: false,
        flip_sin_to_cos: true,
        frequency_shift: 0.0,
        downsample_padding: 1,
        middle_scale: 1.0,
        guidance_width: (model == "lcm").then_some(16),
    };
    let vae = VaeConfig {
        in_channels: 3,
        out_channels: 3,
        latent_channels: 4,
        channels: vec![],
        depth: 1,
        norm_groups: 4,
        scaling_factor: 0.18215,
        force_upcast: true,
        quant_conv: true,
        post_quant_conv: true,
        middle_attention: true,
    };
    let text = TextEncoderConfig {
        vocabulary: 64,
        positions: 77,
        width: 24,
        inner: 48,
        layers: 2,
        heads: 3,
        activation: Activation::QuickGelu,
        epsilon: 1e-5,
    };
    match model {
        "one" | "lcm" => (
            UnetConfig {
                sample_size: 4,
                levels: vec![level(16, 1, true, 2), level(32, 1, false, 2)],
                up_attends: vec![false, true],
                ..unet
            },
            VaeConfig { channels: vec![8, 16, 16, 16], ..vae },
            text,
        ),
        "two" => (
            UnetConfig {
                levels: vec![level(16, 2, true, 2), level(32, 2, true, 4), level(32, 2, false, 4)],
                up_attends: vec![false, true, true],
                text_width: 32,
                norm_groups: 8,
                linear_projection: true,
                upcast_attention: true,
                ..unet
            },
            VaeConfig { channels: vec![8, 8, 16, 16], depth: 2, ..vae },
            TextEncoderConfig { width: 32, inner: 64, layers: 3, heads: 4, activation: Activation::Gelu, ..text },
        ),
        _ => (
            UnetConfig {
                levels: vec![
                    level(8, 2, true, 4),
                    level(16, 2, true, 4),
                    level(32, 2, true, 4),
                    level(32, 2, false, 4),
                ],
                up_attends: vec![false, true, true, true],
                ..unet
            },
            VaeConfig { channels: vec![4, 8, 16, 16], depth: 2, ..vae },
            TextEncoderConfig { heads: 2, ..text },
        ),
    }
}

#[test]
fn networks_give_what_diffusers_gives() {
    let _no_grad = tch::no_grad_guard();
    for model in ["one", "two", "four", "lcm"] {
        let (unet, vae, text) = configs(model);
        let golden = golden(model);
        for inference in [true, false] {
            let near = |found: &Tensor, name: &str| {
                let distance = distance(found, &golden[name]);
                assert!(distance < 1e-5, "{model} {name}: {distance:e}");
            };
            let encoder = TextEncoder::load(
                &text,
                &tensors(model, "text_encoder"),
                &Patches::new(),
                Kind::Float,
                CPU,
                inference,
                model,
            )
            .unwrap();
            let embeddings = encoder.forward(&golden["ids"]).unwrap();
            near(&embeddings, "embeddings");

            let unet = Unet::load(&unet, &tensors(model, "unet"), &Patches::new(), Kind::Float, CPU, inference, model)
                .unwrap();
            let text = unet.listen(&golden["embeddings"]).unwrap();
            let side = unet.config().sample_size as i64;
            let latents = wave("latents", &[2, 4, side, side]);
            for t in [1, 981] {
                let times = Tensor::full([2], t, (Kind::Float, CPU));
                near(&unet.forward(&latents, &times, &text).unwrap(), &format!("unet_{t}"));
            }
            let odd = if side == 4 { [1, 4, 6, 5] } else { [1, 4, side + 4, side - 1] };
            let text = unet.listen(&golden["embeddings"].narrow(0, 0, 1)).unwrap();
            let times = Tensor::full([1], 500, (Kind::Float, CPU));
            near(&unet.forward(&wave("odd", &odd), &times, &text).unwrap(), "unet_odd");
        }
        let near = |found: &Tensor, name: &str| {
            let distance = distance(found, &golden[name]);
            assert!(distance < 1e-5, "{model} {name}: {distance:e}");
        };
        let vae = Vae::load(&vae, &tensors(model, "vae"), Kind::Float, CPU, model).unwrap();
        near(&vae.encode(&wave("images", &[1, 3, 32, 48]).clamp(-1.0, 1.0)).unwrap(), "encoded");
        near(&vae.decode(&wave("decoded", &[1, 4, 4, 3])).unwrap(), "decoded");
    }
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let (unet, vae, _) = configs("one");
    let mut tensors = tensors("one", "unet");
    let one = tensors.remove("conv_in.bias").unwrap();
    tensors.insert("conv_in.bios".to_string(), one);
    let wide = UnetConfig { text_width: 25, ..unet };
    let Err(error) = Unet::load(&wide, &tensors, &Patches::new(), Kind::Float, CPU, true, "`sd/unet`") else {
        panic!("it fits")
    };
    let message = error.to_string();
    assert!(
        message.starts_with(
            "the weights of `sd/unet` do not fit its config: missing conv_in.bias; unexpected conv_in.bios; misshapen \
             down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight is [16, 24], not [16, 25], "
        ),
        "{message}"
    );
    assert!(Vae::load(&vae, &tensors, Kind::Float, CPU, "`sd/vae`").is_err());
}

/// The height and width of the walks' latents.
const LATENTS: [i64; 3] = [4, 4, 6];

#[test]
#[ignore = "writes the noise that tests/golden/sd.py reads"]
fn draws_the_noise() {
    let mut all = Named::from([("latents".to_string(), sampler::noise(&[KEY], &LATENTS))]);
    for step in 0..20 {
        all.insert(format!("step {step}"), sampler::step_noise(&[KEY], step, &LATENTS));
    }
    std::fs::write(folder("noise.safetensors"), weights::to_bytes(&all).unwrap()).unwrap();
}

pub const KEY: [u8; 32] = [7; 32];

/// How a walk of the script goes.
pub struct Walk {
    pub mode: &'static str,
    pub steps: usize,
    pub guidance: f64,
    pub rescale: f64,
    pub strength: f64,
}

const WALKS: [Walk; 7] = [
    Walk { mode: "t2i", steps: 5, guidance: 7.5, rescale: 0.0, strength: 1.0 },
    Walk { mode: "t2i", steps: 2, guidance: 1.0, rescale: 0.0, strength: 1.0 },
    Walk { mode: "t2i", steps: 6, guidance: 5.0, rescale: 0.7, strength: 1.0 },
    Walk { mode: "t2i", steps: 20, guidance: 4.0, rescale: 0.0, strength: 1.0 },
    Walk { mode: "i2i", steps: 5, guidance: 1.0, rescale: 0.0, strength: 0.6 },
    Walk { mode: "i2i", steps: 4, guidance: 3.0, rescale: 0.0, strength: 0.8 },
    Walk { mode: "i2i", steps: 6, guidance: 2.0, rescale: 0.0, strength: 1.0 },
];

/// The photo of the walks: as the script makes it.
fn photo() -> RgbImage {
    let bytes = uniform("photo", 3 * 32 * 48).map(|u| ((u + 0.5) * 256.0) as u8).collect();
    RgbImage::from_raw(48, 32, bytes).unwrap()
}

/// Those of the network that is told the guidance.
const LCM_WALKS: [Walk; 4] = [
    Walk { mode: "t2i", steps: 4, guidance: 8.0, rescale: 0.0, strength: 1.0 },
    Walk { mode: "t2i", steps: 3, guidance: 1.0, rescale: 0.0, strength: 1.0 },
    Walk { mode: "t2i", steps: 6, guidance: 2.5, rescale: 0.0, strength: 1.0 },
    Walk { mode: "i2i", steps: 4, guidance: 8.0, rescale: 0.0, strength: 0.8 },
];

/// A pipeline over a small checkpoint, and tokens that are its golden ones.
fn pipeline(model: &str, sampler: &str, walk: &Walk, batch: usize) -> Pipeline {
    pipeline_with(model, sampler, walk, batch, Default::default())
}

/// The same with what a LoRA adds to it.
pub fn pipeline_with(model: &str, sampler: &str, walk: &Walk, batch: usize, lora: Lora) -> Pipeline {
    let (unet, vae, text) = configs(model);
    let path = folder(model).join("scheduler/scheduler_config.json");
    let config = SchedulerConfig::read(&std::fs::read_to_string(&path).unwrap(), &path).unwrap();
    let Prescribed { kind, schedule, settings } =
        sampler::prescribed(&config, Some(SamplerKind::from_name(sampler).unwrap())).unwrap();
    let learned = lora.token_rows().unwrap();
    let parts = Parts {
        name: model.to_string(),
        text_config: &text,
        unet_config: &unet,
        vae_config: &vae,
        text: tensors(model, "text_encoder"),
        unet: tensors(model, "unet"),
        vae: tensors(model, "vae"),
        text_patches: lora.text,
        learned,
        unet_patches: lora.unet,
    };
    let options = Options {
        sampler: kind,
        steps: walk.steps,
        guidance: walk.guidance,
        guidance_rescale: walk.rescale,
        strength: walk.strength,
        width: 48,
        height: 32,
        batch,
        precision: Precision::Fp32,
    };
    Pipeline::new(parts, schedule, settings, options, CPU).unwrap()
}

pub fn request(golden: &Named, key: [u8; 32], source: Option<RgbImage>) -> Request {
    let ids = |row| Rc::from(Vec::<i64>::try_from(golden["ids"].get(row)).unwrap());
    Request { prompt: ids(0), negative: ids(1), start: Start::Key(key), source }
}

#[test]
fn walks_are_those_of_diffusers_pipelines() {
    for model in ["one", "two", "four"] {
        let walks = walks(model);
        let mut compared = 0;
        for sampler in SamplerKind::ALL.map(SamplerKind::name) {
            for walk in &WALKS {
                let name = format!("{sampler} {} {}", walk.mode, walk.steps);
                if !walks.contains_key(&format!("{name} latents")) {
                    // Diffusers cannot walk these few steps by Runge-Kutta either.
                    assert!(sampler == "pndm" && model != "one", "{model} {name}");
                    continue;
                }
                compared += same_walk(model, sampler, walk, &walks);
            }
        }
        assert!(compared > 300, "{compared}");
    }
}

/// What the script walked over a model.
fn walks(model: &str) -> Named {
    weights::from_bytes(&std::fs::read(folder(model).join("walks.safetensors")).unwrap(), "walks").unwrap()
}

/// Every step and the picture of a walk are those of diffusers; how many steps.
fn same_walk(model: &str, sampler: &str, walk: &Walk, walks: &Named) -> usize {
    let name = format!("{sampler} {} {}", walk.mode, walk.steps);
    let mut pipeline = pipeline(model, sampler, walk, 1);
    let source = (walk.mode == "i2i").then(photo);
    let mut latents = Vec::new();
    let made = pipeline
        .generate(&[request(&golden(model), KEY, source)], &mut |_, x| {
            latents.push(x.copy());
            Ok(())
        })
        .unwrap();
    let theirs = &walks[&format!("{name} latents")];
    assert_eq!(theirs.size()[0], latents.len() as i64, "{model} {name}");
    for (step, ours) in latents.iter().enumerate() {
        let distance = distance(ours, &theirs.narrow(0, step as i64, 1));
        assert!(distance < 1e-4, "{model} {name} step {step}: {distance:e}");
    }
    same_picture(made[0].image.as_ref().unwrap(), &walks[&format!("{name} image")], &name);
    latents.len()
}

#[test]
fn a_network_that_is_told_the_guidance_walks_as_in_diffusers_pipelines() {
    let walks = walks("lcm");
    let path = folder("lcm").join("scheduler/scheduler_config.json");
    let config = SchedulerConfig::read(&std::fs::read_to_string(&path).unwrap(), &path).unwrap();
    assert_eq!(sampler::prescribed(&config, None).unwrap().kind, SamplerKind::Lcm);
    for sampler in ["lcm", "ddim"] {
        for walk in &LCM_WALKS {
            same_walk("lcm", sampler, walk, &walks);
        }
    }
}

#[test]
fn a_network_that_is_told_the_guidance_hears_it_and_no_negative_prompt() {
    let golden = golden("lcm");
    let made = |guidance: f64, negative: i64| {
        let walk = Walk { mode: "t2i", steps: 2, guidance, rescale: 0.0, strength: 1.0 };
        let mut request = request(&golden, KEY, None);
        request.negative = request.negative.iter().map(|id| (id + negative) % 60).collect();
        let made = pipeline("lcm", "lcm", &walk, 2).generate(&[request], &mut |_, _| Ok(())).unwrap();
        made.into_iter().next().unwrap().latents
    };
    assert_eq!(made(8.0, 0), made(8.0, 1));
    assert!(distance(&made(8.0, 0), &made(2.0, 0)) > 0.01);
}

/// 99.9 % of the values of `[h, w, 3]` are within 1/255.
pub fn same_picture(ours: &RgbImage, theirs: &Tensor, what: &str) {
    let theirs: Vec<u8> = Vec::try_from(theirs.view([-1])).unwrap();
    assert_eq!(ours.as_raw().len(), theirs.len());
    let far = ours.as_raw().iter().zip(&theirs).filter(|(a, b)| a.abs_diff(**b) > 1).count();
    assert!(far * 1000 <= theirs.len(), "{what}: {far} of {} values differ", theirs.len());
}

#[test]
fn an_images_bits_are_its_own_in_full_and_partial_batches() {
    let golden = golden("one");
    let made = |keys: &[[u8; 32]]| {
        let walk = Walk { mode: "t2i", steps: 3, guidance: 4.0, rescale: 0.0, strength: 1.0 };
        let mut pipeline = pipeline("one", "euler-a", &walk, 3);
        let requests: Vec<Request> = keys.iter().map(|key| request(&golden, *key, None)).collect();
        let made = pipeline.generate(&requests, &mut |_, _| Ok(())).unwrap();
        made.into_iter().map(|made| made.image.unwrap().into_raw()).collect::<Vec<_>>()
    };
    let full = made(&[[1; 32], [2; 32], [3; 32]]);
    assert_eq!(made(&[[2; 32]]), [full[1].clone()]);
    assert_eq!(made(&[[3; 32], [1; 32]]), [full[2].clone(), full[0].clone()]);
}
