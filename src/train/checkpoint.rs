//! A fit's whole state as bytes, enough to go on bit for bit. Knows no loop and no file.

use tch::nn::VarStore;
use tch::{Kind, Tensor};

use super::fit::HistoryRow;
use crate::error::Result;
use crate::nn::TensorContext;
use crate::nn::sgd::Sgd;
use crate::nn::weights::{self, Named};

/// What a loop carries from step to step, beside weights and velocities.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Progress {
    /// Optimiser steps done.
    pub done: usize,
    pub history: Vec<HistoryRow>,
    /// Sum of the losses since the last row of the history, and how many they are.
    pub loss_sum: f64,
    pub losses: usize,
}

/// The state of a fit that `fingerprint` names.
pub fn save(fingerprint: &str, progress: &Progress, variables: &VarStore, sgd: &Sgd) -> Result<Vec<u8>> {
    let mut tensors = Named::new();
    let mut numbers = vec![progress.done as f64, progress.loss_sum, progress.losses as f64];
    for row in &progress.history {
        let valid = row.valid_accuracy.unwrap_or(f64::NAN);
        numbers.extend([row.step as f64, row.loss, valid, row.learning_rate]);
    }
    // As bits in i64, since doubles are kept as fp32.
    let bits: Vec<i64> = numbers.into_iter().map(|number| number.to_bits() as i64).collect();
    tensors.insert("progress".into(), Tensor::from_slice(&bits));
    tensors.insert("fingerprint".into(), fingerprint_tensor(fingerprint));
    for (name, variable) in variables.variables() {
        tensors.insert(format!("variable.{name}"), variable);
    }
    for (name, velocity) in sgd.state() {
        tensors.insert(format!("velocity.{name}"), velocity);
    }
    weights::to_bytes(&tensors)
}

/// Fills the network and the optimiser from a state; `None`, and nothing changed, if it is not a whole state of this fit: the
/// fit then starts over, which costs time and changes no result.
pub fn restore(bytes: &[u8], fingerprint: &str, variables: &VarStore, sgd: &mut Sgd) -> Result<Option<Progress>> {
    let Ok(tensors) = weights::from_bytes(bytes, "the checkpoint") else {
        return Ok(None);
    };
    let named = tensors.get("fingerprint").is_some_and(|found| *found == fingerprint_tensor(fingerprint));
    let Some(progress) = tensors.get("progress").filter(|_| named).and_then(read) else {
        return Ok(None);
    };
    let part = |prefix: &str| -> Named {
        let own =
            tensors.iter().filter_map(|(name, t)| Some((name.strip_prefix(prefix)?.to_string(), t.shallow_clone())));
        own.collect()
    };
    weights::load(variables, &part("variable."), "the checkpoint")?;
    tch::no_grad(|| sgd.restore(&part("velocity.")))?;
    Ok(Some(progress))
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
    let (head, rows) = numbers.split_at_checked(3)?;
    let history = rows.chunks_exact(4).map(|row| HistoryRow {
        step: row[0] as usize,
        loss: row[1],
        valid_accuracy: (!row[2].is_nan()).then_some(row[2]),
        learning_rate: row[3],
    });
    Some(Progress { done: head[0] as usize, loss_sum: head[1], losses: head[2] as usize, history: history.collect() })
}
