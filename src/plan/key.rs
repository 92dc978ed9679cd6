//! Keys: BLAKE3 over a typed, versioned, ordered record of everything that determines an output.
//!
//! The record's canonical bytes are what is hashed, what a cache record stores, and what [`Inputs::differences`]
//! reads back for `why`: one walk, so the key and its explanation cannot disagree. Knows no step by name.

use std::fmt;

/// 32 bytes that name a piece of work by its inputs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub [u8; 32]);

impl Key {
    /// All 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        blake3::Hash::from(self.0).to_hex().to_string()
    }

    /// The first 12 hexadecimal digits: the part that people see.
    pub fn short(&self) -> String {
        self.hex()[..12].to_string()
    }

    /// The key that 64 hexadecimal digits spell.
    pub fn from_hex(text: &str) -> Option<Key> {
        blake3::Hash::from_hex(text).ok().map(|hash| Key(hash.into()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// One value that enters a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Text(String),
    Count(u64),
    /// Compared and hashed by its bits, so that -0.0 differs from 0.0.
    Real(f64),
    /// BLAKE3 of other bytes: a photo, weights, a list kept as a blob.
    Digest([u8; 32]),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Count(n) => write!(f, "{n}"),
            Value::Real(x) => write!(f, "{x:?}"),
            Value::Digest(digest) => f.write_str(&Key(*digest).short()),
        }
    }
}

/// The typed record under a key: what kind of work, in which version of its meaning, from which fields in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Inputs {
    pub kind: String,
    /// Raised when the same fields come to mean another output.
    pub version: u32,
    pub fields: Vec<(String, Value)>,
}

/// A field in which two records of the same kind differ; `None` where one lacks it.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    pub field: String,
    pub old: Option<Value>,
    pub new: Option<Value>,
}

impl Inputs {
    /// A record without fields.
    pub fn new(kind: &str, version: u32) -> Inputs {
        Inputs { kind: kind.to_string(), version, fields: Vec::new() }
    }

    /// Appends a text.
    pub fn text(self, name: &str, text: &str) -> Inputs {
        self.with(name, Value::Text(text.to_string()))
    }

    /// Appends a whole number.
    pub fn count(self, name: &str, n: u64) -> Inputs {
        self.with(name, Value::Count(n))
    }

    /// Appends a real number.
    pub fn real(self, name: &str, x: f64) -> Inputs {
        self.with(name, Value::Real(x))
    }

    /// Appends a digest.
    pub fn digest(self, name: &str, digest: [u8; 32]) -> Inputs {
        self.with(name, Value::Digest(digest))
    }

    fn with(mut self, name: &str, value: Value) -> Inputs {
        self.fields.push((name.to_string(), value));
        self
    }

    /// A field's value by name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value)
    }

    /// The canonical bytes: every part is typed and carries its length.
    pub fn encode(&self) -> Vec<u8> {
        self.encode_noting(|_| {})
    }

    /// [`Inputs::encode`]; `note` is told, field by field, where in the bytes its value begins.
    pub(super) fn encode_noting(&self, mut note: impl FnMut(usize)) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.fields.len() * 24);
        push_text(&mut out, &self.kind);
        out.extend(self.version.to_le_bytes());
        out.extend((self.fields.len() as u32).to_le_bytes());
        for (name, value) in &self.fields {
            push_text(&mut out, name);
            // Behind the byte that tells the kind.
            note(out.len() + 1);
            match value {
                Value::Text(text) => {
                    out.push(1);
                    push_text(&mut out, text);
                }
                Value::Count(n) => {
                    out.push(2);
                    out.extend(n.to_le_bytes());
                }
                Value::Real(x) => {
                    out.push(3);
                    out.extend(x.to_bits().to_le_bytes());
                }
                Value::Digest(digest) => {
                    out.push(4);
                    out.extend(digest);
                }
            }
        }
        out
    }

    /// The record that canonical bytes spell; `None` if they are not canonical bytes.
    pub fn decode(bytes: &[u8]) -> Option<Inputs> {
        let mut rest = Reader(bytes);
        let kind = rest.text()?;
        let version = u32::from_le_bytes(rest.take()?);
        let count = u32::from_le_bytes(rest.take()?);
        let mut fields = Vec::new();
        for _ in 0..count {
            let name = rest.text()?;
            let value = match rest.take::<1>()?[0] {
                1 => Value::Text(rest.text()?),
                2 => Value::Count(u64::from_le_bytes(rest.take()?)),
                3 => Value::Real(f64::from_bits(u64::from_le_bytes(rest.take()?))),
                4 => Value::Digest(rest.take()?),
                _ => return None,
            };
            fields.push((name, value));
        }
        rest.0.is_empty().then_some(Inputs { kind, version, fields })
    }

    /// The kind of the record that canonical bytes spell.
    pub fn kind_of(bytes: &[u8]) -> Option<&str> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        std::str::from_utf8(rest.get(..u32::from_le_bytes(*length) as usize)?).ok()
    }

    /// BLAKE3 of the canonical bytes.
    pub fn key(&self) -> Key {
        Key(*blake3::hash(&self.encode()).as_bytes())
    }

    /// What changed from `old` to this record, in the order of the fields.
    pub fn differences(&self, old: &Inputs) -> Vec<Difference> {
        let mut out = Vec::new();
        if (&old.kind, old.version) != (&self.kind, self.version) {
            let name = |inputs: &Inputs| Some(Value::Text(format!("{} {}", inputs.kind, inputs.version)));
            out.push(Difference { field: "engine".into(), old: name(old), new: name(self) });
        }
        for (field, new) in &self.fields {
            let before = old.get(field);
            if before.map(Inputs::bits) != Some(Inputs::bits(new)) {
                out.push(Difference { field: field.clone(), old: before.cloned(), new: Some(new.clone()) });
            }
        }
        for (field, before) in &old.fields {
            if self.get(field).is_none() {
                out.push(Difference { field: field.clone(), old: Some(before.clone()), new: None });
            }
        }
        out
    }

    fn bits(value: &Value) -> (Option<u64>, &Value) {
        match value {
            Value::Real(x) => (Some(x.to_bits()), &Value::Count(0)),
            other => (None, other),
        }
    }
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

/// Takes canonical bytes apart.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    fn text(&mut self) -> Option<String> {
        let length = u32::from_le_bytes(self.take()?) as usize;
        if length > self.0.len() {
            return None;
        }
        let (head, tail) = self.0.split_at(length);
        self.0 = tail;
        String::from_utf8(head.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Inputs {
        Inputs::new("candidate", 1)
            .text("sampler", "ddim")
            .count("steps", 25)
            .real("guidance", 4.0)
            .digest("g", [7; 32])
    }

    #[test]
    fn a_key_is_frozen() {
        assert_eq!(record().key().short(), "e8bf74bf154d");
    }

    #[test]
    fn canonical_bytes_read_back_as_the_same_record() {
        assert_eq!(Inputs::decode(&record().encode()), Some(record()));
        let bytes = record().encode();
        for cut in 0..bytes.len() {
            assert_eq!(Inputs::decode(&bytes[..cut]), None);
        }
    }

    #[test]
    fn text_cannot_move_between_fields() {
        let a = Inputs::new("k", 1).text("a", "xy").text("b", "z");
        let b = Inputs::new("k", 1).text("a", "x").text("b", "yz");
        assert_ne!(a.key(), b.key());
    }

    #[test]
    fn differences_name_the_field_with_both_values() {
        let new = Inputs::new("candidate", 1).text("sampler", "ddim").count("steps", 30).real("guidance", 4.0);
        let found = new.differences(&record());
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].field.as_str(), &found[0].old, &found[0].new),
            ("steps", &Some(Value::Count(25)), &Some(Value::Count(30)))
        );
        assert_eq!((found[1].field.as_str(), &found[1].new), ("g", &None));
        assert!(record().differences(&record()).is_empty());
    }

    #[test]
    fn a_difference_is_found_exactly_where_the_key_differs() {
        let zero = Inputs::new("k", 1).real("x", 0.0);
        let minus = Inputs::new("k", 1).real("x", -0.0);
        assert_ne!(zero.key(), minus.key());
        assert_eq!(minus.differences(&zero).len(), 1);
        assert_eq!(Inputs::new("k", 2).differences(&Inputs::new("k", 1)).len(), 1);
    }
}
