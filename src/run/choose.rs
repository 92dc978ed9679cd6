//! From wanted numbers to kept images: candidates are made, scored and judged in rounds, each of which makes up for
//! what the one before dropped, until every species is full or has used up its candidates.

use std::collections::HashSet;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::plan::candidate::identities;
use crate::plan::inputs::Digest;
use crate::plan::select::{self, Reason, Verdict, refill};
use crate::plan::{Inputs, Key, Step};
use crate::recipe::Mode as GeneratorMode;
use crate::store::Record;

use super::gate;
use super::make::{self, Wanted};
use super::model::{Baseline, Model};
use super::score::{self, Scored};
use super::selection::{Candidate, Selection};
use super::session::Session;
use super::survey::Survey;

/// Damaged entries that are made again before the disk is blamed.
const LOSSES: usize = 8;

/// Makes, scores and judges; `None` if planning and something is due, or if only candidates were asked for.
pub fn choose(
    session: &mut Session<'_>,
    survey: &Survey,
    model: &Model,
    baseline: Option<&Baseline>,
    until: Step,
) -> Result<Option<Selection>> {
    let mut scorer = score::Scorer::new(session, survey);
    let mut look = survey.wanted.clone();
    // Beyond those stand the ones that arms with a larger dose have.
    let mut ahead = survey.most.clone();
    let mut losses = 0;
    loop {
        ahead.iter_mut().zip(&look).for_each(|(ahead, &look)| *ahead = look.max(*ahead));
        let all = wanted(session, survey, model, &ahead);
        count(session, survey, &all, &ahead);
        let Some(records) = make::candidates(session, survey, model, &all)? else {
            count_refills(session, survey, model, &ahead);
            return Ok(None);
        };
        let Some(baseline) = baseline.filter(|_| until > Step::Candidates) else {
            count_refills(session, survey, model, &ahead);
            return Ok(None);
        };
        let beyond = beyond(&all, &look);
        let (all, records, flawed) = without_flawed(all, records);
        let scored = match scorer.score(session, survey, baseline, &all, &records)? {
            score::Outcome::Due => {
                count_refills(session, survey, model, &ahead);
                return Ok(None);
            }
            // A damaged entry was forgotten: make it again, unless the disk loses everything.
            score::Outcome::Lost if losses < LOSSES => {
                losses += 1;
                continue;
            }
            score::Outcome::Lost => return Err(keeps_losing(session)),
            score::Outcome::Scored(scored) => scored,
        };
        let mut candidates: Vec<Candidate> = all
            .iter()
            .zip(&records)
            .zip(scored)
            .map(|((wanted, record), scored)| Candidate {
                species: wanted.species,
                key: Key(record.key),
                image: record.blob("image").unwrap_or_default(),
                source: wanted.source,
                index: index_of(&wanted.inputs),
                verdict: select::judge(&scored.scores, &session.recipe.filter),
                scored,
            })
            .collect();
        if !flawed.is_empty() {
            candidates.extend(flawed);
            candidates.sort_by_key(|candidate| candidate.species);
        }
        let (more, mut candidates): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|candidate| beyond.contains(&candidate.key));
        let (wanted, caps) = (&survey.wanted, &survey.caps);
        if let Some(next) = next_round([wanted, caps], [&candidates], &look) {
            look = next;
            continue;
        }
        if gate::asked_for(&session.recipe.filter) {
            gate::enforce(session, survey, baseline, &mut candidates)?;
            if let Some(next) = next_round([wanted, caps], [&candidates], &look) {
                look = next;
                continue;
            }
        }
        if let Some(next) = next_round([&survey.most, &survey.most_caps], [&candidates, &more], &ahead) {
            ahead = next;
            continue;
        }
        return finish(session, survey, candidates, more).map(Some);
    }
}

/// The keys beyond the first `look` of each species.
fn beyond(all: &[Wanted], look: &[usize]) -> HashSet<Key> {
    let mut seen = vec![0; look.len()];
    let is_beyond = |wanted: &&Wanted| {
        seen[wanted.species] += 1;
        seen[wanted.species] > look[wanted.species]
    };
    all.iter().filter(is_beyond).map(|wanted| wanted.key).collect()
}

/// Takes apart those that came out as no image: they are dropped for that, without being looked at.
fn without_flawed(all: Vec<Wanted>, records: Vec<Record>) -> (Vec<Wanted>, Vec<Record>, Vec<Candidate>) {
    let (flawed, whole): (Vec<_>, Vec<_>) =
        all.into_iter().zip(records).partition(|(_, record)| make::has_no_image(record));
    let flawed = flawed
        .into_iter()
        .map(|(wanted, record)| Candidate {
            species: wanted.species,
            key: Key(record.key),
            image: Digest::default(),
            source: wanted.source,
            index: index_of(&wanted.inputs),
            verdict: Verdict::Drop { reason: Reason::NotFinite, value: f64::NAN, threshold: f64::NAN },
            scored: Scored::nothing(),
        })
        .collect();
    let (all, records) = whole.into_iter().unzip();
    (all, records, flawed)
}

fn keeps_losing(session: &Session<'_>) -> Error {
    Error::input_help(
        format!("the cache `{}` loses what is written to it", session.store.dir().display()),
        "check the disk, or use another folder by `--cache DIR`",
    )
}

fn index_of(inputs: &Inputs) -> u64 {
    match inputs.get("index") {
        Some(crate::plan::Value::Count(index)) => *index,
        _ => 0,
    }
}

/// How many candidates of each species to look at next, of those that are `[wanted, allowed]`; `None` if no species can
/// be filled further.
fn next_round<const N: usize>(
    [wanted, caps]: [&[usize]; 2],
    candidates: [&[Candidate]; N],
    look: &[usize],
) -> Option<Vec<usize>> {
    let mut kept = vec![0; look.len()];
    for candidate in candidates.into_iter().flatten().filter(|candidate| candidate.verdict.keeps()) {
        kept[candidate.species] += 1;
    }
    let next: Vec<usize> =
        (0..look.len()).map(|species| refill(wanted[species], kept[species], look[species], caps[species])).collect();
    (next != look).then_some(next)
}

/// The first `look` candidates of each species.
pub fn wanted(session: &Session<'_>, survey: &Survey, model: &Model, look: &[usize]) -> Vec<Wanted> {
    let of_species = |(species, &n): (usize, &usize)| wanted_of(session, survey, model.digest, species, n);
    look.iter().enumerate().flat_map(of_species).collect()
}

/// The first `n` candidates of a species under the generator with these weights.
pub fn wanted_of(session: &Session<'_>, survey: &Survey, generator: Digest, species: usize, n: usize) -> Vec<Wanted> {
    let settings = &session.recipe.generator;
    let photos = match settings.mode {
        GeneratorMode::Img2Img => survey.train_digests(species),
        GeneratorMode::Txt2Img => &[],
    };
    let name = &survey.dataset.species[species];
    identities(settings.mode, settings.seed, name, photos, n)
        .into_iter()
        .map(|identity| make::wanted(session, survey, generator, species, identity.source, identity.index))
        .collect()
}

/// Notes how many candidates of each species are there and how many are to make.
pub fn count(session: &mut Session<'_>, survey: &Survey, all: &[Wanted], look: &[usize]) {
    let store = session.store;
    let there: Vec<bool> = all.par_iter().map(|wanted| store.has_hit(&wanted.key.0)).collect();
    let mut cached = vec![0; look.len()];
    for (wanted, there) in all.iter().zip(there) {
        cached[wanted.species] += usize::from(there);
    }
    session.ledger.species = survey.due(&cached, look);
}

/// A plan that stops here says how many more the filter may ask for: of those, some are in the cache.
fn count_refills(session: &mut Session<'_>, survey: &Survey, model: &Model, look: &[usize]) {
    for (species, &looked_at) in look.iter().enumerate() {
        if session.ledger.species[species].refill == 0 {
            continue;
        }
        let all = wanted_of(session, survey, model.digest, species, survey.most_caps[species]);
        let beyond = all.get(looked_at..).unwrap_or_default();
        let missing = beyond.iter().filter(|wanted| !session.store.has_hit(&wanted.inputs.key().0)).count();
        session.ledger.species[species].refill = missing;
    }
}

/// Settles the verdicts and names them by a digest.
fn finish(
    session: &mut Session<'_>,
    survey: &Survey,
    candidates: Vec<Candidate>,
    more: Vec<Candidate>,
) -> Result<Selection> {
    let mut hasher = blake3::Hasher::new();
    for candidate in &candidates {
        hasher.update(&candidate.key.0);
        hasher.update(&candidate.image);
        let (tag, value) = match candidate.verdict {
            Verdict::Keep => (0, 0.0),
            Verdict::Drop { reason, value, .. } => (1 + reason as u8, value),
        };
        hasher.update(&[tag]);
        hasher.update(&value.to_bits().to_le_bytes());
    }
    let selection = Selection { candidates, more, digest: *hasher.finalize().as_bytes() };
    let total: usize = survey.wanted.iter().sum();
    if total > 0 && selection.kept().next().is_none() {
        return Err(nothing_left(&selection));
    }
    let inputs = Inputs::new("select", 1).digest("verdicts", selection.digest);
    session.note("select", &inputs)?;
    Ok(selection)
}

fn nothing_left(selection: &Selection) -> Error {
    let mut reasons: std::collections::BTreeMap<Reason, usize> = Default::default();
    for candidate in &selection.candidates {
        if let Verdict::Drop { reason, .. } = candidate.verdict {
            *reasons.entry(reason).or_default() += 1;
        }
    }
    let list: Vec<String> = reasons.iter().map(|(reason, n)| format!("{} dropped {n}", reason.name())).collect();
    let help = match reasons.keys().all(|reason| *reason == Reason::NotFinite) {
        true => {
            "the generator's numbers overflow: take another `precision` (bf16 in place of fp16, or fp32), or fetch the \
             weights again"
        }
        false => {
            "loosen `[filter]`, raise `candidates`, or train the generator longer; all candidates and scores are kept"
        }
    };
    Error::input_help(format!("the filter dropped every candidate: {}", list.join(", ")), help)
}
