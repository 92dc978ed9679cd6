//! `birdaug plan RECIPE`.

use serde_json::{Value, json};

use super::args::{Global, Plan};
use super::terminal;
use crate::error::{Error, Result};
use crate::plan::Step;
use crate::recipe;
use crate::run::{self, Options, Progress, Walked};
use crate::store::Store;
use crate::text;

/// Shows what a build would do.
pub fn run(options: &Plan, global: &Global) -> Result<()> {
    let recipe = recipe::load_in(&options.recipe, terminal::colour(global.color))?;
    let progress = Progress::new(global.quiet || options.json);
    let mut unbuilt = Vec::new();
    for problem in recipe::not_built_yet(&recipe) {
        let place = problem.line.map_or(String::new(), |line| format!(":{line}"));
        unbuilt.push(format!("{}{place}: {}: {}", recipe.path.display(), problem.key, problem.what));
    }
    if !options.json {
        for warning in recipe::warnings(&recipe) {
            progress.warn(&warning);
        }
    }
    let store = Store::open(&global.cache)?;
    let walked = run::plan(&recipe, &store, &progress, &Options { rehash: options.rehash, ..Options::default() })?;
    if options.json {
        terminal::json(&as_json(&walked, &unbuilt));
    } else if !global.quiet {
        terminal::print(&as_text(&walked, &unbuilt));
    }
    if options.check && walked.ledger.any_due() {
        return Err(Error::Differs("work is due".to_string()));
    }
    Ok(())
}

fn to_make(walked: &Walked) -> usize {
    walked.ledger.species.iter().map(|species| species.to_make).sum()
}

fn as_json(walked: &Walked, unbuilt: &[String]) -> Value {
    let ledger = &walked.ledger;
    json!({
        "to_make": to_make(walked),
        "at_most": to_make(walked) + ledger.species.iter().map(|species| species.refill).sum::<usize>(),
        "species": ledger.species.iter().map(|species| json!({
            "name": species.name,
            "real": species.real,
            "wanted": species.wanted,
            "cached": species.cached,
            "to_make": species.to_make,
            "refill_at_most": species.refill,
        })).collect::<Vec<_>>(),
        "steps": Step::ALL.map(|step| json!({
            "name": step.name(),
            "state": ledger.state(step).name(),
            "why": ledger.state(step).reasons(),
        })),
        "notes": walked.notes,
        "not_built_yet": unbuilt,
    })
}

fn as_text(walked: &Walked, unbuilt: &[String]) -> String {
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
    }
    out.push_str(&summary);
    out.push('\n');
    for note in &walked.notes {
        out.push_str(&format!("note: {note}\n"));
    }
    for line in unbuilt {
        out.push_str(&format!("not built yet: {line}\n"));
    }
    out
}
