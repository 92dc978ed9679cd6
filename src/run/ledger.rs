//! What a walk found due and made, step by step. Plain counts and sentences.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::{Inputs, State, Step};

use super::explain::{Cause, Reason};

/// How many reasons of a step are kept; the rest are counted.
const REASONS: usize = 20;

/// Counts and reasons a step.
#[derive(Debug, Default)]
pub struct Ledger {
    reasons: BTreeMap<Step, (Vec<Reason>, usize)>,
    made: BTreeMap<Step, usize>,
    pending: Vec<Pending>,
    /// A row a species, in the dataset's order.
    pub species: Vec<SpeciesDue>,
}

/// A piece of work that is due, or several alike.
#[derive(Debug, Clone)]
pub struct Pending {
    pub step: Step,
    /// What people call it.
    pub slot: String,
    /// What it is made from; of several alike, the first one's.
    pub inputs: Inputs,
    pub count: usize,
    /// Whether a plan came as far as this; else it is what is likely to come of the rest.
    pub certain: bool,
}

impl Pending {
    /// Whether a network is to be fitted.
    pub fn is_fit(&self) -> bool {
        super::offline::is_fit(&self.inputs)
    }
}

/// Candidates of one species.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeciesDue {
    pub name: String,
    pub real: usize,
    pub wanted: usize,
    /// Candidates needed now that are in the cache.
    pub cached: usize,
    /// Candidates needed now that are not.
    pub to_make: usize,
    /// At most so many more, if the filter drops some.
    pub refill: usize,
}

impl SpeciesDue {
    /// The same row once everything due is made.
    pub fn when_made(&self) -> SpeciesDue {
        SpeciesDue { cached: self.cached + self.to_make, to_make: 0, ..self.clone() }
    }
}

impl Ledger {
    /// A piece of a step is due.
    pub fn due(&mut self, step: Step, reason: impl Into<Reason>) {
        let (reasons, more) = self.reasons.entry(step).or_default();
        if reasons.len() < REASONS {
            reasons.push(reason.into());
        } else {
            *more += 1;
        }
    }

    /// Steps after the last one that is due cannot be looked into before it is done.
    pub fn wait(&mut self, until: Step) {
        let Some((&last, _)) = self.reasons.last_key_value() else { return };
        for step in Step::ALL.into_iter().filter(|&step| step > last && step <= until) {
            self.due(step, format!("waits for {}", last.name()));
        }
    }

    /// Notes work that is due, for what it costs.
    pub fn pend(&mut self, step: Step, slot: &str, inputs: &Inputs, count: usize) {
        self.pending.push(Pending { step, slot: slot.to_string(), inputs: inputs.clone(), count, certain: true });
    }

    /// Notes work that is likely to be due, behind what the plan could reach.
    pub fn foresee(&mut self, step: Step, slot: &str, inputs: &Inputs, count: usize) {
        self.pending.push(Pending { step, slot: slot.to_string(), inputs: inputs.clone(), count, certain: false });
    }

    /// Work that is due, in the order in which it was found.
    pub fn pending(&self) -> &[Pending] {
        &self.pending
    }

    /// `n` pieces of a step were made.
    pub fn made(&mut self, step: Step, n: usize) {
        *self.made.entry(step).or_default() += n;
    }

    /// How many pieces of a step were made.
    pub fn made_of(&self, step: Step) -> usize {
        self.made.get(&step).copied().unwrap_or(0)
    }

    /// How many pieces were made in all.
    pub fn made_in_all(&self) -> usize {
        self.made.values().sum()
    }

    /// The state of a step.
    pub fn state(&self, step: Step) -> State {
        let Some((reasons, more)) = self.reasons.get(&step) else { return State::Fresh };
        let mut reasons: Vec<String> = reasons.iter().map(|reason| reason.text.clone()).collect();
        if *more > 0 {
            reasons.push(format!("and {more} more"));
        }
        State::from_reasons(reasons)
    }

    /// The fields behind a step's reasons, each once.
    pub fn causes(&self, step: Step) -> Vec<Cause> {
        let mut causes: Vec<Cause> = Vec::new();
        for cause in self.reasons.get(&step).into_iter().flat_map(|(reasons, _)| reasons).flat_map(|r| &r.causes) {
            if !causes.contains(cause) {
                causes.push(cause.clone());
            }
        }
        causes
    }

    /// Whether anything is due.
    pub fn any_due(&self) -> bool {
        !self.reasons.is_empty()
    }
}
