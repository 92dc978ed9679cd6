//! A JSON object read strictly: every field is taken, refused by name, or said to be unknown. Knows no network.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The fields of one configuration file that nobody has asked for yet.
pub struct Fields {
    path: PathBuf,
    left: Map<String, Value>,
}

impl Fields {
    /// The fields of the JSON object in `text`; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Input`] if the text is no JSON object.
    pub fn parse(path: &Path, text: &str) -> Result<Fields> {
        match serde_json::from_str(text) {
            Ok(Value::Object(left)) => Ok(Fields { path: path.to_path_buf(), left }),
            Ok(_) => Err(Error::input(format!("`{}`: holds no JSON object", path.display()))),
            Err(error) => Err(Error::input_help(
                format!("`{}`: is not JSON: {error}", path.display()),
                "half a download, or edited by hand: fetch the file again",
            )),
        }
    }

    /// The same file, with the fields of an object inside it.
    pub fn within(&self, left: Map<String, Value>) -> Fields {
        Fields { path: self.path.clone(), left }
    }

    /// A field's value; `None` if it is absent or null.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.left.remove(name).filter(|value| !value.is_null())
    }

    /// Whether the field is there and null, where that is not the same as absent.
    pub fn is_null(&self, name: &str) -> bool {
        self.left.get(name).is_some_and(Value::is_null)
    }

    /// The error that a field has a value which birdaug cannot honour; `allowed` says what it could.
    pub fn refuse(&self, name: &str, value: &Value, allowed: &str) -> Error {
        Error::input(format!("`{}`: `{name}` = {value} is not supported, {allowed} is", self.path.display()))
    }

    /// An error about the file as a whole.
    pub fn wrong(&self, problem: &str) -> Error {
        Error::input(format!("`{}`: {problem}", self.path.display()))
    }

    /// A whole number of at least 1.
    pub fn count(&mut self, name: &str, default: usize) -> Result<usize> {
        match self.take(name) {
            None => Ok(default),
            Some(value) => whole(&value).ok_or_else(|| self.refuse(name, &value, "a whole number of at least 1")),
        }
    }

    /// A whole number of at least 0.
    pub fn count_or_zero(&mut self, name: &str, default: usize) -> Result<usize> {
        if self.left.get(name).and_then(Value::as_u64) == Some(0) {
            self.left.remove(name);
            return Ok(0);
        }
        self.count(name, default)
    }

    /// The side of a square: a whole number, or two equal ones.
    pub fn square(&mut self, name: &str, default: usize) -> Result<usize> {
        let Some(value) = self.take(name) else { return Ok(default) };
        let side = match &value {
            Value::Array(pair) if pair.len() == 2 && pair[0] == pair[1] => whole(&pair[0]),
            single => whole(single),
        };
        side.ok_or_else(|| self.refuse(name, &value, "a whole number, or two equal ones,"))
    }

    /// A number.
    pub fn number(&mut self, name: &str, default: f64) -> Result<f64> {
        match self.take(name) {
            None => Ok(default),
            Some(value) => value.as_f64().ok_or_else(|| self.refuse(name, &value, "a number")),
        }
    }

    /// True or false.
    pub fn flag(&mut self, name: &str, default: bool) -> Result<bool> {
        match self.take(name) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| self.refuse(name, &value, "true or false")),
        }
    }

    /// A list of whole numbers of at least 1.
    pub fn counts(&mut self, name: &str, default: &[usize]) -> Result<Vec<usize>> {
        let Some(value) = self.take(name) else { return Ok(default.to_vec()) };
        let list = value.as_array().filter(|list| !list.is_empty());
        list.and_then(|list| list.iter().map(whole).collect())
            .ok_or_else(|| self.refuse(name, &value, "a list of whole numbers of at least 1"))
    }

    /// A whole number, or a list of `levels` of them; `None` if it is absent.
    pub fn counts_by_level(&mut self, name: &str, levels: usize) -> Result<Option<Vec<usize>>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let counts = match &value {
            Value::Array(list) if list.len() == levels => list.iter().map(whole).collect(),
            single => whole(single).map(|n| vec![n; levels]),
        };
        let allowed = format!("a whole number of at least 1, or a list of {levels} of them,");
        counts.map(Some).ok_or_else(|| self.refuse(name, &value, &allowed))
    }

    /// True or false, or a list of `levels` of them.
    pub fn flags_by_level(&mut self, name: &str, levels: usize, default: bool) -> Result<Vec<bool>> {
        let Some(value) = self.take(name) else { return Ok(vec![default; levels]) };
        let flags = match &value {
            Value::Array(list) if list.len() == levels => list.iter().map(Value::as_bool).collect(),
            single => single.as_bool().map(|flag| vec![flag; levels]),
        };
        flags.ok_or_else(|| self.refuse(name, &value, &format!("true, false, or a list of {levels} of them,")))
    }

    /// One of the words in `known`, a list of `levels` of them: which of them each is.
    pub fn words_by_level(&mut self, name: &str, levels: usize, known: &[&str]) -> Result<Option<Vec<usize>>> {
        let Some(value) = self.take(name) else { return Ok(None) };
        let place = |value: &Value| known.iter().position(|&word| value.as_str() == Some(word));
        let places = value.as_array().filter(|list| list.len() == levels);
        let allowed = format!("a list of {levels} of `{}`", known.join("` and `"));
        places
            .and_then(|list| list.iter().map(place).collect())
            .map(Some)
            .ok_or_else(|| self.refuse(name, &value, &allowed))
    }

    /// Takes a field that must be absent, null or one of `values`: those change nothing of what birdaug does.
    pub fn only(&mut self, name: &str, values: &[Value]) -> Result<()> {
        let Some(value) = self.take(name) else { return Ok(()) };
        let same = |other: &Value| match (value.as_f64(), other.as_f64()) {
            (Some(a), Some(b)) => a == b,
            _ => value == *other,
        };
        if values.iter().any(same) {
            return Ok(());
        }
        let allowed: Vec<String> = values.iter().map(Value::to_string).collect();
        let allowed = if allowed.is_empty() { "null".to_string() } else { allowed.join(" or ") };
        Err(self.refuse(name, &value, &format!("only {allowed}")))
    }

    /// Takes fields of any value: they say nothing of what the network computes.
    pub fn pass(&mut self, names: &[&str]) {
        for name in names {
            self.left.remove(*name);
        }
    }

    /// Takes the parts that are not there: null, or `[null, null]` as diffusers writes it.
    pub fn pass_empty(&mut self) {
        self.left.retain(|_, value| match value {
            Value::Null => false,
            Value::Array(list) => !list.iter().all(Value::is_null),
            _ => true,
        });
    }

    /// Every field must have been taken; those that begin with `_` are notes of the program that wrote the file.
    ///
    /// # Errors
    /// [`Error::Input`] naming each field that is left, with its value.
    pub fn finish(self, of: &str) -> Result<()> {
        let left: Vec<String> = self
            .left
            .iter()
            .filter(|(name, _)| !name.starts_with('_'))
            .map(|(name, value)| format!("`{name}` = {value}"))
            .collect();
        match left.len() {
            0 => Ok(()),
            1 => Err(self.wrong(&format!("{} is no known field of {of}", left[0]))),
            _ => Err(self.wrong(&format!("{} are no known fields of {of}", left.join(", ")))),
        }
    }
}

fn whole(value: &Value) -> Option<usize> {
    value.as_u64().filter(|&n| n > 0).and_then(|n| usize::try_from(n).ok())
}
