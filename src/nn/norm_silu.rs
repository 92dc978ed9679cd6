//! Group normalisation and SiLU after it, in two walks over the memory in place of libtorch's five: on CPUs
//! whose products are fast they are up to a seventh of an autoencoder's time. For inference alone. Knows no network.
//!
//! The sums are taken in chunks that depend on the sizes alone, and added up in order: neither the number of threads nor an
//! image's place in its batch changes a bit.

use std::sync::Mutex;

use tch::{Device, Kind, TchError, Tensor};

use super::blocks::channels_last;
use super::slices;

/// Numbers that are walked over as one piece, about.
const CHUNK: usize = 1 << 15;

/// Fewer numbers are not worth a second thread.
const FEW: usize = 1 << 17;

/// y = SiLU(groupnorm(x)): Wu and He 2018, eq. 1 to 5; SiLU(x) = x / (1 + exp(-x)), Hendrycks and Gimpel 2016.
pub struct NormSilu {
    /// A channel each.
    weight: Vec<f32>,
    bias: Vec<f32>,
    groups: usize,
    epsilon: f64,
}

impl NormSilu {
    /// `weight` and `bias` `[channels]`, of which each group has the same number.
    ///
    /// # Errors
    /// libtorch's.
    pub fn new(weight: &Tensor, bias: &Tensor, groups: i64, epsilon: f64) -> Result<NormSilu, TchError> {
        let numbers = |x: &Tensor| Vec::<f32>::try_from(x.f_to_kind(Kind::Float)?.f_to_device(Device::Cpu)?);
        Ok(NormSilu { weight: numbers(weight)?, bias: numbers(bias)?, groups: groups as usize, epsilon })
    }

    /// Whether it takes such a tensor: `[batch, channels, h, w]`, fp32 or bf16, on the CPU.
    pub fn takes(&self, x: &Tensor) -> bool {
        x.device() == Device::Cpu
            && matches!(x.kind(), Kind::Float | Kind::BFloat16)
            && matches!(*x.size(), [_, channels, _, _] if channels as usize == self.weight.len())
    }

    /// The result of the same shape and kind, channels innermost in memory; computed in fp32 and rounded once. `x` is one that
    /// it [takes](NormSilu::takes).
    ///
    /// # Errors
    /// libtorch's, most often for want of memory.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let x = channels_last(x)?;
        let (batch, channels, h, w) = x.size4()?;
        let y = Tensor::f_empty([batch, h, w, channels], (x.kind(), Device::Cpu))?;
        let threads = if x.numel() < FEW { 1 } else { tch::get_num_threads().max(1) as usize };
        let batch = batch as usize;
        // SAFETY: both hold as many numbers of that kind without gaps, and nobody else has `y`.
        match x.kind() {
            Kind::Float => self.walk::<f32>(unsafe { slices::of(&x) }, unsafe { slices::of_mut(&y) }, batch, threads),
            _ => self.walk::<Bf16>(unsafe { slices::of(&x) }, unsafe { slices::of_mut(&y) }, batch, threads),
        }
        y.f_permute([0, 3, 1, 2])
    }

    /// `x` and `y` image by image, place by place, channels innermost; on so many threads.
    fn walk<T: Number>(&self, x: &[T], y: &mut [T], batch: usize, threads: usize) {
        let channels = self.weight.len();
        let image = x.len() / batch.max(1);
        if image == 0 {
            return;
        }
        let chunk = (CHUNK / channels).max(1) * channels;
        let chunks = image.div_ceil(chunk);

        // Of each chunk, a channel: a number near its mean, the sum of the differences from that, and of their squares.
        let mut sums = vec![0.0; batch * chunks * 3 * channels];
        let pieces = x.chunks(image).flat_map(|x| x.chunks(chunk)).zip(sums.chunks_mut(3 * channels));
        share(pieces, threads, |(piece, sums)| {
            let (about, sums) = sums.split_at_mut(channels);
            let (sum, squares) = sums.split_at_mut(channels);
            T::add_up(piece, about, sum, squares);
        });

        // Of each image, a channel: what x is multiplied by, and what is added.
        let mut affine = vec![0.0; batch * 2 * channels];
        let places = |piece: usize| (image - piece * chunk).min(chunk) / channels;
        for (sums, affine) in sums.chunks(chunks * 3 * channels).zip(affine.chunks_mut(2 * channels)) {
            self.affine(sums, places, affine);
        }
        let pieces = x.chunks(image).zip(y.chunks_mut(image)).zip(affine.chunks(2 * channels));
        let pieces = pieces.flat_map(|((x, y), affine)| {
            x.chunks(chunk).zip(y.chunks_mut(chunk)).map(move |(x, y)| (x, y, affine.split_at(channels)))
        });
        share(pieces, threads, |(x, y, (scale, shift))| T::apply(x, scale, shift, y));
    }

    /// An image's scale and shift of each channel from its chunks' sums, over so many places each.
    fn affine(&self, sums: &[f32], places: impl Fn(usize) -> usize, affine: &mut [f32]) {
        let channels = self.weight.len();
        let of_group = channels / self.groups;
        let (scale, shift) = affine.split_at_mut(channels);
        let mut parts = Vec::new();
        for group in 0..self.groups {
            let own = group * of_group..(group + 1) * of_group;
            // Places, mean and sum of the squares of what differs from it: those of parts add up (Chan et al. 1983, eq. 2.1).
            parts.clear();
            for (piece, sums) in sums.chunks(3 * channels).enumerate() {
                let n = places(piece) as f64;
                parts.extend(own.clone().map(|c| {
                    let [about, sum, squares] = [0, 1, 2].map(|which| f64::from(sums[which * channels + c]));
                    (n, about + sum / n, squares - sum * sum / n)
                }));
            }
            let n = parts.iter().map(|(n, ..)| n).sum::<f64>();
            let mean = parts.iter().map(|(n, mean, _)| n * mean).sum::<f64>() / n;
            let squares = parts.iter().map(|(n, own, squares)| squares + n * (own - mean).powi(2)).sum::<f64>();
            let factor = 1.0 / (squares.max(0.0) / n + self.epsilon).sqrt();
            for c in own {
                let by = f64::from(self.weight[c]) * factor;
                (scale[c], shift[c]) = (by as f32, (f64::from(self.bias[c]) - mean * by) as f32);
            }
        }
    }
}

/// Does all jobs on so many threads.
fn share<J: Send>(jobs: impl Iterator<Item = J> + Send, threads: usize, work: impl Fn(J) + Sync) {
    let jobs = Mutex::new(jobs);
    let next = || jobs.lock().expect("no job panics").next();
    let run = || {
        while let Some(job) = next() {
            work(job);
        }
    };
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(run)));
        run();
    });
}

/// A number in memory.
trait Number: Copy + Send + Sync {
    fn wide(self) -> f32;
    fn rounded(x: f32) -> Self;
    /// [`add_up`] and [`apply`] in the widest vectors.
    fn add_up(x: &[Self], about: &mut [f32], sum: &mut [f32], squares: &mut [f32]);
    fn apply(x: &[Self], scale: &[f32], shift: &[f32], y: &mut [Self]);
}

/// The upper half of an fp32 number's bits.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Bf16(u16);

impl Number for f32 {
    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }

    #[inline(always)]
    fn rounded(x: f32) -> f32 {
        x
    }

    fn add_up(x: &[f32], about: &mut [f32], sum: &mut [f32], squares: &mut [f32]) {
        add_up_fp32(x, about, sum, squares);
    }

    fn apply(x: &[f32], scale: &[f32], shift: &[f32], y: &mut [f32]) {
        apply_fp32(x, scale, shift, y);
    }
}

impl Number for Bf16 {
    #[inline(always)]
    fn wide(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }

    /// To the nearest, to even of two. A NaN's upper bits are never all that is below infinity's, so that it stays one.
    #[inline(always)]
    fn rounded(x: f32) -> Bf16 {
        let bits = x.to_bits();
        Bf16((bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16)
    }

    fn add_up(x: &[Bf16], about: &mut [f32], sum: &mut [f32], squares: &mut [f32]) {
        add_up_bf16(x, about, sum, squares);
    }

    fn apply(x: &[Bf16], scale: &[f32], shift: &[f32], y: &mut [Bf16]) {
        apply_bf16(x, scale, shift, y);
    }
}

widest! { avx512:
    fn add_up_fp32(x: &[f32], about: &mut [f32], sum: &mut [f32], squares: &mut [f32]) -> () = add_up::<f32>
}
widest! { avx512:
    fn add_up_bf16(x: &[Bf16], about: &mut [f32], sum: &mut [f32], squares: &mut [f32]) -> () = add_up::<Bf16>
}
widest! { avx512:
    fn apply_fp32(x: &[f32], scale: &[f32], shift: &[f32], y: &mut [f32]) -> () = apply::<f32>
}
widest! { avx512:
    fn apply_bf16(x: &[Bf16], scale: &[f32], shift: &[f32], y: &mut [Bf16]) -> () = apply::<Bf16>
}

/// Of a piece's numbers, a channel each: the mean of the first eighth of the places, which is less than three standard deviations
/// away from the mean of all; the sum of the differences from it, and the sum of their squares. What is added to begins as
/// zeros.
#[inline(always)]
fn add_up<T: Number>(x: &[T], about: &mut [f32], sum: &mut [f32], squares: &mut [f32]) {
    let channels = about.len();
    let (sum, squares) = (&mut sum[..channels], &mut squares[..channels]);
    let first = (x.len() / channels).div_ceil(8);
    let share = 1.0 / first as f32;
    let mut at = 0;
    while at < first * channels {
        let a = &x[at..at + channels];
        for i in 0..channels {
            about[i] += a[i].wide() * share;
        }
        at += channels;
    }
    let about = &about[..channels];
    let mut at = 0;
    // Four places at a time: what is added to stays a while.
    while at + 4 * channels <= x.len() {
        let (a, b) = (&x[at..at + channels], &x[at + channels..at + 2 * channels]);
        let (c, d) = (&x[at + 2 * channels..at + 3 * channels], &x[at + 3 * channels..at + 4 * channels]);
        for i in 0..channels {
            let m = about[i];
            let (a, b, c, d) = (a[i].wide() - m, b[i].wide() - m, c[i].wide() - m, d[i].wide() - m);
            sum[i] += (a + b) + (c + d);
            squares[i] += (a * a + b * b) + (c * c + d * d);
        }
        at += 4 * channels;
    }
    while at < x.len() {
        let a = &x[at..at + channels];
        for i in 0..channels {
            let a = a[i].wide() - about[i];
            sum[i] += a;
            squares[i] += a * a;
        }
        at += channels;
    }
}

/// SiLU of a channel's scale times x plus its shift.
#[inline(always)]
fn apply<T: Number>(x: &[T], scale: &[f32], shift: &[f32], y: &mut [T]) {
    let channels = scale.len();
    let shift = &shift[..channels];
    let mut at = 0;
    while at < x.len() {
        let (x, y) = (&x[at..at + channels], &mut y[at..at + channels]);
        for i in 0..channels {
            y[i] = T::rounded(silu(x[i].wide() * scale[i] + shift[i]));
        }
        at += channels;
    }
}

/// x / (1 + exp(-x)), within (3 + |x|) 1e-7 of it, relatively, down to 1e-30.
#[inline(always)]
fn silu(x: f32) -> f32 {
    // Added to a number below 2^22, it leaves the nearest whole number in the lowest bits.
    const WHOLE: f32 = 12_582_912.0;
    // exp(-x) = 2^t. Comparisons are such that a NaN stays one.
    let t = x * -std::f32::consts::LOG2_E;
    let t = if t > 126.0 { 126.0 } else { t };
    let t = if t < -126.0 { -126.0 } else { t };
    let whole = t + WHOLE;
    let rest = t - (whole - WHOLE);
    // 2^rest in [-1/2, 1/2]: of all polynomials of degree 6 the one that is farthest off least, 2e-9 relatively.
    let mut power = 0.000_153_458_12;
    power = power * rest + 0.001_339_993_1;
    power = power * rest + 0.009_618_489;
    power = power * rest + 0.055_503_286;
    power = power * rest + 0.240_226_46;
    power = power * rest + std::f32::consts::LN_2;
    power = power * rest + 1.0;
    let power = f32::from_bits(power.to_bits().wrapping_add(whole.to_bits() << 23));
    x / (1.0 + power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waves(shape: &[i64], step: f64, about: f64) -> Tensor {
        let numel = shape.iter().product::<i64>();
        ((Tensor::arange(numel, (Kind::Double, Device::Cpu)) * step).sin() * 3.0 + about)
            .to_kind(Kind::Float)
            .view(shape)
    }

    /// libtorch's answer in fp64.
    fn exact(x: &Tensor, weight: &Tensor, bias: &Tensor, groups: i64) -> Tensor {
        let wide = |x: &Tensor| x.to_kind(Kind::Double);
        wide(x).group_norm(groups, Some(&wide(weight)), Some(&wide(bias)), 1e-5, false).silu()
    }

    fn farthest(found: &Tensor, exact: &Tensor) -> f64 {
        (found.to_kind(Kind::Double) - exact).abs().max().double_value(&[])
    }

    #[test]
    fn it_is_group_norm_and_silu() {
        // Every kind of end: few and many channels, one place, pieces that do not fill a chunk, numbers far from zero.
        for (shape, groups, about) in [
            ([2, 32, 5, 7], 32, 0.0),
            ([1, 320, 16, 16], 32, 0.5),
            ([3, 8, 1, 1], 2, 0.0),
            ([2, 6, 3, 1], 3, 0.0),
            ([2, 64, 61, 53], 8, 0.0),
            ([1, 16, 40, 40], 4, 1000.0),
        ] {
            let channels = shape[1];
            let x = waves(&shape, 0.37, about);
            let (weight, bias) = (waves(&[channels], 0.9, 0.2), waves(&[channels], 1.7, -0.5));
            let exact = exact(&x, &weight, &bias, groups);
            let norm = NormSilu::new(&weight, &bias, groups, 1e-5).unwrap();
            for x in [x.shallow_clone(), channels_last(&x).unwrap()] {
                assert!(norm.takes(&x));
                let found = norm.forward(&x).unwrap();
                assert_eq!((found.kind(), found.size()), (Kind::Float, shape.to_vec()));
                let bound = if about > 100.0 { 1e-3 } else { 1e-5 };
                assert!(farthest(&found, &exact) < bound, "{shape:?}: {:e}", farthest(&found, &exact));
            }
        }
    }

    #[test]
    fn a_few_numbers_far_from_the_others_cost_no_digits() {
        // As at the edges of what convolutions pad with zeros: a corner, or every ninth place.
        for (every, far) in [(usize::MAX, 3000.0), (9, 300.0), (8, 300.0)] {
            let (places, channels) = (48 * 48, 32);
            let values: Vec<f32> = (0..places * channels)
                .map(|i| ((i as f32 * 0.37).sin() * 0.1) + if (i / channels) % every == 0 { far } else { 0.0 })
                .collect();
            let x = Tensor::from_slice(&values).view([1, 48, 48, 32]).permute([0, 3, 1, 2]);
            let (weight, bias) = (waves(&[32], 0.9, 0.2), waves(&[32], 1.7, -0.5));
            let exact = exact(&x, &weight, &bias, 8);
            let found = NormSilu::new(&weight, &bias, 8, 1e-5).unwrap().forward(&x).unwrap();
            let apart = (found.to_kind(Kind::Double) - &exact).norm() / exact.norm();
            assert!(apart.double_value(&[]) < 1e-6, "{every}: {:e}", apart.double_value(&[]));
        }
    }

    #[test]
    fn bf16_is_rounded_once() {
        let x = waves(&[2, 64, 33, 31], 0.37, 0.1).to_kind(Kind::BFloat16);
        let (weight, bias) = (waves(&[64], 0.9, 0.2), waves(&[64], 1.7, -0.5));
        let norm = NormSilu::new(&weight, &bias, 8, 1e-5).unwrap();
        let found = norm.forward(&x).unwrap();
        assert_eq!(found.kind(), Kind::BFloat16);
        let exact = exact(&x, &weight, &bias, 8);
        // All but a few on the edge between two are libtorch's exact answer's own nearest.
        let apart =
            found.ne_tensor(&exact.to_kind(Kind::Float).to_kind(Kind::BFloat16)).sum(Kind::Int64).int64_value(&[]);
        assert!(apart < found.numel() as i64 / 1000, "{apart} of {}", found.numel());
    }

    #[test]
    fn bits_depend_on_neither_threads_nor_the_place_in_the_batch() {
        let one = waves(&[1, 64, 48, 56], 0.37, 0.1);
        let (weight, bias) = (waves(&[64], 0.9, 0.2), waves(&[64], 1.7, -0.5));
        let norm = NormSilu::new(&weight, &bias, 8, 1e-5).unwrap();
        let alone = norm.forward(&one).unwrap();
        let other = waves(&[1, 64, 48, 56], 0.11, 0.0);
        let many = norm.forward(&Tensor::cat(&[&other, &one, &other], 0)).unwrap();
        assert_eq!(many.narrow(0, 1, 1), alone);
        let (mut single, mut three) = (vec![0.0; one.numel()], vec![0.0; one.numel()]);
        let places: Vec<f32> = Vec::try_from(one.permute([0, 2, 3, 1]).contiguous().view(-1)).unwrap();
        norm.walk(&places, &mut single, 1, 1);
        let plain: Vec<f32> = Vec::try_from(alone.permute([0, 2, 3, 1]).contiguous().view(-1)).unwrap();
        norm.walk(&places, &mut three, 1, 3);
        assert!(single == plain && three == plain);
    }

    #[test]
    fn vectors_of_every_width_have_the_same_bits() {
        let x: Vec<f32> = (0..4096).map(|i| (i as f32 * 0.37).sin() * 20.0).collect();
        let narrow: Vec<Bf16> = x.iter().map(|&x| Bf16::rounded(x)).collect();
        let (scale, shift) = (vec![1.7; 64], vec![-0.3; 64]);
        let (mut plain, mut wide) = (vec![0.0; 4096], vec![0.0; 4096]);
        apply::<f32>(&x, &scale, &shift, &mut plain);
        apply_fp32(&x, &scale, &shift, &mut wide);
        assert_eq!(plain, wide);
        let sums = || [vec![0.0; 64], vec![0.0; 64], vec![0.0; 64]];
        let ([mut a, mut b, mut c], [mut d, mut e, mut f]) = (sums(), sums());
        add_up::<Bf16>(&narrow, &mut a, &mut b, &mut c);
        add_up_bf16(&narrow, &mut d, &mut e, &mut f);
        assert_eq!((a, b, c), (d, e, f));
    }

    #[test]
    fn silu_is_near_everywhere_and_keeps_what_is_no_number() {
        for i in -60_000..60_000 {
            let x = i as f32 * 0.001;
            let exact = f64::from(x) / (1.0 + (-f64::from(x)).exp());
            let bound = (3.0 + f64::from(x.abs())) * 1e-7 * exact.abs();
            assert!((f64::from(silu(x)) - exact).abs() <= bound, "{x}: {} {exact}", silu(x));
        }
        assert_eq!((silu(f32::INFINITY), silu(1e30)), (f32::INFINITY, 1e30));
        assert!(silu(-1e30).abs() < 1e-7);
        assert!(silu(f32::NAN).is_nan() && Bf16::rounded(f32::NAN).wide().is_nan());
        let x = waves(&[1, 8, 4, 4], 0.37, 0.0);
        let _ = x.get(0).get(0).get(0).get(0).fill_(f64::NAN);
        let ones = Tensor::ones([8], (Kind::Float, Device::Cpu));
        let norm = NormSilu::new(&ones, &ones, 2, 1e-5).unwrap();
        for kind in [Kind::Float, Kind::BFloat16] {
            let y = norm.forward(&x.to_kind(kind)).unwrap().to_kind(Kind::Float);
            assert!(y.narrow(1, 0, 4).isnan().all().int64_value(&[]) == 1, "a group with a NaN is all NaN");
            assert!(y.narrow(1, 4, 4).isfinite().all().int64_value(&[]) == 1);
        }
    }

    /// `cargo test --release --lib norm_silu -- --ignored --nocapture`
    #[test]
    #[ignore = "measures"]
    fn times_beside_libtorchs() {
        use std::time::Instant;
        for (shape, kind) in [
            ([1, 128, 256, 256], Kind::BFloat16),
            ([1, 256, 128, 128], Kind::BFloat16),
            ([1, 512, 64, 64], Kind::BFloat16),
            ([4, 320, 32, 32], Kind::BFloat16),
            ([4, 1280, 8, 8], Kind::BFloat16),
            ([1, 128, 256, 256], Kind::Float),
            ([4, 320, 32, 32], Kind::Float),
        ] {
            let channels = shape[1];
            let x = channels_last(&waves(&shape, 0.37, 0.1).to_kind(kind)).unwrap();
            let (weight, bias) =
                (waves(&[channels], 0.9, 0.2).to_kind(kind), waves(&[channels], 1.7, -0.5).to_kind(kind));
            let norm = NormSilu::new(&weight, &bias, 32, 1e-5).unwrap();
            let (mut theirs, mut ours) = (Vec::new(), Vec::new());
            for _ in 0..21 {
                let start = Instant::now();
                let _ = x.group_norm(32, Some(&weight), Some(&bias), 1e-5, false).silu_();
                theirs.push(start.elapsed().as_secs_f64());
                let start = Instant::now();
                let _ = norm.forward(&x).unwrap();
                ours.push(start.elapsed().as_secs_f64());
            }
            let [theirs, ours] = [theirs, ours].map(|times| crate::text::median(&times) * 1e3);
            println!(
                "{shape:?} {kind:?}: libtorch {theirs:.3} ms, this {ours:.3} ms, {:.2} times as fast",
                theirs / ours
            );
        }
    }
}
