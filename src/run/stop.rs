//! Ctrl-C as a question that long work asks between two pieces of it. Knows nothing of what the work is.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

static REQUESTED: AtomicBool = AtomicBool::new(false);

/// Turns the first Ctrl-C (or SIGTERM) into a request to stop, and the second into an immediate end.
pub fn listen() {
    // A second handler is refused where one is set already, as in tests: the first goes on working.
    let _ = ctrlc::set_handler(|| {
        if REQUESTED.swap(true, Ordering::SeqCst) {
            // Not `exit`, which takes libtorch down under threads that still compute.
            // SAFETY: ends the process; nothing of it runs afterwards.
            unsafe { libc::_exit(130) };
        }
        super::progress::stopping();
    });
}

/// Whether stopping was asked for.
pub fn requested() -> bool {
    REQUESTED.load(Ordering::SeqCst)
}

/// [`Error::Interrupted`] once stopping was asked for.
pub fn check() -> Result<()> {
    if requested() { Err(Error::Interrupted) } else { Ok(()) }
}
