//! Each candidate's realism among the arm's real train photos, kept under its own key. Makes no image and judges nothing.

use crate::error::{Error, Result};
use crate::plan::Step;
use crate::plan::inputs;
use crate::recipe::Filter;
use crate::score::realism::{K, Spheres};

use super::gate;
use super::model::Baseline;
use super::selection::Candidate;
use super::session::{Mode, Session};
use super::stop;
use super::survey::Survey;

/// Whether the recipe asks for it.
pub fn asked_for(filter: &Filter) -> bool {
    filter.realism_min.is_some()
}

/// Fills in the scores of candidates that are images; false if planning and some are not there.
///
/// # Errors
/// [`Error::Input`] for fewer real photos than a sphere needs, or features that are no numbers.
pub fn score(
    session: &mut Session<'_>,
    survey: &Survey,
    baseline: &Baseline,
    candidates: &mut [Candidate],
) -> Result<bool> {
    let real = survey.cut.train.len();
    if real <= K {
        return Err(Error::input_help(
            format!("`realism_min` needs at least {} real train photos, there are {real}", K + 1),
            "a photo's sphere reaches to its third nearest neighbour: cut less away by `[split]`, or leave `realism_min` out",
        ));
    }
    let network = baseline.features_digest();
    let record = |candidate: &Candidate| inputs::realism_score(candidate.image, network, &survey.train_list, K);
    let mut missing = Vec::new();
    for (i, candidate) in candidates.iter_mut().enumerate() {
        let key = record(candidate).key().0;
        session.used.push(key);
        let found =
            session.store.hit(&key).and_then(|record| Some(f64::from_le_bytes(record.inline[..].try_into().ok()?)));
        candidate.scored.scores.realism = found;
        if found.is_none() {
            missing.push(i);
        }
    }
    if missing.is_empty() {
        return Ok(true);
    }
    session
        .ledger
        .due(Step::Scores, format!("{} without a realism score", crate::text::count(missing.len(), "candidate")));
    if session.mode == Mode::Plan {
        return Ok(false);
    }
    let Some(real) = gate::real_features(session, survey, baseline)? else { return Ok(false) };
    let spheres = Spheres::new(&real, K, &stop::check)?;
    let features = gate::candidate_features(session, missing.iter().map(|&i| &candidates[i]))?;
    let scores = spheres.realism(&features, &stop::check)?;
    let records: Vec<_> = missing
        .iter()
        .zip(&scores)
        .map(|(&i, score)| session.blank(&record(&candidates[i])).inline(score.to_le_bytes().to_vec()))
        .collect();
    session.store.commit(&records)?;
    session.ledger.made(Step::Scores, missing.len());
    for (&i, &score) in missing.iter().zip(&scores) {
        candidates[i].scored.scores.realism = Some(score);
    }
    Ok(true)
}
