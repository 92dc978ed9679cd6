//! What a cache's blob folders hold, as one digest of all names. A folder that has not changed since it was last listed
//! is not listed again: its inode and time say so, as long as that time was well past when it was listed.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rayon::prelude::*;

use super::blobs::Blobs;
use super::write_atomically;
use crate::error::{IoContext, Result};

/// A folder may change again within one tick of its file system's clock; coarse ones tick every two seconds.
const SETTLED: Duration = Duration::from_secs(3);

/// Bytes of a remembered folder.
const ROW: usize = 8 + 8 + 8 + 32;

/// A digest of the names of all blobs; `memory` is the file that remembers folders.
pub fn fingerprint(blobs: &Blobs, memory: &Path) -> Result<[u8; 32]> {
    let known = recall(memory);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let rows: Vec<(Row, bool)> = (0..=255u8)
        .into_par_iter()
        .map(|head| {
            let stamp = stamp(&blobs.folder(head))?;
            if let Some(row) = known.as_ref().map(|rows| rows[usize::from(head)])
                && row.stamp == stamp
            {
                return Ok((row, true));
            }
            let mut digests = blobs.digests(head)?;
            digests.sort_unstable();
            let settled = Duration::new(stamp[1].max(0) as u64, 0) + SETTLED < now;
            Ok((Row { stamp, sum: *blake3::hash(digests.as_flattened()).as_bytes() }, settled))
        })
        .collect::<Result<_>>()?;
    let fresh: Vec<Row> =
        rows.iter().map(|&(row, settled)| if settled { row } else { Row { stamp: NEVER, ..row } }).collect();
    if known.as_ref() != Some(&fresh) {
        // Without it, the next time takes longer.
        let _ = remember(memory, &fresh);
    }
    let sums: Vec<[u8; 32]> = rows.iter().map(|(row, _)| row.sum).collect();
    Ok(*blake3::hash(sums.as_flattened()).as_bytes())
}

/// Inode, seconds and nanoseconds of a folder's last change; zeros for one that is not there.
type Stamp = [i64; 3];

/// The stamp of no folder.
const NEVER: Stamp = [-1; 3];

#[derive(Clone, Copy, PartialEq)]
struct Row {
    stamp: Stamp,
    sum: [u8; 32],
}

fn stamp(folder: &Path) -> Result<Stamp> {
    match fs::metadata(folder) {
        Ok(found) => Ok([found.ino() as i64, found.mtime(), found.mtime_nsec()]),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok([0; 3]),
        Err(error) => Err(error).doing("read", folder),
    }
}

fn recall(memory: &Path) -> Option<Vec<Row>> {
    let bytes = fs::read(memory).ok()?;
    let (rows, sum) = bytes.split_at_checked(256 * ROW)?;
    (blake3::hash(rows).as_bytes() == sum).then(|| {
        let (rows, _) = rows.as_chunks::<ROW>();
        rows.iter()
            .map(|row| {
                let number = |at: usize| row[at..].first_chunk::<8>().map_or(-1, |bytes| i64::from_le_bytes(*bytes));
                let mut sum = [0; 32];
                sum.copy_from_slice(&row[24..]);
                Row { stamp: [number(0), number(8), number(16)], sum }
            })
            .collect()
    })
}

fn remember(memory: &Path, rows: &[Row]) -> Result<()> {
    let mut bytes = Vec::with_capacity(rows.len() * ROW + 32);
    for row in rows {
        bytes.extend(row.stamp.iter().flat_map(|number| number.to_le_bytes()));
        bytes.extend(row.sum);
    }
    let sum = blake3::hash(&bytes);
    bytes.extend(sum.as_bytes());
    write_atomically(memory, &bytes)
}
