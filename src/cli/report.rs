//! `birdaug report RECIPE`.

use super::args::{Global, Report};
use super::{opened, terminal};
use crate::error::{Error, Result};
use crate::plan::Step;
use crate::recipe;
use crate::run::{self, Options, Progress};

/// Writes the report again; refuses where images or trainings would have to be made for it.
pub fn run(options: &Report, global: &Global) -> Result<()> {
    let recipe = recipe::load_in(&options.recipe, terminal::colour(global.color))?;
    let store = opened::store(global)?;
    let quiet = Progress::new(true);
    let planned = run::plan(&recipe, &store, &quiet, &Options::default())?;
    let due: Vec<&str> = Step::ALL
        .into_iter()
        .filter(|&step| step < Step::Compare && step != Step::Emit && planned.ledger.state(step).is_stale())
        .map(Step::name)
        .collect();
    if !due.is_empty() {
        return Err(Error::Differs(format!(
            "the results are not complete: {} due; `birdaug build {}` makes them",
            due.join(", "),
            options.recipe.display()
        )));
    }
    let report = recipe.report.out.join("report.html");
    // The step is done afresh, whatever is there.
    if let Err(error) = std::fs::remove_file(&report)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(Error::Io { doing: "replace", path: report, source: error });
    }
    let options = Options { device: global.device.clone(), ..Options::default() };
    let walked = run::build(&recipe, &store, &quiet, &options)?;
    if !global.quiet {
        if let Some(headline) = walked.headline {
            terminal::line(&headline);
        }
        terminal::line(&format!("report: {}", report.display()));
    }
    Ok(())
}
