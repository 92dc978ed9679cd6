//! The report's pictures: thumbnails of real, kept and rejected images with their scores.

use std::io::Cursor;

use image::{ImageFormat, RgbImage};

use crate::dataset::decode;
use crate::error::{Error, Result};
use crate::plan::Key;
use crate::plan::select::{Reason, Verdict};
use crate::report;

use super::super::make;
use super::super::selection::Candidate;
use super::super::session::Session;
use super::super::survey::Survey;
use super::Found;

/// Side of the report's thumbnails in pixels.
const THUMBNAIL: u32 = 112;

/// Real and kept images side by side: the species with the most synthetic images first.
pub fn gallery(session: &Session<'_>, found: &Found<'_>) -> Result<Vec<report::Gallery>> {
    let survey = found.survey;
    let mut order: Vec<usize> = (0..survey.dataset.species.len()).collect();
    let kept: Vec<usize> = order.iter().map(|&species| found.selection.kept_of(species)).collect();
    order.sort_by_key(|&species| (std::cmp::Reverse(kept[species]), species));
    order
        .into_iter()
        .filter(|&species| kept[species] > 0)
        .take(report::GALLERY_SPECIES)
        .map(|species| {
            let real = survey.cut.train.iter().filter(|&&i| survey.dataset.photos[i].species as usize == species);
            let real = real
                .take(report::GALLERY_REAL)
                .map(|&photo| {
                    Ok(report::RealImage {
                        picture: thumbnail(&decode::photo(&survey.dataset.path(photo))?)?,
                        path: survey.dataset.photos[photo].path.clone(),
                    })
                })
                .collect::<Result<Vec<_>>>()?;
            let candidates = found.selection.kept().filter(|candidate| candidate.species == species);
            let kept = candidates
                .take(report::GALLERY_KEPT)
                .map(|candidate| {
                    Ok(report::KeptImage {
                        picture: candidate_picture(session, candidate)?,
                        key: candidate.key.short(),
                        source: candidate.source.and_then(|digest| survey.path_by_digest(&digest)),
                        scores: scores(survey, candidate),
                    })
                })
                .collect::<Result<Vec<_>>>()?;
            Ok(report::Gallery { species: survey.dataset.species[species].clone(), real, kept })
        })
        .collect()
}

pub fn rejected(session: &Session<'_>, found: &Found<'_>) -> Result<Vec<report::RejectedImage>> {
    let survey = found.survey;
    let dropped = found.selection.candidates.iter().filter_map(|candidate| match candidate.verdict {
        // There is no picture of what came out as no image.
        Verdict::Drop { reason: Reason::NotFinite, .. } => None,
        Verdict::Drop { reason, value, threshold } => Some((candidate, reason, value, threshold)),
        Verdict::Keep => None,
    });
    dropped
        .take(report::GALLERY_REJECTED)
        .map(|(candidate, reason, value, threshold)| {
            let scored = &candidate.scored;
            let photo = match reason {
                Reason::SsimMax => scored.nearest,
                Reason::HeldOut => scored.nearest_held_out,
                Reason::CopyMax => scored.nearest_alike,
                _ => None,
            };
            let nearest = match candidate.twin.filter(|_| reason == Reason::Duplicate) {
                Some(twin) => Some(picture_of(session, &twin)?),
                None => photo.map(|digest| thumbnail(&survey.photo_by_digest(&digest)?)).transpose()?,
            };
            Ok(report::RejectedImage {
                picture: candidate_picture(session, candidate)?,
                species: survey.dataset.species[candidate.species].clone(),
                key: candidate.key.short(),
                source: candidate.source.and_then(|digest| survey.path_by_digest(&digest)),
                reason: reason.name().to_string(),
                value: Some(value),
                threshold: Some(threshold),
                scores: scores(survey, candidate),
                nearest_picture: nearest,
            })
        })
        .collect()
}

fn scores(survey: &Survey, candidate: &Candidate) -> report::Scores {
    let scored = &candidate.scored;
    report::Scores {
        ssim: Some(scored.scores.copy),
        nearest: scored.nearest.and_then(|digest| survey.path_by_digest(&digest)),
        source_ssim: scored.scores.source,
        confidence: Some(scored.scores.confidence),
        named: survey.dataset.species.get(scored.named).cloned(),
        held_out: scored.scores.held_out,
        nearest_held_out: scored.nearest_held_out.and_then(|digest| survey.path_by_digest(&digest)),
        likeness: scored.scores.likeness,
        nearest_alike: scored.nearest_alike.and_then(|digest| survey.path_by_digest(&digest)),
        realism: scored.scores.realism,
        duplicate_of: candidate.twin.map(|twin| twin.short()),
        frechet: None,
    }
}

fn candidate_picture(session: &Session<'_>, candidate: &Candidate) -> Result<report::Picture> {
    picture_of(session, &candidate.key)
}

fn picture_of(session: &Session<'_>, candidate: &Key) -> Result<report::Picture> {
    let record = session.store.record(&candidate.0).unwrap_or_default();
    let image = make::pixels(session.store, &record)?.ok_or_else(make::damaged_in_use)?;
    thumbnail(&image)
}

/// A small picture: large ones are shrunk, small ones stay as they are, for the browser to enlarge.
fn thumbnail(image: &RgbImage) -> Result<report::Picture> {
    let side = image.width().min(image.height()).min(THUMBNAIL);
    let small = decode::square(image, side);
    let mut bytes = Cursor::new(Vec::new());
    let format = if side < THUMBNAIL { ImageFormat::Png } else { ImageFormat::Jpeg };
    small
        .write_to(&mut bytes, format)
        .map_err(|error| Error::input(format!("could not write a thumbnail: {error}")))?;
    Ok(report::Picture(bytes.into_inner()))
}
