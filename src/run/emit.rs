//! The augmented tree: real photos linked, kept images encoded as the real ones are, the csv files beside them.

use std::collections::BTreeMap;

use crate::dataset::stat_index::StatIndex;
use crate::dataset::{Split, encoding};
use crate::error::{Error, IoContext, Result};
use crate::plan::inputs::{self, Digest, PhotoList};
use crate::plan::select::Verdict;
use crate::plan::{Inputs, Key, Step};

use super::gate::SetFigures;
use super::make;
use super::photos::Place;
use super::progress::Task;
use super::selection::{Candidate, Selection};
use super::session::{Mode, Session};
use super::stop;
use super::survey::{self, Survey};
use super::tree::{Content, File, Indices, MARK, Present, Tree, Writer};

/// A kept image as a file of the tree.
#[derive(Debug, Clone)]
pub struct Synthetic {
    pub species: usize,
    /// The encoded file's blob.
    pub file: Digest,
}

/// The kept images in the dataset's file format; `None` if planning and some are not there.
pub fn encode(session: &mut Session<'_>, survey: &Survey, selection: &Selection) -> Result<Option<Vec<Synthetic>>> {
    let text = serde_json::to_vec(&survey.encoding).map_err(|error| Error::input(error.to_string()))?;
    let encoding = *blake3::hash(&text).as_bytes();
    let kept: Vec<&Candidate> = selection.kept().collect();
    let inputs: Vec<Inputs> = kept.iter().map(|candidate| inputs::encoded(candidate.image, encoding)).collect();
    let missing: Vec<usize> = (0..kept.len()).filter(|&i| session.store.hit(&inputs[i].key().0).is_none()).collect();
    if !missing.is_empty() {
        let n = crate::text::count(missing.len(), "image");
        session.ledger.due(Step::Emit, format!("{n} to be encoded as {}", survey.encoding));
        if session.mode == Mode::Plan {
            return Ok(None);
        }
        for chunk in missing.chunks(256) {
            stop::check()?;
            let records = chunk
                .iter()
                .map(|&i| {
                    let record = session.store.record(&kept[i].key.0).unwrap_or_default();
                    let image = make::pixels(session.store, &record)?.ok_or_else(lost)?;
                    let file = session.store.put(&encoding::encode(&survey.encoding, &image)?)?;
                    Ok(session.blank(&inputs[i]).output("file", file))
                })
                .collect::<Result<Vec<_>>>()?;
            session.store.commit(&records)?;
        }
    }
    kept.iter()
        .zip(&inputs)
        .map(|(candidate, inputs)| {
            let file = session.store.hit(&inputs.key().0).and_then(|record| record.blob("file")).ok_or_else(lost)?;
            Ok(Synthetic { species: candidate.species, file })
        })
        .collect::<Result<Vec<_>>>()
        .map(Some)
}

fn lost() -> Error {
    Error::input_help("a cached image was damaged while it was in use", "run the build again: it is made again")
}

/// What the augmented arm trains on: real photos first, then the kept images.
pub fn augmented_list(survey: &Survey, synthetic: &[Synthetic]) -> (Vec<(Place, usize)>, PhotoList) {
    let mut list = PhotoList::default();
    let mut items = Vec::new();
    for image in synthetic {
        list.push(&image.file, &survey.dataset.species[image.species]);
        items.push((Place::Blob(image.file), image.species));
    }
    (items, list)
}

/// Writes the tree if it is not there as it should be.
pub fn emit(
    session: &mut Session<'_>,
    survey: &Survey,
    selection: &Selection,
    synthetic: &[Synthetic],
    figures: Option<&SetFigures>,
) -> Result<()> {
    let files = survey.cut.train.len() + survey.cut.valid.len() + survey.cut.test.len() + synthetic.len() + 3;
    let task = session.progress.task("emit", files, "file");
    let tree = tree(session, survey, selection, synthetic, figures)?;
    let out = &session.recipe.emit.out;
    let inputs =
        Inputs::new("emit", 1).digest("tree", tree.digest()).text("emit.link", session.recipe.emit.link.name());
    session.tree_digest = Some(tree.digest());
    let mut index = survey::tree_index(session.store, session.recipe, session.options);
    let present = Present::look(out, &mut index)?;
    index.save()?;
    let difference = match &present {
        Some(present) => present.difference(&tree, out),
        None => Some(format!("`{}` is not there", out.display())),
    };
    let known = session.store.hit(&inputs.key().0).is_some();
    if let Some(reason) = difference {
        session.ledger.due(Step::Emit, reason);
    } else if !known {
        let reason = session.explain("emit", &inputs);
        session.ledger.due(Step::Emit, reason);
    } else {
        return session.note("emit", &inputs);
    }
    if session.mode == Mode::Plan {
        return Ok(());
    }
    stop::check()?;
    write(session, &tree, present.as_ref(), &mut index, task)?;
    session.ledger.made(Step::Emit, 1);
    session.note("emit", &inputs)
}

/// Puts the tree in its place and remembers the state of its files.
fn write(
    session: &Session<'_>,
    tree: &Tree,
    present: Option<&Present>,
    index: &mut StatIndex,
    task: Task<'_>,
) -> Result<()> {
    let out = &session.recipe.emit.out;
    let root = &session.recipe.dataset.root;
    let task = std::sync::Mutex::new(task);
    let writer = Writer {
        out,
        link: session.recipe.emit.link,
        spare: session.store.dir().join("trees").join(survey::place_name(out)),
        whole: &|digest| Ok(session.store.get(digest)?.is_some()),
        each: &|files| task.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).advance(files),
    };
    let written = writer.write(tree, present);
    session.report_damage();
    let mut photos = StatIndex::load(&survey::stat_index_path(session.store, "photos", root));
    tree.settle(out, &written?, Indices { tree: index, photos: &mut photos, root })?;
    index.save()?;
    photos.save()?;
    task.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).finish();
    Ok(())
}

fn tree(
    session: &Session<'_>,
    survey: &Survey,
    selection: &Selection,
    synthetic: &[Synthetic],
    figures: Option<&SetFigures>,
) -> Result<Tree> {
    let mut tree = Tree::default();
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let dataset = &survey.dataset;
    for (split, photos) in
        [(Split::Train, &survey.cut.train), (Split::Valid, &survey.cut.valid), (Split::Test, &survey.cut.test)]
    {
        for &i in photos.iter() {
            let photo = &dataset.photos[i];
            let name = photo.path.rsplit('/').next().unwrap_or(&photo.path);
            let path = free_path(&tree, split.name(), dataset.species_of(i), name, &photo.digest);
            tree.insert(&path, File { content: Content::Photo(dataset.path(i)), digest: photo.digest });
            let row = Row {
                split,
                species: photo.species as usize,
                digest: photo.digest,
                source: photo.path.clone(),
                candidate: None,
            };
            rows.insert(path, row);
        }
    }
    let ending = survey.encoding.format.ending();
    for (candidate, image) in selection.kept().zip(synthetic) {
        let species = &dataset.species[candidate.species];
        let path = format!("train/{species}/synthetic-{}.{ending}", candidate.key.short());
        let content = Content::Blob(session.store.blob_path(&image.file));
        tree.insert(&path, File { content, digest: image.file });
        let source = candidate.source.and_then(|digest| survey.path_by_digest(&digest)).unwrap_or_default();
        let row = Row {
            split: Split::Train,
            species: candidate.species,
            digest: image.file,
            source,
            candidate: Some(candidate),
        };
        rows.insert(path, row);
    }
    let shares = shares(selection, figures);
    tree.insert_bytes("birds.csv", birds_csv(survey, &rows)?);
    tree.insert_bytes(MARK, manifest_csv(session, survey, &rows, &shares)?);
    tree.insert_bytes("rejected.csv", rejected_csv(session, survey, selection)?);
    Ok(tree)
}

/// A file of the tree as the csv files list it.
struct Row<'c> {
    split: Split,
    species: usize,
    digest: Digest,
    /// Real: its path in the dataset; synthetic: the path of the photo it was made from.
    source: String,
    candidate: Option<&'c Candidate>,
}

/// The photo's own name, with digits of its digest where that is taken (merged folders, both test sets).
fn free_path(tree: &Tree, split: &str, species: &str, name: &str, digest: &Digest) -> String {
    let path = format!("{split}/{species}/{name}");
    if !tree.contains(&path) {
        return path;
    }
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, "jpg"));
    format!("{split}/{species}/{stem}-{}.{ending}", Key(*digest).short())
}

/// Each kept candidate's share in the Frechet distance, by key.
fn shares(selection: &Selection, figures: Option<&SetFigures>) -> BTreeMap<Key, f64> {
    let shares = figures.and_then(|figures| figures.shares.as_deref()).unwrap_or_default();
    selection.kept().zip(shares).map(|(candidate, &share)| (candidate.key, share)).collect()
}

fn birds_csv(survey: &Survey, rows: &BTreeMap<String, Row<'_>>) -> Result<Vec<u8>> {
    let scientific = scientific_names(survey)?;
    let mut out = csv::Writer::from_writer(Vec::new());
    let mut write = |record: &[&str]| out.write_record(record).map_err(csv_error);
    write(&["class id", "filepaths", "labels", "data set", "scientific name"])?;
    for (path, row) in rows {
        let species = &survey.dataset.species[row.species];
        let name = scientific.get(species).map_or("", String::as_str);
        write(&[&row.species.to_string(), path, species, row.split.name(), name])?;
    }
    out.into_inner().map_err(|error| Error::input(error.to_string()))
}

/// Scientific names out of the dataset's own `birds.csv`, where it has one.
fn scientific_names(survey: &Survey) -> Result<BTreeMap<String, String>> {
    let path = survey.dataset.root.join("birds.csv");
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error).doing("read", &path),
    };
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(&bytes[..]);
    let headers = reader.byte_headers().cloned().unwrap_or_default();
    let column = |name: &[u8]| headers.iter().position(|header| header == name);
    let (Some(label), Some(name)) = (column(b"labels"), column(b"scientific name")) else { return Ok(BTreeMap::new()) };
    let mut names = BTreeMap::new();
    for record in reader.byte_records().flatten() {
        if let (Some(label), Some(name)) = (record.get(label), record.get(name)) {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            names.entry(text(label)).or_insert_with(|| text(name));
        }
    }
    Ok(names)
}

fn manifest_csv(
    session: &Session<'_>,
    survey: &Survey,
    rows: &BTreeMap<String, Row<'_>>,
    shares: &BTreeMap<Key, f64>,
) -> Result<Vec<u8>> {
    let mut out = csv::Writer::from_writer(Vec::new());
    let header = [
        "path",
        "split",
        "species",
        "origin",
        "digest",
        "key",
        "source",
        "seed",
        "prompt",
        "ssim",
        "nearest",
        "source_ssim",
        "confidence",
        "named",
        "frechet_share",
        "verdict",
    ];
    out.write_record(header).map_err(csv_error)?;
    for (path, row) in rows {
        let species = &survey.dataset.species[row.species];
        let digest = Key(row.digest).hex();
        let mut fields = vec![path.clone(), row.split.name().into(), species.clone()];
        match row.candidate {
            None => {
                fields.extend(["real".into(), digest, String::new(), row.source.clone()]);
                fields.extend(vec![String::new(); 8]);
                fields.push("real".into());
            }
            Some(candidate) => {
                fields.extend(["synthetic".into(), digest, candidate.key.hex(), row.source.clone()]);
                fields.push(format!("{}/{}", session.recipe.generator.seed, candidate.index));
                fields.push(String::new());
                fields.extend(scores(survey, candidate));
                fields.push(shares.get(&candidate.key).map_or(String::new(), |share| format!("{share:.6}")));
                fields.push("keep".into());
            }
        }
        out.write_record(&fields).map_err(csv_error)?;
    }
    out.into_inner().map_err(|error| Error::input(error.to_string()))
}

fn scores(survey: &Survey, candidate: &Candidate) -> [String; 5] {
    let scored = &candidate.scored;
    [
        format!("{:.6}", scored.scores.copy),
        scored.nearest.and_then(|digest| survey.path_by_digest(&digest)).unwrap_or_default(),
        scored.scores.source.map_or(String::new(), |value| format!("{value:.6}")),
        format!("{:.6}", scored.scores.confidence),
        survey.dataset.species.get(scored.named).cloned().unwrap_or_default(),
    ]
}

fn rejected_csv(session: &Session<'_>, survey: &Survey, selection: &Selection) -> Result<Vec<u8>> {
    let mut out = csv::Writer::from_writer(Vec::new());
    let header = [
        "key",
        "species",
        "reason",
        "value",
        "threshold",
        "source",
        "seed",
        "ssim",
        "nearest",
        "source_ssim",
        "confidence",
        "named",
    ];
    out.write_record(header).map_err(csv_error)?;
    for candidate in &selection.candidates {
        let Verdict::Drop { reason, value, threshold } = candidate.verdict else { continue };
        let mut fields = vec![
            candidate.key.hex(),
            survey.dataset.species[candidate.species].clone(),
            reason.name().to_string(),
            format!("{value:.6}"),
            format!("{threshold}"),
            candidate.source.and_then(|digest| survey.path_by_digest(&digest)).unwrap_or_default(),
            format!("{}/{}", session.recipe.generator.seed, candidate.index),
        ];
        fields.extend(scores(survey, candidate));
        out.write_record(&fields).map_err(csv_error)?;
    }
    out.into_inner().map_err(|error| Error::input(error.to_string()))
}

fn csv_error(error: csv::Error) -> Error {
    Error::input(format!("could not write csv: {error}"))
}
