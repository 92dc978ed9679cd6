//! The records' file: framed, checksummed, appended under a lock, never rewritten in place. A later frame of a key
//! replaces an earlier one. Damage costs the frames it hits and no others. Knows nothing of blobs.
//!
//! A frame is `BdL1`, a kind byte, the key, the payload's length (u32 little-endian), the payload, and the first
//! 8 bytes of BLAKE3 over all that. Damage that was found is overwritten by an empty frame of its length, so that it is
//! said once.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::record::Record;
use crate::error::{IoContext, Result};

const MAGIC: &[u8; 4] = b"BdL1";
const HEAD: usize = 4 + 1 + 32 + 4;
const SUM: usize = 8;
const RECORD: u8 = 1;
const FORGOTTEN: u8 = 2;
const MENDED: u8 = 3;

/// The log, read up to `end`.
pub struct Log {
    path: PathBuf,
    file: File,
    bytes: Vec<u8>,
    /// Where the payload of each living key lies in `bytes`.
    index: HashMap<[u8; 32], (usize, usize)>,
    /// How far `bytes` has been indexed; what follows is an unfinished frame.
    end: usize,
}

impl Log {
    /// Opens the log, made if it is not there; also returns how many damaged bytes were passed over.
    pub fn open(path: &Path) -> Result<(Log, usize)> {
        let file =
            OpenOptions::new().read(true).append(true).create(true).open(path).doing("open the cache's", path)?;
        let mut log = Log { path: path.to_path_buf(), file, bytes: Vec::new(), index: HashMap::new(), end: 0 };
        log.file.lock().doing("lock", path)?;
        let mended = log.refresh().and_then(|damage| log.mend(damage));
        log.file.unlock().doing("unlock", path)?;
        Ok((log, mended?))
    }

    /// The record of a key.
    pub fn get(&self, key: &[u8; 32]) -> Option<Record> {
        let &(start, end) = self.index.get(key)?;
        Record::decode(&self.bytes[start..end])
    }

    /// Every living record.
    pub fn all(&self) -> Vec<Record> {
        self.index.values().filter_map(|&(start, end)| Record::decode(&self.bytes[start..end])).collect()
    }

    /// Appends records in one write.
    pub fn append(&mut self, records: &[Record]) -> Result<()> {
        let mut frames = Vec::new();
        for record in records {
            push_frame(&mut frames, RECORD, &record.key, &record.encode());
        }
        self.write(&frames)
    }

    /// Appends a key's end.
    pub fn forget(&mut self, key: &[u8; 32]) -> Result<()> {
        let mut frame = Vec::new();
        push_frame(&mut frame, FORGOTTEN, key, &[]);
        self.write(&frame)
    }

    /// Reads what others appended; returns the damaged ranges that were passed over.
    pub fn refresh(&mut self) -> Result<Vec<Range<usize>>> {
        let length = self.file.metadata().doing("read", &self.path)?.len();
        if length < self.bytes.len() as u64 {
            // Replaced by a shorter one (compacted or deleted): begin again.
            self.bytes.clear();
            self.index.clear();
            self.end = 0;
        }
        if length > self.bytes.len() as u64 {
            self.file.seek(SeekFrom::Start(self.bytes.len() as u64)).doing("read", &self.path)?;
            self.file.read_to_end(&mut self.bytes).doing("read", &self.path)?;
        }
        Ok(self.index_new_frames())
    }

    fn write(&mut self, frames: &[u8]) -> Result<()> {
        if frames.is_empty() {
            return Ok(());
        }
        self.file.lock().doing("lock", &self.path)?;
        let written = self.write_locked(frames);
        let unlocked = self.file.unlock().doing("unlock", &self.path);
        written.and(unlocked)
    }

    fn write_locked(&mut self, frames: &[u8]) -> Result<()> {
        self.refresh()?;
        if self.end < self.bytes.len() {
            // Nobody else is writing: what is unfinished now was cut off by a crash.
            self.cut(self.end)?;
        }
        let before = self.bytes.len();
        if let Err(error) = self.file.write_all(frames) {
            // A full disk leaves half a frame: take it back, so that the log stays whole.
            let _ = self.cut(before);
            return Err(error).doing("write", &self.path);
        }
        self.refresh().map(drop)
    }

    fn cut(&mut self, length: usize) -> Result<()> {
        self.bytes.truncate(length);
        self.file.set_len(length as u64).doing("cut the torn end of", &self.path)
    }

    /// Overwrites damaged ranges by empty frames; returns their bytes in all.
    fn mend(&mut self, damage: Vec<Range<usize>>) -> Result<usize> {
        if damage.is_empty() {
            return Ok(0);
        }
        // The log's own handle appends, whatever the offset.
        let file = OpenOptions::new().write(true).open(&self.path).doing("mend", &self.path)?;
        for range in &damage {
            if let Some(payload) = range.len().checked_sub(HEAD + SUM) {
                let mut filler = Vec::new();
                push_frame(&mut filler, MENDED, &[0; 32], &vec![0; payload]);
                file.write_all_at(&filler, range.start as u64).doing("mend", &self.path)?;
            }
        }
        Ok(damage.iter().map(Range::len).sum())
    }

    fn index_new_frames(&mut self) -> Vec<Range<usize>> {
        let mut damage = Vec::new();
        while self.end < self.bytes.len() {
            match frame(&self.bytes[self.end..]) {
                Frame::Whole { kind, key, payload, length } => {
                    let start = self.end + HEAD;
                    match kind {
                        RECORD => {
                            self.index.insert(key, (start, start + payload));
                        }
                        FORGOTTEN => {
                            self.index.remove(&key);
                        }
                        _ => {}
                    }
                    self.end += length;
                }
                broken => {
                    // Either damage in the middle, or the end of a write that a crash cut off: a whole frame that
                    // follows tells which.
                    let from = self.end;
                    match self.next_whole_frame(from + 1) {
                        Some(next) => self.end = next,
                        None if matches!(broken, Frame::Unfinished) => break,
                        None => self.end = self.bytes.len(),
                    }
                    damage.push(from..self.end);
                }
            }
        }
        damage
    }

    fn next_whole_frame(&self, from: usize) -> Option<usize> {
        (from..self.bytes.len())
            .find(|&at| self.bytes[at..].starts_with(MAGIC) && matches!(frame(&self.bytes[at..]), Frame::Whole { .. }))
    }
}

fn push_frame(out: &mut Vec<u8>, kind: u8, key: &[u8; 32], payload: &[u8]) {
    let start = out.len();
    out.extend(MAGIC);
    out.push(kind);
    out.extend(key);
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(payload);
    let sum = blake3::hash(&out[start..]);
    out.extend(&sum.as_bytes()[..SUM]);
}

enum Frame {
    Whole { kind: u8, key: [u8; 32], payload: usize, length: usize },
    Unfinished,
    Broken,
}

fn frame(bytes: &[u8]) -> Frame {
    if bytes.len() < MAGIC.len() {
        return if MAGIC.starts_with(bytes) { Frame::Unfinished } else { Frame::Broken };
    }
    if !bytes.starts_with(MAGIC) {
        return Frame::Broken;
    }
    if bytes.len() < HEAD {
        return Frame::Unfinished;
    }
    let payload = u32::from_le_bytes([bytes[37], bytes[38], bytes[39], bytes[40]]) as usize;
    let length = HEAD + payload + SUM;
    if bytes.len() < length {
        return Frame::Unfinished;
    }
    let sum = blake3::hash(&bytes[..HEAD + payload]);
    if sum.as_bytes()[..SUM] != bytes[HEAD + payload..length] {
        return Frame::Broken;
    }
    let mut key = [0; 32];
    key.copy_from_slice(&bytes[5..37]);
    Frame::Whole { kind: bytes[4], key, payload, length }
}
