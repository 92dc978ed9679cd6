//! `birdaug why RECIPE`.

use serde_json::json;

use super::args::{Global, Why};
use super::terminal;
use crate::error::Result;
use crate::plan::Step;
use crate::recipe;
use crate::run::{self, Options, Progress};
use crate::store::Store;

/// Names, for each stale step, every reason.
pub fn run(options: &Why, global: &Global) -> Result<()> {
    let recipe = recipe::load_in(&options.recipe, terminal::colour(global.color))?;
    let store = Store::open(&global.cache)?;
    let walked = run::plan(&recipe, &store, &Progress::new(true), &Options::default())?;
    let steps = Step::ALL.map(|step| (step, walked.ledger.state(step)));
    if options.json {
        let steps: Vec<_> = steps
            .iter()
            .map(|(step, state)| json!({ "name": step.name(), "state": state.name(), "why": state.reasons() }))
            .collect();
        terminal::json(&json!({ "steps": steps }));
        return Ok(());
    }
    if !walked.ledger.any_due() {
        terminal::line("nothing is stale");
    }
    for (step, state) in steps.iter().filter(|(_, state)| state.is_stale()) {
        terminal::line(step.name());
        for reason in state.reasons() {
            terminal::line(&format!("  {reason}"));
        }
    }
    Ok(())
}
