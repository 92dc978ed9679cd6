//! Whether every photo decodes, and how the photos are encoded. What was looked at once is not read again: the rest of
//! the dataset costs nothing when one photo changes.

use std::collections::HashMap;
use std::path::PathBuf;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::dataset::encoding::{self, Encoding, Format, Jpeg};
use crate::dataset::{Dataset, Split, decode};
use crate::error::{Error, Result};
use crate::plan::inputs::Digest;
use crate::plan::{Inputs, Step};
use crate::recipe::{Encode, ImageFormat};
use crate::store::{Record, Store};
use crate::text;

use super::session::Session;
use super::stop;

/// Problems of input files listed in one message at most.
const LISTED: usize = 20;

/// What the audit of a set of photos found.
#[derive(Serialize, Deserialize)]
struct Audited {
    /// The commonest of train.
    encoding: Encoding,
    #[serde(default, flatten)]
    encodings: Encodings,
}

/// How photos are encoded, by their place in a sorted list of digests.
#[derive(Default, Serialize, Deserialize)]
struct Encodings {
    kinds: Vec<Encoding>,
    /// Which of the kinds; `None`: no photo of train, or no image.
    of: Vec<Option<u32>>,
}

/// Checks what was not checked before; how synthetic images are to be written.
pub fn encoding(session: &mut Session<'_>, dataset: &Dataset) -> Result<Encoding> {
    let mut digests: Vec<Digest> = dataset.photos.iter().map(|photo| photo.digest).collect();
    digests.sort_unstable();
    digests.dedup();
    let bytes = digests.concat();
    let inputs = Inputs::new("audit", 1).digest("dataset", *blake3::hash(&bytes).as_bytes());
    let last = session.last_record("audit");
    let record = session.obtain_bytes(Step::Audit, "audit", &inputs, "audited", |session, record| {
        let known = Known::of(session.store, last.as_ref());
        look_at(session, dataset, &known)?;
        let (encodings, encoding) = encodings(dataset, &digests, &known)?;
        let photos = session.store.put(&bytes)?;
        let audited = serde_json::to_vec(&Audited { encoding, encodings });
        let audited = session.store.put(&audited.map_err(|error| Error::input(error.to_string()))?)?;
        Ok(record.output("photos", photos).output("audited", audited))
    })?;
    if let Encode::As { format, quality, size } = session.recipe.emit.encode {
        let format = match format {
            ImageFormat::Jpg => Format::Jpeg(Jpeg::standard(quality)),
            ImageFormat::Png => Format::Png { grey: false },
        };
        return Ok(Encoding { format, width: size as u32, height: size as u32 });
    }
    match record.and_then(|(_, bytes)| serde_json::from_slice::<Audited>(&bytes).ok()) {
        Some(audited) => Ok(audited.encoding),
        // Planning: the audit is due.
        None => Ok(encodings(dataset, &digests, &Known::of(session.store, last.as_ref()))?.1),
    }
}

/// What the last audit looked at.
#[derive(Default)]
struct Known {
    /// Sorted digests, one after the other.
    photos: Vec<u8>,
    encodings: Encodings,
}

impl Known {
    fn of(store: &Store, last: Option<&Record>) -> Known {
        let blob = |name| store.get(&last?.blob(name)?).ok().flatten();
        let audited = blob("audited").and_then(|bytes| serde_json::from_slice::<Audited>(&bytes).ok());
        Known {
            photos: blob("photos").unwrap_or_default(),
            encodings: audited.map(|audited| audited.encodings).unwrap_or_default(),
        }
    }

    fn position(&self, digest: &Digest) -> Option<usize> {
        self.photos.as_chunks::<32>().0.binary_search(digest).ok()
    }

    fn encoding(&self, digest: &Digest) -> Option<&Encoding> {
        let kind = (*self.encodings.of.get(self.position(digest)?)?)?;
        self.encodings.kinds.get(kind as usize)
    }
}

/// The encodings of train photos, and the commonest of them; only photos that are not known are read.
fn encodings(dataset: &Dataset, digests: &[Digest], known: &Known) -> Result<(Encodings, Encoding)> {
    let train: Vec<usize> = (0..dataset.photos.len()).filter(|&i| dataset.photos[i].split == Split::Train).collect();
    let sniffed: Vec<Option<Encoding>> = train
        .par_iter()
        .map(|&i| match known.encoding(&dataset.photos[i].digest) {
            Some(_) => None,
            None => encoding::sniff_file(&dataset.path(i)).ok(),
        })
        .collect();
    let mut encodings = Encodings { kinds: Vec::new(), of: vec![None; digests.len()] };
    let mut numbers: HashMap<&Encoding, u32> = HashMap::new();
    let mut counts: Vec<usize> = Vec::new();
    for (&i, sniffed) in train.iter().zip(&sniffed) {
        let digest = &dataset.photos[i].digest;
        let Some(encoding) = known.encoding(digest).or(sniffed.as_ref()) else { continue };
        let number = *numbers.entry(encoding).or_insert_with(|| {
            encodings.kinds.push(encoding.clone());
            counts.push(0);
            counts.len() as u32 - 1
        });
        counts[number as usize] += 1;
        if let Ok(at) = digests.binary_search(digest) {
            encodings.of[at] = Some(number);
        }
    }
    let commonest = encoding::commonest_of(encodings.kinds.iter().zip(counts))?;
    Ok((encodings, commonest))
}

/// Decodes every photo that was not decoded before; all the bad ones are named at once.
fn look_at(session: &Session<'_>, dataset: &Dataset, known: &Known) -> Result<()> {
    let new: Vec<usize> =
        (0..dataset.photos.len()).filter(|&i| known.position(&dataset.photos[i].digest).is_none()).collect();
    let mut task = session.progress.task("audit", new.len(), "photo");
    let mut problems = Vec::new();
    for chunk in new.chunks(512) {
        stop::check()?;
        let paths: Vec<PathBuf> = chunk.iter().map(|&i| dataset.path(i)).collect();
        problems.extend(decode::check_all(&paths));
        task.advance(chunk.len());
    }
    task.finish();
    if problems.is_empty() {
        return Ok(());
    }
    let mut lines: Vec<String> = problems.iter().take(LISTED).map(|(_, error)| format!("  {error}")).collect();
    if problems.len() > LISTED {
        lines.push(format!("  and {} more", problems.len() - LISTED));
    }
    Err(Error::input_help(
        format!("{} cannot be used:\n{}", text::count(problems.len(), "photo"), lines.join("\n")),
        "mend or remove them; `birdaug audit` lists every defect of the dataset",
    ))
}
