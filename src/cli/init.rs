//! `birdaug init DATASET`.

use std::path::{Path, PathBuf};

use super::args::{Global, Init};
use super::terminal;
use crate::dataset::stat_index::StatIndex;
use crate::dataset::{Dataset, ScanOptions, Split, encoding, misspelt, scan};
use crate::error::{Error, Result};
use crate::nn::device;
use crate::recipe::{self, MeasuredLikeness, TemplateFacts, template};
use crate::run::likeness;
use crate::store;

/// Looks at a dataset and writes a commented recipe for it.
pub fn run(options: &Init, global: &Global) -> Result<()> {
    let mut scan_options = ScanOptions::new(&options.dataset);
    let renames = misspelt(&scan_options)?;
    scan_options.rename = renames.iter().cloned().collect();
    let dataset = scan(&scan_options, &mut StatIndex::load(Path::new("")))?;
    let name = name_of(&options.dataset)?;
    let output = options.output.clone().unwrap_or_else(|| PathBuf::from("recipes").join(format!("{name}.toml")));
    if output.exists() {
        return Err(Error::input_help(
            format!("`{}` is there already", output.display()),
            "choose another name with `-o`, or remove it",
        ));
    }
    let mut facts = facts(&dataset, name, renames, &global.device)?;
    // Thresholds hold for the cut and the side that the recipe has, so it is written once without them.
    let draft = recipe::parse(&template(&options.dataset, &facts), &output)?;
    facts.likeness = Some(measured(&likeness::measure(&draft, &dataset)?));
    let recipe = template(&options.dataset, &facts);
    store::write_atomically(&output, recipe.as_bytes())?;
    if !global.quiet {
        terminal::line(&format!(
            "{}: written; `birdaug plan {}` says what it would do",
            output.display(),
            output.display()
        ));
    }
    Ok(())
}

fn measured(likeness: &likeness::Likeness) -> MeasuredLikeness {
    MeasuredLikeness {
        side: likeness.side,
        photos: likeness.train.len(),
        train: likeness::threshold(&likeness.train),
        held_out: likeness::threshold(&likeness.held_out),
        copy: likeness::copy_threshold(&likeness.pairs),
    }
}

fn name_of(dataset: &Path) -> Result<String> {
    let whole = std::fs::canonicalize(dataset).unwrap_or_else(|_| dataset.to_path_buf());
    let name = whole.file_name().map(|name| name.to_string_lossy().replace(' ', "-"));
    name.ok_or_else(|| Error::Usage(format!("`{}` names no folder", dataset.display())))
}

fn facts(dataset: &Dataset, name: String, renames: Vec<(String, String)>, device: &str) -> Result<TemplateFacts> {
    let mut counts = vec![0; dataset.species.len()];
    for photo in dataset.photos.iter().filter(|photo| photo.split == Split::Train) {
        counts[photo.species as usize] += 1;
    }
    let train: Vec<PathBuf> = (0..dataset.photos.len())
        .filter(|&i| dataset.photos[i].split == Split::Train)
        .map(|i| dataset.path(i))
        .collect();
    let encoding = encoding::commonest(&train)?;
    let device = device::class(device::select(device)?);
    Ok(TemplateFacts {
        name,
        species: dataset.species.len(),
        train_images: train.len(),
        rarest: counts.iter().copied().min().unwrap_or(0),
        commonest: counts.iter().copied().max().unwrap_or(0),
        width: encoding.width as usize,
        height: encoding.height as usize,
        renames,
        device_has_bf16: device.contains("bf16") || device.starts_with("cuda"),
        is_gpu: device.starts_with("cuda"),
        likeness: None,
    })
}
