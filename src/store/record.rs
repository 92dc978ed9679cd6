//! What is known about a key: the inputs it was made from, the digests of what was made, and where.

use super::Digest;

/// The result of one piece of work.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    /// BLAKE3 of `inputs`.
    pub key: [u8; 32],
    /// Canonical bytes of the typed record that was hashed; read back by `why`.
    pub inputs: Vec<u8>,
    /// What was made: name and blob.
    pub outputs: Vec<(String, Digest)>,
    /// A small output kept in place of a blob, such as a score.
    pub inline: Vec<u8>,
    /// Not part of the key: device class, libtorch, engine, seconds.
    pub notes: Vec<(String, String)>,
}

impl Record {
    /// A record of `inputs` (canonical bytes) without outputs.
    pub fn of(inputs: Vec<u8>) -> Record {
        Record { key: *blake3::hash(&inputs).as_bytes(), inputs, ..Record::default() }
    }

    /// Adds a blob.
    pub fn output(mut self, name: &str, digest: Digest) -> Record {
        self.outputs.push((name.to_string(), digest));
        self
    }

    /// Sets the small output.
    pub fn inline(mut self, bytes: Vec<u8>) -> Record {
        self.inline = bytes;
        self
    }

    /// Adds a note.
    pub fn note(mut self, name: &str, text: &str) -> Record {
        self.notes.push((name.to_string(), text.to_string()));
        self
    }

    /// The blob of that name.
    pub fn blob(&self, name: &str) -> Option<Digest> {
        self.outputs.iter().find(|(output, _)| output == name).map(|&(_, digest)| digest)
    }

    /// The note of that name.
    pub fn noted(&self, name: &str) -> Option<&str> {
        self.notes.iter().find(|(note, _)| note == name).map(|(_, text)| text.as_str())
    }

    /// As bytes for the log.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.inputs.len() + 128);
        push(&mut out, &self.inputs);
        out.extend((self.outputs.len() as u32).to_le_bytes());
        for (name, digest) in &self.outputs {
            push(&mut out, name.as_bytes());
            out.extend(digest);
        }
        push(&mut out, &self.inline);
        out.extend((self.notes.len() as u32).to_le_bytes());
        for (name, text) in &self.notes {
            push(&mut out, name.as_bytes());
            push(&mut out, text.as_bytes());
        }
        out
    }

    /// From the log's bytes, where they stand under `key`; `None` if they are no record.
    pub(super) fn decode(key: &[u8; 32], mut bytes: &[u8]) -> Option<Record> {
        let rest = &mut bytes;
        let mut record = Record { key: *key, inputs: pull(rest)?.to_vec(), ..Record::default() };
        for _ in 0..number(rest)? {
            let name = String::from_utf8(pull(rest)?.to_vec()).ok()?;
            let (digest, tail) = rest.split_first_chunk::<32>()?;
            *rest = tail;
            record.outputs.push((name, *digest));
        }
        record.inline = pull(rest)?.to_vec();
        for _ in 0..number(rest)? {
            let name = String::from_utf8(pull(rest)?.to_vec()).ok()?;
            let text = String::from_utf8(pull(rest)?.to_vec()).ok()?;
            record.notes.push((name, text));
        }
        rest.is_empty().then_some(record)
    }
}

/// A record where it stands in the log: nothing is copied that is not asked for.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Canonical bytes, as [`Record::inputs`].
    pub inputs: &'a [u8],
    /// As [`Record::inline`].
    pub inline: &'a [u8],
    outputs: &'a [u8],
    notes: &'a [u8],
}

impl<'a> View<'a> {
    /// Of the log's bytes; `None` if they are no record.
    pub(super) fn of(mut bytes: &'a [u8]) -> Option<View<'a>> {
        let rest = &mut bytes;
        let inputs = pull(rest)?;
        let outputs = *rest;
        for _ in 0..number(rest)? {
            pull(rest)?;
            *rest = rest.split_first_chunk::<32>()?.1;
        }
        let inline = pull(rest)?;
        let notes = *rest;
        for _ in 0..number(rest)? {
            pull(rest)?;
            pull(rest)?;
        }
        rest.is_empty().then_some(View { inputs, inline, outputs, notes })
    }

    /// What was made: name and blob.
    pub fn outputs(&self) -> impl Iterator<Item = (&'a [u8], &'a Digest)> + use<'a> {
        let mut rest = self.outputs;
        let count = number(&mut rest).unwrap_or(0);
        (0..count).map_while(move |_| {
            let name = pull(&mut rest)?;
            let (digest, tail) = rest.split_first_chunk::<32>()?;
            rest = tail;
            Some((name, digest))
        })
    }

    /// The blob of that name.
    pub fn blob(&self, name: &str) -> Option<Digest> {
        self.outputs().find(|(output, _)| *output == name.as_bytes()).map(|(_, digest)| *digest)
    }

    /// The note of that name.
    pub fn noted(&self, name: &str) -> Option<&'a str> {
        let mut rest = self.notes;
        let count = number(&mut rest)?;
        for _ in 0..count {
            let (note, text) = (pull(&mut rest)?, pull(&mut rest)?);
            if note == name.as_bytes() {
                return std::str::from_utf8(text).ok();
            }
        }
        None
    }
}

/// Whether a record's bytes can be read and `has` says yes to all its blobs.
pub(super) fn all_blobs(mut bytes: &[u8], mut has: impl FnMut(&Digest) -> bool) -> bool {
    let rest = &mut bytes;
    let mut look = || {
        pull(rest)?;
        for _ in 0..number(rest)? {
            pull(rest)?;
            let (digest, tail) = rest.split_first_chunk::<32>()?;
            *rest = tail;
            if !has(digest) {
                return None;
            }
        }
        Some(())
    };
    look().is_some()
}

fn push(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_le_bytes(*head))
}

fn pull<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(rest)? as usize;
    if length > rest.len() {
        return None;
    }
    let (head, tail) = rest.split_at(length);
    *rest = tail;
    Some(head)
}
