//! `--locked`: what would change the lock is refused, as early as it can be known: photos, weights, settings and wanted
//! candidates before any work, each fit when it is done, verdicts before the tree is written.

use std::collections::{BTreeMap, BTreeSet};

use super::compare::{Change, between, dataset_fact};
use super::{Lock, path};
use crate::error::{Error, Result};
use crate::plan::inputs::Digest;
use crate::plan::{Inputs, Key};
use crate::recipe::GeneratorKind;
use crate::run::selection::Selection;
use crate::run::session::Session;
use crate::run::survey::Survey;
use crate::run::{choose, model};
use crate::store::Record;

/// Changes named in one message at most.
const NAMED: usize = 20;

/// Refuses a non-empty list of changes.
pub fn refused(session: &Session<'_>, changes: &[Change]) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> = changes.iter().take(NAMED).map(|change| format!("  {change}")).collect();
    if changes.len() > NAMED {
        lines.push(format!("  and {} more", changes.len() - NAMED));
    }
    Err(Error::Differs(format!(
        "`{}` would change, and --locked refuses that:\n{}",
        path(session.recipe).display(),
        lines.join("\n")
    )))
}

/// What can be known before any work.
pub fn begin(session: &Session<'_>, survey: &Survey) -> Result<()> {
    let Some(lock) = &session.lock else { return Ok(()) };
    let mut changes = begin_changes(session, survey, lock)?;
    let old = lock.engine.clone();
    if old != crate::plan::ENGINE {
        let new = Some(crate::plan::ENGINE.to_string());
        changes.insert(0, Change { what: "birdaug".to_string(), old: Some(old), new });
    }
    refused(session, &changes)
}

/// What the dataset and the recipe give otherwise than the lock says.
pub(in crate::run) fn begin_changes(session: &Session<'_>, survey: &Survey, lock: &Lock) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    let new = super::dataset(survey)?;
    for change in between(&shown(&lock.dataset), &shown(&new)) {
        let list = |digests: &BTreeMap<String, Digest>| digests.get(&change.what).copied();
        let (old, new) = (list(&lock.dataset), list(&new));
        let in_words = session.photos_changed(old, new);
        changes.push(Change { what: dataset_fact(&change.what), new: in_words.or(change.new), ..change });
    }
    for change in between(&shown(&lock.weights), &shown(&super::weights(session)?)) {
        changes.push(Change { what: format!("weights `{}`", change.what), ..change });
    }
    let mut models = vec![(model::baseline_slot(session), model::baseline_inputs(session, survey)?)];
    models.extend(model::generator_inputs(session, survey)?.map(|inputs| ("generator".to_string(), inputs)));
    for (name, inputs) in models {
        let name = name.as_str();
        let old = lock.models.get(name).map(|fitted| fitted.key);
        if let Some(old) = old.filter(|old| *old != inputs.key()) {
            changes.extend(field_changes(session, name, old, &inputs));
        }
    }
    changes.extend(between(&slots(lock.models.keys().cloned()), &slots(model::slots(session, survey).into_iter())));
    if changes.is_empty() {
        changes.extend(candidate_changes(session, survey, lock));
    }
    Ok(changes)
}

/// The fields in which a model's inputs differ, where the cache still knows the old ones; else its keys.
fn field_changes(session: &Session<'_>, name: &str, old: Key, new: &Inputs) -> Vec<Change> {
    let known = session.store.record(&old.0).and_then(|record| Inputs::decode(&record.inputs));
    let Some(known) = known else {
        let (old, new) = (Some(old.short()), Some(new.key().short()));
        return vec![Change { what: format!("model {name}, key"), old, new }];
    };
    let show = |value: &Option<crate::plan::Value>| value.as_ref().map(ToString::to_string);
    new.differences(&known)
        .iter()
        .map(|field| Change {
            what: format!("model {name}, {}", field.field),
            old: show(&field.old),
            new: show(&field.new),
        })
        .collect()
}

/// The candidates that the recipe asks for under the lock's generator, against those of the lock, a species a change.
fn candidate_changes(session: &Session<'_>, survey: &Survey, lock: &Lock) -> Vec<Change> {
    let checkpoint = match &session.recipe.generator.kind {
        GeneratorKind::StableDiffusion(model) => lock.weights.get(&model.model).copied(),
        GeneratorKind::Ddpm(_) => None,
    };
    let fitted = lock.models.get("generator").map(|fitted| fitted.weights);
    let generator = model::generator_digest(session.recipe, checkpoint, fitted);
    let mut locked: BTreeMap<&str, BTreeSet<Key>> = BTreeMap::new();
    for candidate in lock.candidates() {
        locked.entry(candidate.species).or_default().insert(candidate.key);
    }
    let none = BTreeSet::new();
    let mut changes = Vec::new();
    for (species, name) in survey.dataset.species.iter().enumerate() {
        let old = locked.remove(name.as_str());
        let old = old.as_ref().unwrap_or(&none);
        // Refills come after the wanted ones; the lock says how far they went.
        let n = old.len().clamp(survey.most[species], survey.most_caps[species]);
        let wanted = generator.map(|generator| choose::wanted_of(session, survey, generator, species, n));
        let new: BTreeSet<Key> = wanted.unwrap_or_default().iter().map(|wanted| wanted.key).collect();
        if *old == new {
            continue;
        }
        let count = |n: usize| Some(crate::text::count(n, "candidate"));
        let other = old.difference(&new).next().zip(new.difference(old).next());
        let change = match other {
            Some((old, new)) => Change { what: name.clone(), old: Some(old.short()), new: Some(new.short()) },
            None => Change { what: name.clone(), old: count(old.len()), new: count(new.len()) },
        };
        changes.push(Change { what: format!("candidates of {}", change.what), ..change });
    }
    for (name, old) in locked {
        let old = Some(crate::text::count(old.len(), "candidate"));
        changes.push(Change { what: format!("candidates of {name}"), old, new: None });
    }
    changes
}

/// A model that would be fitted from other inputs than the lock's.
pub fn refuse_new_fit(session: &Session<'_>, slot: &str, inputs: &Inputs) -> Result<()> {
    let Some(held) = session.lock.as_ref().and_then(|lock| lock.models.get(slot)) else { return Ok(()) };
    if held.key == inputs.key() {
        return Ok(());
    }
    refused(session, &field_changes(session, slot, held.key, inputs))
}

/// A model that came out with other weights than the lock's, as soon as it is fitted.
pub fn refuse_fit(session: &Session<'_>, slot: &str, record: &Record) -> Result<()> {
    let held = session.lock.as_ref().and_then(|lock| lock.models.get(slot));
    let (Some(held), Some(weights)) = (held, record.blob("weights")) else { return Ok(()) };
    let (old, new) = (Key(held.weights).short(), Key(weights).short());
    if old == new {
        return Ok(());
    }
    refused(session, &[Change { what: format!("model {slot}, weights"), old: Some(old), new: Some(new) }])
}

/// Verdicts and images that differ, before the tree is written.
pub fn refuse_selection(session: &Session<'_>, survey: &Survey, selection: &Selection) -> Result<()> {
    let Some(lock) = &session.lock else { return Ok(()) };
    refused(session, &now(session, survey, selection).changes_from(&candidates_of(lock)))
}

/// The candidates whose image or verdict is another than the lock's, wherever they were made.
pub fn selection_changes(session: &Session<'_>, survey: &Survey, lock: &Lock, selection: &Selection) -> Vec<Change> {
    now(session, survey, selection).made_anywhere().changes_from(&candidates_of(lock).made_anywhere())
}

fn now(session: &Session<'_>, survey: &Survey, selection: &Selection) -> Lock {
    let mut now = Lock::default();
    now.select(session, survey, selection);
    now
}

fn candidates_of(lock: &Lock) -> Lock {
    Lock { candidates: lock.candidates.clone(), ..Lock::default() }
}

fn slots(names: impl Iterator<Item = String>) -> BTreeMap<String, String> {
    names.map(|name| (format!("model {name}"), "fitted".to_string())).collect()
}

fn shown(digests: &BTreeMap<String, Digest>) -> BTreeMap<String, String> {
    digests.iter().map(|(name, digest)| (name.clone(), Key(*digest).short())).collect()
}
