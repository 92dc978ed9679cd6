//! `birdaug metrics`: two folders of images against each other.

mod sets;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::{Global, Metrics, MetricsCommand};
use super::terminal;
use crate::dataset::decode;
use crate::error::{Error, IoContext, Result};
use crate::run::inception;
use crate::score::ssim::ssim;
use crate::text;

/// Measures two folders against each other.
pub fn run(options: &Metrics, global: &Global) -> Result<()> {
    match &options.command {
        MetricsCommand::Ssim { a, b, json } => run_ssim(a, b, *json),
        MetricsCommand::Fid(set) => sets::fid(set, global),
        MetricsCommand::Kid(set) => sets::kid(set, global),
        MetricsCommand::Prdc { set, k } => sets::prdc(set, *k, global),
        MetricsCommand::Convert { from, to } => inception::convert(from, to),
    }
}

fn run_ssim(a: &Path, b: &Path, as_json: bool) -> Result<()> {
    let (left, right) = (files(a)?, files(b)?);
    let mut pairs = Vec::new();
    for (name, path) in &left {
        let Some(other) = right.get(name) else { continue };
        let value = ssim(&decode::photo(path)?, &decode::photo(other)?).map_err(|error| Error::image(path, error))?;
        pairs.push((name.clone(), value));
    }
    if pairs.is_empty() {
        return Err(Error::input_help(
            format!("`{}` and `{}` have no file name in common", a.display(), b.display()),
            "files of the same name are a pair",
        ));
    }
    let alone = left.keys().filter(|name| !right.contains_key(*name)).count()
        + right.keys().filter(|name| !left.contains_key(*name)).count();
    let mean = pairs.iter().map(|(_, value)| value).sum::<f64>() / pairs.len() as f64;
    if as_json {
        let list: Vec<_> = pairs.iter().map(|(name, ssim)| json!({ "name": name, "ssim": ssim })).collect();
        terminal::json(&json!({ "mean": mean, "pairs": list, "unpaired": alone }));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = pairs.iter().map(|(name, value)| vec![name.clone(), format!("{value:.4}")]).collect();
    terminal::print(&terminal::table(&["file", "ssim"], &rows, &[1]));
    terminal::line(&format!("mean of {}: {mean:.4}", text::count(pairs.len(), "pair")));
    if alone > 0 {
        terminal::line(&format!("{} without a partner passed over", text::count(alone, "file")));
    }
    Ok(())
}

/// Image files below a folder by their relative path.
fn files(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    std::fs::read_dir(folder).doing("list", folder)?;
    Ok(walkdir::WalkDir::new(folder)
        .follow_links(true)
        .into_iter()
        .flatten()
        .filter(|entry| entry.file_type().is_file() && decode::size(entry.path()).is_ok())
        .map(|entry| {
            let name = entry.path().strip_prefix(folder).unwrap_or(entry.path()).to_string_lossy().into_owned();
            (name, entry.into_path())
        })
        .collect())
}
