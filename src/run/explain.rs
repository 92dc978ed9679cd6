//! A difference between two records as a sentence; lists of photos are looked into. Makes nothing.

use std::collections::BTreeMap;

use crate::plan::Value;
use crate::plan::inputs::Digest;
use crate::plan::key::Difference;
use crate::text;

/// Species named in one sentence at most.
const NAMED: usize = 3;

/// `generator.train.steps 400 -> 800`, `train photos: 1 photo changed (BLUE JAY)`; `list` finds a list of photos by its
/// digest.
pub fn difference(list: &dyn Fn(&Digest) -> Option<String>, change: &Difference) -> String {
    if let (Some(Value::Digest(old)), Some(Value::Digest(new))) = (&change.old, &change.new)
        && change.field.ends_with("photos")
        && let (Some(old), Some(new)) = (list(old), list(new))
    {
        return format!("{}: {}", change.field, photos(&old, &new));
    }
    let show = |value: &Option<Value>| value.as_ref().map_or("nothing".to_string(), Value::to_string);
    format!("{} {} -> {}", change.field, show(&change.old), show(&change.new))
}

/// What changed between two lists of `digest species` lines.
pub fn photos(old: &str, new: &str) -> String {
    let mut added: BTreeMap<&str, usize> = BTreeMap::new();
    let mut removed: BTreeMap<&str, usize> = BTreeMap::new();
    let (before, after) = (count(old), count(new));
    for (line, n) in &after {
        let gained = n.saturating_sub(before.get(line).copied().unwrap_or(0));
        if gained > 0 {
            *added.entry(species(line)).or_default() += gained;
        }
    }
    for (line, n) in &before {
        let lost = n.saturating_sub(after.get(line).copied().unwrap_or(0));
        if lost > 0 {
            *removed.entry(species(line)).or_default() += lost;
        }
    }
    if added.is_empty() && removed.is_empty() {
        return "in another order".to_string();
    }
    let part = |counts: &BTreeMap<&str, usize>, what: &str| {
        let names: Vec<&str> = counts.keys().take(NAMED).copied().collect();
        let more = if counts.len() > NAMED { ", ..." } else { "" };
        format!("{} {what} ({}{more})", text::count(counts.values().sum(), "photo"), names.join(", "))
    };
    if added == removed {
        return part(&added, "changed");
    }
    let mut parts = Vec::new();
    if !added.is_empty() {
        parts.push(part(&added, "added"));
    }
    if !removed.is_empty() {
        parts.push(part(&removed, "removed"));
    }
    parts.join(", ")
}

fn count(list: &str) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for line in list.lines() {
        *counts.entry(line).or_default() += 1;
    }
    counts
}

fn species(line: &str) -> &str {
    line.split_once(' ').map_or("", |(_, species)| species)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_photo_is_one_change() {
        assert_eq!(photos("aa JAY\nbb OWL\n", "aa JAY\ncc OWL\n"), "1 photo changed (OWL)");
    }

    #[test]
    fn added_and_removed_photos_are_counted_by_species() {
        assert_eq!(photos("aa JAY\n", "aa JAY\nbb OWL\ncc OWL\n"), "2 photos added (OWL)");
        assert_eq!(photos("aa JAY\nbb OWL\n", "cc TIT\n"), "1 photo added (TIT), 2 photos removed (JAY, OWL)");
        assert_eq!(photos("aa JAY\nbb OWL\n", "bb OWL\naa JAY\n"), "in another order");
    }
}
