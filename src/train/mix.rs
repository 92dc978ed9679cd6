//! Mixup and cutmix over a batch, as torchvision's `v2.MixUp` and `v2.CutMix`: each photo with its neighbour; and the loss of
//! mixed and weighted labels. Knows no photo and no network.

use tch::{Kind, Reduction, TchError, Tensor};

use super::augment::Rect;
use crate::nn::noise::Stream;

/// How strongly photos of a batch are mixed; 0 is off. Where both are on, each batch draws one of them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Mix {
    /// The Beta distribution's parameter (Zhang et al. 2018).
    pub mixup: f64,
    /// The same (Yun et al. 2019).
    pub cutmix: f64,
}

/// What is done to one batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mixed {
    No,
    /// `kept` of each photo and the rest of its neighbour.
    Blend {
        kept: f64,
    },
    /// The neighbour's rectangle in each photo, which keeps `kept` of its area.
    Cut {
        rect: Rect,
        kept: f64,
    },
}

impl Mix {
    /// What happens to a batch of `width` x `height` views.
    pub fn draw(&self, stream: &mut Stream, width: u32, height: u32) -> Mixed {
        let cut = match (self.mixup > 0.0, self.cutmix > 0.0) {
            (false, false) => return Mixed::No,
            (true, true) => stream.chance(0.5),
            (_, cut) => cut,
        };
        if !cut {
            return Mixed::Blend { kept: beta(stream, self.mixup) };
        }
        let kept = beta(stream, self.cutmix);
        let at = (stream.below(width as usize) as u32, stream.below(height as usize) as u32);
        cut_out(at, kept, width, height)
    }
}

/// The rectangle about a point that leaves `share` of a view, cut off at the view's sides, and what it leaves then.
fn cut_out((column, row): (u32, u32), share: f64, width: u32, height: u32) -> Mixed {
    let side = 0.5 * (1.0 - share).sqrt();
    let span = |at: u32, length: u32| {
        let half = (side * f64::from(length)) as u32;
        (at.saturating_sub(half), (at + half).min(length))
    };
    let ((left, right), (top, bottom)) = (span(column, width), span(row, height));
    let rect = Rect { left, top, width: right - left, height: bottom - top };
    let area = f64::from(rect.width * rect.height);
    Mixed::Cut { rect, kept: 1.0 - area / (f64::from(width) * f64::from(height)) }
}

impl Mixed {
    /// The batch `[n, channels, height, width]`, mixed.
    pub fn apply(self, x: Tensor) -> Result<Tensor, TchError> {
        match self {
            Mixed::No => Ok(x),
            Mixed::Blend { kept } => x.f_roll([1], [0])?.f_mul_scalar_(1.0 - kept)?.f_add_(&x.f_mul_scalar(kept)?),
            Mixed::Cut { rect, .. } => {
                let inside = |x: &Tensor| {
                    x.f_narrow(2, i64::from(rect.top), i64::from(rect.height))?.f_narrow(
                        3,
                        i64::from(rect.left),
                        i64::from(rect.width),
                    )
                };
                let other = inside(&x)?.f_roll([1], [0])?;
                inside(&x)?.f_copy_(&other)?;
                Ok(x)
            }
        }
    }

    /// Share of each label that stays its photo's own.
    pub fn kept(self) -> f64 {
        match self {
            Mixed::No => 1.0,
            Mixed::Blend { kept } | Mixed::Cut { kept, .. } => kept,
        }
    }
}

/// Mean cross-entropy of `logits` `[n, classes]` with labels i64 `[n]`, of which `kept` is a photo's own and the rest its
/// neighbour's; `smoothing` in [0, 1) is spread over all classes. `weights`, `[n]`, say how much each label counts.
pub fn loss(
    logits: &Tensor,
    labels: &Tensor,
    kept: f64,
    smoothing: f64,
    weights: Option<&Tensor>,
) -> Result<Tensor, TchError> {
    let of = |labels: &Tensor, weights: Option<&Tensor>| {
        let reduction = if weights.is_some() { Reduction::None } else { Reduction::Mean };
        let losses = logits.f_cross_entropy_loss(labels, None::<&Tensor>, reduction, -100, smoothing)?;
        match weights {
            None => Ok(losses),
            Some(weights) => losses.f_mul(weights)?.f_sum(Kind::Float)?.f_div(&weights.f_sum(Kind::Float)?),
        }
    };
    let own = of(labels, weights)?;
    if kept == 1.0 {
        return Ok(own);
    }
    let rolled = weights.map(|weights| weights.f_roll([1], [0])).transpose()?;
    let other = of(&labels.f_roll([1], [0])?, rolled.as_ref())?;
    own.f_mul_scalar(kept)?.f_add(&other.f_mul_scalar(1.0 - kept)?)
}

/// A variate of Beta(alpha, alpha), as two of Gamma.
fn beta(stream: &mut Stream, alpha: f64) -> f64 {
    let (a, b) = (gamma(stream, alpha), gamma(stream, alpha));
    if a + b > 0.0 { a / (a + b) } else { 0.5 }
}

/// A variate of Gamma(shape) by Marsaglia and Tsang (2000); shapes below 1 by a power of a uniform one.
fn gamma(stream: &mut Stream, shape: f64) -> f64 {
    if shape < 1.0 {
        let boost = libm::pow(1.0 - stream.uniform(), 1.0 / shape);
        return gamma(stream, shape + 1.0) * boost;
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / libm::sqrt(9.0 * d);
    loop {
        let (x, _) = stream.normal_pair();
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && libm::log(1.0 - stream.uniform()) < 0.5 * x * x + d - d * v + d * libm::log(v) {
            return d * v;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tch::Device;

    #[derive(serde::Deserialize)]
    struct Golden {
        mixed: Vec<f32>,
        boxes: Vec<Box>,
        losses: BTreeMap<String, f64>,
    }

    #[derive(serde::Deserialize)]
    struct Box {
        at: (u32, u32),
        share: f64,
        size: [u32; 2],
        r#box: [u32; 4],
        kept: f64,
    }

    fn golden() -> Golden {
        serde_json::from_str(include_str!("../../tests/golden/vary.json")).unwrap()
    }

    fn waves() -> Tensor {
        Tensor::arange(360, (Kind::Float, Device::Cpu)).sin().view([4, 3, 6, 5])
    }

    #[test]
    fn photos_are_blended_with_their_neighbours_as_torchvision_does() {
        let found = Mixed::Blend { kept: 0.3 }.apply(waves()).unwrap();
        let wanted = Tensor::from_slice(&golden().mixed).view([4, 3, 6, 5]);
        assert!((found - wanted).abs().max().double_value(&[]) < 1e-6);
    }

    #[test]
    fn a_cut_has_torchvisions_rectangle_and_takes_it_from_the_neighbour() {
        for case in golden().boxes {
            let [left, top, right, bottom] = case.r#box;
            let found = cut_out(case.at, case.share, case.size[0], case.size[1]);
            let rect = Rect { left, top, width: right - left, height: bottom - top };
            assert_eq!(found, Mixed::Cut { rect, kept: case.kept });
        }
        let rect = Rect { left: 1, top: 2, width: 3, height: 4 };
        let (before, after) = (waves(), Mixed::Cut { rect, kept: 0.6 }.apply(waves()).unwrap());
        for n in 0..4 {
            for (x, y) in [(0, 0), (1, 2), (3, 5), (4, 5), (1, 1)] {
                let from = if (1..4).contains(&x) && y >= 2 { (n + 3) % 4 } else { n };
                assert_eq!(after.double_value(&[n, 1, y, x]), before.double_value(&[from, 1, y, x]), "{n} {x} {y}");
            }
        }
    }

    #[test]
    fn the_loss_of_mixed_labels_is_torchs_of_soft_ones() {
        let logits = Tensor::from_slice2(&[[0.3f32, -1.0, 2.0], [1.0, 0.5, -0.2], [0.0, 0.1, 0.2], [2.0, -2.0, 0.4]]);
        let labels = Tensor::from_slice(&[2i64, 0, 1, 1]);
        let value =
            |kept, weights: Option<&Tensor>| loss(&logits, &labels, kept, 0.1, weights).unwrap().double_value(&[]);
        let wanted = golden().losses;
        assert!((value(1.0, None) - wanted["plain"]).abs() < 1e-6);
        assert!((value(0.3, None) - wanted["mixed"]).abs() < 1e-6);
        // Equal weights are none; a label without weight does not count, wherever it was mixed to.
        let equal = Tensor::from_slice(&[0.7f32; 4]);
        assert!((value(0.3, Some(&equal)) - wanted["mixed"]).abs() < 1e-6);
        let first = Tensor::from_slice(&[1.0f32, 0.0, 0.0, 0.0]);
        let one =
            |i: i64| loss(&logits.narrow(0, i, 1), &labels.narrow(0, 0, 1), 1.0, 0.1, None).unwrap().double_value(&[]);
        assert!((value(0.3, Some(&first)) - (0.3 * one(0) + 0.7 * one(1))).abs() < 1e-6);
    }

    #[test]
    fn shares_follow_the_beta_distribution() {
        for alpha in [0.2, 1.0, 4.0] {
            let n = 20_000;
            let shares: Vec<f64> = (0..n).map(|i| beta(&mut Stream::indexed(1, "test", &[i]), alpha)).collect();
            assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
            let mean = shares.iter().sum::<f64>() / n as f64;
            let variance = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / n as f64;
            // Of Beta(a, a): 1/2 and 1 / (4 (2 a + 1)); five standard errors, about.
            assert!((mean - 0.5).abs() < 0.016, "{mean}");
            let wanted = 0.25 / (2.0 * alpha + 1.0);
            assert!((variance / wanted - 1.0).abs() < 0.05, "{alpha}: {variance} {wanted}");
        }
    }

    #[test]
    fn what_is_off_draws_nothing_and_both_take_turns() {
        let kinds = |mix: Mix| -> Vec<u8> {
            let draw = |i| mix.draw(&mut Stream::indexed(0, "test", &[i]), 8, 8);
            let mut kinds: Vec<u8> = (0..100)
                .map(|i| match draw(i) {
                    Mixed::No => 0,
                    Mixed::Blend { .. } => 1,
                    Mixed::Cut { .. } => 2,
                })
                .collect();
            kinds.sort();
            kinds.dedup();
            kinds
        };
        assert_eq!(kinds(Mix::default()), [0]);
        assert_eq!(kinds(Mix { mixup: 0.2, cutmix: 0.0 }), [1]);
        assert_eq!(kinds(Mix { mixup: 0.0, cutmix: 1.0 }), [2]);
        assert_eq!(kinds(Mix { mixup: 0.2, cutmix: 1.0 }), [1, 2]);
    }
}
