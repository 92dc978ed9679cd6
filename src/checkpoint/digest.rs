//! The digest of a checkpoint: of what determines its images, and of nothing else. Knows no libtorch.
//!
//! | in | out |
//! |---|---|
//! | configurations of the networks and of the scheduler | `model_index.json`: it names what the others are |
//! | the tokeniser's files | the safety checker |
//! | the files of the weights that are used | variants that are not used |
//! | the place of each in the layout | the checkpoint's path, the names of shards |
//!
//! A checkpoint in one file and the same one as a folder have different digests: their bytes differ.

use std::path::Path;

use blake3::Hasher;

use super::safetensors_file::SafetensorsFile;
use super::{Checkpoint, Weights};

impl Checkpoint {
    /// BLAKE3 over the checkpoint's files; the same wherever the checkpoint lies. Reads all weights, on all cores.
    pub fn digest(&self) -> [u8; 32] {
        self.digest_of(|_| None)
    }

    /// As [`Checkpoint::digest`], without reading files of weights of which `known` tells the BLAKE3.
    pub fn digest_of(&self, known: impl Fn(&Path) -> Option<[u8; 32]>) -> [u8; 32] {
        let mut all = Hasher::new_derive_key("birdaug 2026 checkpoint v1");
        let of = |content: &[u8]| *Hasher::new().update_rayon(content).finalize().as_bytes();
        let mut add = |place: &str, content: [u8; 32]| {
            all.update(&(place.len() as u64).to_le_bytes());
            all.update(place.as_bytes());
            all.update(&content);
        };
        for (place, content) in &self.small {
            add(place, of(content));
        }
        for (place, file) in self.weights.files() {
            add(&place, known(&file.path).unwrap_or_else(|| of(file.content())));
        }
        *all.finalize().as_bytes()
    }

    /// The files of weights that are used.
    pub fn weight_files(&self) -> Vec<&Path> {
        self.weights.files().into_iter().map(|(_, file)| file.path.as_path()).collect()
    }
}

impl Weights {
    /// Each file with its place in the layout.
    fn files(&self) -> Vec<(String, &SafetensorsFile)> {
        match self {
            Weights::Single(file, _) => vec![("all".to_string(), file)],
            Weights::Folder(components) => components
                .iter()
                .flat_map(|(component, files)| {
                    files.iter().enumerate().map(|(shard, file)| (format!("{} {shard}", component.folder()), file))
                })
                .collect(),
        }
    }
}
