//! Configurations as the published checkpoints have them, and fields that are refused.

use std::path::Path;

use super::config::{Activation, UnetConfig, UnetLevel};
use super::published::{TEXT_2 as TEXT_21, UNET_1 as UNET_15, UNET_2 as UNET_21, VAE as VAE_15};
use super::{text_encoder, unet, vae};

/// What SD-Turbo's, by diffusers 0.24, says besides.
const TURBO_MORE: &str = r#""addition_embed_type": null, "addition_embed_type_num_heads": 64,
"addition_time_embed_dim": null, "attention_type": "default", "class_embed_type": null,
"class_embeddings_concat": false, "conv_in_kernel": 3, "conv_out_kernel": 3, "cross_attention_norm": null,
"dropout": 0.0, "encoder_hid_dim": null, "encoder_hid_dim_type": null, "mid_block_only_cross_attention": null,
"mid_block_type": "UNetMidBlock2DCrossAttn", "num_attention_heads": null,
"projection_class_embeddings_input_dim": null, "resnet_out_scale_factor": 1.0, "resnet_skip_time_act": false,
"resnet_time_scale_shift": "default", "reverse_transformer_layers_per_block": null, "time_cond_proj_dim": null,
"time_embedding_act_fn": null, "time_embedding_dim": null, "time_embedding_type": "positional",
"timestep_post_act": null, "transformer_layers_per_block": 1, "_name_or_path": "x", "act_fn""#;

const AT: &str = "sd/unet/config.json";

fn level(channels: usize, attends: bool, heads: usize) -> UnetLevel {
    UnetLevel { channels, depth: 2, attends, heads, transformers: 1, only_cross_attention: false }
}

/// The message that a change of SD 2.1's U-Net is refused with.
fn refused(from: &str, to: &str) -> String {
    assert!(UNET_21.contains(from), "{from}");
    unet::read(Path::new(AT), &UNET_21.replace(from, to)).unwrap_err().to_string()
}

#[test]
fn the_u_nets_of_1_5_2_1_turbo_and_lcm_are_read_as_published() {
    let one = unet::read(Path::new(AT), UNET_15).unwrap();
    let levels = [level(320, true, 8), level(640, true, 8), level(1280, true, 8), level(1280, false, 8)];
    assert_eq!(one.levels, levels);
    assert_eq!(one.up_attends, [false, true, true, true]);
    assert_eq!((one.text_width, one.sample_size, one.norm_groups, one.norm_epsilon), (768, 64, 32, 1e-5));
    assert!(one.middle && one.flip_sin_to_cos && !one.linear_projection && !one.upcast_attention && !one.center_input);

    let two = unet::read(Path::new(AT), UNET_21).unwrap();
    let levels = [level(320, true, 5), level(640, true, 10), level(1280, true, 20), level(1280, false, 20)];
    assert_eq!(two.levels, levels);
    assert_eq!((two.text_width, two.sample_size), (1024, 96));
    assert!(two.linear_projection && two.upcast_attention);

    let turbo = UNET_21.replace("\"act_fn\"", TURBO_MORE).replace("96", "64");
    assert_eq!(unet::read(Path::new(AT), &turbo).unwrap(), UnetConfig { sample_size: 64, ..two });

    // LCM Dreamshaper v7 is 1.5 that is told the guidance.
    let more = TURBO_MORE.replace("\"time_cond_proj_dim\": null", "\"time_cond_proj_dim\": 256");
    let lcm = UNET_15.replace("\"act_fn\"", &more);
    assert_eq!(unet::read(Path::new(AT), &lcm).unwrap(), UnetConfig { guidance_width: Some(256), ..one });
}

#[test]
fn an_empty_configuration_is_the_defaults_of_diffusers_and_transformers() {
    let unet = unet::read(Path::new(AT), "{}").unwrap();
    assert_eq!((unet.text_width, unet.levels[0].heads, unet.levels.len(), unet.in_channels), (1280, 8, 4, 4));
    let vae = vae::read(Path::new("vae"), "{}").unwrap();
    assert_eq!((vae.channels.as_slice(), vae.depth, vae.scaling_factor), ([64].as_slice(), 1, 0.18215));
    assert!(vae.force_upcast && vae.quant_conv && vae.post_quant_conv && vae.middle_attention);
    let text = text_encoder::read(Path::new("text"), "{}").unwrap();
    assert_eq!((text.vocabulary, text.positions, text.width, text.inner, text.layers), (49408, 77, 512, 2048, 12));
    assert_eq!((text.heads, text.activation, text.epsilon), (8, Activation::QuickGelu, 1e-5));
}

#[test]
fn the_text_encoder_of_2_1_and_the_autoencoder_of_1_5_are_read_as_published() {
    let text = text_encoder::read(Path::new("text"), TEXT_21).unwrap();
    assert_eq!((text.width, text.inner, text.layers, text.heads), (1024, 4096, 23, 16));
    assert_eq!((text.activation, text.vocabulary, text.positions), (Activation::Gelu, 49408, 77));
    let whole = format!(
        r#"{{"model_type": "clip", "architectures": ["CLIPModel"], "text_config_dict": null,
        "vision_config": {{"hidden_size": 9}}, "text_config": {TEXT_21}}}"#
    );
    assert_eq!(text_encoder::read(Path::new("text"), &whole).unwrap(), text);

    let vae = vae::read(Path::new("vae"), VAE_15).unwrap();
    assert_eq!((vae.channels.as_slice(), vae.depth), ([128, 256, 512, 512].as_slice(), 2));
    assert_eq!((vae.in_channels, vae.out_channels, vae.latent_channels, vae.norm_groups), (3, 3, 4, 32));
}

#[test]
fn a_field_that_cannot_be_honoured_is_named_with_its_value() {
    let cases = [
        (
            r#""num_class_embeds": null"#,
            r#""num_class_embeds": 1000"#,
            "`num_class_embeds` = 1000 is not supported, only null is",
        ),
        (
            r#""act_fn": "silu""#,
            r#""class_embed_type": "timestep""#,
            "`class_embed_type` = \"timestep\" is not supported, only null is",
        ),
        (
            r#""act_fn": "silu""#,
            r#""act_fn": "gelu""#,
            "`act_fn` = \"gelu\" is not supported, only \"silu\" or \"swish\" is",
        ),
        (
            r#""act_fn": "silu""#,
            r#""time_cond_proj_dim": 3"#,
            "`time_cond_proj_dim` = 3 is not supported, null or a whole number of at least 4 is",
        ),
        (
            r#""dual_cross_attention": false"#,
            r#""dual_cross_attention": true"#,
            "`dual_cross_attention` = true is not supported, only false is",
        ),
        (
            "[5, 10, 20, 20]",
            "[5, 10]",
            "`attention_head_dim` = [5,10] is not supported, a whole number of at least 1, or a list of 4 of them, is",
        ),
        ("[5, 10, 20, 20]", "[7, 10, 20, 20]", "320 channels do not fall into 7 attention heads"),
        (
            r#""DownBlock2D""#,
            r#""AttnDownBlock2D""#,
            "`down_block_types` = [\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\",\"AttnDownBlock2D\"] is not supported, a list of 4 of `DownBlock2D` and `CrossAttnDownBlock2D` is",
        ),
        (
            r#""act_fn": "silu""#,
            r#""wings": 2, "beak": "red""#,
            "`wings` = 2, `beak` = \"red\" are no known fields of a `UNet2DConditionModel`",
        ),
        (
            r#""layers_per_block": 2"#,
            r#""layers_per_block": 0"#,
            "`layers_per_block` = 0 is not supported, a whole number of at least 1, or a list of 4 of them, is",
        ),
        (
            r#""norm_num_groups": 32"#,
            r#""norm_num_groups": null"#,
            "`norm_num_groups` = null is not supported, a whole number is",
        ),
        (
            "\"UNet2DConditionModel\"",
            "\"UNet2DModel\"",
            "`_class_name` = \"UNet2DModel\" is not supported, only \"UNet2DConditionModel\" is",
        ),
    ];
    for (from, to, message) in cases {
        assert_eq!(refused(from, to), format!("`{AT}`: {message}"));
    }
    let other = TEXT_21.replace("\"gelu\"", "\"gelu_new\"");
    assert_eq!(
        text_encoder::read(Path::new("t.json"), &other).unwrap_err().to_string(),
        "`t.json`: `hidden_act` = \"gelu_new\" is not supported, \"quick_gelu\" or \"gelu\" is"
    );
    let other = VAE_15.replace("\"sample_size\": 512", "\"shift_factor\": 0.1159");
    assert_eq!(
        vae::read(Path::new("v.json"), &other).unwrap_err().to_string(),
        "`v.json`: `shift_factor` = 0.1159 is not supported, only 0.0 is"
    );
}

#[test]
fn fields_by_level_and_the_quirks_of_old_versions_are_honoured() {
    let per_level = UNET_21
        .replace(
            "\"layers_per_block\": 2",
            "\"layers_per_block\": [1, 2, 2, 1], \"transformer_layers_per_block\": [1, 2, 1, 1]",
        )
        .replace("\"only_cross_attention\": false", "\"only_cross_attention\": [true, false, false, false]")
        .replace("\"act_fn\"", "\"mid_block_type\": null, \"decay\": 0.9999, \"act_fn\"");
    let config = unet::read(Path::new(AT), &per_level).unwrap();
    assert_eq!(config.levels.iter().map(|level| level.depth).collect::<Vec<_>>(), [1, 2, 2, 1]);
    assert_eq!(config.levels.iter().map(|level| level.transformers).collect::<Vec<_>>(), [1, 2, 1, 1]);
    assert!(config.levels[0].only_cross_attention && !config.levels[1].only_cross_attention && !config.middle);
    // diffusers before 0.9 wrote 32 for 64, and mends it; later versions mean what they say.
    let old = unet::read(Path::new(AT), &UNET_15.replace("\"sample_size\": 64", "\"sample_size\": 32")).unwrap();
    assert_eq!(old.sample_size, 64);
    let new = unet::read(Path::new(AT), &UNET_21.replace("96", "32")).unwrap();
    assert_eq!(new.sample_size, 32);
}
