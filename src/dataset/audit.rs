//! What is wrong with a dataset, file by file and name by name, also where a scan refuses it. Decodes every picture
//! once; judges, changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::alike::{self, Face, RealPairs};
use super::decode;
use super::digest::Digest;
use super::hashing::{self, Hashed};
use super::listing::{self, Listing};
use super::names::{exclude_text, nearly_same, rename_text};
use super::scan::{self, ScanOptions, Split, missing_from_train};
use super::stat_index::StatIndex;
use crate::error::{Error, Result};
use crate::text::{self, quoted};

/// A species with fewer images in train than this is a finding.
pub const TINY: usize = 10;
/// Share of the images that must have one size before the others are odd.
const ONE_SIZE: f64 = 0.8;
/// A side shorter than this, or `LONG_SIDES` times shorter than the other, is odd in any dataset.
const SHORT_SIDE: u32 = 32;
const LONG_SIDES: u32 = 3;

/// What kind of defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A file or folder that cannot be read, or a file that is no whole image.
    Unreadable,
    /// A species that is not in all splits.
    SplitMismatch,
    /// Two species with nearly one name.
    SimilarName,
    /// Few or no images to train on.
    TinyClass,
    /// Files with the same bytes.
    ExactDuplicate,
    /// Pictures that look alike.
    NearDuplicate,
    /// Another size than the rest, or an extreme one.
    OddSize,
}

/// A defect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub kind: Kind,
    /// Files or folders, relative to the root.
    pub files: Vec<String>,
    pub message: String,
    /// Recipe text for `[dataset]` that mends it; where none can, a TOML comment that says what does.
    pub fix: String,
}

/// What a look at a file's pixels found; it holds for every file with the same digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Look {
    /// Not a whole image, and why.
    Bad(String),
    Good {
        width: u32,
        height: u32,
        face: Option<Face>,
    },
}

impl Look {
    /// Decodes the file at `path`.
    pub fn at(path: &Path) -> Look {
        match decode::photo(path) {
            Ok(image) => Look::Good { width: image.width(), height: image.height(), face: Face::of(&image) },
            Err(Error::Image { problem, .. }) => Look::Bad(problem),
            Err(error) => Look::Bad(error.to_string()),
        }
    }
}

/// A readable file with an image's name.
struct File<'a> {
    split: Split,
    species: &'a str,
    path: String,
    digest: Digest,
}

/// Finds the defects of a dataset, sorted by kind and file. `looks` holds what earlier looks found, and gets what
/// this one finds; `progress` is told how many of how many files were looked at. Excluded species are passed over.
/// Fails only where there is no root or no train folder.
pub fn audit(
    options: &ScanOptions,
    index: &mut StatIndex,
    looks: &mut HashMap<Digest, Look>,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Vec<Finding>> {
    let mut listing = listing::list(options)?;
    listing.folders.retain(|folder| !options.excludes(options.species_of(&folder.name)));
    let Hashed { digests, unreadable, .. } = hashing::digests(&options.root, &scan::listed(&listing), index)?;

    let mut findings = Vec::new();
    for folder in &listing.folders {
        findings
            .extend(folder.broken.iter().map(|(path, e)| unreadable_finding(path, &format!("cannot be read: {e}"))));
    }
    findings.extend(unreadable.iter().map(|(path, error)| unreadable_finding(path, &error.to_string())));
    findings.extend(names(options, &listing));

    let mut files = Vec::new();
    for (folder, digests) in listing.folders.iter().zip(digests) {
        let species = options.species_of(&folder.name);
        files.extend(folder.files.iter().zip(digests).filter_map(|((name, _), digest)| {
            Some(File { split: folder.split, species, path: format!("{}/{name}", folder.path), digest: digest? })
        }));
    }
    look(options, &files, looks, progress);
    findings.extend(files.iter().filter_map(|file| match &looks[&file.digest] {
        Look::Bad(problem) => Some(unreadable_finding(&file.path, problem)),
        Look::Good { .. } => None,
    }));
    findings.extend(sizes(&files, looks));
    findings.extend(duplicates(&files, looks));
    findings.sort_by(|a, b| (a.kind, &a.files, &a.message).cmp(&(b.kind, &b.files, &b.message)));
    Ok(findings)
}

fn look(
    options: &ScanOptions,
    files: &[File],
    looks: &mut HashMap<Digest, Look>,
    progress: &(dyn Fn(usize, usize) + Sync),
) {
    let unknown: BTreeMap<&Digest, &File> =
        files.iter().filter(|f| !looks.contains_key(&f.digest)).map(|f| (&f.digest, f)).collect();
    let unknown: Vec<&File> = unknown.into_values().collect();
    let done = AtomicUsize::new(0);
    let found: Vec<(Digest, Look)> = unknown
        .par_iter()
        .map(|file| {
            let look = Look::at(&options.root.join(&file.path));
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, unknown.len());
            (file.digest, look)
        })
        .collect();
    looks.extend(found);
}

fn unreadable_finding(path: &str, problem: &str) -> Finding {
    Finding {
        kind: Kind::Unreadable,
        files: vec![path.to_string()],
        message: problem.to_string(),
        fix: format!("# delete or replace {}", quoted(path)),
    }
}

/// Findings that need no pixels: splits that do not match, names written twice, species with few images.
fn names(options: &ScanOptions, listing: &Listing) -> Vec<Finding> {
    let mut out = Vec::new();
    let mut spelled_otherwise = BTreeSet::new();
    let mut untrained = BTreeSet::new();
    let folders_of = |species: &str| -> Vec<String> {
        let same = listing.folders.iter().filter(|f| options.species_of(&f.name) == species);
        same.map(|f| f.path.clone()).collect()
    };
    for species in missing_from_train(options, listing) {
        let fix = match &species.twin {
            Some(twin) => {
                spelled_otherwise.extend(species.elsewhere.iter().map(|split| (twin.clone(), *split)));
                let folders = listing.folders.iter().filter(|f| options.species_of(&f.name) == species.species);
                rename_text(&folders.map(|f| (f.name.clone(), twin.clone())).collect())
            }
            None => exclude_text(&BTreeSet::from([species.species.clone()])),
        };
        let kind = if species.folder.is_some() { Kind::TinyClass } else { Kind::SplitMismatch };
        let files = folders_of(&species.species);
        out.push(Finding { kind, files, message: species.message(options), fix });
        untrained.insert(species.species);
    }

    let mut counts: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for folder in &listing.folders {
        counts.entry(options.species_of(&folder.name)).or_default()[folder.split as usize] += folder.files.len();
    }
    // A species with a folder that cannot be looked into has been reported; its counts mean nothing.
    let closed = listing.folders.iter().filter(|f| f.files.is_empty() && !f.broken.is_empty());
    untrained.extend(closed.map(|f| options.species_of(&f.name).to_string()));
    counts.retain(|species, _| !untrained.contains(*species));
    let exclude = |species: &str| exclude_text(&BTreeSet::from([species.to_string()]));
    for (&species, n) in &counts {
        if (1..TINY).contains(&n[0]) {
            let message = format!("the species `{species}` has {} in train", text::count(n[0], "image"));
            out.push(Finding { kind: Kind::TinyClass, files: folders_of(species), message, fix: exclude(species) });
        }
        for split in [Split::Valid, Split::Test] {
            let at = split as usize;
            let used = counts.values().any(|n| n[at] > 0);
            if used && n[at] == 0 && !spelled_otherwise.contains(&(species.to_string(), split)) {
                let message = format!("the species `{species}` has no image in {}", options.splits.name(split));
                let (files, fix) = (folders_of(species), exclude(species));
                out.push(Finding { kind: Kind::SplitMismatch, files, message, fix });
            }
        }
    }
    let species: Vec<(&str, usize)> = counts.iter().map(|(&name, n)| (name, n[0])).collect();
    for (i, &(a, n)) in species.iter().enumerate() {
        for &(b, m) in species[i + 1..].iter().filter(|(b, _)| nearly_same(a, b)) {
            let (from, to) = if n < m { (a, b) } else { (b, a) };
            let folders = listing.folders.iter().filter(|f| options.species_of(&f.name) == from);
            let case = if a.to_lowercase() == b.to_lowercase() {
                "; where the file system ignores case they are one folder"
            } else {
                ""
            };
            out.push(Finding {
                kind: Kind::SimilarName,
                files: [folders_of(a), folders_of(b)].concat(),
                message: format!("the species `{a}` and `{b}` have nearly the same name{case}"),
                fix: rename_text(&folders.map(|f| (f.name.clone(), to.to_string())).collect()),
            });
        }
    }
    out
}

fn sizes(files: &[File], looks: &HashMap<Digest, Look>) -> Vec<Finding> {
    let mut by_size: BTreeMap<(u32, u32), Vec<&File>> = BTreeMap::new();
    for file in files {
        if let Look::Good { width, height, .. } = looks[&file.digest] {
            by_size.entry((width, height)).or_default().push(file);
        }
    }
    let all: usize = by_size.values().map(Vec::len).sum();
    let usual = by_size.iter().find(|(_, files)| files.len() as f64 >= ONE_SIZE * all as f64).map(|(&size, _)| size);
    let mut out = Vec::new();
    for (&(w, h), files) in &by_size {
        let extreme = w.min(h) < SHORT_SIDE || w.max(h) >= LONG_SIDES * w.min(h);
        if !usual.map_or(extreme, |usual| usual != (w, h)) {
            continue;
        }
        let others = match usual {
            Some((w, h)) => format!(", others {w}x{h}"),
            None if w.min(h) < SHORT_SIDE => ", a very small picture".into(),
            None => ", a very long picture".into(),
        };
        out.push(Finding {
            kind: Kind::OddSize,
            files: files.iter().map(|f| f.path.clone()).collect(),
            message: format!("{} {} {w}x{h} pixels{others}", text::count(files.len(), "image"), is_or_are(files.len())),
            fix: "# none needed: the middle square of every picture is used; delete what is no photo".into(),
        });
    }
    out
}

fn is_or_are(n: usize) -> &'static str {
    if n == 1 { "is" } else { "are" }
}

fn duplicates(files: &[File], looks: &HashMap<Digest, Look>) -> Vec<Finding> {
    let mut copies: BTreeMap<&Digest, Vec<&File>> = BTreeMap::new();
    for file in files {
        copies.entry(&file.digest).or_default().push(file);
    }
    let mut out = Vec::new();
    for group in copies.values().filter(|group| group.len() > 1) {
        let held_out = group.iter().any(|f| f.split != Split::Train);
        let fix = if group[0].split == Split::Train && held_out {
            "# none needed: a build leaves the copy in train out".to_string()
        } else {
            delete_text(&group[1..])
        };
        out.push(finding(Kind::ExactDuplicate, group, "the same file", fix));
    }
    // One file stands for all its copies; the first in the order of splits and names.
    let mut first: Vec<&File> = copies.values().map(|group| group[0]).collect();
    first.sort_by(|a, b| (a.split, &a.path).cmp(&(b.split, &b.path)));
    let faces: Vec<Option<&Face>> = first
        .iter()
        .map(|file| match &looks[&file.digest] {
            Look::Good { face, .. } => face.as_ref(),
            Look::Bad(_) => None,
        })
        .collect();
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    let pictures: Vec<(usize, Option<&Face>)> = first
        .iter()
        .zip(&faces)
        .map(|(file, face)| {
            let next = numbers.len();
            (*numbers.entry(file.species).or_insert(next), *face)
        })
        .collect();
    let least = RealPairs::measure(&pictures, alike::PAIRS).threshold();
    for group in alike::groups(&faces, least) {
        let pictures: Vec<&File> = group.members.iter().map(|&i| first[i]).collect();
        let what = if group.mirrored { "pictures that look alike, mirrored" } else { "pictures that look alike" };
        let held_out = pictures.iter().any(|f| f.split != Split::Train);
        let train: Vec<&File> = pictures.iter().filter(|f| f.split == Split::Train).copied().collect();
        let fix = if held_out && !train.is_empty() { delete_text(&train) } else { delete_text(&pictures[1..]) };
        out.push(finding(Kind::NearDuplicate, &pictures, what, fix));
    }
    out
}

fn delete_text(files: &[&File]) -> String {
    let names: Vec<String> = files.iter().map(|f| quoted(&f.path)).collect();
    format!("# delete {}", names.join(", "))
}

fn finding(kind: Kind, files: &[&File], what: &str, fix: String) -> Finding {
    let splits: BTreeSet<Split> = files.iter().map(|f| f.split).collect();
    let species: BTreeSet<&str> = files.iter().map(|f| f.species).collect();
    let splits: Vec<&str> = splits.into_iter().map(Split::name).collect();
    let species: Vec<String> = species.into_iter().map(|s| format!("`{s}`")).collect();
    Finding {
        kind,
        files: files.iter().map(|f| f.path.clone()).collect(),
        message: format!("{what}, {} times, in {} of {}", files.len(), splits.join(" and "), species.join(" and ")),
        fix,
    }
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
