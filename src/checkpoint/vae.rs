//! `vae/config.json` of diffusers' `AutoencoderKL`, as each of its versions writes it: a field is honoured or refused
//! by name. Knows no tensors.

use std::path::Path;

use serde_json::json;

use super::config::VaeConfig;
use super::fields::Fields;
use super::unet::AVERAGING;
use crate::error::Result;

/// Reads the text of `path`.
///
/// # Errors
/// [`crate::error::Error::Input`] naming file and field of what cannot be honoured.
pub fn read(path: &Path, text: &str) -> Result<VaeConfig> {
    let mut f = Fields::parse(path, text)?;
    f.only("_class_name", &[json!("AutoencoderKL")])?;
    let channels = f.counts("block_out_channels", &[64])?;
    let n = channels.len();
    for (name, kind) in [("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")] {
        if f.words_by_level(name, n, &[kind])?.is_none() && n != 1 {
            return Err(f.wrong(&format!("`{name}` is missing, beside {n} entries of `block_out_channels`")));
        }
    }
    let norm_groups = f.count("norm_num_groups", 32)?;
    if let Some(width) = channels.iter().find(|&&width| !width.is_multiple_of(norm_groups)) {
        return Err(f.wrong(&format!("{width} channels do not fall into `norm_num_groups` = {norm_groups}")));
    }
    f.only("act_fn", &[json!("silu"), json!("swish")])?;
    f.only("shift_factor", &[json!(0.0)])?;
    f.only("latents_mean", &[])?;
    f.only("latents_std", &[])?;
    f.square("sample_size", 32)?; // read by diffusers' tiling alone
    f.pass(&AVERAGING);
    let config = VaeConfig {
        in_channels: f.count("in_channels", 3)?,
        out_channels: f.count("out_channels", 3)?,
        latent_channels: f.count("latent_channels", 4)?,
        channels,
        depth: f.count("layers_per_block", 1)?,
        norm_groups,
        scaling_factor: f.number("scaling_factor", 0.18215)?,
        force_upcast: f.flag("force_upcast", true)?,
        quant_conv: f.flag("use_quant_conv", true)?,
        post_quant_conv: f.flag("use_post_quant_conv", true)?,
        middle_attention: f.flag("mid_block_add_attention", true)?,
    };
    f.finish("an `AutoencoderKL`")?;
    Ok(config)
}
