//! Low-rank adaptation (Hu et al. 2021): reads the files that diffusers and peft write, and adds what they hold to a
//! network's weights. Knows no network's layers, only the names of its weights.

use std::collections::BTreeMap;

use tch::{Device, Kind, TchError, Tensor};

use super::load;
use crate::checkpoint::tensors::Tensors;
use crate::error::{Error, Result};

/// What is added to weights, by their names.
pub type Patches = BTreeMap<String, Vec<Delta>>;

/// `scale * up * down`, added to one weight.
#[derive(Debug)]
pub struct Delta {
    /// `[rank, inputs]`, or `[rank, inputs, side, side]`; fp32, on the CPU.
    pub down: Tensor,
    /// `[outputs, rank]`, or `[outputs, rank, 1, 1]`.
    pub up: Tensor,
    pub scale: f64,
    /// The file that it is from.
    pub from: String,
}

impl Delta {
    /// The sum with a weight of that shape, in fp32.
    ///
    /// # Errors
    /// What libtorch says where the shapes do not fit.
    pub fn added(&self, weight: &Tensor) -> std::result::Result<Tensor, TchError> {
        let (up, down) = (self.up.f_flatten(1, -1)?, self.down.f_flatten(1, -1)?);
        let product = up.f_matmul(&down)?.f_view(weight.size().as_slice())?;
        weight.f_to_kind(Kind::Float)?.f_add(&product.f_mul_scalar(self.scale)?)
    }
}

/// A LoRA's deltas for the two networks that can have one.
#[derive(Default)]
pub struct Lora {
    pub unet: Patches,
    pub text: Patches,
    /// Embeddings `[1, width]` of learned tokens, by their words.
    pub tokens: BTreeMap<String, Tensor>,
}

impl Lora {
    /// Adds another one's deltas and tokens.
    pub fn join(&mut self, more: Lora) {
        join(&mut self.unet, more.unet);
        join(&mut self.text, more.text);
        self.tokens.extend(more.tokens);
    }

    /// The embeddings of the learned tokens in the order of their words, `[words, width]`.
    ///
    /// # Errors
    /// [`Error::Input`] where they are not all of one width.
    pub fn token_rows(&self) -> Result<Option<Tensor>> {
        if self.tokens.is_empty() {
            return Ok(None);
        }
        let rows: Vec<&Tensor> = self.tokens.values().collect();
        Tensor::f_cat(&rows, 0).map(Some).map_err(|_| Error::input("the learned tokens are of several base models"))
    }
}

/// Half a delta, as its tensor's name tells.
struct Place {
    is_text: bool,
    /// The layer: its weight is `layer.weight`.
    layer: String,
    part: Part,
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Down,
    Up,
    Alpha,
}

/// Reads a LoRA; `name` is the file's in messages, `scale` a factor on all of it. `metadata` is the file's own: peft's
/// `lora_adapter_metadata`, if it has one, says `lora_alpha` and `r`; without, alpha is the rank.
///
/// # Errors
/// [`Error::Input`] that names a tensor which is of no known form, or half a pair.
pub fn read(tensors: &Tensors, metadata: &BTreeMap<String, String>, name: &str, scale: f64) -> Result<Lora> {
    let settings = Settings::of(metadata, name)?;
    let mut parts: BTreeMap<(bool, String), [Option<Tensor>; 3]> = BTreeMap::new();
    let mut lora = Lora::default();
    for (tensor, stored) in tensors {
        if let Some(word) = tensor.strip_prefix("lora_token.") {
            let row = load::tensor(stored, Kind::Float, Device::Cpu).and_then(|row| row.f_reshape([1, -1]));
            let row = row.map_err(|error| Error::input(format!("`{name}`: could not read `{tensor}`: {error}")))?;
            lora.tokens.insert(word.to_string(), row);
            continue;
        }
        let place = place(tensor).ok_or_else(|| unknown(name, tensor))?;
        let value = load::tensor(stored, Kind::Float, Device::Cpu)
            .map_err(|error| Error::input(format!("`{name}`: could not read `{tensor}`: {error}")))?;
        parts.entry((place.is_text, place.layer)).or_default()[place.part as usize] = Some(value);
    }
    for ((is_text, layer), [down, up, alpha]) in parts {
        let (Some(down), Some(up)) = (down, up) else {
            return Err(Error::input_help(
                format!("`{name}`: `{layer}` has half of a pair"),
                "the file is damaged, or not fetched whole",
            ));
        };
        let rank = down.size()[0];
        if up.dim() < 2 || up.size()[1] != rank {
            let (up, down) = (up.size(), down.size());
            return Err(Error::input(format!("`{name}`: `{layer}` has {up:?} after {down:?}, which is no pair")));
        }
        let alpha = alpha.map(|alpha| alpha.double_value(&[])).or_else(|| settings.alpha(is_text, &layer));
        let factor = match alpha {
            None => 1.0,
            Some(alpha) if settings.rank_stabilized(is_text) => alpha / (rank as f64).sqrt(),
            Some(alpha) => alpha / rank as f64,
        };
        let delta = Delta { down, up, scale: scale * factor, from: name.to_string() };
        let patches = if is_text { &mut lora.text } else { &mut lora.unet };
        patches.entry(format!("{layer}.weight")).or_default().push(delta);
    }
    Ok(lora)
}

/// Adds the deltas of one LoRA to those of others.
fn join(all: &mut Patches, more: Patches) {
    for (name, deltas) in more {
        all.entry(name).or_default().extend(deltas);
    }
}

fn unknown(name: &str, tensor: &str) -> Error {
    if tensor.starts_with("lora_unet_") || tensor.starts_with("lora_te") {
        return Error::input_help(
            format!("`{name}` is a LoRA of kohya's layout (`{tensor}`), which is not read"),
            "load it in diffusers and save it again: `pipe.load_lora_weights(FILE)`, then `pipe.save_lora_weights(DIR, ...)`",
        );
    }
    let what =
        if tensor.contains("magnitude") { "DoRA is not supported" } else { "no LoRA of diffusers or peft has that" };
    Error::input(format!("`{name}`: tensor `{tensor}`: {what}"))
}

/// What a tensor's name says, in any of the forms that diffusers has written since 0.14.
fn place(tensor: &str) -> Option<Place> {
    let name = tensor.strip_prefix("base_model.model.").unwrap_or(tensor);
    let (is_text, name) = match (name.strip_prefix("unet."), name.strip_prefix("text_encoder.")) {
        (Some(name), _) => (false, name),
        (_, Some(name)) => (true, name),
        _ => (false, name),
    };
    const ENDINGS: [(&str, Part); 10] = [
        (".lora_A.weight", Part::Down),
        (".lora_B.weight", Part::Up),
        (".lora_A.default.weight", Part::Down),
        (".lora_B.default.weight", Part::Up),
        (".lora.down.weight", Part::Down),
        (".lora.up.weight", Part::Up),
        (".lora_linear_layer.down.weight", Part::Down),
        (".lora_linear_layer.up.weight", Part::Up),
        (".lora.alpha", Part::Alpha),
        (".alpha", Part::Alpha),
    ];
    let ended = ENDINGS.iter().find_map(|(ending, part)| Some((name.strip_suffix(ending)?.to_string(), *part)));
    let (layer, part) = ended.or_else(|| {
        // Attention processors: `attn1.processor.to_q_lora.down.weight`, and `to_out_lora` for `to_out.0`.
        let (module, rest) = name.split_once(".processor.")?;
        let (map, rest) = rest.split_once("_lora.")?;
        let map = if map == "to_out" { "to_out.0" } else { map };
        let part = match rest {
            "down.weight" => Part::Down,
            "up.weight" => Part::Up,
            "alpha" | "alpha.weight" => Part::Alpha,
            _ => return None,
        };
        Some((format!("{module}.{map}"), part))
    })?;
    let layer = layer.replace(".to_out.lora", ".to_out.0");
    let layer = if is_text && !layer.starts_with("text_model.") { format!("text_model.{layer}") } else { layer };
    Some(Place { is_text, layer, part })
}

/// peft's settings of an adapter.
struct Settings(serde_json::Value);

impl Settings {
    fn of(metadata: &BTreeMap<String, String>, name: &str) -> Result<Settings> {
        let Some(text) = metadata.get("lora_adapter_metadata") else { return Ok(Settings(serde_json::Value::Null)) };
        let value: serde_json::Value = serde_json::from_str(text)
            .map_err(|error| Error::input(format!("`{name}`: its `lora_adapter_metadata` is no JSON: {error}")))?;
        let settings = Settings(value);
        for is_text in [false, true] {
            if settings.get(is_text, "use_dora").and_then(serde_json::Value::as_bool) == Some(true) {
                return Err(Error::input(format!("`{name}` is a DoRA (`use_dora`), which is not supported")));
            }
        }
        Ok(settings)
    }

    fn get(&self, is_text: bool, field: &str) -> Option<&serde_json::Value> {
        self.0.get(format!("{}.{field}", if is_text { "text_encoder" } else { "unet" }))
    }

    fn alpha(&self, is_text: bool, layer: &str) -> Option<f64> {
        let pattern = self.get(is_text, "alpha_pattern").and_then(serde_json::Value::as_object);
        let own = pattern.and_then(|pattern| {
            pattern.iter().find(|(key, _)| layer == *key || layer.ends_with(&format!(".{key}"))).map(|(_, alpha)| alpha)
        });
        own.or_else(|| self.get(is_text, "lora_alpha")).and_then(serde_json::Value::as_f64)
    }

    fn rank_stabilized(&self, is_text: bool) -> bool {
        self.get(is_text, "use_rslora").and_then(serde_json::Value::as_bool) == Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_name_leads_to_its_layer() {
        let q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1";
        let found = |name: &str| place(name).map(|place| (place.is_text, place.layer, place.part as usize));
        for (name, layer, part) in [
            (format!("unet.{q}.to_q.lora_A.weight"), format!("{q}.to_q"), 0),
            (format!("base_model.model.{q}.to_q.lora_B.default.weight"), format!("{q}.to_q"), 1),
            (format!("unet.{q}.to_out.0.lora.down.weight"), format!("{q}.to_out.0"), 0),
            (format!("unet.{q}.processor.to_out_lora.up.weight"), format!("{q}.to_out.0"), 1),
            (format!("{q}.processor.to_k_lora.down.weight"), format!("{q}.to_k"), 0),
            (format!("unet.{q}.to_v.alpha"), format!("{q}.to_v"), 2),
        ] {
            assert_eq!(found(&name), Some((false, layer, part)), "{name}");
        }
        let text = "text_model.encoder.layers.0.self_attn.q_proj";
        for name in [
            format!("text_encoder.{text}.lora_A.weight"),
            format!("text_encoder.{}.lora_linear_layer.down.weight", text.trim_start_matches("text_model.")),
        ] {
            assert_eq!(found(&name), Some((true, text.to_string(), 0)), "{name}");
        }
        assert_eq!(found("unet.conv_in.weight"), None);
    }

    #[test]
    fn what_is_not_read_is_named_with_the_way_out() {
        let kohya = unknown("x.safetensors", "lora_unet_down_blocks_0.lora_down.weight").to_string();
        assert!(kohya.starts_with("`x.safetensors` is a LoRA of kohya's layout"), "{kohya}");
        assert!(unknown("x", "unet.a.lora_magnitude_vector").to_string().contains("DoRA is not supported"));
    }
}
