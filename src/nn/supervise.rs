//! What a training loop tells its caller and asks of it. Knows nothing of progress bars, files or caches.

use crate::error::Result;

/// The caller's side of a long fit.
pub trait Supervisor {
    /// Called after every optimiser step with the number of steps done so far and that step's loss.
    fn step(&mut self, done: usize, total: usize, loss: f64);

    /// The state handed to [`Supervisor::save`] by an earlier, unfinished run of this same fit.
    fn saved(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// Whether the loop should hand its state to [`Supervisor::save`] now; asked after each step.
    fn wants_save(&mut self) -> bool {
        false
    }

    /// Keeps the loop's whole state, enough to go on bit for bit.
    fn save(&mut self, _state: &[u8]) -> Result<()> {
        Ok(())
    }

    /// Where the states are that were handed to [`Supervisor::save`], in words for a message.
    fn place(&self) -> Option<String> {
        None
    }

    /// Whether to stop now; the loop then saves and returns [`crate::error::Error::Interrupted`].
    fn stopping(&self) -> bool {
        false
    }
}

/// Watches nothing and never stops.
pub struct Unsupervised;

impl Supervisor for Unsupervised {
    fn step(&mut self, _done: usize, _total: usize, _loss: f64) {}
}
