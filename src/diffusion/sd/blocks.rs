//! The blocks that the U-Net and the autoencoder share: residual blocks and changes of resolution.

use tch::Tensor;

use super::layers::{Conv, GroupNorm, Linear, Out};
use super::load::Loader;

/// Two convolutions, normalised before (He et al. 2016), the timestep's embedding added between them.
pub struct Resnet {
    norm1: GroupNorm,
    conv1: Conv,
    time: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv,
    shortcut: Option<Conv>,
    /// The result is divided by it.
    scale: f64,
}

/// Sizes of a residual block.
#[derive(Clone, Copy)]
pub struct ResnetConfig {
    pub inputs: i64,
    pub outputs: i64,
    /// Channels of the timestep's embedding, if it listens to one.
    pub time: Option<i64>,
    pub groups: i64,
    pub epsilon: f64,
    pub scale: f64,
}

impl Resnet {
    pub fn load(from: &Loader<'_>, config: ResnetConfig) -> Resnet {
        let ResnetConfig { inputs, outputs, time, groups, epsilon, scale } = config;
        Resnet {
            norm1: GroupNorm::load(&from.sub("norm1"), inputs, groups, epsilon),
            conv1: Conv::load(&from.sub("conv1"), inputs, outputs, 3),
            time: time.map(|width| Linear::load(&from.sub("time_emb_proj"), width, outputs)),
            norm2: GroupNorm::load(&from.sub("norm2"), outputs, groups, epsilon),
            conv2: Conv::load(&from.sub("conv2"), outputs, outputs, 3),
            shortcut: (inputs != outputs).then(|| Conv::load(&from.sub("conv_shortcut"), inputs, outputs, 1)),
            scale,
        }
    }

    /// `x` `[batch, inputs, h, w]`; `time` `[batch, channels]`, already through SiLU.
    pub fn forward(&self, x: &Tensor, time: Option<&Tensor>) -> Out {
        let mut h = self.conv1.forward(&self.norm1.forward_silu(x)?)?;
        if let (Some(map), Some(time)) = (&self.time, time) {
            h = h.f_add_(&map.forward(time)?.f_unsqueeze(-1)?.f_unsqueeze(-1)?)?;
        }
        let mut h = self.conv2.forward(&self.norm2.forward_silu(&h)?)?;
        let sum = match &self.shortcut {
            Some(shortcut) => h.f_add_(&shortcut.forward(x)?)?,
            None => h.f_add_(x)?,
        };
        if self.scale == 1.0 { Ok(sum) } else { sum.f_div_scalar(self.scale) }
    }
}

/// Half the resolution, by a convolution of stride 2.
pub struct Downsample(Conv, i64);

impl Downsample {
    /// `padding` 0: one row and column of zeros below and to the right, as the autoencoder has it.
    pub fn load(from: &Loader<'_>, channels: i64, padding: i64) -> Downsample {
        Downsample(Conv::strided(&from.sub("conv"), channels, channels, 3, 2, padding), padding)
    }

    /// `[batch, channels, h, w]` to `[batch, channels, h / 2, w / 2]`.
    pub fn forward(&self, x: &Tensor) -> Out {
        match self.1 {
            0 => self.0.forward(&crate::nn::blocks::channels_last(&x.f_constant_pad_nd([0, 1, 0, 1])?)?),
            _ => self.0.forward(x),
        }
    }
}

/// Twice the resolution: nearest neighbour, then a convolution.
pub struct Upsample(Conv);

impl Upsample {
    pub fn load(from: &Loader<'_>, channels: i64) -> Upsample {
        Upsample(Conv::load(&from.sub("conv"), channels, channels, 3))
    }

    /// `[batch, channels, h, w]` to `size`, which is twice as large, or a row or column less where a level below had an odd
    /// size.
    pub fn forward(&self, x: &Tensor, size: (i64, i64)) -> Out {
        self.0.forward(&x.f_upsample_nearest2d([size.0, size.1], None, None)?)
    }
}
