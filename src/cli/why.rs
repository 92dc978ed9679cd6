//! `birdaug why RECIPE [WHAT]`, `birdaug why PATH`.

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::args::{Global, Why};
use super::{opened, terminal};
use crate::error::{Error, Result};
use crate::plan::Step;
use crate::recipe::{self, Recipe};
use crate::run::why::{self, FileStory, RecordStory, SpeciesStory};
use crate::run::{self, Options, Progress};
use crate::store::Store;
use crate::text;

/// Digits of a key that people see.
const SHORT: usize = 12;

/// Finds what was asked for, and says why it is as it is.
pub fn run(options: &Why, global: &Global) -> Result<()> {
    let store = opened::store(global)?;
    let Some(what) = &options.what else {
        if options.recipe.extension().is_none_or(|ending| ending != "toml") && why::tree_of(&options.recipe).is_some() {
            return show(options, &why::file(&store, &options.recipe)?, file_text);
        }
        return steps(&load(options, global)?, &store, options, &Step::ALL);
    };
    if let Some(step) = Step::ALL.into_iter().find(|step| step.name() == what) {
        return steps(&load(options, global)?, &store, options, &[step]);
    }
    if let Some(name) = what.strip_prefix("species:") {
        return show(options, &why::species(&load(options, global)?, &store, name)?, species_text);
    }
    if let Some(prefix) = what.strip_prefix("key:") {
        return show(options, &why::keys(&store, prefix)?, |found| keys_text(found));
    }
    let recipe = load(options, global)?;
    let given = Path::new(what);
    let path = if given.exists() { given.to_path_buf() } else { recipe.emit.out.join(given) };
    if !path.exists() {
        return Err(Error::Usage(format!(
            "`{what}` is no file, here or in `{}`; allowed: a file of the emitted tree, `species:NAME`, `key:PREFIX`, or one of {}",
            recipe.emit.out.display(),
            Step::ALL.map(Step::name).join(", ")
        )));
    }
    show(options, &why::file(&store, &path)?, file_text)
}

fn load(options: &Why, global: &Global) -> Result<Recipe> {
    recipe::load_in(&options.recipe, terminal::colour(global.color))
}

fn show<T: Serialize>(options: &Why, story: &T, as_text: impl Fn(&T) -> String) -> Result<()> {
    if options.json {
        terminal::json(&serde_json::to_value(story).map_err(|error| Error::input(error.to_string()))?);
    } else {
        terminal::print(&as_text(story));
    }
    Ok(())
}

/// Names, for each of these steps that is stale, every reason.
fn steps(recipe: &Recipe, store: &Store, options: &Why, asked: &[Step]) -> Result<()> {
    let walked = run::plan(recipe, store, &Progress::new(true), &Options::default())?;
    let steps: Vec<_> = asked.iter().map(|&step| (step, walked.ledger.state(step))).collect();
    if options.json {
        let steps: Vec<_> = steps
            .iter()
            .map(|(step, state)| {
                json!({
                    "name": step.name(),
                    "state": state.name(),
                    "why": state.reasons(),
                    "causes": walked.ledger.causes(*step),
                })
            })
            .collect();
        terminal::json(&json!({ "steps": steps }));
        return Ok(());
    }
    if !steps.iter().any(|(_, state)| state.is_stale()) {
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

fn species_text(story: &SpeciesStory) -> String {
    let number = |n: usize| text::thousands(n);
    let unknown = || "not known before what is due is done".to_string();
    let mut rows = vec![
        ("real photos", number(story.real)),
        ("wanted", number(story.wanted)),
        ("cached", number(story.cached)),
        ("to make", number(story.to_make)),
        ("looked at", story.looked_at.map_or_else(unknown, number)),
        ("kept", story.kept.map_or_else(unknown, number)),
    ];
    rows.extend(story.dropped.iter().map(|(reason, &n)| ("dropped", format!("{} by {reason}", number(n)))));
    if let Some((looked_at, kept)) = story.in_lock {
        rows.push(("lock", format!("{} looked at, {} kept", number(looked_at), number(kept))));
    }
    let mut out = format!("{}\n", story.name);
    for (name, value) in rows {
        out.push_str(&format!("  {name:<12} {value}\n"));
    }
    for due in &story.due {
        out.push_str(&format!("  due          {due}\n"));
    }
    out
}

fn keys_text(found: &[RecordStory]) -> String {
    if let [one] = found {
        return record_text(one);
    }
    let mut out = format!("{} begin so:\n", text::count(found.len(), "record"));
    for record in found {
        out.push_str(&format!("  {}  {}\n", record.key, record.kind));
    }
    out
}

fn record_text(record: &RecordStory) -> String {
    let mut out = format!("{} (version {}) {}\n", record.kind, record.version, record.key);
    for (name, value) in &record.fields {
        out.push_str(&format!("  {name:<28} {value}\n"));
    }
    for (name, digest, there) in &record.outputs {
        let gone = if *there { "" } else { " (not in the cache)" };
        out.push_str(&format!("  output {name:<21} {digest}{gone}\n"));
    }
    if !record.inline.is_empty() {
        out.push_str(&format!("  kept inline                  {}\n", record.inline));
    }
    for (name, value) in &record.notes {
        out.push_str(&format!("  note {name:<23} {value}\n"));
    }
    out
}

fn file_text(story: &FileStory) -> String {
    let mut out = format!("{}\n", story.path);
    if story.changed {
        out.push_str("  the file was changed since it was written\n");
    }
    for name in MANIFEST {
        if let Some(value) = story.manifest.get(name) {
            out.push_str(&format!("  {name:<16} {value}\n"));
        }
    }
    match &story.candidate {
        Some(record) => out.push_str(&format!("made by {}", record_text(record))),
        None if story.manifest.contains_key("key") => out.push_str("its key is not in this cache\n"),
        None => {}
    }
    if let Some(generator) = &story.generator {
        out.push_str(&format!("with weights of {}", record_text(generator)));
    }
    if !story.species_verdicts.is_empty() {
        let list: Vec<String> =
            story.species_verdicts.iter().map(|(verdict, n)| format!("{} {verdict}", text::thousands(*n))).collect();
        out.push_str(&format!("candidates of the species: {}\n", list.join(", ")));
    }
    if !story.siblings.is_empty() {
        out.push_str("from the same photo:\n");
        for sibling in &story.siblings {
            out.push_str(&format!("  {}  seed {}  {}\n", &sibling.key[..SHORT], sibling.seed, sibling.verdict));
        }
    }
    out
}

/// Columns of the manifest in the order in which they are told.
const MANIFEST: [&str; 20] = [
    "origin",
    "species",
    "split",
    "digest",
    "key",
    "source",
    "seed",
    "prompt",
    "ssim",
    "nearest",
    "source_ssim",
    "confidence",
    "named",
    "held_out_ssim",
    "nearest_held_out",
    "likeness",
    "nearest_alike",
    "realism",
    "frechet_share",
    "verdict",
];
