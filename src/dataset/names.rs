//! Names of folders and files: their order, near-equality, and how a recipe writes them. Knows nothing of the disk.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::text::quoted;

/// The order in which people count: `2.jpg` before `10.jpg`; equal numbers by their bytes (`2` before `02`).
pub(super) fn natural(a: &str, b: &str) -> Ordering {
    let (mut x, mut y) = (a.as_bytes(), b.as_bytes());
    while let (Some(&p), Some(&q)) = (x.first(), y.first()) {
        let order = if p.is_ascii_digit() && q.is_ascii_digit() {
            let (m, n) = (number(&mut x), number(&mut y));
            m.len().cmp(&n.len()).then(m.cmp(n))
        } else {
            (x, y) = (&x[1..], &y[1..]);
            p.cmp(&q)
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    x.len().cmp(&y.len()).then_with(|| a.len().cmp(&b.len())).then_with(|| a.cmp(b))
}

/// Splits the leading number off, without its leading zeros.
fn number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    &digits[digits.iter().position(|&b| b != b'0').unwrap_or(end)..]
}

/// Letters and digits in lower case, in words with one space between: what is left when case, spaces and
/// punctuation do not count.
pub(super) fn plain(name: &str) -> String {
    let lower = name.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    words.join(" ")
}

/// Whether two different names are probably one name written twice: equal but for case, spaces and punctuation, or
/// one letter apart (two in names of 16 letters or more).
pub(super) fn nearly_same(a: &str, b: &str) -> bool {
    let (a, b) = (plain(a), plain(b));
    let (n, m) = (a.chars().count(), b.chars().count());
    let allowed = match n.min(m) {
        0..5 => 0,
        5..16 => 1,
        _ => 2,
    };
    a == b || a.replace(' ', "") == b.replace(' ', "") || {
        n.abs_diff(m) <= allowed && strsim::damerau_levenshtein(&a, &b) <= allowed
    }
}

/// The first of `candidates` that is nearly the same as `name`; those that differ by nothing but case, spaces and
/// punctuation go first.
pub(super) fn twin<'a>(name: &str, candidates: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let words = plain(name);
    let others = candidates.filter(|&c| c != name);
    others.clone().find(|c| plain(c) == words).or_else(|| others.clone().find(|c| nearly_same(name, c)))
}

/// `exclude = ["A", "B"]`.
pub(super) fn exclude_text(names: &BTreeSet<String>) -> String {
    let names: Vec<String> = names.iter().map(|n| quoted(n)).collect();
    format!("exclude = [{}]", names.join(", "))
}

/// `rename = { "A" = "B" }`: how a recipe says which folder names mean which species.
pub fn rename_text(names: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = names.iter().map(|(from, to)| format!("{} = {}", quoted(from), quoted(to))).collect();
    format!("rename = {{ {} }}", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_counted_as_people_count() {
        let mut names = ["10.jpg", "2.jpg", "1.jpg", "02.jpg", "a 9", "a 10", "a", "", "é.jpg", "001.jpg"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["", "1.jpg", "001.jpg", "2.jpg", "02.jpg", "10.jpg", "a", "a 9", "a 10", "é.jpg"]);
    }

    #[test]
    fn a_spelling_slip_is_nearly_the_same_and_another_bird_is_not() {
        for (a, b) in [
            ("PARAKETT  AUKLET", "PARAKETT AUKLET"),
            ("Blue Jay", "BLUE_JAY"),
            ("BLUEJAY", "BLUE JAY"),
            ("MANDRIN DUCK", "MANDARIN DUCK"),
        ] {
            assert!(nearly_same(a, b), "{a} {b}");
        }
        for (a, b) in [("BALD EAGLE", "BALD IBIS"), ("OWL", "AWL"), ("KING VULTURE", "BLACK VULTURE")] {
            assert!(!nearly_same(a, b), "{a} {b}");
        }
    }

    #[test]
    fn a_twin_that_differs_by_spaces_goes_before_one_that_differs_by_a_letter() {
        let names = ["PARAKETS AUKLET", "PARAKETT AUKLET", "MALLARD"];
        assert_eq!(twin("PARAKETT  AUKLET", names.into_iter()), Some("PARAKETT AUKLET"));
        assert_eq!(twin("MALLARDS", names.into_iter()), Some("MALLARD"));
        assert_eq!(twin("WREN", names.into_iter()), None);
    }

    #[test]
    fn names_are_written_as_toml_strings() {
        assert_eq!(quoted("a \"b\" \\ \n"), "\"a \\\"b\\\" \\\\ \\u000A\"");
    }
}
