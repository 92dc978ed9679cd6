//! The pooled set against the real one: Frechet and kernel distances over the real-only classifier's features or FID's Inception network's, with
//! the real-vs-real floor; and the gates that the recipe sets on them.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::plan::Step;
use crate::plan::inputs;
use crate::plan::select::{Reason, Verdict};
use crate::recipe::Filter;
use crate::score::contribution;
use crate::score::features::Features;
use crate::score::floor::{Floor, real_floor};
use crate::score::frechet::{Moments, frechet};
use crate::score::kid::{self, Kid};

use super::inception;
use super::model::{self, Baseline};
use super::score::{CLASSIFIER_BATCH, features_from_bytes, features_to_bytes};
use super::selection::Candidate;
use super::session::Session;
use super::survey::Survey;

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

/// Whether the recipe sets a gate on the pooled set.
pub fn asked_for(filter: &Filter) -> bool {
    filter.fid_max.is_some() || filter.kid_max.is_some()
}

/// The real train photos' features under the baseline; `None` if planning and they are not there.
pub fn real_features(session: &mut Session<'_>, survey: &Survey, baseline: &Baseline) -> Result<Option<Features>> {
    if let Some(network) = &baseline.inception {
        return inception::of_photos(session, survey, network);
    }
    let inputs = model::feature_inputs(&survey.train_list, baseline);
    let found = session.obtain_bytes(Step::Scores, "real features", &inputs, "features", |session, record| {
        let photos = model::files(session, survey, &survey.cut.train);
        let said = baseline.open(session, survey)?.predict(&photos, CLASSIFIER_BATCH)?;
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
        Some(moments) if kept.rows >= 3 => Some(contribution::contributions(moments, kept)?),
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

/// Drops the candidates that raise a distance most, until each gate of the recipe holds.
///
/// # Errors
/// [`Error::Input`] with the best figure reached, where no drop lowers the distance any further.
pub fn enforce(
    session: &mut Session<'_>,
    survey: &Survey,
    baseline: &Baseline,
    candidates: &mut [Candidate],
) -> Result<()> {
    let Some(real) = real_features(session, survey, baseline)? else { return Ok(()) };
    let moments = Moments::of(&real)?;
    let filter = session.recipe.filter.clone();
    if let Some(threshold) = filter.fid_max {
        let measure = |set: &Features| frechet(&moments, &Moments::of(set)?);
        let shares = |set: &Features| contribution::contributions(&moments, set);
        hold(session, candidates, Reason::Fid, threshold, &measure, &shares)?;
    }
    if let Some(threshold) = filter.kid_max {
        let measure = |set: &Features| kid::kid(&real, set, &kid::Options::default()).map(|kid| kid.value);
        let shares = |set: &Features| kid::contributions(&real, set);
        hold(session, candidates, Reason::Kid, threshold, &measure, &shares)?;
    }
    Ok(())
}

type Measure<'f> = &'f dyn Fn(&Features) -> Result<f64>;
type Shares<'f> = &'f dyn Fn(&Features) -> Result<Vec<f64>>;

fn hold(
    session: &Session<'_>,
    candidates: &mut [Candidate],
    reason: Reason,
    threshold: f64,
    measure: Measure<'_>,
    shares: Shares<'_>,
) -> Result<()> {
    let mut kept: Vec<usize> = (0..candidates.len()).filter(|&i| candidates[i].verdict.keeps()).collect();
    let mut set = candidate_features(session, kept.iter().map(|&i| &candidates[i]))?;
    loop {
        if set.rows < 3 {
            return Err(cannot_hold(reason, threshold, None, set.rows));
        }
        let value = measure(&set)?;
        if value <= threshold {
            return Ok(());
        }
        let shares = shares(&set)?;
        // The first of equals, so that the order of work decides nothing.
        let worst = (0..shares.len()).fold(0, |worst, i| if shares[i] > shares[worst] { i } else { worst });
        if shares[worst] <= 0.0 {
            return Err(cannot_hold(reason, threshold, Some(value), set.rows));
        }
        candidates[kept[worst]].verdict = Verdict::Drop { reason, value, threshold };
        kept.remove(worst);
        let rows: Vec<usize> = (0..set.rows).filter(|&row| row != worst).collect();
        set = set.select(&rows);
    }
}

fn cannot_hold(reason: Reason, threshold: f64, value: Option<f64>, n: usize) -> Error {
    let reached = match value {
        Some(value) => format!("it stays at {value:.3} with {n} images, and dropping any of them raises it"),
        None => "it fails with so few images left that it means nothing".to_string(),
    };
    Error::input_help(
        format!("the gate {} = {threshold} cannot be met: {reached}", reason.name()),
        "raise the gate (the report of an ungated build shows the figure and the real-vs-real floor), raise `candidates`, \
         or train the generator longer; every candidate and score is kept",
    )
}
