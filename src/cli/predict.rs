//! `birdaug predict MODEL IMAGES...`.

use serde_json::{Value, json};

use super::args::{Global, Predict};
use super::terminal;
use crate::error::{Error, Result};
use crate::run::{self, Answer};
use crate::text;

/// Prints the most probable species of each image; fails in the end if one could not be read.
pub fn run(options: &Predict, global: &Global) -> Result<()> {
    run::listen();
    let answers = run::predict(&options.model, &options.images, &global.device)?;
    if options.json {
        terminal::json(&as_json(&answers));
    } else {
        terminal::print(&as_text(&answers));
    }
    let unread: Vec<String> =
        answers.iter().filter_map(|answer| Some(format!("  {}", answer.top.as_ref().err()?))).collect();
    if unread.is_empty() {
        return Ok(());
    }
    let of = text::count(answers.len(), "image");
    Err(Error::input(format!("{} of {of} could not be read:\n{}", unread.len(), unread.join("\n"))))
}

fn as_json(answers: &[Answer]) -> Value {
    let one = |answer: &Answer| {
        let path = answer.path.display().to_string();
        match &answer.top {
            Ok(top) => {
                let top = top.iter().map(|(species, p)| json!({ "species": species, "probability": p }));
                json!({ "path": path, "top": top.collect::<Vec<_>>(), "error": null })
            }
            Err(error) => json!({ "path": path, "top": [], "error": error.to_string() }),
        }
    };
    json!({ "images": answers.iter().map(one).collect::<Vec<_>>() })
}

fn as_text(answers: &[Answer]) -> String {
    let mut out = String::new();
    for answer in answers {
        let Ok(top) = &answer.top else { continue };
        out.push_str(&format!("{}\n", answer.path.display()));
        for (species, probability) in top {
            out.push_str(&format!("  {:>5.1} %  {species}\n", probability * 100.0));
        }
    }
    out
}
