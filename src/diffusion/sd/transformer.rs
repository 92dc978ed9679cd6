//! The U-Net's attention blocks (Rombach et al. 2022, section 3.3): places look at each other, then at the text. Knows no
//! timestep.

use tch::Tensor;

use super::layers::{Conv, GroupNorm, LayerNorm, Linear, Out, attend};
use super::load::Loader;

/// Epsilon of the group norm before the transformer.
const EPSILON: f64 = 1e-6;

/// Sizes of an attention block.
#[derive(Clone, Copy)]
pub struct Config {
    pub channels: i64,
    pub heads: i64,
    /// Transformer blocks.
    pub depth: usize,
    /// Channels of a text token.
    pub text: i64,
    pub groups: i64,
    /// Projects by linear layers, not by 1x1 convolutions.
    pub linear: bool,
    pub upcast: bool,
    pub only_cross: bool,
}

/// Attention to places, or to something else.
struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
}

impl Attention {
    fn load(from: &Loader<'_>, channels: i64, others: i64) -> Attention {
        Attention {
            q: Linear::unbiased(&from.sub("to_q"), channels, channels),
            k: Linear::unbiased(&from.sub("to_k"), others, channels),
            v: Linear::unbiased(&from.sub("to_v"), others, channels),
            out: Linear::load(&from.sub("to_out.0"), channels, channels),
        }
    }

    fn keys_and_values(&self, of: &Tensor) -> Result<KeysAndValues, tch::TchError> {
        Ok((self.k.forward(of)?, self.v.forward(of)?))
    }

    fn forward(&self, x: &Tensor, (k, v): &KeysAndValues, config: &Config) -> Out {
        self.out.forward(&attend(&self.q.forward(x)?, k, v, config.heads, config.upcast, false)?)
    }
}

/// What the text is to one attention: the same at every step of a walk.
pub type KeysAndValues = (Tensor, Tensor);

/// A gated feed-forward map (GEGLU, Shazeer 2020).
struct FeedForward {
    up: Linear,
    down: Linear,
}

impl FeedForward {
    fn load(from: &Loader<'_>, channels: i64) -> FeedForward {
        FeedForward {
            up: Linear::load(&from.sub("net.0.proj"), channels, 8 * channels),
            down: Linear::load(&from.sub("net.2"), 4 * channels, channels),
        }
    }

    fn forward(&self, x: &Tensor) -> Out {
        let halves = self.up.forward(x)?.f_chunk(2, -1)?;
        self.down.forward(&halves[0].f_mul(&halves[1].f_gelu("none")?)?)
    }
}

/// Self-attention, attention to the text, a feed-forward map; each normalised before and added to its input.
struct Block {
    norm1: LayerNorm,
    places: Attention,
    norm2: LayerNorm,
    text: Attention,
    norm3: LayerNorm,
    feed_forward: FeedForward,
}

impl Block {
    fn load(from: &Loader<'_>, config: &Config) -> Block {
        let norm = |name: &str| LayerNorm::load(&from.sub(name), config.channels, 1e-5);
        let own = if config.only_cross { config.text } else { config.channels };
        Block {
            norm1: norm("norm1"),
            places: Attention::load(&from.sub("attn1"), config.channels, own),
            norm2: norm("norm2"),
            text: Attention::load(&from.sub("attn2"), config.channels, config.text),
            norm3: norm("norm3"),
            feed_forward: FeedForward::load(&from.sub("ff"), config.channels),
        }
    }
}

/// An attention block of the U-Net.
pub struct Transformer {
    config: Config,
    norm: GroupNorm,
    into: Projection,
    blocks: Vec<Block>,
    out: Projection,
}

/// A map of channels at every place.
enum Projection {
    Conv(Conv),
    Linear(Linear),
}

impl Projection {
    fn load(from: &Loader<'_>, config: &Config) -> Projection {
        match config.linear {
            true => Projection::Linear(Linear::load(from, config.channels, config.channels)),
            false => Projection::Conv(Conv::load(from, config.channels, config.channels, 1)),
        }
    }
}

impl Transformer {
    pub fn load(from: &Loader<'_>, config: Config) -> Transformer {
        Transformer {
            norm: GroupNorm::load(&from.sub("norm"), config.channels, config.groups, EPSILON),
            into: Projection::load(&from.sub("proj_in"), &config),
            blocks: (0..config.depth)
                .map(|i| Block::load(&from.sub(format!("transformer_blocks.{i}")), &config))
                .collect(),
            out: Projection::load(&from.sub("proj_out"), &config),
            config,
        }
    }

    /// How many texts [`Transformer::listen`] adds.
    pub fn hears(&self) -> usize {
        self.blocks.len() * if self.config.only_cross { 2 } else { 1 }
    }

    /// What the text `[batch, tokens, text]` is to each attention, in the order in which [`Transformer::forward`] takes it.
    pub fn listen(&self, text: &Tensor, heard: &mut Vec<KeysAndValues>) -> Result<(), tch::TchError> {
        for block in &self.blocks {
            if self.config.only_cross {
                heard.push(block.places.keys_and_values(text)?);
            }
            heard.push(block.text.keys_and_values(text)?);
        }
        Ok(())
    }

    /// `[batch, channels, h, w]`, channels innermost in memory; takes from `text` what [`Transformer::listen`] added.
    pub fn forward<'t>(&self, x: &Tensor, text: &mut impl Iterator<Item = &'t KeysAndValues>) -> Out {
        let (batch, channels, h, w) = x.size4()?;
        let places = |x: &Tensor| -> Out { x.f_permute([0, 2, 3, 1])?.f_reshape([batch, h * w, channels]) };
        let map = |x: &Tensor| -> Out { x.f_view([batch, h, w, channels])?.f_permute([0, 3, 1, 2]) };
        let normed = self.norm.forward(x)?;
        let mut y = match &self.into {
            Projection::Conv(conv) => places(&conv.forward(&normed)?)?,
            Projection::Linear(linear) => linear.forward(&places(&normed)?)?,
        };
        for block in &self.blocks {
            y = self.block(block, &y, text)?;
        }
        let y = match &self.out {
            Projection::Conv(conv) => conv.forward(&map(&y)?)?,
            Projection::Linear(linear) => map(&linear.forward(&y)?)?,
        };
        x.f_add(&y)
    }

    /// `[batch, places, channels]`.
    fn block<'t>(&self, block: &Block, y: &Tensor, text: &mut impl Iterator<Item = &'t KeysAndValues>) -> Out {
        let nothing = || tch::TchError::Torch("the text was not made for this network".to_string());
        let h = block.norm1.forward(y)?;
        let mixed = match self.config.only_cross {
            true => block.places.forward(&h, text.next().ok_or_else(nothing)?, &self.config)?,
            false => block.places.forward(&h, &block.places.keys_and_values(&h)?, &self.config)?,
        };
        let y = y.f_add(&mixed)?;
        let heard = text.next().ok_or_else(nothing)?;
        let y = y.f_add(&block.text.forward(&block.norm2.forward(&y)?, heard, &self.config)?)?;
        y.f_add(&block.feed_forward.forward(&block.norm3.forward(&y)?)?)
    }
}
