//! `--offline`: generating and fitting are refused before any of it begins, with all that would have to be made. Knows
//! no network and no machine: "offline" is a promise to the reader of a CI log that nothing new came about.

use crate::error::{Error, Result};
use crate::plan::{Inputs, Step};
use crate::text;

use super::Walked;

/// The refusal of pieces of work.
pub fn refused(work: &[String]) -> Error {
    let list: Vec<String> = work.iter().map(|line| format!("  {line}")).collect();
    Error::Differs(format!("work is due, and --offline refuses it:\n{}", list.join("\n")))
}

/// Refuses a plan that generates or fits something.
pub fn refuse(planned: &Walked, until: Step) -> Result<()> {
    let ledger = &planned.ledger;
    let mut work: Vec<String> = ledger
        .pending()
        .iter()
        .filter(|pending| pending.is_fit() && pending.certain)
        .map(|pending| format!("{}: {} to be fitted", pending.step.name(), pending.slot))
        .collect();
    let images: usize = ledger.species.iter().map(|species| species.to_make).sum();
    if images > 0 && until >= Step::Candidates {
        work.push(format!("candidates: {} to be made", text::count(images, "image")));
    }
    if work.is_empty() { Ok(()) } else { Err(refused(&work)) }
}

/// Refuses one piece of work that no plan could foresee.
pub fn refuse_fit(slot: &str, inputs: &Inputs) -> Result<()> {
    if is_fit(inputs) { Err(refused(&[format!("{slot} to be fitted")])) } else { Ok(()) }
}

/// Whether a network is fitted from these inputs.
pub fn is_fit(inputs: &Inputs) -> bool {
    inputs.kind.ends_with(" fit")
}
