//! What there is and what is wanted: the scanned, checked and cut dataset, and the numbers the recipe asks for.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use image::RgbImage;

use crate::dataset::cut::{self, Cut, CutKind, CutOptions, TestPhotos};
use crate::dataset::encoding::Encoding;
use crate::dataset::stat_index::StatIndex;
use crate::dataset::{self, Dataset, ScanOptions, SplitFolders, decode};
use crate::error::{Error, Result};
use crate::plan::inputs::{Digest, PhotoList};
use crate::plan::{Key, balance, candidate};
use crate::recipe::{Mode as GeneratorMode, Recipe, SplitKind, TestImages};
use crate::store::Store;
use crate::text;

use super::ledger::SpeciesDue;
use super::session::Session;
use super::{Options, audit};

/// The dataset under a recipe's eyes.
pub struct Survey {
    pub dataset: Arc<Dataset>,
    pub cut: Cut,
    /// How synthetic images are written.
    pub encoding: Encoding,
    /// Synthetic images wanted a species.
    pub wanted: Vec<usize>,
    /// Candidates a species at most.
    pub caps: Vec<usize>,
    /// Synthetic images that the arm with the largest dose has of a species, at least those wanted.
    pub most: Vec<usize>,
    /// Candidates a species at most for that arm.
    pub most_caps: Vec<usize>,
    pub train_list: PhotoList,
    pub valid_list: PhotoList,
    pub test_list: PhotoList,
    /// Real train photos of the cut a species.
    pub real: Vec<usize>,
    /// Whether candidates vary photos (img2img), so that a species without any has none.
    starts_from_photos: bool,
    by_digest: OnceLock<HashMap<Digest, usize>>,
    train_by_species: OnceLock<Vec<Vec<Digest>>>,
}

impl Survey {
    /// The dataset's photo with these bytes, decoded.
    pub fn photo_by_digest(&self, digest: &Digest) -> Result<RgbImage> {
        let photo = self
            .index_by_digest(digest)
            .ok_or_else(|| Error::input(format!("no photo of the dataset has the digest {}", Key(*digest).short())))?;
        decode::photo(&self.dataset.path(photo))
    }

    /// Where in the dataset a photo with these bytes is; of several the first.
    pub fn index_by_digest(&self, digest: &Digest) -> Option<usize> {
        let map = self.by_digest.get_or_init(|| {
            let mut map = HashMap::with_capacity(self.dataset.photos.len());
            for (i, photo) in self.dataset.photos.iter().enumerate() {
                map.entry(photo.digest).or_insert(i);
            }
            map
        });
        map.get(digest).copied()
    }

    /// The path, relative to the dataset's root, of the photo with these bytes.
    pub fn path_by_digest(&self, digest: &Digest) -> Option<String> {
        self.index_by_digest(digest).map(|i| self.dataset.photos[i].path.clone())
    }

    /// Digests of a species' train photos of the cut.
    pub fn train_digests(&self, species: usize) -> &[Digest] {
        let lists = self.train_by_species.get_or_init(|| {
            let mut lists = vec![Vec::new(); self.dataset.species.len()];
            for photo in self.cut.train.iter().map(|&i| &self.dataset.photos[i]) {
                lists[photo.species as usize].push(photo.digest);
            }
            lists
        });
        &lists[species]
    }

    /// Identifies how synthetic images are written.
    pub fn encoding_digest(&self) -> Result<Digest> {
        let text = serde_json::to_vec(&self.encoding).map_err(|error| Error::input(error.to_string()))?;
        Ok(*blake3::hash(&text).as_bytes())
    }

    /// Species, rarest in train first, that make up the tail; at least one.
    pub fn tail(&self, share: f64) -> Vec<bool> {
        let mut order: Vec<usize> = (0..self.real.len()).collect();
        order.sort_by_key(|&species| (self.real[species], species));
        let n = ((share * order.len() as f64).round() as usize).clamp(1, order.len().max(1));
        let mut tail = vec![false; order.len()];
        for &species in order.iter().take(n) {
            tail[species] = true;
        }
        tail
    }

    /// What a person should know of the dataset and the cut: whole sentences.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(&(train, held_out)) = self.cut.removed.first() {
            notes.push(format!(
                "{} of train left out, byte for byte the same as one of valid or test (first: `{}` is `{}`)",
                text::count(self.cut.removed.len(), "photo"),
                self.dataset.photos[train].path,
                self.dataset.photos[held_out].path
            ));
        }
        if let Some((path, why)) = self.dataset.skipped.first() {
            notes.push(format!(
                "{} of the dataset passed over (first: `{path}`, {why})",
                text::count(self.dataset.skipped.len(), "file")
            ));
        }
        if let Some(names) = self.without(&self.cut.valid) {
            notes.push(format!("{names} no photo in valid: its accuracy is that of the others"));
        }
        notes
    }

    /// `2 species have (OWL, TIT)`: those without a photo among these; `None` where every one has, or none at all.
    fn without(&self, photos: &[usize]) -> Option<String> {
        let mut has = vec![false; self.dataset.species.len()];
        photos.iter().for_each(|&photo| has[self.dataset.photos[photo].species as usize] = true);
        let missing: Vec<&str> =
            has.iter().zip(&self.dataset.species).filter(|(has, _)| !**has).map(|(_, name)| name.as_str()).collect();
        match missing.len() {
            0 => None,
            _ if photos.is_empty() => None,
            1 => Some(format!("`{}` has", missing[0])),
            n => Some(format!("{n} species have ({})", super::changes::named(&missing))),
        }
    }

    /// Whether a species has something that candidates can start from.
    fn can_be_made(&self, species: usize) -> bool {
        !self.starts_from_photos || self.real[species] > 0
    }

    /// Rows for the ledger, given how many of each species' `look` candidates are in the cache.
    pub fn due(&self, cached: &[usize], look: &[usize]) -> Vec<SpeciesDue> {
        (0..self.dataset.species.len())
            .map(|species| SpeciesDue {
                name: self.dataset.species[species].clone(),
                real: self.real[species],
                wanted: self.wanted[species],
                cached: cached[species],
                to_make: if self.can_be_made(species) { look[species] - cached[species] } else { 0 },
                refill: if self.can_be_made(species) {
                    self.most_caps[species].saturating_sub(look[species])
                } else {
                    0
                },
            })
            .collect()
    }
}

/// Scan, audit, split: lists and hashes the photos, checks that each decodes, cuts the task, counts what is wanted.
pub fn survey(session: &mut Session<'_>) -> Result<Survey> {
    let dataset = Arc::new(scan(session)?);
    session.dataset = Some(Arc::clone(&dataset));
    let encoding = audit::encoding(session, &dataset)?;
    let cut = cut(session.recipe, &dataset)?;
    let mut real = vec![0; dataset.species.len()];
    for &photo in &cut.train {
        real[dataset.photos[photo].species as usize] += 1;
    }
    let counts: Vec<(&str, usize)> = dataset.species.iter().map(String::as_str).zip(real.iter().copied()).collect();
    check_balance(session.recipe, &counts)?;
    let wanted = balance::wanted(&session.recipe.balance, &counts);
    let caps = |wanted: &[usize]| -> Vec<usize> {
        wanted.iter().map(|&n| candidate::cap(n, session.recipe.filter.candidates)).collect()
    };
    let largest = session.recipe.compare.arms.iter().map(|arm| arm.dose).fold(1.0, f64::max);
    let most: Vec<usize> = wanted.iter().map(|&n| balance::dose(n, largest)).collect();
    let (caps, most_caps) = (caps(&wanted), caps(&most));
    let list = |photos: &[usize]| {
        let mut list = PhotoList::default();
        for &photo in photos {
            list.push(&dataset.photos[photo].digest, dataset.species_of(photo));
        }
        list
    };
    let (train_list, valid_list, test_list) = (list(&cut.train), list(&cut.valid), list(&cut.test));
    for list in [&train_list, &valid_list, &test_list] {
        session.know(list)?;
    }
    let survey = Survey {
        encoding,
        wanted,
        caps,
        most,
        most_caps,
        train_list,
        valid_list,
        test_list,
        real,
        starts_from_photos: session.recipe.generator.mode == GeneratorMode::Img2Img,
        by_digest: OnceLock::new(),
        train_by_species: OnceLock::new(),
        cut,
        dataset,
    };
    session.ledger.species = survey.due(&vec![0; survey.real.len()], &survey.most);
    Ok(survey)
}

/// Where species are called otherwise than in the last build: that all of theirs is made again, and what to write into the
/// recipe where that is not meant.
pub fn renamed(session: &Session<'_>, dataset: &Dataset) -> Option<String> {
    let renamed = session.species_renamed();
    let mut rename = session.recipe.dataset.rename.clone();
    for photo in &dataset.photos {
        if let Some(one) = renamed.iter().find(|one| one.new == dataset.species[photo.species as usize]) {
            let folder = photo.path.rsplit('/').nth(1).unwrap_or_default();
            rename.insert(folder.to_string(), one.old.clone());
        }
    }
    let told: Vec<String> = renamed
        .iter()
        .map(|one| format!("`{}` is called `{}` now ({})", one.old, one.new, text::count(one.photos, "photo")))
        .collect();
    (!told.is_empty()).then(|| {
        format!(
            "{}: a species' name enters all that is made of it, so that it is made again; to go on with the name before, \
             write in the recipe's [dataset]:\n    {}",
            told.join(", "),
            dataset::rename_text(&rename)
        )
    })
}

/// The recipe's dataset as the scan wants it.
pub fn scan_options(recipe: &Recipe) -> ScanOptions {
    let splits = &recipe.dataset.splits;
    ScanOptions {
        root: recipe.dataset.root.clone(),
        splits: SplitFolders { train: splits.train.clone(), valid: splits.valid.clone(), test: splits.test.clone() },
        rename: recipe.dataset.rename.clone(),
        exclude: recipe.dataset.exclude.clone(),
    }
}

/// The file that remembers which digest the files of a folder had.
pub fn stat_index_path(store: &Store, what: &str, root: &std::path::Path) -> PathBuf {
    store.dir().join(format!("stat-{what}-{}", place_name(root)))
}

/// A name for a folder of this machine.
pub fn place_name(folder: &std::path::Path) -> String {
    // What is not there yet has the name that it will have.
    let place = std::fs::canonicalize(folder).or_else(|_| std::path::absolute(folder));
    let place = place.unwrap_or_else(|_| folder.to_path_buf());
    blake3::hash(place.to_string_lossy().as_bytes()).to_hex()[..16].to_string()
}

/// Which digest each photo had; nothing if all are to be read again.
pub fn photo_index(store: &Store, recipe: &Recipe, options: &Options) -> StatIndex {
    index(&stat_index_path(store, "photos", &recipe.dataset.root), options)
}

/// Which digest each file of the emitted tree had; nothing if all are to be read again.
pub fn tree_index(store: &Store, recipe: &Recipe, options: &Options) -> StatIndex {
    index(&stat_index_path(store, "tree", &recipe.emit.out), options)
}

fn index(path: &std::path::Path, options: &Options) -> StatIndex {
    let mut index = StatIndex::load(path);
    if options.rehash {
        index.forget();
    }
    index
}

/// Lists and hashes the photos.
pub fn scan(session: &mut Session<'_>) -> Result<Dataset> {
    let asked = scan_options(session.recipe);
    let look = match session.look.take() {
        Some(look) => look,
        None => {
            let mut index = photo_index(session.store, session.recipe, session.options);
            let look = dataset::scan::look(&asked, &mut index)?;
            index.save()?;
            look
        }
    };
    session.photos_digest = Some(look.digest());
    Ok(look.dataset(&asked))
}

/// Cuts a recipe's task out of a dataset.
///
/// # Errors
/// A cut that cannot be made, or one that would leak.
pub fn cut(recipe: &Recipe, dataset: &Dataset) -> Result<Cut> {
    let split = &recipe.split;
    let options = CutOptions {
        kind: match split.kind {
            SplitKind::Full => CutKind::Full,
            SplitKind::FewShot { shots } => CutKind::FewShot { shots },
            SplitKind::LongTail { imbalance } => CutKind::LongTail { imbalance },
        },
        seed: split.seed,
        test: match split.test {
            TestImages::Test => TestPhotos::Test,
            TestImages::UnusedTrain => TestPhotos::UnusedTrain,
            TestImages::Both => TestPhotos::Both,
        },
    };
    let cut = cut::cut(dataset, &options)?;
    let leaks = cut::leaks(dataset, &cut);
    if let Some(&(train, held_out)) = leaks.first() {
        return Err(Error::input(format!(
            "`{}` would be trained on and is also `{}` of valid or test",
            dataset.photos[train].path, dataset.photos[held_out].path
        )));
    }
    Ok(cut)
}

fn check_balance(recipe: &Recipe, counts: &[(&str, usize)]) -> Result<()> {
    for name in recipe.balance.species.keys() {
        if !counts.iter().any(|(species, _)| species == name) {
            let near = text::nearest(name, counts.iter().map(|&(species, _)| species));
            let help = near.map_or("`[balance.species]` takes the dataset's folder names".to_string(), |near| {
                format!("did you mean `{near}`?")
            });
            let line = recipe.line(&["balance", "species", name]);
            let place = line.map_or(String::new(), |line| format!("{}:{line}: ", recipe.path.display()));
            return Err(Error::input_help(format!("{place}the dataset has no species `{name}`"), help));
        }
    }
    Ok(())
}
