//! Tensors of a file on disk: names, types, shapes and bytes, not read before they are asked for. Knows no libtorch.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Type of a tensor's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dtype {
    Fp32,
    Fp16,
    Bf16,
    Fp64,
    Int64,
}

impl Dtype {
    /// Bytes of one number.
    pub fn width(self) -> usize {
        match self {
            Dtype::Fp16 | Dtype::Bf16 => 2,
            Dtype::Fp32 => 4,
            Dtype::Fp64 | Dtype::Int64 => 8,
        }
    }
}

/// Where a tensor's bytes are: a mapped file, or memory.
pub trait Bytes: Send + Sync {
    fn bytes(&self) -> &[u8];

    /// Says that a range of them was read and will hardly be read again, so that it need not stay in memory.
    fn give_back(&self, range: Range<usize>) {
        let _ = range;
    }
}

impl Bytes for Vec<u8> {
    fn bytes(&self) -> &[u8] {
        self
    }
}

/// One tensor: little-endian, row by row.
#[derive(Clone)]
pub struct Stored {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Where in the bytes it begins; its length follows from shape and type.
    pub start: usize,
    pub bytes: Arc<dyn Bytes>,
}

impl Stored {
    /// Its bytes.
    pub fn data(&self) -> &[u8] {
        let length = self.shape.iter().product::<usize>() * self.dtype.width();
        &self.bytes.bytes()[self.start..self.start + length]
    }

    /// Lets go of the memory that a range of its bytes takes, if they are on disk too.
    pub fn give_back(&self, range: Range<usize>) {
        self.bytes.give_back(self.start + range.start..self.start + range.end);
    }
}

/// Tensors by their names, as diffusers names them.
pub type Tensors = BTreeMap<String, Stored>;
