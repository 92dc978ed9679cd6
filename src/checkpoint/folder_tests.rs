//! Whole folders in the diffusers layout, sound and damaged.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::SafeTensors;

use super::tensors::Dtype;
use super::{Checkpoint, Component};

pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/checkpoint").join(name)
}

/// A copy of the small 1.x-like checkpoint, to be damaged.
pub fn copied() -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in walkdir::WalkDir::new(golden("v1")).min_depth(1) {
        let entry = entry.unwrap();
        let target = to.path().join(entry.path().strip_prefix(golden("v1")).unwrap());
        if entry.file_type().is_dir() {
            fs::create_dir(target).unwrap()
        } else {
            fs::write(target, fs::read(entry.path()).unwrap()).unwrap()
        }
    }
    to
}

/// The message that opening is refused with, without the folder's name.
pub fn refusal(folder: &Path) -> String {
    let error = Checkpoint::open(folder).err().expect("it is refused");
    error.to_string().replace(&folder.display().to_string(), "SD")
}

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

#[test]
fn a_folder_that_diffusers_wrote_is_read_with_todays_names_and_its_own_bytes() {
    let checkpoint = Checkpoint::open(&golden("v1")).unwrap();
    assert_eq!(checkpoint.unet.levels.iter().map(|level| level.channels).collect::<Vec<_>>(), [4, 8]);
    assert_eq!((checkpoint.vae.channels.as_slice(), checkpoint.text_encoder.vocabulary), ([4, 4].as_slice(), 50));
    assert!(checkpoint.scheduler.contains("PNDMScheduler"));
    for (component, file, count, prefix) in [
        (Component::Unet, UNET, None, ""),
        (Component::Vae, "vae/diffusion_pytorch_model.safetensors", None, ""),
        (Component::TextEncoder, "text_encoder/model.safetensors", Some(36), "text_model."),
    ] {
        let bytes = fs::read(golden("v1").join(file)).unwrap();
        let whole = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = checkpoint.tensors(component).unwrap();
        assert_eq!(tensors.len(), whole.len());
        assert_eq!(tensors.len(), count.unwrap_or(tensors.len()));
        for (name, view) in whole.tensors() {
            let ours = &tensors[&format!("{prefix}{name}")];
            assert_eq!(
                (ours.dtype, ours.shape.as_slice(), ours.data()),
                (Dtype::Fp16, view.shape(), view.data()),
                "{name}"
            );
        }
    }
}

#[test]
fn the_names_of_older_versions_become_todays() {
    let old = copied();
    fs::copy(golden("v1-vae-old.safetensors"), old.path().join("vae/diffusion_pytorch_model.safetensors")).unwrap();
    let old = Checkpoint::open(old.path()).unwrap().tensors(Component::Vae).unwrap();
    let new = Checkpoint::open(&golden("v1")).unwrap().tensors(Component::Vae).unwrap();
    assert_eq!(old.len(), 20);
    for (name, tensor) in &old {
        assert_eq!((&tensor.shape, tensor.data()), (&new[name].shape, new[name].data()), "{name}");
    }
}

#[test]
fn a_variant_is_used_where_nothing_plainer_is_there() {
    let folder = copied();
    let plain = folder.path().join(UNET);
    let variant = folder.path().join("unet/diffusion_pytorch_model.fp16.safetensors");
    fs::rename(&plain, &variant).unwrap();
    assert_eq!(Checkpoint::open(folder.path()).unwrap().digest(), Checkpoint::open(&golden("v1")).unwrap().digest());
    fs::write(&variant, "damaged").unwrap();
    fs::copy(golden("v1").join(UNET), &plain).unwrap();
    assert!(Checkpoint::open(folder.path()).is_ok(), "the plain one goes first");
}

#[test]
fn shards_are_read_by_their_index_and_a_missing_one_is_named() {
    let folder = copied();
    let bytes = fs::read(folder.path().join(UNET)).unwrap();
    fs::remove_file(folder.path().join(UNET)).unwrap();
    let whole = SafeTensors::deserialize(&bytes).unwrap();
    let mut map = serde_json::Map::new();
    for (i, half) in [true, false].into_iter().enumerate() {
        let shard = format!("diffusion_pytorch_model-0000{}-of-00002.safetensors", i + 1);
        let part: Vec<_> = whole.tensors().into_iter().filter(|(name, _)| name.starts_with("down") == half).collect();
        map.extend(part.iter().map(|(name, _)| (name.clone(), shard.clone().into())));
        fs::write(folder.path().join("unet").join(shard), safetensors::serialize(part, None).unwrap()).unwrap();
    }
    let index = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map}).to_string();
    let index_path = folder.path().join("unet/diffusion_pytorch_model.safetensors.index.json");
    fs::write(&index_path, &index).unwrap();
    let tensors = Checkpoint::open(folder.path()).unwrap().tensors(Component::Unet).unwrap();
    let plain = Checkpoint::open(&golden("v1")).unwrap().tensors(Component::Unet).unwrap();
    assert!(tensors.len() == plain.len() && plain.iter().all(|(name, one)| tensors[name].data() == one.data()));

    fs::write(&index_path, index.replacen("conv_in.bias", "conv_in.bent", 1)).unwrap();
    assert_eq!(
        refusal(folder.path()),
        "`SD/unet/diffusion_pytorch_model.safetensors.index.json`: says that \
         `diffusion_pytorch_model-00002-of-00002.safetensors` holds `conv_in.bent`, which it does not"
    );
    fs::remove_file(folder.path().join("unet/diffusion_pytorch_model-00002-of-00002.safetensors")).unwrap();
    assert_eq!(
        refusal(folder.path()),
        "`SD/unet`: 1 of 2 shards are missing: `diffusion_pytorch_model-00002-of-00002.safetensors`\n  \
         help: half a download, it seems: fetch them again"
    );
}

#[test]
fn half_a_download_is_said_plainly() {
    let whole = fs::read(golden("v1").join(UNET)).unwrap();
    let n = whole.len();
    let cases: [(&[u8], String); 6] = [
        (
            &whole[..n - 1],
            format!(
                "only 47.7 KiB of 47.8 KiB are there ({} of {n} bytes)\n  help: half a download, it seems: fetch the file again",
                n - 1
            ),
        ),
        (&whole[..100], "ends inside its header\n  help: half a download, it seems: fetch the file again".into()),
        (&[], "is empty\n  help: half a download, it seems: fetch the file again".into()),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "is a pointer of git-lfs, not the weights\n  help: run `git lfs pull` in the checkpoint's folder".into(),
        ),
        (
            b"<!DOCTYPE html><html>",
            "is a web page, not weights\n  help: fetch the file itself, not the page that shows it".into(),
        ),
        (
            b"PK\x03\x04archive/data.pkl",
            "is a pickle, whatever its name says\n  help: convert it to safetensors".into(),
        ),
    ];
    for (bytes, message) in cases {
        let folder = copied();
        fs::write(folder.path().join(UNET), bytes).unwrap();
        let refused = refusal(folder.path()).replace("47.8 KiB of 47.8 KiB", "47.7 KiB of 47.8 KiB");
        assert_eq!(refused, format!("`SD/{UNET}`: {message}"));
    }
    let folder = copied();
    fs::remove_file(folder.path().join("vae/config.json")).unwrap();
    fs::remove_file(folder.path().join("tokenizer/merges.txt")).unwrap();
    assert_eq!(
        refusal(folder.path()),
        "`SD`: not all of the checkpoint is there, `vae/config.json` and `tokenizer/merges.txt` are missing\n  \
         help: half a download, it seems: fetch the checkpoint again"
    );
    let folder = copied();
    fs::remove_file(folder.path().join(UNET)).unwrap();
    fs::write(folder.path().join("unet/diffusion_pytorch_model.safetensors.incomplete"), "x").unwrap();
    assert_eq!(
        refusal(folder.path()),
        "`SD/unet`: holds no weights, only `diffusion_pytorch_model.safetensors.incomplete`\n  help: fetch \
         `diffusion_pytorch_model.safetensors` (or `diffusion_pytorch_model.fp16.safetensors`) into it"
    );
}

#[test]
fn a_pickle_is_refused_with_how_to_convert_it() {
    let folder = copied();
    let bin = folder.path().join("unet/diffusion_pytorch_model.bin");
    fs::rename(folder.path().join(UNET), bin).unwrap();
    assert_eq!(
        refusal(folder.path()),
        "`SD/unet/diffusion_pytorch_model.bin` is a pickle, which can run any code when it is read: only safetensors \
         are read\n  help: convert it: python -c \"from diffusers import DiffusionPipeline as P; \
         P.from_pretrained('SD').save_pretrained('SD-safetensors')\""
    );
}

#[test]
fn other_pipelines_are_named_and_refused() {
    let folder = copied();
    let index = folder.path().join("model_index.json");
    let text = fs::read_to_string(&index).unwrap();
    let help = "\n  help: use a checkpoint of Stable Diffusion 1.x, 2.x, SD-Turbo or LCM";
    for (class, words) in [
        ("StableDiffusionXLPipeline", ", Stable Diffusion XL"),
        ("StableDiffusion3Pipeline", ", Stable Diffusion 3"),
        ("FluxPipeline", ", Flux"),
        ("AudioLDMPipeline", ""),
    ] {
        fs::write(&index, text.replace("StableDiffusionPipeline", class)).unwrap();
        let message = format!("`SD/model_index.json`: holds a `{class}`{words}: birdaug does not run it{help}");
        assert_eq!(refusal(folder.path()), message);
    }
    fs::write(&index, text.replace("CLIPTextModel", "T5EncoderModel")).unwrap();
    assert_eq!(
        refusal(folder.path()),
        "`SD/model_index.json`: `text_encoder` = [\"transformers\",\"T5EncoderModel\"] is not supported, only a `CLIPTextModel` is"
    );
    fs::write(&index, text.replace("\"unet\"", "\"text_encoder_2\": [\"a\", \"b\"], \"unet\"")).unwrap();
    assert_eq!(
        refusal(folder.path()),
        "`SD/model_index.json`: `text_encoder_2` = [\"a\",\"b\"] is no known field of a Stable Diffusion pipeline"
    );
    fs::write(&index, "{").unwrap();
    assert!(
        refusal(folder.path()).starts_with("`SD/model_index.json`: is not JSON: EOF"),
        "{}",
        refusal(folder.path())
    );
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    let folder = copied();
    let config = folder.path().join("unet/config.json");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"in_channels\": 4", "\"in_channels\": 9")).unwrap();
    assert_eq!(
        refusal(folder.path()),
        "`SD`: its U-Net takes 9 channels (an inpainting model), its autoencoder makes 4: birdaug runs models that take \
         latents and text alone"
    );
    fs::write(&config, text.replace("\"cross_attention_dim\": 4", "\"cross_attention_dim\": 8")).unwrap();
    assert_eq!(refusal(folder.path()), "`SD`: its U-Net reads text 8 wide, its text encoder writes 4");
}

#[test]
fn what_is_no_checkpoint_is_said_with_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let missing = "`SD` is no checkpoint in the diffusers layout: `model_index.json`, `unet/config.json`, \
                   `vae/config.json`, `text_encoder/config.json`, `scheduler/scheduler_config.json`, \
                   `tokenizer/vocab.json` and `tokenizer/merges.txt` are missing";
    let help = "\n  help: name a folder that holds `model_index.json`, as diffusers' `save_pretrained` writes it";
    assert_eq!(refusal(folder.path()), format!("{missing}{help}"));
    fs::write(folder.path().join("bird.safetensors"), "x").unwrap();
    let help = "\n  help: to use the checkpoint in one file that lies in it, name the file: `SD/bird.safetensors`";
    assert_eq!(refusal(folder.path()), format!("{missing}{help}"));
    assert_eq!(refusal(&folder.path().join("no")), "`SD`: there is no such checkpoint");
}

#[test]
fn the_digest_is_of_what_determines_images_and_of_nothing_else() {
    let original = Checkpoint::open(&golden("v1")).unwrap().digest();
    let change = |place: &str| {
        let folder = copied();
        let path = folder.path().join(place);
        let mut bytes = fs::read(&path).unwrap_or_default();
        if place.ends_with("safetensors") {
            *bytes.last_mut().unwrap() ^= 1
        } else {
            bytes.push(b' ')
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        Checkpoint::open(folder.path()).unwrap().digest()
    };
    for place in [
        "unet/config.json",
        UNET,
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "scheduler/scheduler_config.json",
        "tokenizer/vocab.json",
        "tokenizer/special_tokens_map.json",
    ] {
        assert_ne!(change(place), original, "{place}");
    }
    for place in ["model_index.json", "README.md", "safety_checker/config.json", "unet/other.bin"] {
        assert_eq!(change(place), original, "{place}");
    }
}
