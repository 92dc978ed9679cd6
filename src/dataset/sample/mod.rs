//! Draws a small bird dataset in Kaggle's layout, so that everything runs without a download. Knows pixels and files,
//! nothing of recipes.
//!
//! Every picture depends on its species, seed and index alone, and only on arithmetic that is the same on every
//! machine: a species' later pictures never change its earlier ones. The files' bytes are too, as the
//! JPEG encoder is built without its `simd` feature, whose AVX2 transform rounds unlike its plain one.

mod anatomy;
mod backdrop;
mod camera;
mod guide;
mod plumage;
mod scene;
mod source;
mod space;
mod species;
#[cfg(test)]
mod tests;
mod trace;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use image::RgbImage;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use rayon::prelude::*;

use crate::error::{Error, IoContext, Result};
use guide::SPECIES;
use source::Source;

/// Quality of the JPEG files, with 4:2:0 chroma as cameras use it.
const QUALITY: u8 = 90;

/// What to draw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Another seed draws other pictures of the same species.
    pub seed: u64,
    /// Side of a picture in pixels, at least 16.
    pub size: u32,
    /// How many species, from the commonest; at least 1 and at most as many as there are.
    pub species: usize,
    /// Train pictures of the first species and of the last; exponential between.
    pub commonest: usize,
    pub rarest: usize,
    /// Pictures a species in valid and in test.
    pub valid: usize,
    pub test: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { seed: 0, size: 224, species: SPECIES.len(), commonest: 60, rarest: 8, valid: 5, test: 20 }
    }
}

/// How many files [`write`] wrote, and of how many species.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub species: usize,
    pub train: usize,
    pub valid: usize,
    pub test: usize,
}

/// One split of the dataset; the number separates their pictures.
const SPLITS: [(&str, u64); 3] = [("train", 0), ("valid", 1 << 32), ("test", 2 << 32)];

/// A picture to draw: a row of `birds.csv`.
struct Picture {
    split: &'static str,
    species: usize,
    index: u64,
    /// From the dataset's root, with forward slashes.
    path: String,
}

/// Draws the dataset into `dir`: `train|valid|test/<SPECIES>/001.jpg ...` and `birds.csv`.
///
/// The folder appears whole or not at all. A folder that holds anything already is refused.
pub fn write(dir: &Path, options: &Options) -> Result<Written> {
    check(options)?;
    match fs::read_dir(dir) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                let problem = format!("`{}` is not empty", dir.display());
                return Err(Error::input_help(problem, "name a new folder, or delete what is in this one"));
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).doing("list", dir),
    }
    let parent = match dir.parent() {
        Some(parent) if parent != Path::new("") => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&parent).doing("create", &parent)?;
    let part = tempfile::Builder::new().prefix(".birdaug-sample-").tempdir_in(&parent).doing("write into", &parent)?;
    let pictures = pictures(options);
    pictures.par_iter().try_for_each(|picture| save(part.path(), picture, options))?;
    table(&part.path().join("birds.csv"), &pictures)?;
    open_to_others(part.path())?;
    let part = part.keep();
    // An empty folder of that name gives way; on failure the finished part is not left lying about.
    if let Err(error) = fs::rename(&part, dir) {
        let _ = fs::remove_dir_all(&part);
        return Err(error).doing("write", dir);
    }
    let count = |split: &str| pictures.iter().filter(|picture| picture.split == split).count();
    Ok(Written { species: options.species, train: count("train"), valid: count("valid"), test: count("test") })
}

/// One picture of a species (its place in the list of [`names`]), `size` x `size`, by its key alone.
///
/// The picture of another size shows the same scene. Panics if there is no such species.
pub fn draw(species: usize, seed: u64, index: u64, size: u32) -> RgbImage {
    let species = &SPECIES[species];
    let light = scene::paint(species, seed, index, size as usize);
    camera::develop(light, size as usize, &mut Source::new(seed, species.name, index, "camera"))
}

/// The species' names, from the commonest to the rarest.
pub fn names() -> impl Iterator<Item = &'static str> {
    SPECIES.iter().map(|species| species.name)
}

fn check(options: &Options) -> Result<()> {
    let most = SPECIES.len();
    if !(1..=most).contains(&options.species) {
        return Err(Error::Usage(format!("there are 1 to {most} species to draw, not {}", options.species)));
    }
    if !(16..=4096).contains(&options.size) {
        return Err(Error::Usage(format!("a picture's side is 16 to 4096 pixels, not {}", options.size)));
    }
    if options.rarest < 1 || options.commonest < options.rarest {
        let (many, few) = (options.commonest, options.rarest);
        return Err(Error::Usage(format!(
            "the commonest species ({many}) needs at least as many pictures as the rarest ({few}), and that one 1"
        )));
    }
    Ok(())
}

/// Train pictures of the species of a rank: exponential from commonest to rarest, rounded.
fn train_count(options: &Options, rank: usize) -> usize {
    if rank == 0 || options.species == 1 {
        return options.commonest;
    }
    let t = rank as f64 / (options.species - 1) as f64;
    let ratio = options.rarest as f64 / options.commonest as f64;
    (options.commonest as f64 * libm::pow(ratio, t)).round() as usize
}

/// Every picture, by split, species' name and number.
fn pictures(options: &Options) -> Vec<Picture> {
    let mut ranks: Vec<usize> = (0..options.species).collect();
    ranks.sort_by_key(|&rank| SPECIES[rank].name);
    let mut pictures = Vec::new();
    for (split, first) in SPLITS {
        for &species in &ranks {
            let count = match split {
                "train" => train_count(options, species),
                "valid" => options.valid,
                _ => options.test,
            };
            for i in 0..count {
                let path = format!("{split}/{}/{:03}.jpg", SPECIES[species].name, i + 1);
                pictures.push(Picture { split, species, index: first + i as u64, path });
            }
        }
    }
    pictures
}

fn save(root: &Path, picture: &Picture, options: &Options) -> Result<()> {
    let path = root.join(&picture.path);
    let folder = path.parent().unwrap_or(root);
    fs::create_dir_all(folder).doing("create", folder)?;
    let image = draw(picture.species, options.seed, picture.index, options.size);
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, QUALITY);
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    let side = options.size as u16;
    encoder.encode(image.as_raw(), side, side, ColorType::Rgb).map_err(|error| Error::image(&path, error))?;
    fs::write(&path, bytes).doing("write", &path)
}

/// Kaggle's table, class ids by the order of the names.
fn table(path: &Path, pictures: &[Picture]) -> Result<()> {
    let mut names: Vec<&str> = pictures.iter().map(|picture| SPECIES[picture.species].name).collect();
    names.sort();
    names.dedup();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let failed = |error: csv::Error| Error::input(format!("could not write `{}`: {error}", path.display()));
    writer.write_record(["class id", "filepaths", "labels", "data set", "scientific name"]).map_err(failed)?;
    for picture in pictures {
        let species = &SPECIES[picture.species];
        let id = names.binary_search(&species.name).unwrap_or(0).to_string();
        let row = [id.as_str(), &picture.path, species.name, picture.split, species.scientific];
        writer.write_record(row).map_err(failed)?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(error.into_error().into()))?;
    fs::write(path, bytes).doing("write", path)
}

/// A temporary folder is its owner's alone; the dataset is as any new folder.
#[cfg(unix)]
fn open_to_others(part: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let usual = fs::metadata(part.join("birds.csv")).doing("read", part)?.permissions().mode();
    // Whoever may read a file may also enter a folder.
    let mode = usual | (usual & 0o444) >> 2;
    fs::set_permissions(part, fs::Permissions::from_mode(mode)).doing("write", part)
}

#[cfg(not(unix))]
fn open_to_others(_: &Path) -> Result<()> {
    Ok(())
}
