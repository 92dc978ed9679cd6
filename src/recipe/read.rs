//! Typed reading of a parsed recipe: each value with its place, each problem noted and reading gone on.
//! Knows TOML and places, nothing of what the keys mean.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::names::{Spelled, one_of};
use super::problem::{Problem, line_of};
use super::schema;
use super::within::Within;
use crate::text;

/// No count in a recipe is larger: it would be a slip of the key.
const MOST: u64 = 1_000_000_000;

/// A value and the bytes of the recipe that say it.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub value: T,
    pub at: Range<usize>,
}

/// What is shared while one recipe is read.
pub(super) struct Reader<'t> {
    text: &'t str,
    /// Lines whose syntax is broken: what was recovered from them is not to be trusted, so nothing is said of it.
    broken: BTreeSet<usize>,
    problems: RefCell<Vec<Problem>>,
    lines: RefCell<BTreeMap<String, usize>>,
    /// Dotted keys that are absent, each with the misspelt key that stands for it, so that what is said there is
    /// checked in the same run.
    meant: RefCell<BTreeMap<String, String>>,
}

impl<'t> Reader<'t> {
    pub fn new(text: &'t str, broken: BTreeSet<usize>) -> Reader<'t> {
        let (problems, lines, meant) = Default::default();
        Reader { text, broken, problems, lines, meant }
    }

    /// Notes a problem.
    pub fn report(&self, problem: Problem) {
        if !self.broken.contains(&line_of(self.text, problem.at.start)) {
            self.problems.borrow_mut().push(problem);
        }
    }

    /// Notes that something required is absent; not where broken syntax may have swallowed it.
    fn report_missing(&self, problem: Problem) {
        if self.broken.is_empty() {
            self.report(problem);
        }
    }

    /// What was found: problems, and the line of each key.
    pub fn finish(self) -> (Vec<Problem>, BTreeMap<String, usize>) {
        (self.problems.into_inner(), self.lines.into_inner())
    }
}

/// One table of the recipe; an absent one reads as an empty one.
pub(super) struct Section<'r, 't> {
    reader: &'r Reader<'t>,
    /// Dotted, empty for the whole recipe.
    path: String,
    header: Range<usize>,
    known: Vec<&'static str>,
    items: Option<&'r DeTable<'t>>,
}

impl<'r, 't> Section<'r, 't> {
    /// The whole recipe.
    pub fn root(reader: &'r Reader<'t>, items: &'r DeTable<'t>) -> Section<'r, 't> {
        let root = Section { reader, path: String::new(), header: 0..0, known: schema::tables(), items: Some(items) };
        root.note_lines();
        root.refuse_unknown(None);
        root
    }

    /// The table under `key`, whose own keys are any: names of species, say.
    pub fn open_table(&self, key: &str) -> Section<'r, 't> {
        let path = self.dotted(key);
        let (header, items) = match self.get(key) {
            None => (self.header.clone(), None),
            Some(value) => match value.get_ref() {
                DeValue::Table(items) => (self.key_at(key).unwrap_or(value.span()), Some(items)),
                _ => {
                    self.wrong_type(key, value, "a table");
                    (value.span(), None)
                }
            },
        };
        let section = Section { reader: self.reader, path, header, known: Vec::new(), items };
        section.note_lines();
        section
    }

    /// The table under `key`, which takes the keys `known`.
    pub fn table(&self, key: &str, known: &[&'static str]) -> Section<'r, 't> {
        self.open_table(key).taking(known, None)
    }

    /// This table, which takes the keys `known`. Those of `foreign`, a kind of generator and its own keys, are
    /// refused with that kind's name.
    pub fn taking(mut self, known: &[&'static str], foreign: Option<(&str, &[&'static str])>) -> Section<'r, 't> {
        self.known = known.to_vec();
        self.refuse_unknown(foreign);
        self
    }

    /// The place of the table's name, for what concerns no key of it.
    pub fn header(&self) -> Range<usize> {
        self.header.clone()
    }

    /// Whether the recipe says `key`.
    pub fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// The text under `key`, if it is text; says nothing otherwise.
    pub fn peek(&self, key: &str) -> Option<&'r str> {
        self.find(key)?.1.get_ref().as_str()
    }

    /// Where the recipe says `key`.
    pub fn key_at(&self, key: &str) -> Option<Range<usize>> {
        self.find(key).map(|(at, _)| at)
    }

    /// Notes a problem.
    pub fn report(&self, problem: Problem) {
        self.reader.report(problem);
    }

    /// `value`, or a problem that says that `key` has to be there, with an example.
    pub fn require<T>(&self, key: &str, value: Option<T>, example: &str) -> Option<T> {
        if !self.has(key) {
            let table = format!("[{}]", self.path);
            let absent = self.items.is_none();
            let title =
                if absent { format!("`{table}` is missing") } else { format!("`{key}` is missing in `{table}`") };
            let label = if absent { "nowhere in this file".to_string() } else { "this table needs it".to_string() };
            let help = if absent { format!("add `{table}` with `{example}`") } else { format!("add `{example}`") };
            self.reader.report_missing(Problem::new(self.header.clone(), title, label).help(help));
        }
        value
    }

    /// A whole number.
    pub fn whole(&self, key: &str, allowed: RangeInclusive<u64>) -> Option<At<u64>> {
        self.get(key).and_then(|value| self.whole_of(key, value, allowed))
    }

    /// A number of things, at least `least`.
    pub fn count(&self, key: &str, least: u64) -> Option<At<usize>> {
        self.whole(key, least..=MOST).map(|n| At { value: n.value as usize, at: n.at })
    }

    /// A seed: any whole number that TOML can hold, not below zero.
    pub fn seed(&self, key: &str) -> Option<At<u64>> {
        self.whole(key, 0..=i64::MAX as u64)
    }

    /// A finite number; a whole one counts too.
    pub fn number(&self, key: &str, allowed: Within) -> Option<At<f64>> {
        let value = self.get(key)?;
        self.number_of(key, value, allowed, &allowed.to_string())
    }

    /// A finite number, or `false` for no bound (`Some(None)`).
    pub fn bound(&self, key: &str, allowed: Within) -> Option<Option<At<f64>>> {
        let value = self.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(false) => Some(None),
            _ => self.number_of(key, value, allowed, &format!("{allowed}, or `false` for no bound")).map(Some),
        }
    }

    /// Any text.
    pub fn text(&self, key: &str) -> Option<At<&'r str>> {
        self.get(key).and_then(|value| self.text_of(key, value, "text in quotes"))
    }

    /// Text that is not blank.
    pub fn filled(&self, key: &str, what: &str) -> Option<At<&'r str>> {
        self.get(key).and_then(|value| self.filled_of(key, value, what))
    }

    /// One of a set of names.
    pub fn choice<T: Spelled>(&self, key: &str) -> Option<At<T>> {
        self.get(key).and_then(|value| self.choice_of(key, value))
    }

    /// A list with at least `least` elements, no two of which are equal; `read` reads one.
    pub fn distinct<T: PartialEq>(
        &self,
        key: &str,
        of_what: &str,
        least: usize,
        read: impl Fn(&'r Spanned<DeValue<'t>>) -> Option<At<T>>,
    ) -> Option<Vec<At<T>>> {
        let list = self.list(key, of_what, least, read)?;
        for (i, item) in list.iter().enumerate() {
            if let Some(first) = list[..i].iter().find(|first| first.value == item.value) {
                let word = &self.reader.text[item.at.clone()];
                let title = format!("{} names `{}` twice", self.named(key), word.trim_matches('"'));
                self.report(
                    Problem::new(item.at.clone(), title, "said again")
                        .beside(Some(first.at.clone()), "first here")
                        .help("remove one of the two"),
                );
                return None;
            }
        }
        Some(list)
    }

    /// A list with at least `least` elements; `read` reads one. `None` if any of them is wrong.
    pub fn list<T>(
        &self,
        key: &str,
        of_what: &str,
        least: usize,
        read: impl Fn(&'r Spanned<DeValue<'t>>) -> Option<At<T>>,
    ) -> Option<Vec<At<T>>> {
        let value = self.get(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(key, value, &format!("a list of {of_what}"));
            return None;
        };
        if items.len() < least {
            self.impossible(key, value.span(), "found an empty list", &format!("a list of {of_what}, at least one"));
            return None;
        }
        let read: Vec<Option<At<T>>> = items.iter().map(read).collect();
        read.into_iter().collect()
    }

    /// Every key of the table, with its place and value.
    pub fn entries(&self) -> impl Iterator<Item = (At<&'r str>, &'r Spanned<DeValue<'t>>)> {
        self.items
            .into_iter()
            .flat_map(|items| items.iter())
            .map(|(key, value)| (At { value: key.get_ref().as_ref(), at: key.span() }, value))
    }

    /// The value of `key` as TOML has it.
    pub fn get(&self, key: &str) -> Option<&'r Spanned<DeValue<'t>>> {
        debug_assert!(self.known.contains(&key), "`{key}` is read but not in the schema of `[{}]`", self.path);
        self.find(key).map(|(_, value)| value)
    }

    /// The place and value of `key`, or of the misspelt key that stands for it.
    fn find(&self, key: &str) -> Option<(Range<usize>, &'r Spanned<DeValue<'t>>)> {
        let items = self.items?;
        let found = items.get_key_value(key).or_else(|| {
            let meant = self.reader.meant.borrow();
            items.get_key_value(meant.get(&self.dotted(key))?.as_str())
        });
        found.map(|(key, value)| (key.span(), value))
    }

    pub fn whole_of(&self, key: &str, value: &Spanned<DeValue<'_>>, allowed: RangeInclusive<u64>) -> Option<At<u64>> {
        let (least, most) = (*allowed.start(), *allowed.end());
        let says = if most >= MOST {
            format!("a whole number, {}", if least == 0 { "0 or more".into() } else { format!("{least} or more") })
        } else {
            format!("a whole number from {least} to {}", text::thousands(most as usize))
        };
        let DeValue::Integer(written) = value.get_ref() else {
            self.wrong_type(key, value, &says);
            return None;
        };
        let n = i128::from_str_radix(written.as_str(), written.radix()).unwrap_or(i128::MAX);
        match u64::try_from(n).ok().filter(|n| allowed.contains(n)) {
            Some(n) => Some(At { value: n, at: value.span() }),
            None => {
                let says = if n > i128::from(most) && most >= MOST {
                    format!("{says}, and at most {}", text::thousands(most as usize))
                } else {
                    says
                };
                self.impossible(key, value.span(), &format!("found {}", self.source(value)), &says);
                None
            }
        }
    }

    fn number_of(&self, key: &str, value: &Spanned<DeValue<'_>>, allowed: Within, says: &str) -> Option<At<f64>> {
        let number = match value.get_ref() {
            DeValue::Float(written) => written.as_str().parse().unwrap_or(f64::NAN),
            DeValue::Integer(written) => {
                i64::from_str_radix(written.as_str(), written.radix()).map_or(f64::NAN, |n| n as f64)
            }
            _ => {
                self.wrong_type(key, value, says);
                return None;
            }
        };
        if allowed.holds(number) {
            return Some(At { value: number, at: value.span() });
        }
        self.impossible(key, value.span(), &format!("found {}", self.source(value)), says);
        None
    }

    pub fn text_of(&self, key: &str, value: &'r Spanned<DeValue<'t>>, what: &str) -> Option<At<&'r str>> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(key, value, what);
        }
        text.map(|text| At { value: text, at: value.span() })
    }

    pub fn filled_of(&self, key: &str, value: &'r Spanned<DeValue<'t>>, what: &str) -> Option<At<&'r str>> {
        let text = self.text_of(key, value, &format!("{what}, as text in quotes"))?;
        if !text.value.trim().is_empty() {
            return Some(text);
        }
        self.impossible(key, text.at, "found nothing between the quotes", what);
        None
    }

    pub fn choice_of<T: Spelled>(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<At<T>> {
        let names = || T::ALL.iter().map(|choice| choice.name());
        let Some(written) = value.get_ref().as_str() else {
            self.wrong_type(key, value, &one_of(names()));
            return None;
        };
        let choice = T::from_name(written);
        if choice.is_none() {
            self.unknown_name(key, value.span(), written, &names().collect::<Vec<_>>());
        }
        choice.map(|choice| At { value: choice, at: value.span() })
    }

    /// Notes that `written` is none of `names`.
    pub fn unknown_name(&self, key: &str, at: Range<usize>, written: &str, names: &[&str]) {
        let title = format!("{} does not know `{written}`", self.named(key));
        let problem = Problem::new(at, title, "unknown").allowed(one_of(names.iter().copied()));
        self.report(suggest(problem, written, names));
    }

    /// Notes a value of another type than `allowed`.
    pub fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, allowed: &str) {
        let title = format!("{} has the wrong type", self.named(key));
        let label = format!("found {}", found(value.get_ref()));
        self.report(Problem::new(value.span(), title, label).allowed(allowed));
    }

    /// Notes a value of the right type that cannot be.
    pub fn impossible(&self, key: &str, at: Range<usize>, found: &str, allowed: &str) {
        let title = format!("{} is impossible", self.named(key));
        self.report(Problem::new(at, title, found).allowed(allowed));
    }

    /// `` `steps` in `[generator]` ``.
    pub fn named(&self, key: &str) -> String {
        if self.path.is_empty() { format!("`{key}`") } else { format!("`{key}` in `[{}]`", self.path) }
    }

    fn source(&self, value: &Spanned<DeValue<'_>>) -> &'t str {
        &self.reader.text[value.span()]
    }

    fn dotted(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) }
    }

    fn note_lines(&self) {
        let mut lines = self.reader.lines.borrow_mut();
        for (key, _) in self.entries() {
            lines.insert(self.dotted(key.value), line_of(self.reader.text, key.at.start));
        }
    }

    fn refuse_unknown(&self, foreign: Option<(&str, &[&'static str])>) {
        for (key, value) in self.entries().filter(|(key, _)| !self.known.contains(&key.value)) {
            let written = key.value;
            if let Some((kind, _)) = foreign.filter(|(_, keys)| keys.contains(&written)) {
                let title = format!("{} belongs to another kind of generator", self.named(written));
                let problem = Problem::new(key.at, title, format!("only `{kind}` takes this"));
                self.report(problem.help(format!("remove it, or choose `kind = \"{kind}\"`")));
                continue;
            }
            let is_table = self.path.is_empty() && matches!(value.get_ref(), DeValue::Table(_));
            let title = if is_table {
                format!("there is no table `[{written}]`")
            } else if self.path.is_empty() {
                format!("`{written}` stands outside of every table")
            } else {
                format!("`[{}]` takes no `{written}`", self.path)
            };
            let mut problem = Problem::new(key.at, title, "unknown").allowed(self.known.join(", "));
            let near = text::nearest(written, self.known.iter().copied());
            let homes = schema::homes_of(written);
            if near.is_none() && !homes.is_empty() {
                problem = problem.help(format!("`{written}` belongs in {}", one_of(homes.iter().map(String::as_str))));
            } else {
                problem = suggest(problem, written, &self.known);
            }
            if let Some(near) = near {
                self.reader.meant.borrow_mut().entry(self.dotted(near)).or_insert_with(|| written.to_string());
            }
            self.report(problem);
        }
    }
}

fn suggest(problem: Problem, written: &str, names: &[&str]) -> Problem {
    let longer = |name: &&str| written.len() >= 3 && (name.starts_with(written) || written.starts_with(*name));
    match text::nearest(written, names.iter().copied()).or_else(|| names.iter().copied().find(longer)) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem,
    }
}

/// A value in words, for "found ...".
fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(_) => "text".to_string(),
        DeValue::Integer(written) => format!("the whole number {written}"),
        DeValue::Float(written) => format!("the number {written}"),
        DeValue::Boolean(written) => format!("`{written}`"),
        DeValue::Datetime(_) => "a date or time".to_string(),
        DeValue::Array(_) => "a list".to_string(),
        DeValue::Table(_) => "a table".to_string(),
    }
}
