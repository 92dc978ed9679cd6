//! `birdaug build RECIPE`.

use super::args::{Build, Global};
use super::{opened, terminal};
use crate::error::{Error, Result};
use crate::plan::Step;
use crate::recipe;
use crate::run::{self, Options, Progress, Shard};
use crate::text;

/// Does what is due.
pub fn run(options: &Build, global: &Global) -> Result<()> {
    let shard = options.shard.as_deref().map(Shard::parse).transpose()?;
    let until = match &options.until {
        None if shard.is_some() => Step::Candidates,
        None => Step::Report,
        Some(name) => Step::from_name(name).ok_or_else(|| unknown_step(name))?,
    };
    let recipe = recipe::load_in(&options.recipe, terminal::colour(global.color))?;
    let progress = Progress::new(global.quiet);
    for warning in recipe::warnings(&recipe) {
        progress.warn(&warning);
    }
    run::listen();
    let store = opened::store(global)?;
    let asked = Options {
        device: global.device.clone(),
        until,
        rehash: options.rehash,
        locked: options.locked,
        offline: options.offline,
        shard,
        tensorboard: options.tensorboard.clone(),
    };
    let walked = run::build(&recipe, &store, &progress, &asked)?;
    for note in &walked.notes {
        progress.say(&format!("note: {note}"));
    }
    if global.quiet {
        return Ok(());
    }
    let made: Vec<String> = Step::ALL
        .into_iter()
        .filter(|&step| walked.ledger.made_of(step) > 0)
        .map(|step| format!("{} {}", step.name(), text::thousands(walked.ledger.made_of(step))))
        .collect();
    if made.is_empty() {
        terminal::line("nothing to do: everything is as the recipe wants it");
    } else {
        terminal::line(&format!("made: {}", made.join(", ")));
    }
    if let Some(headline) = walked.headline {
        terminal::line(&headline);
    }
    if until >= Step::Emit {
        terminal::line(&format!("tree: {}", recipe.emit.out.display()));
    }
    if until == Step::Report {
        terminal::line(&format!("report: {}", recipe.report.out.join("report.html").display()));
    }
    Ok(())
}

fn unknown_step(name: &str) -> Error {
    let names: Vec<&str> = Step::ALL.into_iter().map(Step::name).collect();
    let near =
        text::nearest(name, names.iter().copied()).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    Error::Usage(format!("unknown step `{name}`; allowed: {}{near}", names.join(", ")))
}
