//! Recipes: read, checked and filled with defaults; every problem of one in one message. Knows TOML, nothing
//! of images or tensors, and touches no file but the recipe itself.
//!
//! [`load`] reads a file, [`parse`] a text. Both refuse unknown tables and keys, wrong types and impossible
//! values, all at once, as [`Error::Recipe`]: ready to print, with file, line, column and marker for each.

mod arms;
mod classifier;
mod generator;
mod names;
mod outputs;
mod problem;
mod read;
mod schema;
mod syntax;
mod tables;
mod template;
mod types;
mod values;
mod warn;
mod within;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use names::Spelled;
pub use problem::{Problem, render};
pub use template::{MeasuredLikeness, TemplateFacts, template};
pub use types::*;
pub use warn::warnings;

use crate::error::{Error, IoContext, Result};

/// Reads and checks the recipe at `path`.
///
/// [`Error::Io`] if it cannot be read; [`Error::Recipe`] with every problem, rendered plainly, if it is wrong.
pub fn load(path: &Path) -> Result<Recipe> {
    load_in(path, false)
}

/// As [`load`]; with `colour`, the problems carry ANSI codes.
pub fn load_in(path: &Path, colour: bool) -> Result<Recipe> {
    let bytes = std::fs::read(path).doing("read", path)?;
    let text = match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(wrong) => {
            let at = wrong.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(wrong.as_bytes()).into_owned();
            let problem = Problem::new(at..at + '\u{fffd}'.len_utf8(), "the recipe is not UTF-8 text", "no character")
                .help("save it as UTF-8");
            return Err(Error::Recipe(render(path, &text, &[problem], colour)));
        }
    };
    check(&text, path).map_err(|problems| Error::Recipe(render(path, &text, &problems, colour)))
}

/// Checks the recipe `text`; `path` names it in messages and gives it its name.
///
/// [`Error::Recipe`] with every problem, rendered plainly, if it is wrong.
pub fn parse(text: &str, path: &Path) -> Result<Recipe> {
    check(text, path).map_err(|problems| Error::Recipe(render(path, text, &problems, false)))
}

/// As [`parse`], with the problems as data, in no particular order.
pub fn check(text: &str, path: &Path) -> Result<Recipe, Vec<Problem>> {
    let syntax::Mended { text: readable, mut problems, broken } = syntax::mend(text);
    let (document, twice) = syntax::read(&readable);
    let reader = read::Reader::new(text, broken);
    twice.into_iter().for_each(|problem| reader.report(problem));
    let parts = tables::recipe(&read::Section::root(&reader, &document), &name_of(path));
    let (found, lines) = reader.finish();
    problems.extend(found);
    match parts {
        Some(recipe) if problems.is_empty() => {
            Ok(Recipe { path: path.to_path_buf(), lines, text: text.to_string(), ..recipe })
        }
        _ => Err(problems),
    }
}

/// The name of the recipe at `path`: the stem of its file.
fn name_of(path: &Path) -> String {
    path.file_stem().map_or_else(|| "recipe".to_string(), |stem| stem.to_string_lossy().into_owned())
}

impl Filter {
    /// Whether any threshold may drop a candidate.
    pub fn may_drop(&self) -> bool {
        let thresholds = [
            self.ssim_max,
            self.ssim_min,
            self.held_out_max,
            self.copy_max,
            self.duplicate_max,
            self.confidence_min,
            self.realism_min,
            self.fid_max,
            self.kid_max,
            self.species_kid_max,
        ];
        thresholds.iter().any(Option::is_some)
    }
}

impl Recipe {
    /// What the recipe says without how and where it says it: equal for recipes that differ in comments or order.
    pub fn meaning(&self) -> Recipe {
        Recipe { lines: Default::default(), text: String::new(), ..self.clone() }
    }

    /// The line, counted from 1, where the recipe says the key with these parts; `None` if it leaves it to the
    /// default.
    pub fn line(&self, parts: &[&str]) -> Option<usize> {
        self.lines.get(&parts.join(".")).copied()
    }
}
