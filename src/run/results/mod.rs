//! From runs and scores to the plain results that the report writes: counts, pictures, accuracies, comparisons.

mod arms;
mod compare;
mod models;
mod pictures;

use std::collections::BTreeMap;

use crate::error::{Error, IoContext, Result};
use crate::nn::device;
use crate::plan::select::{Reason, Verdict};
use crate::plan::{ENGINE, Inputs, Step};
use crate::recipe::{Features, GeneratorKind, Mode as GeneratorMode, Recipe, SplitKind, TestImages};
use crate::report::{self, Results};
use crate::score::inception;
use crate::train::row_of_result;

use super::arms::{ArmRuns, predictions_slot};
use super::gate::{Gate, SetFigures};
use super::likeness::{self, Likeness};
use super::model::{self, Baseline};
use super::selection::{Candidate, Selection};
use super::session::{Mode, Session};
use super::survey::Survey;
use crate::dataset::alike::SIDE as FACE_SIDE;

/// A Frechet distance of fewer images than the features have dimensions is mostly bias.
const FEW: &str = "fewer images than features: the Frechet distance is biased upwards, read KID beside it";

/// The gate counts all pairs of images, the figure a hundred subsets: they differ a little.
const BY_SUBSETS: &str = "the mean over random subsets; the gate is held by the whole sets, see its own row";

/// All that the steps before found.
pub struct Found<'a> {
    pub survey: &'a Survey,
    pub selection: &'a Selection,
    pub baseline: &'a Baseline,
    pub figures: &'a SetFigures,
    pub arms: &'a [ArmRuns],
}

/// Writes what there is after each classifier that was trained, while others are still to come.
pub fn so_far(session: &mut Session<'_>, found: &Found<'_>, notes: &[String]) -> Result<()> {
    let trained = found.arms.iter().map(|arm| arm.runs.len()).sum();
    let asked_for = found.arms.len() * session.recipe.classifier.seeds.len();
    if trained == asked_for {
        return Ok(());
    }
    let likeness = likeness::of_survey(session, found.survey)?;
    let mut results = results(session, found, &likeness, Some(report::Unfinished { trained, asked_for }))?;
    results.notes.extend(notes.iter().cloned());
    report::write(&results, &session.recipe.report.out)
}

/// Compares the arms and writes the results folder, if they are not there as they should be. Returns the headline.
pub fn report(session: &mut Session<'_>, found: &Found<'_>, notes: &[String]) -> Result<Option<String>> {
    let compare = compare_inputs(session, found);
    let report = Inputs::new("report", 2)
        .digest("compare", compare.key().0)
        .digest("select", found.selection.digest)
        .text("recipe", &text_of(session.recipe, notes));
    let compared = session.store.hit(&compare.key().0).is_some();
    let written = session.store.hit(&report.key().0).map(|record| record.inline);
    let on_disk = folder_digest(&session.recipe.report.out)?;
    if !compared {
        let reason = session.explain("compare", &compare);
        session.ledger.due(Step::Compare, reason);
    }
    match written {
        Some(digest) if compared && on_disk.is_some_and(|found| found[..] == digest[..]) => {
            session.note("compare", &compare)?;
            session.note("report", &report)?;
            return Ok(read_headline(session.recipe));
        }
        Some(_) if compared => {
            let out = session.recipe.report.out.display();
            session.ledger.due(Step::Report, format!("`{out}` is not there as it was written"));
        }
        _ => {
            let reason = session.explain("report", &report);
            session.ledger.due(Step::Report, reason);
        }
    }
    if session.mode == Mode::Plan {
        return Ok(None);
    }
    let likeness = likeness::of_survey(session, found.survey)?;
    let mut results = results(session, found, &likeness, None)?;
    results.notes.extend(notes.iter().cloned());
    let models = models::chosen(found.arms, session.recipe.classifier.training.patience);
    results.models = models.iter().map(|(folder, best)| models::listed(folder, best)).collect();
    models::write(session, found.survey, &models)?;
    report::write(&results, &session.recipe.report.out)?;
    let digest = folder_digest(&session.recipe.report.out)?.ok_or_else(|| {
        Error::input(format!("`{}` was removed while it was written", session.recipe.report.out.display()))
    })?;
    session.note("compare", &compare)?;
    let record = session.blank(&report).inline(digest.to_vec());
    session.store.commit(&[record])?;
    session.note("report", &report)?;
    session.ledger.made(Step::Compare, results.comparisons.len());
    session.ledger.made(Step::Report, 1);
    Ok(Some(headline(&results)))
}

/// What the comparison depends on: every run's answers, the test images, the tail.
fn compare_inputs(session: &Session<'_>, found: &Found<'_>) -> Inputs {
    let mut hasher = blake3::Hasher::new();
    for arm in found.arms {
        for run in &arm.runs {
            let slot = predictions_slot(&arm.arm.name, run.seed);
            hasher.update(slot.as_bytes());
            hasher.update(session.key_of(&slot).unwrap_or_default().as_bytes());
        }
    }
    Inputs::new("compare", 3)
        .digest("predictions", *hasher.finalize().as_bytes())
        .digest("test photos", found.survey.test_list.digest())
        .digest("train photos", found.survey.train_list.digest())
        .real("compare.tail", session.recipe.compare.tail)
}

/// What else the report shows of the recipe.
fn text_of(recipe: &Recipe, notes: &[String]) -> String {
    let hash = blake3::hash(format!("{:?} {notes:?}", recipe.meaning()).as_bytes());
    hash.to_hex().to_string()
}

/// BLAKE3 of the results folder's files, of a model's weights their number of bytes; `None` if one is not there.
pub fn folder_digest(dir: &std::path::Path) -> Result<Option<[u8; 32]>> {
    let mut hasher = blake3::Hasher::new();
    for name in ["metrics.json", "comparison.csv", "history.csv", "predictions.csv", "report.html"] {
        let path = dir.join(name);
        match std::fs::read(&path) {
            Ok(bytes) => hasher.update(blake3::hash(&bytes).as_bytes()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).doing("read", &path),
        };
    }
    let Some(models) = models::state(dir)? else { return Ok(None) };
    hasher.update(&models);
    Ok(Some(*hasher.finalize().as_bytes()))
}

fn headline(results: &Results) -> String {
    let mut lines = vec![report::headline(results)];
    lines.extend(results.comparisons.iter().map(report::sentence));
    lines.join("\n")
}

/// The verdicts of an earlier build, read from its results.
pub fn read_headline(recipe: &Recipe) -> Option<String> {
    let text = std::fs::read_to_string(recipe.report.out.join("metrics.json")).ok()?;
    let value: serde_json::Value = serde_json::from_str(&text).ok()?;
    let lines: Vec<String> = value["comparisons"]
        .as_array()?
        .iter()
        .filter_map(|c| {
            Some(format!("{} vs {}: {}", c["arm"].as_str()?, c["baseline"].as_str()?, c["verdict"].as_str()?))
        })
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn results(
    session: &Session<'_>,
    found: &Found<'_>,
    likeness: &Likeness,
    unfinished: Option<report::Unfinished>,
) -> Result<Results> {
    let (recipe, survey) = (session.recipe, found.survey);
    let tail = survey.tail(recipe.compare.tail);
    let labels: Vec<usize> =
        survey.cut.test.iter().map(|&photo| survey.dataset.photos[photo].species as usize).collect();
    let comparisons =
        compare::comparisons(found.arms, &recipe.classifier.training, &labels, &tail, unfinished.is_none())?;
    let mut notes = Vec::new();
    if let Some(questions) = comparisons.first().map(|one| one.design.comparisons).filter(|&n| n > 1) {
        notes.push(format!("p values are Holm's, adjusted for {questions} comparisons; those of tail and head by themselves are not adjusted"));
    }
    Ok(Results {
        name: recipe.name.clone(),
        recipe: recipe.path.display().to_string(),
        dataset: recipe.dataset.root.display().to_string(),
        engine: ENGINE.to_string(),
        libtorch: device::LIBTORCH.to_string(),
        device: device::class(session.device),
        split: split_in_words(recipe),
        tested_on: match recipe.split.test {
            TestImages::Test => "test",
            TestImages::UnusedTrain => "unused train images",
            TestImages::Both => "test and unused train images",
        }
        .to_string(),
        generator: found.selection.candidates.first().map(|_| generator(recipe)),
        species: species(survey, found.selection, &tail, &labels),
        rejections: rejections(recipe, found.selection),
        set_metrics: set_metrics(recipe, found.figures),
        baseline: Some(baseline(recipe, found)),
        arms: found.arms.iter().map(|arm| arms::result(recipe, survey, arm, &labels, &tail)).collect::<Result<_>>()?,
        comparisons,
        unfinished,
        models: Vec::new(),
        notes,
        guards: guards(recipe, found.selection, likeness),
        gates: gates(survey, found.selection),
        gallery: pictures::gallery(session, found)?,
        rejected: pictures::rejected(session, found)?,
        history: found.arms.iter().flat_map(arms::history).collect(),
        test_images: survey
            .cut
            .test
            .iter()
            .zip(&labels)
            .map(|(&photo, &label)| report::TestImage { path: survey.dataset.photos[photo].path.clone(), label })
            .collect(),
        predictions: found.arms.iter().flat_map(arms::predictions).collect(),
    })
}

fn split_in_words(recipe: &Recipe) -> String {
    match recipe.split.kind {
        SplitKind::Full => "full".to_string(),
        SplitKind::FewShot { shots } => format!("few-shot, {shots} images a species, seed {}", recipe.split.seed),
        SplitKind::LongTail { imbalance } => format!("long-tail, imbalance {imbalance}, seed {}", recipe.split.seed),
    }
}

fn generator(recipe: &Recipe) -> report::Generator {
    let settings = &recipe.generator;
    let kind = match &settings.kind {
        GeneratorKind::Ddpm(_) => "ddpm",
        GeneratorKind::StableDiffusion(_) => "stable-diffusion",
    };
    report::Generator {
        kind: kind.to_string(),
        mode: settings.mode.name().to_string(),
        size: settings.size,
        steps: settings.steps,
        sampler: settings.sampler.name().to_string(),
        guidance: settings.guidance,
        strength: (settings.mode == GeneratorMode::Img2Img).then_some(settings.strength),
        precision: settings.precision.name().to_string(),
        train_steps: model::fit_steps(recipe),
    }
}

fn species(survey: &Survey, selection: &Selection, tail: &[bool], labels: &[usize]) -> Vec<report::SpeciesCounts> {
    let n = survey.dataset.species.len();
    let (mut kept, mut made, mut valid, mut test) = (vec![0; n], vec![0; n], vec![0; n], vec![0; n]);
    for candidate in &selection.candidates {
        made[candidate.species] += 1;
        kept[candidate.species] += usize::from(candidate.verdict.keeps());
    }
    for &photo in &survey.cut.valid {
        valid[survey.dataset.photos[photo].species as usize] += 1;
    }
    for &label in labels {
        test[label] += 1;
    }
    (0..n)
        .map(|i| report::SpeciesCounts {
            name: survey.dataset.species[i].clone(),
            real: survey.real[i],
            wanted: survey.wanted[i],
            kept: kept[i],
            rejected: made[i] - kept[i],
            candidates: made[i],
            shortfall: survey.wanted[i].saturating_sub(kept[i]),
            valid: valid[i],
            test: test[i],
            tail: tail[i],
        })
        .collect()
}

fn rejections(recipe: &Recipe, selection: &Selection) -> Vec<report::Rejections> {
    let mut counts: BTreeMap<Reason, usize> = BTreeMap::new();
    for candidate in &selection.candidates {
        if let Verdict::Drop { reason, .. } = candidate.verdict {
            *counts.entry(reason).or_default() += 1;
        }
    }
    counts
        .into_iter()
        .map(|(reason, count)| report::Rejections {
            reason: reason.name().to_string(),
            count,
            threshold: reason.threshold(&recipe.filter),
        })
        .collect()
}

fn set_metrics(recipe: &Recipe, figures: &SetFigures) -> Vec<report::SetMetric> {
    let features = match recipe.filter.features {
        Features::Classifier => "classifier",
        Features::Inception(_) => inception::NAME,
    };
    let metric = |name: &str, value: Option<f64>, floor: Option<f64>, threshold: Option<f64>, note: Option<String>| {
        report::SetMetric {
            metric: name.to_string(),
            value,
            n_real: figures.n_real,
            n_synthetic: figures.n_synthetic,
            floor,
            floor_n: figures.floor.as_ref().map(|floor| floor.n[0]),
            features: features.to_string(),
            threshold,
            // A build with a gate that does not hold has no results.
            passed: threshold.zip(value).map(|_| true),
            note,
        }
    };
    let small = figures.n_real.min(figures.n_synthetic) <= figures.dims;
    let by_subsets = figures.kid.filter(|kid| kid.by_subsets && recipe.filter.kid_max.is_some());
    let by_subsets = by_subsets.map(|_| BY_SUBSETS.to_string());
    let fid_floor = figures.floor.as_ref().map(|floor| floor.frechet);
    let kid_floor = figures.floor.as_ref().map(|floor| floor.kid.value);
    vec![
        metric("fid", figures.frechet, fid_floor, recipe.filter.fid_max, small.then(|| FEW.to_string())),
        metric("kid", figures.kid.map(|kid| kid.value), kid_floor, recipe.filter.kid_max, by_subsets),
    ]
}

fn baseline(recipe: &Recipe, found: &Found<'_>) -> report::Baseline {
    let candidates = &found.selection.candidates;
    let right = candidates.iter().filter(|candidate| candidate.scored.named == candidate.species).count();
    report::Baseline {
        arch: recipe.classifier.arch.name().to_string(),
        valid_accuracy: row_of_result(&found.baseline.fitted.history, recipe.classifier.training.patience)
            .and_then(|row| row.valid_accuracy),
        names_rightly: (!candidates.is_empty()).then(|| right as f64 / candidates.len() as f64),
        candidates: candidates.len(),
    }
}

/// The copy guard always, and the guard of valid and test where the recipe asks for it.
fn guards(recipe: &Recipe, selection: &Selection, likeness: &Likeness) -> Vec<report::Guard> {
    let (kept, rejected): (Vec<&Candidate>, Vec<&Candidate>) =
        selection.candidates.iter().partition(|candidate| candidate.verdict.keeps());
    let guard = |key: &str, against: &str, real_against: &str, real: &[f64], of: fn(&Candidate) -> Option<f64>| {
        let values = |list: &[&Candidate]| list.iter().filter_map(|candidate| of(candidate)).collect();
        report::Guard {
            key: key.to_string(),
            against: against.to_string(),
            real_against: real_against.to_string(),
            real: real.to_vec(),
            real_quantile: likeness::quantile(real),
            kept: values(&kept),
            rejected: values(&rejected),
            threshold: None,
            side: likeness.side,
        }
    };
    let copies = report::Guard {
        threshold: recipe.filter.ssim_max,
        ..guard(
            "ssim_max",
            "every real photo of the species and all of valid and test",
            "train photos against the others of their species in train",
            &likeness.train,
            |candidate| Some(candidate.scored.scores.copy),
        )
    };
    let leaks = recipe.filter.held_out_max.map(|threshold| report::Guard {
        threshold: Some(threshold),
        ..guard(
            "held_out_max",
            "the photos of its species that the arm is validated and tested on",
            "train photos against those",
            &likeness.held_out,
            |candidate| candidate.scored.scores.held_out,
        )
    });
    let moved = recipe.filter.copy_max.map(|threshold| report::Guard {
        threshold: Some(threshold),
        side: FACE_SIDE,
        ..guard(
            "copy_max",
            "those photos but its source, however shifted, cropped or brightened",
            "pairs of train photos of one species",
            &likeness.pairs,
            |candidate| candidate.scored.scores.likeness,
        )
    });
    std::iter::once(copies).chain(moved).chain(leaks).collect()
}

fn gates(survey: &Survey, selection: &Selection) -> Vec<report::Gate> {
    let held = selection.gates.held.iter();
    held.map(|held| {
        let (gate, species) = match held.gate {
            Gate::Fid => (Reason::Fid, None),
            Gate::Kid => (Reason::Kid, None),
            Gate::SpeciesKid(species) => (Reason::SpeciesKid, Some(survey.dataset.species[species].clone())),
        };
        report::Gate {
            gate: gate.name().to_string(),
            species,
            value: held.distance,
            threshold: held.threshold,
            n_real: held.n[0],
            n_synthetic: held.n[1],
            dropped: held.gone,
        }
    })
    .collect()
}
