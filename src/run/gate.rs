//! The pooled set against the real one: Frechet and kernel distances over the features of the real-only classifier or of
//! FID's Inception network, with the real-vs-real floor; and the gates that the recipe sets on them and on each species. The
//! arithmetic is [`crate::score::gates`]'s; here are the recipe's thresholds, the cache, and what a person is told.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::plan::Step;
use crate::plan::inputs::{self, Digest};
use crate::plan::select::{Reason, Verdict};
use crate::recipe::Filter;
use crate::score::contribution;
use crate::score::features::Features;
use crate::score::floor::{Floor, real_floor};
use crate::score::frechet::{Moments, frechet};
use crate::score::gates::{self, Gates, LEAST, Labelled};
use crate::score::kid::{self, Kid};
use crate::text;
use crate::train::Photos;

use super::inception;
use super::model::{self, Baseline};
use super::score::{CLASSIFIER_BATCH, features_from_bytes, features_to_bytes};
use super::selection::Candidate;
use super::session::{Mode, Session};
use super::stop;
use super::survey::Survey;

pub use crate::score::gates::{Gate, Held, Outcome};

/// The pooled set's figures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SetFigures {
    pub n_real: usize,
    pub n_synthetic: usize,
    /// `None` where a set has fewer than two images.
    pub frechet: Option<f64>,
    pub kid: Option<Kid>,
    pub floor: Option<Floor>,
    /// Each kept image's share in the Frechet distance, in the order of the kept.
    pub shares: Option<Vec<f64>>,
    /// Width of the features.
    pub dims: usize,
}

/// Whether the recipe sets a gate on a set, pooled or of a species.
pub fn asked_for(filter: &Filter) -> bool {
    filter.fid_max.is_some() || filter.kid_max.is_some() || filter.species_kid_max.is_some()
}

/// The real train photos' features under the baseline; `None` if planning and they are not there.
pub fn real_features(session: &mut Session<'_>, survey: &Survey, baseline: &Baseline) -> Result<Option<Features>> {
    if let Some(network) = &baseline.inception {
        return inception::of_photos(session, survey, network);
    }
    let inputs = model::feature_inputs(&survey.train_list, baseline);
    let found = session.obtain_bytes(Step::Scores, "real features", &inputs, "features", |session, record| {
        let photos = model::files(session, survey, &survey.cut.train);
        let mut task = session.progress.task("features", photos.len(), "photo");
        let told = &mut |done| {
            task.set(done, "");
            stop::check()
        };
        let said = baseline.open(session, survey)?.predict_told(&photos, CLASSIFIER_BATCH, told)?;
        task.finish();
        Ok(record.output("features", session.store.put(&features_to_bytes(said.dims, &said.features))?))
    })?;
    Ok(found.and_then(|(_, bytes)| features_from_bytes(&bytes)))
}

/// Features of candidates, a row each, from the blobs their scores name.
pub fn candidate_features<'c>(
    session: &Session<'_>,
    candidates: impl Iterator<Item = &'c Candidate>,
) -> Result<Features> {
    inception::gather(session.store, candidates.map(|candidate| candidate.scored.features))
}

/// Figures of the kept images against the real train photos; `None` if planning and they are not there.
pub fn figures(
    session: &mut Session<'_>,
    survey: &Survey,
    baseline: &Baseline,
    candidates: &[Candidate],
) -> Result<Option<SetFigures>> {
    let kept: Vec<&Candidate> = candidates.iter().filter(|candidate| candidate.verdict.keeps()).collect();
    let images: Vec<u8> = kept.iter().flat_map(|candidate| candidate.image).collect();
    let images = *blake3::hash(&images).as_bytes();
    let inputs = inputs::set_figures(&survey.train_list, baseline.features_digest(), images);
    let found = session.obtain_bytes(Step::Select, "set figures", &inputs, "figures", |session, record| {
        let Some(real) = real_features(session, survey, baseline)? else {
            return Err(Error::input("the real photos' features are only planned"));
        };
        let kept = candidate_features(session, kept.iter().copied())?;
        let text = serde_json::to_vec(&measure(&real, &kept)?).map_err(|error| Error::input(error.to_string()))?;
        Ok(record.output("figures", session.store.put(&text)?))
    })?;
    found.map(|(_, bytes)| serde_json::from_slice(&bytes).map_err(|error| Error::input(error.to_string()))).transpose()
}

fn measure(real: &Features, kept: &Features) -> Result<SetFigures> {
    let options = kid::Options::default();
    let enough = real.rows >= 2 && kept.rows >= 2;
    let moments = Moments::of(real).ok().filter(|_| enough);
    let frechet = moments.as_ref().map(|moments| frechet(moments, &Moments::of(kept)?)).transpose()?;
    let shares = match &moments {
        Some(moments) if kept.rows >= 3 => Some(contribution::contributions(moments, kept, &stop::check)?),
        _ => None,
    };
    Ok(SetFigures {
        n_real: real.rows,
        n_synthetic: kept.rows,
        frechet,
        kid: if enough { Some(kid::kid(real, kept, &options)?) } else { None },
        floor: if real.rows >= 4 { Some(real_floor(real, &options)?) } else { None },
        shares,
        dims: real.dims,
    })
}

/// Drops the candidates that raise a distance most, until each gate of the recipe holds or gets no further; says what each came
/// to, or `None` if planning and the features are not there. The same pool has the same outcome, whatever its order.
///
/// # Errors
/// [`Error::Input`] for features that are no numbers.
pub fn enforce(
    session: &mut Session<'_>,
    survey: &Survey,
    baseline: &Baseline,
    candidates: &mut [Candidate],
) -> Result<Option<Outcome>> {
    let mut pool: Vec<usize> = (0..candidates.len()).filter(|&i| candidates[i].verdict.keeps()).collect();
    pool.sort_by_key(|&i| candidates[i].key);
    let filter = session.recipe.filter.clone();
    let inputs =
        inputs::gate(&filter, baseline.features_digest(), &survey.train_list, pool_digest(survey, candidates, &pool));
    let key = inputs.key().0;
    session.used.push(key);
    let outcome = match kept_outcome(session, &key, pool.len())? {
        Some(outcome) => outcome,
        None => {
            let Some(real) = real_features(session, survey, baseline)? else { return Ok(None) };
            let features = candidate_features(session, pool.iter().map(|&i| &candidates[i]))?;
            let of_real: Vec<usize> =
                survey.cut.train.iter().map(|&photo| survey.dataset.photos[photo].species as usize).collect();
            let of_pool: Vec<usize> = pool.iter().map(|&i| candidates[i].species).collect();
            let outcome = thin(session, survey, &filter, (&real, &of_real), (&features, &of_pool))?;
            if session.mode == Mode::Build {
                let text = serde_json::to_vec(&outcome).map_err(|error| Error::input(error.to_string()))?;
                let record = session.blank(&inputs).output("outcome", session.store.put(&text)?);
                session.store.commit(&[record])?;
            }
            outcome
        }
    };
    for gone in &outcome.gone {
        let reason = reason(gone.gate);
        let threshold = reason.threshold(&filter).unwrap_or(f64::NAN);
        candidates[pool[gone.row]].verdict = Verdict::Drop { reason, value: gone.distance, threshold };
    }
    Ok(Some(outcome))
}

/// Which images of which species are asked about.
fn pool_digest(survey: &Survey, candidates: &[Candidate], pool: &[usize]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for candidate in pool.iter().map(|&i| &candidates[i]) {
        let name = &survey.dataset.species[candidate.species];
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update(&candidate.key.0);
        hasher.update(&candidate.image);
    }
    *hasher.finalize().as_bytes()
}

/// The outcome of an earlier build; whatever cannot be read, or is of another pool, is as good as none.
fn kept_outcome(session: &Session<'_>, key: &Digest, images: usize) -> Result<Option<Outcome>> {
    let Some(blob) = session.store.hit(key).and_then(|record| record.blob("outcome")) else { return Ok(None) };
    let outcome: Option<Outcome> = session.store.get(&blob)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    Ok(outcome.filter(|outcome| outcome.gone.iter().all(|gone| gone.row < images)))
}

type OfSpecies<'f> = (&'f Features, &'f [usize]);

fn thin(
    session: &Session<'_>,
    survey: &Survey,
    filter: &Filter,
    real: OfSpecies<'_>,
    pool: OfSpecies<'_>,
) -> Result<Outcome> {
    let asked = Gates { fid: filter.fid_max, kid: filter.kid_max, species_kid: filter.species_kid_max };
    let labelled = |(features, species)| Labelled { features, species };
    let task = std::cell::RefCell::new(session.progress.task("gates", pool.1.len(), "image"));
    let tell = |gate: Gate, gone: usize, distance: f64| {
        let note = format!("{} left out by {}, now at {distance:.4}", text::thousands(gone), name(survey, gate));
        task.borrow_mut().set(gone, &note);
    };
    gates::gates(labelled(real), labelled(pool), &asked, &stop::check, &tell)
}

fn reason(gate: Gate) -> Reason {
    match gate {
        Gate::Fid => Reason::Fid,
        Gate::Kid => Reason::Kid,
        Gate::SpeciesKid(_) => Reason::SpeciesKid,
    }
}

fn name(survey: &Survey, gate: Gate) -> String {
    match gate {
        Gate::SpeciesKid(species) => format!("{} of {}", reason(gate).name(), survey.dataset.species[species]),
        _ => reason(gate).name().to_string(),
    }
}

/// What a person should know of gates that hold: whole sentences.
pub fn notes(survey: &Survey, outcome: &Outcome) -> Vec<String> {
    if outcome.without_gate.is_empty() {
        return Vec::new();
    }
    let names = outcome.without_gate.iter().map(|&species| survey.dataset.species[species].as_str());
    vec![format!(
        "`species_kid_max` does not judge {} with fewer than {LEAST} real or kept images: {}",
        if outcome.without_gate.len() == 1 {
            "the species".to_string()
        } else {
            format!("the {} species", outcome.without_gate.len())
        },
        first_few(names)
    )]
}

/// Up to three names, and how many more there are.
fn first_few<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let all: Vec<&str> = names.collect();
    let shown = all[..all.len().min(3)].join(", ");
    if all.len() > 3 { format!("{shown} and {} more", all.len() - 3) } else { shown }
}

/// Says which gates cannot be met, how far they came, and what could be done.
///
/// # Errors
/// [`Error::Input`] if there is such a gate.
pub fn refuse_unmet(session: &mut Session<'_>, survey: &Survey, baseline: &Baseline, outcome: &Outcome) -> Result<()> {
    let unmet: Vec<&Held> = outcome.held.iter().filter(|held| !held.holds).collect();
    if unmet.is_empty() && (!outcome.held.is_empty() || outcome.without_gate.is_empty()) {
        return Ok(());
    }
    if unmet.is_empty() {
        return Err(Error::input_help(
            format!(
                "`species_kid_max` judges no species: each has fewer than {LEAST} real or kept images ({})",
                first_few(outcome.without_gate.iter().map(|&species| survey.dataset.species[species].as_str()))
            ),
            "use `kid_max`, which judges the pooled set, or cut less of train away by `[split]`",
        ));
    }
    let floor = match real_features(session, survey, baseline)? {
        Some(real) if real.rows >= 4 => Some(real_floor(&real, &kid::Options::default())?),
        _ => None,
    };
    let sentence = |held: &Held| {
        let name = name(survey, held.gate);
        let n = text::count(held.n[1], "image");
        let reached = match held.distance {
            None => "too few images are left for any distance".to_string(),
            Some(value) if held.n[1] <= LEAST => {
                format!("it is {value:.4} with {n}, and fewer mean nothing")
            }
            Some(value) => format!("it stays at {value:.4} with {n}, and dropping any of them raises it"),
        };
        let floor = match (held.gate, &floor) {
            (Gate::Fid, Some(floor)) => {
                format!("; two halves of {} real photos are at {:.4}", survey.cut.train.len(), floor.frechet)
            }
            (Gate::Kid, Some(floor)) => {
                format!("; two halves of {} real photos are at {:.4}", survey.cut.train.len(), floor.kid.value)
            }
            _ => String::new(),
        };
        format!("{name} = {}: {reached} ({} dropped for it{floor})", held.threshold, text::thousands(held.gone))
    };
    let mut lines: Vec<String> = unmet.iter().take(5).map(|held| sentence(held)).collect();
    if unmet.len() > 5 {
        lines.push(format!("and {} more", unmet.len() - 5));
    }
    let what = if unmet.len() == 1 { "the gate cannot be met" } else { "the gates cannot be met" };
    Err(Error::input_help(
        format!("{what}: {}", lines.join("; ")),
        "raise the gate (the report of an ungated build shows each figure beside the real-vs-real floor), raise `candidates`, \
         or train the generator longer; every candidate and score is kept",
    ))
}
