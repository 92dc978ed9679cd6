//! Makes the candidates that are missing: fixed padded batches, an image an entry, kept a batch at a time, so that a
//! build that is killed loses at most one batch.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

use image::{ImageFormat, RgbImage};
use rayon::prelude::*;

use crate::diffusion::Request;
use crate::error::{Error, Result};
use crate::plan::candidate::Identity;
use crate::plan::inputs::{self, CandidateOf, Digest};
use crate::plan::{Inputs, Key, Pattern, Step, Value, candidate};
use crate::recipe::GeneratorKind;
use crate::store::{Record, Store};

use super::changes;
use super::explain::{Cause, Reason};
use super::model::Model;
use super::offline;
use super::session::{Mode, Session};
use super::stop;
use super::survey::Survey;

/// The note of a candidate that came out as no image.
const FLAW: &str = "flaw";

/// What a candidate's record says was made; `None` of one whose pixels or latents were no numbers, so that there is no
/// image of it.
pub type Made = Option<Digest>;

/// A candidate with its key worked out.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Index into the dataset's species.
    pub species: usize,
    pub source: Option<Digest>,
    /// How many earlier candidates of the species share that source.
    pub index: u64,
    pub key: Key,
    pattern: Arc<Pattern>,
}

impl Wanted {
    /// What it is made from.
    pub fn inputs(&self) -> Inputs {
        self.pattern.filled(&values(self.source, self.index))
    }
}

/// Candidates of a species under this generator, by source and index.
pub fn wanted(
    session: &Session<'_>,
    survey: &Survey,
    generator: Digest,
    species: usize,
    identities: &[Identity],
) -> Vec<Wanted> {
    let Some(first) = identities.first() else { return Vec::new() };
    let name = &survey.dataset.species[species];
    let prompt = match &session.recipe.generator.kind {
        GeneratorKind::StableDiffusion(model) => Some(candidate::prompt(model, name)),
        GeneratorKind::Ddpm(_) => None,
    };
    let of = CandidateOf {
        generator,
        species: name,
        class: species,
        prompt: prompt.as_deref(),
        source: first.source,
        index: first.index,
    };
    let open: &[&str] = if first.source.is_some() { &["index", "source photo"] } else { &["index"] };
    let pattern = Arc::new(Pattern::new(inputs::candidate(&session.recipe.generator, &of), open));
    identities
        .iter()
        .map(|&Identity { source, index }| {
            let key = pattern.key(&values(source, index));
            Wanted { species, source, index, key, pattern: Arc::clone(&pattern) }
        })
        .collect()
}

/// In the order of a candidate's open fields.
fn values(source: Option<Digest>, index: u64) -> Vec<Value> {
    std::iter::once(Value::Count(index)).chain(source.map(Value::Digest)).collect()
}

/// What the cache has of the candidates, in order; `None` of those that are missing.
pub fn look_up(store: &Store, all: &[Wanted]) -> Vec<Option<Made>> {
    all.par_iter().map(|wanted| look_up_one(store, wanted)).collect()
}

fn look_up_one(store: &Store, wanted: &Wanted) -> Option<Made> {
    store.hit_with(&wanted.key.0, |found| match found.noted(FLAW) {
        Some(_) => Some(None),
        None => found.blob("image").map(Some),
    })
}

/// The images of the candidates, in order: those that were not `found` are made first. Planning, they are noted, and the
/// answer is `None` if there are any.
pub fn candidates(
    session: &mut Session<'_>,
    survey: &Survey,
    model: &Model,
    all: &[Wanted],
    mut found: Vec<Option<Made>>,
) -> Result<Option<Vec<Made>>> {
    let store = session.store;
    let missing: Vec<usize> = (0..all.len()).filter(|&i| found[i].is_none()).collect();
    mark(session, survey, all);
    session.used.extend(all.iter().map(|wanted| wanted.key.0));
    if !missing.is_empty() {
        for reason in reasons(session, survey, all, &missing) {
            session.ledger.due(Step::Candidates, reason);
        }
        session.ledger.pend(Step::Candidates, "candidates", &all[missing[0]].inputs(), missing.len());
        if session.mode == Mode::Plan {
            return Ok(None);
        }
        if session.options.offline {
            return Err(offline::refused(&[crate::text::count(missing.len(), "candidate")]));
        }
        make(session, survey, model, all, &missing)?;
    }
    for i in missing {
        found[i] = look_up_one(store, &all[i]);
    }
    let made: Option<Vec<Made>> = found.into_iter().collect();
    made.map(Some).ok_or_else(|| {
        Error::input_help(
            format!("a candidate that was just made is not in the cache `{}`", store.dir().display()),
            "check the disk, or use another folder by `--cache DIR`",
        )
    })
}

/// A species' name for its candidates in the memory of the last build.
fn slot(species: &str) -> String {
    format!("candidates of {species}")
}

/// Names each species' first candidate, which stands for all: they differ in source and index alone.
fn mark(session: &mut Session<'_>, survey: &Survey, all: &[Wanted]) {
    for (i, wanted) in all.iter().enumerate() {
        if i == 0 || all[i - 1].species != wanted.species {
            session.mark(&slot(&survey.dataset.species[wanted.species]), &wanted.key);
        }
    }
}

/// Why candidates are missing, species of one cause together.
fn reasons(session: &Session<'_>, survey: &Survey, all: &[Wanted], missing: &[usize]) -> Vec<Reason> {
    let mut groups: BTreeMap<String, (usize, Vec<&str>, Vec<Cause>)> = BTreeMap::new();
    for chunk in missing.chunk_by(|&a, &b| all[a].species == all[b].species) {
        let wanted = &all[chunk[0]];
        let (text, causes) = cause(session, survey, wanted);
        let group = groups.entry(text).or_insert_with(|| (0, Vec::new(), causes));
        group.0 += chunk.len();
        group.1.push(&survey.dataset.species[wanted.species]);
    }
    groups
        .into_iter()
        .map(|(text, (n, species, causes))| Reason {
            text: format!("{} ({}): {text}", crate::text::count(n, "candidate"), changes::named(&species)),
            causes,
        })
        .collect()
}

fn cause(session: &Session<'_>, survey: &Survey, wanted: &Wanted) -> (String, Vec<Cause>) {
    let said = |causes: Vec<Cause>, otherwise: &str| {
        let list: Vec<String> = causes.iter().map(Cause::to_string).collect();
        (if list.is_empty() { otherwise.to_string() } else { list.join("; ") }, causes)
    };
    if session.store.record(&wanted.key.0).is_some() {
        return said(Vec::new(), "no longer in the cache");
    }
    let name = &survey.dataset.species[wanted.species];
    let before = session.species_renamed().iter().find(|one| one.new == *name).map_or(name, |one| &one.old);
    let old = session.last_record(&slot(before)).and_then(|old| Inputs::decode(&old.inputs));
    let Some(old) = old else { return said(session.edits("candidates"), "not made before") };
    let mut differences = wanted.inputs().differences(&old);
    differences.retain(|change| change.field != "index" && change.field != "source photo");
    if differences.is_empty() {
        return said(session.edits("candidates"), "more are wanted");
    }
    said(session.causes(&differences), "")
}

/// A batch that the device is done with.
struct Batch {
    blank: Vec<Record>,
    images: Vec<Option<RgbImage>>,
}

/// The device makes one batch after the other; beside it, a thread opens the photos of the next one and another encodes,
/// hashes and keeps the images of the last one, so that the device waits for neither.
fn make(session: &mut Session<'_>, survey: &Survey, model: &Model, all: &[Wanted], missing: &[usize]) -> Result<()> {
    let mut generator = model.open(session, survey)?;
    let mut task = session.progress.task("candidates", missing.len(), "image");
    let chunks: Vec<&[usize]> = missing.chunks(generator.batch()).collect();
    let store = session.store;
    thread::scope(|scope| {
        let (opened, requests) = mpsc::sync_channel(1);
        let to_open = chunks.clone();
        scope.spawn(move || {
            // The other end is gone where the work stopped.
            to_open.into_iter().try_for_each(|chunk| opened.send(requests_of(survey, all, chunk)).map_err(drop))
        });
        // A batch changes hands where the one before is kept: a kill loses what one batch takes.
        let (done, batches) = mpsc::sync_channel::<Batch>(0);
        let (kept, counts) = mpsc::channel();
        let keeper = scope.spawn(move || {
            batches.into_iter().try_for_each(|batch| {
                let _ = kept.send(keep(store, batch)?);
                Ok(())
            })
        });
        let mut advance = |session: &mut Session<'_>, n| {
            session.ledger.made(Step::Candidates, n);
            task.advance(n);
        };
        let mut made = Ok(());
        for chunk in chunks {
            made = stop::check()
                .and_then(|()| {
                    let requests = requests.recv().unwrap_or_else(|_| requests_of(survey, all, chunk))?;
                    let started = Instant::now();
                    let images = generator.generate(&requests)?;
                    let seconds = format!("{:.4}", started.elapsed().as_secs_f64() / images.len().max(1) as f64);
                    let blank =
                        chunk.iter().map(|&i| session.blank(&all[i].inputs()).note("seconds", &seconds)).collect();
                    Ok(Batch { blank, images })
                })
                // Where nobody takes it, keeping failed: that is said below.
                .map(|batch| drop(done.send(batch)));
            counts.try_iter().for_each(|n| advance(session, n));
            if made.is_err() || keeper.is_finished() {
                break;
            }
        }
        drop((done, requests));
        let all_kept = keeper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        counts.try_iter().for_each(|n| advance(session, n));
        all_kept.and(made)
    })?;
    task.finish();
    Ok(())
}

/// What the generator is asked for by these candidates, their photos opened.
fn requests_of(survey: &Survey, all: &[Wanted], chunk: &[usize]) -> Result<Vec<Request>> {
    let open = |&i: &usize| {
        let source = all[i].source.map(|digest| survey.photo_by_digest(&digest)).transpose()?;
        Ok(Request { class: all[i].species, noise: all[i].key.0, source })
    };
    chunk.par_iter().map(open).collect()
}

/// Encodes, hashes and keeps a batch; how many there were.
fn keep(store: &Store, batch: Batch) -> Result<usize> {
    let records = batch
        .blank
        .into_par_iter()
        .zip(&batch.images)
        .map(|(record, image)| {
            Ok(match image {
                Some(image) => record.output("image", store.put(&png(image)?)?),
                // No image, and no second try: the same key would come to the same end.
                None => record.note(FLAW, "not finite"),
            })
        })
        .collect::<Result<Vec<_>>>()?;
    store.commit(&records)?;
    Ok(records.len())
}

/// An image of the cache turned out damaged after it was found whole.
pub fn damaged_in_use() -> Error {
    Error::input_help("a cached image was damaged while it was in use", "run the build again: it is made again")
}

/// The pixels of a candidate; `None` if its blob turned out damaged, and is now forgotten.
pub fn pixels(store: &Store, record: &Record) -> Result<Option<RgbImage>> {
    record.blob("image").map_or(Ok(None), |image| pixels_of(store, &image))
}

/// The pixels of a candidate's image; `None` if it turned out damaged, and is now forgotten.
pub fn pixels_of(store: &Store, image: &Digest) -> Result<Option<RgbImage>> {
    let Some(bytes) = store.get(image)? else { return Ok(None) };
    from_png(&store.blob_path(image), &bytes).map(Some)
}

/// The pixels of a candidate's blob; `path` names it in messages.
pub fn from_png(path: &Path, bytes: &[u8]) -> Result<RgbImage> {
    let image =
        image::load_from_memory_with_format(bytes, ImageFormat::Png).map_err(|error| Error::image(path, error))?;
    Ok(image.into_rgb8())
}

/// A candidate as it is kept.
pub fn png(image: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    image
        .write_to(&mut bytes, ImageFormat::Png)
        .map_err(|error| Error::input(format!("could not write a candidate as PNG: {error}")))?;
    Ok(bytes.into_inner())
}
