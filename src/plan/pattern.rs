//! Many records that differ in a few numbers and digests: their canonical bytes once, with places to fill in. The same
//! bytes as of each record by itself, and so the same keys; tens of thousands of candidates cost a hash each and no more.

use super::key::{Inputs, Key, Value};

/// A record of which some fields are open.
#[derive(Debug, Clone)]
pub struct Pattern {
    inputs: Inputs,
    bytes: Vec<u8>,
    /// Index of each open field, and where its value begins in the bytes.
    open: Vec<(usize, usize)>,
}

impl Pattern {
    /// `inputs` with the fields of these names open, in this order; what stands in them says of which kind they are.
    ///
    /// # Panics
    /// For a name that is no field, or a text's, whose length is not fixed.
    pub fn new(inputs: Inputs, names: &[&str]) -> Pattern {
        let mut starts = Vec::new();
        let bytes = inputs.encode_noting(|start| starts.push(start));
        let place = |name: &&str| {
            let field = inputs.fields.iter().position(|(field, _)| field == name).expect("an open field is a field");
            assert!(!matches!(inputs.fields[field].1, Value::Text(_)), "`{name}` has no fixed length");
            (field, starts[field])
        };
        let open = names.iter().map(place).collect();
        Pattern { inputs, bytes, open }
    }

    /// The key of the record with these values, in the order of the open fields.
    ///
    /// # Panics
    /// For a value of another kind than the field's.
    pub fn key(&self, values: &[Value]) -> Key {
        assert_eq!(values.len(), self.open.len(), "a value an open field");
        let mut bytes = self.bytes.clone();
        for (&(field, start), value) in self.open.iter().zip(values) {
            match (&self.inputs.fields[field].1, value) {
                (Value::Count(_), Value::Count(n)) => bytes[start..start + 8].copy_from_slice(&n.to_le_bytes()),
                (Value::Digest(_), Value::Digest(digest)) => bytes[start..start + 32].copy_from_slice(digest),
                (of, _) => panic!("{value:?} is not of the kind of {of:?}"),
            }
        }
        Key(*blake3::hash(&bytes).as_bytes())
    }

    /// The record with these values.
    pub fn filled(&self, values: &[Value]) -> Inputs {
        let mut inputs = self.inputs.clone();
        for (&(field, _), value) in self.open.iter().zip(values) {
            inputs.fields[field].1 = value.clone();
        }
        inputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(digest: [u8; 32], n: u64) -> Inputs {
        Inputs::new("candidate", 1)
            .text("species", "OWL")
            .digest("source photo", digest)
            .real("guidance", 4.0)
            .count("index", n)
            .text("end", "")
    }

    #[test]
    fn a_filled_pattern_is_the_record_and_has_its_key() {
        let pattern = Pattern::new(record([0; 32], 0), &["index", "source photo"]);
        for (digest, n) in [([7; 32], 3), ([0; 32], 0), ([255; 32], u64::MAX)] {
            let values = [Value::Count(n), Value::Digest(digest)];
            assert_eq!(pattern.filled(&values), record(digest, n));
            assert_eq!(pattern.key(&values), record(digest, n).key());
        }
    }

    #[test]
    #[should_panic = "is not of the kind of"]
    fn a_value_of_another_kind_is_refused() {
        Pattern::new(record([0; 32], 0), &["index"]).key(&[Value::Digest([1; 32])]);
    }

    #[test]
    #[should_panic = "has no fixed length"]
    fn a_text_stays_closed() {
        Pattern::new(record([0; 32], 0), &["species"]);
    }
}
