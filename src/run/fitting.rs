//! The caller's side of a fit: progress, checkpoints in the cache, Ctrl-C. Knows nothing of what is fitted.

use std::time::{Duration, Instant};

use crate::error::Result;
use crate::nn::supervise::Supervisor;
use crate::plan::Key;
use crate::store::Store;

use super::progress::{Progress, Task};
use super::stop;

/// How often a fit's state is kept while it runs, unless something else is said; a `kill -9` loses at most so much of it.
const SAVE_EVERY: Duration = Duration::from_secs(60);

/// Watches one fit.
pub struct Fitting<'a> {
    store: &'a Store,
    key: Key,
    task: Task<'a>,
    saved: Instant,
    resumed: bool,
    every: Duration,
}

impl<'a> Fitting<'a> {
    /// A fit of `total` steps that is called `name` on the screen.
    pub fn new(store: &'a Store, progress: &'a Progress, key: Key, name: &str, total: usize) -> Fitting<'a> {
        let task = progress.task(name, total, "step");
        Fitting { store, key, task, saved: Instant::now(), resumed: false, every: SAVE_EVERY }
    }

    /// Keeps the state every so many minutes.
    pub fn every(mut self, minutes: f64) -> Fitting<'a> {
        self.every = Duration::try_from_secs_f64(60.0 * minutes).unwrap_or(Duration::MAX);
        self
    }

    /// The fit is over: its unfinished state is no longer needed.
    pub fn finish(self) -> Result<()> {
        self.task.finish();
        self.store.drop_unfinished(&self.key.0)
    }
}

impl Supervisor for Fitting<'_> {
    fn step(&mut self, done: usize, _total: usize, loss: f64) {
        if self.resumed {
            self.resumed = false;
            self.task.resume(done.saturating_sub(1));
        }
        self.task.set(done, &format!("loss {loss:.3}"));
    }

    fn saved(&mut self) -> Option<Vec<u8>> {
        // A state that cannot be read costs time, not correctness: the fit starts from its beginning.
        let state = self.store.unfinished(&self.key.0).ok().flatten();
        self.resumed = state.is_some();
        state
    }

    fn wants_save(&mut self) -> bool {
        self.saved.elapsed() >= self.every
    }

    fn save(&mut self, state: &[u8]) -> Result<()> {
        self.saved = Instant::now();
        self.store.keep_unfinished(&self.key.0, state)
    }

    fn place(&self) -> Option<String> {
        Some(format!("`{}`", self.store.unfinished_path(&self.key.0).display()))
    }

    fn stopping(&self) -> bool {
        stop::requested()
    }
}
