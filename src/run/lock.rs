//! `recipes/NAME.lock`: what a finished build rested on and what it made, as text that is stable under version control.
//!
//! Sorted, a fact a line, no times, no paths of this machine: two builds of one recipe on one kind of machine write the
//! same bytes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::{IoContext, Result};
use crate::nn::device;
use crate::plan::{ENGINE, Key};
use crate::recipe::Recipe;
use crate::store;

use super::selection::Selection;
use super::session::Session;
use super::survey::Survey;

/// The lock beside a recipe.
pub fn path(recipe: &Recipe) -> PathBuf {
    recipe.path.with_extension("lock")
}

/// Writes the lock of a finished build, if it says something new.
pub fn write(session: &Session<'_>, survey: &Survey, selection: &Selection) -> Result<()> {
    let path = path(session.recipe);
    let text = text(session, survey, selection);
    match std::fs::read_to_string(&path) {
        Ok(old) if old == text => return Ok(()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).doing("read", &path),
        _ => {}
    }
    store::write_atomically(&path, text.as_bytes())
}

fn text(session: &Session<'_>, survey: &Survey, selection: &Selection) -> String {
    let mut out = String::from("# Written by `birdaug build`; belongs beside the recipe.\n");
    let quoted = |text: &str| format!("{:?}", text);
    out.push_str(&format!("birdaug = {}\n", quoted(ENGINE)));
    out.push_str(&format!("libtorch = {}\n", quoted(device::LIBTORCH)));
    out.push_str(&format!("device = {}\n", quoted(&device::class(session.device))));
    out.push_str("\n[photos]\n");
    for (name, list) in [("test", &survey.test_list), ("train", &survey.train_list), ("valid", &survey.valid_list)] {
        out.push_str(&format!("{name} = \"{} {}\"\n", Key(list.digest()).hex(), list.len));
    }
    out.push_str("\n# What was fitted: key of its inputs, then digest of its weights.\n[models]\n");
    for (slot, key) in session.slots() {
        let weights = Key::from_hex(key).and_then(|key| session.store.record(&key.0)?.blob("weights"));
        if let Some(weights) = weights {
            out.push_str(&format!("{} = \"{key} {}\"\n", quoted(slot), Key(weights).hex()));
        }
    }
    out.push_str("\n# Every candidate that was looked at: key, then digest of its image.\n");
    let mut species: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for candidate in &selection.candidates {
        let name = survey.dataset.species[candidate.species].as_str();
        let kept = if candidate.verdict.keeps() { "keep" } else { "drop" };
        species.entry(name).or_default().push(format!(
            "  \"{} {} {kept}\",\n",
            candidate.key.hex(),
            Key(candidate.image).hex()
        ));
    }
    out.push_str("[candidates]\n");
    for (name, mut lines) in species {
        lines.sort_unstable();
        out.push_str(&format!("{} = [\n{}]\n", quoted(name), lines.concat()));
    }
    out
}
