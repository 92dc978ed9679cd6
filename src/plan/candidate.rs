//! Which candidates stand for a species, in which order. Pure: sources in, identities out.

use super::inputs::Digest;
use crate::recipe::{Mode, StableDiffusion, TOKEN};

/// A candidate before its generator is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The photo that img2img starts from; `None` for txt2img.
    pub source: Option<Digest>,
    /// How many earlier candidates of the species share that source.
    pub index: u64,
}

/// The first `n` candidates of a species. With img2img every photo is used once before any is used twice, in an order
/// that the seed and each photo's own digest decide, so that a changed photo moves only its own candidates.
pub fn identities(mode: Mode, seed: u64, species: &str, photos: &[Digest], n: usize) -> Vec<Identity> {
    match mode {
        Mode::Txt2Img => (0..n as u64).map(|index| Identity { source: None, index }).collect(),
        Mode::Img2Img => {
            let mut ranked: Vec<([u8; 32], Digest)> =
                photos.iter().map(|photo| (rank(seed, species, photo), *photo)).collect();
            ranked.sort_unstable();
            ranked.dedup();
            if ranked.is_empty() {
                return Vec::new();
            }
            (0..n)
                .map(|i| Identity { source: Some(ranked[i % ranked.len()].1), index: (i / ranked.len()) as u64 })
                .collect()
        }
    }
}

fn rank(seed: u64, species: &str, photo: &Digest) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("birdaug 2026 source order v1");
    hasher.update(&seed.to_le_bytes());
    hasher.update(photo);
    hasher.update(species.as_bytes());
    *hasher.finalize().as_bytes()
}

/// The prompt for a species: `{species}` filled by what the recipe calls it, or else by its folder's name in lower case.
pub fn prompt(model: &StableDiffusion, species: &str) -> String {
    let called = model.names.get(species).cloned().unwrap_or_else(|| {
        species
            .to_lowercase()
            .split(|c: char| c.is_whitespace() || c == '_')
            .filter(|s| !s.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    });
    let prompt = model.prompt.replace("{species}", &called);
    if model.lora.as_ref().is_some_and(|lora| lora.token.is_some()) {
        return prompt.replace(TOKEN, &token(species));
    }
    prompt
}

/// How a prompt spells the learned token of a species: `<blue-jay>`. Species that differ in case and blanks alone share one.
pub fn token(species: &str) -> String {
    let lower = species.to_lowercase();
    let words = lower.split(|c: char| c.is_whitespace() || "_<>".contains(c)).filter(|word| !word.is_empty());
    format!("<{}>", words.collect::<Vec<_>>().join("-"))
}

/// At most so many candidates are made for `wanted` images.
pub fn cap(wanted: usize, candidates: f64) -> usize {
    ((wanted as f64 * candidates).ceil() as usize).max(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn photos(n: u8) -> Vec<Digest> {
        (0..n).map(|i| [i; 32]).collect()
    }

    #[test]
    fn more_candidates_begin_with_the_same_ones() {
        for mode in [Mode::Txt2Img, Mode::Img2Img] {
            let few = identities(mode, 0, "A", &photos(7), 40);
            let more = identities(mode, 0, "A", &photos(7), 60);
            assert_eq!(more[..40], few);
            assert_eq!(more.len(), 60);
        }
    }

    #[test]
    fn a_prompt_calls_a_species_by_its_name_in_the_recipe_or_by_its_folder() {
        let model = StableDiffusion {
            model: "m".to_string(),
            prediction_type: None,
            prompt: "a photo of a {species}, a bird".to_string(),
            negative_prompt: String::new(),
            names: BTreeMap::from([("MANDRIN DUCK".to_string(), "mandarin duck".to_string())]),
            guidance_rescale: 0.0,
            loras: BTreeMap::new(),
            lora: None,
        };
        assert_eq!(prompt(&model, "MANDRIN DUCK"), "a photo of a mandarin duck, a bird");
        assert_eq!(prompt(&model, "PARAKETT  AUKLET"), "a photo of a parakett auklet, a bird");
        let text = "[dataset]\nroot = \"x\"\n[generator]\nkind = \"stable-diffusion\"\nmodel = \"m\"\nprompt = \"a {token} {species}\"\n\
                    [generator.lora]\ntoken = \"bird\"\n";
        let recipe = crate::recipe::parse(text, std::path::Path::new("r.toml")).unwrap();
        let crate::recipe::GeneratorKind::StableDiffusion(model) = recipe.generator.kind else {
            panic!("the other kind")
        };
        assert_eq!(prompt(&model, "PARAKETT  AUKLET"), "a <parakett-auklet> parakett auklet");
    }

    #[test]
    fn photos_are_used_evenly() {
        let mut uses: BTreeMap<Digest, usize> = BTreeMap::new();
        for identity in identities(Mode::Img2Img, 3, "A", &photos(7), 24) {
            *uses.entry(identity.source.unwrap()).or_default() += 1;
        }
        assert_eq!(uses.len(), 7);
        assert!(uses.values().all(|&n| n == 3 || n == 4));
    }

    #[test]
    fn identities_are_unique_and_do_not_depend_on_the_order_of_photos() {
        let mut reversed = photos(9);
        reversed.reverse();
        let all = identities(Mode::Img2Img, 1, "A", &photos(9), 50);
        assert_eq!(all, identities(Mode::Img2Img, 1, "A", &reversed, 50));
        let unique: std::collections::BTreeSet<_> = all.iter().map(|i| (i.source, i.index)).collect();
        assert_eq!(unique.len(), 50);
    }

    #[test]
    fn a_replaced_photo_moves_only_its_own_candidates() {
        let before = identities(Mode::Img2Img, 1, "A", &photos(10), 30);
        let mut changed = photos(10);
        changed[4] = [99; 32];
        let after = identities(Mode::Img2Img, 1, "A", &changed, 30);
        let kept = before.iter().filter(|identity| after.contains(identity)).count();
        assert_eq!(kept, 27);
    }

    #[test]
    fn a_species_without_photos_has_no_img2img_candidates() {
        assert!(identities(Mode::Img2Img, 0, "A", &[], 5).is_empty());
        assert_eq!(cap(10, 1.5), 15);
        assert_eq!(cap(3, 1.0), 3);
    }
}
