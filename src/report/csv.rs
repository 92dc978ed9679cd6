//! The tables `comparison.csv`, `history.csv` and `predictions.csv`, made to be read by pandas as they are:
//! a header row, numbers with full precision, an empty field for what was not measured.

use std::io::{self, Write};

use csv::Writer;
use serde::Serialize;

use super::data::{Comparison, Results};

/// A row of `comparison.csv`; differences are fractions of 1.
#[derive(Serialize)]
struct ComparisonRow<'a> {
    arm: &'a str,
    baseline: &'a str,
    difference: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    p: Option<f64>,
    verdict: &'static str,
    confidence: Option<f64>,
    tail_difference: Option<f64>,
    tail_low: Option<f64>,
    tail_high: Option<f64>,
    tail_p: Option<f64>,
    smallest_difference: Option<f64>,
    test_images: usize,
    p_unadjusted: Option<f64>,
    micro_difference: Option<f64>,
    head_difference: Option<f64>,
    head_low: Option<f64>,
    head_high: Option<f64>,
    head_p: Option<f64>,
    seeds: usize,
    comparisons: usize,
}

/// A row of `predictions.csv`.
#[derive(Serialize)]
struct PredictionRow<'a> {
    arm: &'a str,
    seed: u64,
    path: &'a str,
    label: &'a str,
    predicted: &'a str,
    probability: Option<f64>,
}

/// A row a comparison.
pub fn write_comparison(results: &Results, out: &mut dyn Write) -> io::Result<()> {
    const HEADER: [&str; 22] = [
        "arm",
        "baseline",
        "difference",
        "low",
        "high",
        "p",
        "verdict",
        "confidence",
        "tail_difference",
        "tail_low",
        "tail_high",
        "tail_p",
        "smallest_difference",
        "test_images",
        "p_unadjusted",
        "micro_difference",
        "head_difference",
        "head_low",
        "head_high",
        "head_p",
        "seeds",
        "comparisons",
    ];
    table(out, &HEADER, results.comparisons.iter().map(|c| Ok(comparison_row(c))))
}

/// A row a recorded training step of an arm and seed.
pub fn write_history(results: &Results, out: &mut dyn Write) -> io::Result<()> {
    const HEADER: [&str; 6] = ["arm", "seed", "step", "loss", "valid_accuracy", "learning_rate"];
    let finite = |row: &super::data::HistoryRow| {
        let mut row = row.clone();
        row.loss = known(row.loss);
        row.valid_accuracy = known(row.valid_accuracy);
        row.learning_rate = known(row.learning_rate);
        row
    };
    table(out, &HEADER, results.history.iter().map(|row| Ok(finite(row))))
}

/// A row an arm, seed and test image.
pub fn write_predictions(results: &Results, out: &mut dyn Write) -> io::Result<()> {
    const HEADER: [&str; 6] = ["arm", "seed", "path", "label", "predicted", "probability"];
    let images = results.test_images.len();
    for run in &results.predictions {
        let (predicted, probability) = (run.predicted.len(), run.probability.len());
        if (predicted, probability) != (images, images) {
            let found = format!(
                "arm `{}`, seed {}: {predicted} predictions and {probability} probabilities of {images} test images",
                run.arm, run.seed
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, found));
        }
    }
    let rows = results.predictions.iter().flat_map(|run| {
        let answers = run.predicted.iter().zip(&run.probability);
        results.test_images.iter().zip(answers).map(move |(image, (&predicted, &probability))| {
            Ok(PredictionRow {
                arm: &run.arm,
                seed: run.seed,
                path: &image.path,
                label: species(results, image.label)?,
                predicted: species(results, predicted)?,
                probability: known(Some(probability)),
            })
        })
    });
    table(out, &HEADER, rows)
}

fn comparison_row(c: &Comparison) -> ComparisonRow<'_> {
    ComparisonRow {
        arm: &c.arm,
        baseline: &c.baseline,
        difference: known(Some(c.difference)),
        low: known(c.low),
        high: known(c.high),
        p: known(c.p),
        verdict: c.verdict.text(),
        confidence: known(Some(c.confidence)),
        tail_difference: known(c.tail.map(|tail| tail.difference)),
        tail_low: known(c.tail.and_then(|tail| tail.low)),
        tail_high: known(c.tail.and_then(|tail| tail.high)),
        tail_p: known(c.tail.and_then(|tail| tail.p)),
        smallest_difference: known(c.smallest_difference),
        test_images: c.test_images,
        p_unadjusted: known(c.p_unadjusted),
        micro_difference: known(Some(c.micro_difference)),
        head_difference: known(c.head.map(|head| head.difference)),
        head_low: known(c.head.and_then(|head| head.low)),
        head_high: known(c.head.and_then(|head| head.high)),
        head_p: known(c.head.and_then(|head| head.p)),
        seeds: c.design.seeds,
        comparisons: c.design.comparisons,
    }
}

/// Writes the header, which stands even over no rows, and each row under it.
fn table<R: Serialize>(
    out: &mut dyn Write,
    header: &[&str],
    rows: impl Iterator<Item = io::Result<R>>,
) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(out);
    writer.write_record(header)?;
    write_rows(&mut writer, rows)?;
    writer.flush()
}

fn write_rows<R: Serialize>(
    writer: &mut Writer<&mut dyn Write>,
    rows: impl Iterator<Item = io::Result<R>>,
) -> io::Result<()> {
    for row in rows {
        writer.serialize(row?)?;
    }
    Ok(())
}

fn species(results: &Results, index: usize) -> io::Result<&str> {
    results.species.get(index).map(|species| species.name.as_str()).ok_or_else(|| {
        let found = format!("a prediction names species {index} of {}", results.species.len());
        io::Error::new(io::ErrorKind::InvalidData, found)
    })
}

/// A number that is one: NaN and infinities are as unknown as what was not measured.
fn known(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}
