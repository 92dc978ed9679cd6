//! One of several builds that share a recipe's candidates: each candidate is made in exactly one of them, by its key.
//! Fits nothing and knows nothing of scores: what the filter will drop is unknown, so where there is a filter, all
//! candidates that a build may come to ask for are made.

use crate::error::{Error, Result};

use super::choose;
use super::make;
use super::model;
use super::session::Session;
use super::survey;

/// A part of the candidates: those whose key, as a number, leaves this remainder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    number: u64,
    of: u64,
}

impl Shard {
    /// From `I/N`, counted from 1.
    ///
    /// # Errors
    /// [`Error::Usage`] for anything else.
    pub fn parse(text: &str) -> Result<Shard> {
        let wrong = || Error::Usage(format!("`--shard {text}`: give it as I/N with I from 1 to N, such as 2/8"));
        let (number, of) = text.split_once('/').ok_or_else(wrong)?;
        let whole = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse::<u64>().map_err(|_| wrong()),
            false => Err(wrong()),
        };
        let (number, of) = (whole(number)?, whole(of)?);
        if number == 0 || number > of {
            return Err(wrong());
        }
        Ok(Shard { number, of })
    }

    /// Whether a key's candidate is this part's to make.
    pub fn has(&self, key: &[u8; 32]) -> bool {
        let head = key.first_chunk::<8>().map_or(0, |head| u64::from_le_bytes(*head));
        head % self.of == self.number - 1
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// Makes the part's candidates; returns what a person should know.
pub fn build(session: &mut Session<'_>, shard: Shard) -> Result<Vec<String>> {
    let survey = survey::survey(session)?;
    let mut notes = survey.notes();
    if survey.wanted.iter().all(|&n| n == 0) {
        notes.push("no species wants synthetic images: every one has reached the target".to_string());
        return Ok(notes);
    }
    let Some(model) = model::generator(session, &survey)? else { return Ok(notes) };
    let filter = &session.recipe.filter;
    let look = if filter.may_drop() { &survey.most_caps } else { &survey.most };
    let mut all = choose::wanted(session, &survey, &model, look);
    let total = all.len();
    all.retain(|wanted| shard.has(&wanted.key.0));
    let mut part = vec![0; look.len()];
    for wanted in &all {
        part[wanted.species] += 1;
    }
    let found = make::look_up(session.store, &all);
    choose::count(session, &survey, &all, &found, &part);
    make::candidates(session, &survey, &model, &all, found)?;
    let number = crate::text::thousands(all.len());
    notes.push(format!("shard {shard} has {number} of {}", crate::text::count(total, "candidate")));
    Ok(notes)
}

/// What a shard says of work that is not its own and is not done.
pub fn refuse(slot: &str, shard: Shard) -> Error {
    Error::input_help(
        format!("{slot} is in no cache that shard {shard} reads, and a shard makes candidates alone"),
        "run `birdaug build RECIPE --until generator` first, and name its cache by `--cache-from DIR`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_in_exactly_one_shard() {
        for of in [1, 3, 8] {
            let shards: Vec<Shard> = (1..=of).map(|i| Shard::parse(&format!("{i}/{of}")).unwrap()).collect();
            let mut sizes = vec![0; shards.len()];
            for n in 0..3000u32 {
                let key = *blake3::hash(&n.to_le_bytes()).as_bytes();
                let homes: Vec<usize> = (0..shards.len()).filter(|&i| shards[i].has(&key)).collect();
                assert_eq!(homes.len(), 1);
                sizes[homes[0]] += 1;
            }
            let even = 3000 / sizes.len();
            assert!(sizes.iter().all(|&n| n > even * 8 / 10 && n < even * 12 / 10 + 1), "{sizes:?}");
        }
    }

    #[test]
    fn only_a_part_of_a_whole_is_a_shard() {
        assert_eq!(Shard::parse("2/8").unwrap(), Shard { number: 2, of: 8 });
        for wrong in
            ["", "3", "0/4", "5/4", "1/0", "a/4", "1/", "/4", "-1/4", "+1/4", "1/2/3", "1/99999999999999999999999"]
        {
            let said = Shard::parse(wrong).unwrap_err();
            assert_eq!(said.exit_code(), 2, "{wrong}");
            assert!(said.to_string().starts_with(&format!("`--shard {wrong}`: give it as I/N")), "{said}");
        }
    }
}
