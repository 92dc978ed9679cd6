//! Gates on a pool of synthetic images: which images leave so that its distances to the real images are at most what was asked,
//! pooled and species by species. Knows no recipe and no cache.
//!
//! Each gate lets the image go that raises its distance most, one at a time; what one gate lets go is gone for all, and they
//! take turns until all hold or none gets further. Only features, species and their order decide.

use serde::{Deserialize, Serialize};

use super::features::Features;
use super::frechet::Moments;
use super::frechet_thinning::FrechetThinning;
use super::kid_thinning::{KidThinning, RealKernels};
use super::thin::{Check, Thinning, thin};
use crate::error::Result;

/// No gate drops down to fewer images, and a species with fewer real or fewer synthetic ones has no gate of its own: KID is
/// unbiased there too, but its standard error is of the order of the distances that it should tell apart.
pub const LEAST: usize = 10;

/// Thresholds; `None` is no gate.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Gates {
    /// Of the pooled Frechet distance.
    pub fid: Option<f64>,
    /// Of the pooled kernel distance.
    pub kid: Option<f64>,
    /// Of the kernel distance of each species.
    pub species_kid: Option<f64>,
}

/// Which gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gate {
    Fid,
    Kid,
    SpeciesKid(usize),
}

/// An image that left.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gone {
    /// Its row in the pool.
    pub row: usize,
    /// Who let it go.
    pub gate: Gate,
    /// The gate's distance before it went.
    pub distance: f64,
}

/// What became of one gate.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Held {
    pub gate: Gate,
    pub threshold: f64,
    /// Of what is left; `None` where that is too little for any distance.
    pub distance: Option<f64>,
    /// Real and synthetic images that are left.
    pub n: [usize; 2],
    /// How many it let go.
    pub gone: usize,
    pub holds: bool,
}

/// What became of a pool.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// In the order in which they went.
    pub gone: Vec<Gone>,
    pub held: Vec<Held>,
    /// Species with synthetic images that have no gate of their own for want of images.
    pub without_gate: Vec<usize>,
}

/// Images of one kind with their species, a number a row.
#[derive(Clone, Copy)]
pub struct Labelled<'f> {
    pub features: &'f Features,
    pub species: &'f [usize],
}

impl Labelled<'_> {
    fn rows_of(&self, species: usize) -> Vec<usize> {
        (0..self.species.len()).filter(|&row| self.species[row] == species).collect()
    }
}

/// One gate at work.
struct Work<'r> {
    gate: Gate,
    threshold: f64,
    /// `None`: too few images from the start.
    set: Option<Box<dyn Thinning + 'r>>,
    /// The pool's row of each of the set's.
    rows: Vec<usize>,
    /// Fewest images that it may leave.
    fewest: usize,
    real: usize,
    gone: usize,
    held: Option<Held>,
}

impl Work<'_> {
    /// A row of the pool went by another gate.
    fn lose(&mut self, row: usize) -> Result<()> {
        let Ok(at) = self.rows.binary_search(&row) else { return Ok(()) };
        self.held = None;
        match &mut self.set {
            Some(set) if set.left() > 2 => set.leave_out(at),
            _ => {
                self.set = None;
                Ok(())
            }
        }
    }
}

/// Lets images go until every gate holds, or none gets further. `tell` hears of the gate at work, how many it let go in
/// this turn, and its distance.
///
/// # Errors
/// A value that is not finite, features of different widths; libtorch's; what `check` says.
pub fn gates(
    real: Labelled<'_>,
    pool: Labelled<'_>,
    gates: &Gates,
    check: Check<'_>,
    tell: &dyn Fn(Gate, usize, f64),
) -> Result<Outcome> {
    real.features.check("the real images", 0)?;
    pool.features.check("the synthetic images", 0)?;
    let mut outcome = Outcome::default();
    let enough = real.features.rows >= 2 && pool.features.rows >= 2;
    let species: Vec<usize> = match gates.species_kid {
        Some(_) => pool.species.iter().copied().collect::<std::collections::BTreeSet<_>>().into_iter().collect(),
        None => Vec::new(),
    };
    let of_species: Vec<(usize, [Vec<usize>; 2])> =
        species.iter().map(|&species| (species, [real.rows_of(species), pool.rows_of(species)])).collect();
    let (gated, too_few): (Vec<_>, Vec<_>) =
        of_species.into_iter().partition(|(_, rows)| rows.iter().all(|rows| rows.len() >= LEAST));
    outcome.without_gate = too_few.iter().map(|(species, _)| *species).collect();

    let moments = gates.fid.filter(|_| enough).map(|_| Moments::of(real.features)).transpose()?;
    let kernels = gates.kid.filter(|_| enough).map(|_| RealKernels::new(real.features, check)).transpose()?;
    let species_kernels = gated
        .iter()
        .map(|(_, [real_rows, _])| RealKernels::new(&real.features.select(real_rows), check))
        .collect::<Result<Vec<_>>>()?;

    let mut works: Vec<Work<'_>> = Vec::new();
    for ((species, [real_rows, rows]), kernels) in gated.into_iter().zip(&species_kernels) {
        let set = KidThinning::new(kernels, &pool.features.select(&rows), check)?;
        works.push(Work {
            gate: Gate::SpeciesKid(species),
            threshold: gates.species_kid.unwrap_or_default(),
            set: Some(Box::new(set)),
            fewest: LEAST,
            real: real_rows.len(),
            rows,
            gone: 0,
            held: None,
        });
    }
    let pooled = |gate, threshold, set| Work {
        gate,
        threshold,
        set,
        rows: (0..pool.features.rows).collect(),
        // A gate that holds because nearly nothing is left holds by luck.
        fewest: LEAST,
        real: real.features.rows,
        gone: 0,
        held: None,
    };
    if let Some(threshold) = gates.kid {
        let set = kernels.as_ref().map(|kernels| KidThinning::new(kernels, pool.features, check)).transpose()?;
        works.push(pooled(Gate::Kid, threshold, set.map(|set| Box::new(set) as Box<dyn Thinning>)));
    }
    if let Some(threshold) = gates.fid {
        let set = moments.as_ref().map(|moments| FrechetThinning::new(moments, pool.features, check)).transpose()?;
        works.push(pooled(Gate::Fid, threshold, set.map(|set| Box::new(set) as Box<dyn Thinning>)));
    }

    while let Some(at) = works.iter().position(|work| work.held.is_none()) {
        let work = &mut works[at];
        let (gate, threshold) = (work.gate, work.threshold);
        let Some(set) = &mut work.set else {
            let n = [work.real, 0];
            work.held = Some(Held { gate, threshold, distance: None, n, gone: work.gone, holds: false });
            continue;
        };
        let thinned = thin(set.as_mut(), threshold, work.fewest, check, &|gone, distance| tell(gate, gone, distance))?;
        let gone: Vec<Gone> = thinned
            .left_out
            .iter()
            .map(|left| Gone { row: work.rows[left.row], gate, distance: rounded(left.distance) })
            .collect();
        work.gone += gone.len();
        let (n, distance) = ([work.real, thinned.left], Some(rounded(thinned.distance)));
        work.held = Some(Held { gate, threshold, distance, n, gone: work.gone, holds: thinned.holds });
        for gone in &gone {
            for (other, work) in works.iter_mut().enumerate() {
                if other != at {
                    work.lose(gone.row)?;
                }
            }
        }
        outcome.gone.extend(gone);
    }
    outcome.held = works.into_iter().filter_map(|work| work.held).collect();
    Ok(outcome)
}

/// Nine significant digits: the last ones differ between machines, and a verdict is the same on all.
fn rounded(value: f64) -> f64 {
    format!("{value:.8e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::nn::noise::Stream;
    use crate::score::frechet::frechet;
    use crate::score::kid::{Options, kid};

    fn go_on() -> Result<()> {
        Ok(())
    }

    /// Normal variates of `species` kinds that lie apart, every fifth image off by `off`.
    fn set(rows: usize, dims: usize, species: usize, seed: u64, off: f32) -> (Features, Vec<usize>) {
        let of: Vec<usize> = (0..rows).map(|row| row % species).collect();
        let mut values = Stream::indexed(seed, "gates", &[]).normals(rows * dims);
        for (i, value) in values.iter_mut().enumerate() {
            let row = i / dims;
            *value += of[row] as f32 + if row.is_multiple_of(5) { off } else { 0.0 };
        }
        (Features::new(dims, values).unwrap(), of)
    }

    fn run(real: &(Features, Vec<usize>), pool: &(Features, Vec<usize>), asked: &Gates) -> Outcome {
        gates(labelled(real), labelled(pool), asked, &go_on, &|_, _, _| ()).unwrap()
    }

    fn labelled(set: &(Features, Vec<usize>)) -> Labelled<'_> {
        Labelled { features: &set.0, species: &set.1 }
    }

    fn left(pool: &(Features, Vec<usize>), outcome: &Outcome) -> Vec<usize> {
        (0..pool.0.rows).filter(|row| outcome.gone.iter().all(|gone| gone.row != *row)).collect()
    }

    #[test]
    fn all_gates_hold_for_what_is_left_by_the_plain_distances() {
        let (real, pool) = (set(120, 6, 3, 1, 0.0), set(90, 6, 3, 2, 2.5));
        let asked = Gates { fid: Some(0.8), kid: Some(0.35), species_kid: Some(0.3) };
        let outcome = run(&real, &pool, &asked);
        assert!(outcome.held.iter().all(|held| held.holds), "{:?}", outcome.held);
        assert_eq!(outcome.held.len(), 5);
        assert!(outcome.gone.len() > 10 && outcome.gone.len() < 60, "{}", outcome.gone.len());
        let rest = pool.0.select(&left(&pool, &outcome));
        let fid = frechet(&Moments::of(&real.0).unwrap(), &Moments::of(&rest).unwrap()).unwrap();
        let pooled = kid(&real.0, &rest, &Options::default()).unwrap().value;
        assert!(fid <= 0.8 && pooled <= 0.35, "{fid} {pooled}");
        for held in &outcome.held {
            let distance = held.distance.unwrap();
            let wanted = match held.gate {
                Gate::Fid => fid,
                Gate::Kid => pooled,
                Gate::SpeciesKid(species) => {
                    let mine = |set: &(Features, Vec<usize>), rows: &[usize]| {
                        set.0.select(&rows.iter().copied().filter(|&row| set.1[row] == species).collect::<Vec<_>>())
                    };
                    let rest = mine(&pool, &left(&pool, &outcome));
                    assert_eq!(held.n, [40, rest.rows]);
                    kid(&mine(&real, &(0..120).collect::<Vec<_>>()), &rest, &Options::default()).unwrap().value
                }
            };
            assert!((distance - wanted).abs() < 1e-7, "{held:?} {wanted}");
        }
        // Which images are off is no secret to the test: hardly any other goes.
        let off = outcome.gone.iter().filter(|gone| gone.row.is_multiple_of(5)).count();
        assert!(off * 10 >= outcome.gone.len() * 5, "{off} of {}", outcome.gone.len());
    }

    #[test]
    fn the_order_of_the_pool_decides_nothing() {
        let (real, pool) = (set(120, 6, 3, 1, 0.0), set(60, 6, 3, 2, 2.5));
        let asked = Gates { fid: Some(1.2), kid: Some(0.4), species_kid: Some(0.4) };
        let verdicts = |order: &[usize]| {
            let turned = (pool.0.select(order), order.iter().map(|&row| pool.1[row]).collect());
            let outcome = run(&real, &turned, &asked);
            let mut gone: Vec<(usize, String)> = outcome
                .gone
                .iter()
                .map(|gone| (order[gone.row], format!("{:?} {:.6}", gone.gate, gone.distance)))
                .collect();
            gone.sort();
            gone
        };
        let mut order: Vec<usize> = (0..60).collect();
        let wanted = verdicts(&order);
        assert!(wanted.len() > 3);
        for seed in 0..10 {
            Stream::indexed(seed, "order", &[]).shuffle(&mut order);
            assert_eq!(verdicts(&order), wanted);
        }
    }

    #[test]
    fn a_gate_that_cannot_be_met_says_how_far_it_came() {
        let (real, pool) = (set(40, 4, 2, 1, 0.0), set(30, 4, 2, 2, 3.0));
        let outcome = run(&real, &pool, &Gates { fid: Some(0.0), ..Gates::default() });
        let [held] = outcome.held[..] else { panic!("one gate") };
        assert!(!held.holds && held.distance.unwrap() > 0.0 && held.gone == outcome.gone.len());
        assert_eq!(held.n, [40, 30 - held.gone]);
        // A distance only goes down on the way.
        assert!(outcome.gone.windows(2).all(|pair| pair[1].distance < pair[0].distance));
    }

    #[test]
    fn a_species_with_few_images_has_no_gate_of_its_own() {
        let (real, mut pool) = (set(40, 4, 2, 1, 0.0), set(30, 4, 2, 2, 0.0));
        for row in (1..30).step_by(2).skip(LEAST - 1) {
            pool.1[row] = 0;
        }
        let outcome = run(&real, &pool, &Gates { species_kid: Some(10.0), ..Gates::default() });
        assert_eq!(outcome.without_gate, [1]);
        assert_eq!(outcome.held.iter().map(|held| held.gate).collect::<Vec<_>>(), [Gate::SpeciesKid(0)]);
        assert_eq!(outcome.gone, []);
    }

    #[test]
    fn one_image_has_no_distance_and_meets_no_gate() {
        let (real, pool) = (set(40, 4, 2, 1, 0.0), set(1, 4, 2, 2, 0.0));
        let outcome = run(&real, &pool, &Gates { fid: Some(1e9), kid: Some(1e9), ..Gates::default() });
        assert!(outcome.held.iter().all(|held| !held.holds && held.distance.is_none()));
    }

    #[test]
    fn features_that_are_no_numbers_are_named() {
        let (real, mut pool) = (set(40, 4, 2, 1, 0.0), set(12, 4, 2, 2, 0.0));
        pool.0.values[9] = f32::NAN;
        let asked = Gates { fid: Some(1.0), ..Gates::default() };
        let error = gates(labelled(&real), labelled(&pool), &asked, &go_on, &|_, _, _| ()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "features of the synthetic images: row 2 holds NaN\n  help: the network that made them overflowed; try it in \
             fp32, or check its weights"
        );
        let stop = || Err(Error::Interrupted);
        pool.0.values[9] = 0.0;
        let stopped = gates(labelled(&real), labelled(&pool), &asked, &stop, &|_, _, _| ());
        assert!(matches!(stopped, Err(Error::Interrupted)));
    }
}
