//! What due work will cost in time and disk, from what the same kind of work cost on this kind of device before. Says
//! nothing where there is nothing to go by.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::error::Result;
use crate::nn::device;
use crate::plan::inputs::{self, CandidateOf, Digest, PhotoList};
use crate::plan::{Inputs, Step, Value};
use crate::recipe;
use crate::store::Store;

use super::Walked;
use super::ledger::Pending;
use super::model;
use super::session::Session;
use super::survey::Survey;

/// Steps that take long enough to be worth an estimate.
pub const COSTLY: [Step; 5] = [Step::Baseline, Step::Generator, Step::Candidates, Step::Scores, Step::Arms];

/// Records whose blobs are measured, at most, a kind.
const MEASURED: usize = 64;

/// What a step's due work costs; `None` where no record tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Cost {
    pub seconds: Option<f64>,
    pub bytes: Option<u64>,
}

/// Costs of a build.
#[derive(Debug, Clone, Default)]
pub struct Estimate {
    /// Of [`COSTLY`] steps.
    pub steps: BTreeMap<Step, Cost>,
    /// The device class that the records were made on.
    pub device: String,
}

impl Estimate {
    /// Seconds and bytes of all steps that are known.
    pub fn total(&self) -> Cost {
        let known = |of: &dyn Fn(&Cost) -> Option<f64>| {
            let values: Vec<f64> = self.steps.values().filter_map(of).collect();
            (!values.is_empty()).then(|| values.iter().sum())
        };
        let bytes = known(&|cost| cost.bytes.map(|bytes| bytes as f64));
        Cost { seconds: known(&|cost| cost.seconds), bytes: bytes.map(|bytes: f64| bytes as u64) }
    }

    /// Costly steps that are due and that no record tells anything of.
    pub fn unknown(&self) -> Vec<Step> {
        self.steps.iter().filter(|(_, cost)| cost.seconds.is_none()).map(|(&step, _)| step).collect()
    }
}

/// Estimates a planned walk's cost on a device (`auto`, `cpu`, ...).
pub fn estimate(store: &Store, planned: &Walked, device: &str) -> Result<Estimate> {
    let mut estimate = Estimate { steps: BTreeMap::new(), device: device::class(device::select(device)?) };
    let pending: Vec<&Pending> =
        planned.ledger.pending().iter().filter(|pending| COSTLY.contains(&pending.step)).collect();
    if pending.is_empty() {
        return Ok(estimate);
    }
    let past = Past::read(store, &estimate.device, &pending)?;
    for pending in pending {
        let cost = past.cost(store, pending);
        let step = estimate.steps.entry(pending.step).or_insert(Cost { seconds: Some(0.0), bytes: Some(0) });
        // One piece without a record makes the whole step unknown.
        step.seconds = step.seconds.zip(cost.seconds).map(|(a, b)| a + b);
        step.bytes = step.bytes.zip(cost.bytes).map(|(a, b)| a + b);
    }
    Ok(estimate)
}

/// Notes the work of steps that the plan could not reach: as much of it as can be known.
pub fn forecast(session: &mut Session<'_>, survey: &Survey) -> Result<()> {
    let recipe = session.recipe;
    let to_make: usize = session.ledger.species.iter().map(|species| species.to_make).sum();
    let pends = |session: &Session<'_>, step| session.ledger.pending().iter().any(|pending| pending.step == step);
    if to_make > 0 && !pends(session, Step::Candidates) {
        let prompt = matches!(recipe.generator.kind, recipe::GeneratorKind::StableDiffusion(_));
        let of = CandidateOf {
            generator: [0; 32],
            species: "",
            class: 0,
            prompt: prompt.then_some(""),
            source: Some([0; 32]),
            index: 0,
        };
        let inputs = inputs::candidate(&recipe.generator, &of);
        session.ledger.foresee(Step::Candidates, "candidates", &inputs, to_make);
    }
    if to_make > 0 && !pends(session, Step::Scores) {
        session.ledger.foresee(Step::Scores, "scores", &inputs::class_score([0; 32], [0; 32], 0), to_make);
    }
    if session.options.until < Step::Arms || pends(session, Step::Arms) {
        return Ok(());
    }
    let mut seen = BTreeSet::from([model::baseline_inputs(session, survey)?.key()]);
    for arm in &recipe.compare.arms {
        for &seed in &recipe.classifier.seeds {
            let inputs = if arm.dose == 0.0 {
                model::classifier_inputs(session, survey, &model::real_arm(survey, session, arm), seed)?.0
            } else {
                // Which images will be in it is not known; each is a fit of its own, but for equal doses.
                let own = format!("{} x {}, real {}", arm.sampling, arm.dose, arm.real);
                let (settings, nothing) = (model::settings_of(session, arm), PhotoList::default());
                inputs::classifier_fit(&settings, None, &own, 0, seed, &nothing, &nothing)
            };
            if seen.insert(inputs.key()) && !session.store.has_hit(&inputs.key().0) {
                session.ledger.foresee(Step::Arms, &format!("classifier {} seed {seed}", arm.name), &inputs, 1);
            }
        }
    }
    Ok(())
}

/// What decides the cost of one unit of a kind of work, and the field that counts the units.
fn shape(kind: &str) -> (&'static [&'static str], Option<&'static str>) {
    match kind {
        "ddpm fit" => (
            &[
                "generator.size",
                "generator.width",
                "generator.levels",
                "generator.depth",
                "generator.train.batch",
                "generator.precision",
            ],
            Some("generator.train.steps"),
        ),
        "lora fit" => (
            &[
                "generator.model",
                "generator.size",
                "generator.lora.batch",
                "generator.lora.accumulate",
                "generator.lora.text_encoder",
                "generator.precision",
            ],
            Some("generator.lora.steps"),
        ),
        "classifier fit" => (
            &["classifier.arch", "classifier.size", "classifier.batch", "classifier.precision"],
            Some("classifier.steps"),
        ),
        "candidate" => (
            &[
                "generator.mode",
                "generator.strength",
                "generator.guidance",
                "generator.size",
                "generator.precision",
                "generator.batch",
            ],
            Some("generator.steps"),
        ),
        _ => (&[], None),
    }
}

/// The units of one piece of work.
fn units(inputs: &Inputs) -> f64 {
    match shape(&inputs.kind).1.and_then(|field| inputs.get(field)) {
        Some(&Value::Count(n)) => n as f64,
        _ => 1.0,
    }
}

/// Whether two pieces of work of one kind cost the same a unit.
fn alike(a: &Inputs, b: &Inputs) -> bool {
    shape(&a.kind).0.iter().all(|field| a.get(field) == b.get(field))
}

/// Earlier work of the kinds that are due, on this kind of device.
struct Past {
    by_kind: BTreeMap<String, Vec<Piece>>,
}

/// A piece of earlier work. Of a kind whose pieces all cost the same, the inputs are left out: there may be many.
struct Piece {
    inputs: Option<Inputs>,
    /// A unit's.
    seconds: f64,
    /// Those of the first pieces alone: no more are measured.
    outputs: Vec<Digest>,
}

impl Past {
    fn read(store: &Store, device: &str, pending: &[&Pending]) -> Result<Past> {
        let kinds: BTreeSet<&str> = pending.iter().map(|pending| pending.inputs.kind.as_str()).collect();
        let mut by_kind: BTreeMap<String, Vec<Piece>> = BTreeMap::new();
        store.load()?;
        store.each_view(|record| {
            let Some(kind) = Inputs::kind_of(record.inputs).filter(|kind| kinds.contains(kind)) else { return };
            if record.noted("device") != Some(device) {
                return;
            }
            let Some(seconds) = record.noted("seconds").and_then(|text| text.parse::<f64>().ok()) else { return };
            let inputs = match shape(kind) {
                ([], None) => None,
                _ => match Inputs::decode(record.inputs) {
                    Some(inputs) => Some(inputs),
                    None => return,
                },
            };
            if !by_kind.contains_key(kind) {
                by_kind.insert(kind.to_string(), Vec::new());
            }
            let Some(pieces) = by_kind.get_mut(kind) else { return };
            let measured = inputs.is_some() || pieces.len() < MEASURED;
            let outputs = if measured { record.outputs().map(|(_, digest)| *digest).collect() } else { Vec::new() };
            let seconds = seconds / inputs.as_ref().map_or(1.0, units).max(1.0);
            pieces.push(Piece { inputs, seconds, outputs });
        });
        Ok(Past { by_kind })
    }

    /// Medians over work of the same shape; where there is none, over all work of the kind.
    fn cost(&self, store: &Store, pending: &Pending) -> Cost {
        let Some(all) = self.by_kind.get(&pending.inputs.kind) else { return Cost::default() };
        let is_alike = |piece: &&Piece| piece.inputs.as_ref().is_none_or(|inputs| alike(inputs, &pending.inputs));
        let same: Vec<&Piece> = all.iter().filter(is_alike).collect();
        let basis = if same.is_empty() { all.iter().collect() } else { same };
        let mut each: Vec<f64> = basis.iter().map(|piece| piece.seconds).collect();
        let n = units(&pending.inputs) * pending.count as f64;
        let seconds = median(&mut each).map(|one| one * n);
        // Outputs may be shared between records, as features are.
        let measured = &basis[..basis.len().min(MEASURED)];
        let blobs: BTreeSet<&Digest> = measured.iter().flat_map(|piece| &piece.outputs).collect();
        let sizes = blobs.iter().filter_map(|digest| std::fs::metadata(store.blob_path(digest)).ok());
        let bytes: u64 = sizes.map(|found| found.len()).sum();
        Cost { seconds, bytes: Some(bytes * pending.count as u64 / measured.len().max(1) as u64) }
    }
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Record;

    fn fit(steps: u64, size: u64) -> Inputs {
        Inputs::new("ddpm fit", 1).count("generator.size", size).count("generator.train.steps", steps)
    }

    fn planned(inputs: &Inputs, count: usize) -> Walked {
        let mut ledger = super::super::Ledger::default();
        ledger.pend(Step::Generator, "generator", inputs, count);
        Walked { ledger, power: None, headline: None, notes: Vec::new() }
    }

    #[test]
    fn a_fit_costs_what_fits_of_its_shape_cost_a_step() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("cache")).unwrap();
        let here = device::class(tch::Device::Cpu);
        let cost = |inputs: &Inputs| {
            let found = estimate(&store, &planned(inputs, 1), "cpu").unwrap();
            (found.steps[&Step::Generator], found.unknown())
        };
        assert_eq!(cost(&fit(10, 16)), (Cost::default(), vec![Step::Generator]));
        let weights = store.put(&[7; 1000]).unwrap();
        let record = |inputs: Inputs, seconds: &str, device: &str| {
            Record::of(inputs.encode()).output("weights", weights).note("device", device).note("seconds", seconds)
        };
        store.commit(&[record(fit(10, 16), "5", "another"), record(fit(10, 64), "90", &here)]).unwrap();
        // Nothing of this shape: the same kind has to do.
        assert_eq!(cost(&fit(20, 16)).0.seconds, Some(180.0));
        store.commit(&[record(fit(10, 16), "2", &here), record(fit(40, 16), "12", &here)]).unwrap();
        store.commit(&[record(fit(100, 16), "25", &here)]).unwrap();
        assert_eq!(cost(&fit(20, 16)).0.seconds, Some(5.0));
        assert_eq!(estimate(&store, &planned(&fit(20, 16), 3), "cpu").unwrap().total().seconds, Some(15.0));
        assert!(cost(&fit(20, 16)).1.is_empty());
    }

    #[test]
    fn nothing_due_costs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("cache")).unwrap();
        let walked = Walked { ledger: super::super::Ledger::default(), power: None, headline: None, notes: Vec::new() };
        assert!(estimate(&store, &walked, "cpu").unwrap().steps.is_empty());
    }
}
