//! Throws away what somebody else decided on. Records go first: what an interruption leaves is a cache with blobs that
//! nobody names.

use std::collections::HashSet;

use rayon::prelude::*;

use super::{BlobFile, Digest, Store};
use crate::error::Result;

impl Store {
    /// Forgets records and removes blobs of our own cache. Other processes that have it open read the new log.
    pub fn discard(&self, records: &HashSet<[u8; 32]>, blobs: &[Digest]) -> Result<()> {
        if !records.is_empty() {
            self.own.log_to_write()?.compact(|key| !records.contains(key))?;
        }
        blobs.par_iter().try_for_each(|digest| self.own.blobs.remove(digest))
    }

    /// Every blob of our own cache, by digest.
    pub fn blob_files(&self) -> Result<Vec<BlobFile>> {
        self.own.blobs.list()
    }
}
