//! The tables of a parsed recipe: what they hold and where, and which of their keys nobody knows. Knows TOML and
//! places, nothing of what the keys mean; `values` reads what stands behind them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::names::one_of;
use super::problem::{Problem, line_of};
use super::schema;
use crate::text;

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
    items: Items<'r, 't>,
}

/// What a table holds.
#[derive(Clone, Copy)]
enum Items<'r, 't> {
    These(&'r DeTable<'t>),
    /// The recipe does not say this table.
    Absent,
    /// It says something else under that name, which has had its message.
    NoTable,
}

impl<'r, 't> Items<'r, 't> {
    fn table(self) -> Option<&'r DeTable<'t>> {
        match self {
            Items::These(table) => Some(table),
            Items::Absent | Items::NoTable => None,
        }
    }
}

impl<'r, 't> Section<'r, 't> {
    /// The whole recipe.
    pub fn root(reader: &'r Reader<'t>, items: &'r DeTable<'t>) -> Section<'r, 't> {
        let root =
            Section { reader, path: String::new(), header: 0..0, known: schema::tables(), items: Items::These(items) };
        root.note_lines();
        root.refuse_unknown(None);
        root
    }

    /// The table under `key`, whose own keys are any: names of species, say.
    pub fn open_table(&self, key: &str) -> Section<'r, 't> {
        match self.get(key) {
            None => self.inner(key, self.header.clone(), Items::Absent),
            Some(value) => self.table_of(key, self.key_at(key).unwrap_or(value.span()), value),
        }
    }

    /// The table that `value` is, under a `key` that stands at this place.
    pub fn table_of(&self, key: &str, at: Range<usize>, value: &'r Spanned<DeValue<'t>>) -> Section<'r, 't> {
        match value.get_ref() {
            DeValue::Table(items) => self.inner(key, at, Items::These(items)),
            _ => {
                self.wrong_type(key, value, "a table");
                self.inner(key, value.span(), Items::NoTable)
            }
        }
    }

    fn inner(&self, key: &str, header: Range<usize>, items: Items<'r, 't>) -> Section<'r, 't> {
        let section = Section { reader: self.reader, path: self.dotted(key), header, known: Vec::new(), items };
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
        if !self.has(key) && !matches!(self.items, Items::NoTable) {
            let table = format!("[{}]", self.path);
            let absent = matches!(self.items, Items::Absent);
            let title =
                if absent { format!("`{table}` is missing") } else { format!("`{key}` is missing in `{table}`") };
            let label = if absent { "nowhere in this file".to_string() } else { "this table needs it".to_string() };
            let help = if absent { format!("add `{table}` with `{example}`") } else { format!("add `{example}`") };
            self.reader.report_missing(Problem::new(self.header.clone(), title, label).help(help));
        }
        value
    }

    /// Every key of the table, with its place and value.
    pub fn entries(&self) -> impl Iterator<Item = (At<&'r str>, &'r Spanned<DeValue<'t>>)> {
        self.items
            .table()
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
        let items = self.items.table()?;
        let found = items.get_key_value(key).or_else(|| {
            let meant = self.reader.meant.borrow();
            items.get_key_value(meant.get(&self.dotted(key))?.as_str())
        });
        found.map(|(key, value)| (key.span(), value))
    }

    /// `` `steps` in `[generator]` ``.
    pub fn named(&self, key: &str) -> String {
        if self.path.is_empty() { format!("`{key}`") } else { format!("`{key}` in `[{}]`", self.path) }
    }

    /// The recipe's own text at a place.
    pub fn written(&self, at: &Range<usize>) -> &'t str {
        &self.reader.text[at.clone()]
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

/// The problem with the nearest of `names`, or one that begins alike, where there is one.
pub(super) fn suggest(problem: Problem, written: &str, names: &[&str]) -> Problem {
    let longer = |name: &&str| written.len() >= 3 && (name.starts_with(written) || written.starts_with(*name));
    match text::nearest(written, names.iter().copied()).or_else(|| names.iter().copied().find(longer)) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem,
    }
}
