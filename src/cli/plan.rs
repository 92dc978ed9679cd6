//! `birdaug plan RECIPE`.

use serde_json::{Value, json};

use super::args::{Global, Plan};
use super::{opened, terminal};
use crate::error::{Error, Result};
use crate::plan::Step;
use crate::recipe;
use crate::run::{self, COSTLY, Cost, Estimate, Options, Power, Progress, SpeciesDue, Walked};
use crate::text;

/// Shows what a build would do.
pub fn run(options: &Plan, global: &Global) -> Result<()> {
    let recipe = recipe::load_in(&options.recipe, terminal::colour(global.color))?;
    let progress = Progress::new(global.quiet || options.json);
    if !options.json {
        for warning in recipe::warnings(&recipe) {
            progress.warn(&warning);
        }
    }
    let store = opened::store(global)?;
    let walked = run::plan(&recipe, &store, &progress, &Options { rehash: options.rehash, ..Options::default() })?;
    let estimate = run::estimate(&store, &walked, &global.device)?;
    if options.json {
        terminal::json(&as_json(&walked, &estimate));
    } else if !global.quiet {
        terminal::print(&as_text(&walked, &estimate));
    }
    if options.check && walked.ledger.any_due() {
        return Err(Error::Differs("work is due".to_string()));
    }
    Ok(())
}

fn to_make(walked: &Walked) -> usize {
    walked.ledger.species.iter().map(|species| species.to_make).sum()
}

fn as_json(walked: &Walked, estimate: &Estimate) -> Value {
    let ledger = &walked.ledger;
    // With nothing due the selection stands, and asks for no more.
    let refill = |species: &SpeciesDue| if ledger.any_due() { species.refill } else { 0 };
    json!({
        "to_make": to_make(walked),
        "at_most": to_make(walked) + ledger.species.iter().map(refill).sum::<usize>(),
        "species": ledger.species.iter().map(|species| json!({
            "name": species.name,
            "real": species.real,
            "wanted": species.wanted,
            "cached": species.cached,
            "to_make": species.to_make,
            "refill_at_most": refill(species),
        })).collect::<Vec<_>>(),
        "steps": Step::ALL.map(|step| json!({
            "name": step.name(),
            "state": ledger.state(step).name(),
            "why": ledger.state(step).reasons(),
            "seconds": cost(walked, estimate, step).seconds,
            "bytes": cost(walked, estimate, step).bytes,
        })),
        "seconds": total(walked, estimate).seconds,
        "bytes": total(walked, estimate).bytes,
        "not_estimated": estimate.unknown().iter().map(|step| step.name()).collect::<Vec<_>>(),
        "estimated_on": estimate.device,
        "power": walked.power,
        "notes": walked.notes,
    })
}

/// What a step costs: nothing where it is fresh; `None` where it is due and nothing is known of it.
fn cost(walked: &Walked, estimate: &Estimate, step: Step) -> Cost {
    match estimate.steps.get(&step) {
        Some(cost) => *cost,
        None if walked.ledger.state(step).is_stale() => Cost::default(),
        None => Cost { seconds: Some(0.0), bytes: Some(0) },
    }
}

/// What is known of the whole build's cost.
fn total(walked: &Walked, estimate: &Estimate) -> Cost {
    if walked.ledger.any_due() { estimate.total() } else { Cost { seconds: Some(0.0), bytes: Some(0) } }
}

/// `estimated: 3 min 20 s, 12.4 MiB (on cpu:avx2); no record to go by: generator`.
fn estimate_text(estimate: &Estimate) -> String {
    let total = estimate.total();
    let mut parts = Vec::new();
    if let Some(seconds) = total.seconds {
        let each: Vec<String> = COSTLY
            .into_iter()
            .filter_map(|step| Some((step, estimate.steps.get(&step)?.seconds?)))
            .map(|(step, seconds)| format!("{} {}", step.name(), duration(seconds)))
            .collect();
        parts.push(format!(
            "estimated: {} and {} by what this kind of work cost on {} before ({})",
            duration(seconds),
            text::bytes(total.bytes.unwrap_or(0)),
            estimate.device,
            each.join(", ")
        ));
    }
    let unknown: Vec<&str> = estimate.unknown().into_iter().map(Step::name).collect();
    if !unknown.is_empty() {
        parts.push(format!(
            "not estimated, nothing like it was made on {} yet: {}",
            estimate.device,
            unknown.join(", ")
        ));
    }
    parts.iter().map(|part| format!("{part}\n")).collect()
}

/// `could be shown: ...`, with what that rests on.
fn power_text(power: &Power) -> String {
    let Power { chance, test_images, species, seeds, comparisons, disagreement, persistent, .. } = power;
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let with = format!(
        "{} of {species} species, {} and {}",
        text::count(*test_images, "test image"),
        text::count(*seeds, "seed"),
        text::count(*comparisons, "comparison")
    );
    let shown = match power.smallest_difference {
        Some(smallest) => format!(
            "with {with}, a true difference of {:.1} points or more has a chance of {} to be shown",
            smallest * 100.0,
            percent(*chance)
        ),
        None => format!("{with} are too few to show any difference"),
    };
    let rests = if power.measured { "as in the last results" } else { "assumed" };
    format!(
        "could be shown: {shown} ({rests}: two classifiers disagree on {} of the images, of that {} in every seed)\n",
        percent(*disagreement),
        percent(*persistent)
    )
}

fn duration(seconds: f64) -> String {
    text::duration(std::time::Duration::from_secs_f64(seconds.max(0.0)))
}

fn as_text(walked: &Walked, estimate: &Estimate) -> String {
    let ledger = &walked.ledger;
    let rows: Vec<Vec<String>> = ledger
        .species
        .iter()
        .map(|species| {
            let number = text::thousands;
            vec![
                species.name.clone(),
                number(species.real),
                number(species.wanted),
                number(species.cached),
                number(species.to_make),
            ]
        })
        .collect();
    let mut out = terminal::table(&["species", "real", "wanted", "cached", "to make"], &rows, &[1, 2, 3, 4]);
    out.push('\n');
    let rows: Vec<Vec<String>> = Step::ALL
        .into_iter()
        .map(|step| {
            let state = ledger.state(step);
            let mut why = state.reasons().first().cloned().unwrap_or_default();
            if state.reasons().len() > 1 {
                why.push_str(&format!(" (and {} more reasons)", state.reasons().len() - 1));
            }
            vec![step.name().to_string(), state.name().to_string(), why]
        })
        .collect();
    out.push_str(&terminal::table(&["step", "state", "why"], &rows, &[]));
    out.push('\n');
    let refill: usize = ledger.species.iter().map(|species| species.refill).sum();
    let mut summary = format!("to make: {}", text::count(to_make(walked), "image"));
    if refill > 0 && to_make(walked) > 0 {
        summary
            .push_str(&format!(", and at most {} more to make up for what the filter drops", text::thousands(refill)));
    } else if refill > 0 && ledger.state(Step::Scores).is_stale() {
        summary.push_str(&format!(
            " now: all that are wanted are in the cache; their scores decide whether at most {} more are made",
            text::thousands(refill)
        ));
    }
    out.push_str(&summary);
    out.push('\n');
    out.push_str(&estimate_text(estimate));
    out.push_str(&walked.power.as_ref().map(power_text).unwrap_or_default());
    for note in &walked.notes {
        out.push_str(&format!("note: {note}\n"));
    }
    out
}
