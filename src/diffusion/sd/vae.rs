//! The autoencoder (Rombach et al. 2022, appendix G): images to latents and back, at an eighth of the resolution. Knows no
//! diffusion.

use tch::{Device, Kind, Tensor};

use super::blocks::{Doubling, Downsample, Resnet, ResnetConfig};
use super::layers::{Conv, GroupNorm, Linear, Out, attend};
use super::load::Loader;
use crate::checkpoint::config::VaeConfig;
use crate::checkpoint::tensors::Tensors;
use crate::error::Result;
use crate::nn::blocks::channels_last;

/// Epsilon of all its group norms.
const EPSILON: f64 = 1e-6;

fn resnet(from: &Loader<'_>, config: &VaeConfig, inputs: i64, outputs: i64) -> Resnet {
    let groups = config.norm_groups as i64;
    Resnet::load(from, ResnetConfig { inputs, outputs, time: None, groups, epsilon: EPSILON, scale: 1.0 })
}

/// Attention of one head over all places, added to its input.
struct Attention {
    norm: GroupNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
}

impl Attention {
    fn load(from: &Loader<'_>, channels: i64, groups: i64) -> Attention {
        let map = |name: &str| Linear::load(&from.sub(name), channels, channels);
        Attention {
            norm: GroupNorm::load(&from.sub("group_norm"), channels, groups, EPSILON),
            q: map("to_q"),
            k: map("to_k"),
            v: map("to_v"),
            out: map("to_out.0"),
        }
    }

    fn forward(&self, x: &Tensor) -> Out {
        let (batch, channels, h, w) = x.size4()?;
        let places = self.norm.forward(x)?.f_permute([0, 2, 3, 1])?.f_reshape([batch, h * w, channels])?;
        let (q, k, v) = (self.q.forward(&places)?, self.k.forward(&places)?, self.v.forward(&places)?);
        let mixed = self.out.forward(&attend(&q, &k, &v, 1, false, false)?)?;
        x.f_add(&mixed.f_view([batch, h, w, channels])?.f_permute([0, 3, 1, 2])?)
    }
}

/// A residual block, attention, a residual block, at the coarsest level.
struct Middle {
    first: Resnet,
    attention: Option<Attention>,
    last: Resnet,
}

impl Middle {
    fn load(from: &Loader<'_>, config: &VaeConfig, channels: i64) -> Middle {
        let attention = config.middle_attention;
        Middle {
            first: resnet(&from.sub("resnets.0"), config, channels, channels),
            attention: attention
                .then(|| Attention::load(&from.sub("attentions.0"), channels, config.norm_groups as i64)),
            last: resnet(&from.sub("resnets.1"), config, channels, channels),
        }
    }

    fn forward(&self, x: &Tensor) -> Out {
        let x = self.first.forward(x, None)?;
        let x = match &self.attention {
            Some(attention) => attention.forward(&x)?,
            None => x,
        };
        self.last.forward(&x, None)
    }
}

/// Images to the mean of their latents.
struct Encoder {
    first: Conv,
    levels: Vec<(Vec<Resnet>, Option<Downsample>)>,
    middle: Middle,
    norm: GroupNorm,
    last: Conv,
    quant: Option<Conv>,
}

impl Encoder {
    fn load(all: &Loader<'_>, config: &VaeConfig) -> Encoder {
        let from = all.sub("encoder");
        let channels: Vec<i64> = config.channels.iter().map(|&n| n as i64).collect();
        let deepest = channels[channels.len() - 1];
        let latent = config.latent_channels as i64;
        let levels = (0..channels.len()).map(|level| {
            let from = from.sub(format!("down_blocks.{level}"));
            let inputs = |block: usize| if block == 0 { channels[level.saturating_sub(1)] } else { channels[level] };
            let blocks = (0..config.depth)
                .map(|block| resnet(&from.sub(format!("resnets.{block}")), config, inputs(block), channels[level]));
            let blocks = blocks.collect();
            let halves = level + 1 < channels.len();
            (blocks, halves.then(|| Downsample::load(&from.sub("downsamplers.0"), channels[level], 0)))
        });
        Encoder {
            first: Conv::load(&from.sub("conv_in"), config.in_channels as i64, channels[0], 3),
            levels: levels.collect(),
            middle: Middle::load(&from.sub("mid_block"), config, deepest),
            norm: GroupNorm::load(&from.sub("conv_norm_out"), deepest, config.norm_groups as i64, EPSILON),
            last: Conv::load(&from.sub("conv_out"), deepest, 2 * latent, 3),
            quant: config.quant_conv.then(|| Conv::load(&all.sub("quant_conv"), 2 * latent, 2 * latent, 1)),
        }
    }

    fn forward(&self, x: &Tensor) -> Out {
        let mut x = self.first.forward(x)?;
        for (blocks, halve) in &self.levels {
            for block in blocks {
                x = block.forward(&x, None)?;
            }
            if let Some(halve) = halve {
                x = halve.forward(&x)?;
            }
        }
        let x = self.last.forward(&self.norm.forward_silu(&self.middle.forward(&x)?)?)?;
        match &self.quant {
            Some(quant) => quant.forward(&x),
            None => Ok(x),
        }
    }
}

/// Latents to images.
struct Decoder {
    quant: Option<Conv>,
    first: Conv,
    middle: Middle,
    levels: Vec<(Vec<Resnet>, Option<Doubling>)>,
    norm: GroupNorm,
    last: Conv,
}

impl Decoder {
    fn load(all: &Loader<'_>, config: &VaeConfig) -> Decoder {
        let from = all.sub("decoder");
        let channels: Vec<i64> = config.channels.iter().rev().map(|&n| n as i64).collect();
        let latent = config.latent_channels as i64;
        let finest = channels[channels.len() - 1];
        let levels = (0..channels.len()).map(|level| {
            let from = from.sub(format!("up_blocks.{level}"));
            let inputs = |block: usize| if block == 0 { channels[level.saturating_sub(1)] } else { channels[level] };
            let blocks = (0..config.depth + 1)
                .map(|block| resnet(&from.sub(format!("resnets.{block}")), config, inputs(block), channels[level]));
            let blocks = blocks.collect();
            let doubles = level + 1 < channels.len();
            (blocks, doubles.then(|| Doubling::load(&from.sub("upsamplers.0"), channels[level])))
        });
        Decoder {
            quant: config.post_quant_conv.then(|| Conv::load(&all.sub("post_quant_conv"), latent, latent, 1)),
            first: Conv::load(&from.sub("conv_in"), latent, channels[0], 3),
            middle: Middle::load(&from.sub("mid_block"), config, channels[0]),
            levels: levels.collect(),
            norm: GroupNorm::load(&from.sub("conv_norm_out"), finest, config.norm_groups as i64, EPSILON),
            last: Conv::load(&from.sub("conv_out"), finest, config.out_channels as i64, 3),
        }
    }

    fn forward(&self, x: &Tensor) -> Out {
        let x = match &self.quant {
            Some(quant) => quant.forward(x)?,
            None => x.shallow_clone(),
        };
        let mut x = self.middle.forward(&self.first.forward(&x)?)?;
        for (blocks, double) in &self.levels {
            for block in blocks {
                x = block.forward(&x, None)?;
            }
            if let Some(double) = double {
                x = double.forward(&x)?;
            }
        }
        self.last.forward(&self.norm.forward_silu(&x)?)
    }
}

/// Both directions.
pub struct Vae {
    encoder: Encoder,
    decoder: Decoder,
    kind: Kind,
    latent: i64,
    scaling: f64,
    side: i64,
}

impl Vae {
    /// `what` names the file in messages.
    ///
    /// # Errors
    /// [`Error::Input`](crate::error::Error::Input) where the tensors are not the config's.
    pub fn load(config: &VaeConfig, tensors: &Tensors, kind: Kind, device: Device, what: &str) -> Result<Vae> {
        let all = Loader::new(tensors, kind, device, true);
        let (encoder, decoder) = (Encoder::load(&all, config), Decoder::load(&all, config));
        all.finish(what)?;
        let latent = config.latent_channels as i64;
        let side = 1 << (config.channels.len() - 1);
        Ok(Vae { encoder, decoder, kind, latent, scaling: config.scaling_factor, side })
    }

    /// Pixels a side of a latent place.
    pub fn side(&self) -> i64 {
        self.side
    }

    /// Images `[batch, 3, h, w]` in [-1, 1], fp32, to the scaled mean of their latents `[batch, 4, h / 8, w / 8]`, fp32. The
    /// mean, not a draw: a photo has the same latents in every image made of it.
    pub fn encode(&self, images: &Tensor) -> Out {
        let moments = self.encoder.forward(&channels_last(&images.f_to_kind(self.kind)?)?)?;
        moments.f_narrow(1, 0, self.latent)?.f_to_kind(Kind::Float)?.f_mul_scalar(self.scaling)
    }

    /// Scaled latents `[batch, 4, h, w]` to images `[batch, 3, 8 h, 8 w]`, fp32, about in [-1, 1].
    pub fn decode(&self, latents: &Tensor) -> Out {
        let latents = latents.f_to_kind(Kind::Float)?.f_div_scalar(self.scaling)?.f_to_kind(self.kind)?;
        self.decoder.forward(&channels_last(&latents)?)?.f_to_kind(Kind::Float)
    }
}
