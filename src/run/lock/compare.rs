//! In what two locks differ, a change a fact. Pure.

use std::collections::BTreeMap;

use super::{Lock, Locked, Machine};
use crate::plan::Key;

/// A fact that two locks give differently; `None` where one lacks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub what: String,
    pub old: Option<String>,
    pub new: Option<String>,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let show = |side: &Option<String>| side.clone().unwrap_or_else(|| "nothing".to_string());
        write!(f, "{}: {} -> {}", self.what, show(&self.old), show(&self.new))
    }
}

impl Lock {
    /// What is new in this lock against an old one: the dataset first, then models, candidates and the tree.
    pub fn changes_from(&self, old: &Lock) -> Vec<Change> {
        let mut out = between(&old.small_facts(), &self.small_facts());
        out.extend(between(&old.candidate_facts(), &self.candidate_facts()));
        let tree = |lock: &Lock| lock.tree.map(|tree| Key(tree).short());
        push(&mut out, "emitted tree".to_string(), tree(old), tree(self));
        out
    }

    fn small_facts(&self) -> BTreeMap<String, String> {
        let mut facts = BTreeMap::from([("birdaug".to_string(), self.engine.clone())]);
        for (name, digest) in &self.dataset {
            facts.insert(dataset_fact(name), Key(*digest).short());
        }
        for (path, digest) in &self.weights {
            facts.insert(format!("weights `{path}`"), Key(*digest).short());
        }
        for (name, fitted) in &self.models {
            facts.insert(format!("model {name}, key"), fitted.key.short());
            facts.insert(format!("model {name}, weights"), Key(fitted.weights).short());
            facts.insert(format!("model {name}, fitted on"), fitted.machine.to_string());
        }
        facts
    }

    fn candidate_facts(&self) -> BTreeMap<String, String> {
        self.candidates()
            .map(|Locked { key, species, machine, image }| {
                let mut told = format!("{} {}", image.fate.name(), Key(image.digest).short());
                if *machine != Machine::default() {
                    told.push_str(&format!(", made on {machine}"));
                }
                (format!("candidate {} of {species}", key.short()), told)
            })
            .collect()
    }
}

/// How people are told of a fact of `[dataset]`.
pub(super) fn dataset_fact(name: &str) -> String {
    match name {
        "encoding" => "encoding of synthetic images".to_string(),
        "photos" => "all photos of the dataset".to_string(),
        part => format!("{part} photos"),
    }
}

/// The facts that two sets give differently, in the order of their names.
pub(super) fn between(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Vec<Change> {
    let mut out = Vec::new();
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        push(&mut out, name.clone(), old.get(name).cloned(), new.get(name).cloned());
    }
    out
}

fn push(out: &mut Vec<Change>, what: String, old: Option<String>, new: Option<String>) {
    if old != new {
        out.push(Change { what, old, new });
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Fate, Image};
    use super::*;

    #[test]
    fn a_change_names_the_fact_with_both_values() {
        let machine = Machine { device: "cpu".into(), libtorch: "2".into() };
        let with = |digest: u8, kept| {
            let fate = if kept { Fate::Keep } else { Fate::Drop };
            let images = BTreeMap::from([(Key([1; 32]), Image { digest: [digest; 32], fate })]);
            let by_species = BTreeMap::from([("JAY".to_string(), images)]);
            Lock { candidates: BTreeMap::from([(machine.clone(), by_species)]), ..Lock::default() }
        };
        assert!(with(2, true).changes_from(&with(2, true)).is_empty());
        let lines: Vec<String> = with(2, false).changes_from(&with(2, true)).iter().map(Change::to_string).collect();
        let (keep, drop) = ("keep 020202020202, made on cpu, libtorch 2", "drop 020202020202, made on cpu, libtorch 2");
        assert_eq!(lines, [format!("candidate 010101010101 of JAY: {keep} -> {drop}")]);
        let anywhere = |kept| with(2, kept).made_anywhere();
        let told = anywhere(false).changes_from(&anywhere(true))[0].to_string();
        assert_eq!(told, "candidate 010101010101 of JAY: keep 020202020202 -> drop 020202020202");
        let gone = Lock::default().changes_from(&with(2, true));
        assert_eq!(gone[0].new, None);
        let tree = Lock { tree: Some([7; 32]), ..Lock::default() }.changes_from(&Lock::default());
        assert_eq!(tree[0].to_string(), "emitted tree: nothing -> 070707070707");
    }
}
