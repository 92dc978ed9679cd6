//! The cache against the lock: each fit and each candidate is there with the lock's bytes, or is said to be absent.

use rayon::prelude::*;

use crate::dataset::digest;
use crate::error::Result;
use crate::plan::Key;
use crate::plan::inputs::Digest;
use crate::run::lock::Lock;
use crate::run::session::Session;
use crate::text;

use super::Part;

/// What is behind a key.
enum State {
    Whole,
    Absent,
    Wrong(String),
}

/// Reads every blob that the lock names.
pub fn check(session: &Session<'_>, lock: &Lock) -> Result<Part> {
    let mut part = Part::new("records");
    let mut named: Vec<(String, Key, &'static str, Digest)> = lock
        .models
        .iter()
        .map(|(name, fitted)| (format!("model {name}"), fitted.key, "weights", fitted.weights))
        .collect();
    let models = named.len();
    named.extend(lock.candidates().map(|candidate| {
        let name = format!("candidate {} of {}", candidate.key.short(), candidate.species);
        (name, candidate.key, "image", candidate.image.digest)
    }));
    session.store.load()?;
    let states: Vec<State> =
        named.par_iter().map(|(_, key, blob, wanted)| look(session, key, blob, wanted)).collect::<Result<_>>()?;
    let mut absent = [0; 2];
    for (i, state) in states.into_iter().enumerate() {
        match state {
            State::Whole => part.checked += 1,
            State::Absent => absent[usize::from(i >= models)] += 1,
            State::Wrong(what) => part.find(format!("{}: {what}", named[i].0)),
        }
    }
    for (n, what) in [(absent[0], "model"), (absent[1], "candidate")] {
        if n > 0 {
            part.notes.push(format!("{} of the lock not in the cache", text::count(n, what)));
        }
    }
    Ok(part)
}

fn look(session: &Session<'_>, key: &Key, blob: &str, wanted: &Digest) -> Result<State> {
    let Some(record) = session.store.record(&key.0) else { return Ok(State::Absent) };
    match record.blob(blob) {
        Some(found) if found == *wanted => {}
        found => {
            let found = found.map_or("nothing".to_string(), |found| Key(found).short());
            return Ok(State::Wrong(format!("the cache has {found}, the lock {}", Key(*wanted).short())));
        }
    }
    let path = session.store.blob_path(wanted);
    if !path.exists() {
        return Ok(State::Absent);
    }
    if digest::of_file(&path)? != *wanted {
        return Ok(State::Wrong(format!("`{}` is damaged", path.display())));
    }
    Ok(State::Whole)
}
