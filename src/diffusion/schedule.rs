//! Noise schedules: how much of the image is left after each of the training timesteps. Pure numbers, no tensors.

use std::f64::consts::FRAC_PI_2;

/// Stands for a clean share of 0 where its logarithm is needed, as in diffusers.
const LEAST_KEPT: f64 = 1.0 / 16_777_216.0;

/// How the variance of each timestep's noise is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Betas {
    /// `alpha_bar(t) = cos^2((t + 0.008) / 1.008 * pi / 2)`, betas at most 0.999 (Nichol and Dhariwal 2021, eq. 17).
    Cosine,
    /// Evenly spaced betas (Ho et al. 2020: 1e-4 to 0.02).
    Linear { start: f64, end: f64 },
    /// Betas whose square roots are evenly spaced (latent diffusion: 0.00085 to 0.012).
    ScaledLinear { start: f64, end: f64 },
}

/// What a schedule is computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    Fp64,
    /// Every result rounded to fp32, as diffusers' schedulers compute. The noise levels differ in the seventh digit, which
    /// decides to which whole timestep a level between two is rounded.
    Fp32,
}

impl Arithmetic {
    /// A sum, difference, product, quotient or root of such numbers, which was computed in fp64. Rounded once more it is fp32's
    /// own: fp64 has more than twice its digits.
    fn round(self, x: f64) -> f64 {
        if self == Arithmetic::Fp32 { f64::from(x as f32) } else { x }
    }
}

/// The betas of every training timestep and the products that samplers use.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    kind: Betas,
    arithmetic: Arithmetic,
    betas: Vec<f64>,
    alphas_cumprod: Vec<f64>,
}

impl Schedule {
    /// The schedule over `timesteps` training timesteps, at least 2.
    pub fn new(kind: Betas, timesteps: usize, arithmetic: Arithmetic) -> Schedule {
        let n = timesteps as f64;
        let betas: Vec<f64> = match kind {
            Betas::Cosine => (0..timesteps)
                .map(|i| (1.0 - cosine_alpha_bar((i as f64 + 1.0) / n) / cosine_alpha_bar(i as f64 / n)).min(0.999))
                .collect(),
            Betas::Linear { start, end } => linspace(start, end, timesteps, arithmetic),
            Betas::ScaledLinear { start, end } => {
                linspace(start.sqrt(), end.sqrt(), timesteps, arithmetic).into_iter().map(|root| root * root).collect()
            }
        };
        Schedule::given(kind, betas, arithmetic)
    }

    /// The schedule of these betas, at least 2, each in (0, 1]; `kind` is the rule that they stand in for.
    pub fn given(kind: Betas, betas: Vec<f64>, arithmetic: Arithmetic) -> Schedule {
        let betas: Vec<f64> = betas.into_iter().map(|beta| arithmetic.round(beta)).collect();
        // torch.cumprod adds up in fp64, and rounds what it writes.
        let alphas_cumprod = betas
            .iter()
            .scan(1.0, |product, beta| {
                *product *= arithmetic.round(1.0 - beta);
                Some(arithmetic.round(*product))
            })
            .collect();
        Schedule { kind, arithmetic, betas, alphas_cumprod }
    }

    /// The same schedule stretched so that nothing is left of the clean image at the last timestep (Lin et al. 2023,
    /// algorithm 1).
    pub fn with_zero_terminal_snr(&self) -> Schedule {
        let round = |x: f64| self.arithmetic.round(x);
        let roots: Vec<f64> = self.alphas_cumprod.iter().map(|product| round(product.sqrt())).collect();
        let (first, last) = (roots[0], roots[roots.len() - 1]);
        let factor = round(first / round(first - last));
        let kept: Vec<f64> = roots
            .iter()
            .map(|root| {
                let stretched = round(round(root - last) * factor);
                round(stretched * stretched)
            })
            .collect();
        let before = std::iter::once(1.0).chain(kept.iter().copied());
        let betas = kept.iter().zip(before).map(|(kept, before)| round(1.0 - round(kept / before)));
        Schedule::given(self.kind, betas.collect(), self.arithmetic)
    }

    /// Which rule the betas follow.
    pub fn kind(&self) -> Betas {
        self.kind
    }

    /// Number of training timesteps.
    pub fn timesteps(&self) -> usize {
        self.betas.len()
    }

    /// Variance of the noise that each timestep adds, in (0, 1), increasing; 1 at the last with zero terminal SNR.
    pub fn betas(&self) -> &[f64] {
        &self.betas
    }

    /// Share of the clean image's variance left after each timestep, in (0, 1), decreasing; 0 at the last with zero terminal
    /// SNR.
    pub fn alphas_cumprod(&self) -> &[f64] {
        &self.alphas_cumprod
    }

    /// `(alpha, sigma)` of timestep `t`: a noisy sample is `alpha * clean + sigma * noise`, and their squares sum to 1.
    pub fn alpha_sigma(&self, t: usize) -> (f64, f64) {
        let product = self.alphas_cumprod[t];
        (product.sqrt(), (1.0 - product).sqrt())
    }

    /// Noise to signal `sqrt((1 - alphas_cumprod) / alphas_cumprod)` of every timestep; with zero terminal SNR the last is 4096,
    /// not infinite. They increase, but that with zero terminal SNR others may be above the last.
    pub fn sigmas(&self) -> Vec<f64> {
        let round = |x: f64| self.arithmetic.round(x);
        let level = |product: f64| round(round(round(1.0 - product) / product).sqrt());
        let kept = |product: &f64| if *product == 0.0 { LEAST_KEPT } else { *product };
        self.alphas_cumprod.iter().map(|product| level(kept(product))).collect()
    }

    /// The natural logarithms of [`Schedule::sigmas`].
    pub fn log_sigmas(&self) -> Vec<f64> {
        self.sigmas().into_iter().map(|sigma| self.arithmetic.round(libm::log(sigma))).collect()
    }
}

/// `torch.linspace(first, last, n)`, which counts from whichever end is nearer.
fn linspace(first: f64, last: f64, n: usize, arithmetic: Arithmetic) -> Vec<f64> {
    let round = |x: f64| arithmetic.round(x);
    let (first, last) = (round(first), round(last));
    let step = round(round(last - first) / (n - 1) as f64);
    let way = |steps: usize| round(step * steps as f64);
    (0..n).map(|i| round(if i < n / 2 { first + way(i) } else { last - way(n - 1 - i) })).collect()
}

fn cosine_alpha_bar(t: f64) -> f64 {
    let cosine = libm::cos((t + 0.008) / 1.008 * FRAC_PI_2);
    cosine * cosine
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::golden;

    const KINDS: [(&str, Betas); 3] = [
        ("cosine", Betas::Cosine),
        ("linear", Betas::Linear { start: 1e-4, end: 0.02 }),
        ("scaled_linear", Betas::ScaledLinear { start: 0.00085, end: 0.012 }),
    ];

    #[test]
    fn betas_increase_and_lie_inside_zero_and_one() {
        for (name, kind) in KINDS {
            for timesteps in [2, 10, 1000] {
                let schedule = Schedule::new(kind, timesteps, Arithmetic::Fp64);
                assert_eq!(schedule.timesteps(), timesteps);
                assert!(schedule.betas().iter().all(|beta| *beta > 0.0 && *beta < 1.0), "{name}");
                assert!(schedule.betas().windows(2).all(|pair| pair[0] < pair[1] || pair[1] == 0.999), "{name}");
                assert!(schedule.alphas_cumprod().windows(2).all(|pair| pair[0] > pair[1]), "{name}");
            }
        }
    }

    #[test]
    fn betas_and_products_are_those_of_diffusers() {
        let golden = golden("schedules.json");
        let at: Vec<usize> = golden["at"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect();
        for (name, kind) in KINDS {
            let schedule = Schedule::new(kind, 1000, Arithmetic::Fp64);
            for (what, ours) in [("betas", schedule.betas()), ("alphas_cumprod", schedule.alphas_cumprod())] {
                for (i, theirs) in at.iter().zip(golden[name][what].as_array().unwrap()) {
                    let (ours, theirs) = (ours[*i], theirs.as_f64().unwrap());
                    assert!((ours - theirs).abs() < 1e-6 + 1e-5 * theirs.abs(), "{name} {what} {i}: {ours} {theirs}");
                }
            }
        }
    }

    #[test]
    fn zero_terminal_snr_keeps_the_first_timestep_and_leaves_nothing_at_the_last() {
        let plain = Schedule::new(Betas::ScaledLinear { start: 0.00085, end: 0.012 }, 1000, Arithmetic::Fp64);
        let zero = plain.with_zero_terminal_snr();
        assert!((zero.alphas_cumprod()[0] - plain.alphas_cumprod()[0]).abs() < 1e-15);
        assert_eq!((zero.alphas_cumprod()[999], zero.betas()[999]), (0.0, 1.0));
        assert!(zero.alphas_cumprod().windows(2).all(|pair| pair[0] > pair[1]));
        assert!((zero.sigmas()[999] - 4096.0).abs() < 1e-3, "{}", zero.sigmas()[999]);
        let again = Schedule::given(zero.kind(), zero.betas().to_vec(), Arithmetic::Fp64);
        let apart = again.alphas_cumprod().iter().zip(zero.alphas_cumprod()).map(|(a, b)| (a - b).abs());
        assert!(apart.fold(0.0, f64::max) < 1e-14);
    }

    #[test]
    fn signal_and_noise_keep_unit_variance() {
        let schedule = Schedule::new(Betas::Cosine, 1000, Arithmetic::Fp64);
        for t in [0, 500, 999] {
            let (alpha, sigma) = schedule.alpha_sigma(t);
            assert!((alpha * alpha + sigma * sigma - 1.0).abs() < 1e-15);
        }
    }
}
