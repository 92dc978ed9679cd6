use tch::{Device, Kind, Tensor};

use super::clip::TextEncoder;
use super::fixture::{distance, golden, tensors, wave};
use super::lora::Patches;
use super::unet::Unet;
use super::vae::Vae;
use crate::checkpoint::config::{Activation, TextEncoderConfig, UnetConfig, UnetLevel, VaeConfig};

const CPU: Device = Device::Cpu;

fn level(channels: usize, depth: usize, attends: bool, heads: usize) -> UnetLevel {
    UnetLevel { channels, depth, attends, heads, transformers: 1, only_cross_attention: false }
}

fn configs(model: &str) -> (UnetConfig, VaeConfig, TextEncoderConfig) {
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
        "one" => (
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
    for model in ["one", "two", "four"] {
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
            let odd = if model == "one" { [1, 4, 6, 5] } else { [1, 4, side + 4, side - 1] };
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
