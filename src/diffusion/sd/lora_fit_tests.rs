//! Fits of LoRAs: gradients as PyTorch and peft have them (tests/golden/lora.py), and fits that can be repeated and resumed.

use std::rc::Rc;

use image::RgbImage;
use tch::{Device, Kind, Tensor};

use super::adapters::Trained;
use super::clip::TextEncoder;
use super::fixture::{self, distance, folder, tensors, uniform, wave};
use super::load;
use super::lora::{self, Patches};
use super::lora_fit::{Batch, NewTokens, Options, Photos, fit};
use super::lora_tests::{file, golden, outputs};
use super::pipeline::{Parts, Tokens};
use super::tests::{KEY, Walk, configs, pipeline_with, request, same_picture};
use super::unet::Unet;
use crate::checkpoint::lora::LoraFile;
use crate::checkpoint::scheduler::SchedulerConfig;
use crate::diffusion::sampler::{self, Prescribed};
use crate::error::{Error, Result};
use crate::nn::device::Precision;
use crate::nn::supervise::{Supervisor, Unsupervised};
use crate::nn::weights::{self, Named};

const CPU: Device = Device::Cpu;

fn prescribed(model: &str) -> Prescribed {
    let path = folder(model).join("scheduler/scheduler_config.json");
    let config = SchedulerConfig::read(&std::fs::read_to_string(&path).unwrap(), &path).unwrap();
    sampler::prescribed(&config, None).unwrap()
}

/// The numbers of every adapter by the formula of the script.
fn formula(trained: &Trained) -> Named {
    let zero = trained.named(&trained.flat).unwrap();
    zero.into_iter()
        .map(|(name, tensor)| {
            let shape: Vec<usize> = tensor.size().iter().map(|&n| n as usize).collect();
            let values = fixture::weight(&format!("fit.{name}"), &shape);
            (name, Tensor::from_slice(&values).view(tensor.size().as_slice()))
        })
        .collect()
}

#[test]
fn a_training_steps_loss_and_gradients_are_those_of_torch_and_peft() {
    let golden = golden();
    for (fit, model, rank, text_too, token) in
        [("one", "one", 2, false, false), ("two", "two", 1, true, false), ("token", "one", 2, true, true)]
    {
        let (unet_config, _, text_config) = configs(model);
        let (unet, text) = (tensors(model, "unet"), tensors(model, "text_encoder"));
        // One learned token, in place of the golden prompts' token 8, beginning as what 8 is.
        let embeddings = "text_model.embeddings.token_embedding.weight";
        let start = || load::tensor(&text[embeddings], Kind::Float, CPU).unwrap().narrow(0, 8, 1);
        let tokens = token.then(|| (vec!["<bird>".to_string()], start()));
        let mut trained = Trained::new(&unet, text_too.then_some(&text), rank, tokens, 0, CPU).unwrap();
        let mut numbers = formula(&trained);
        if let Some(more) = numbers.get_mut("lora_token") {
            let _ = more.zero_();
        }
        trained.fill(&numbers).unwrap();
        let encoder =
            TextEncoder::adapted(&text_config, &text, &Patches::new(), &trained.text, Kind::Float, CPU, model).unwrap();
        let encoder = match trained.tokens() {
            None => encoder,
            Some((start, more)) => encoder.learning(start, Some(more)),
        };
        let ids = &fixture::golden(model)["ids"];
        let ids = if token { ids.where_scalarother(&ids.ne(8), 64) } else { ids.shallow_clone() };
        let unet = Unet::adapted(&unet_config, &unet, &Patches::new(), &trained.unet, Kind::Float, CPU, model).unwrap();
        let side = unet.config().sample_size as i64;
        let (clean, noise) = (wave("fit latents", &[2, 4, side, side]), wave("fit noise", &[2, 4, side, side]));
        let Prescribed { schedule, settings, .. } = prescribed(model);
        let of = |&(first, end): &(i64, i64), recompute: bool| {
            let narrow = |x: &Tensor| x.narrow(0, first, end - first);
            let times = &[100, 800][first as usize..end as usize];
            let batch =
                Batch::new(&narrow(&clean), &narrow(&noise), times, &schedule, settings.prediction, vec![]).unwrap();
            let heard = encoder.forward(&narrow(&ids)).unwrap();
            batch.descend(&unet, &heard, 2, recompute).unwrap()
        };
        // In one batch, and in two that add up, kept or computed again.
        for (batches, again) in [(vec![(0, 2)], false), (vec![(0, 1), (1, 2)], false), (vec![(0, 2)], true)] {
            let loss: f64 = batches.iter().map(|batch| of(batch, again)).sum();
            let theirs = golden[&format!("fit {fit} loss")].double_value(&[0]);
            assert!((loss - theirs).abs() < 1e-5 * theirs, "{fit}: {loss} {theirs}");
            let gradient = trained.gradient().unwrap();
            let pieces: Vec<Tensor> =
                trained.named(&gradient).unwrap().into_values().map(|piece| piece.reshape([-1])).collect();
            let apart = distance(&Tensor::cat(&pieces, 0), &golden[&format!("fit {fit} gradients")]);
            assert!(apart < 1e-4, "{fit}: {apart:e}");
        }
        assert_eq!(trained.gradient().unwrap().abs().max().double_value(&[]), 0.0);
    }
}

fn options() -> Options {
    Options {
        rank: 2,
        steps: 6,
        batch: 2,
        accumulate: 2,
        learning_rate: 2e-3,
        text_encoder: false,
        recompute: false,
        size: 32,
        seed: 5,
        precision: Precision::Fp32,
        device: CPU,
    }
}

fn photo(number: usize) -> RgbImage {
    let bytes = uniform(&format!("photo {number}"), 3 * 40 * 32).map(|u| ((u + 0.5) * 256.0) as u8).collect();
    RgbImage::from_raw(40, 32, bytes).unwrap()
}

/// A fit to three photos of two prompts.
fn fitted(options: &Options, supervisor: &mut dyn Supervisor) -> Result<Vec<u8>> {
    fitted_with(options, &[], supervisor)
}

/// The same; tokens that are learned stand for the second one of each prompt.
fn fitted_with(options: &Options, words: &[String], supervisor: &mut dyn Supervisor) -> Result<Vec<u8>> {
    let (unet_config, vae_config, text_config) = configs("one");
    let parts = Parts {
        name: "one".to_string(),
        text_config: &text_config,
        unet_config: &unet_config,
        vae_config: &vae_config,
        text: tensors("one", "text_encoder"),
        unet: tensors("one", "unet"),
        vae: tensors("one", "vae"),
        text_patches: Patches::new(),
        unet_patches: Patches::new(),
        learned: None,
    };
    let ids = &fixture::golden("one")["ids"];
    let prompt = |row: i64| {
        let mut ids = Vec::<i64>::try_from(ids.get(row)).unwrap();
        if !words.is_empty() {
            ids[1] = 64 + row;
        }
        Rc::from(ids)
    };
    let prompts: Vec<Tokens> = (0..2).map(prompt).collect();
    let tokens = (!words.is_empty()).then_some(NewTokens { words, like: 7 });
    let Prescribed { schedule, settings, .. } = prescribed("one");
    let photos = Photos { prompts: &prompts, of: &[0, 1, 1], open: &mut |number| Ok(photo(number)), tokens };
    fit(&parts, &schedule, settings.prediction, options, photos, supervisor)
}

/// Stops a fit after some steps and keeps its state; remembers the losses.
#[derive(Default)]
struct Watcher {
    stop_at: Option<usize>,
    stopping: bool,
    state: Option<Vec<u8>>,
    losses: Vec<f64>,
}

impl Supervisor for Watcher {
    fn step(&mut self, done: usize, _total: usize, loss: f64) {
        self.losses.push(loss);
        self.stopping = self.stop_at == Some(done);
    }

    fn saved(&mut self) -> Option<Vec<u8>> {
        self.state.clone()
    }

    fn save(&mut self, state: &[u8]) -> Result<()> {
        self.state = Some(state.to_vec());
        Ok(())
    }

    fn stopping(&self) -> bool {
        self.stopping
    }
}

#[test]
fn a_resumed_fit_ends_in_the_bits_of_a_straight_one_and_another_seed_in_others() {
    for (text_encoder, precision) in [(false, Precision::Fp32), (true, Precision::Bf16)] {
        let options = Options { text_encoder, precision, ..options() };
        let straight = fitted(&options, &mut Unsupervised).unwrap();
        let mut watcher = Watcher { stop_at: Some(3), ..Watcher::default() };
        assert!(matches!(fitted(&options, &mut watcher), Err(Error::Interrupted)));
        assert_eq!(watcher.losses.len(), 3);
        let mut second = Watcher { state: watcher.state, ..Watcher::default() };
        assert_eq!(fitted(&options, &mut second).unwrap(), straight);
        assert_eq!(second.losses.len(), 3);
        assert_ne!(fitted(&Options { seed: 6, ..options }, &mut Unsupervised).unwrap(), straight);
    }
}

#[test]
fn learned_tokens_are_fitted_with_or_without_adapters_and_change_the_embeddings() {
    let words = ["<blue-jay>".to_string(), "<owl>".to_string()];
    for rank in [0, 2] {
        let options = Options { rank, ..options() };
        let mut watcher = Watcher { stop_at: Some(2), ..Watcher::default() };
        assert!(matches!(fitted_with(&options, &words, &mut watcher), Err(Error::Interrupted)));
        let mut second = Watcher { state: watcher.state, ..Watcher::default() };
        let bytes = fitted_with(&options, &words, &mut second).unwrap();
        assert_eq!(bytes, fitted_with(&options, &words, &mut Unsupervised).unwrap());
        let read = read_back(&bytes);
        assert_eq!(read.tokens.keys().collect::<Vec<_>>(), ["<blue-jay>", "<owl>"]);
        assert_eq!((read.unet.is_empty(), read.text.is_empty()), (rank == 0, true));
        let embeddings = &tensors("one", "text_encoder")["text_model.embeddings.token_embedding.weight"];
        let start = load::tensor(embeddings, Kind::Float, CPU).unwrap().get(7);
        let moved = read.token_rows().unwrap().unwrap() - start;
        let far = |row| moved.get(row).abs().max().double_value(&[]);
        assert!((1e-4..0.1).contains(&far(0)) && (1e-4..0.1).contains(&far(1)) && moved.get(0) != moved.get(1));
    }
}

#[test]
fn another_batch_of_the_same_step_is_the_same_gradient_in_other_bits() {
    let loss = |batch, accumulate| {
        let mut watcher = Watcher::default();
        fitted(&Options { batch, accumulate, steps: 1, ..options() }, &mut watcher).unwrap();
        watcher.losses[0]
    };
    assert!((loss(4, 1) - loss(1, 4)).abs() < 1e-5);
}

#[test]
fn a_fit_that_computes_again_what_it_does_not_keep_has_the_same_losses_and_repeats_itself() {
    for (text_encoder, precision) in [(false, Precision::Bf16), (true, Precision::Fp32)] {
        let keeps = Options { text_encoder, precision, steps: 1, ..options() };
        let saves = Options { recompute: true, ..keeps.clone() };
        let (mut kept, mut saved) = (Watcher::default(), Watcher::default());
        fitted(&keeps, &mut kept).unwrap();
        let bytes = fitted(&saves, &mut saved).unwrap();
        assert_eq!(kept.losses, saved.losses);
        assert!(fitted(&saves, &mut Unsupervised).unwrap() == bytes, "another run, other bits");
    }
}

#[test]
fn training_lowers_the_loss() {
    let mut watcher = Watcher::default();
    let options =
        Options { rank: 8, steps: 120, batch: 8, accumulate: 1, learning_rate: 1e-2, text_encoder: true, ..options() };
    fitted(&options, &mut watcher).unwrap();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&watcher.losses[..20]), mean(&watcher.losses[100..]));
    assert!(last < 0.9 * first, "{first} {last}");
}

#[test]
fn what_no_fit_can_have_is_refused() {
    let refused = |options: Options| fitted(&options, &mut Unsupervised).unwrap_err().to_string();
    assert_eq!(
        refused(Options { rank: 0, ..options() }),
        "`rank`, `steps`, `batch` and `accumulate` of a LoRA are at least 1"
    );
    assert_eq!(refused(Options { size: 100, ..options() }), "a size is a multiple of 8, not 100");
    assert_eq!(refused(Options { learning_rate: f64::NAN, ..options() }), "`learning_rate` is above 0, not NaN");
    let mut other = Watcher { state: Some(weights::to_bytes(&Named::new()).unwrap()), ..Watcher::default() };
    assert_eq!(
        fitted(&options(), &mut other).unwrap_err().to_string(),
        "the LoRA's saved fit is of another network\n  help: remove it to fit from the start"
    );
}

/// The LoRA that a fit wrote, as any other is read.
fn read_back(bytes: &[u8]) -> lora::Lora {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pytorch_lora_weights.safetensors");
    std::fs::write(&path, bytes).unwrap();
    let file = LoraFile::open(folder.path()).unwrap();
    lora::read(&file.tensors, file.settings.as_deref(), "fitted", 1.0).unwrap()
}

#[test]
fn what_a_fit_writes_is_a_lora_that_changes_both_networks() {
    let _no_grad = tch::no_grad_guard();
    let bytes = tch::with_grad(|| fitted(&Options { text_encoder: true, ..options() }, &mut Unsupervised).unwrap());
    let (unet, text) = outputs("one", vec![read_back(&bytes)]);
    let (plain_unet, plain_text) = outputs("one", vec![]);
    assert!(distance(&unet, &plain_unet) > 1e-3 && distance(&text, &plain_text) > 1e-4);
}

#[test]
#[ignore = "writes the LoRA that `tests/golden/lora.py` gives to diffusers"]
fn writes_a_lora_for_diffusers() {
    let options = Options { steps: 60, learning_rate: 1e-2, text_encoder: true, ..options() };
    let words = ["<blue-jay>".to_string(), "<owl>".to_string()];
    std::fs::write(file("ours"), fitted_with(&options, &words, &mut Unsupervised).unwrap()).unwrap();
}

#[test]
fn a_lora_that_birdaug_wrote_gives_in_diffusers_the_picture_that_it_gives_here() {
    let golden = golden();
    let walk = Walk { mode: "t2i", steps: 5, guidance: 5.0, rescale: 0.0, strength: 1.0 };
    let made = |lora| {
        let mut pipeline = pipeline_with("one", "euler", &walk, 1, lora);
        let mut request = request(&fixture::golden("one"), KEY, None);
        let mut ids = request.prompt.to_vec();
        ids[1] = if pipeline.knows(65) { 65 } else { 7 };
        request.prompt = Rc::from(ids);
        pipeline.generate(&[request], &mut |_, _| Ok(())).unwrap().remove(0)
    };
    let ours = made(read_back(&std::fs::read(file("ours")).unwrap()));
    let apart = distance(&ours.latents, &golden["ours latents"]);
    assert!(apart < 1e-4, "{apart:e}");
    same_picture(ours.image.as_ref().unwrap(), &golden["ours image"], "ours");
    let plain = made(lora::Lora::default());
    assert!(distance(&plain.latents, &golden["ours latents"]) > 0.01, "the LoRA does nothing");
}
