//! From wanted numbers to kept images: candidates are made, scored and judged in rounds, each of which makes up for
//! what the one before dropped, until every species is full or has used up its candidates.

use std::collections::{BTreeMap, HashSet};

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::plan::candidate::identities;
use crate::plan::inputs::Digest;
use crate::plan::select::{self, Reason, Verdict, refill};
use crate::plan::{Inputs, Key, Step};
use crate::recipe::Mode as GeneratorMode;

use super::gate;
use super::make::{self, Made, Wanted};
use super::model::{Baseline, Model};
use super::realism;
use super::score::{self, Scored};
use super::selection::{Candidate, Selection};
use super::session::Session;
use super::survey::Survey;
use super::twins::Twins;

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
    // Beyond those stand the ones that arms with a larger dose have. They are made along with the tree's and settled after
    // them, so that they change nothing of the tree; the gates are the tree's alone.
    let mut ahead = survey.most.clone();
    // What depends on the other candidates is settled once: whoever went in one round does not come back in the next, so
    // that a species never keeps more than it wants.
    let mut settled: BTreeMap<Key, (Verdict, Option<Key>)> = BTreeMap::new();
    let mut twins = Twins::default();
    // What the gates came to, once the tree's candidates are settled.
    let mut gates: Option<gate::Outcome> = None;
    let mut losses = 0;
    loop {
        ahead.iter_mut().zip(&look).for_each(|(ahead, &look)| *ahead = look.max(*ahead));
        let all = wanted(session, survey, model, &ahead);
        let found = make::look_up(session.store, &all);
        count(session, survey, &all, &found, &ahead);
        let Some(made) = make::candidates(session, survey, model, &all, found)? else {
            count_refills(session, survey, model, &ahead);
            return Ok(None);
        };
        let Some(baseline) = baseline.filter(|_| until > Step::Candidates) else {
            count_refills(session, survey, model, &ahead);
            return Ok(None);
        };
        let beyond = beyond(&all, &look);
        let (all, images, flawed) = without_flawed(all, made);
        let scored = match scorer.score(session, survey, baseline, &all, &images)? {
            score::Outcome::Due => {
                count_refills(session, survey, model, &ahead);
                return Ok(None);
            }
            // A damaged entry was forgotten: make it again, unless the disk loses everything.
            score::Outcome::Lost if losses < LOSSES => {
                losses += 1;
                gates = None;
                continue;
            }
            score::Outcome::Lost => return Err(keeps_losing(session)),
            score::Outcome::Scored(scored) => scored,
        };
        let mut candidates: Vec<Candidate> = all
            .iter()
            .zip(&images)
            .zip(scored)
            .map(|((wanted, &image), scored)| Candidate {
                species: wanted.species,
                key: wanted.key,
                image,
                source: wanted.source,
                index: wanted.index,
                verdict: Verdict::Keep,
                twin: None,
                scored,
            })
            .collect();
        let filter = session.recipe.filter.clone();
        if realism::asked_for(&filter) && !realism::score(session, survey, baseline, &mut candidates)? {
            count_refills(session, survey, model, &ahead);
            return Ok(None);
        }
        for candidate in &mut candidates {
            candidate.verdict = select::judge(&candidate.scored.scores, &filter);
            if let Some((verdict, twin)) = settled.get(&candidate.key) {
                (candidate.verdict, candidate.twin) = (*verdict, *twin);
            }
        }
        if !flawed.is_empty() {
            candidates.extend(flawed);
            candidates.sort_by_key(|candidate| candidate.species);
        }
        let (mut more, mut candidates): (Vec<_>, Vec<_>) =
            candidates.into_iter().partition(|candidate| beyond.contains(&candidate.key));
        let tree: [&[usize]; 2] = [&survey.wanted, &survey.caps];
        let outcome = match gates.take() {
            Some(outcome) => outcome,
            None => {
                if let Some(threshold) = filter.duplicate_max {
                    if !twins.settle(session, threshold, &mut candidates)? {
                        count_refills(session, survey, model, &ahead);
                        return Ok(None);
                    }
                    settle(&candidates, &mut settled);
                }
                if let Some(next) = next_round(tree, [&candidates], &look) {
                    look = next;
                    continue;
                }
                let mut outcome = gate::Outcome::default();
                if gate::asked_for(&filter) {
                    let Some(found) = gate::enforce(session, survey, baseline, &mut candidates)? else {
                        count_refills(session, survey, model, &ahead);
                        return Ok(None);
                    };
                    settle(&candidates, &mut settled);
                    if let Some(next) = next_round(tree, [&candidates], &look) {
                        look = next;
                        continue;
                    }
                    gate::refuse_unmet(session, survey, baseline, &found)?;
                    outcome = found;
                }
                outcome
            }
        };
        if let (Some(threshold), false) = (filter.duplicate_max, more.is_empty()) {
            // Those that the tree keeps come first, whatever their keys: they stayed in an earlier call.
            let in_tree = candidates.len();
            candidates.append(&mut more);
            let compared = twins.settle(session, threshold, &mut candidates)?;
            more = candidates.split_off(in_tree);
            if !compared {
                count_refills(session, survey, model, &ahead);
                return Ok(None);
            }
            settle(&more, &mut settled);
        }
        if let Some(next) = next_round([&survey.most, &survey.most_caps], [&candidates, &more], &ahead) {
            ahead = next;
            gates = Some(outcome);
            continue;
        }
        return finish(session, survey, candidates, more, outcome).map(Some);
    }
}

/// Remembers who went for what the other candidates are.
fn settle(candidates: &[Candidate], settled: &mut BTreeMap<Key, (Verdict, Option<Key>)>) {
    for candidate in candidates {
        if let Verdict::Drop { reason: Reason::Duplicate | Reason::SpeciesKid | Reason::Kid | Reason::Fid, .. } =
            candidate.verdict
        {
            settled.insert(candidate.key, (candidate.verdict, candidate.twin));
        }
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
fn without_flawed(all: Vec<Wanted>, made: Vec<Made>) -> (Vec<Wanted>, Vec<Digest>, Vec<Candidate>) {
    let (mut whole, mut images, mut flawed) =
        (Vec::with_capacity(all.len()), Vec::with_capacity(all.len()), Vec::new());
    for (wanted, made) in all.into_iter().zip(made) {
        match made {
            Some(image) => {
                whole.push(wanted);
                images.push(image);
            }
            None => flawed.push(Candidate {
                species: wanted.species,
                key: wanted.key,
                image: Digest::default(),
                source: wanted.source,
                index: wanted.index,
                verdict: Verdict::Drop { reason: Reason::NotFinite, value: f64::NAN, threshold: f64::NAN },
                twin: None,
                scored: Scored::nothing(),
            }),
        }
    }
    (whole, images, flawed)
}

fn keeps_losing(session: &Session<'_>) -> Error {
    Error::input_help(
        format!("the cache `{}` loses what is written to it", session.store.dir().display()),
        "check the disk, or use another folder by `--cache DIR`",
    )
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
    let each: Vec<Vec<Wanted>> = look.par_iter().enumerate().map(of_species).collect();
    each.into_iter().flatten().collect()
}

/// The first `n` candidates of a species under the generator with these weights.
pub fn wanted_of(session: &Session<'_>, survey: &Survey, generator: Digest, species: usize, n: usize) -> Vec<Wanted> {
    let settings = &session.recipe.generator;
    let photos = match settings.mode {
        GeneratorMode::Img2Img => survey.train_digests(species),
        GeneratorMode::Txt2Img => &[],
    };
    let name = &survey.dataset.species[species];
    make::wanted(session, survey, generator, species, &identities(settings.mode, settings.seed, name, photos, n))
}

/// Notes how many candidates of each species are there and how many are to make.
pub fn count(session: &mut Session<'_>, survey: &Survey, all: &[Wanted], found: &[Option<Made>], look: &[usize]) {
    let mut cached = vec![0; look.len()];
    for (wanted, found) in all.iter().zip(found) {
        cached[wanted.species] += usize::from(found.is_some());
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
        let missing = beyond.iter().filter(|wanted| !session.store.has_hit(&wanted.key.0)).count();
        session.ledger.species[species].refill = missing;
    }
}

/// Settles the verdicts and names them by a digest.
fn finish(
    session: &mut Session<'_>,
    survey: &Survey,
    candidates: Vec<Candidate>,
    more: Vec<Candidate>,
    gates: gate::Outcome,
) -> Result<Selection> {
    let mut hasher = blake3::Hasher::new();
    for candidate in &candidates {
        hasher.update(&candidate.key.0);
        hasher.update(&candidate.image);
        let (tag, value) = match candidate.verdict {
            Verdict::Keep => (0, 0.0),
            Verdict::Drop { reason, value, .. } => (reason.tag(), value),
        };
        hasher.update(&[tag]);
        hasher.update(&value.to_bits().to_le_bytes());
    }
    let selection = Selection { candidates, more, gates, digest: *hasher.finalize().as_bytes() };
    let total: usize = survey.wanted.iter().sum();
    if total > 0 && selection.kept().next().is_none() {
        return Err(nothing_left(&selection));
    }
    let inputs = Inputs::new("select", 1).digest("verdicts", selection.digest);
    session.note("select", &inputs)?;
    Ok(selection)
}

fn nothing_left(selection: &Selection) -> Error {
    let mut reasons: BTreeMap<Reason, usize> = BTreeMap::new();
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
