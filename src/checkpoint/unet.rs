//! `unet/config.json` of diffusers' `UNet2DConditionModel`, as each of its versions writes it: a field is honoured or
//! refused by name. Knows no tensors.

use std::path::Path;

use serde_json::{Value, json};

use super::config::{UnetConfig, UnetLevel};
use super::fields::Fields;
use crate::error::Result;

/// Fields of other networks than those of Stable Diffusion 1.x, 2.x, SD-Turbo and LCM: they must be null.
const MUST_BE_NULL: [&str; 11] = [
    "addition_embed_type",
    "addition_time_embed_dim",
    "class_embed_type",
    "cross_attention_norm",
    "encoder_hid_dim",
    "encoder_hid_dim_type",
    "num_class_embeds",
    "projection_class_embeddings_input_dim",
    "reverse_transformer_layers_per_block",
    "time_embedding_act_fn",
    "timestep_post_act",
];

/// What a moving average of the weights leaves in the file: it says nothing of the network.
pub(super) const AVERAGING: [&str; 7] =
    ["decay", "inv_gamma", "min_decay", "optimization_step", "power", "update_after_step", "use_ema_warmup"];

/// Reads the text of `path`.
///
/// # Errors
/// [`crate::error::Error::Input`] naming file and field of what cannot be honoured.
pub fn read(path: &Path, text: &str) -> Result<UnetConfig> {
    let mut f = Fields::parse(path, text)?;
    f.only("_class_name", &[json!("UNet2DConditionModel")])?;
    let channels = f.counts("block_out_channels", &[320, 640, 1280, 1280])?;
    let n = channels.len();

    let down = f.words_by_level("down_block_types", n, &["DownBlock2D", "CrossAttnDownBlock2D"])?;
    let down = down.unwrap_or_else(|| (0..n).map(|level| usize::from(level + 1 < n)).collect());
    let up = f.words_by_level("up_block_types", n, &["UpBlock2D", "CrossAttnUpBlock2D"])?;
    let up = up.unwrap_or_else(|| (0..n).map(|level| usize::from(level > 0)).collect());
    let middle = !f.is_null("mid_block_type");
    f.only("mid_block_type", &[json!("UNetMidBlock2DCrossAttn")])?;

    // diffusers named the number of heads `attention_head_dim`, and so it has stayed: its issue 2011.
    let named = f.counts_by_level("num_attention_heads", n)?;
    let heads = f.counts_by_level("attention_head_dim", n)?;
    let heads = named.or(heads).unwrap_or_else(|| vec![8; n]);
    let depth = f.counts_by_level("layers_per_block", n)?.unwrap_or_else(|| vec![2; n]);
    let transformers = f.counts_by_level("transformer_layers_per_block", n)?.unwrap_or_else(|| vec![1; n]);
    let crossed = f.flags_by_level("only_cross_attention", n, false)?;
    let text = f.counts_by_level("cross_attention_dim", n)?.unwrap_or_else(|| vec![1280; n]);
    if text.iter().any(|&width| width != text[0]) {
        return Err(f.refuse("cross_attention_dim", &json!(text), "one width for all levels"));
    }
    if f.is_null("norm_num_groups") {
        return Err(f.refuse("norm_num_groups", &Value::Null, "a whole number"));
    }
    let norm_groups = f.count("norm_num_groups", 32)?;

    for (level, &width) in channels.iter().enumerate() {
        if !width.is_multiple_of(norm_groups) {
            return Err(f.wrong(&format!("{width} channels do not fall into `norm_num_groups` = {norm_groups}")));
        }
        let attends = down[level] == 1 || up[n - 1 - level] == 1 || (middle && level + 1 == n);
        if attends && !width.is_multiple_of(heads[level]) {
            return Err(f.wrong(&format!("{width} channels do not fall into {} attention heads", heads[level])));
        }
    }
    let levels = (0..n)
        .map(|i| UnetLevel {
            channels: channels[i],
            depth: depth[i],
            attends: down[i] == 1,
            heads: heads[i],
            transformers: transformers[i],
            only_cross_attention: crossed[i],
        })
        .collect();

    f.only("act_fn", &[json!("silu"), json!("swish")])?;
    f.only("attention_type", &[json!("default")])?;
    f.only("conv_in_kernel", &[json!(3)])?;
    f.only("conv_out_kernel", &[json!(3)])?;
    f.only("dropout", &[json!(0.0)])?;
    f.only("resnet_out_scale_factor", &[json!(1.0)])?;
    f.only("resnet_time_scale_shift", &[json!("default")])?;
    f.only("time_embedding_dim", &[json!(4 * channels[0])])?;
    f.only("time_embedding_type", &[json!("positional")])?;
    for name in
        ["class_embeddings_concat", "dual_cross_attention", "mid_block_only_cross_attention", "resnet_skip_time_act"]
    {
        f.only(name, &[json!(false)])?;
    }
    for name in MUST_BE_NULL {
        f.only(name, &[])?;
    }
    f.pass(&["addition_embed_type_num_heads"]); // of an embedding that must be null
    f.pass(&AVERAGING);

    let config = UnetConfig {
        in_channels: f.count("in_channels", 4)?,
        out_channels: f.count("out_channels", 4)?,
        sample_size: sample_size(&mut f)?,
        center_input: f.flag("center_input_sample", false)?,
        levels,
        up_attends: up.into_iter().map(|kind| kind == 1).collect(),
        middle,
        text_width: text[0],
        norm_groups,
        norm_epsilon: f.number("norm_eps", 1e-5)?,
        linear_projection: f.flag("use_linear_projection", false)?,
        upcast_attention: f.flag("upcast_attention", false)?,
        flip_sin_to_cos: f.flag("flip_sin_to_cos", true)?,
        frequency_shift: f.number("freq_shift", 0.0)?,
        downsample_padding: f.count_or_zero("downsample_padding", 1)? as i64,
        middle_scale: f.number("mid_block_scale_factor", 1.0)?,
        guidance_width: guidance_width(&mut f)?,
    };
    f.finish("a `UNet2DConditionModel`")?;
    Ok(config)
}

/// Channels of the guidance's embedding: fewer than two frequencies have no spacing.
fn guidance_width(f: &mut Fields) -> Result<Option<usize>> {
    let Some(value) = f.take("time_cond_proj_dim") else { return Ok(None) };
    let width = value.as_u64().filter(|&n| n >= 4).and_then(|n| usize::try_from(n).ok());
    width.map(Some).ok_or_else(|| f.refuse("time_cond_proj_dim", &value, "null or a whole number of at least 4"))
}

/// Side of the latents; 64 where it is unsaid, and where diffusers before 0.9 wrote the 32 of its default: diffusers
/// mends the latter in the same way.
fn sample_size(f: &mut Fields) -> Result<usize> {
    let version = f.take("_diffusers_version");
    let old = version.as_ref().and_then(Value::as_str).is_some_and(|version| {
        let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) < (0, 9)
    });
    let size = f.square("sample_size", 64)?;
    Ok(if old { size.max(64) } else { size })
}
