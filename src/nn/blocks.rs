//! The layers that generators are built of, as pure functions of [`Parameters`]. Knows no network.

use tch::{Device, TchError, Tensor};

use super::params::{Init, Layout, Param, Parameters};
use super::products;

type Out = Result<Tensor, TchError>;

/// The same values with channels innermost in memory, which libtorch's convolutions prefer; `[batch, c, h, w]`.
pub fn channels_last(x: &Tensor) -> Out {
    x.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])
}

/// A square convolution that keeps the size.
pub struct Conv {
    weight: Param,
    bias: Param,
    padding: i64,
}

impl Conv {
    /// `side` odd; the weights begin with variance `gain^2 / fan_in`, zero where `gain` is 0.
    pub fn new(layout: &mut Layout, name: &str, from: i64, to: i64, side: i64, gain: f64) -> Conv {
        Conv {
            weight: layout.add(format!("{name}.weight"), &[to, from, side, side], spread(gain, from * side * side)),
            bias: layout.add(format!("{name}.bias"), &[to], Init::Zeros),
            padding: side / 2,
        }
    }

    /// `[batch, from, h, w]` to `[batch, to, h, w]`.
    pub fn forward(&self, p: &Parameters, x: &Tensor) -> Out {
        products::conv2d(x, &p[self.weight], Some(&p[self.bias]), 1, [self.padding; 2])
    }
}

/// An affine map of the last dimension.
pub struct Linear {
    weight: Param,
    bias: Param,
}

impl Linear {
    /// The weights begin with variance `gain^2 / from`, zero where `gain` is 0.
    pub fn new(layout: &mut Layout, name: &str, from: i64, to: i64, gain: f64) -> Linear {
        Linear {
            weight: layout.add(format!("{name}.weight"), &[to, from], spread(gain, from)),
            bias: layout.add(format!("{name}.bias"), &[to], Init::Zeros),
        }
    }

    /// `[.., from]` to `[.., to]`.
    pub fn forward(&self, p: &Parameters, x: &Tensor) -> Out {
        products::linear(x, &p[self.weight], Some(&p[self.bias]))
    }
}

/// Group normalisation (Wu and He 2018) with learned scale and shift, eps 1e-5.
pub struct GroupNorm {
    weight: Param,
    bias: Param,
    groups: i64,
}

impl GroupNorm {
    /// As many groups as divide the channels, at most 8 groups and at least 4 channels a group where that is possible.
    pub fn new(layout: &mut Layout, name: &str, channels: i64) -> GroupNorm {
        let groups = (1..=8).rev().find(|groups| channels % groups == 0 && channels / groups >= 4).unwrap_or(1);
        GroupNorm {
            weight: layout.add(format!("{name}.weight"), &[channels], Init::Ones),
            bias: layout.add(format!("{name}.bias"), &[channels], Init::Zeros),
            groups,
        }
    }

    /// `[batch, channels, h, w]`, any strides.
    pub fn forward(&self, p: &Parameters, x: &Tensor) -> Out {
        x.f_group_norm(self.groups, Some(&p[self.weight]), Some(&p[self.bias]), 1e-5, false)
    }
}

/// Self-attention over the places of a feature map (Vaswani et al. 2017), normalised before, added to its input.
pub struct Attention {
    norm: GroupNorm,
    qkv: Conv,
    out: Conv,
    heads: i64,
}

impl Attention {
    /// Heads of about 64 channels.
    pub fn new(layout: &mut Layout, name: &str, channels: i64) -> Attention {
        let heads = (1..=(channels / 64).max(1)).rev().find(|heads| channels % heads == 0).unwrap_or(1);
        Attention {
            norm: GroupNorm::new(layout, &format!("{name}.norm"), channels),
            qkv: Conv::new(layout, &format!("{name}.qkv"), channels, 3 * channels, 1, 1.0),
            out: Conv::new(layout, &format!("{name}.out"), channels, channels, 1, 0.0),
            heads,
        }
    }

    /// `[batch, channels, h, w]`, channels innermost in memory as [`channels_last`] makes it.
    pub fn forward(&self, p: &Parameters, x: &Tensor) -> Out {
        let (batch, channels, h, w) = x.size4()?;
        let qkv = self.qkv.forward(p, &self.norm.forward(p, x)?)?;
        let qkv = qkv.f_permute([0, 2, 3, 1])?.f_reshape([batch, h * w, 3, self.heads, channels / self.heads])?;
        let qkv = qkv.f_permute([2, 0, 3, 1, 4])?; // [3, batch, heads, places, channels a head]
        let (q, k, v) = (qkv.f_select(0, 0)?, qkv.f_select(0, 1)?, qkv.f_select(0, 2)?);
        let scale = 1.0 / ((channels / self.heads) as f64).sqrt();
        let mixed = by_image_if_few(&q, &k, &v, |q, k, v| {
            let likeness = products::matmul(&q.f_mul_scalar(scale)?, &k.f_transpose(-2, -1)?)?;
            products::matmul(&likeness.f_softmax(-1, x.kind())?, v) // [batch, heads, places, channels a head]
        })?;
        let mixed = mixed.f_permute([0, 2, 1, 3])?.f_reshape([batch, h, w, channels])?.f_permute([0, 3, 1, 2])?;
        x.f_add(&self.out.forward(p, &mixed)?)
    }
}

/// Below so many places the products of attention are so small that MKL's sums depend on how an image's numbers lie in
/// memory, and so on its place in the batch.
const FEW: i64 = 16;

/// What `attend` makes of `q` `[batch, heads, places, channels]` and of `k` and `v` `[batch, heads, others, channels]`,
/// the same for an image whatever its place in the batch: where the places are few, on the CPU, each image is attended
/// to alone, in memory of its own. Gradients pass.
pub fn by_image_if_few(q: &Tensor, k: &Tensor, v: &Tensor, attend: impl Fn(&Tensor, &Tensor, &Tensor) -> Out) -> Out {
    if q.device() != Device::Cpu || q.size()[2] >= FEW {
        return attend(q, k, v);
    }
    let one = |x: &Tensor, i| -> Out { Ok(x.f_narrow(0, i, 1)?.copy()) };
    let alone = |i| attend(&one(q, i)?, &one(k, i)?, &one(v, i)?);
    Tensor::f_cat(&(0..q.size()[0]).map(alone).collect::<Result<Vec<Tensor>, _>>()?, 0)
}

fn spread(gain: f64, fan_in: i64) -> Init {
    if gain == 0.0 { Init::Zeros } else { Init::Normal(gain / (fan_in as f64).sqrt()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    #[test]
    fn channels_last_changes_the_strides_and_nothing_else() {
        let x = Tensor::arange(24, (Kind::Float, Device::Cpu)).view([1, 2, 3, 4]);
        let y = channels_last(&x).unwrap();
        assert_eq!((y.size(), y.stride()), (vec![1, 2, 3, 4], vec![24, 1, 8, 2]));
        assert_eq!(x, y);
    }

    #[test]
    fn groups_divide_the_channels() {
        for (channels, groups) in [(64, 8), (12, 3), (3, 1), (96, 8), (20, 5)] {
            let mut layout = Layout::default();
            assert_eq!(GroupNorm::new(&mut layout, "n", channels).groups, groups);
        }
    }

    #[test]
    fn attention_begins_as_the_identity_and_then_mixes_places() {
        let mut layout = Layout::default();
        let attention = Attention::new(&mut layout, "a", 8);
        let x = Tensor::arange(32, (Kind::Float, Device::Cpu)).view([1, 8, 2, 2]).sin();
        let flat = layout.initial(0);
        assert_eq!(attention.forward(&layout.views(&flat).unwrap(), &x).unwrap(), x);
        let all = flat + 0.1;
        let views = layout.views(&all).unwrap();
        let before = attention.forward(&views, &x).unwrap();
        let moved = x.copy();
        let _ = moved.narrow(2, 0, 1).narrow(3, 0, 1).fill_(2.0);
        let after = attention.forward(&views, &moved).unwrap();
        let far = (before - after).abs().narrow(2, 1, 1).narrow(3, 1, 1).max().double_value(&[]);
        assert!(far > 1e-4, "{far}");
    }

    #[test]
    fn the_bits_of_attention_do_not_depend_on_the_place_in_the_batch_and_gradients_pass() {
        for channels in [48, 64, 128, 192] {
            let mut layout = Layout::default();
            let attention = Attention::new(&mut layout, "a", channels);
            let flat = (layout.initial(0) + 0.05).set_requires_grad(true);
            let views = layout.views(&flat).unwrap();
            for side in [1, 2, 3, 4, 5, 8] {
                let x = (Tensor::arange(channels * side * side, (Kind::Float, Device::Cpu)) * 0.37).sin();
                let x = channels_last(&x.view([1, channels, side, side])).unwrap();
                for batch in [2, 3, 6, 16] {
                    let many = channels_last(&x.expand([batch, -1, -1, -1], false)).unwrap();
                    let y = attention.forward(&views, &many).unwrap();
                    for i in 1..batch {
                        assert_eq!(y.get(i), y.get(0), "{channels} channels, {side}x{side}: {i} of {batch}");
                    }
                }
            }
            // The gradient of a projection, which attention alone gives: by differences, and as autograd says.
            let x = (Tensor::arange(channels * 9, (Kind::Float, Device::Cpu)) * 0.73).sin().view([1, channels, 3, 3]);
            let loss = |flat: &Tensor| {
                let y = attention.forward(&layout.views(flat).unwrap(), &x).unwrap();
                (y * &x).sum(Kind::Float)
            };
            let gradient = Tensor::run_backward(&[loss(&flat)], &[&flat], false, false).remove(0);
            let slope = gradient.square().sum(Kind::Double).sqrt().double_value(&[]);
            let step = &gradient * (1e-3 / slope);
            let apart = |sign: f64| loss(&(flat.detach() + &step * sign)).double_value(&[]);
            let measured = (apart(1.0) - apart(-1.0)) / 2e-3;
            assert!((measured / slope - 1.0).abs() < 0.02, "{channels} channels: {measured} for {slope}");
        }
    }
}
