//! The checkpoint that a recipe's Stable Diffusion generator is: opened, identified by the digests of its files, and made
//! ready to sample. Trains nothing.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use image::RgbImage;
use tch::Device;

use crate::checkpoint::lora::LoraFile;
use crate::checkpoint::scheduler::SchedulerConfig;
use crate::checkpoint::tokenizer::Tokenizer;
use crate::checkpoint::{self, Checkpoint, Component, Prediction, hub};
use crate::dataset::hashing::{self, Listed};
use crate::dataset::stat_index::{Stat, StatIndex};
use crate::diffusion::sampler::{self, Prescribed, SamplerKind};
use crate::diffusion::sd::lora::{self, Lora};
use crate::diffusion::sd::lora_fit;
use crate::diffusion::sd::pipeline::{self, Options, Parts, Pipeline, Start, Tokens};
use crate::diffusion::{Generator, Request};
use crate::error::{Error, IoContext, Result};
use crate::plan::candidate;
use crate::plan::inputs::{self, Digest};
use crate::recipe::{self, GeneratorKind, PredictionType, Recipe, StableDiffusion};
use crate::store::Store;

use super::model::precision;
use super::progress::{Progress, Task};
use super::survey::{self, Survey};

/// An opened checkpoint.
pub struct Base {
    pub checkpoint: Checkpoint,
    /// Of its files, and of the LoRAs' with their scales.
    pub digest: Digest,
    /// What the recipe adds to it.
    loras: Vec<(LoraFile, f64)>,
}

impl Base {
    /// Opens a checkpoint: a folder, a file with what it does not say itself, or `hf:owner/name@revision`, which is fetched
    /// into the cache if `fetch` lets it be. Files whose size and times are as they were are not hashed again.
    ///
    /// # Errors
    /// [`Error::Input`] for what is no checkpoint that can be run, or is not fetched yet; [`Error::Io`] where a file cannot
    /// be read.
    pub fn open(
        store: &Store,
        model: &str,
        options: &checkpoint::Options,
        rehash: bool,
        fetch: Option<&Progress>,
    ) -> Result<Base> {
        let place = match hub::Spec::parse(model).transpose()? {
            None => PathBuf::from(model),
            Some(spec) => match (hub::cached(&spec, store.dir()), fetch) {
                (Some(place), _) => place,
                (None, Some(progress)) => fetch_into(store, &spec, progress)?,
                (None, None) => return Err(not_fetched(model)),
            },
        };
        let checkpoint = Checkpoint::open_with(&place, options)?;
        let digest = digest(store, &checkpoint, rehash)?;
        Ok(Base { checkpoint, digest, loras: Vec::new() })
    }

    /// The checkpoint that a recipe names, with the LoRAs that it adds to it.
    ///
    /// # Errors
    /// As [`Base::open`]; also for a file that is no LoRA.
    pub fn of_recipe(store: &Store, model: &StableDiffusion, rehash: bool, fetch: Option<&Progress>) -> Result<Base> {
        let prediction = model.prediction_type.map(|prediction| match prediction {
            PredictionType::Epsilon => Prediction::Noise,
            PredictionType::V => Prediction::V,
        });
        let options = checkpoint::Options { tokenizer: None, prediction };
        let plain = Base::open(store, &model.model, &options, rehash, fetch)?;
        let loras = model.loras.iter().map(|(place, scale)| Ok((LoraFile::open(Path::new(place))?, *scale)));
        let loras = loras.collect::<Result<Vec<_>>>()?;
        let digests = loras.iter().map(|(file, scale)| Ok((file.digest()?, *scale))).collect::<Result<Vec<_>>>()?;
        Ok(Base { digest: inputs::with_loras(plain.digest, &digests), loras, ..plain })
    }

    /// What the recipe's LoRAs, then this one, add.
    fn joined(&self, more: Lora) -> Result<Lora> {
        let mut all = Lora::default();
        for (file, scale) in &self.loras {
            all.join(lora::read_file(file, *scale)?)?;
        }
        all.join(more)?;
        Ok(all)
    }

    /// Whether a LoRA of the recipe has learned tokens.
    ///
    /// # Errors
    /// [`Error::Input`] where one cannot be read.
    pub fn knows_tokens(&self) -> Result<bool> {
        Ok(!self.joined(Lora::default())?.tokens.is_empty())
    }

    /// The checkpoint's tokeniser, which also knows the tokens that the recipe's LoRAs and this one have learned.
    ///
    /// # Errors
    /// [`Error::Input`] where it cannot be used.
    pub fn tokenizer(&self, more: &Lora) -> Result<Tokenizer> {
        let mut words: BTreeSet<String> = self.joined(Lora::default())?.tokens.into_keys().collect();
        words.extend(more.tokens.keys().cloned());
        self.checkpoint.tokenizer()?.with_learned(words.iter().map(String::as_str))
    }

    /// Whether the tokeniser, the scheduler and the sizes can be used as a recipe asks; reads no weights.
    ///
    /// # Errors
    /// What cannot be used, by name.
    pub fn refuse_unusable(&self, settings: &recipe::Generator) -> Result<()> {
        let tokenizer = self.tokenizer(&Lora::default())?;
        if let GeneratorKind::StableDiffusion(model) = &settings.kind
            && let Some(lora) = &model.lora
        {
            lora_fit::refuse_told(&self.checkpoint.unet, &self.checkpoint.path.display().to_string())?;
            lora.token.as_ref().map(|word| tokenizer.one(word)).transpose()?;
        }
        let asked = SamplerKind::from_name(settings.sampler.name())?;
        let Prescribed { kind, schedule, settings: prescribed } = prescribed(&self.checkpoint, Some(asked))?;
        kind.start(&schedule, settings.steps, &prescribed).map(drop)
    }

    /// Warns where nothing says what the network predicts. `how` is how to say it.
    pub fn warn_of_guess(&self, how: &str, progress: &Progress) {
        if self.checkpoint.prediction_is_guessed {
            let place = self.checkpoint.path.display();
            progress.warn(&format!(
                "`{place}` does not say what it predicts: taken for `v_prediction`, as most of 2.x; if its images are \
                 noise, say {how}"
            ));
        }
    }

    /// Warns of a negative prompt and of guidance rescale that will have no effect, since the network is told the guidance.
    pub fn warn_of_unheard(&self, negative: &str, rescale: f64, progress: &Progress) {
        let unheard = [("the negative prompt", !negative.is_empty()), ("guidance rescale", rescale != 0.0)];
        for (what, _) in unheard.iter().filter(|(_, said)| *said && self.checkpoint.unet.guidance_width.is_some()) {
            let place = self.checkpoint.path.display();
            progress.warn(&format!(
                "{what} has no effect: `{place}` is told the guidance and makes no pass without the prompt"
            ));
        }
    }

    /// The networks with what LoRAs add to them, ready to make images.
    ///
    /// # Errors
    /// [`Error::Usage`] for values out of range, [`Error::Input`] where weights and configurations do not fit.
    pub fn pipeline(
        &self,
        asked: Option<SamplerKind>,
        options: impl FnOnce(SamplerKind) -> Options,
        lora: Lora,
        device: Device,
    ) -> Result<Pipeline> {
        let Prescribed { kind, schedule, settings } = prescribed(&self.checkpoint, asked)?;
        Pipeline::new(self.parts(lora)?, schedule, settings, options(kind), device)
    }

    /// The networks' tensors with what the recipe's LoRAs and this one add to them.
    ///
    /// # Errors
    /// [`Error::Input`] where a file is not whole.
    pub fn parts(&self, lora: Lora) -> Result<Parts<'_>> {
        let checkpoint = &self.checkpoint;
        let lora = self.joined(lora)?;
        let learned = lora.token_rows()?;
        Ok(Parts {
            name: checkpoint.path.display().to_string(),
            text_config: &checkpoint.text_encoder,
            unet_config: &checkpoint.unet,
            vae_config: &checkpoint.vae,
            text: checkpoint.tensors(Component::TextEncoder)?,
            unet: checkpoint.tensors(Component::Unet)?,
            vae: checkpoint.tensors(Component::Vae)?,
            unet_patches: lora.unet,
            text_patches: lora.text,
            learned,
        })
    }
}

/// Whether a model is to be fetched from a hub first.
pub fn waits_for_fetch(store: &Store, model: &str) -> Result<bool> {
    Ok(hub::Spec::parse(model).transpose()?.is_some_and(|spec| hub::cached(&spec, store.dir()).is_none()))
}

fn not_fetched(model: &str) -> Error {
    Error::input_help(
        format!("`{model}` is not fetched yet"),
        "`birdaug build` without `--offline` fetches it, or `birdaug generate`",
    )
}

fn fetch_into(store: &Store, spec: &hub::Spec, progress: &Progress) -> Result<PathBuf> {
    const MEGABYTE: u64 = 1_000_000;
    let running: RefCell<Option<(String, Task<'_>)>> = RefCell::new(None);
    let finish = || {
        if let Some((_, task)) = running.take() {
            task.finish();
        }
    };
    let folder = hub::fetch(spec, store.dir(), &|file, have, total| {
        if total < MEGABYTE {
            return;
        }
        let (have, total) = ((have / MEGABYTE) as usize, total.div_ceil(MEGABYTE) as usize);
        if running.borrow().as_ref().is_none_or(|(name, _)| name != file) {
            finish();
            // As short as a line is, `fetch unet/model`.
            let name = file.trim_end_matches(".safetensors").replace("diffusion_pytorch_", "");
            let mut task = progress.task(&format!("fetch {name}"), total, "megabyte");
            task.resume(have);
            running.replace(Some((file.to_string(), task)));
        }
        if let Some((_, task)) = running.borrow_mut().as_mut() {
            task.set(have, "");
        }
    })?;
    finish();
    Ok(folder)
}

/// The sampler that is asked for, or the checkpoint's own, as its scheduler's config has it.
pub fn prescribed(checkpoint: &Checkpoint, asked: Option<SamplerKind>) -> Result<Prescribed> {
    let config = SchedulerConfig::read(&checkpoint.scheduler, &checkpoint.scheduler_path)?;
    sampler::prescribed(&config, asked)
}

/// The checkpoint's digest, out of what is remembered of its files where they did not change.
fn digest(store: &Store, checkpoint: &Checkpoint, rehash: bool) -> Result<Digest> {
    let mut index = StatIndex::load(&survey::stat_index_path(store, "model", &checkpoint.path));
    if rehash {
        index.forget();
    }
    let mut folders: BTreeMap<PathBuf, Vec<(String, Stat)>> = BTreeMap::new();
    for path in checkpoint.weight_files() {
        let stat = Stat::of(&std::fs::metadata(path).doing("read", path)?);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        folders.entry(path.parent().unwrap_or(Path::new(".")).to_path_buf()).or_default().push((name, stat));
    }
    let mut digests: BTreeMap<PathBuf, Digest> = BTreeMap::new();
    for (folder, mut files) in folders {
        files.sort_by(|a, b| a.0.cmp(&b.0));
        let hashed = hashing::digests(&folder, &[Listed { path: "", files: &files }], &mut index)?;
        for ((name, _), digest) in files.iter().zip(hashed.digests.concat()) {
            let path = folder.join(name);
            let unreadable = || Error::input(format!("`{}` cannot be read", path.display()));
            digests.insert(path.clone(), digest.ok_or_else(unreadable)?);
        }
    }
    index.save()?;
    Ok(checkpoint.digest_of(|path| digests.get(path).copied()))
}

/// A pipeline that makes candidates of species.
pub struct OfSpecies {
    pipeline: Pipeline,
    /// By species.
    prompts: Vec<Tokens>,
    negative: Tokens,
}

impl OfSpecies {
    /// As the recipe sets it. Prompts that are cut off are told to `progress`.
    pub fn new(
        base: &Base,
        model: &StableDiffusion,
        recipe: &Recipe,
        survey: &Survey,
        progress: &Progress,
        device: Device,
        lora: Lora,
    ) -> Result<OfSpecies> {
        let settings = &recipe.generator;
        let tokenizer = base.tokenizer(&lora)?;
        let mut cut = None;
        let mut tokens = |prompt: &str| -> Result<Tokens> {
            let tokens = tokenizer.encode(prompt)?;
            if tokens.cut > 0 {
                cut.get_or_insert_with(|| (prompt.to_string(), tokens.cut));
            }
            Ok(tokens.ids.into_iter().map(i64::from).collect())
        };
        let prompts = survey
            .dataset
            .species
            .iter()
            .zip(&survey.wanted)
            .map(|(species, &wanted)| match wanted {
                0 => Ok(Rc::from(Vec::new())),
                _ => tokens(&candidate::prompt(model, species)),
            })
            .collect::<Result<Vec<Tokens>>>()?;
        let negative = tokens(&model.negative_prompt)?;
        if let Some((prompt, tokens)) = cut {
            progress.warn(&format!(
                "the prompt `{prompt}` is too long for the model: its last {} are not read",
                crate::text::count(tokens, "token")
            ));
        }
        base.warn_of_unheard(&model.negative_prompt, model.guidance_rescale, progress);
        let options = |sampler| Options {
            sampler,
            steps: settings.steps,
            guidance: settings.guidance,
            guidance_rescale: model.guidance_rescale,
            strength: settings.strength,
            width: settings.size,
            height: settings.size,
            batch: settings.batch,
            precision: precision(settings.precision),
        };
        let asked = SamplerKind::from_name(settings.sampler.name())?;
        Ok(OfSpecies { pipeline: base.pipeline(Some(asked), options, lora, device)?, prompts, negative })
    }
}

impl Generator for OfSpecies {
    fn batch(&self) -> usize {
        self.pipeline.options().batch
    }

    fn generate(&mut self, requests: &[Request]) -> Result<Vec<Option<RgbImage>>> {
        let requests: Vec<pipeline::Request> = requests
            .iter()
            .map(|request| pipeline::Request {
                prompt: Rc::clone(&self.prompts[request.class]),
                negative: Rc::clone(&self.negative),
                start: Start::Key(request.noise),
                source: request.source.clone(),
            })
            .collect();
        let made = self.pipeline.generate(&requests, &mut |_, _| super::stop::check())?;
        Ok(made.into_iter().map(|made| made.image).collect())
    }
}
