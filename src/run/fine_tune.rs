//! Fine-tuning the recipe's checkpoint on the arm's train photos, and on no others: every photo's bytes are hashed as they are
//! read, and only those of the train list are let through. Keeps nothing in the cache itself.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::rc::Rc;

use image::RgbImage;
use tch::Device;

use crate::checkpoint;
use crate::dataset::{decode, digest};
use crate::diffusion::sampler::{Prescribed, SamplerKind};
use crate::diffusion::sd::lora::{self, Lora as FittedLora};
use crate::diffusion::sd::lora_fit::{self, NewTokens, Options, Photos};
use crate::diffusion::sd::pipeline::Tokens;
use crate::error::{Error, IoContext, Result};
use crate::nn::supervise::Supervisor;
use crate::plan::inputs::{self, Digest};
use crate::plan::{Inputs, candidate};
use crate::recipe::{Generator, Lora, StableDiffusion};

use super::base::{self, Base};
use super::model::precision;
use super::survey::Survey;

/// The photos that a generator may be fitted to: those whose bytes stand in the arm's train list and in no other.
pub struct TrainOnly {
    train: HashSet<Digest>,
}

impl TrainOnly {
    /// Of a cut.
    ///
    /// # Errors
    /// [`Error::Input`] where a photo of train is one of valid or test too.
    pub fn new(survey: &Survey) -> Result<TrainOnly> {
        let digests = |photos: &[usize]| photos.iter().map(|&i| survey.dataset.photos[i].digest).collect();
        let held_out: HashSet<Digest> = digests(&[survey.cut.valid.as_slice(), &survey.cut.test].concat());
        TrainOnly::of(digests(&survey.cut.train), &held_out)
    }

    fn of(train: HashSet<Digest>, held_out: &HashSet<Digest>) -> Result<TrainOnly> {
        match train.intersection(held_out).next() {
            None => Ok(TrainOnly { train }),
            Some(_) => Err(Error::input_help(
                "a generator would be fitted to a photo of valid or test",
                "this is a mistake of birdaug's, not yours: please report it",
            )),
        }
    }

    /// The photo at a path, if it is one of them.
    ///
    /// # Errors
    /// [`Error::Input`] where its bytes are not those of a train photo; [`Error::Io`] where it cannot be read.
    pub fn open(&self, path: &Path) -> Result<RgbImage> {
        let bytes = std::fs::read(path).doing("read", path)?;
        if !self.train.contains(&digest::of(&bytes)) {
            return Err(Error::input_help(
                format!("`{}` is none of the photos that the generator may see", path.display()),
                "the file changed while the build ran: build again",
            ));
        }
        decode::from_bytes(path, &bytes)
    }
}

/// What enters the fit's key.
pub fn inputs(generator: &Generator, model: &StableDiffusion, lora: &Lora, base: Digest, survey: &Survey) -> Inputs {
    let mut prompts = blake3::Hasher::new();
    for (species, name) in survey.dataset.species.iter().enumerate() {
        if survey.real[species] > 0 {
            prompts.update(format!("{name}\n{}\n", candidate::prompt(model, name)).as_bytes());
        }
    }
    inputs::lora_fit(generator, lora, base, *prompts.finalize().as_bytes(), &survey.train_list)
}

/// Fits the LoRA; returns the bytes of its file.
///
/// # Errors
/// As [`lora_fit::fit`] has them, and of [`TrainOnly`].
pub fn fit(
    base: &Base,
    generator: &Generator,
    model: &StableDiffusion,
    lora: &Lora,
    survey: &Survey,
    device: Device,
    supervisor: &mut dyn Supervisor,
) -> Result<Vec<u8>> {
    let words = lora.token.as_ref().map_or(BTreeSet::new(), |_| words(survey));
    if lora.token.is_some() && base.knows_tokens()? {
        return Err(Error::input_help(
            "a LoRA of the recipe has learned tokens already, and `token` in `[generator.lora]` would learn others",
            "leave out one of them",
        ));
    }
    let tokenizer = base.tokenizer(&FittedLora::default())?;
    let like = lora.token.as_ref().map(|word| tokenizer.one(word)).transpose()?;
    let tokenizer = tokenizer.with_learned(words.iter().map(String::as_str))?;
    let words: Vec<String> = words.into_iter().collect();
    let tokens = like.map(|like| NewTokens { words: &words, like });
    let prompts = survey.dataset.species.iter().enumerate().map(|(species, name)| match survey.real[species] {
        0 => Ok(Rc::from(Vec::new())),
        _ => Ok(tokenizer.encode(&candidate::prompt(model, name))?.ids.into_iter().map(i64::from).collect()),
    });
    let prompts = prompts.collect::<Result<Vec<Tokens>>>()?;
    let train = &survey.cut.train;
    let of: Vec<usize> = train.iter().map(|&photo| survey.dataset.photos[photo].species as usize).collect();
    let may_see = TrainOnly::new(survey)?;
    // Whatever samples afterwards: as diffusers' scripts train.
    let Prescribed { schedule, settings, .. } = base::prescribed(&base.checkpoint, Some(SamplerKind::Ddpm))?;
    let options = Options {
        rank: lora.rank,
        steps: lora.steps,
        batch: lora.batch,
        accumulate: lora.accumulate,
        learning_rate: lora.learning_rate,
        text_encoder: lora.text_encoder,
        recompute: lora.recompute,
        size: generator.size,
        seed: generator.seed,
        precision: precision(generator.precision),
        device,
    };
    let mut open = |number: usize| may_see.open(&survey.dataset.path(train[number]));
    let photos = Photos { prompts: &prompts, of: &of, open: &mut open, tokens };
    let parts = base.parts(FittedLora::default())?;
    lora_fit::fit(&parts, &schedule, settings.prediction, &options, photos, supervisor).map_err(lora_fit::explained)
}

/// The learned tokens of the species that have train photos, as prompts spell them.
fn words(survey: &Survey) -> BTreeSet<String> {
    let species = survey.dataset.species.iter().enumerate().filter(|(species, _)| survey.real[*species] > 0);
    species.map(|(_, name)| candidate::token(name)).collect()
}

/// What a fitted LoRA adds to the networks.
///
/// # Errors
/// [`Error::Input`] where the bytes are no LoRA.
pub fn read(bytes: &[u8]) -> Result<FittedLora> {
    let name = "the fitted LoRA";
    let tensors = checkpoint::lora::in_memory(bytes.to_vec(), name)?;
    lora::read(&tensors, None, name, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_photo_that_is_not_of_the_train_set_is_never_opened() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, grey: u8| {
            let path = folder.path().join(name);
            RgbImage::from_pixel(8, 8, image::Rgb([grey; 3])).save(&path).unwrap();
            let found = digest::of(&std::fs::read(&path).unwrap());
            (path, found)
        };
        let (train, of_train) = write("train.png", 10);
        let (test, of_test) = write("test.png", 20);
        let may_see = TrainOnly::of([of_train].into(), &[of_test].into()).unwrap();
        assert_eq!(may_see.open(&train).unwrap().get_pixel(0, 0).0, [10; 3]);
        let refused = |path: &Path| may_see.open(path).unwrap_err().to_string();
        let message = |path: &Path| {
            format!(
                "`{}` is none of the photos that the generator may see\n  help: the file changed while the build ran: build again",
                path.display()
            )
        };
        assert_eq!(refused(&test), message(&test));
        // A test photo's bytes under a train photo's name are a test photo.
        std::fs::copy(&test, &train).unwrap();
        assert_eq!(refused(&train), message(&train));
        let Err(error) = TrainOnly::of([of_train, of_test].into(), &[of_test].into()) else { panic!("it is let in") };
        assert!(error.to_string().starts_with("a generator would be fitted to a photo of valid or test"), "{error}");
    }
}
