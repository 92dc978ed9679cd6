//! LoRAs that diffusers wrote give what they give in diffusers (tests/golden/lora.py).

use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor};

use super::clip::TextEncoder;
use super::fixture::{self, distance, tensors, wave};
use super::lora::{self, Lora};
use super::tests::configs;
use super::unet::Unet;
use crate::checkpoint::lora::LoraFile;
use crate::error::Result;
use crate::nn::weights::{self, Named};

const CPU: Device = Device::Cpu;

/// A file of the script's folder.
pub fn file(name: &str) -> PathBuf {
    PathBuf::from(format!("{}/tests/golden/lora/{name}.safetensors", env!("CARGO_MANIFEST_DIR")))
}

/// What the script computed.
pub fn golden() -> Named {
    weights::from_bytes(&std::fs::read(file("golden")).unwrap(), "golden").unwrap()
}

fn read(path: PathBuf, scale: f64) -> Lora {
    let file = LoraFile::open(&path).unwrap();
    lora::read(&file.tensors, file.settings.as_deref(), "bird.safetensors", scale).unwrap()
}

/// The U-Net's prediction and every sixteenth token of the embeddings, with all of these added.
pub fn outputs(model: &str, loras: Vec<Lora>) -> (Tensor, Tensor) {
    let mut all = Lora::default();
    for one in loras {
        all.join(one).unwrap();
    }
    let (unet, _, text) = configs(model);
    let encoder =
        TextEncoder::load(&text, &tensors(model, "text_encoder"), &all.text, Kind::Float, CPU, true, model).unwrap();
    let embeddings = encoder.forward(&fixture::golden(model)["ids"]).unwrap();
    let unet = Unet::load(&unet, &tensors(model, "unet"), &all.unet, Kind::Float, CPU, true, model).unwrap();
    let side = unet.config().sample_size as i64;
    let times = Tensor::full([2], 501, (Kind::Float, CPU));
    let text = unet.listen(&embeddings).unwrap();
    let predicted = unet.forward(&wave("latents", &[2, 4, side, side]), &times, &text).unwrap();
    (predicted, embeddings.slice(1, 0, None, 16))
}

#[test]
fn loras_of_peft_give_what_diffusers_gives_with_them_alone_and_together() {
    let _no_grad = tch::no_grad_guard();
    let golden = golden();
    for (name, model, loras) in [
        ("one 1", "one", vec![("one", 1.0)]),
        ("one 0.5", "one", vec![("one", 0.5)]),
        ("one both", "one", vec![("one", 0.7), ("one-b", 1.2)]),
        ("two 1", "two", vec![("two", 1.0)]),
        ("two 0.5", "two", vec![("two", 0.5)]),
    ] {
        let (unet, text) = outputs(model, loras.into_iter().map(|(lora, scale)| read(file(lora), scale)).collect());
        let (plain_unet, plain_text) = outputs(model, vec![]);
        for (what, found, plain) in [("unet", unet, plain_unet), ("text", text, plain_text)] {
            let theirs = &golden[&format!("{name} {what}")];
            let apart = distance(&found, theirs);
            assert!(apart < 1e-5, "{name} {what}: {apart:e}");
            // Without the LoRA it is another answer, so that the figure above means something.
            assert!(distance(&plain, theirs) > 0.02, "{name} {what}: the LoRA does nothing");
        }
    }
}

/// Both networks' deltas: weight, scale, up and down.
fn deltas(lora: &Lora) -> Vec<(&str, f64, &Tensor, &Tensor)> {
    let all = lora.unet.iter().chain(&lora.text);
    all.flat_map(|(name, deltas)| deltas.iter().map(|one| (name.as_str(), one.scale, &one.up, &one.down))).collect()
}

#[test]
fn the_same_lora_of_kohyas_scripts_and_of_peft_alone_is_the_same() {
    let theirs = read(file("one"), 0.5);
    let tensors = weights::from_bytes(&std::fs::read(file("one")).unwrap(), "one").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kohya.safetensors");
    let mut kohya = Named::new();
    for (name, tensor) in &tensors {
        let name = name.replacen("unet.", "lora_unet.", 1).replacen("text_encoder.", "lora_te.text_model.", 1);
        let (layer, part) = name.split_once(".lora_").unwrap();
        let (layer, part) = (layer.replace('.', "_"), if part == "A.weight" { "down" } else { "up" });
        kohya.insert(format!("{layer}.alpha"), Tensor::from(5.0f32));
        kohya.insert(format!("{layer}.lora_{part}.weight"), tensor.shallow_clone());
    }
    std::fs::write(&path, weights::to_bytes(&kohya).unwrap()).unwrap();
    assert_eq!(deltas(&read(path, 0.5)), deltas(&theirs));

    // peft alone saves one network a folder.
    let saved = |name: &str, tensors: Named, alpha: f64| {
        let folder = folder.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("adapter_model.safetensors"), weights::to_bytes(&tensors).unwrap()).unwrap();
        let settings = format!(r#"{{"peft_type": "LORA", "r": 3, "lora_alpha": {alpha}, "alpha_pattern": {{}}}}"#);
        std::fs::write(folder.join("adapter_config.json"), settings).unwrap();
        folder
    };
    let named = |start: &str, prefix: &str| -> Named {
        let own = tensors.iter().filter_map(|(name, tensor)| Some((name.strip_prefix(start)?, tensor)));
        own.map(|(name, tensor)| (format!("base_model.model.{prefix}{name}"), tensor.shallow_clone())).collect()
    };
    let mut both = read(saved("unet", named("unet.", ""), 5.0), 0.5);
    both.join(read(saved("text", named("text_encoder.", "text_model."), 5.0), 0.5)).unwrap();
    assert_eq!(deltas(&both), deltas(&theirs));

    // The settings beside a file are a part of it.
    let digest = |folder: PathBuf| LoraFile::open(&folder).unwrap().digest().unwrap();
    assert_ne!(digest(saved("other", named("unet.", ""), 4.0)), digest(folder.path().join("unet")));
}

#[test]
fn a_lora_for_another_base_is_refused_by_name() {
    let (unet, ..) = configs("two");
    let lora = read(file("one"), 1.0);
    let found = Unet::load(&unet, &tensors("two", "unet"), &lora.unet, Kind::Float, CPU, true, "`sd21/unet`");
    let Err(error) = found else { panic!("it is taken") };
    assert_eq!(
        error.to_string(),
        "a LoRA is not for `sd21/unet`: `bird.safetensors` has another shape than \
         down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight, and 19 more\n  help: it was made for another \
         base model; take the base that its page names"
    );
}

/// A LoRA's file of tensors `[1, 2]` that all hold one number.
fn written(folder: &Path, name: &str, tensors: &[&str], number: f64) -> PathBuf {
    let path = folder.join(name);
    let tensor = || Tensor::full([1, 2], number, (Kind::Float, CPU));
    let all: Named = tensors.iter().map(|name| (name.to_string(), tensor())).collect();
    std::fs::write(&path, weights::to_bytes(&all).unwrap()).unwrap();
    path
}

fn read_by_name(path: &Path) -> Result<Lora> {
    let file = LoraFile::open(path).unwrap();
    lora::read(&file.tensors, None, path.file_name().unwrap().to_str().unwrap(), 1.0)
}

#[test]
fn half_of_a_pair_is_refused_by_its_layer() {
    let folder = tempfile::tempdir().unwrap();
    for part in ["lora_A", "lora_B"] {
        let path =
            written(folder.path(), "half", &[&format!("unet.mid_block.attentions.0.proj_in.{part}.weight")], 1.0);
        assert_eq!(
            read_by_name(&path).err().unwrap().to_string(),
            "`half`: `mid_block.attentions.0.proj_in` has half of a pair\n  help: the file is damaged, or not fetched whole"
        );
    }
}

#[test]
fn a_lora_that_adds_to_a_layer_which_is_not_there_is_refused_by_that_layer() {
    let (unet, ..) = configs("one");
    let folder = tempfile::tempdir().unwrap();
    let layer = "unet.mid_block.attentions.7.proj_in";
    let names = ["A", "B"].map(|part| format!("{layer}.lora_{part}.weight"));
    let path = folder.path().join("more");
    let all = [(&names[0], [1, 2]), (&names[1], [2, 1])];
    let all: Named = all.map(|(name, shape)| (name.clone(), Tensor::zeros(shape, (Kind::Float, CPU)))).into();
    std::fs::write(&path, weights::to_bytes(&all).unwrap()).unwrap();
    let lora = read_by_name(&path).unwrap();
    let found = Unet::load(&unet, &tensors("one", "unet"), &lora.unet, Kind::Float, CPU, true, "`sd15/unet`");
    assert_eq!(
        found.err().unwrap().to_string(),
        "a LoRA is not for `sd15/unet`: `more` adds to mid_block.attentions.7.proj_in.weight, which it does not have\n  help: it \
         was made for another base model; take the base that its page names"
    );
}

#[test]
fn two_loras_that_learned_one_word_differently_are_not_joined() {
    let folder = tempfile::tempdir().unwrap();
    let [first, again, other] = [("first", 1.0), ("again", 1.0), ("other", 2.0)]
        .map(|(name, number)| written(folder.path(), name, &["lora_token.<owl>"], number));
    let mut all = read_by_name(&first).unwrap();
    all.join(read_by_name(&again).unwrap()).unwrap();
    assert_eq!(
        all.join(read_by_name(&other).unwrap()).unwrap_err().to_string(),
        "`again` and `other` have both learned the word `<owl>`\n  help: an image can be made with one of the two at a time"
    );
}
