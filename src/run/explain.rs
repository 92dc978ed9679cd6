//! Why a piece of work is due, as data and as a sentence: the field of its key that differs with both values, and the
//! line of the recipe or the photo behind it. Makes nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::plan::key::Difference;
use crate::plan::{Inputs, Value};
use crate::recipe::Recipe;

use super::changes::{self, PhotoChange};

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

    /// [`Reason::of`], or the work alone where no cause is known.
    pub fn of_any(work: &str, causes: Vec<Cause>) -> Reason {
        if causes.is_empty() { work.to_string().into() } else { Reason::of(work, causes) }
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

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.photos.is_empty() {
            return write!(f, "{}: {}", self.field, changes::sentence(&self.photos));
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

#[cfg(test)]
mod tests {
    use super::*;

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
