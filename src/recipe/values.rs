//! Values of a recipe by type: whole numbers, numbers, text, names, lists. Each comes with its place; what is
//! wrong is noted, and reading goes on. Knows TOML, nothing of what the keys mean.

use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::DeValue;

use super::names::{Spelled, one_of};
use super::problem::Problem;
use super::read::{At, Section, suggest};
use super::within::Within;
use crate::text;

/// No count in a recipe is larger: it would be a slip of the key.
const MOST: u64 = 1_000_000_000;

impl<'r, 't> Section<'r, 't> {
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

    /// `true` or `false`.
    pub fn flag(&self, key: &str) -> Option<At<bool>> {
        let value = self.get(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong_type(key, value, "`true` or `false`");
        }
        flag.map(|flag| At { value: flag, at: value.span() })
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
                let word = self.written(&item.at);
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

    /// A whole number, where `value` stands under `key` or in its list.
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
                self.impossible(key, value.span(), &format!("found {}", self.written(&value.span())), &says);
                None
            }
        }
    }

    /// A finite number under a key that may be any, likewise; `says`: what is allowed, in words.
    pub fn number_of(&self, key: &str, value: &Spanned<DeValue<'_>>, allowed: Within, says: &str) -> Option<At<f64>> {
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
        self.impossible(key, value.span(), &format!("found {}", self.written(&value.span())), says);
        None
    }

    /// Any text, likewise.
    pub fn text_of(&self, key: &str, value: &'r Spanned<DeValue<'t>>, what: &str) -> Option<At<&'r str>> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(key, value, what);
        }
        text.map(|text| At { value: text, at: value.span() })
    }

    /// Text that is not blank, likewise.
    pub fn filled_of(&self, key: &str, value: &'r Spanned<DeValue<'t>>, what: &str) -> Option<At<&'r str>> {
        let text = self.text_of(key, value, &format!("{what}, as text in quotes"))?;
        if !text.value.trim().is_empty() {
            return Some(text);
        }
        self.impossible(key, text.at, "found nothing between the quotes", what);
        None
    }

    /// One of a set of names, likewise.
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
