//! What became of a dataset's photos between two builds: added, changed, removed, renamed, and species of another name.
//! Told from digests and paths alone; reads no file.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use serde::Serialize;

use crate::text;

/// Photos or species named in one sentence at most.
const NAMED: usize = 3;

/// A photo of a list that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PhotoChange {
    /// `added`, `changed`, `removed` or `renamed`: the same bytes at another path, which may change the order.
    pub change: &'static str,
    pub species: String,
    /// Relative to the dataset's root, where it is known.
    pub path: Option<String>,
    /// The path that a renamed photo had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The species that a renamed photo was of, if that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
}

impl PhotoChange {
    fn new(change: &'static str, species: &str, path: Option<&str>) -> PhotoChange {
        let (species, path) = (species.to_string(), path.map(str::to_string));
        PhotoChange { change, species, path, from: None, was: None }
    }

    /// `was`: the species that it was of.
    fn renamed(from: Option<&str>, was: &str, species: &str, path: Option<&str>) -> PhotoChange {
        let was = Some(was).filter(|&was| was != species).map(str::to_string);
        PhotoChange { from: from.map(str::to_string), was, ..PhotoChange::new("renamed", species, path) }
    }
}

/// A photo as one build saw it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'p> {
    /// Hexadecimal digits of its digest.
    pub digest: &'p str,
    pub species: &'p str,
}

/// What changed between two builds' photos, each list of paths without a path twice; a photo has another name where its
/// digest left one path and came to another, best to one of the same file name.
pub fn files<'p>(old: &[(&'p str, Seen<'p>)], new: &[(&'p str, Seen<'p>)]) -> Vec<PhotoChange> {
    let (old, new) = without_equal_ends(old, new);
    let before: HashMap<&str, Seen<'_>> = old.iter().copied().collect();
    let after: HashMap<&str, Seen<'_>> = new.iter().copied().collect();
    let mut left: HashMap<&str, Vec<&str>> = HashMap::new();
    for (path, seen) in old.iter().filter(|(path, _)| !after.contains_key(path)) {
        left.entry(seen.digest).or_default().push(path);
    }
    let mut out = Vec::new();
    for &(path, seen) in new {
        match before.get(path) {
            Some(before) if *before == seen => {}
            Some(before) if before.digest == seen.digest => {
                out.push(PhotoChange::renamed(Some(path), before.species, seen.species, Some(path)));
            }
            Some(_) => out.push(PhotoChange::new("changed", seen.species, Some(path))),
            None => out.push(match left.get_mut(seen.digest).and_then(|paths| take_alike(paths, path)) {
                Some(from) => PhotoChange::renamed(Some(from), before[from].species, seen.species, Some(path)),
                None => PhotoChange::new("added", seen.species, Some(path)),
            }),
        }
    }
    let gone = left.into_values().flatten();
    out.extend(gone.map(|path| PhotoChange::new("removed", before[path].species, Some(path))));
    out.sort();
    out
}

/// What is left of two lists without what both begin and both end with: of many photos, few change.
fn without_equal_ends<'l, T: PartialEq>(old: &'l [T], new: &'l [T]) -> (&'l [T], &'l [T]) {
    let same = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old, new) = (&old[same..], &new[same..]);
    let same = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    (&old[..old.len() - same], &new[..new.len() - same])
}

/// Takes the path with the same file name out of a list, or its last.
fn take_alike<'p>(paths: &mut Vec<&'p str>, path: &str) -> Option<&'p str> {
    let name = |path: &str| path.rsplit('/').next().map(str::to_string);
    let alike = paths.iter().position(|other| name(other) == name(path));
    alike.map(|at| paths.remove(at)).or_else(|| paths.pop())
}

/// A species whose photos are all under another name now.
#[derive(Debug, PartialEq, Eq)]
pub struct SpeciesRenamed {
    pub old: String,
    pub new: String,
    /// How many photos of it were there before and are there still.
    pub photos: usize,
}

/// The species that are not among the `new` names, whose photos came to one that was not among the `old` names.
pub fn species_renamed(changes: &[PhotoChange], old: &BTreeSet<&str>, new: &BTreeSet<&str>) -> Vec<SpeciesRenamed> {
    let mut moves: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for change in changes {
        if let Some(was) = change.was.as_deref().filter(|was| !new.contains(was)) {
            *moves.entry(was).or_default().entry(&change.species).or_default() += 1;
        }
    }
    let whole = |(was, to): (&str, BTreeMap<&str, usize>)| {
        let (&name, &photos) = to.first_key_value().filter(|(name, _)| to.len() == 1 && !old.contains(*name))?;
        Some(SpeciesRenamed { old: was.to_string(), new: name.to_string(), photos })
    };
    moves.into_iter().filter_map(whole).collect()
}

/// Finds the paths of photos by the hexadecimal digits of their digests, in their order.
pub type Paths<'p> = &'p dyn Fn(&[&str]) -> Vec<Option<String>>;

/// Paths out of pairs of digest and path, walked through once; of several photos with one digest each has its own, those
/// that are `likely` first.
pub fn find<'p, P: AsRef<str>>(
    wanted: &[&str],
    pairs: impl Iterator<Item = (P, &'p str)>,
    likely: &BTreeSet<&str>,
) -> Vec<Option<String>> {
    let mut found: HashMap<&str, VecDeque<&str>> = wanted.iter().map(|&hex| (hex, VecDeque::new())).collect();
    if !found.is_empty() {
        for (hex, path) in pairs {
            match found.get_mut(hex.as_ref()) {
                Some(paths) if likely.contains(path) => paths.push_front(path),
                Some(paths) => paths.push_back(path),
                None => {}
            }
        }
    }
    wanted.iter().map(|hex| found.get_mut(hex).and_then(VecDeque::pop_front).map(str::to_string)).collect()
}

/// What changed between two lists of `digest species` lines.
pub fn photos(old: &str, new: &str, old_paths: Paths<'_>, new_paths: Paths<'_>) -> Vec<PhotoChange> {
    let (old, new) = where_they_differ(old, new);
    let (before, after) = (count(old), count(new));
    let mut added = resolve(beyond(&after, &before), new_paths);
    let mut out = Vec::new();
    let mut removed = Vec::new();
    for photo in resolve(beyond(&before, &after), old_paths) {
        if let Some(at) = added.iter().position(|other| other.digest == photo.digest) {
            let now = added.remove(at);
            out.push(PhotoChange::renamed(photo.path(), photo.species, now.species, now.path()));
            continue;
        }
        // A photo is the same photo where its path is; where that is not known, its species has to do.
        match photo.path.as_ref().and_then(|path| added.iter().position(|other| other.path.as_ref() == Some(path))) {
            Some(at) => out.push(added.remove(at).as_change("changed")),
            None => removed.push(photo),
        }
    }
    for photo in removed {
        let at = added.iter().position(|other| photo.path.is_none() && other.species == photo.species);
        out.push(match at {
            Some(at) => added.remove(at).as_change("changed"),
            None => photo.as_change("removed"),
        });
    }
    out.extend(added.iter().map(|photo| photo.as_change("added")));
    out.sort();
    out
}

/// A line of a list with the path behind it.
struct Listed<'l> {
    digest: &'l str,
    species: &'l str,
    path: Option<String>,
}

impl Listed<'_> {
    fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    fn as_change(&self, change: &'static str) -> PhotoChange {
        PhotoChange::new(change, self.species, self.path())
    }
}

fn resolve<'l>(lines: Vec<&'l str>, paths: Paths<'_>) -> Vec<Listed<'l>> {
    let (digests, species): (Vec<&str>, Vec<&str>) = lines.iter().filter_map(|line| line.split_once(' ')).unzip();
    let paths = paths(&digests);
    let listed = |((digest, species), path)| Listed { digest, species, path };
    digests.into_iter().zip(species).zip(paths).map(listed).collect()
}

/// ``1 photo changed (train/JAY/003.jpg), 2 photos added (OWL), 12 photos of `TIT` now of `Tit` ``.
pub fn sentence(photos: &[PhotoChange]) -> String {
    let mut by_change: BTreeMap<&str, Vec<&PhotoChange>> = BTreeMap::new();
    let mut moved: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for photo in photos {
        match &photo.was {
            Some(was) => *moved.entry((was, &photo.species)).or_default() += 1,
            None => by_change.entry(photo.change).or_default().push(photo),
        }
    }
    let mut parts: Vec<String> = by_change
        .into_iter()
        .map(|(change, photos)| {
            let mut names: Vec<&str> =
                photos.iter().map(|photo| photo.path.as_deref().unwrap_or(&photo.species)).collect();
            names.dedup();
            format!("{} {change} ({})", text::count(photos.len(), "photo"), named(&names))
        })
        .collect();
    let more = moved.len().saturating_sub(NAMED);
    let as_text = |((was, is), n)| format!("{} of `{was}` now of `{is}`", text::count(n, "photo"));
    parts.extend(moved.into_iter().take(NAMED).map(as_text));
    if more > 0 {
        parts.push(format!("and so of {more} more species"));
    }
    if parts.is_empty() { "in another order".to_string() } else { parts.join(", ") }
}

/// `JAY, OWL, TIT, ...`.
pub fn named<S: AsRef<str>>(names: &[S]) -> String {
    let list: Vec<&str> = names.iter().take(NAMED).map(S::as_ref).collect();
    format!("{}{}", list.join(", "), if names.len() > NAMED { ", ..." } else { "" })
}

/// What is left of two lists without the lines that both begin and both end with.
fn where_they_differ<'l>(old: &'l str, new: &'l str) -> (&'l str, &'l str) {
    let same = old.bytes().zip(new.bytes()).take_while(|(a, b)| a == b).count();
    let start = old.as_bytes()[..same].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let (old, new) = (&old[start..], &new[start..]);
    let same = old.bytes().rev().zip(new.bytes().rev()).take_while(|(a, b)| a == b).count();
    // The line that the equal end begins in may differ before it.
    let end = &old.as_bytes()[old.len() - same..];
    let end = end.iter().position(|&byte| byte == b'\n').map_or(0, |at| same - at - 1);
    (&old[..old.len() - end], &new[..new.len() - end])
}

fn count(list: &str) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for line in list.lines() {
        *counts.entry(line).or_default() += 1;
    }
    counts
}

/// The lines of one list that the other has fewer times.
fn beyond<'l>(list: &BTreeMap<&'l str, usize>, other: &BTreeMap<&str, usize>) -> Vec<&'l str> {
    list.iter()
        .flat_map(|(&line, &n)| std::iter::repeat_n(line, n.saturating_sub(other.get(line).copied().unwrap_or(0))))
        .collect()
}

#[cfg(test)]
#[path = "changes_tests.rs"]
mod tests;
