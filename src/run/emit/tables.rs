//! The csv files beside the tree: `birds.csv` as Kaggle's, the manifest, and what was rejected. Writes to memory.

use std::collections::BTreeMap;

use crate::dataset::Split;
use crate::error::{IoContext, Result};
use crate::plan::select::Verdict;
use crate::plan::{self, Key};
use crate::recipe::{self, Filter, GeneratorKind};
use crate::run::selection::{Candidate, Selection};
use crate::run::survey::Survey;

use super::files::Row;

/// Columns of `birds.csv`, as in Kaggle's.
const BIRDS: [&str; 5] = ["class id", "filepaths", "labels", "data set", "scientific name"];
/// Columns of `manifest.csv`; a score that only some recipes ask for has its column only there, before `frechet_share`.
const MANIFEST: [&str; 16] = [
    "path",
    "split",
    "species",
    "origin",
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
    "frechet_share",
    "verdict",
];
/// Columns of scores that only some recipes ask for.
const HELD_OUT: [&str; 2] = ["held_out_ssim", "nearest_held_out"];
const LIKENESS: [&str; 2] = ["likeness", "nearest_alike"];
const REALISM: &str = "realism";
/// Of `rejected.csv` alone: the key of the kept candidate that one is a near-duplicate of.
const TWIN: &str = "duplicate_of";
/// Columns of `rejected.csv`; the same goes for those, at the end.
const REJECTED: [&str; 12] = [
    "key",
    "species",
    "reason",
    "value",
    "threshold",
    "source",
    "seed",
    "ssim",
    "nearest",
    "source_ssim",
    "confidence",
    "named",
];

/// What the rows have in common.
pub struct Tables<'a> {
    seed: u64,
    filter: &'a Filter,
    survey: &'a Survey,
    scientific: BTreeMap<String, String>,
    /// Each kept candidate's share in the Frechet distance.
    shares: &'a BTreeMap<Key, f64>,
    /// What the generator is told of each species; empty where it reads no prompts.
    prompts: Vec<String>,
}

/// Appends a row. The same bytes as the csv crate's writer, which is several times slower at a quarter of a million rows.
fn push<'f>(out: &mut Vec<u8>, fields: impl IntoIterator<Item = &'f str>) {
    for (i, field) in fields.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        // To the end, since that goes many bytes at a time.
        if field.bytes().fold(false, |found, byte| found | matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
            out.push(b'"');
            out.extend(field.replace('"', "\"\"").bytes());
            out.push(b'"');
        } else {
            out.extend(field.as_bytes());
        }
    }
    out.push(b'\n');
}

/// The first line of `birds.csv`.
pub fn birds_head() -> Vec<u8> {
    head(&BIRDS)
}

/// The first line of `manifest.csv`.
pub fn manifest_head(filter: &Filter) -> Vec<u8> {
    let (first, last) = MANIFEST.split_at(MANIFEST.len() - 2);
    head(&[first, &more_columns(filter), last].concat())
}

fn more_columns(filter: &Filter) -> Vec<&'static str> {
    let held_out = filter.held_out_max.map(|_| HELD_OUT).into_iter().flatten();
    let likeness = filter.copy_max.map(|_| LIKENESS).into_iter().flatten();
    held_out.chain(likeness).chain(filter.realism_min.map(|_| REALISM)).collect()
}

fn head(columns: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    push(&mut out, columns.iter().copied());
    out
}

impl<'a> Tables<'a> {
    /// # Errors
    /// A `birds.csv` of the dataset that cannot be read.
    pub fn new(
        generator: &recipe::Generator,
        filter: &'a Filter,
        survey: &'a Survey,
        shares: &'a BTreeMap<Key, f64>,
    ) -> Result<Tables<'a>> {
        let prompt = |species: &String| match &generator.kind {
            GeneratorKind::StableDiffusion(model) => plan::candidate::prompt(model, species),
            GeneratorKind::Ddpm(_) => String::new(),
        };
        let prompts = survey.dataset.species.iter().map(prompt).collect();
        Ok(Tables { seed: generator.seed, filter, survey, scientific: scientific_names(survey)?, shares, prompts })
    }

    /// A file at `path` in `birds.csv`.
    pub fn birds_row(&self, out: &mut Vec<u8>, path: &str, split: Split, species: usize) {
        let name = &self.survey.dataset.species[species];
        let scientific = self.scientific.get(name).map_or("", String::as_str);
        push(out, [&species.to_string(), path, name, split.name(), scientific]);
    }

    /// A file at `path` in `manifest.csv`.
    pub fn manifest_row(&self, out: &mut Vec<u8>, path: &str, split: Split, species: usize, row: &Row<'_>) {
        let (species, prompt) = (&self.survey.dataset.species[species], &self.prompts[species]);
        let digest = blake3::Hash::from(row.digest).to_hex();
        let head = [path, split.name(), species];
        let Some(candidate) = row.candidate else {
            let tail = ["real", digest.as_str(), "", &row.source, "", "", "", "", "", "", ""];
            let more = more_columns(self.filter).into_iter().map(|_| "");
            return push(out, head.into_iter().chain(tail).chain(more).chain(["", "real"]));
        };
        let (key, seed) = (candidate.key.hex(), format!("{}/{}", self.seed, candidate.index));
        let share = self.shares.get(&candidate.key).map_or(String::new(), |share| format!("{share:.6}"));
        let scores = self.scores(candidate);
        let middle = ["synthetic", digest.as_str(), &key, &row.source, &seed, prompt];
        let scores = scores.iter().map(String::as_str);
        push(out, head.into_iter().chain(middle).chain(scores).chain([share.as_str(), "keep"]));
    }

    /// `rejected.csv`: every candidate that was dropped.
    pub fn rejected(&self, selection: &Selection) -> Vec<u8> {
        let mut out = Vec::new();
        let twin = self.filter.duplicate_max.map(|_| TWIN);
        push(&mut out, REJECTED.into_iter().chain(more_columns(self.filter)).chain(twin));
        for candidate in &selection.candidates {
            let Verdict::Drop { reason, value, threshold } = candidate.verdict else { continue };
            let mut fields = vec![
                candidate.key.hex(),
                self.survey.dataset.species[candidate.species].clone(),
                reason.name().to_string(),
                number(Some(value)),
                if threshold.is_nan() { String::new() } else { threshold.to_string() },
                candidate.source.and_then(|digest| self.survey.path_by_digest(&digest)).unwrap_or_default(),
                format!("{}/{}", self.seed, candidate.index),
            ];
            fields.extend(self.scores(candidate));
            fields.extend(twin.map(|_| candidate.twin.map_or(String::new(), |key| key.hex())));
            push(&mut out, fields.iter().map(String::as_str));
        }
        out
    }

    fn scores(&self, candidate: &Candidate) -> Vec<String> {
        let scored = &candidate.scored;
        let mut scores = vec![
            number(Some(scored.scores.copy)),
            scored.nearest.and_then(|digest| self.survey.path_by_digest(&digest)).unwrap_or_default(),
            number(scored.scores.source),
            number(Some(scored.scores.confidence)),
            self.survey.dataset.species.get(scored.named).cloned().unwrap_or_default(),
        ];
        if self.filter.held_out_max.is_some() {
            let nearest = scored.nearest_held_out.and_then(|digest| self.survey.path_by_digest(&digest));
            scores.extend([number(scored.scores.held_out), nearest.unwrap_or_default()]);
        }
        if self.filter.copy_max.is_some() {
            let nearest = scored.nearest_alike.and_then(|digest| self.survey.path_by_digest(&digest));
            scores.extend([number(scored.scores.likeness), nearest.unwrap_or_default()]);
        }
        scores.extend(self.filter.realism_min.map(|_| number(scored.scores.realism)));
        scores
    }
}

/// A score as it is written; nothing for one that was never taken.
fn number(value: Option<f64>) -> String {
    value.filter(|value| !value.is_nan()).map_or(String::new(), |value| format!("{value:.6}"))
}

/// Scientific names out of the dataset's own `birds.csv`, where it has one.
fn scientific_names(survey: &Survey) -> Result<BTreeMap<String, String>> {
    let path = survey.dataset.root.join("birds.csv");
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error).doing("read", &path),
    };
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(&bytes[..]);
    let headers = reader.byte_headers().cloned().unwrap_or_default();
    let column = |name: &[u8]| headers.iter().position(|header| header == name);
    let (Some(label), Some(name)) = (column(b"labels"), column(b"scientific name")) else { return Ok(BTreeMap::new()) };
    let mut names = BTreeMap::new();
    for record in reader.byte_records().flatten() {
        if let (Some(label), Some(name)) = (record.get(label), record.get(name)) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            names.entry(text(label)).or_insert_with(|| text(name));
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_bytes_of_the_csv_crates_writer() {
        let rows: [&[&str]; 4] = [
            &["train/BLUE JAY/1.jpg", "train", ""],
            &["a,b", "say \"tit\"", "two\nlines"],
            &["", "", "\r"],
            &["#", " ", "plain"],
        ];
        for row in rows {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(row).unwrap();
            let mut ours = Vec::new();
            push(&mut ours, row.iter().copied());
            assert_eq!(ours, writer.into_inner().unwrap(), "{row:?}");
        }
    }
}
