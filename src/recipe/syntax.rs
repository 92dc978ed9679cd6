//! TOML's own syntax: every error of it, and the rest of the text made readable in spite of them. Knows
//! nothing of recipes.
//!
//! A parser that meets one error may lose what follows. So each broken statement is blanked out, byte for byte, and the
//! text read again, until it reads or nothing new is found; places in it stay those of the original.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::de::DeTable;

use super::problem::{Problem, line_of};

/// More rounds than this would be a file that is no recipe.
const ROUNDS: usize = 32;

/// A text whose broken statements are blanked out.
pub(super) struct Mended {
    /// As long as the original, and equal to it elsewhere.
    pub text: String,
    /// What was wrong with the syntax, at most one problem a line.
    pub problems: Vec<Problem>,
    /// The lines that were blanked out, from 1.
    pub broken: BTreeSet<usize>,
}

/// Finds the errors of syntax in `text` and blanks them out; a key said twice is not one of them.
pub(super) fn mend(text: &str) -> Mended {
    let mut mended = Mended { text: text.to_string(), problems: Vec::new(), broken: BTreeSet::new() };
    for _ in 0..ROUNDS {
        let (_, errors) = DeTable::parse_recoverable(&mended.text);
        let mut fresh = Vec::new();
        for error in errors.iter().filter(|error| !is_duplicate(error)) {
            let (at, label) = place_and_label(&mended.text, error);
            let line = line_of(text, at.start);
            if mended.broken.insert(line) {
                mended.problems.push(Problem::new(at, "this line is not TOML", label));
                fresh.push(line);
            }
        }
        if fresh.is_empty() {
            break;
        }
        for line in fresh {
            let lines = extent(&mended.text, line);
            mended.broken.extend(lines.clone());
            mended.text = blanked(&mended.text, &lines);
        }
    }
    mended
}

/// The text as TOML, and the keys that it says twice.
pub(super) fn read(text: &str) -> (DeTable<'_>, Vec<Problem>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let document = document.into_inner();
    let twice = errors.iter().filter(|error| is_duplicate(error)).map(|error| {
        let at = error.span().unwrap_or(0..0);
        let name = text.get(at.clone()).unwrap_or_default().trim_matches(['"', '\'']);
        let first = first_of(&document, name, at.start).or_else(|| same_line_before(text, at.start));
        Problem::new(at, format!("`{name}` is said twice"), "said again")
            .beside(first, "first here")
            .help("remove one of the two")
    });
    let twice = twice.collect();
    (document, twice)
}

/// The parser's place and words, but for the two cases in which they mislead: text of several lines that never
/// ends is marked where it begins, and a value that is not there is called missing.
fn place_and_label(text: &str, error: &toml::de::Error) -> (Range<usize>, String) {
    let at = error.span().unwrap_or(0..0);
    let message = error.message();
    let before = text.get(..at.start).unwrap_or_default();
    if message.starts_with("invalid multi-line")
        && let Some(opens) = before.rfind("\"\"\"").max(before.rfind("'''"))
    {
        return (opens..opens + 3, "these quotes are never closed".to_string());
    }
    let is_bare = text.get(at.start..).is_some_and(|rest| rest.is_empty() || rest.starts_with(['\n', '\r', '#']));
    if is_bare && before.trim_end().ends_with('=') {
        return (at.start..at.start, "the value is missing".to_string());
    }
    (at, message.trim_end_matches(", expected nothing").to_string())
}

fn is_duplicate(error: &toml::de::Error) -> bool {
    error.message().starts_with("duplicate key")
}

/// The lines (from 1) of the statement that the broken `line` belongs to: more than that line alone only while
/// a bracket is open.
fn extent(text: &str, line: usize) -> Range<usize> {
    let lines: Vec<&str> = text.lines().collect();
    let broken = (line - 1).min(lines.len().saturating_sub(1));
    let begins = (0..=broken).rev().find(|&i| starts_statement(lines[i])).unwrap_or(broken);
    let first = if open_brackets(&lines[begins..broken]) > 0 { begins } else { broken };
    let mut end = broken + 1;
    while end < lines.len() && open_brackets(&lines[first..end]) > 0 && !starts_statement(lines[end]) {
        end += 1;
    }
    first + 1..end + 1
}

/// Whether a line looks like a table's name or like `key = ...`.
fn starts_statement(line: &str) -> bool {
    let line = line.trim_start();
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.\"' ".contains(c);
    match line.strip_prefix('[') {
        Some(rest) => rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '[' || c == '_'),
        None => line.split_once('=').is_some_and(|(key, _)| !key.trim().is_empty() && key.chars().all(is_name)),
    }
}

/// Brackets opened and not closed, outside of quotes and comments.
fn open_brackets(lines: &[&str]) -> i64 {
    let mut depth = 0;
    for line in lines {
        let mut quote = None;
        for c in line.chars() {
            match (quote, c) {
                (None, '#') => break,
                (None, '"' | '\'') => quote = Some(c),
                (Some(open), _) if open == c => quote = None,
                (None, '[' | '{') => depth += 1,
                (None, ']' | '}') => depth -= 1,
                _ => {}
            }
        }
    }
    depth
}

/// The text with these lines (from 1) made blank. The name of a table stays a name, though another one, so
/// that its keys do not fall to the table before it.
fn blanked(text: &str, lines: &Range<usize>) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, line) in text.split_inclusive('\n').enumerate() {
        if !lines.contains(&(i + 1)) {
            out.push_str(line);
            continue;
        }
        let content = line.trim_end_matches(['\n', '\r']);
        if content.starts_with('[') && content.len() > 2 && !content.starts_with("[x") {
            out.push('[');
            out.extend(std::iter::repeat_n('x', content.len() - 2));
            out.push(']');
        } else {
            out.extend(std::iter::repeat_n(' ', content.len()));
        }
        out.push_str(&line[content.len()..]);
    }
    out
}

/// Where the document says the key `name` before the byte `at`: the nearest such place.
fn first_of(document: &DeTable<'_>, name: &str, at: usize) -> Option<Range<usize>> {
    let here = document.iter().filter(|(key, _)| key.get_ref() == name).map(|(key, _)| key.span());
    let inside = document.values().filter_map(|value| first_of(value.get_ref().as_table()?, name, at));
    here.chain(inside).filter(|place| place.start < at).max_by_key(|place| place.start)
}

/// Where the line of the byte `at`, the name of a table, stands before it.
fn same_line_before(text: &str, at: usize) -> Option<Range<usize>> {
    let start = text[..at].rfind('\n').map_or(0, |n| n + 1);
    let name = text[start..].lines().next()?.split('#').next()?.trim();
    let first = text[..start].find(name).filter(|_| name.starts_with('['))?;
    Some(first..first + name.len())
}
