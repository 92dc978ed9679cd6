//! The U-Net conditioned on text (Rombach et al. 2022): noisy latents, a timestep and a text in, the prediction out. Knows
//! no sampler, tokens or images.

use tch::{Device, Kind, Tensor};

use super::adapters::Adapters;
use super::blocks::{Downsample, Resnet, ResnetConfig, Upsample};
use super::layers::{Conv, GroupNorm, Linear, Out};
use super::load::Loader;
use super::lora::Patches;
use super::pieces::{Pieces, Straight};
use super::transformer::{self, KeysAndValues, Transformer};
use crate::checkpoint::config::{UnetConfig, UnetLevel};
use crate::checkpoint::tensors::Tensors;
use crate::error::Result;
use crate::nn::blocks::channels_last;

/// A residual block, and attention after it where the level attends.
struct Layer {
    resnet: Resnet,
    attention: Option<Transformer>,
}

impl Layer {
    /// How many texts its attentions listen to.
    fn hears(&self) -> usize {
        self.attention.as_ref().map_or(0, Transformer::hears)
    }

    /// As [`Layer::forward`], of maps that are joined first, as a piece of the network.
    fn piece<'n, 't>(
        &'n self,
        maps: Vec<Tensor>,
        time: &Tensor,
        text: &mut impl Iterator<Item = &'t KeysAndValues>,
        pieces: &mut impl Pieces<'n>,
    ) -> Out {
        let (joined, mut inputs) = (maps.len(), maps);
        inputs.push(time.shallow_clone());
        for (k, v) in text.take(self.hears()) {
            inputs.extend([k.shallow_clone(), v.shallow_clone()]);
        }
        let piece = move |inputs: &[Tensor]| {
            let (maps, rest) = inputs.split_at(joined);
            let pairs = rest[1..].chunks_exact(2);
            let text: Vec<KeysAndValues> = pairs.map(|kv| (kv[0].shallow_clone(), kv[1].shallow_clone())).collect();
            let x = if joined == 1 { maps[0].shallow_clone() } else { Tensor::f_cat(maps, 1)? };
            self.forward(&x, &rest[0], &mut text.iter())
        };
        pieces.run(inputs, Box::new(piece))
    }

    fn forward<'t>(&self, x: &Tensor, time: &Tensor, text: &mut impl Iterator<Item = &'t KeysAndValues>) -> Out {
        let x = self.resnet.forward(x, Some(time))?;
        match &self.attention {
            Some(attention) => attention.forward(&x, text),
            None => Ok(x),
        }
    }
}

struct Down {
    layers: Vec<Layer>,
    halve: Option<Downsample>,
}

struct Up {
    layers: Vec<Layer>,
    double: Option<Upsample>,
}

struct Middle {
    first: Layer,
    last: Resnet,
}

/// The network.
pub struct Unet {
    config: UnetConfig,
    kind: Kind,
    /// Of the guidance's embedding, where the network is told the guidance.
    told: Option<Linear>,
    /// What it adds to the timestep's waves, `[1, channels]`.
    guidance: Option<Tensor>,
    time1: Linear,
    time2: Linear,
    first: Conv,
    down: Vec<Down>,
    middle: Option<Middle>,
    up: Vec<Up>,
    last_norm: GroupNorm,
    last: Conv,
}

/// A text as the network's attentions see it; the same at every step of a walk.
pub struct Text(Vec<KeysAndValues>);

impl Text {
    /// The same numbers as leaves that are asked for gradients, for [`Text::backward`].
    ///
    /// # Errors
    /// What libtorch says.
    pub fn leaves(&self) -> std::result::Result<Text, tch::TchError> {
        let leaf = |x: &Tensor| -> Out { Ok(x.f_detach()?.set_requires_grad(true)) };
        self.0.iter().map(|(k, v)| Ok((leaf(k)?, leaf(v)?))).collect::<std::result::Result<_, _>>().map(Text)
    }

    /// Takes the gradients that gathered in the leaves back to what the text was made from, in one go.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn backward(&self, leaves: &Text) -> std::result::Result<(), tch::TchError> {
        let pairs = self.0.iter().zip(&leaves.0).flat_map(|(own, leaf)| [(&own.0, &leaf.0), (&own.1, &leaf.1)]);
        let mut sum: Option<Tensor> = None;
        for (own, leaf) in pairs {
            let gradient = leaf.f_grad()?;
            if own.requires_grad() && gradient.defined() {
                let one = own.f_mul(&gradient)?.f_sum(Kind::Float)?;
                sum = Some(match sum {
                    None => one,
                    Some(sum) => sum.f_add(&one)?,
                });
            }
        }
        sum.map_or(Ok(()), |sum| sum.f_backward())
    }
}

impl Unet {
    /// `patches`: what LoRAs add; `inference`: no gradients will be asked for; `what` names the file in messages.
    ///
    /// # Errors
    /// [`Error::Input`](crate::error::Error::Input) where the tensors are not the config's.
    pub fn load(
        config: &UnetConfig,
        tensors: &Tensors,
        patches: &Patches,
        kind: Kind,
        device: Device,
        inference: bool,
        what: &str,
    ) -> Result<Unet> {
        Unet::build(config, Loader::new(tensors, kind, device, inference).patched(patches), kind, what)
    }

    /// With adapters that are asked for gradients; the weights themselves, with what `patches` add to them, never are.
    ///
    /// # Errors
    /// [`Error::Input`](crate::error::Error::Input) where the tensors are not the config's.
    pub fn adapted(
        config: &UnetConfig,
        tensors: &Tensors,
        patches: &Patches,
        adapters: &Adapters,
        kind: Kind,
        device: Device,
        what: &str,
    ) -> Result<Unet> {
        Unet::build(config, Loader::new(tensors, kind, device, false).patched(patches).adapted(adapters), kind, what)
    }

    fn build(config: &UnetConfig, all: Loader<'_>, kind: Kind, what: &str) -> Result<Unet> {
        let channels: Vec<i64> = config.levels.iter().map(|level| level.channels as i64).collect();
        let parts = Parts { config, embedding: 4 * channels[0] };
        let deepest = channels.len() - 1;
        let down = (0..channels.len())
            .map(|level| {
                let from = all.sub(format!("down_blocks.{level}"));
                let sizes = &config.levels[level];
                let inputs = |i: usize| if i == 0 { channels[level.saturating_sub(1)] } else { channels[level] };
                let layers = (0..sizes.depth).map(|i| parts.layer(&from, i, inputs(i), level, sizes.attends)).collect();
                let halve = (level < deepest)
                    .then(|| Downsample::load(&from.sub("downsamplers.0"), channels[level], config.downsample_padding));
                Down { layers, halve }
            })
            .collect();
        let middle = config.middle.then(|| {
            let from = all.sub("mid_block");
            let layer = |i: usize| {
                parts.resnet(
                    &from.sub(format!("resnets.{i}")),
                    channels[deepest],
                    channels[deepest],
                    config.middle_scale,
                )
            };
            let attention = parts.transformer(&from.sub("attentions.0"), &config.levels[deepest], false);
            Middle { first: Layer { resnet: layer(0), attention: Some(attention) }, last: layer(1) }
        });
        let up = (0..channels.len())
            .map(|step| {
                let level = deepest - step;
                let from = all.sub(format!("up_blocks.{step}"));
                let depth = config.levels[level].depth + 1;
                let layers = (0..depth)
                    .map(|i| {
                        let own = if i == 0 { channels[(level + 1).min(deepest)] } else { channels[level] };
                        // What the way down left: this level's maps, and at last what it began with.
                        let skip = if i + 1 == depth { channels[level.saturating_sub(1)] } else { channels[level] };
                        parts.layer(&from, i, own + skip, level, config.up_attends[step])
                    })
                    .collect();
                let double = (level > 0).then(|| Upsample::load(&from.sub("upsamplers.0"), channels[level]));
                Up { layers, double }
            })
            .collect();
        let groups = config.norm_groups as i64;
        let told = |width: usize| Linear::unbiased(&all.sub("time_embedding.cond_proj"), width as i64, channels[0]);
        let net = Unet {
            told: config.guidance_width.map(told),
            guidance: None,
            time1: Linear::load(&all.sub("time_embedding.linear_1"), channels[0], parts.embedding),
            time2: Linear::load(&all.sub("time_embedding.linear_2"), parts.embedding, parts.embedding),
            first: Conv::load(&all.sub("conv_in"), config.in_channels as i64, channels[0], 3),
            down,
            middle,
            up,
            last_norm: GroupNorm::load(&all.sub("conv_norm_out"), channels[0], groups, config.norm_epsilon),
            last: Conv::load(&all.sub("conv_out"), channels[0], config.out_channels as i64, 3),
            config: config.clone(),
            kind,
        };
        all.finish(what)?;
        Ok(net)
    }

    /// Told how strong the guidance is, if it is one that is told; untold it adds nothing, as diffusers has it.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn guided_by(self, guidance: f64, device: Device) -> std::result::Result<Unet, tch::TchError> {
        let (Some(told), Some(width)) = (&self.told, self.config.guidance_width) else { return Ok(self) };
        let embedding = guidance_embedding(guidance, width as i64)?.f_to_kind(self.kind)?;
        let added = told.forward(&embedding.f_to_device(device)?)?;
        Ok(Unet { guidance: Some(added), ..self })
    }

    /// Whether it is told the guidance, and so makes no pass without the prompt.
    pub fn is_told_guidance(&self) -> bool {
        self.told.is_some()
    }

    /// The sizes it was made with.
    pub fn config(&self) -> &UnetConfig {
        &self.config
    }

    /// What the network hears of a text `[batch, tokens, channels]`: computed once for all steps.
    pub fn listen(&self, text: &Tensor) -> std::result::Result<Text, tch::TchError> {
        let text = text.f_to_kind(self.kind)?;
        let mut heard = Vec::new();
        for attention in self.attentions() {
            attention.listen(&text, &mut heard)?;
        }
        Ok(Text(heard))
    }

    /// Latents `[batch, channels, h, w]`, fp32, at timesteps `[batch]`, fp32, to the prediction of the same shape, fp32.
    pub fn forward(&self, x: &Tensor, times: &Tensor, text: &Text) -> Out {
        self.forward_in(x, times, text, &mut Straight)
    }

    /// As [`Unet::forward`], its blocks as pieces.
    pub fn forward_in<'n>(&'n self, x: &Tensor, times: &Tensor, text: &Text, pieces: &mut impl Pieces<'n>) -> Out {
        let mut text = text.0.iter();
        let text = &mut text;
        let waves = self.waves(times)?.f_to_kind(self.kind)?;
        let waves = match &self.guidance {
            Some(guidance) => waves.f_add(guidance)?,
            None => waves,
        };
        let time = self.time2.forward(&self.time1.forward(&waves)?.f_silu()?)?.f_silu()?; // [batch, 4 channels]
        let x = if self.config.center_input { x.f_mul_scalar(2.0)?.f_sub_scalar(1.0)? } else { x.shallow_clone() };
        let mut x = self.first.forward(&channels_last(&x.f_to_kind(self.kind)?)?)?;
        let mut skips = vec![x.shallow_clone()];
        for down in &self.down {
            for layer in &down.layers {
                x = layer.piece(vec![x], &time, text, pieces)?;
                skips.push(x.shallow_clone());
            }
            if let Some(halve) = &down.halve {
                x = pieces.run(vec![x], Box::new(|x| halve.forward(&x[0])))?;
                skips.push(x.shallow_clone());
            }
        }
        if let Some(middle) = &self.middle {
            x = middle.first.piece(vec![x], &time, text, pieces)?;
            x = pieces.run(
                vec![x, time.shallow_clone()],
                Box::new(|inputs| middle.last.forward(&inputs[0], Some(&inputs[1]))),
            )?;
        }
        for up in &self.up {
            for layer in &up.layers {
                let skip = skips.pop().expect("as many maps come up as went down");
                x = layer.piece(vec![x, skip], &time, text, pieces)?;
            }
            if let (Some(double), Some(next)) = (&up.double, skips.last()) {
                let (_, _, h, w) = next.size4()?;
                x = pieces.run(vec![x], Box::new(move |x| double.forward(&x[0], (h, w))))?;
            }
        }
        self.last.forward(&self.last_norm.forward_silu(&x)?)?.f_to_kind(Kind::Float)
    }

    /// Attention blocks in the order in which they run.
    fn attentions(&self) -> impl Iterator<Item = &Transformer> {
        let down = self.down.iter().flat_map(|down| &down.layers);
        let middle = self.middle.iter().map(|middle| &middle.first);
        let up = self.up.iter().flat_map(|up| &up.layers);
        down.chain(middle).chain(up).filter_map(|layer| layer.attention.as_ref())
    }

    /// Sines and cosines of the timesteps at falling frequencies (Ho et al. 2020, after Vaswani et al. 2017, section 3.5).
    fn waves(&self, times: &Tensor) -> Out {
        let width = self.config.levels[0].channels as i64;
        let half = width / 2;
        let range = Tensor::f_arange(half, (Kind::Float, times.device()))?;
        let over = half as f64 - self.config.frequency_shift;
        let frequencies = range.f_mul_scalar(-f64::ln(10_000.0))?.f_div_scalar(over)?.f_exp()?;
        let angles = times.f_unsqueeze(-1)?.f_mul(&frequencies)?;
        let (sines, cosines) = (angles.f_sin()?, angles.f_cos()?);
        let waves = if self.config.flip_sin_to_cos { [cosines, sines] } else { [sines, cosines] };
        Tensor::f_cat(&waves, -1)?.f_constant_pad_nd([0, width - 2 * half])
    }
}

/// Sines and cosines, `[1, width]` in fp32 on the CPU, of a guidance as [`super::guide::guided`] takes it: the paper's is less
/// by one (Luo et al. 2023, section 4.3, after Kingma et al. 2021). In fp32 from the start, as the network has learned it:
/// the angles are thousands of radians.
fn guidance_embedding(guidance: f64, width: i64) -> Out {
    let half = width / 2;
    let kind = (Kind::Float, Device::Cpu);
    let spacing = Tensor::f_full([1], 10_000.0, kind)?.f_log()?.f_div_scalar(half - 1)?;
    let frequencies = Tensor::f_arange(half, kind)?.f_mul(&spacing.f_neg()?)?.f_exp()?;
    let angles = Tensor::f_full([1, 1], guidance - 1.0, kind)?.f_mul_scalar(1000.0)?.f_mul(&frequencies)?;
    Tensor::f_cat(&[angles.f_sin()?, angles.f_cos()?], -1)?.f_constant_pad_nd([0, width - 2 * half])
}

/// Makes the parts of one network.
struct Parts<'c> {
    config: &'c UnetConfig,
    /// Channels of the timestep's embedding.
    embedding: i64,
}

impl Parts<'_> {
    fn layer(&self, from: &Loader<'_>, i: usize, inputs: i64, level: usize, attends: bool) -> Layer {
        let sizes = &self.config.levels[level];
        Layer {
            resnet: self.resnet(&from.sub(format!("resnets.{i}")), inputs, sizes.channels as i64, 1.0),
            attention: attends
                .then(|| self.transformer(&from.sub(format!("attentions.{i}")), sizes, sizes.only_cross_attention)),
        }
    }

    fn resnet(&self, from: &Loader<'_>, inputs: i64, outputs: i64, scale: f64) -> Resnet {
        let config = self.config;
        let (groups, epsilon) = (config.norm_groups as i64, config.norm_epsilon);
        Resnet::load(from, ResnetConfig { inputs, outputs, time: Some(self.embedding), groups, epsilon, scale })
    }

    fn transformer(&self, from: &Loader<'_>, level: &UnetLevel, only_cross: bool) -> Transformer {
        let config = transformer::Config {
            channels: level.channels as i64,
            heads: level.heads as i64,
            depth: level.transformers,
            text: self.config.text_width as i64,
            groups: self.config.norm_groups as i64,
            linear: self.config.linear_projection,
            upcast: self.config.upcast_attention,
            only_cross,
        };
        Transformer::load(from, config)
    }
}
