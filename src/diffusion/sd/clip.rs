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
    learned: Option<Learned>,
}

/// Embeddings of tokens beyond the vocabulary.
struct Learned {
    /// `[tokens, width]`.
    start: Tensor,
    /// What is added in training; changes between passes.
    more: Option<Tensor>,
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
            learned: None,
        };
        all.finish(what)?;
        Ok(encoder)
    }

    /// The same that knows more tokens than its vocabulary, numbered after it: their embeddings are `start` `[tokens, width]`
    /// and, in training, `more`.
    pub fn learning(self, start: &Tensor, more: Option<&Tensor>) -> TextEncoder {
        let learned = Learned { start: start.to_device(self.tokens.device()), more: more.map(Tensor::shallow_clone) };
        TextEncoder { learned: Some(learned), ..self }
    }

    /// Whether it has an embedding of this token.
    #[cfg(test)]
    pub fn knows(&self, token: i64) -> bool {
        token < self.tokens.size()[0] + self.learned.as_ref().map_or(0, |learned| learned.start.size()[0])
    }

    /// `[batch, positions]` to `[batch, positions, width]`.
    fn embed(&self, ids: &Tensor) -> Out {
        let Some(Learned { start, more }) = &self.learned else {
            return Tensor::f_embedding(&self.tokens, ids, -1, false, false);
        };
        let rows = match more {
            None => start.shallow_clone(),
            Some(more) => start.f_add(more)?,
        };
        let rows = rows.f_to_kind(self.tokens.kind())?;
        let first = self.tokens.size()[0];
        let own = Tensor::f_embedding(&self.tokens, &ids.f_clamp_max(first - 1)?, -1, false, false)?;
        let learned = Tensor::f_embedding(&rows, &ids.f_sub_scalar(first)?.f_clamp_min(0)?, -1, false, false)?;
        learned.f_where_self(&ids.f_ge(first)?.f_unsqueeze(-1)?, &own)
    }

    /// Token numbers `[batch, positions]`, i64, to `[batch, positions, width]`: the last layer's output, normalised, which
    /// is what Stable Diffusion's U-Nets attend to.
    pub fn forward(&self, ids: &Tensor) -> Out {
        let places = ids.size()[1];
        let x = self.embed(ids)?;
        let x = x.f_add(&self.positions.f_narrow(0, 0, places)?)?;
        let x = self.blocks.iter().try_fold(x, |x, block| block.forward(&x, &self.config))?;
        self.last_norm.forward(&x)
    }
}
