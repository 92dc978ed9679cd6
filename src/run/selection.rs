//! The candidates that were looked at, with all that is known of each. Makes and judges nothing.

use crate::plan::Key;
use crate::plan::inputs::Digest;
use crate::plan::select::Verdict;

use super::gate::Outcome;
use super::score::Scored;
use super::survey::Survey;

/// A candidate with all that is known of it.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Index into the dataset's species.
    pub species: usize,
    pub key: Key,
    /// The image's blob.
    pub image: Digest,
    pub source: Option<Digest>,
    /// How many earlier candidates of the species share that source.
    pub index: u64,
    pub scored: Scored,
    pub verdict: Verdict,
    /// The kept candidate that it is a near-duplicate of, where that is why it was dropped.
    pub twin: Option<Key>,
}

/// Every candidate that was looked at, species by species, in order.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    pub candidates: Vec<Candidate>,
    /// Those that only arms with a larger dose look at, likewise.
    pub more: Vec<Candidate>,
    /// What the gates came to; nothing where the recipe sets none.
    pub gates: Outcome,
    /// Identifies the verdicts of `candidates` and what they were reached from.
    pub digest: Digest,
}

impl Selection {
    /// The kept candidates.
    pub fn kept(&self) -> impl Iterator<Item = &Candidate> {
        self.candidates.iter().filter(|candidate| candidate.verdict.keeps())
    }

    /// The kept candidates that only arms with a larger dose have.
    pub fn kept_more(&self) -> impl Iterator<Item = &Candidate> {
        self.more.iter().filter(|candidate| candidate.verdict.keeps())
    }

    /// The kept candidates of a species.
    pub fn kept_of(&self, species: usize) -> usize {
        self.kept().filter(|candidate| candidate.species == species).count()
    }

    /// A sentence for each species that got fewer images than it wants.
    pub fn shortfalls(&self, survey: &Survey) -> Vec<String> {
        let mut kept = vec![0; survey.wanted.len()];
        for candidate in self.kept() {
            kept[candidate.species] += 1;
        }
        (0..survey.wanted.len())
            .filter(|&species| kept[species] < survey.wanted[species])
            .map(|species| {
                format!(
                    "{}: {} of {} wanted images kept, all {} candidates used",
                    survey.dataset.species[species], kept[species], survey.wanted[species], survey.caps[species]
                )
            })
            .collect()
    }
}
