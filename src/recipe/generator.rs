//! `[generator]` and the tables inside it. Knows the keys of either kind; loads no model.

use super::names::{GeneratorWord, Spelled};
use super::problem::Problem;
use super::read::{At, Section};
use super::schema;
use super::tables::value;
use super::types::TOKEN;
use super::types::{Ddpm, DdpmTrain, Generator, GeneratorKind, Lora, Mode, Precision, Sampler, StableDiffusion};
use super::within::{ABOVE_ZERO, ANY, FROM_ZERO, SHARE, UNIT};

/// Noise levels of the diffusion process, hence the most steps that sampling can take.
const NOISE_LEVELS: u64 = 1000;
/// The sampler `lcm` walks some of so many steps, diffusers' `original_inference_steps`; a checkpoint may say another number.
const LCM_STEPS: u64 = 50;
/// The largest side of an image in pixels.
const LARGEST: u64 = 4096;
/// More resolution levels would halve the largest image to nothing.
const MOST_LEVELS: usize = 8;

/// Reads `[generator]`; `None` if a required key is missing or wrong.
pub(super) fn read(root: &Section<'_, '_>) -> Option<Generator> {
    let every: Vec<&'static str> =
        [schema::GENERATOR, schema::STABLE_DIFFUSION, schema::DDPM].into_iter().flatten().copied().collect();
    let table = root.open_table("generator");
    let word = table.peek("kind").and_then(GeneratorWord::from_name);
    let section = match word {
        None => table.taking(&every, None),
        Some(word) => {
            let (own, foreign, other) = match word {
                GeneratorWord::StableDiffusion => (schema::STABLE_DIFFUSION, schema::DDPM, GeneratorWord::Ddpm),
                GeneratorWord::Ddpm => (schema::DDPM, schema::STABLE_DIFFUSION, GeneratorWord::StableDiffusion),
            };
            let known: Vec<&'static str> = schema::GENERATOR.iter().chain(own).copied().collect();
            table.taking(&known, Some((other.name(), foreign)))
        }
    };
    let kind = section.choice::<GeneratorWord>("kind");
    let kind = section.require("kind", kind, "kind = \"ddpm\"");
    let is_ddpm = word == Some(GeneratorWord::Ddpm);

    let size = size(&section);
    let (sampler, steps) = (section.choice("sampler"), section.whole("steps", 1..=NOISE_LEVELS));
    if let (true, Some(sampler), Some(steps)) = (is_ddpm, &sampler, &steps)
        && sampler.value == Sampler::Lcm
        && steps.value > LCM_STEPS
    {
        let allowed = format!("with the sampler `lcm`, a whole number from 1 to {LCM_STEPS}");
        section.impossible("steps", steps.at.clone(), &format!("found {}", steps.value), &allowed);
    }
    let details = match word {
        Some(GeneratorWord::StableDiffusion) => Some(GeneratorKind::StableDiffusion(stable_diffusion(&section))),
        Some(GeneratorWord::Ddpm) => Some(GeneratorKind::Ddpm(ddpm(&section, size.as_ref()))),
        None => {
            stable_diffusion(&section);
            ddpm(&section, size.as_ref());
            None
        }
    };
    let generator = Generator {
        mode: value(section.choice("mode"), if is_ddpm { Mode::Txt2Img } else { Mode::Img2Img }),
        strength: value(section.number("strength", SHARE), 0.7),
        steps: value(steps, 25) as usize,
        guidance: value(section.number("guidance", FROM_ZERO), 4.0),
        sampler: value(sampler, Sampler::DpmSolver2M),
        size: value(size, default_size(is_ddpm)),
        precision: value(section.choice("precision"), Precision::Bf16),
        batch: value(section.whole("batch", 1..=4096), 8) as usize,
        seed: value(section.seed("seed"), 0),
        kind: details?,
    };
    kind.map(|_| generator)
}

fn default_size(is_ddpm: bool) -> usize {
    if is_ddpm { 64 } else { 512 }
}

/// The side in pixels: either kind halves it three times, the autoencoder or the U-Net.
fn size(section: &Section<'_, '_>) -> Option<At<usize>> {
    let size = section.whole("size", 8..=LARGEST)?;
    if size.value.is_multiple_of(8) {
        return Some(At { value: size.value as usize, at: size.at });
    }
    let (below, above) = (size.value / 8 * 8, (size.value / 8 + 1) * 8);
    section.report(
        Problem::new(size.at, format!("{} is impossible", section.named("size")), format!("found {}", size.value))
            .allowed(format!("a multiple of 8 from 8 to {LARGEST}"))
            .help(format!("the nearest are {below} and {above}")),
    );
    None
}

fn stable_diffusion(section: &Section<'_, '_>) -> StableDiffusion {
    let model = section.filled("model", "a folder in the diffusers layout");
    let prompt = section.text("prompt");
    let lora_section = section.has("lora").then(|| section.table("lora", schema::LORA));
    let lora = lora_section.as_ref().map(lora);
    check_token(section, prompt.as_ref(), lora_section.as_ref(), lora.as_ref());
    let names = section.open_table("names");
    let names = names
        .entries()
        .filter_map(|(species, called)| {
            let called = names.filled_of(species.value, called, "what the prompt calls the species")?;
            Some((species.value.to_string(), called.value.to_string()))
        })
        .collect();
    let loras = section.open_table("loras");
    let loras = loras
        .entries()
        .filter_map(|(place, scale)| {
            let scale = loras.number_of(place.value, scale, ANY, "the LoRA's scale, a number")?;
            Some((place.value.to_string(), scale.value))
        })
        .collect();
    StableDiffusion {
        model: value(model, "models/sd15").to_string(),
        prediction_type: section.choice("prediction_type").map(|choice| choice.value),
        prompt: value(prompt, "a photo of a {species}, a bird").to_string(),
        negative_prompt: value(section.text("negative_prompt"), "").to_string(),
        guidance_rescale: value(section.number("guidance_rescale", UNIT), 0.0),
        names,
        loras,
        lora,
    }
}

/// A learned token and its place in the prompt want each other.
fn check_token(
    section: &Section<'_, '_>,
    prompt: Option<&At<&str>>,
    lora_section: Option<&Section<'_, '_>>,
    lora: Option<&Lora>,
) {
    let learned = lora.is_some_and(|lora| lora.token.is_some());
    match (prompt.filter(|prompt| prompt.value.contains(TOKEN)), lora_section) {
        (Some(prompt), _) if !learned => {
            let allowed = "a prompt without `{token}`, or `token` in `[generator.lora]`";
            section.impossible("prompt", prompt.at.clone(), "holds `{token}`, which nothing learns", allowed);
        }
        (None, Some(of)) if learned => {
            let at = of.key_at("token").unwrap_or_default();
            of.impossible("token", at, "`prompt` has no place for it", "with `{token}` in `prompt`");
        }
        _ => {}
    }
}

fn lora(section: &Section<'_, '_>) -> Lora {
    let token = section.filled("token", "the word that learned tokens begin as");
    let mut rank = section.whole("rank", 0..=1024);
    if token.is_none() && rank.as_ref().is_some_and(|rank| rank.value == 0) {
        let at = rank.take().map(|rank| rank.at).unwrap_or_default();
        section.impossible("rank", at, "found 0", "a whole number from 1 to 1,024, or 0 where a `token` is learned");
    }
    Lora {
        rank: value(rank, 8) as usize,
        steps: value(section.count("steps", 1), 2000),
        learning_rate: value(section.number("learning_rate", ABOVE_ZERO), 1e-4),
        batch: value(section.whole("batch", 1..=4096), 1) as usize,
        accumulate: value(section.whole("accumulate", 1..=4096), 1) as usize,
        text_encoder: value(section.flag("text_encoder"), false),
        recompute: value(section.flag("recompute"), false),
        token: token.map(|token| token.value.to_string()),
    }
}

fn ddpm(section: &Section<'_, '_>, size: Option<&At<usize>>) -> Ddpm {
    let train = section.table("train", schema::TRAIN);
    let width = width(section);
    Ddpm {
        width: width.unwrap_or(64),
        levels: levels(section, size),
        depth: value(section.whole("depth", 1..=16), 2) as usize,
        train: DdpmTrain {
            steps: value(train.count("steps", 1), 20_000),
            batch: value(train.whole("batch", 1..=4096), 64) as usize,
            learning_rate: value(train.number("learning_rate", ABOVE_ZERO), 2e-4),
        },
    }
}

/// Channels: a multiple of 8, so that group normalisation can group them.
fn width(section: &Section<'_, '_>) -> Option<usize> {
    let width = section.whole("width", 8..=1024)?;
    if !width.value.is_multiple_of(8) {
        section.impossible("width", width.at, &format!("found {}", width.value), "a multiple of 8 from 8 to 1024");
        return None;
    }
    Some(width.value as usize)
}

/// Side of the patches that the U-Net cuts an image of this side into, before it halves the grid of them from
/// level to level.
fn patch(side: usize) -> usize {
    if side >= 64 { 4 } else { 2 }
}

fn levels(section: &Section<'_, '_>, size: Option<&At<usize>>) -> Vec<usize> {
    let default = vec![1, 2, 3];
    let of_what = "channel multiples, whole numbers from 1 to 16";
    let one = |item| section.whole_of("levels", item, 1..=16);
    let written = section.list("levels", of_what, 1, one);
    let at = section.get("levels").map(|list| list.span());
    let levels: Vec<usize> = written.map_or(default, |list| list.iter().map(|level| level.value as usize).collect());
    if levels.len() > MOST_LEVELS {
        let at = at.unwrap_or(0..0);
        section.impossible(
            "levels",
            at,
            &format!("found {} levels", levels.len()),
            "a list of 1 to 8 channel multiples",
        );
        return levels;
    }
    let side = size.map_or(default_size(true), |size| size.value);
    let multiple = patch(side) << (levels.len() - 1);
    // A size that is itself wrong has had its message.
    let size_is_sound = size.is_some() || !section.has("size");
    if size_is_sound && !side.is_multiple_of(multiple) {
        let size_at = size.map(|size| size.at.clone());
        let place = size_at.clone().or(at.clone()).unwrap_or(0..0);
        let beside = size_at.and(at);
        section.report(
            Problem::new(place, format!("{} does not fit `levels`", section.named("size")), format!("{side} pixels"))
                .beside(beside, format!("patches of {}, halved {} times", patch(side), levels.len() - 1))
                .allowed(format!("with {} levels, a multiple of {multiple}", levels.len()))
                .help("change `size` or use fewer levels"),
        );
    }
    levels
}
