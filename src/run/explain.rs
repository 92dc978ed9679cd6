//! Why a piece of work is due, as data and as a sentence: the field of its key that differs with both values, and the
//! line of the recipe or the photo behind it. Makes nothing.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use crate::plan::key::Difference;
use crate::plan::{Inputs, Value};
use crate::recipe::Recipe;
use crate::text;

/// Photos or species named in one sentence at most.
const NAMED: usize = 3;

/// A reason for which work is due.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reason {
    pub text: String,
    pub causes: Vec<Cause>,
}

impl From<String> for Reason {
    fn from(text: String) -> Reason {
        Reason { text, causes: Vec::new() }
    }
}

impl Reason {
    /// `generator: recipes/x.toml:17: [generator] strength 0.3 -> 0.45; train photos: ...`.
    pub fn of(work: &str, causes: Vec<Cause>) -> Reason {
        let list: Vec<String> = causes.iter().map(Cause::to_string).collect();
        Reason { text: format!("{work}: {}", list.join("; ")), causes }
    }
}

/// One field that differs from the last build.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Cause {
    /// As keys name it: `generator.strength`, `train photos`.
    pub field: String,
    /// `None`: not said, or not there.
    pub old: Option<String>,
    pub new: Option<String>,
    /// The recipe, if the field is one of its.
    pub file: Option<String>,
    /// Where the recipe says it; a default has no line.
    pub line: Option<usize>,
    /// Photos that a list gained and lost.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub photos: Vec<PhotoChange>,
}

/// A photo of a list that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PhotoChange {
    /// `added`, `changed`, `removed` or `renamed`, which may change the order.
    pub change: &'static str,
    pub species: String,
    /// Relative to the dataset's root, where it is known.
    pub path: Option<String>,
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.photos.is_empty() {
            return write!(f, "{}: {}", self.field, sentence(&self.photos));
        }
        let show = |value: &Option<String>, absent: &str| value.clone().unwrap_or_else(|| absent.to_string());
        let Some(file) = &self.file else {
            return write!(f, "{} {} -> {}", self.field, show(&self.old, "nothing"), show(&self.new, "nothing"));
        };
        let (table, key) = table_and_key(&self.field);
        let (old, new) = (show(&self.old, "the default"), show(&self.new, "the default"));
        match self.line {
            Some(line) => write!(f, "{file}:{line}: [{table}] {key} {old} -> {new}"),
            None => write!(f, "{file}: [{table}] {key} {old} -> {new} (not said there: the default)"),
        }
    }
}

/// `generator.train` and `steps` of `generator.train.steps`; what follows `balance.species.` is a name, dots and all.
fn table_and_key(field: &str) -> (&str, &str) {
    for table in ["balance.species", "generator.names", "dataset.rename"] {
        if let Some(name) = field.strip_prefix(table).and_then(|rest| rest.strip_prefix('.')) {
            return (table, name);
        }
    }
    field.rsplit_once('.').unwrap_or(("", field))
}

/// The cause behind a difference of two keys, traced to the recipe's line where the field is one of the recipe's.
pub fn cause(recipe: &Recipe, change: &Difference) -> Cause {
    let show = |value: &Option<Value>| value.as_ref().map(Value::to_string);
    // A table's name before the first dot; behind it, a species' name may hold anything.
    let is_setting = change.field.split_once('.').is_some_and(|(table, _)| !table.contains(' '));
    let line = recipe.lines.get(&change.field).copied();
    Cause {
        field: change.field.clone(),
        old: show(&change.old),
        new: show(&change.new),
        file: is_setting.then(|| recipe.path.display().to_string()),
        line: line.filter(|_| is_setting),
        photos: Vec::new(),
    }
}

/// Everything that a recipe says, by dotted key, as text: what [`Inputs::differences`] needs to name edits that enter no
/// key of their own.
pub fn settings(recipe: &Recipe) -> Inputs {
    let mut all = BTreeMap::new();
    if let Ok(document) = toml::de::DeTable::parse(&recipe.text) {
        flatten("", document.get_ref(), &recipe.text, &mut all);
    }
    all.iter().fold(Inputs::new("recipe", 1), |inputs, (name, value)| inputs.text(name, value))
}

fn flatten(path: &str, table: &toml::de::DeTable<'_>, text: &str, all: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let name = key.get_ref();
        let name = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
        match value.get_ref() {
            toml::de::DeValue::Table(inner) => flatten(&name, inner, text, all),
            _ => {
                // A list over several lines reads as one; comments inside of it are rare enough to count as a change.
                let written = text.get(value.span()).unwrap_or_default();
                all.insert(name, written.split_whitespace().collect::<Vec<_>>().join(" "));
            }
        }
    }
}

/// A cause out of two recipes' texts: values as they are written.
pub fn edit(recipe: &Recipe, change: &Difference) -> Cause {
    let unquoted = |value: &Option<Value>| match value {
        Some(Value::Text(text)) => Some(text.clone()),
        other => other.as_ref().map(Value::to_string),
    };
    Cause { old: unquoted(&change.old), new: unquoted(&change.new), ..cause(recipe, change) }
}

/// Finds the paths of photos by the hexadecimal digits of their digests, in their order.
pub type Paths<'p> = &'p dyn Fn(&[&str]) -> Vec<Option<String>>;

/// Paths out of pairs of digest and path, walked through once.
pub fn find<'p, P: AsRef<str>>(wanted: &[&str], pairs: impl Iterator<Item = (P, &'p str)>) -> Vec<Option<String>> {
    let mut found: HashMap<&str, Option<&str>> = wanted.iter().map(|&hex| (hex, None)).collect();
    if !found.is_empty() {
        for (hex, path) in pairs {
            if let Some(place) = found.get_mut(hex.as_ref()) {
                place.get_or_insert(path);
            }
        }
    }
    wanted.iter().map(|hex| found[hex].map(str::to_string)).collect()
}

/// What changed between two lists of `digest species` lines.
pub fn photos(old: &str, new: &str, old_paths: Paths<'_>, new_paths: Paths<'_>) -> Vec<PhotoChange> {
    let (old, new) = where_they_differ(old, new);
    let (before, after) = (count(old), count(new));
    let gained = beyond(&after, &before);
    let lost = beyond(&before, &after);
    let resolve = |lines: Vec<&str>, paths: Paths<'_>| -> Vec<(String, Option<String>)> {
        let (digests, species): (Vec<&str>, Vec<&str>) = lines.iter().filter_map(|line| line.split_once(' ')).unzip();
        species.into_iter().map(String::from).zip(paths(&digests)).collect()
    };
    let mut added = resolve(gained, new_paths);
    let mut out = Vec::new();
    let mut removed = Vec::new();
    for (species, path) in resolve(lost, old_paths) {
        // A photo is the same photo where its path is; where that is not known, its species has to do.
        let at = match &path {
            Some(path) => added.iter().position(|(_, other)| other.as_ref() == Some(path)),
            None => None,
        };
        match at {
            Some(at) => {
                let (species, path) = added.remove(at);
                out.push(PhotoChange { change: "changed", species, path });
            }
            None => removed.push((species, path)),
        }
    }
    for (species, path) in removed {
        let at = added.iter().position(|(other, _)| path.is_none() && *other == species);
        match at {
            Some(at) => {
                let (species, path) = added.remove(at);
                out.push(PhotoChange { change: "changed", species, path });
            }
            None => out.push(PhotoChange { change: "removed", species, path }),
        }
    }
    out.extend(added.into_iter().map(|(species, path)| PhotoChange { change: "added", species, path }));
    out.sort();
    out
}

/// What changed between two lists of paths and the hexadecimal digits of their digests, of which a photo has another name
/// where its digest left one path and came to another.
pub fn files<'p>(old: &BTreeMap<&'p str, &'p str>, new: &BTreeMap<&'p str, &'p str>) -> Vec<PhotoChange> {
    let one = |change, path: &str| PhotoChange {
        change,
        species: path.split('/').nth_back(1).unwrap_or_default().to_string(),
        path: Some(path.to_string()),
    };
    let mut left: HashMap<&str, Vec<&str>> = HashMap::new();
    for (path, hex) in old.iter().filter(|(path, _)| !new.contains_key(*path)) {
        left.entry(hex).or_default().push(path);
    }
    let mut out = Vec::new();
    for (&path, &hex) in new {
        match old.get(path) {
            Some(&before) if before == hex => {}
            Some(_) => out.push(one("changed", path)),
            None if left.get_mut(hex).and_then(Vec::pop).is_some() => out.push(one("renamed", path)),
            None => out.push(one("added", path)),
        }
    }
    out.extend(left.into_values().flatten().map(|path| one("removed", path)));
    out.sort();
    out
}

/// `1 photo changed (train/JAY/003.jpg), 2 photos added (OWL)`.
pub fn sentence(photos: &[PhotoChange]) -> String {
    let mut by_change: BTreeMap<&str, Vec<&PhotoChange>> = BTreeMap::new();
    for photo in photos {
        by_change.entry(photo.change).or_default().push(photo);
    }
    let parts: Vec<String> = by_change
        .into_iter()
        .map(|(change, photos)| {
            let mut names: Vec<&str> =
                photos.iter().map(|photo| photo.path.as_deref().unwrap_or(&photo.species)).collect();
            names.dedup();
            let more = if names.len() > NAMED { ", ..." } else { "" };
            names.truncate(NAMED);
            format!("{} {change} ({}{more})", text::count(photos.len(), "photo"), names.join(", "))
        })
        .collect();
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
mod tests {
    use super::*;

    fn unknown(hexes: &[&str]) -> Vec<Option<String>> {
        vec![None; hexes.len()]
    }

    fn said(old: &str, new: &str) -> String {
        sentence(&photos(old, new, &unknown, &unknown))
    }

    #[test]
    fn a_changed_photo_is_one_change_and_named_where_its_path_is_known() {
        assert_eq!(said("aa JAY\nbb OWL\n", "aa JAY\ncc OWL\n"), "1 photo changed (OWL)");
        let paths = [("aa", "train/JAY/1.jpg"), ("bb", "train/OWL/2.jpg"), ("cc", "train/OWL/2.jpg")];
        let path = |hexes: &[&str]| find(hexes, paths.into_iter());
        let found = photos("aa JAY\nbb OWL\n", "aa JAY\ncc OWL\n", &path, &path);
        assert_eq!(sentence(&found), "1 photo changed (train/OWL/2.jpg)");
        let found = photos("aa JAY\nbb OWL\n", "aa JAY\ncc OWL\n", &unknown, &path);
        assert_eq!(sentence(&found), "1 photo changed (train/OWL/2.jpg)");
    }

    #[test]
    fn a_file_of_another_name_is_renamed_and_not_gone() {
        let old = BTreeMap::from([("train/JAY/1.jpg", "aa"), ("train/JAY/2.jpg", "bb"), ("test/OWL/1.jpg", "cc")]);
        let new = BTreeMap::from([("train/JAY/9.jpg", "aa"), ("train/JAY/2.jpg", "dd"), ("train/OWL/3.jpg", "ee")]);
        let told = "1 photo added (train/OWL/3.jpg), 1 photo changed (train/JAY/2.jpg), \
                    1 photo removed (test/OWL/1.jpg), 1 photo renamed (train/JAY/9.jpg)";
        assert_eq!(sentence(&files(&old, &new)), told);
        assert_eq!(files(&old, &new)[0].species, "OWL");
        assert!(files(&old, &old).is_empty());
    }

    #[test]
    fn added_and_removed_photos_are_told_apart() {
        assert_eq!(said("aa JAY\n", "aa JAY\nbb OWL\ncc OWL\n"), "2 photos added (OWL)");
        assert_eq!(said("aa JAY\nbb OWL\n", "cc TIT\n"), "1 photo added (TIT), 2 photos removed (JAY, OWL)");
        assert_eq!(said("aa JAY\nbb OWL\n", "bb OWL\naa JAY\n"), "in another order");
        let path = |hexes: &[&str]| hexes.iter().map(|hex| Some(format!("train/OWL/{hex}.jpg"))).collect();
        let moved = photos("aa OWL\n", "bb OWL\n", &path, &path);
        assert_eq!(sentence(&moved), "1 photo added (train/OWL/bb.jpg), 1 photo removed (train/OWL/aa.jpg)");
    }

    #[test]
    fn only_lines_that_differ_are_looked_at() {
        assert_eq!(where_they_differ("a 1\nb 2\nc 3\n", "a 1\nx 2\nc 3\n"), ("b 2\n", "x 2\n"));
        assert_eq!(where_they_differ("a 1\n", "a 1\na 1\n"), ("", "a 1\n"));
        assert_eq!(where_they_differ("b 1\na 1\n", "a 1\n"), ("b 1\na 1\n", "a 1\n"));
        assert_eq!(where_they_differ("a 1\n", ""), ("a 1\n", ""));
        assert_eq!(where_they_differ("a 1\n", "a 1\n"), ("", ""));
    }

    fn recipe() -> Recipe {
        let text = "[dataset]\nroot = \"x\"\n[generator]\nkind = \"ddpm\"\nstrength = 0.45\n[balance.species]\n\"ST. LUCIA PARROT\" = 3\n";
        crate::recipe::parse(text, std::path::Path::new("recipes/x.toml")).unwrap()
    }

    #[test]
    fn a_setting_is_traced_to_its_line() {
        let difference = |field: &str, old, new| Difference { field: field.to_string(), old, new };
        let real = |x| Some(Value::Real(x));
        let strength = difference("generator.strength", real(0.3), real(0.45));
        assert_eq!(cause(&recipe(), &strength).to_string(), "recipes/x.toml:5: [generator] strength 0.3 -> 0.45");
        let guidance = difference("generator.guidance", real(2.0), real(4.0));
        assert_eq!(
            cause(&recipe(), &guidance).to_string(),
            "recipes/x.toml: [generator] guidance 2.0 -> 4.0 (not said there: the default)"
        );
        let other = difference("generator", Some(Value::Digest([1; 32])), Some(Value::Digest([2; 32])));
        assert_eq!(cause(&recipe(), &other).to_string(), "generator 010101010101 -> 020202020202");
    }

    #[test]
    fn an_edit_that_enters_no_key_is_found_by_the_recipes_own_words() {
        let new = recipe();
        let mut old = new.clone();
        old.text =
            old.text.replace("PARROT\" = 3", "PARROT\" = 2").replace("kind = \"ddpm\"", "# a comment\nkind = \"ddpm\"");
        let found = settings(&new).differences(&settings(&old));
        let said: Vec<String> = found.iter().map(|change| edit(&new, change).to_string()).collect();
        assert_eq!(said, ["recipes/x.toml:7: [balance.species] ST. LUCIA PARROT 2 -> 3"]);
    }
}
