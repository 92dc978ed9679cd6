//! The records' file: frames appended under a lock, never rewritten in place. A later frame of a key replaces an earlier
//! one. Damage costs the frames it hits and no others. Knows nothing of blobs.
//!
//! Nothing is read before it is asked for. Damage that was found is overwritten by an empty frame of its length, so
//! that it is said once. Who compacts the log puts a new file in its place; other processes notice and read that one.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;

use rayon::prelude::*;

use super::blobs;
use super::frame::{self, FORGOTTEN, Frame, HEAD, MAGIC, MENDED, RECORD, SUM};
use super::index::Index;
use super::record::{Record, View};
use crate::error::{Error, IoContext, Result};

/// Bytes at the log's end that stand for all of it in a fingerprint.
const TAIL: u64 = 512;

/// The log, read up to `end`.
pub struct Log {
    path: PathBuf,
    /// Whether it may be written: locked, mended, appended to.
    own: bool,
    file: Option<File>,
    loaded: bool,
    bytes: Vec<u8>,
    index: Index,
    /// How far `bytes` has been indexed; what follows is an unfinished frame.
    end: usize,
}

impl Log {
    /// The log at `path`, which is neither opened nor made yet; that of somebody else (`own` false) is never written.
    pub fn new(path: PathBuf, own: bool) -> Log {
        Log { path, own, file: None, loaded: false, bytes: Vec::new(), index: Index::default(), end: 0 }
    }

    /// Refuses a log of another format by its first bytes.
    pub fn check_format(&self) -> Result<()> {
        let mut head = Vec::new();
        match File::open(&self.path) {
            Ok(file) => file.take(4).read_to_end(&mut head).doing("read", &self.path)?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error).doing("read", &self.path),
        };
        let Some(version) = frame::other_version(&head) else { return Ok(()) };
        // A flipped bit in a log of ours looks the same, but has frames of ours behind it.
        let bytes = fs::read(&self.path).doing("read", &self.path)?;
        if next_whole_frame(&bytes, 1).is_some() {
            return Ok(());
        }
        Err(Error::input_help(
            format!(
                "`{}` was written in format {version}; this birdaug reads {}",
                self.path.display(),
                MAGIC[3] as char
            ),
            "use another folder (`--cache DIR`), or the birdaug that wrote it, or delete this cache: a build makes it again",
        ))
    }

    /// Whether the file has been read.
    pub fn loaded(&self) -> bool {
        self.loaded
    }

    /// Reads the file, made if it is not there, once; returns how many damaged bytes were passed over.
    pub fn load(&mut self) -> Result<usize> {
        if self.loaded {
            return Ok(0);
        }
        if !self.own {
            let damage = self.refresh()?;
            self.loaded = true;
            return Ok(damage.iter().map(Range::len).sum());
        }
        let mended = self.locked(|log| {
            let damage = log.read_on()?;
            log.mend(damage)
        })?;
        self.loaded = true;
        Ok(mended)
    }

    /// The record of a key.
    pub fn get(&self, key: &[u8; 32]) -> Option<Record> {
        Record::decode(key, self.payload(key)?)
    }

    /// The record of a key where it stands.
    pub fn view(&self, key: &[u8; 32]) -> Option<View<'_>> {
        View::of(self.payload(key)?)
    }

    /// Whether there is a record of a key, and all its blobs are there as `has` says.
    pub fn complete(&self, key: &[u8; 32], has: impl FnMut(&[u8; 32]) -> bool) -> bool {
        self.payload(key).is_some_and(|payload| super::record::all_blobs(payload, has))
    }

    /// Every living record with its bytes here, in the order of the log.
    pub fn each(&self, mut look: impl FnMut(Record, usize)) {
        for at in self.index.offsets() {
            if let Some(record) = self.record_at(at) {
                look(record, HEAD + frame::payload(&self.bytes, at).len() + SUM);
            }
        }
    }

    /// Every living record where it stands, in the order of the log.
    pub fn each_view(&self, mut look: impl FnMut(View<'_>)) {
        for at in self.index.offsets() {
            if frame::kind(&self.bytes, at) == RECORD
                && let Some(view) = View::of(frame::payload(&self.bytes, at))
            {
                look(view);
            }
        }
    }

    /// How many living records there are, and how many of them are so.
    pub fn count(&self, is_so: impl Fn(View<'_>) -> bool + Sync) -> (usize, usize) {
        let of_one = |at: usize| {
            let record = (frame::kind(&self.bytes, at) == RECORD).then(|| frame::payload(&self.bytes, at));
            record.and_then(View::of).map_or((0, 0), |view| (1, usize::from(is_so(view))))
        };
        let sum = |a: (usize, usize), b: (usize, usize)| (a.0 + b.0, a.1 + b.1);
        self.index.offsets().into_par_iter().with_min_len(256).map(of_one).reduce(|| (0, 0), sum)
    }

    /// Appends records in one write.
    pub fn append(&mut self, records: &[Record]) -> Result<()> {
        let mut frames = Vec::new();
        for record in records {
            frame::push(&mut frames, RECORD, &record.key, &record.encode());
        }
        self.write(&frames)
    }

    /// Appends a key's end.
    pub fn forget(&mut self, key: &[u8; 32]) -> Result<()> {
        let mut frame = Vec::new();
        frame::push(&mut frame, FORGOTTEN, key, &[]);
        self.write(&frame)
    }

    /// Reads what others appended; returns the damaged ranges that were passed over.
    pub fn refresh(&mut self) -> Result<Vec<Range<usize>>> {
        if !self.same_file()? {
            self.close();
        }
        self.read_on()
    }

    /// Puts a log in place that has the last frames of those keys alone that `keep` names; returns how many went.
    pub fn compact(&mut self, keep: impl Fn(&[u8; 32]) -> bool) -> Result<usize> {
        let dropped = self.locked(|log| {
            log.read_on()?;
            let (mut frames, mut dropped) = (Vec::new(), 0);
            for at in log.index.offsets() {
                if frame::kind(&log.bytes, at) != RECORD {
                    continue;
                }
                let kept = frame::key(&log.bytes, at).first_chunk::<32>().is_some_and(&keep);
                match frame::read_head(&log.bytes[at..]) {
                    Frame::Whole(length) if kept => frames.extend(&log.bytes[at..at + length]),
                    _ => dropped += 1,
                }
            }
            let (temporary, mut file) = blobs::create_beside(&log.path)?;
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            file.write_all(&frames)
                .and_then(|()| file.sync_all())
                .and_then(|()| file.set_permissions(mode))
                .and_then(|()| fs::rename(&temporary, &log.path))
                .doing("write", &log.path)
                .inspect_err(|_| drop(fs::remove_file(&temporary)))?;
            Ok(dropped)
        })?;
        self.refresh()?;
        Ok(dropped)
    }

    /// What the log is by its place on the disk, its length and its last bytes.
    pub fn fingerprint(&self) -> Result<[u8; 32]> {
        let mut hasher = blake3::Hasher::new();
        match File::open(&self.path) {
            Ok(file) => {
                let found = file.metadata().doing("read", &self.path)?;
                let tail = found.len().min(TAIL);
                let mut bytes = vec![0; tail as usize];
                file.read_exact_at(&mut bytes, found.len() - tail).doing("read", &self.path)?;
                hasher.update(&found.ino().to_le_bytes()).update(&found.len().to_le_bytes()).update(&bytes);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).doing("read", &self.path),
        }
        Ok(*hasher.finalize().as_bytes())
    }

    fn payload(&self, key: &[u8; 32]) -> Option<&[u8]> {
        let at = self.index.get(key, |at| frame::key(&self.bytes, at))?;
        (frame::kind(&self.bytes, at) == RECORD).then(|| frame::payload(&self.bytes, at))
    }

    fn record_at(&self, at: usize) -> Option<Record> {
        let key = frame::key(&self.bytes, at).first_chunk::<32>()?;
        (frame::kind(&self.bytes, at) == RECORD).then(|| Record::decode(key, frame::payload(&self.bytes, at)))?
    }

    /// Opens the file, unless it is open. That of somebody else may be missing.
    fn open(&mut self) -> Result<Option<&mut File>> {
        if self.file.is_none() {
            let opened = match self.own {
                true => OpenOptions::new().read(true).append(true).create(true).open(&self.path),
                false => File::open(&self.path),
            };
            match opened {
                Ok(file) => self.file = Some(file),
                Err(error) if !self.own && error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error).doing("open the cache's", &self.path),
            }
        }
        Ok(self.file.as_mut())
    }

    fn close(&mut self) {
        self.file = None;
        self.bytes.clear();
        self.index.clear();
        self.end = 0;
    }

    /// Whether the open file is the one that is at the path; true if none is open.
    fn same_file(&self) -> Result<bool> {
        let Some(file) = &self.file else { return Ok(true) };
        let open = file.metadata().doing("read", &self.path)?;
        match fs::metadata(&self.path) {
            Ok(found) => Ok((found.dev(), found.ino()) == (open.dev(), open.ino())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).doing("read", &self.path),
        }
    }

    /// Does something while no other process writes.
    fn locked<T>(&mut self, work: impl FnOnce(&mut Log) -> Result<T>) -> Result<T> {
        loop {
            let path = self.path.clone();
            if let Some(file) = self.open()? {
                file.lock().doing("lock", &path)?;
            }
            // Another may have been put in its place while we waited.
            if self.same_file()? {
                break;
            }
            self.close();
        }
        let done = work(self);
        if let Some(file) = &self.file {
            file.unlock().doing("unlock", &self.path)?;
        }
        done
    }

    fn write(&mut self, frames: &[u8]) -> Result<()> {
        if frames.is_empty() {
            return Ok(());
        }
        self.locked(|log| {
            log.read_on()?;
            if log.end < log.bytes.len() {
                // Nobody else is writing: what is unfinished now was cut off by a crash.
                log.cut(log.end)?;
            }
            let before = log.bytes.len();
            let path = log.path.clone();
            let written = log.open()?.map_or(Ok(()), |file| file.write_all(frames));
            if let Err(error) = written {
                // A full disk leaves half a frame: take it back, so that the log stays whole.
                let _ = log.cut(before);
                return Err(error).doing("write", &path);
            }
            log.take_bytes(frames);
            log.index_new_frames();
            Ok(())
        })
    }

    fn read_on(&mut self) -> Result<Vec<Range<usize>>> {
        let path = self.path.clone();
        let from = self.bytes.len() as u64;
        let Some(file) = self.open()? else { return Ok(Vec::new()) };
        let length = file.metadata().doing("read", &path)?.len();
        if length < from {
            // Cut by somebody: begin again.
            self.bytes.clear();
            self.index.clear();
            self.end = 0;
            return self.read_on();
        }
        if length > from {
            // `read_to_end` would reserve twice what is needed.
            let mut new = vec![0; (length - from) as usize];
            file.seek(SeekFrom::Start(from)).doing("read", &path)?;
            file.read_exact(&mut new).doing("read", &path)?;
            if self.bytes.is_empty() {
                self.bytes = new;
            } else {
                self.take_bytes(&new);
            }
        }
        Ok(self.index_new_frames())
    }

    fn take_bytes(&mut self, new: &[u8]) {
        if self.bytes.capacity() - self.bytes.len() < new.len() {
            // Left alone, it would double.
            self.bytes.reserve_exact(new.len() + self.bytes.len() / 16);
        }
        self.bytes.extend(new);
    }

    fn cut(&mut self, length: usize) -> Result<()> {
        self.bytes.truncate(length);
        let path = self.path.clone();
        self.open()?.map_or(Ok(()), |file| file.set_len(length as u64)).doing("cut the torn end of", path)
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
                frame::push(&mut filler, MENDED, &[0; 32], &vec![0; payload]);
                file.write_all_at(&filler, range.start as u64).doing("mend", &self.path)?;
                self.bytes[range.clone()].copy_from_slice(&filler);
            }
        }
        Ok(damage.iter().map(Range::len).sum())
    }

    fn index_new_frames(&mut self) -> Vec<Range<usize>> {
        let whole = whole_frames(&self.bytes, self.end);
        let bytes = &self.bytes;
        self.index.reserve(whole.len(), |at| frame::key(bytes, at));
        for at in whole {
            self.take_in(at);
        }
        let mut damage = Vec::new();
        while self.end < self.bytes.len() {
            match frame::read(&self.bytes[self.end..]) {
                Frame::Whole(_) => self.take_in(self.end),
                broken => {
                    // Either damage in the middle, or the end of a write that a crash cut off: a whole frame that
                    // follows tells which.
                    let from = self.end;
                    match next_whole_frame(&self.bytes, from + 1) {
                        Some(next) => self.end = next,
                        None if broken == Frame::Unfinished => break,
                        None => self.end = self.bytes.len(),
                    }
                    damage.push(from..self.end);
                }
            }
        }
        damage
    }

    fn take_in(&mut self, at: usize) {
        let bytes = &self.bytes;
        if matches!(frame::kind(bytes, at), RECORD | FORGOTTEN) {
            self.index.set(frame::key(bytes, at), at, |at| frame::key(bytes, at));
        }
        self.end = at + HEAD + frame::payload(bytes, at).len() + SUM;
    }
}

/// Where the whole frames begin that follow each other from `from`, up to the first that is not; sums are checked side
/// by side.
fn whole_frames(bytes: &[u8], from: usize) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut at = from;
    while let Frame::Whole(length) = frame::read_head(&bytes[at..]) {
        starts.push(at);
        at += length;
    }
    let holds = |&start: &usize| matches!(frame::read(&bytes[start..]), Frame::Whole(_));
    let bad = match starts.len() {
        // Not worth waking other threads.
        0..256 => starts.iter().position(|start| !holds(start)),
        _ => starts.par_iter().with_min_len(128).position_first(|start| !holds(start)),
    };
    starts.truncate(bad.unwrap_or(starts.len()));
    starts
}

fn next_whole_frame(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len())
        .find(|&at| bytes[at..].starts_with(MAGIC) && matches!(frame::read(&bytes[at..]), Frame::Whole(_)))
}
