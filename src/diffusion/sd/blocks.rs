//! The blocks that the U-Net and the autoencoder share: residual blocks and changes of resolution.

use tch::{Kind, Tensor};

use super::layers::{Conv, GroupNorm, Linear, Out};
use super::load::Loader;
use crate::nn::blocks::channels_last;
use crate::nn::packed;

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
            0 => self.0.forward(&channels_last(&x.f_constant_pad_nd([0, 1, 0, 1])?)?),
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

/// [`Upsample`] to twice the size without ever laying out the larger image: where a window of three looks at pixels that were
/// doubled, two of them are one, so that each of the four pixels that one becomes has a window of its own of 2x2 small pixels,
/// in which weights of the same pixel are added beforehand. 4/9 of the multiplications, and the same sums but for rounding.
pub struct Doubling {
    /// By row and column in the doubled pixel, row by row.
    windows: [packed::Weight; 4],
    bias: Tensor,
}

impl Doubling {
    pub fn load(from: &Loader<'_>, channels: i64) -> Doubling {
        let from = from.sub("conv");
        let (weight, bias) = (from.get("weight", &[channels, channels, 3, 3]), from.get("bias", &[channels]));
        Doubling::new(&weight, bias, from.inference())
    }

    fn new(weight: &Tensor, bias: Tensor, inference: bool) -> Doubling {
        let windows = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(row, column)| {
            // Where the loader found nothing it says so itself.
            let window = window(weight, row, column).unwrap_or_else(|_| weight.shallow_clone());
            packed::Weight::new(window, inference)
        });
        Doubling { windows, bias }
    }

    /// `[batch, channels, h, w]` to `[batch, channels, 2 h, 2 w]`, channels innermost in memory.
    pub fn forward(&self, x: &Tensor) -> Out {
        let (batch, channels, h, w) = x.size4()?;
        let doubled = Tensor::f_empty([batch, h, 2, w, 2, channels], (x.kind(), x.device()))?;
        for (i, window) in self.windows.iter().enumerate() {
            let (row, column) = (i as i64 / 2, i as i64 % 2);
            let y = window.conv2d(x, &self.bias, 1, 1)?.f_narrow(2, row, h)?.f_narrow(3, column, w)?;
            doubled.f_select(4, column)?.f_select(2, row)?.f_copy_(&y.f_permute([0, 2, 3, 1])?)?;
        }
        doubled.f_view([batch, 2 * h, 2 * w, channels])?.f_permute([0, 3, 1, 2])
    }
}

/// Of a 3x3 kernel `[outputs, inputs, 3, 3]` the 2x2 one of a row and a column in the doubled pixel.
fn window(weight: &Tensor, row: i64, column: i64) -> Out {
    let halve = |x: &Tensor, axis: i64, second: i64| -> Out {
        let alone = x.f_narrow(axis, 2 * second, 1)?;
        let both = x.f_narrow(axis, 1 - second, 2)?.f_sum_dim_intlist(axis, true, Kind::Float)?;
        Tensor::f_cat(&if second == 0 { [alone, both] } else { [both, alone] }, axis)
    };
    let sums = halve(&halve(&weight.f_to_kind(Kind::Float)?, 2, row)?, 3, column)?;
    channels_last(&sums.f_to_kind(weight.kind())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn doubling_is_upsampling_and_convolving() {
        let waves = |shape: &[i64], step: f64| {
            let numel = shape.iter().product::<i64>();
            (Tensor::arange(numel, (Kind::Float, Device::Cpu)) * step).sin().view(shape)
        };
        let (weight, bias) = (waves(&[8, 8, 3, 3], 0.37), waves(&[8], 0.9));
        for (h, w) in [(1, 1), (1, 3), (4, 5)] {
            let x = channels_last(&waves(&[2, 8, h, w], 0.73)).unwrap();
            let wanted = x.upsample_nearest2d([2 * h, 2 * w], None, None).conv2d(
                &weight,
                Some(&bias),
                [1, 1],
                [1, 1],
                [1, 1],
                1,
            );
            let found = Doubling::new(&weight, bias.shallow_clone(), true).forward(&x).unwrap();
            assert_eq!(found.size(), wanted.size());
            assert!((found - wanted).abs().max().double_value(&[]) < 1e-4, "{h} {w}");
        }
    }
}
