//! Which files of a component's folder hold its weights: one file or shards, full precision or a variant. Knows no
//! tensor names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::safetensors_file::SafetensorsFile;
use crate::error::{Error, IoContext, Result};

/// Variants in the order in which they are looked for; the plain one goes first.
const VARIANTS: [&str; 4] = ["", ".fp16", ".bf16", ".fp32"];

/// What a sharded component says of its shards.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Opens the weights in `folder`: `STEM.safetensors`, or shards by `STEM.safetensors.index.json`, or else the same of
/// a variant (`STEM.fp16.safetensors`).
///
/// # Errors
/// [`Error::Input`] if there are none, only pickles, or a shard is missing; what [`SafetensorsFile::open`] says.
pub fn open(folder: &Path, stem: &str) -> Result<Vec<SafetensorsFile>> {
    match choose(stem, |name| folder.join(name).exists()) {
        None => Err(none(folder, stem)?),
        Some(name) if name.ends_with(".json") => shards(folder, &folder.join(name)),
        Some(name) => Ok(vec![SafetensorsFile::open(&folder.join(name))?]),
    }
}

/// The file that holds the weights, or the index of those that do, among those that `exists` knows.
pub fn choose(stem: &str, exists: impl Fn(&str) -> bool) -> Option<String> {
    let names = VARIANTS.iter().flat_map(|variant| {
        [
            format!("{stem}{variant}.safetensors"),
            // Both have been diffusers' way to name the index of a variant.
            format!("{stem}.safetensors.index{variant}.json"),
            format!("{stem}{variant}.safetensors.index.json"),
        ]
    });
    names.into_iter().find(|name| exists(name))
}

/// The shards that an index names.
///
/// # Errors
/// [`Error::Io`]; [`Error::Input`] if it is no index, or names a file outside its folder.
pub fn shard_names(path: &Path) -> Result<BTreeSet<String>> {
    Ok(read_index(path)?.weight_map.into_values().collect())
}

fn read_index(path: &Path) -> Result<Index> {
    let text = fs::read(path).doing("read", path)?;
    let index: Index = serde_json::from_slice(&text).map_err(|error| {
        Error::input_help(format!("`{}`: is no index of shards: {error}", path.display()), "fetch the file again")
    })?;
    match index.weight_map.values().find(|name| name.contains(['/', '\\']) || name.contains("..")) {
        Some(name) => Err(Error::input(format!("`{}`: a shard is named `{name}`, outside its folder", path.display()))),
        None => Ok(index),
    }
}

fn shards(folder: &Path, path: &Path) -> Result<Vec<SafetensorsFile>> {
    let index = read_index(path)?;
    let names: BTreeSet<&String> = index.weight_map.values().collect();
    let missing: Vec<&str> =
        names.iter().filter(|name| !folder.join(name).exists()).map(|name| name.as_str()).collect();
    if !missing.is_empty() {
        return Err(Error::input_help(
            format!(
                "`{}`: {} of {} shards are missing: `{}`",
                folder.display(),
                missing.len(),
                names.len(),
                missing.join("`, `")
            ),
            "half a download, it seems: fetch them again",
        ));
    }
    let files = names.iter().map(|name| SafetensorsFile::open(&folder.join(name))).collect::<Result<Vec<_>>>()?;
    for (name, shard) in &index.weight_map {
        let file = files.iter().find(|file| file.path.ends_with(shard));
        if file.is_none_or(|file| file.shape(name).is_none()) {
            return Err(Error::input(format!(
                "`{}`: says that `{shard}` holds `{name}`, which it does not",
                path.display()
            )));
        }
    }
    Ok(files)
}

/// Why a folder has no weights that can be read.
fn none(folder: &Path, stem: &str) -> Result<Error> {
    let mut pickles = Vec::new();
    let mut others = Vec::new();
    for entry in fs::read_dir(folder).doing("list", folder)? {
        let name = entry.doing("list", folder)?.file_name().to_string_lossy().into_owned();
        if is_pickle(Path::new(&name)) {
            pickles.push(name);
        } else if name != "config.json" {
            others.push(name);
        }
    }
    pickles.sort();
    others.sort();
    if let Some(name) = pickles.first() {
        let root = folder.parent().unwrap_or(folder);
        return Ok(Error::input_help(
            format!(
                "`{}` is a pickle, which can run any code when it is read: only safetensors are read",
                folder.join(name).display()
            ),
            format!(
                "convert it: python -c \"from diffusers import DiffusionPipeline as P; \
                 P.from_pretrained('{0}').save_pretrained('{0}-safetensors')\"",
                root.display()
            ),
        ));
    }
    let beside = if others.is_empty() { String::new() } else { format!(", only `{}`", others.join("`, `")) };
    Ok(Error::input_help(
        format!("`{}`: holds no weights{beside}", folder.display()),
        format!("fetch `{stem}.safetensors` (or `{stem}.fp16.safetensors`) into it"),
    ))
}

/// Whether a file's name is that of a PyTorch pickle.
pub fn is_pickle(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ["bin", "ckpt", "pt", "pth", "pkl"].iter().any(|known| ending == *known))
}
