//! Candidates made again from nothing: their blobs are never read to make them, only to measure how far apart they are
//! where bits differ. Which ones is decided by the order of the keys, so that every run asks the same.

use std::collections::{BTreeSet, HashMap};

use image::RgbImage;

use crate::dataset::{digest, encoding};
use crate::diffusion::Request;
use crate::error::Result;
use crate::nn::device;
use crate::plan::Key;
use crate::plan::inputs::Digest;
use crate::recipe::GeneratorKind;
use crate::run::fitting::Fitting;
use crate::run::lock::{Fitted, Lock, Locked, Machine};
use crate::run::make::{self, Wanted};
use crate::run::model::{self, Model};
use crate::run::session::Session;
use crate::run::survey::Survey;
use crate::run::{choose, stop};
use crate::score::ssim;

use super::tree::Emitted;
use super::{Distance, Level, Part, VerifyOptions};

/// What came of making candidates again.
pub struct Made {
    pub part: Part,
    pub level: Level,
    pub checked: usize,
    pub equal: usize,
    pub distance: Option<Distance>,
    pub here: Machine,
    pub there: Vec<Machine>,
}

/// Makes a sample again and compares.
pub fn check(
    session: &Session<'_>,
    survey: &Survey,
    lock: &Lock,
    tree: Option<&Emitted>,
    options: &VerifyOptions,
) -> Result<Made> {
    let here = Machine { device: device::class(session.device), libtorch: device::LIBTORCH.to_string() };
    let part = Part::new("images");
    let mut made = Made { part, level: Level::E0, checked: 0, equal: 0, distance: None, here, there: Vec::new() };
    let sample = sample(lock, options.sample);
    let fitted = lock.models.get("generator");
    let base = match &session.recipe.generator.kind {
        GeneratorKind::StableDiffusion(model) => Some(Model::stable_diffusion(session, model)?),
        GeneratorKind::Ddpm(_) => None,
    };
    let (checkpoint, weights_digest) = (base.as_ref().map(|base| base.digest), fitted.map(|fitted| fitted.weights));
    let Some(digest) = model::generator_digest(session.recipe, checkpoint, weights_digest) else {
        made.part.notes.push("the lock names no generator".to_string());
        return Ok(made);
    };
    let (sample, wanted) = known(session, survey, lock, digest, sample, &mut made.part);
    if sample.is_empty() {
        made.part.notes.push("no candidate was made again".to_string());
        return Ok(made);
    }
    let model = match (base, fitted) {
        (Some(base), _) if model::fit_steps(session.recipe).is_none() => base,
        (_, Some(fitted)) => match weights(session, survey, fitted, options.deep, &mut made)? {
            Some(weights) => Model::fitted(session, survey, fitted.weights, weights)?,
            None => return Ok(made),
        },
        (_, None) => return Ok(made),
    };
    let mut generator = model.open(session, survey)?;
    let mut task = session.progress.task("made again", sample.len(), "image");
    for chunk in sample.chunks(generator.batch()) {
        stop::check()?;
        let requests = chunk
            .iter()
            .map(|locked| {
                let wanted = &wanted[&locked.key];
                let source = wanted.source.map(|digest| survey.photo_by_digest(&digest)).transpose()?;
                Ok(Request { class: wanted.species, noise: locked.key.0, source })
            })
            .collect::<Result<Vec<_>>>()?;
        for (locked, image) in chunk.iter().zip(generator.generate(&requests)?) {
            compare(session, survey, tree, locked, image.as_ref(), &mut made)?;
        }
        task.advance(chunk.len());
    }
    task.finish();
    let there: BTreeSet<&Machine> = sample.iter().map(|locked| locked.machine).collect();
    made.level = if there.iter().all(|there| **there == made.here) { Level::E1 } else { Level::E2 };
    made.there = there.into_iter().cloned().collect();
    Ok(made)
}

/// `k` candidates, spread evenly over the order of the keys.
fn sample(lock: &Lock, k: usize) -> Vec<Locked<'_>> {
    let mut all: Vec<Locked<'_>> = lock.candidates().collect();
    all.sort_unstable_by_key(|locked| locked.key);
    spread(all.len(), k).into_iter().map(|i| all[i]).collect()
}

/// `k` places of `n`, or all of them, evenly apart.
fn spread(n: usize, k: usize) -> Vec<usize> {
    let k = k.min(n);
    (0..k).map(|i| i * n / k).collect()
}

/// The sampled candidates that the recipe still asks for, with what each is made from.
fn known<'l>(
    session: &Session<'_>,
    survey: &Survey,
    lock: &Lock,
    generator: Digest,
    sample: Vec<Locked<'l>>,
    part: &mut Part,
) -> (Vec<Locked<'l>>, HashMap<Key, Wanted>) {
    let mut of_species: HashMap<&str, usize> = HashMap::new();
    for locked in lock.candidates() {
        *of_species.entry(locked.species).or_default() += 1;
    }
    let names: BTreeSet<&str> = sample.iter().map(|locked| locked.species).collect();
    let mut wanted = HashMap::new();
    for name in names {
        let Some(species) = survey.dataset.species.iter().position(|species| species == name) else { continue };
        for one in choose::wanted_of(session, survey, generator, species, of_species[name]) {
            wanted.insert(one.key, one);
        }
    }
    let (here, gone): (Vec<_>, Vec<_>) = sample.into_iter().partition(|locked| wanted.contains_key(&locked.key));
    for locked in gone {
        part.find(format!(
            "candidate {} of {}: recipe and photos no longer lead to it",
            locked.key.short(),
            locked.species
        ));
    }
    (here, wanted)
}

/// The generator's weights: the lock's out of the cache, or fitted again.
fn weights(
    session: &Session<'_>,
    survey: &Survey,
    fitted: &Fitted,
    deep: bool,
    made: &mut Made,
) -> Result<Option<Vec<u8>>> {
    if let Some(bytes) = session.store.get(&fitted.weights)? {
        return Ok(Some(bytes));
    }
    if !deep {
        let what = "the generator's weights are not in the cache, so nothing can be made again; `--deep` fits it first";
        made.part.find(what.to_string());
        return Ok(None);
    }
    // A state of its own: a build that was interrupted must not lend its half to the proof.
    let state = Key(blake3::derive_key("birdaug 2026 verify deep v1", &fitted.key.0));
    let steps = model::fit_steps(session.recipe).unwrap_or(0);
    let mut fitting = Fitting::new(session.store, session.progress, state, "generator", steps);
    let bytes = model::fit_generator(session, survey, &mut fitting)?;
    fitting.finish()?;
    let found = digest::of(&bytes);
    if found == fitted.weights {
        made.part.notes.push(format!("the generator was fitted again to the same bytes ({})", Key(found).short()));
        keep(session, survey, &bytes, fitted)?;
    } else {
        let what = format!(
            "the generator was fitted again to {}, the lock has {}",
            Key(found).short(),
            Key(fitted.weights).short()
        );
        if fitted.machine == made.here {
            made.part.find(what);
        } else {
            made.part.notes.push(format!("{what}, fitted on {}", fitted.machine));
        }
    }
    Ok(Some(bytes))
}

/// A fit that is proven need not be made again by the next build.
fn keep(session: &Session<'_>, survey: &Survey, bytes: &[u8], fitted: &Fitted) -> Result<()> {
    let inputs = model::generator_inputs(session, survey)?.filter(|inputs| inputs.key() == fitted.key);
    let Some(inputs) = inputs else { return Ok(()) };
    let record = session.blank(&inputs).output("weights", session.store.put_durable(bytes)?);
    session.store.commit(&[record])
}

fn compare(
    session: &Session<'_>,
    survey: &Survey,
    tree: Option<&Emitted>,
    locked: &Locked<'_>,
    image: Option<&RgbImage>,
    made: &mut Made,
) -> Result<()> {
    made.checked += 1;
    made.part.checked += 1;
    let name = format!("candidate {} of {}", locked.key.short(), locked.species);
    let nothing = locked.image.digest == Digest::default();
    let Some(image) = image.filter(|_| !nothing) else {
        match image.is_none() && nothing {
            true => made.equal += 1,
            false => made.part.find(format!("{name}: pixels that are no numbers came out of one of the two")),
        }
        return Ok(());
    };
    let exact = *locked.machine == made.here;
    let bytes = make::png(image)?;
    let found = digest::of(&bytes);
    if found == locked.image.digest {
        made.equal += 1;
        widen(&mut made.distance, Distance { relative_l2: 0.0, ssim: 1.0 });
        let file = tree.and_then(|tree| tree.synthetic(&locked.key));
        if let Some(file) = file
            && digest::of(&encoding::encode(&survey.encoding, image)?) != file
        {
            made.part.find(format!("{name}: made again and encoded, it is not the file in the tree"));
        }
        return Ok(());
    }
    match lock_image(session, &locked.image.digest)? {
        Some(old) => {
            let distance = distance(image, &old)?;
            widen(&mut made.distance, distance);
            if exact {
                made.part.find(format!(
                    "{name}: made again, it is another image (relative L2 {:.2e}, SSIM {:.4})",
                    distance.relative_l2, distance.ssim
                ));
            }
        }
        None => made.part.find(format!(
            "{name}: made again it is {}, the lock has {}, which is not in the cache to be measured against",
            Key(found).short(),
            Key(locked.image.digest).short()
        )),
    }
    Ok(())
}

fn lock_image(session: &Session<'_>, digest: &Digest) -> Result<Option<RgbImage>> {
    let bytes = session.store.get(digest)?;
    bytes.map(|bytes| make::from_png(&session.store.blob_path(digest), &bytes)).transpose()
}

/// How far an image is from the lock's.
fn distance(image: &RgbImage, old: &RgbImage) -> Result<Distance> {
    if image.dimensions() != old.dimensions() {
        return Ok(Distance { relative_l2: f64::INFINITY, ssim: 0.0 });
    }
    let square = |x: f64| x * x;
    let pairs = image.as_raw().iter().zip(old.as_raw());
    let apart: f64 = pairs.map(|(&a, &b)| square(f64::from(a) - f64::from(b))).sum();
    let size: f64 = old.as_raw().iter().map(|&b| square(f64::from(b))).sum();
    Ok(Distance { relative_l2: (apart / size.max(1.0)).sqrt(), ssim: ssim::ssim(image, old)? })
}

fn widen(all: &mut Option<Distance>, one: Distance) {
    *all = Some(all.map_or(one, |all| Distance {
        relative_l2: all.relative_l2.max(one.relative_l2),
        ssim: all.ssim.min(one.ssim),
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_evenly_and_never_larger_than_the_whole() {
        assert_eq!(spread(100, 4), [0, 25, 50, 75]);
        assert_eq!(spread(3, 8), [0, 1, 2]);
        assert_eq!(spread(10, 3), [0, 3, 6]);
        assert!(spread(0, 8).is_empty() && spread(5, 0).is_empty());
    }

    #[test]
    fn distances_are_of_the_worst_image() {
        let grey = |value| RgbImage::from_pixel(16, 16, image::Rgb([value; 3]));
        assert_eq!(distance(&grey(100), &grey(100)).unwrap(), Distance { relative_l2: 0.0, ssim: 1.0 });
        let apart = distance(&grey(110), &grey(100)).unwrap();
        assert!((apart.relative_l2 - 0.1).abs() < 1e-12 && apart.ssim < 1.0, "{apart:?}");
        let mut all = None;
        widen(&mut all, apart);
        widen(&mut all, Distance { relative_l2: 0.0, ssim: 1.0 });
        assert_eq!(all, Some(apart));
    }
}
