//! The class-conditional U-Net: patches in, `v` out. Knows no noise schedule, training or sampling.
//!
//! It is laid out for few operations at the full resolution: the image is cut into 2x2 patches first (4x4 from 64 pixels
//! on), so the widest maps are 16x16; one skip connection a level; attention where maps are at most 8x8.

use tch::{Kind, TchError, Tensor};

use crate::error::{Error, Result};
use crate::nn::blocks::{Attention, Conv, GroupNorm, Linear, channels_last};
use crate::nn::params::{Init, Layout, Param, Parameters};

type Out = std::result::Result<Tensor, TchError>;

/// Largest map, in places a side, that attention runs over.
const ATTENTION_SIDE: i64 = 8;

/// Sizes of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Side of the square images in pixels.
    pub size: usize,
    /// Channels of the first level.
    pub width: usize,
    /// Channel multiples, one a resolution level, each level of half the resolution of the one before.
    pub levels: Vec<usize>,
    /// Residual blocks a level, on the way down and again on the way up.
    pub depth: usize,
    /// Number of classes.
    pub classes: usize,
}

impl Config {
    /// Side of the patches that the image is cut into, in pixels.
    pub fn patch(&self) -> usize {
        if self.size >= 64 { 4 } else { 2 }
    }

    /// # Errors
    /// [`Error::Usage`] that says which value no network can have.
    pub fn check(&self) -> Result<()> {
        let multiple = self.patch() << (self.levels.len().max(1) - 1);
        let problem = if self.levels.is_empty() || self.levels.contains(&0) {
            "`levels` needs one multiple of at least 1 for each level".to_string()
        } else if self.width == 0 || self.depth == 0 || self.classes == 0 {
            "`width`, `depth` and the number of classes are at least 1".to_string()
        } else if self.size == 0 || !self.size.is_multiple_of(multiple) {
            format!("with {} levels `size` is a multiple of {multiple}, not {}", self.levels.len(), self.size)
        } else {
            return Ok(());
        };
        Err(Error::Usage(problem))
    }
}

/// Two convolutions around the conditioning, added to the input (He et al. 2016; scale and shift: Dhariwal and Nichol 2021).
struct ResBlock {
    norm1: GroupNorm,
    conv1: Conv,
    norm2: GroupNorm,
    conv2: Conv,
    skip: Option<Conv>,
    /// Where the block's scales and shifts begin among all blocks' ones, and the number of its channels.
    modulation: (i64, i64),
}

impl ResBlock {
    fn new(layout: &mut Layout, name: &str, from: i64, to: i64, modulations: &mut i64) -> ResBlock {
        let modulation = (*modulations, to);
        *modulations += 2 * to;
        ResBlock {
            norm1: GroupNorm::new(layout, &format!("{name}.norm1"), from),
            conv1: Conv::new(layout, &format!("{name}.conv1"), from, to, 3, 1.0),
            norm2: GroupNorm::new(layout, &format!("{name}.norm2"), to),
            conv2: Conv::new(layout, &format!("{name}.conv2"), to, to, 3, 0.0),
            skip: (from != to).then(|| Conv::new(layout, &format!("{name}.skip"), from, to, 1, 1.0)),
            modulation,
        }
    }

    fn forward(&self, p: &Parameters, x: &Tensor, modulations: &Tensor) -> Out {
        let (start, channels) = self.modulation;
        let part = |i: i64| modulations.f_narrow(1, start + i * channels, channels)?.f_unsqueeze(-1)?.f_unsqueeze(-1);
        let (scale, shift) = (part(0)?, part(1)?); // [batch, channels, 1, 1]
        let h = self.conv1.forward(p, &self.norm1.forward(p, x)?.f_silu()?)?;
        let h = self.norm2.forward(p, &h)?;
        let h = shift.f_addcmul(&h, &scale.f_add_scalar(1.0)?)?;
        let h = self.conv2.forward(p, &h.f_silu()?)?;
        match &self.skip {
            Some(skip) => skip.forward(p, x)?.f_add(&h),
            None => x.f_add(&h),
        }
    }
}

/// A level's residual blocks, and attention where the map is small.
struct Stage {
    blocks: Vec<ResBlock>,
    attention: Option<Attention>,
}

impl Stage {
    fn forward(&self, p: &Parameters, x: Tensor, modulations: &Tensor) -> Out {
        let x = self.blocks.iter().try_fold(x, |x, block| block.forward(p, &x, modulations))?;
        match &self.attention {
            Some(attention) => attention.forward(p, &x),
            None => Ok(x),
        }
    }
}

/// The network: its layers' places in a [`Layout`], which holds the parameters' names and shapes.
pub struct UNet {
    config: Config,
    layout: Layout,
    time1: Linear,
    time2: Linear,
    classes: Param,
    modulate: Linear,
    first: Conv,
    down: Vec<Stage>,
    up: Vec<Stage>,
    last_norm: GroupNorm,
    last: Conv,
}

impl UNet {
    /// # Errors
    /// [`Error::Usage`] as [`Config::check`].
    pub fn new(config: &Config) -> Result<UNet> {
        config.check()?;
        let mut layout = Layout::default();
        let layout_ = &mut layout;
        let width = config.width as i64;
        let channels: Vec<i64> = config.levels.iter().map(|multiple| width * *multiple as i64).collect();
        let pixels = 3 * (config.patch() * config.patch()) as i64;
        let embedding = 4 * width;
        let mut modulations = 0;

        let first = Conv::new(layout_, "first", pixels, channels[0], 3, 1.0);
        let mut stage = |name: &str, level: usize, from: i64, layout: &mut Layout| {
            let to = channels[level];
            let blocks = (0..config.depth).map(|block| {
                let from = if block == 0 { from } else { to };
                ResBlock::new(layout, &format!("{name}.{level}.{block}"), from, to, &mut modulations)
            });
            let blocks = blocks.collect();
            let side = (config.size / config.patch()) as i64 >> level;
            let attention =
                (side <= ATTENTION_SIDE).then(|| Attention::new(layout, &format!("{name}.{level}.attention"), to));
            Stage { blocks, attention }
        };
        let deepest = channels.len() - 1;
        let down =
            (0..=deepest).map(|level| stage("down", level, channels[level.saturating_sub(1)], layout_)).collect();
        let up = (0..=deepest)
            .rev()
            .map(|level| {
                let from = if level == deepest { channels[level] } else { channels[level] + channels[level + 1] };
                stage("up", level, from, layout_)
            })
            .collect();
        let last_norm = GroupNorm::new(layout_, "last_norm", channels[0]);
        let last = Conv::new(layout_, "last", channels[0], pixels, 3, 0.0);
        let time1 = Linear::new(layout_, "time1", width, embedding, 1.0);
        let time2 = Linear::new(layout_, "time2", embedding, embedding, 1.0);
        // One row more than there are classes: the last one stands for "no class".
        let classes = layout_.add("classes".into(), &[config.classes as i64 + 1, embedding], Init::Normal(1.0));
        let modulate = Linear::new(layout_, "modulate", embedding, modulations, 0.0);
        Ok(UNet { config: config.clone(), layout, time1, time2, classes, modulate, first, down, up, last_norm, last })
    }

    /// The sizes it was made with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Names, shapes and places of the parameters.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The number that stands for "no class" in `classes` of [`UNet::forward`].
    pub fn no_class(&self) -> i64 {
        self.config.classes as i64
    }

    /// `x`: noisy images `[batch, 3, size, size]`; `times` `[batch]`, fp32, in [0, 1]; `classes` `[batch]`, i64, at most
    /// [`UNet::no_class`]. Computes in the parameters' precision; returns the same shape as `x` in fp32.
    pub fn forward(&self, p: &Parameters, x: &Tensor, times: &Tensor, classes: &Tensor) -> Out {
        let kind = p[self.classes].kind();
        let patch = self.config.patch() as i64;
        let waves = waves(times, self.config.width as i64)?.f_to_kind(kind)?;
        let embedding = self.time2.forward(p, &self.time1.forward(p, &waves)?.f_silu()?)?;
        let embedding = embedding.f_add(&p[self.classes].f_index_select(0, classes)?)?; // [batch, 4 width]
        let modulations = self.modulate.forward(p, &embedding.f_silu()?)?;

        let x = channels_last(&x.f_to_kind(kind)?.f_pixel_unshuffle(patch)?)?;
        let mut x = self.first.forward(p, &x)?; // [batch, width, size / patch, size / patch]
        let mut skips = Vec::new();
        for (level, stage) in self.down.iter().enumerate() {
            if level > 0 {
                skips.push(x.shallow_clone());
                x = x.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)?;
            }
            x = stage.forward(p, x, &modulations)?;
        }
        for (i, stage) in self.up.iter().enumerate() {
            if i > 0 {
                let (h, w) = (x.size()[2], x.size()[3]);
                let wide = x.f_upsample_nearest2d([2 * h, 2 * w], None, None)?;
                x = Tensor::f_cat(&[wide, skips.pop().expect("a skip a level")], 1)?;
            }
            x = stage.forward(p, x, &modulations)?;
        }
        let x = self.last.forward(p, &self.last_norm.forward(p, &x)?.f_silu()?)?;
        x.f_to_kind(Kind::Float)?.f_contiguous()?.f_pixel_shuffle(patch)
    }
}

/// Sines and cosines of the times at geometrically spaced frequencies, `[batch, width]` fp32 (Vaswani et al. 2017).
fn waves(times: &Tensor, width: i64) -> Out {
    let half = (width / 2).max(1);
    let frequencies: Vec<f32> =
        (0..half).map(|i| (1000.0 * libm::exp(-libm::log(10_000.0) * i as f64 / half as f64)) as f32).collect();
    let frequencies = Tensor::f_from_slice(&frequencies)?.f_to_device(times.device())?;
    let angles = times.f_unsqueeze(1)?.f_mul(&frequencies.f_unsqueeze(0)?)?;
    let waves = Tensor::f_cat(&[angles.f_sin()?, angles.f_cos()?], 1)?;
    waves.f_constant_pad_nd([0, width - 2 * half])
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn config() -> Config {
        Config { size: 16, width: 8, levels: vec![1, 2, 3], depth: 1, classes: 3 }
    }

    #[test]
    fn a_fresh_network_predicts_zero_and_a_moved_one_listens_to_class_and_time() {
        let net = UNet::new(&config()).unwrap();
        let x = Tensor::arange(2 * 3 * 16 * 16, (Kind::Float, Device::Cpu)).view([2, 3, 16, 16]).sin();
        let times = Tensor::from_slice(&[0.1f32, 0.9]);
        let classes = Tensor::from_slice(&[0i64, 3]);
        let flat = net.layout().initial(0);
        let fresh = net.forward(&net.layout().views(&flat).unwrap(), &x, &times, &classes).unwrap();
        assert_eq!(fresh, Tensor::zeros([2, 3, 16, 16], (Kind::Float, Device::Cpu)));

        let moved = net.layout().views(&(flat + 0.02)).unwrap();
        let base = net.forward(&moved, &x, &times, &classes).unwrap();
        let other_class = net.forward(&moved, &x, &times, &Tensor::from_slice(&[1i64, 3])).unwrap();
        let other_time = net.forward(&moved, &x, &Tensor::from_slice(&[0.5f32, 0.9]), &classes).unwrap();
        for other in [other_class, other_time] {
            let change = (&other - &base).abs();
            assert!(change.get(0).max().double_value(&[]) > 1e-5);
            assert_eq!(change.get(1).max().double_value(&[]), 0.0);
        }
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let refused = |config: Config| config.check().unwrap_err().to_string();
        assert_eq!(refused(Config { size: 30, ..config() }), "with 3 levels `size` is a multiple of 8, not 30");
        assert!(refused(Config { levels: vec![], ..config() }).starts_with("`levels` needs"));
        assert!(refused(Config { width: 0, ..config() }).starts_with("`width`, `depth`"));
    }
}
