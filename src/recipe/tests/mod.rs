//! What a reader of the documentation would check: every key, every default, every message.

mod arms;
mod beyond;
mod classifier;
mod names;
mod page;
mod syntax;
mod template;
mod values;

use std::path::Path;

use super::{Recipe, parse};

/// The recipe `text` as `recipes/birds.toml`, which has to be right.
fn good(text: &str) -> Recipe {
    parse(text, Path::new("recipes/birds.toml")).unwrap_or_else(|problems| panic!("{problems}"))
}

/// What is printed about the recipe `text`, which has to be wrong.
fn message(text: &str) -> String {
    match parse(text, Path::new("recipes/birds.toml")) {
        Ok(_) => panic!("the recipe passed:\n{text}"),
        Err(problems) => {
            assert_eq!(problems.exit_code(), 2);
            problems.to_string()
        }
    }
}
