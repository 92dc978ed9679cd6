//! One safetensors file, mapped into memory: its header is read and checked against the file's length, its tensors
//! are not touched. Knows nothing of what the tensors are for.

use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::{Mmap, UncheckedAdvice};
use safetensors::tensor::{Dtype as Kind, Metadata};

use super::tensors::{Bytes, Dtype, Stored};
use crate::error::{Error, IoContext, Result};
use crate::text;

/// What to do about a file that is not all there.
const AGAIN: &str = "half a download, it seems: fetch the file again";

/// Length of a safetensors file's first field, the length of its header.
const PREFIX: usize = 8;

/// Longest header that is believed.
const LONGEST: u64 = 100 << 20;

struct Mapped(Mmap);

impl Bytes for Mapped {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn give_back(&self, range: Range<usize>) {
        // SAFETY: the mapping is of a file and never written, so that what is asked for again is read again.
        // A system that does not take the advice keeps the pages, which is no mistake.
        let _ = unsafe { self.0.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
    }
}

/// A safetensors file whose header is sound and whose bytes are all there.
pub struct SafetensorsFile {
    pub path: PathBuf,
    header: Metadata,
    start: usize,
    bytes: Arc<dyn Bytes>,
}

impl SafetensorsFile {
    /// Maps a file and reads its header. Whoever shortens the file while it is mapped ends the process, as with every
    /// mapped file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`] if the file is cut off, a pointer of git-lfs, a web page, a pickle, or in some
    /// other way no safetensors file.
    pub fn open(path: &Path) -> Result<SafetensorsFile> {
        let file = File::open(path).doing("read", path)?;
        let length = file.metadata().doing("read", path)?.len();
        let wrong = |problem: &str, help: &str| Error::input_help(format!("`{}`: {problem}", path.display()), help);
        if length == 0 {
            return Err(wrong("is empty", AGAIN));
        }
        // Safe as long as nobody writes to the file meanwhile: weights are written once.
        let map = unsafe { Mmap::map(&file) }.doing("map", path)?;
        if let Some((problem, help)) = foreign(&map) {
            return Err(wrong(problem, help));
        }
        let prefix = map.get(..PREFIX).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes);
        let Some(header_length) = prefix else { return Err(wrong("ends inside its header", AGAIN)) };
        if header_length > LONGEST {
            return Err(wrong("is no safetensors file", "what is wanted ends in `.safetensors`"));
        }
        let start = PREFIX + header_length as usize;
        let Some(header) = map.get(PREFIX..start) else { return Err(wrong("ends inside its header", AGAIN)) };
        let header: Metadata = serde_json::from_slice(header)
            .map_err(|error| wrong(&format!("its safetensors header is damaged: {error}"), "fetch the file again"))?;
        let wanted = (start + header.data_len()) as u64;
        if length < wanted {
            let (there, whole) = (text::bytes(length), text::bytes(wanted));
            return Err(wrong(&format!("only {there} of {whole} are there ({length} of {wanted} bytes)"), AGAIN));
        }
        if length > wanted {
            return Err(wrong(&format!("goes on for {} bytes after its last tensor", length - wanted), AGAIN));
        }
        Ok(SafetensorsFile { path: path.to_path_buf(), header, start, bytes: Arc::new(Mapped(map)) })
    }

    /// All bytes of the file.
    pub fn content(&self) -> &[u8] {
        self.bytes.bytes()
    }

    /// Names of its tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names = self.header.offset_keys();
        names.sort_unstable();
        names
    }

    /// Shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.header.info(name).map(|info| info.shape.as_slice())
    }

    /// A note that the file's writer left in its header.
    pub fn note(&self, name: &str) -> Option<&str> {
        self.header.metadata().as_ref()?.get(name).map(String::as_str)
    }

    /// A tensor by its name in the file.
    ///
    /// # Errors
    /// [`Error::Input`] if it is not there, or has a type that no network here takes.
    pub fn tensor(&self, name: &str) -> Result<Stored> {
        let wrong = |problem: String| Error::input(format!("`{}`: tensor `{name}` {problem}", self.path.display()));
        let info = self.header.info(name).ok_or_else(|| wrong("is missing".into()))?;
        let dtype = match info.dtype {
            Kind::F32 => Dtype::Fp32,
            Kind::F16 => Dtype::Fp16,
            Kind::BF16 => Dtype::Bf16,
            Kind::F64 => Dtype::Fp64,
            Kind::I64 => Dtype::Int64,
            other => return Err(wrong(format!("has type {other:?}; F32, F16 and BF16 are read"))),
        };
        let start = self.start + info.data_offsets.0;
        Ok(Stored { dtype, shape: info.shape.clone(), start, bytes: Arc::clone(&self.bytes) })
    }
}

/// What a file is, if its first bytes say that it is no safetensors file, and what to do.
fn foreign(bytes: &[u8]) -> Option<(&'static str, &'static str)> {
    let begins = |word: &str| bytes.starts_with(word.as_bytes());
    if begins("version https://git-lfs") {
        Some(("is a pointer of git-lfs, not the weights", "run `git lfs pull` in the checkpoint's folder"))
    } else if begins("<!DOCTYPE") || begins("<!doctype") || begins("<html") {
        Some(("is a web page, not weights", "fetch the file itself, not the page that shows it"))
    } else if begins("PK\x03\x04") || bytes.starts_with(&[0x80, 0x02, 0x8a, 0x0a]) {
        Some(("is a pickle, whatever its name says", "convert it to safetensors"))
    } else {
        None
    }
}
