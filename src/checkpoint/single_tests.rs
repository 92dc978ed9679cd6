//! Checkpoints in one file: the mapping against the same tensors as diffusers wrote them, and what decides the rest.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};

use super::folder_tests::golden;
use super::original::Original;
use super::safetensors_file::SafetensorsFile;
use super::scheduler::{Class, PredictionType, SchedulerConfig, TimestepSpacing};
use super::{Checkpoint, Component, Options, Prediction, collect, names};
use crate::text;

/// Every tensor of `folder` is in the file in the original layout, equal in shape and bytes, and no other is.
fn same(single: &Path, folder: &Path) {
    let folder = Checkpoint::open(folder).unwrap();
    let original = Original {
        depth: folder.unet.levels[0].depth,
        vae_levels: folder.vae.channels.len(),
        text_layers: folder.text_encoder.layers,
    };
    let file = SafetensorsFile::open(single).unwrap();
    for component in Component::ALL {
        let there = collect(component, &[&file], |name| original.fate(name)).unwrap();
        let here = folder.tensors(component).unwrap();
        assert_eq!(there.keys().collect::<Vec<_>>(), here.keys().collect::<Vec<_>>());
        for (name, tensor) in &here {
            assert_eq!((&there[name].shape, there[name].data()), (&tensor.shape, tensor.data()), "{name}");
        }
    }
    for name in file.names() {
        assert_ne!(original.fate(&name), names::Fate::Unknown, "{name}");
    }
}

#[test]
fn the_original_layout_becomes_the_one_of_diffusers() {
    same(&golden("v1.safetensors"), &golden("v1"));
    // Four levels and two blocks a level, 1.x and 2.x, as `tests/golden/checkpoint.py BPE DIR` writes them.
    if let Ok(folder) = std::env::var("BIRDAUG_SINGLE") {
        for name in ["v1", "v2"] {
            let folder = Path::new(&folder);
            same(&folder.join(name).with_extension("safetensors"), &folder.join(name));
        }
    }
}

#[test]
fn open_clip_becomes_transformers_clip_without_its_last_layer() {
    let there = SafetensorsFile::open(&golden("v2.safetensors")).unwrap();
    let here = SafetensorsFile::open(&golden("v2/text_encoder/model.safetensors")).unwrap();
    let original = Original { depth: 1, vae_levels: 2, text_layers: 2 };
    let text = Component::TextEncoder;
    let there = collect(text, &[&there], |name| original.fate(name)).unwrap();
    let here = collect(text, &[&here], |name| names::fate(text, name)).unwrap();
    assert_eq!(here.len(), 36);
    assert_eq!(there.keys().collect::<Vec<_>>(), here.keys().collect::<Vec<_>>());
    for (name, tensor) in &here {
        assert_eq!((&there[name].shape, there[name].data()), (&tensor.shape, tensor.data()), "{name}");
    }
}

#[test]
fn names_of_the_published_depth_are_mapped() {
    let original = Original { depth: 2, vae_levels: 4, text_layers: 12 };
    let cases = [
        ("model.diffusion_model.input_blocks.3.0.op.weight", "down_blocks.0.downsamplers.0.conv.weight"),
        ("model.diffusion_model.input_blocks.11.0.in_layers.2.bias", "down_blocks.3.resnets.1.conv1.bias"),
        ("model.diffusion_model.input_blocks.8.1.proj_in.weight", "down_blocks.2.attentions.1.proj_in.weight"),
        ("model.diffusion_model.output_blocks.2.1.conv.weight", "up_blocks.0.upsamplers.0.conv.weight"),
        ("model.diffusion_model.output_blocks.5.2.conv.bias", "up_blocks.1.upsamplers.0.conv.bias"),
        ("model.diffusion_model.output_blocks.11.1.norm.weight", "up_blocks.3.attentions.2.norm.weight"),
        ("model.diffusion_model.middle_block.2.emb_layers.1.weight", "mid_block.resnets.1.time_emb_proj.weight"),
        ("first_stage_model.decoder.up.3.upsample.conv.weight", "decoder.up_blocks.0.upsamplers.0.conv.weight"),
        ("first_stage_model.encoder.mid.attn_1.proj_out.bias", "encoder.mid_block.attentions.0.to_out.0.bias"),
    ];
    for (there, here) in cases {
        match original.fate(there) {
            names::Fate::Named(_, name) => assert_eq!(name, [here]),
            other => panic!("{there}: {other:?}"),
        }
    }
}

/// Tensors that tell 1.x (`width` 768) from 2.x (1024), and a tokeniser beside them.
fn small(width: usize, more: &[&str], note: Option<&str>) -> (tempfile::TempDir, PathBuf) {
    let more: Vec<Small> = more.iter().map(|name| (*name, Dtype::F16, vec![2], [0u8; 4].as_slice())).collect();
    small_with(width, &more, note)
}

/// A tensor's name, type, shape and bytes.
type Small<'a> = (&'a str, Dtype, Vec<usize>, &'a [u8]);

/// As [`small`], with tensors of any type.
fn small_with(width: usize, more: &[Small], note: Option<&str>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("tokenizer")).unwrap();
    for name in ["vocab.json", "merges.txt"] {
        fs::copy(golden("v1/tokenizer").join(name), folder.path().join("tokenizer").join(name)).unwrap();
    }
    let path = folder.path().join("sd.safetensors");
    let words = if width == 768 {
        "cond_stage_model.transformer.text_model.final_layer_norm.bias"
    } else {
        "cond_stage_model.model.ln_final.bias"
    };
    let zeros = vec![0u8; 320 * 2048 * 2];
    let plain = [
        ("model.diffusion_model.input_blocks.0.0.weight", vec![320, 4, 3, 3]),
        ("model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", vec![320, width]),
        ("first_stage_model.quant_conv.bias", vec![8]),
        (words, vec![4]),
    ];
    let plain = plain.map(|(name, shape)| {
        let length = shape.iter().product::<usize>() * 2;
        (name, Dtype::F16, shape, &zeros[..length])
    });
    let views = plain
        .iter()
        .chain(more)
        .map(|(name, dtype, shape, bytes)| (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    let notes = note.map(|note| HashMap::from([("modelspec.prediction_type".to_string(), note.to_string())]));
    fs::write(&path, safetensors::serialize(views, notes).unwrap()).unwrap();
    (folder, path)
}

fn refusal(path: &Path) -> String {
    let folder = path.parent().unwrap().display().to_string();
    Checkpoint::open(path).err().expect("it is refused").to_string().replace(&folder, "D")
}

#[test]
fn shapes_decide_the_version_and_notes_and_options_the_prediction() {
    let opened = |width, note, prediction| {
        let (_folder, path) = small(width, &[], note);
        let checkpoint = Checkpoint::open_with(&path, &Options { tokenizer: None, prediction }).unwrap();
        let v = checkpoint.scheduler.contains("v_prediction");
        assert_ne!(v, checkpoint.scheduler.contains("\"epsilon\""));
        assert_eq!(checkpoint.tokenizer().unwrap().encode("").unwrap().ids.len(), 77);
        (checkpoint.text_encoder.layers, checkpoint.unet.text_width, checkpoint.unet.sample_size, v)
    };
    assert_eq!(opened(768, None, None), (12, 768, 64, false));
    assert_eq!(opened(1024, None, None), (23, 1024, 96, true));
    assert_eq!(opened(1024, Some("epsilon"), None), (23, 1024, 64, false));
    assert_eq!(opened(1024, None, Some(Prediction::Noise)), (23, 1024, 64, false));
    assert_eq!(opened(768, Some("v"), None), (12, 768, 64, true));
    assert_eq!(opened(768, Some("v"), Some(Prediction::Noise)), (12, 768, 64, false));
}

#[test]
fn what_trainers_leave_in_a_file_decides_what_it_predicts() {
    let opened = |width, more: &[Small], prediction| {
        let (_folder, path) = small_with(width, more, None);
        let checkpoint = Checkpoint::open_with(&path, &Options { tokenizer: None, prediction }).unwrap();
        let v = checkpoint.scheduler.contains("v_prediction");
        (v, checkpoint.unet.sample_size, checkpoint.prediction_is_guessed)
    };
    let [base, later] = [875_000i64, 140_000].map(i64::to_le_bytes);
    let float = 875_000f32.to_le_bytes();
    let step = |bytes| -> [Small; 1] { [("global_step", Dtype::I64, vec![], bytes)] };
    // `512-base` of 2.x, by its steps, whole or as a float; 768-v by its own.
    assert_eq!(opened(1024, &step(&base), None), (false, 64, false));
    assert_eq!(opened(1024, &[("global_step", Dtype::F32, vec![1], &float)], None), (false, 64, false));
    assert_eq!(opened(1024, &step(&later), None), (true, 96, false));
    // Steps say nothing of 1.x; nothing said is a guess for 2.x alone.
    assert_eq!(opened(768, &step(&later), None), (false, 64, false));
    assert_eq!(opened(768, &[], None), (false, 64, false));
    assert_eq!(opened(1024, &[], None), (true, 96, true));
    assert_eq!(opened(1024, &[], Some(Prediction::V)), (true, 96, false));
    assert_eq!(opened(1024, &step(&base), Some(Prediction::V)), (true, 96, false));
    // A trainer's marker is for any version, and the caller knows better.
    let marked: [Small; 1] = [("v_pred", Dtype::F32, vec![0], &[])];
    assert_eq!(opened(768, &marked, None), (true, 64, false));
    assert_eq!(opened(768, &marked, Some(Prediction::Noise)), (false, 64, false));
}

#[test]
fn zero_terminal_snr_is_taken_from_its_marker() {
    let marked: [Small; 2] = [("v_pred", Dtype::F32, vec![0], &[]), ("ztsnr", Dtype::F32, vec![0], &[])];
    for width in [768, 1024] {
        let (_folder, path) = small_with(width, &marked, None);
        let config = Checkpoint::open(&path).unwrap();
        let config = SchedulerConfig::read(&config.scheduler, &config.scheduler_path).unwrap();
        let own = config.own().unwrap();
        assert_eq!((own.class, own.timestep_spacing), (Class::Ddim, TimestepSpacing::Trailing));
        assert!(own.rescale_betas_zero_snr);
        assert_eq!(own.prediction_type, PredictionType::V);
    }
    let (_folder, path) = small_with(768, &marked[1..], None);
    assert_eq!(
        refusal(&path),
        "`D/sd.safetensors`: has zero terminal SNR (`ztsnr`), where noise cannot be predicted\n  help: such a checkpoint \
         predicts v: `--prediction-type v_prediction`, in a recipe `prediction_type`"
    );
}

#[test]
fn a_digest_of_one_file_follows_its_bytes_its_words_and_what_it_predicts() {
    let (_folder, path) = small(1024, &[], None);
    let digest = |prediction| Checkpoint::open_with(&path, &Options { tokenizer: None, prediction }).unwrap().digest();
    let first = digest(None);
    assert_eq!(first, digest(Some(Prediction::V)));
    assert_ne!(first, digest(Some(Prediction::Noise)));
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_ne!(first, digest(None));
}

#[test]
fn the_vocabulary_is_beside_the_file_or_named() {
    let (folder, path) = small(768, &[], None);
    fs::rename(folder.path().join("tokenizer"), folder.path().join("words")).unwrap();
    assert_eq!(
        refusal(&path),
        "`D/sd.safetensors`: a checkpoint in one file brings no vocabulary, and `D/tokenizer` has no `vocab.json` and no \
         `merges.txt`\n  help: copy the folder `tokenizer` of a checkpoint of the same version in the diffusers layout there"
    );
    let options = Options { tokenizer: Some(folder.path().join("words")), prediction: None };
    assert!(Checkpoint::open_with(&path, &options).is_ok());
    let refused = Checkpoint::open_with(&golden("v1"), &options).err().unwrap().to_string();
    assert!(refused.contains("is a folder: it says itself what its tokeniser and its prediction are"), "{refused}");
}

#[test]
fn what_training_leaves_in_a_file_is_passed_over() {
    let left = [
        "cond_stage_model.logit_scale",
        "cond_stage_model.text_projection",
        "embedding_manager.embedder.transformer.text_model.final_layer_norm.bias",
        "model_ema.decay",
    ];
    let (_folder, path) = small(768, &left, None);
    Checkpoint::open(&path).unwrap();
}

#[test]
fn what_is_no_checkpoint_in_one_file_is_named_and_refused() {
    let help = "\n  help: use a checkpoint of Stable Diffusion 1.x or 2.x";
    let (_folder, path) = small(2048, &[], None);
    assert_eq!(
        refusal(&path),
        format!("`D/sd.safetensors`: its U-Net reads text by [320, 2048], neither 768 wide (1.x) nor 1024 (2.x){help}")
    );
    let (_folder, path) = small(768, &["model.diffusion_model.label_emb.0.0.weight"], None);
    assert_eq!(
        refusal(&path),
        "`D/sd.safetensors`: nobody knows its tensors `model.diffusion_model.label_emb.0.0.weight`"
    );
    let bytes = [0u8; 4];
    let only = |name: &str| {
        let view = TensorView::new(Dtype::F16, vec![2], &bytes).unwrap();
        fs::write(&path, safetensors::serialize([(name, view)], None).unwrap()).unwrap();
        refusal(&path)
    };
    for (name, what) in [
        ("conditioner.embedders.0.x", "Stable Diffusion XL"),
        ("model.diffusion_model.joint_blocks.0.x", "Stable Diffusion 3"),
        ("double_blocks.0.x", "Flux"),
        ("lora_unet_x.alpha", "a LoRA, not a checkpoint"),
    ] {
        assert_eq!(only(name), format!("`D/sd.safetensors`: is {what}: birdaug does not run it{help}"));
    }
    assert_eq!(
        only("wings"),
        format!(
            "`D/sd.safetensors`: holds no U-Net of Stable Diffusion in the original layout \
             (`model.diffusion_model.input_blocks.0.0.weight`){help}"
        )
    );
    let pickle = path.with_file_name("sd.ckpt");
    fs::write(&pickle, "x").unwrap();
    assert_eq!(
        refusal(&pickle),
        "`D/sd.ckpt` is a pickle, which can run any code when it is read: only safetensors are read\n  help: convert it: \
         python -c \"from diffusers import StableDiffusionPipeline as P; \
         P.from_single_file('D/sd.ckpt').save_pretrained('D/sd')\""
    );
    let whole = fs::read(golden("v1.safetensors")).unwrap();
    let (there, all) = (whole.len() - 2048, whole.len());
    fs::write(&path, &whole[..there]).unwrap();
    let (there, all) = (text::bytes(there as u64), text::bytes(all as u64));
    let start = format!("`D/sd.safetensors`: only {there} of {all} are there");
    assert!(refusal(&path).starts_with(&start), "{}", refusal(&path));
}
