//! The layers that Stable Diffusion's networks are built of, over weights that are given. Knows no network.

use tch::{Device, TchError, Tensor};

use super::adapters::Adapter;
use super::load::Loader;
use crate::nn::blocks::{by_image_if_few, channels_last};
use crate::nn::norm_silu::NormSilu;
use crate::nn::packed;

pub type Out = Result<Tensor, TchError>;

/// A convolution.
pub struct Conv {
    weight: packed::Weight,
    bias: Tensor,
    stride: i64,
    padding: i64,
}

impl Conv {
    /// `side` x `side`, padded so that it keeps the size.
    pub fn load(from: &Loader<'_>, inputs: i64, outputs: i64, side: i64) -> Conv {
        Conv::strided(from, inputs, outputs, side, 1, side / 2)
    }

    /// Of any stride and padding.
    pub fn strided(from: &Loader<'_>, inputs: i64, outputs: i64, side: i64, stride: i64, padding: i64) -> Conv {
        let weight = from.get("weight", &[outputs, inputs, side, side]);
        let weight = channels_last(&weight).unwrap_or(weight);
        Conv {
            weight: packed::Weight::new(weight, from.inference()),
            bias: from.get("bias", &[outputs]),
            stride,
            padding,
        }
    }

    /// `[batch, inputs, h, w]` to `[batch, outputs, h / stride, w / stride]`.
    pub fn forward(&self, x: &Tensor) -> Out {
        self.weight.conv2d(x, &self.bias, self.stride, self.padding)
    }
}

/// An affine map of the last dimension, with what a LoRA in training adds to it.
pub struct Linear {
    weight: packed::Weight,
    bias: Option<Tensor>,
    adapter: Option<Adapter>,
}

impl Linear {
    pub fn load(from: &Loader<'_>, inputs: i64, outputs: i64) -> Linear {
        Linear { bias: Some(from.get("bias", &[outputs])), ..Linear::unbiased(from, inputs, outputs) }
    }

    /// Without a bias.
    pub fn unbiased(from: &Loader<'_>, inputs: i64, outputs: i64) -> Linear {
        // A 1x1 convolution holds the same numbers: older autoencoders name their attention's maps so.
        let weight = from.get_any("weight", &[&[outputs, inputs], &[outputs, inputs, 1, 1]]);
        Linear { weight: packed::Weight::new(weight, from.inference()), bias: None, adapter: from.adapter() }
    }

    /// `[.., inputs]` to `[.., outputs]`.
    pub fn forward(&self, x: &Tensor) -> Out {
        let y = self.weight.linear(x, self.bias.as_ref())?;
        match &self.adapter {
            None => Ok(y),
            Some(adapter) => y.f_add(&adapter.forward(x)?),
        }
    }
}

/// Group normalisation (Wu and He 2018).
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: i64,
    epsilon: f64,
    /// With SiLU, where no gradients will be asked for.
    fused: Option<NormSilu>,
}

impl GroupNorm {
    pub fn load(from: &Loader<'_>, channels: i64, groups: i64, epsilon: f64) -> GroupNorm {
        let (weight, bias) = (from.get("weight", &[channels]), from.get("bias", &[channels]));
        let fuses = from.inference() && weight.device() == Device::Cpu;
        let fused = fuses.then(|| NormSilu::new(&weight, &bias, groups, epsilon).ok()).flatten();
        GroupNorm { weight, bias, groups, epsilon, fused }
    }

    /// `[batch, channels, ..]`, any strides.
    pub fn forward(&self, x: &Tensor) -> Out {
        x.f_group_norm(self.groups, Some(&self.weight), Some(&self.bias), self.epsilon, false)
    }

    /// The same through SiLU.
    pub fn forward_silu(&self, x: &Tensor) -> Out {
        match self.fused.as_ref().filter(|fused| fused.takes(x)) {
            Some(fused) => fused.forward(x),
            // In place: at full resolution memory is what these take.
            None => self.forward(x)?.f_silu_(),
        }
    }
}

/// Layer normalisation of the last dimension (Ba et al. 2016).
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    pub fn load(from: &Loader<'_>, channels: i64, epsilon: f64) -> LayerNorm {
        LayerNorm { weight: from.get("weight", &[channels]), bias: from.get("bias", &[channels]), epsilon }
    }

    /// `[.., channels]`.
    pub fn forward(&self, x: &Tensor) -> Out {
        x.f_layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.epsilon, false)
    }
}

/// Softmax attention (Vaswani et al. 2017, eq. 1) of `q` `[batch, places, channels]` to `k` and `v` `[batch, others,
/// channels]` in as many heads; `upcast`: in fp32 whatever the precision.
pub fn attend(q: &Tensor, k: &Tensor, v: &Tensor, heads: i64, upcast: bool, causal: bool) -> Out {
    let kind = q.kind();
    let split = |x: &Tensor| -> Out {
        let (batch, places, channels) = x.size3()?;
        let x = if upcast { x.f_to_kind(tch::Kind::Float)? } else { x.shallow_clone() };
        x.f_view([batch, places, heads, channels / heads])?.f_transpose(1, 2)
    };
    let (batch, places, channels) = q.size3()?;
    let attended = |q: &Tensor, k: &Tensor, v: &Tensor| {
        Tensor::f_scaled_dot_product_attention(q, k, v, None::<&Tensor>, 0.0, causal, None, false)
    };
    let (q, k, v) = (split(q)?, split(k)?, split(v)?);
    let mixed = by_image_if_few(&q, &k, &v, attended)?;
    mixed.f_transpose(1, 2)?.f_reshape([batch, places, channels])?.f_to_kind(kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn the_bits_of_attention_do_not_depend_on_the_place_in_the_batch() {
        let waves = |places: i64, step: f64| {
            (Tensor::arange(places * 64, (Kind::Float, Device::Cpu)) * step).sin().view([1, places, 64])
        };
        for heads in [1, 4, 8] {
            for (places, others) in [(1, 77), (2, 77), (3, 3), (4, 77), (9, 9), (9, 77), (16, 77), (64, 64)] {
                for batch in [2, 3, 6, 16] {
                    let many = |x: Tensor| x.expand([batch, -1, -1], false).contiguous();
                    let (q, k, v) = (waves(places, 0.37), waves(others, 0.73), waves(others, 0.11));
                    let y = attend(&many(q), &many(k), &many(v), heads, false, false).unwrap();
                    for i in 1..batch {
                        assert_eq!(y.get(i), y.get(0), "{heads} heads, {places} to {others}: {i} of {batch}");
                    }
                }
            }
        }
    }
}
