//! What a recipe may say and this version cannot carry out. Knows the types, nothing of why.

use super::problem::{Problem, render};
use super::types::{Arm, Recipe};
use crate::error::{Error, Result};

/// Something that a recipe asks for and that cannot be built yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unbuilt {
    /// Dotted key, as in [`Recipe::lines`].
    pub key: String,
    /// The line that asks for it, from 1; `None` if it is a default.
    pub line: Option<usize>,
    /// What cannot be built, in words: "fine-tuning with LoRA".
    pub what: String,
}

/// Everything the recipe asks for that `build` cannot do yet; `plan` can plan it all the same.
pub fn not_built_yet(recipe: &Recipe) -> Vec<Unbuilt> {
    let mut asked: Vec<(&str, String)> = Vec::new();
    if recipe.compare.arms.contains(&Arm::RealRandAugment) {
        asked.push(("compare.arms", format!("the arm `{}`", Arm::RealRandAugment)));
    }
    asked
        .into_iter()
        .map(|(key, what)| Unbuilt { key: key.to_string(), line: recipe.lines.get(key).copied(), what })
        .collect()
}

/// [`Error::Recipe`] with everything of [`not_built_yet`], marked where the recipe asks for it.
pub fn refuse_unbuilt(recipe: &Recipe) -> Result<()> {
    refuse_unbuilt_in(recipe, false)
}

/// As [`refuse_unbuilt`]; with `colour`, the message carries ANSI codes.
pub fn refuse_unbuilt_in(recipe: &Recipe, colour: bool) -> Result<()> {
    let problems: Vec<Problem> = not_built_yet(recipe)
        .into_iter()
        .map(|unbuilt| {
            let last = unbuilt.key.rsplit('.').next().unwrap_or_default();
            let line_start = unbuilt.line.map_or(0, |line| start_of_line(&recipe.text, line));
            let at = recipe.text[line_start..].find(last).map_or(line_start, |n| line_start + n);
            Problem::new(at..at + last.len(), format!("not built yet: {}", unbuilt.what), "asked for here")
                .help("`birdaug plan` can plan it; `build` cannot carry it out in this version")
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(Error::Recipe(render(&recipe.path, &recipe.text, &problems, colour))) }
}

fn start_of_line(text: &str, line: usize) -> usize {
    text.split_inclusive('\n').take(line - 1).map(str::len).sum()
}
