//! The digest of a checkpoint: of what determines its images, and of nothing else. Knows no libtorch.
//!
//! | in | out |
//! |---|---|
//! | configurations of the networks and of the scheduler | `model_index.json`: it names what the others are |
//! | the tokeniser's files | the safety checker |
//! | the files of the weights that are used | variants that are not used |
//! | the place of each in the layout | the checkpoint's path, the names of shards |

use blake3::Hasher;

use super::{Checkpoint, Component};

impl Checkpoint {
    /// BLAKE3 over the checkpoint's files; the same wherever the checkpoint lies. Reads all weights, on all cores.
    pub fn digest(&self) -> [u8; 32] {
        let mut all = Hasher::new_derive_key("birdaug 2026 checkpoint v1");
        let mut add = |place: &str, content: &[u8]| {
            all.update(&(place.len() as u64).to_le_bytes());
            all.update(place.as_bytes());
            all.update(Hasher::new().update_rayon(content).finalize().as_bytes());
        };
        for (place, content) in &self.small {
            add(place, content);
        }
        for component in Component::ALL {
            let files = self.weights.iter().filter(|(of, _)| *of == component).flat_map(|(_, files)| files);
            for (shard, file) in files.enumerate() {
                add(&format!("{} {shard}", component.folder()), file.content());
            }
        }
        *all.finalize().as_bytes()
    }
}
