//! Tensor names of the original layout (CompVis, Stability AI: everything in one file) as diffusers' names. Knows no
//! files.
//!
//! | there | here |
//! |---|---|
//! | `model.diffusion_model.*` | the U-Net |
//! | `first_stage_model.*` | the autoencoder |
//! | `cond_stage_model.transformer.*` | the text encoder of 1.x, transformers' CLIP |
//! | `cond_stage_model.model.*` | the text encoder of 2.x, OpenCLIP: its last layer and its projection are not used |
//! | `model_ema.*`, the schedule's tables, the training's losses and words | passed over |

use super::Component;
use super::names::{self, Fate};

/// What of the networks' shapes the names depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Original {
    /// Residual blocks a level of the U-Net.
    pub depth: usize,
    /// Levels of the autoencoder.
    pub vae_levels: usize,
    /// Layers of the text encoder that are used.
    pub text_layers: usize,
}

/// Beginnings of names that no network here needs.
const PASSED: [&str; 21] = [
    "model_ema.",
    "cond_stage_model.logit_scale",
    "cond_stage_model.model.visual.",
    "cond_stage_model.text_projection",
    "embedding_manager.",
    "first_stage_model.loss.",
    "first_stage_model.model_ema.",
    "alphas_cumprod",
    "betas",
    "ddim_",
    "denoiser.sigmas",
    "global_step",
    "log_one_minus_alphas_cumprod",
    "logvar",
    "lvlb_weights",
    "posterior_",
    "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod",
    "sqrt_recip",
    "v_pred",
    "ztsnr",
];

impl Original {
    /// What becomes of the tensor `name`.
    pub fn fate(&self, name: &str) -> Fate {
        if PASSED.iter().any(|start| name.starts_with(start)) {
            return Fate::Passed;
        }
        let named = if let Some(rest) = name.strip_prefix("model.diffusion_model.") {
            self.unet(rest).map(|name| (Component::Unet, vec![name]))
        } else if let Some(rest) = name.strip_prefix("first_stage_model.") {
            self.vae(rest).map(|name| (Component::Vae, vec![name]))
        } else if let Some(rest) = name.strip_prefix("cond_stage_model.transformer.") {
            return names::fate(Component::TextEncoder, rest);
        } else if let Some(rest) = name.strip_prefix("cond_stage_model.model.") {
            return self.open_clip(rest);
        } else {
            None
        };
        named.map_or(Fate::Unknown, |(component, names)| Fate::Named(component, names))
    }

    fn unet(&self, name: &str) -> Option<String> {
        let (part, rest) = name.split_once('.')?;
        let (block, rest) = match part {
            "time_embed" => {
                let (layer, kind) = rest.split_once('.')?;
                let layer = if layer == "0" { 1 } else { 2 };
                return Some(format!("time_embedding.linear_{layer}.{kind}"));
            }
            "out" => {
                let (layer, kind) = rest.split_once('.')?;
                return Some(format!("{}.{kind}", if layer == "0" { "conv_norm_out" } else { "conv_out" }));
            }
            "middle_block" => {
                let (layer, rest) = rest.split_once('.')?;
                let block = match layer {
                    "0" => "mid_block.resnets.0",
                    "1" => "mid_block.attentions.0",
                    _ => "mid_block.resnets.1",
                };
                (block.to_string(), rest)
            }
            "input_blocks" | "output_blocks" => {
                let (block, rest) = rest.split_once('.')?;
                let (layer, rest) = rest.split_once('.')?;
                let block: usize = block.parse().ok()?;
                if part == "input_blocks" && block == 0 {
                    return Some(format!("conv_in.{rest}"));
                }
                // A level is its residual blocks and, on the way down, the convolution that ends it; the first
                // convolution goes before all. On the way up a level has one residual block more.
                let (side, place) = if part == "input_blocks" { ("down", block - 1) } else { ("up", block) };
                let (level, i) = (place / (self.depth + 1), place % (self.depth + 1));
                let block = format!("{side}_blocks.{level}");
                if let Some(kind) = rest.strip_prefix("op.") {
                    return Some(format!("{block}.downsamplers.0.conv.{kind}"));
                }
                if let Some(kind) = rest.strip_prefix("conv.") {
                    return Some(format!("{block}.upsamplers.0.conv.{kind}"));
                }
                (format!("{block}.{}.{i}", if layer == "0" { "resnets" } else { "attentions" }), rest)
            }
            _ => return None,
        };
        Some(format!("{block}.{}", if block.contains("resnets") { residual(rest)? } else { rest.to_string() }))
    }

    fn vae(&self, name: &str) -> Option<String> {
        if name.starts_with("quant_conv.") || name.starts_with("post_quant_conv.") {
            return Some(name.to_string());
        }
        let (half, rest) = name.split_once('.')?;
        let (part, rest) = rest.split_once('.')?;
        let shortcut = |rest: &str| rest.replace("nin_shortcut", "conv_shortcut");
        Some(match part {
            "conv_in" | "conv_out" => format!("{half}.{part}.{rest}"),
            "norm_out" => format!("{half}.conv_norm_out.{rest}"),
            "mid" => {
                let (block, rest) = rest.split_once('.')?;
                match block {
                    "block_1" => format!("{half}.mid_block.resnets.0.{}", shortcut(rest)),
                    "block_2" => format!("{half}.mid_block.resnets.1.{}", shortcut(rest)),
                    _ => {
                        let (layer, kind) = rest.split_once('.')?;
                        let layer = match layer {
                            "norm" => "group_norm",
                            "q" => "to_q",
                            "k" => "to_k",
                            "v" => "to_v",
                            "proj_out" => "to_out.0",
                            other => other,
                        };
                        format!("{half}.mid_block.attentions.0.{layer}.{kind}")
                    }
                }
            }
            "down" | "up" => {
                let (level, rest) = rest.split_once('.')?;
                let level: usize = level.parse().ok()?;
                // The decoder's levels are numbered from the finest there, from the coarsest here.
                let level = if part == "up" { (self.vae_levels - 1).checked_sub(level)? } else { level };
                let (layer, rest) = rest.split_once('.')?;
                let layer = match layer {
                    "block" => "resnets",
                    "downsample" => "downsamplers.0",
                    "upsample" => "upsamplers.0",
                    _ => return None,
                };
                format!("{half}.{part}_blocks.{level}.{layer}.{}", shortcut(rest))
            }
            _ => return None,
        })
    }

    fn open_clip(&self, name: &str) -> Fate {
        let named = |name: String| Fate::Named(Component::TextEncoder, vec![format!("text_model.{name}")]);
        if let Some(kind) = name.strip_prefix("ln_final.") {
            return named(format!("final_layer_norm.{kind}"));
        }
        if let Some(rest) = name.strip_prefix("transformer.resblocks.") {
            return self.open_clip_layer(rest).unwrap_or(Fate::Unknown);
        }
        match name {
            "positional_embedding" => named("embeddings.position_embedding.weight".into()),
            "token_embedding.weight" => named("embeddings.token_embedding.weight".into()),
            "text_projection" | "logit_scale" | "attn_mask" => Fate::Passed,
            _ => Fate::Unknown,
        }
    }

    fn open_clip_layer(&self, name: &str) -> Option<Fate> {
        let (layer, rest) = name.split_once('.')?;
        let layer: usize = layer.parse().ok()?;
        if layer >= self.text_layers {
            return Some(Fate::Passed);
        }
        let head = format!("text_model.encoder.layers.{layer}");
        let names = if let Some(kind) = rest.strip_prefix("attn.in_proj_") {
            ["q", "k", "v"].map(|part| format!("{head}.self_attn.{part}_proj.{kind}")).to_vec()
        } else {
            let (part, kind) = rest.rsplit_once('.')?;
            let part = match part {
                "attn.out_proj" => "self_attn.out_proj",
                "ln_1" => "layer_norm1",
                "ln_2" => "layer_norm2",
                "mlp.c_fc" => "mlp.fc1",
                "mlp.c_proj" => "mlp.fc2",
                _ => return None,
            };
            vec![format!("{head}.{part}.{kind}")]
        };
        Some(Fate::Named(Component::TextEncoder, names))
    }
}

/// Layers of a residual block.
fn residual(name: &str) -> Option<String> {
    const LAYERS: [(&str, &str); 6] = [
        ("in_layers.0.", "norm1."),
        ("in_layers.2.", "conv1."),
        ("emb_layers.1.", "time_emb_proj."),
        ("out_layers.0.", "norm2."),
        ("out_layers.3.", "conv2."),
        ("skip_connection.", "conv_shortcut."),
    ];
    LAYERS.iter().find_map(|(there, here)| name.strip_prefix(there).map(|kind| format!("{here}{kind}")))
}
