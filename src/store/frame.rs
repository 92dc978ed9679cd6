//! One entry of the records' file as bytes. Knows nothing of what stands around it.
//!
//! A frame is `BdL1`, a kind byte, the key, the payload's length (u32 little-endian), the payload, and the first
//! 8 bytes of BLAKE3 over all that.

/// What every frame begins with: the digit is the format's version.
pub const MAGIC: &[u8; 4] = b"BdL1";
/// Bytes before the payload.
pub const HEAD: usize = 4 + 1 + 32 + 4;
/// Bytes after the payload.
pub const SUM: usize = 8;

/// Kind of a frame that says what is known about a key.
pub const RECORD: u8 = 1;
/// Kind of a frame that ends a key.
pub const FORGOTTEN: u8 = 2;
/// Kind of a frame that stands where damage was.
pub const MENDED: u8 = 3;

/// What some bytes begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// A frame of so many bytes.
    Whole(usize),
    /// A frame whose end is missing.
    Unfinished,
    Broken,
}

/// Appends a frame.
pub fn push(out: &mut Vec<u8>, kind: u8, key: &[u8; 32], payload: &[u8]) {
    let start = out.len();
    out.extend(MAGIC);
    out.push(kind);
    out.extend(key);
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(payload);
    let sum = blake3::hash(&out[start..]);
    out.extend(&sum.as_bytes()[..SUM]);
}

/// What `bytes` begin with, its sum checked.
pub fn read(bytes: &[u8]) -> Frame {
    match read_head(bytes) {
        Frame::Whole(length) if !sum_holds(&bytes[..length]) => Frame::Broken,
        found => found,
    }
}

/// What `bytes` begin with if the sum holds.
pub fn read_head(bytes: &[u8]) -> Frame {
    if bytes.len() < MAGIC.len() {
        return if MAGIC.starts_with(bytes) { Frame::Unfinished } else { Frame::Broken };
    }
    if !bytes.starts_with(MAGIC) {
        return Frame::Broken;
    }
    if bytes.len() < HEAD {
        return Frame::Unfinished;
    }
    let length = HEAD + payload_length(bytes) + SUM;
    if bytes.len() < length { Frame::Unfinished } else { Frame::Whole(length) }
}

/// Whether the last bytes of a frame are the sum of the others.
pub fn sum_holds(frame: &[u8]) -> bool {
    let (body, sum) = frame.split_at(frame.len() - SUM);
    blake3::hash(body).as_bytes()[..SUM] == *sum
}

/// The kind of the frame at `at`.
pub fn kind(bytes: &[u8], at: usize) -> u8 {
    bytes[at + 4]
}

/// The key of the frame at `at`.
pub fn key(bytes: &[u8], at: usize) -> &[u8] {
    &bytes[at + 5..at + 37]
}

/// The payload of the whole frame at `at`.
pub fn payload(bytes: &[u8], at: usize) -> &[u8] {
    let bytes = &bytes[at..];
    &bytes[HEAD..HEAD + payload_length(bytes)]
}

fn payload_length(frame: &[u8]) -> usize {
    u32::from_le_bytes([frame[37], frame[38], frame[39], frame[40]]) as usize
}

/// The version of another format that `bytes` begin with: a frame's first bytes with another digit.
pub fn other_version(bytes: &[u8]) -> Option<char> {
    let (head, digit) = (bytes.get(..3)?, *bytes.get(3)?);
    (head == &MAGIC[..3] && digit.is_ascii_digit() && digit != MAGIC[3]).then_some(digit as char)
}
