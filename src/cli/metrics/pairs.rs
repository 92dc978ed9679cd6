//! `birdaug metrics ssim A B` and `ms-ssim A B`: files of the same name are a pair.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::RgbImage;
use rayon::prelude::*;
use serde_json::{Map, Value, json};

use super::super::args::Pairs;
use super::super::terminal;
use crate::dataset::decode;
use crate::error::{Error, IoContext, Result};
use crate::text;

/// Unreadable files named in one message at most.
const LISTED: usize = 20;
/// Endings of files that are meant to be images, whatever their bytes are.
const ENDINGS: [&str; 8] = ["jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff"];

/// Measures every pair of two folders by `measure`; `name` is the column's and the field's.
pub fn run(options: &Pairs, name: &str, measure: fn(&RgbImage, &RgbImage) -> Result<f64>) -> Result<()> {
    let (a, b) = (&options.a, &options.b);
    let (left, right) = (files(a)?, files(b)?);
    let pairs: Vec<(&String, &PathBuf, &PathBuf)> =
        left.iter().filter_map(|(name, path)| Some((name, path, right.get(name)?))).collect();
    if pairs.is_empty() {
        return Err(Error::input_help(
            format!("`{}` and `{}` have no file name in common", a.display(), b.display()),
            "files of the same name are a pair",
        ));
    }
    let alone = left.len() + right.len() - 2 * pairs.len();
    let found: Vec<Found> = pairs
        .par_iter()
        .map(|(_, one, other)| match (decode::photo(one), decode::photo(other)) {
            (Ok(a), Ok(b)) => Found::Measured(measure(&a, &b).map_err(|error| Error::image(one, error))),
            (Err(error), _) | (_, Err(error)) => Found::Unreadable(error.to_string()),
        })
        .collect();
    let mut unreadable = Vec::new();
    let mut measured = Vec::new();
    for ((name, ..), found) in pairs.iter().zip(found) {
        match found {
            Found::Measured(value) => measured.push((*name, value?)),
            Found::Unreadable(problem) => unreadable.push(problem),
        }
    }
    if measured.is_empty() || (!unreadable.is_empty() && !options.skip_unreadable) {
        return Err(refused(&unreadable, pairs.len()));
    }
    let mean = measured.iter().map(|(_, value)| value).sum::<f64>() / measured.len() as f64;
    if options.json {
        let pair = |(file, value): &(&String, f64)| {
            Value::Object(Map::from_iter([("name".into(), json!(file)), (name.into(), json!(value))]))
        };
        let list: Vec<Value> = measured.iter().map(pair).collect();
        let skipped = unreadable.len();
        terminal::json(&json!({ "mean": mean, "pairs": list, "unpaired": alone, "unreadable": skipped }));
        return Ok(());
    }
    let rows: Vec<Vec<String>> =
        measured.iter().map(|(file, value)| vec![file.to_string(), format!("{value:.4}")]).collect();
    terminal::print(&terminal::table(&["file", name], &rows, &[1]));
    terminal::line(&format!("mean of {}: {mean:.4}", text::count(measured.len(), "pair")));
    if alone > 0 {
        terminal::line(&format!("{} without a partner passed over", text::count(alone, "file")));
    }
    if !unreadable.is_empty() {
        terminal::line(&format!("{} that cannot be read passed over", text::count(unreadable.len(), "pair")));
    }
    Ok(())
}

enum Found {
    Measured(Result<f64>),
    Unreadable(String),
}

fn refused(unreadable: &[String], pairs: usize) -> Error {
    let mut lines: Vec<String> = unreadable.iter().take(LISTED).map(|problem| format!("  {problem}")).collect();
    if unreadable.len() > LISTED {
        lines.push(format!("  and {} more", unreadable.len() - LISTED));
    }
    Error::input_help(
        format!("{} of {} cannot be read:\n{}", unreadable.len(), text::count(pairs, "pair"), lines.join("\n")),
        "mend or remove them, or pass them over by `--skip-unreadable`",
    )
}

/// Image files below a folder by their relative path.
fn files(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    std::fs::read_dir(folder).doing("list", folder)?;
    let meant = |path: &Path| {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
    };
    Ok(walkdir::WalkDir::new(folder)
        .follow_links(true)
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_file() && (meant(entry.path()) || decode::size(entry.path()).is_ok()))
        .map(|entry| {
            let name = entry.path().strip_prefix(folder).unwrap_or(entry.path()).to_string_lossy().into_owned();
            (name, entry.into_path())
        })
        .collect())
}
