//! Carries a plan out: looks up, makes what is missing, records it. `build` and `plan` are the same walk through the
//! steps; a plan makes nothing.

mod arms;
mod audit;
mod base;
mod changes;
mod choose;
mod doctor;
mod emit;
mod estimate;
mod explain;
mod fine_tune;
mod finished;
mod fitting;
mod gate;
pub mod gc;
#[cfg(test)]
mod gc_tests;
pub mod generate;
pub mod inception;
pub mod inventory;
mod ledger;
pub mod likeness;
pub mod lock;
pub mod locks;
mod make;
mod manifest;
pub mod metrics;
mod model;
mod offline;
mod photos;
mod power;
mod predict;
mod progress;
mod realism;
mod results;
mod saved;
mod score;
mod selection;
mod session;
mod shard;
mod sheet;
mod stop;
mod survey;
mod tensorboard;
mod tree;
mod twins;
mod verify;
pub mod why;

use std::path::PathBuf;

use crate::error::Result;
use crate::nn::device;
use crate::plan::Step;
use crate::recipe::Recipe;
use crate::store::Store;

pub use doctor::{Health, health};
pub use estimate::{COSTLY, Cost, Estimate, estimate};
pub use ledger::{Ledger, SpeciesDue};
pub use power::Power;
pub use predict::{Answer, predict};
pub use progress::{Progress, Style};
pub use session::Mode;
pub use shard::Shard;
pub use stop::listen;
pub use survey::scan_options;
pub use verify::{Level as VerifyLevel, Verified, VerifyOptions, verify};

use session::Session;

/// What a walk through the steps found or did.
pub struct Walked {
    pub ledger: Ledger,
    /// What the comparisons can show, where the walk came as far as the test images.
    pub power: Option<Power>,
    /// The verdict in words, once there is one.
    pub headline: Option<String>,
    /// Whole sentences for the person: shortfalls, photos left out.
    pub notes: Vec<String>,
}

impl Walked {
    /// A walk that found nothing to do.
    fn nothing_due(
        species: Vec<SpeciesDue>,
        power: Option<Power>,
        headline: Option<String>,
        notes: Vec<String>,
    ) -> Walked {
        let mut ledger = Ledger::default();
        ledger.species = species;
        Walked { ledger, power, headline, notes }
    }
}

/// How a walk is to be done; what the recipe says nothing of.
#[derive(Debug, Clone)]
pub struct Options {
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// The last step.
    pub until: Step,
    /// Read every photo and every file of the tree again, whatever their times say.
    pub rehash: bool,
    /// Whatever would change the lock is refused.
    pub locked: bool,
    /// Nothing is generated or fitted; what rests on what is there already is still written.
    pub offline: bool,
    /// Only this part of the candidates, and nothing else.
    pub shard: Option<Shard>,
    /// Where training curves are written as event files.
    pub tensorboard: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            device: "auto".to_string(),
            until: Step::Report,
            rehash: false,
            locked: false,
            offline: false,
            shard: None,
            tensorboard: None,
        }
    }
}

/// Does everything that is due, up to and including the last step asked for.
///
/// # Errors
/// Whatever stops a step; everything finished before is kept.
pub fn build(recipe: &Recipe, store: &Store, progress: &Progress, options: &Options) -> Result<Walked> {
    if options.offline {
        offline::refuse(&plan(recipe, store, progress, options)?, options.until)?;
    }
    walk(recipe, store, progress, Mode::Build, options)
}

/// What [`build`] would do.
pub fn plan(recipe: &Recipe, store: &Store, progress: &Progress, options: &Options) -> Result<Walked> {
    // A plan computes nothing, so that it needs no accelerator.
    walk(recipe, store, progress, Mode::Plan, &Options { device: "cpu".to_string(), ..options.clone() })
}

/// Bounds the threads of everything that computes.
pub fn limit_threads(jobs: u16) {
    tch::set_num_threads(i32::from(jobs));
    // Refused only if the pool is in use already; then it keeps its size.
    let _ = rayon::ThreadPoolBuilder::new().num_threads(usize::from(jobs)).build_global();
}

fn walk(recipe: &Recipe, store: &Store, progress: &Progress, mode: Mode, options: &Options) -> Result<Walked> {
    let look = match finished::ask(recipe, store, options)? {
        finished::Asked::Nothing(walked) => {
            if mode == Mode::Build {
                store.touch_uses(&session::use_name(&recipe.path))?;
            }
            return Ok(walked);
        }
        finished::Asked::Walk(look) => look,
    };
    let device = device::select(&options.device)?;
    // Held against `cache gc`, which must not take what a build has just found.
    let _held = (mode == Mode::Build).then(|| store.hold()).transpose()?;
    if options.until > Step::Scan {
        store.load()?;
    }
    let mut session = Session::new(recipe, store, progress, mode, device, options)?;
    session.look = look;
    session.report_damage();
    let outcome = steps(&mut session);
    session.report_damage();
    if mode == Mode::Build {
        // What was finished before an error or Ctrl-C explains the next plan too.
        session.remember()?;
    }
    let (headline, mut notes) = outcome?;
    if options.until == Step::Report && (mode == Mode::Build || !session.ledger.any_due()) {
        if mode == Mode::Build {
            session.note_uses()?;
        }
        finished::remember(&session, &notes)?;
    }
    if let (Mode::Plan, Some(dataset)) = (mode, &session.dataset) {
        // A build warns before it begins; no later report says it again.
        notes.extend(survey::renamed(&session, dataset));
    }
    Ok(Walked { power: session.power, ledger: session.ledger, headline, notes })
}

type Said = (Option<String>, Vec<String>);

fn steps(session: &mut Session<'_>) -> Result<Said> {
    let until = session.options.until;
    if let Some(shard) = session.options.shard {
        return Ok((None, shard::build(session, shard)?));
    }
    if until == Step::Scan {
        survey::scan(session)?;
        return Ok((None, Vec::new()));
    }
    let mut notes = Vec::new();
    let survey = survey::survey(session)?;
    notes.extend(survey.notes());
    if session.mode == Mode::Build
        && let Some(renamed) = survey::renamed(session, &survey.dataset)
    {
        session.progress.warn(&renamed);
    }
    lock::begin(session, &survey)?;
    session.note("recipe", &explain::settings(session.recipe))?;
    if until <= Step::Split {
        return Ok((None, notes));
    }
    session.power = power::foresee(session.recipe, &survey)?;
    model::refuse_unusable(session)?;
    model::refuse_unfit(session, &survey)?;
    let nothing_wanted = survey.wanted.iter().all(|&n| n == 0);
    let baseline = model::baseline(session, &survey)?;
    if until == Step::Baseline {
        return Ok((None, notes));
    }
    let selection = if nothing_wanted {
        notes.push("no species wants synthetic images: every one has reached the target".to_string());
        Some(selection::Selection::default())
    } else {
        let generator = model::generator(session, &survey)?;
        if until == Step::Generator {
            return Ok((None, notes));
        }
        match &generator {
            Some(generator) => choose::choose(session, &survey, generator, baseline.as_ref(), until)?,
            None => None,
        }
    };
    let (Some(selection), Some(baseline)) = (selection, baseline) else {
        wait(session, &survey)?;
        return Ok((None, notes));
    };
    lock::refuse_selection(session, &survey, &selection)?;
    notes.extend(selection.shortfalls(&survey));
    notes.extend(gate::notes(&survey, &selection.gates));
    if until <= Step::Select {
        return Ok((None, notes));
    }
    let Some(synthetic) = emit::encode(session, &survey, &selection)? else {
        wait(session, &survey)?;
        return Ok((None, notes));
    };
    let figures = gate::figures(session, &survey, &baseline, &selection.candidates)?;
    emit::emit(session, &survey, &selection, &synthetic, figures.as_ref())?;
    if until == Step::Emit {
        return Ok((None, notes));
    }
    let mut each = |session: &mut Session<'_>, arms: &[arms::ArmRuns]| match &figures {
        Some(figures) => {
            let (survey, selection, baseline) = (&survey, &selection, &baseline);
            results::so_far(session, &results::Found { survey, selection, baseline, figures, arms }, &notes)
        }
        None => Ok(()),
    };
    let arms = arms::arms(session, &survey, &synthetic, &mut each)?;
    let (Some(arms), Some(figures)) = (arms, figures) else {
        wait(session, &survey)?;
        return Ok((None, notes));
    };
    if until == Step::Arms {
        return Ok((None, notes));
    }
    let found =
        results::Found { survey: &survey, selection: &selection, baseline: &baseline, figures: &figures, arms: &arms };
    let headline = results::report(session, &found, &notes)?;
    if until == Step::Report {
        lock::finish(session, &survey, &selection)?;
    }
    Ok((headline, notes))
}

/// Steps behind one that is due cannot be looked into; what they are likely to cost is noted all the same.
fn wait(session: &mut Session<'_>, survey: &survey::Survey) -> Result<()> {
    session.ledger.wait(session.options.until);
    if session.mode == Mode::Plan { estimate::forecast(session, survey) } else { Ok(()) }
}
