//! What is done to a training view beyond crop and flip, with torchvision's definitions: RandAugment, TrivialAugment, colour
//! jitter, random erasing. Draws from a stream; knows no photo on disk and no batch.

use image::RgbImage;

use super::augment::Rect;
use super::pixels;
use crate::nn::noise::Stream;

/// Steps of a policy's magnitudes.
const BINS: usize = 31;

/// An operation of the policies, by torchvision's names and in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

impl Op {
    pub const ALL: [Op; 14] = [
        Op::Identity,
        Op::ShearX,
        Op::ShearY,
        Op::TranslateX,
        Op::TranslateY,
        Op::Rotate,
        Op::Brightness,
        Op::Color,
        Op::Contrast,
        Op::Sharpness,
        Op::Posterize,
        Op::Solarize,
        Op::AutoContrast,
        Op::Equalize,
    ];

    /// The view changed; the magnitude's unit is the operation's own (a tangent, pixels, degrees, a factor less 1, bits, a
    /// value).
    pub fn apply(self, view: &RgbImage, magnitude: f64) -> RgbImage {
        match self {
            Op::Identity => view.clone(),
            Op::ShearX => pixels::shear(view, magnitude, 0.0),
            Op::ShearY => pixels::shear(view, 0.0, magnitude),
            Op::TranslateX => pixels::translate(view, magnitude as i32, 0),
            Op::TranslateY => pixels::translate(view, 0, magnitude as i32),
            Op::Rotate => pixels::rotate(view, magnitude),
            Op::Brightness => pixels::brightness(view, 1.0 + magnitude),
            Op::Color => pixels::saturation(view, 1.0 + magnitude),
            Op::Contrast => pixels::contrast(view, 1.0 + magnitude),
            Op::Sharpness => pixels::sharpness(view, 1.0 + magnitude),
            Op::Posterize => pixels::posterize(view, magnitude as u32),
            Op::Solarize => pixels::solarize(view, magnitude),
            Op::AutoContrast => pixels::autocontrast(view),
            Op::Equalize => pixels::equalize(view),
        }
    }

    /// Whether the magnitude is negated half of the time.
    fn signed(self) -> bool {
        (Op::ShearX as usize..=Op::Sharpness as usize).contains(&(self as usize))
    }
}

/// A policy of operations on top of crop and flip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    #[default]
    None,
    /// RandAugment (Cubuk et al. 2020): so many operations of one magnitude, 0 to 30.
    RandAugment { ops: usize, magnitude: usize },
    /// TrivialAugment Wide (Müller and Hutter 2021): one operation of any magnitude.
    TrivialAugment,
}

impl Policy {
    /// RandAugment with torchvision's defaults.
    pub const RAND_AUGMENT: Policy = Policy::RandAugment { ops: 2, magnitude: 9 };

    /// The view after the policy.
    pub fn apply(self, stream: &mut Stream, mut view: RgbImage) -> RgbImage {
        let (ops, fixed) = match self {
            Policy::None => return view,
            Policy::RandAugment { ops, magnitude } => (ops, Some(magnitude)),
            Policy::TrivialAugment => (1, None),
        };
        for _ in 0..ops {
            let op = Op::ALL[stream.below(Op::ALL.len())];
            let bin = fixed.unwrap_or_else(|| stream.below(BINS));
            let mut magnitude = self.magnitude(op, bin, view.dimensions());
            if op.signed() && stream.chance(0.5) {
                magnitude = -magnitude;
            }
            view = op.apply(&view, magnitude);
        }
        view
    }

    /// The magnitude of step `bin` of 0 to 30, unsigned, for a view of so many pixels.
    fn magnitude(self, op: Op, bin: usize, (width, height): (u32, u32)) -> f64 {
        let wide = self == Policy::TrivialAugment;
        let up_to = |narrow: f64, most_wide: f64| {
            let most = if wide { most_wide } else { narrow };
            most * bin as f64 / (BINS - 1) as f64
        };
        match op {
            Op::Identity | Op::AutoContrast | Op::Equalize => 0.0,
            Op::ShearX | Op::ShearY => up_to(0.3, 0.99),
            Op::TranslateX => up_to(150.0 / 331.0 * f64::from(width), 32.0),
            Op::TranslateY => up_to(150.0 / 331.0 * f64::from(height), 32.0),
            Op::Rotate => up_to(30.0, 135.0),
            Op::Brightness | Op::Color | Op::Contrast | Op::Sharpness => up_to(0.9, 0.99),
            // torch rounds halves to even.
            Op::Posterize => 8.0 - libm::rint(up_to(4.0, 6.0)),
            Op::Solarize => 255.0 - up_to(255.0, 255.0),
        }
    }
}

/// torchvision's ColorJitter: each factor is uniform within so much of 1, the hue's turn within so much of 0; the four in random
/// order.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Jitter {
    pub brightness: f64,
    pub contrast: f64,
    pub saturation: f64,
    /// At most 0.5.
    pub hue: f64,
}

impl Jitter {
    /// The view after the jitter.
    pub fn apply(&self, stream: &mut Stream, mut view: RgbImage) -> RgbImage {
        if *self == Jitter::default() {
            return view;
        }
        let mut order = [0, 1, 2, 3];
        stream.shuffle(&mut order);
        let mut factor = |within: f64| stream.range((1.0 - within).max(0.0), 1.0 + within);
        let [b, c, s] = [self.brightness, self.contrast, self.saturation].map(&mut factor);
        let turn = stream.range(-self.hue, self.hue);
        for which in order {
            view = match which {
                0 if self.brightness > 0.0 => pixels::brightness(&view, b),
                1 if self.contrast > 0.0 => pixels::contrast(&view, c),
                2 if self.saturation > 0.0 => pixels::saturation(&view, s),
                3 if self.hue > 0.0 => pixels::hue(&view, turn),
                _ => view,
            };
        }
        view
    }
}

/// torchvision's RandomErasing: with probability `p` a rectangle of 2 to 33 % of the view, of height over width between 0.3
/// and 3.3, which becomes zero after normalisation; `None` also where ten tries did not fit.
pub fn erased(stream: &mut Stream, p: f64, width: u32, height: u32) -> Option<Rect> {
    if p == 0.0 || !stream.chance(p) {
        return None;
    }
    let area = f64::from(width) * f64::from(height);
    for _ in 0..10 {
        let wanted = area * stream.range(0.02, 0.33);
        let aspect = libm::exp(stream.range(libm::log(0.3), libm::log(3.3)));
        let h = libm::rint(libm::sqrt(wanted * aspect)) as u32;
        let w = libm::rint(libm::sqrt(wanted / aspect)) as u32;
        if h < height && w < width {
            let top = stream.below((height - h) as usize + 1) as u32;
            let left = stream.below((width - w) as usize + 1) as u32;
            return Some(Rect { left, top, width: w, height: h });
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(serde::Deserialize)]
    struct Golden {
        randaug: BTreeMap<String, (Vec<f64>, bool)>,
        trivialaug: BTreeMap<String, (Vec<f64>, bool)>,
    }

    #[test]
    fn magnitudes_and_signs_are_torchvisions() {
        let golden: Golden = serde_json::from_str(include_str!("../../tests/golden/vary.json")).unwrap();
        for (policy, wanted) in [(Policy::RAND_AUGMENT, golden.randaug), (Policy::TrivialAugment, golden.trivialaug)] {
            assert_eq!(wanted.len(), Op::ALL.len());
            for op in Op::ALL {
                let (magnitudes, signed) = &wanted[&format!("{op:?}")];
                assert_eq!(op.signed(), *signed, "{op:?}");
                for (bin, wanted) in magnitudes.iter().enumerate() {
                    let found = policy.magnitude(op, bin, (64, 48));
                    assert!((found - wanted).abs() < 1e-4, "{policy:?} {op:?} {bin}: {found} {wanted}");
                }
            }
        }
    }

    #[test]
    fn a_policy_draws_each_operation_equally_often_and_both_signs() {
        // A white corner says which way a view was moved.
        let view =
            RgbImage::from_fn(32, 32, |x, y| image::Rgb([if x < 16 { 200 } else { 40 }, (x * 7) as u8, (y * 5) as u8]));
        let mut seen = BTreeMap::<Vec<u8>, usize>::new();
        let one = Policy::RandAugment { ops: 1, magnitude: 9 };
        let n = 4200;
        for i in 0..n {
            let out = one.apply(&mut Stream::indexed(1, "test", &[i]), view.clone());
            *seen.entry(out.into_raw()).or_default() += 1;
        }
        // Nine signed operations have two outcomes; identity, and posterizing to 7 bits, are others; five have one each.
        assert_eq!(seen.len(), 9 * 2 + 5);
        assert!(seen.values().all(|&times| (90..=400).contains(&times)), "{:?}", seen.values());
        assert_eq!(seen.values().sum::<usize>(), n as usize);
    }

    #[test]
    fn jitter_stays_within_its_bounds_and_without_any_draws_nothing() {
        let view = RgbImage::from_pixel(2, 2, image::Rgb([100; 3]));
        let mut values = Vec::new();
        for i in 0..500 {
            let jitter = Jitter { brightness: 0.4, ..Jitter::default() };
            values.push(jitter.apply(&mut Stream::indexed(1, "test", &[i]), view.clone()).get_pixel(0, 0).0[0]);
        }
        let (low, high) = (*values.iter().min().unwrap(), *values.iter().max().unwrap());
        assert!((60..63).contains(&low) && (137..=140).contains(&high), "{low} {high}");
        let mut stream = Stream::new(b"k", "test");
        assert_eq!(Jitter::default().apply(&mut stream, view.clone()), view);
        assert_eq!(stream.uniform(), Stream::new(b"k", "test").uniform());
    }

    #[test]
    fn erasing_takes_torchvisions_shares() {
        let (mut times, mut area) = (0, 0.0);
        let n = 8000;
        for i in 0..n {
            let Some(rect) = erased(&mut Stream::indexed(1, "test", &[i]), 0.25, 64, 48) else { continue };
            assert!(rect.left + rect.width <= 64 && rect.top + rect.height <= 48);
            times += 1;
            area += f64::from(rect.width * rect.height) / (64.0 * 48.0);
        }
        let share = f64::from(times) / n as f64;
        assert!((share - 0.25).abs() < 0.02, "{share}");
        // Rectangles that do not fit are drawn again, so the mean is a little below the middle of 0.02 and 0.33.
        let mean = area / f64::from(times);
        assert!((0.155..0.18).contains(&mean), "{mean}");
    }
}
