//! CLIP's text encoder (Radford et al. 2021): token numbers in, an embedding a token out. Knows no vocabulary.

use tch::{Device, Kind, Tensor};

use super::adapters::Adapters;
use super::layers::{LayerNorm, Linear, Out, attend};
use super::load::Loader;
use super::lora::Patches;
use crate::checkpoint::config::{Activation, TextEncoderConfig};
use crate::checkpoint::tensors::Tensors;
use crate::error::Result;

/// One layer: attention to earlier tokens, then a feed-forward map, each normalised before and added to its input.
struct Block {
    norm1: LayerNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    norm2: LayerNorm,
    up: Linear,
    down: Linear,
}

impl Block {
    fn load(from: &Loader<'_>, config: &TextEncoderConfig) -> Block {
        let (width, inner) = (config.width as i64, config.inner as i64);
        let attention = from.sub("self_attn");
        let map = |name: &str| Linear::load(&attention.sub(name), width, width);
        Block {
            norm1: LayerNorm::load(&from.sub("layer_norm1"), width, config.epsilon),
            q: map("q_proj"),
            k: map("k_proj"),
            v: map("v_proj"),
            out: map("out_proj"),
            norm2: LayerNorm::load(&from.sub("layer_norm2"), width, config.epsilon),
            up: Linear::load(&from.sub("mlp.fc1"), width, inner),
            down: Linear::load(&from.sub("mlp.fc2"), inner, width),
        }
    }

    fn forward(&self, x: &Tensor, config: &TextEncoderConfig) -> Out {
        let h = self.norm1.forward(x)?;
        let (q, k, v) = (self.q.forward(&h)?, self.k.forward(&h)?, self.v.forward(&h)?);
        let x = x.f_add(&self.out.forward(&attend(&q, &k, &v, config.heads as i64, false, true)?)?)?;
        let h = self.up.forward(&self.norm2.forward(&x)?)?;
        let h = match config.activation {
            Activation::QuickGelu => h.f_mul(&h.f_mul_scalar(1.702)?.f_sigmoid()?)?,
            Activation::Gelu => h.f_gelu("none")?,
        };
        x.f_add(&self.down.forward(&h)?)
    }
}

/// The encoder.
pub struct TextEncoder {
    config: TextEncoderConfig,
    tokens: Tensor,
    positions: Tensor,
    blocks: Vec<Block>,
    last_norm: LayerNorm,
}

impl TextEncoder {
    /// `patches`: what LoRAs add; `inference`: no gradients will be asked for; `what` names the file in messages.
    ///
    /// # Errors
    /// [`Error::Input`](crate::error::Error::Input) where the tensors are not the config's.
    pub fn load(
        config: &TextEncoderConfig,
        tensors: &Tensors,
        patches: &Patches,
        kind: Kind,
        device: Device,
        inference: bool,
        what: &str,
    ) -> Result<TextEncoder> {
        TextEncoder::build(config, Loader::new(tensors, kind, device, inference).patched(patches), what)
    }

    /// With adapters that are asked for gradients; the weights themselves, with what `patches` add to them, never are.
    ///
    /// # Errors
    /// [`Error::Input`](crate::error::Error::Input) where the tensors are not the config's.
    pub fn adapted(
        config: &TextEncoderConfig,
        tensors: &Tensors,
        patches: &Patches,
        adapters: &Adapters,
        kind: Kind,
        device: Device,
        what: &str,
    ) -> Result<TextEncoder> {
        TextEncoder::build(config, Loader::new(tensors, kind, device, false).patched(patches).adapted(adapters), what)
    }

    fn build(config: &TextEncoderConfig, all: Loader<'_>, what: &str) -> Result<TextEncoder> {
        let from = all.sub("text_model");
        let width = config.width as i64;
        let embeddings = from.sub("embeddings");
        let encoder = TextEncoder {
            tokens: embeddings.get("token_embedding.weight", &[config.vocabulary as i64, width]),
            positions: embeddings.get("position_embedding.weight", &[config.positions as i64, width]),
            blocks: (0..config.layers).map(|i| Block::load(&from.sub(format!("encoder.layers.{i}")), config)).collect(),
            last_norm: LayerNorm::load(&from.sub("final_layer_norm"), width, config.epsilon),
            config: config.clone(),
        };
        all.finish(what)?;
        Ok(encoder)
    }

    /// Token numbers `[batch, positions]`, i64, to `[batch, positions, width]`: the last layer's output, normalised, which
    /// is what Stable Diffusion's U-Nets attend to.
    pub fn forward(&self, ids: &Tensor) -> Out {
        let places = ids.size()[1];
        let x = Tensor::f_embedding(&self.tokens, ids, -1, false, false)?;
        let x = x.f_add(&self.positions.f_narrow(0, 0, places)?)?;
        let x = self.blocks.iter().try_fold(x, |x, block| block.forward(&x, &self.config))?;
        self.last_norm.forward(&x)
    }
}
