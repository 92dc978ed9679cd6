//! Every table of a recipe but `[generator]`, `[emit]`, `[classifier]`, `[compare]` and `[report]`: its keys, their defaults and what they
//! must hold. Knows no file
//! but the recipe.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use toml::de::DeValue;

use super::names::SplitWord;
use super::problem::Problem;
use super::read::{At, Section};
use super::types::*;
use super::within::{ABOVE_ZERO, COPY, FROM_ONE, FROM_ZERO, SHARE, UNIT};
use super::{arms, classifier, generator, outputs, schema};

/// Reads the whole recipe, without its path, lines and text; `None` if a required part is missing or wrong.
pub(super) fn recipe(root: &Section<'_, '_>, name: &str) -> Option<Recipe> {
    let dataset = dataset(root);
    let split = split(root);
    let balance = balance(root);
    let generator = generator::read(root);
    let filter = filter(root);
    let (emit, report) = outputs::read(root, name, dataset.as_ref());
    let classifier = classifier::read(root);
    let compare = arms::read(root);
    Some(Recipe {
        name: name.to_string(),
        path: PathBuf::new(),
        dataset: dataset?,
        split: split?,
        balance,
        generator: generator?,
        filter,
        emit,
        classifier,
        compare,
        report,
        lines: BTreeMap::new(),
        text: String::new(),
    })
}

/// The table `name` at the top.
pub(super) fn table<'r, 't>(root: &Section<'r, 't>, name: &str) -> Section<'r, 't> {
    let known = schema::TABLES.iter().find(|(table, _)| *table == name).map_or(&[][..], |(_, keys)| keys);
    root.table(name, known)
}

/// What was read, or the default where nothing right was.
pub(super) fn value<T>(read: Option<At<T>>, default: T) -> T {
    read.map_or(default, |at| at.value)
}

fn dataset(root: &Section<'_, '_>) -> Option<Dataset> {
    let section = table(root, "dataset");
    let place = section.filled("root", "a folder");
    let place = section.require("root", place, "root = \"data/birds\"");
    let splits = splits(&section);
    let rename_table = section.open_table("rename");
    let rename = rename_table
        .entries()
        .filter_map(|(from, to)| {
            let to =
                species(&rename_table, from.value, rename_table.filled_of(from.value, to, "the name of a species")?)?;
            Some((from.value.to_string(), to))
        })
        .collect();
    let one = |item| section.filled_of("exclude", item, "the name of a species");
    let exclude = section.distinct("exclude", "names of species", 0, one).unwrap_or_default();
    let exclude = exclude.into_iter().map(|name| name.value.to_string()).collect();
    Some(Dataset { root: PathBuf::from(place?.value), splits, rename, exclude })
}

fn splits(section: &Section<'_, '_>) -> SplitNames {
    let table = section.table("splits", schema::SPLITS);
    let read = schema::SPLITS.iter().map(|&split| {
        let folder = folder_inside(&table, split);
        let at = folder.as_ref().map(|folder| folder.at.clone());
        (split, value(folder, split.to_string()), at)
    });
    let read: Vec<(&str, String, Option<Range<usize>>)> = read.collect();
    for (i, (split, folder, at)) in read.iter().enumerate() {
        for (other, other_folder, other_at) in &read[..i] {
            // Where both are defaults they differ.
            let Some(place) = at.clone().or(other_at.clone()).filter(|_| folder == other_folder) else { continue };
            let beside = at.is_some().then(|| other_at.clone()).flatten();
            table.report(
                Problem::new(place, format!("`{other}` and `{split}` cannot be the same folder"), "the same")
                    .beside(beside, "first here")
                    .allowed("a folder of its own for train, valid and test"),
            );
        }
    }
    let mut folders = read.into_iter().map(|(_, folder, _)| folder);
    let mut next = || folders.next().unwrap_or_default();
    SplitNames { train: next(), valid: next(), test: next() }
}

/// A folder inside the dataset: not absolute, and not out of it by `..`.
fn folder_inside(section: &Section<'_, '_>, key: &str) -> Option<At<String>> {
    let folder = section.filled(key, "a folder inside of `root`")?;
    if Path::new(folder.value).components().all(|part| matches!(part, Component::Normal(_))) {
        return Some(At { value: folder.value.to_string(), at: folder.at });
    }
    section.impossible(key, folder.at, "leads elsewhere", "a folder inside of `root`");
    None
}

/// The name of a species becomes a folder of the tree that is written, so it has to be fit for one; that of an arm too.
pub(super) fn species(section: &Section<'_, '_>, key: &str, name: At<&str>) -> Option<String> {
    let text = name.value;
    if text != "." && text != ".." && !text.contains(['/', '\\']) && !text.contains(char::is_control) {
        return Some(text.to_string());
    }
    section.impossible(key, name.at, "no name for a folder", "a name without `/` and `\\`");
    None
}

fn split(root: &Section<'_, '_>) -> Option<Split> {
    let section = table(root, "split");
    let kind = section.choice::<SplitWord>("kind");
    let imbalance = section.number("imbalance", SHARE);
    let shots = section.count("shots", 1);
    // A `kind` that is itself wrong has had its message.
    let word = if section.has("kind") { kind.as_ref().map(|kind| kind.value) } else { Some(SplitWord::Full) };
    for (key, of) in [("imbalance", SplitWord::LongTail), ("shots", SplitWord::FewShot)] {
        match (word, section.key_at(key)) {
            (Some(word), Some(at)) if word != of => {
                let (said, label) = if section.has("kind") { ("is", "this") } else { ("is by default", "the default") };
                section.report(
                    Problem::new(at, format!("{} belongs to `kind = \"{of}\"`", section.named(key)), "of another kind")
                        .beside(kind.as_ref().map(|kind| kind.at.clone()), format!("{label} is `{word}`"))
                        .help(format!("`kind` {said} `{word}`: remove `{key}`, or choose `kind = \"{of}\"`")),
                );
            }
            (Some(word), None) if word == of => {
                let example = if key == "shots" { "shots = 8" } else { "imbalance = 0.05" };
                section.require(key, None::<()>, example);
            }
            _ => {}
        }
    }
    let seed = value(section.seed("seed"), 0);
    let test = value(section.choice("test"), TestImages::Test);
    let kind = match word? {
        SplitWord::Full => SplitKind::Full,
        SplitWord::FewShot => SplitKind::FewShot { shots: shots?.value },
        SplitWord::LongTail => SplitKind::LongTail { imbalance: imbalance?.value },
    };
    Some(Split { kind, seed, test })
}

fn balance(root: &Section<'_, '_>) -> Balance {
    let section = table(root, "balance");
    let wanted = section.open_table("species");
    let species = wanted
        .entries()
        .filter_map(|(name, n)| {
            Some((name.value.to_string(), wanted.whole_of(name.value, n, 0..=1_000_000)?.value as usize))
        })
        .collect();
    let max_ratio = section.bound("max_ratio", ABOVE_ZERO);
    Balance {
        target: target(&section).unwrap_or(Target::Max),
        max_ratio: max_ratio.map_or(Some(4.0), |bound| bound.map(|ratio| ratio.value)),
        species,
    }
}

fn target(section: &Section<'_, '_>) -> Option<Target> {
    const ALLOWED: &str = "a whole number of images, 1 or more, or `max`, `median` or `p90`";
    let written = section.get("target")?;
    match written.get_ref() {
        DeValue::Integer(_) => section.count("target", 1).map(|n| Target::Count(n.value)),
        DeValue::String(word) => match word.as_ref() {
            "max" => Some(Target::Max),
            "median" => Some(Target::Median),
            "p90" => Some(Target::P90),
            other => {
                section.unknown_name("target", written.span(), other, &["max", "median", "p90"]);
                None
            }
        },
        _ => {
            section.wrong_type("target", written, ALLOWED);
            None
        }
    }
}

fn filter(root: &Section<'_, '_>) -> Filter {
    let section = table(root, "filter");
    let ssim_max = section.bound("ssim_max", UNIT);
    let ssim_min = section.number("ssim_min", UNIT);
    let highest = match &ssim_max {
        None if section.has("ssim_max") => None,
        None => Some((0.90, None)),
        Some(bound) => bound.as_ref().map(|bound| (bound.value, Some(bound.at.clone()))),
    };
    if let (Some(low), Some((high, at))) = (&ssim_min, highest)
        && low.value >= high
    {
        section.report(
            Problem::new(low.at.clone(), "`ssim_min` in `[filter]` leaves nothing", format!("found {}", low.value))
                .beside(at, "the highest that is kept")
                .allowed(format!("a number below `ssim_max`, which is {high}")),
        );
    }
    let features =
        section.filled("features", "`classifier` or a file of weights").map(|features| match features.value {
            "classifier" => Features::Classifier,
            file => Features::Inception(PathBuf::from(file)),
        });
    Filter {
        candidates: value(section.number("candidates", FROM_ONE), 1.5),
        ssim_max: ssim_max.map_or(Some(0.90), |bound| bound.map(|ssim| ssim.value)),
        ssim_min: ssim_min.map(|ssim| ssim.value),
        held_out_max: section.number("held_out_max", SHARE).map(|ssim| ssim.value),
        copy_max: section.number("copy_max", COPY).map(|likeness| likeness.value),
        duplicate_max: section.number("duplicate_max", SHARE).map(|ssim| ssim.value),
        confidence_min: section.number("confidence_min", UNIT).map(|p| p.value),
        realism_min: section.number("realism_min", ABOVE_ZERO).map(|realism| realism.value),
        fid_max: section.number("fid_max", FROM_ZERO).map(|fid| fid.value),
        kid_max: section.number("kid_max", FROM_ZERO).map(|kid| kid.value),
        species_kid_max: section.number("species_kid_max", FROM_ZERO).map(|kid| kid.value),
        features: features.unwrap_or(Features::Classifier),
    }
}
