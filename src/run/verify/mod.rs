//! `birdaug verify`: proves a build again from its lock. The exact parts are compared (plan, records, selection, tree),
//! and a few candidates are made again from nothing. Changes nothing that a build wrote.

mod records;
mod remake;
mod tree;

use crate::error::Result;
use crate::nn::device;
use crate::plan::Step;
use crate::recipe::Recipe;
use crate::store::Store;
use crate::text;

use super::lock::{self, Lock, Machine};
use super::progress::Progress;
use super::session::{Mode, Session};
use super::survey::{self, Survey};
use super::{Options, choose, model};

/// Findings kept a part; the rest are counted.
const KEPT: usize = 20;

/// How much is asked for.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// As [`Options::device`].
    pub device: String,
    /// Candidates to make again.
    pub sample: usize,
    /// A generator that is not in the cache is fitted again.
    pub deep: bool,
}

/// The promise that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Plan, keys, selection from stored scores, tree from cached images: no image was made again.
    E0,
    /// Images made again on the lock's device class and libtorch: equal bit by bit, or a finding.
    E1,
    /// Images made again elsewhere: a measured distance.
    E2,
}

impl Level {
    /// `E0`, `E1` or `E2`.
    pub fn name(self) -> &'static str {
        ["E0", "E1", "E2"][self as usize]
    }
}

/// One part of the promise and what came of it.
#[derive(Debug, Clone)]
pub struct Part {
    pub name: &'static str,
    /// How many facts, files or images were compared.
    pub checked: usize,
    /// What differs, a sentence each.
    pub findings: Vec<String>,
    /// Findings beyond those.
    pub more: usize,
    /// What could not be compared, and why.
    pub notes: Vec<String>,
}

impl Part {
    fn new(name: &'static str) -> Part {
        Part { name, checked: 0, findings: Vec::new(), more: 0, notes: Vec::new() }
    }

    fn find(&mut self, finding: String) {
        if self.findings.len() < KEPT { self.findings.push(finding) } else { self.more += 1 }
    }

    /// `holds`, `differs` or `not checked`.
    pub fn state(&self) -> &'static str {
        match (self.findings.is_empty(), self.checked) {
            (false, _) => "differs",
            (true, 0) => "not checked",
            (true, _) => "holds",
        }
    }
}

/// How far images are from those of the lock.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distance {
    /// Largest relative L2 of an image's pixels.
    pub relative_l2: f64,
    /// Smallest SSIM of an image.
    pub ssim: f64,
}

/// What was proven and what was not.
#[derive(Debug, Clone)]
pub struct Verified {
    pub level: Level,
    /// Candidates made again, and how many of them are the lock's bit by bit.
    pub checked: usize,
    pub equal: usize,
    /// `None` where nothing was made again, or no image of the lock is here to compare pixels with.
    pub distance: Option<Distance>,
    /// Where this was run.
    pub here: Machine,
    /// Where the sampled candidates were made.
    pub there: Vec<Machine>,
    pub parts: Vec<Part>,
}

impl Verified {
    /// Whether everything that was compared is as the lock says.
    pub fn holds(&self) -> bool {
        self.parts.iter().all(|part| part.findings.is_empty())
    }
}

/// Compares what is here with the recipe's lock.
///
/// # Errors
/// [`crate::error::Error::Differs`] if there is no lock; whatever stops the comparison itself. What differs is a finding.
pub fn verify(recipe: &Recipe, store: &Store, progress: &Progress, options: &VerifyOptions) -> Result<Verified> {
    let lock = Lock::required(&lock::path(recipe))?;
    // A proof believes no file's times.
    let walk = Options { device: options.device.clone(), rehash: true, ..Options::default() };
    let device = device::select(&options.device)?;
    let mut session = Session::new(recipe, store, progress, Mode::Plan, device, &walk)?;
    let survey = survey::survey(&mut session)?;
    let mut parts = vec![plan(&session, &survey, &lock)?];
    let planned = parts[0].findings.is_empty();
    parts.push(records::check(&session, &lock)?);
    parts.push(selection(&mut session, &survey, &lock, planned)?);
    session.report_damage();
    let tree = tree::Emitted::read(recipe)?;
    parts.push(tree::check(&session, &survey, &lock, tree.as_ref())?);
    let made = remake::check(&session, &survey, &lock, tree.as_ref(), options)?;
    parts.push(made.part);
    Ok(Verified {
        level: made.level,
        checked: made.checked,
        equal: made.equal,
        distance: made.distance,
        here: made.here,
        there: made.there,
        parts,
    })
}

/// Photos, settings and keys, all worked out again.
fn plan(session: &Session<'_>, survey: &Survey, lock: &Lock) -> Result<Part> {
    let mut part = Part::new("plan");
    part.checked = lock.dataset.len() + lock.weights.len() + lock.candidates().count();
    for change in lock::begin_changes(session, survey, lock)? {
        part.find(format!("{} (lock -> here)", change));
    }
    Ok(part)
}

/// Verdicts, reached again from the scores in the cache.
fn selection(session: &mut Session<'_>, survey: &Survey, lock: &Lock, planned: bool) -> Result<Part> {
    let mut part = Part::new("selection");
    if !planned {
        part.notes.push("the plan differs, so other candidates would be judged".to_string());
        return Ok(part);
    }
    if survey.wanted.iter().all(|&n| n == 0) {
        part.notes.push("no species wants synthetic images".to_string());
        return Ok(part);
    }
    let baseline = model::baseline(session, survey)?;
    let found = match model::generator(session, survey)? {
        Some(generator) => choose::choose(session, survey, &generator, baseline.as_ref(), Step::Select)?,
        None => None,
    };
    let Some(selection) = found else {
        part.notes.push("not all scores are in the cache".to_string());
        return Ok(part);
    };
    part.checked = selection.candidates.len() + selection.more.len();
    for change in lock::selection_changes(session, survey, lock, &selection) {
        part.find(format!("{} (lock -> here)", change));
    }
    let kept = selection.kept().count();
    part.notes.push(format!("{} of {} kept", text::thousands(kept), text::count(part.checked, "candidate")));
    Ok(part)
}
