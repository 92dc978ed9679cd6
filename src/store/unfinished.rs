//! State of a fit that was interrupted, so that the next build goes on from it. Whole or absent, never half.

use std::fs;
use std::io::ErrorKind;

use super::{Store, write_atomically};
use crate::error::{IoContext, Result};

impl Store {
    /// Keeps the state of unfinished work under its key; a digest goes in front.
    pub fn keep_unfinished(&self, key: &[u8; 32], state: &[u8]) -> Result<()> {
        let mut bytes = blake3::hash(state).as_bytes().to_vec();
        bytes.extend(state);
        write_atomically(&self.unfinished_path(key), &bytes)
    }

    /// The state kept for a key; a damaged one is as good as none.
    pub fn unfinished(&self, key: &[u8; 32]) -> Result<Option<Vec<u8>>> {
        let path = self.unfinished_path(key);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).doing("read", &path),
        };
        Ok(bytes
            .split_first_chunk::<32>()
            .filter(|(sum, state)| blake3::hash(state).as_bytes() == *sum)
            .map(|(_, state)| state.to_vec()))
    }

    /// Lets go of a key's state: the work is finished.
    pub fn drop_unfinished(&self, key: &[u8; 32]) -> Result<()> {
        let path = self.unfinished_path(key);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).doing("remove", &path),
            _ => Ok(()),
        }
    }

    /// Where the state of a key is kept.
    pub fn unfinished_path(&self, key: &[u8; 32]) -> std::path::PathBuf {
        self.dir().join("unfinished").join(blake3::Hash::from(*key).to_hex().as_str())
    }
}
