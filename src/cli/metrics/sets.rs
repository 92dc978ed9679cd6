//! `birdaug metrics fid`, `kid` and `prdc`: figures of two folders of images by Inception features.

use serde_json::{Map, Value, json};

use crate::cli::args::{Global, ResizeArg, SetArgs, SetPrecision};
use crate::cli::{opened, terminal};
use crate::error::{Error, Result};
use crate::nn::device::Precision;
use crate::nn::inception::FEATURES;
use crate::plan::Key;
use crate::run::metrics::{self, Asked, FEATURES_NAME, Measured};
use crate::run::{self, Progress};
use crate::score::interval::Interval;
use crate::score::kid::Kid;
use crate::score::resize::Resize;
use crate::text;

/// `metrics fid`.
pub fn fid(options: &SetArgs, global: &Global) -> Result<()> {
    let measured = measure(options, global, 2)?;
    let fid = metrics::fid(&measured.sets)?;
    let note = fid.kid.map(|_| {
        format!("FID of fewer than {} images is mostly its own bias: read KID in its place", text::thousands(FEATURES))
    });
    if options.json {
        let mut figure = figure(options, &measured, fid.value, fid.interval, floor(fid.floor));
        figure.insert("kid".into(), fid.kid.map_or(Value::Null, |kid| json!({ "value": kid.value, "std": kid.std })));
        figure.insert("note".into(), json!(note));
        terminal::json(&Value::Object(figure));
        return Ok(());
    }
    let mut rows = vec![row("fid", fid.value, 3, fid.interval, fid.floor.map(|(value, _)| value))];
    if let Some(kid) = fid.kid {
        rows.push(vec!["kid".into(), kid_text(&kid), String::new(), String::new()]);
    }
    say(options, &measured, &rows, fid.floor.map(|(_, n)| n), note.as_deref());
    Ok(())
}

/// `metrics kid`.
pub fn kid(options: &SetArgs, global: &Global) -> Result<()> {
    let measured = measure(options, global, 2)?;
    let found = metrics::kid(&measured.sets)?;
    if options.json {
        let mut figure = figure(options, &measured, found.kid.value, found.interval, floor(found.floor));
        figure.insert("std".into(), json!(found.kid.std));
        figure.insert("by_subsets".into(), json!(found.kid.by_subsets));
        figure.insert("whole".into(), json!(found.whole));
        terminal::json(&Value::Object(figure));
        return Ok(());
    }
    let mut row = row("kid", found.kid.value, 6, found.interval, found.floor.map(|(value, _)| value));
    row[1] = kid_text(&found.kid);
    let note = found.kid.by_subsets.then(|| {
        format!("the mean and deviation of 100 random subsets of 1,000; the whole sets come to {:.6}", found.whole)
    });
    say(options, &measured, &[row], found.floor.map(|(_, n)| n), note.as_deref());
    Ok(())
}

/// `metrics prdc`.
pub fn prdc(options: &SetArgs, k: usize, global: &Global) -> Result<()> {
    if k == 0 {
        return Err(Error::Usage("`--k 0` is no neighbourhood; give at least 1".to_string()));
    }
    let measured = measure(options, global, k + 1)?;
    let found = metrics::prdc(&measured.sets, k)?;
    let values = found.figures;
    let named = [
        ("precision", values.precision),
        ("recall", values.recall),
        ("density", values.density),
        ("coverage", values.coverage),
    ];
    if options.json {
        let mut all = beside(options, &measured);
        for (name, value) in named {
            all.insert(name.into(), json!(value));
        }
        let intervals: Map<String, Value> = named
            .iter()
            .zip(found.intervals)
            .map(|((name, _), interval)| (name.to_string(), json!(interval)))
            .collect();
        all.insert("interval".into(), Value::Object(intervals));
        all.insert("floor".into(), found.floor.map_or(Value::Null, |(floor, n)| json!({ "values": floor, "n": n })));
        all.insert("k".into(), json!(k));
        terminal::json(&Value::Object(all));
        return Ok(());
    }
    let floors = found.floor.map(|(floor, _)| [floor.precision, floor.recall, floor.density, floor.coverage]);
    let rows: Vec<Vec<String>> = (0..4)
        .map(|i| row(named[i].0, named[i].1, 4, Some(found.intervals[i]), floors.map(|floors| floors[i])))
        .collect();
    say(options, &measured, &rows, found.floor.map(|(_, n)| n), None);
    Ok(())
}

fn measure(options: &SetArgs, global: &Global, least: usize) -> Result<Measured> {
    run::listen();
    let store = opened::store(global)?;
    let asked = Asked {
        a: options.a.clone(),
        b: options.b.clone(),
        weights: options.weights.clone(),
        resize: resize(options),
        precision: precision(options),
        skip_unreadable: options.skip_unreadable,
        device: global.device.clone(),
        least,
    };
    metrics::measure(&asked, &store, &Progress::new(global.quiet))
}

fn resize(options: &SetArgs) -> Resize {
    match options.resize {
        ResizeArg::Clean => Resize::Clean,
        ResizeArg::TfBilinear => Resize::TfBilinear,
        ResizeArg::TorchBilinear => Resize::TorchBilinear,
    }
}

fn precision(options: &SetArgs) -> Precision {
    match options.precision {
        SetPrecision::Fp32 => Precision::Fp32,
        SetPrecision::Bf16 => Precision::Bf16,
    }
}

fn figure(
    options: &SetArgs,
    measured: &Measured,
    value: f64,
    interval: Option<Interval>,
    floor: Value,
) -> Map<String, Value> {
    let mut figure = Map::new();
    figure.insert("value".into(), json!(value));
    figure.extend(beside(options, measured));
    figure.insert("interval".into(), json!(interval));
    figure.insert("floor".into(), floor);
    figure
}

fn floor(floor: Option<(f64, [usize; 2])>) -> Value {
    floor.map_or(Value::Null, |(value, n)| json!({ "value": value, "n": n }))
}

/// What every figure of sets carries.
fn beside(options: &SetArgs, measured: &Measured) -> Map<String, Value> {
    let n = measured.sets.each_ref().map(|set| set.features.rows);
    let skipped = measured.sets.each_ref().map(|set| set.skipped.len());
    let mut map = Map::new();
    map.insert("n".into(), json!(n));
    map.insert("features".into(), json!(FEATURES_NAME));
    map.insert("resize".into(), json!(resize(options).name()));
    map.insert("precision".into(), json!(precision(options).name()));
    map.insert("weights".into(), json!(Key(measured.weights).hex()));
    map.insert("skipped".into(), json!(skipped));
    if let Some(deviation) = measured.deviation {
        map.insert("deviation".into(), json!(deviation));
    }
    map
}

fn row(name: &str, value: f64, digits: usize, interval: Option<Interval>, floor: Option<f64>) -> Vec<String> {
    let number = |value: f64| format!("{value:.digits$}");
    let interval = interval.map_or("-".into(), |Interval { low, high }| format!("{} to {}", number(low), number(high)));
    vec![name.into(), number(value), interval, floor.map_or("-".into(), number)]
}

fn kid_text(kid: &Kid) -> String {
    kid.std.map_or(format!("{:.6}", kid.value), |std| format!("{:.6} ± {std:.6}", kid.value))
}

fn say(options: &SetArgs, measured: &Measured, rows: &[Vec<String>], floor: Option<[usize; 2]>, note: Option<&str>) {
    terminal::print(&terminal::table(&["figure", "value", "95 % interval", "floor"], rows, &[1, 2, 3]));
    let [a, b] = measured.sets.each_ref().map(|set| text::thousands(set.features.rows));
    let about = beside(options, measured);
    let word = |name: &str| about[name].as_str().unwrap_or_default().to_string();
    terminal::line(&format!(
        "{a} images in `{}`, {b} in `{}`; features {}, resize {}, {}",
        options.a.display(),
        options.b.display(),
        word("features"),
        word("resize"),
        word("precision"),
    ));
    if let Some([first, second]) = floor {
        terminal::line(&format!(
            "floor: two halves of the first folder ({} and {} images) from each other",
            text::thousands(first),
            text::thousands(second)
        ));
    }
    for set in measured.sets.iter().zip([&options.a, &options.b]) {
        if !set.0.skipped.is_empty() {
            let n = text::count(set.0.skipped.len(), "unreadable file");
            terminal::line(&format!("{n} left out of `{}`", set.1.display()));
        }
    }
    if let Some(deviation) = measured.deviation {
        terminal::line(&format!(
            "bf16 against fp32 on {}: features {:.2} % apart, one by {:.4} at most",
            text::count(deviation.images, "image"),
            100.0 * deviation.relative,
            deviation.largest
        ));
    }
    if let Some(note) = note {
        terminal::line(&format!("note: {note}"));
    }
}
