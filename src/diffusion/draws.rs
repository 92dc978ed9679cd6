//! The random choices of a fit: which images, flips, timesteps, dropped classes and noise make up a step. Each step draws
//! from streams of its own, so a fit that goes on at step n needs to know only n.

use std::sync::OnceLock;

use crate::nn::noise::Stream;

/// Odds that an image's class is withheld, for classifier-free guidance (Ho and Salimans 2022).
const CLASS_DROPOUT: f64 = 0.1;

/// The share of a class in the batches grows with this power of its image count: 1 is natural, 0 is uniform.
const BALANCE: f64 = 0.5;

/// One step's choices, each list of the batch's length.
pub struct Draw {
    pub images: Vec<usize>,
    pub flips: Vec<bool>,
    /// `None` where the class is withheld.
    pub classes: Vec<Option<usize>>,
    /// In [0, 1), evenly spread over a batch: a low-variance estimate of the loss (Kingma et al. 2021, appendix I.1).
    pub times: Vec<f64>,
}

/// Draws steps over a set of labelled images.
pub struct Draws {
    seed: u64,
    batch: usize,
    /// Images of every class that has any.
    members: Vec<(usize, Vec<usize>)>,
    /// Running sums of the classes' shares; the last is the total.
    cumulative: Vec<f64>,
}

impl Draws {
    /// `classes[i]` is the class of image `i`; at least one image.
    pub fn new(seed: u64, batch: usize, classes: &[usize]) -> Draws {
        let count = classes.iter().max().map_or(0, |most| most + 1);
        let mut members: Vec<(usize, Vec<usize>)> = (0..count).map(|class| (class, Vec::new())).collect();
        classes.iter().enumerate().for_each(|(image, class)| members[*class].1.push(image));
        members.retain(|(_, images)| !images.is_empty());
        let cumulative = members
            .iter()
            .scan(0.0, |sum, (_, images)| {
                *sum += libm::pow(images.len() as f64, BALANCE);
                Some(*sum)
            })
            .collect();
        Draws { seed, batch, members, cumulative }
    }

    /// The choices of step `step`.
    pub fn step(&self, step: usize) -> Draw {
        let mut stream = Stream::indexed(self.seed, "fit draws", &[step as u64]);
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let first = stream.uniform();
        let mut draw = Draw { images: vec![], flips: vec![], classes: vec![], times: vec![] };
        for i in 0..self.batch {
            let at = stream.uniform() * total;
            let place = self.cumulative.partition_point(|sum| *sum <= at).min(self.members.len() - 1);
            let (class, images) = &self.members[place];
            draw.images.push(images[stream.below(images.len())]);
            draw.flips.push(stream.chance(0.5));
            draw.classes.push((!stream.chance(CLASS_DROPOUT)).then_some(*class));
            draw.times.push((first + i as f64 / self.batch as f64).fract());
        }
        draw
    }

    /// `n` normal variates for the noise of step `step`: quantiles by table, since a fit takes hundreds of millions of them.
    pub fn noise(&self, step: usize, n: usize) -> Vec<f32> {
        let table = quantiles();
        let mut stream = Stream::indexed(self.seed, "fit noise", &[step as u64]);
        let mut out = Vec::with_capacity(n + 3);
        while out.len() < n {
            // 48 of the 53 random bits: three table places.
            let bits = (stream.uniform() * (1u64 << 48) as f64) as u64;
            out.extend([0, 16, 32].map(|shift| table[(bits >> shift) as usize & 0xffff]));
        }
        out.truncate(n);
        out
    }
}

/// The normal distribution at the middles of 65,536 equally likely intervals, scaled to variance 1 exactly.
fn quantiles() -> &'static [f32] {
    static TABLE: OnceLock<Vec<f32>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let n = 1 << 16;
        let values: Vec<f64> = (0..n).map(|i| quantile((i as f64 + 0.5) / n as f64)).collect();
        let variance = values.iter().map(|value| value * value).sum::<f64>() / n as f64;
        values.into_iter().map(|value| (value / variance.sqrt()) as f32).collect()
    })
}

/// Where the standard normal distribution function is `p`, in (0, 1): Newton's method on `libm`'s erfc.
fn quantile(p: f64) -> f64 {
    if p > 0.5 {
        return -quantile(1.0 - p);
    }
    let mut x = -libm::sqrt(-2.0 * libm::log(p)).min(5.0);
    for _ in 0..60 {
        let below = 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2);
        let density = libm::exp(-0.5 * x * x) / libm::sqrt(std::f64::consts::TAU);
        let step = (below - p) / density;
        x -= step.clamp(-0.5, 0.5);
        if step.abs() < 1e-13 {
            break;
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_values_are_the_normal_quantiles() {
        for (p, x) in [(0.5, 0.0), (0.975, 1.959963984540054), (1e-5, -4.264890793922825), (0.1, -1.2815515655446004)] {
            assert!((quantile(p) - x).abs() < 1e-9, "{p} {}", quantile(p));
        }
        assert_eq!(quantiles().len(), 65_536);
        assert!(quantiles().windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn noise_has_mean_zero_and_variance_one_and_depends_on_the_step() {
        let draws = Draws::new(0, 4, &[0, 1]);
        let values = draws.noise(3, 100_001);
        assert_eq!(values.len(), 100_001);
        let mean = values.iter().map(|v| *v as f64).sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (*v as f64 - mean).powi(2)).sum::<f64>() / values.len() as f64;
        assert!(mean.abs() < 0.015 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
        assert_eq!(values[..10], draws.noise(3, 10));
        assert_ne!(values[..10], draws.noise(4, 10));
    }

    #[test]
    fn rare_classes_are_drawn_more_often_than_their_share() {
        let mut classes = vec![0; 90];
        classes.extend([2; 10]);
        let draws = Draws::new(1, 50, &classes);
        let mut rare = 0;
        let mut withheld = 0;
        for step in 0..200 {
            let draw = draws.step(step);
            rare += draw.images.iter().filter(|image| **image >= 90).count();
            withheld += draw.classes.iter().filter(|class| class.is_none()).count();
            for (image, class) in draw.images.iter().zip(&draw.classes) {
                assert!(class.is_none_or(|class| class == classes[*image]));
            }
        }
        // Shares go as the square roots of 90 and 10: 3 to 1.
        assert!((2300..2700).contains(&rare), "{rare}");
        assert!((850..1150).contains(&withheld), "{withheld}");
    }

    #[test]
    fn the_times_of_a_batch_are_evenly_spread() {
        let mut times = Draws::new(1, 8, &[0]).step(5).times;
        times.sort_by(f64::total_cmp);
        assert!(times.windows(2).all(|pair| (pair[1] - pair[0] - 0.125).abs() < 1e-12));
        assert!(times.iter().all(|time| (0.0..1.0).contains(time)));
    }
}
