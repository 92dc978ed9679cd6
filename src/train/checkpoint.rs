//! A fit's whole state as bytes, enough to go on bit for bit. Knows no loop and no file.

use tch::nn::VarStore;
use tch::{Kind, Tensor};

use super::fit::HistoryRow;
use crate::error::Result;
use crate::nn::TensorContext;
use crate::nn::weights::{self, Named};

/// What a loop carries from step to step, beside tensors.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Progress {
    /// Optimiser steps done.
    pub done: usize,
    pub history: Vec<HistoryRow>,
    /// Sum of the losses since the last row of the history, and how many they are.
    pub loss_sum: f64,
    pub losses: usize,
    /// What gradients are multiplied with in fp16, and for how many steps it went well.
    pub scale: f64,
    pub scaled: usize,
    /// The best accuracy on valid, and how often it was taken since without a better one.
    pub best: Option<f64>,
    pub since: usize,
}

/// Numbers of [`Progress`] before the history's rows.
const HEAD: usize = 7;

/// The state of a fit that `fingerprint` names; `parts` are named groups of tensors.
pub fn save(fingerprint: &str, progress: &Progress, parts: Vec<(&str, Named)>) -> Result<Vec<u8>> {
    let mut tensors = Named::new();
    let Progress { done, history, loss_sum, losses, scale, scaled, best, since } = progress;
    let best = best.unwrap_or(f64::NAN);
    let mut numbers: Vec<f64> =
        vec![*done as f64, *loss_sum, *losses as f64, *scale, *scaled as f64, best, *since as f64];
    for row in history {
        let valid = row.valid_accuracy.unwrap_or(f64::NAN);
        numbers.extend([row.step as f64, row.loss, valid, row.learning_rate]);
    }
    // As bits in i64, since doubles are kept as fp32.
    let bits: Vec<i64> = numbers.into_iter().map(|number| number.to_bits() as i64).collect();
    tensors.insert("progress".into(), Tensor::from_slice(&bits));
    tensors.insert("fingerprint".into(), fingerprint_tensor(fingerprint));
    for (part, named) in parts {
        tensors.extend(named.into_iter().map(|(name, tensor)| (format!("{part}.{name}"), tensor)));
    }
    weights::to_bytes(&tensors)
}

/// A state that was read back.
pub struct Saved {
    pub progress: Progress,
    tensors: Named,
}

impl Saved {
    /// Reads a state; `None` if it is not a whole state of this fit: the fit then starts over, which costs time and changes no
    /// result.
    pub fn read(bytes: &[u8], fingerprint: &str) -> Option<Saved> {
        let tensors = weights::from_bytes(bytes, "the checkpoint").ok()?;
        let named = tensors.get("fingerprint").is_some_and(|found| *found == fingerprint_tensor(fingerprint));
        let progress = tensors.get("progress").filter(|_| named).and_then(read)?;
        Some(Saved { progress, tensors })
    }

    /// A named group of tensors.
    pub fn part(&self, part: &str) -> Named {
        let own = |(name, t): (&String, &Tensor)| {
            Some((name.strip_prefix(part)?.strip_prefix('.')?.to_string(), t.shallow_clone()))
        };
        self.tensors.iter().filter_map(own).collect()
    }
}

/// Fills the network's variables.
pub fn fill(variables: &VarStore, tensors: &Named) -> Result<()> {
    weights::load(variables, tensors, "the checkpoint")
}

fn fingerprint_tensor(fingerprint: &str) -> Tensor {
    let hash = blake3::hash(fingerprint.as_bytes());
    let words: Vec<i64> =
        hash.as_bytes().chunks_exact(8).map(|word| word.iter().fold(0, |all, &byte| all << 8 | byte as i64)).collect();
    Tensor::from_slice(&words)
}

fn read(tensor: &Tensor) -> Option<Progress> {
    if tensor.kind() != Kind::Int64 {
        return None;
    }
    let mut bits = vec![0i64; tensor.numel()];
    let n = bits.len();
    tensor.f_copy_data(&mut bits, n).doing("read the checkpoint").ok()?;
    let numbers: Vec<f64> = bits.into_iter().map(|bits| f64::from_bits(bits as u64)).collect();
    let (head, rows) = numbers.split_at_checked(HEAD)?;
    let history = rows.chunks_exact(4).map(|row| HistoryRow {
        step: row[0] as usize,
        loss: row[1],
        valid_accuracy: (!row[2].is_nan()).then_some(row[2]),
        learning_rate: row[3],
    });
    Some(Progress {
        done: head[0] as usize,
        history: history.collect(),
        loss_sum: head[1],
        losses: head[2] as usize,
        scale: head[3],
        scaled: head[4] as usize,
        best: (!head[5].is_nan()).then_some(head[5]),
        since: head[6] as usize,
    })
}
