//! Low-rank adaptation (Hu et al. 2021): reads the files that diffusers, peft and kohya's scripts write, and adds what they
//! hold to a network's weights. Knows no network's layers, only the names of its weights.

use std::collections::BTreeMap;

use tch::{Device, Kind, TchError, Tensor};

use super::{load, lora_names};
use crate::checkpoint::lora::LoraFile;
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
    /// Learned tokens by their words.
    pub tokens: BTreeMap<String, LearnedToken>,
}

/// A token that is not in the vocabulary.
pub struct LearnedToken {
    /// Its embedding, `[1, width]`.
    pub row: Tensor,
    /// The file that it is from.
    pub from: String,
}

impl Lora {
    /// Adds another one's deltas and tokens.
    ///
    /// # Errors
    /// [`Error::Input`] where both have learned the same word, each something else.
    pub fn join(&mut self, more: Lora) -> Result<()> {
        join(&mut self.unet, more.unet);
        join(&mut self.text, more.text);
        for (word, token) in more.tokens {
            if let Some(known) = self.tokens.get(&word).filter(|known| known.row != token.row) {
                return Err(Error::input_help(
                    format!("`{}` and `{}` have both learned the word `{word}`", known.from, token.from),
                    "an image can be made with one of the two at a time",
                ));
            }
            self.tokens.insert(word, token);
        }
        Ok(())
    }

    /// The embeddings of the learned tokens in the order of their words, `[words, width]`.
    ///
    /// # Errors
    /// [`Error::Input`] where they are not all of one width.
    pub fn token_rows(&self) -> Result<Option<Tensor>> {
        if self.tokens.is_empty() {
            return Ok(None);
        }
        let rows: Vec<&Tensor> = self.tokens.values().map(|token| &token.row).collect();
        Tensor::f_cat(&rows, 0).map(Some).map_err(|_| Error::input("the learned tokens are of several base models"))
    }
}

/// Reads a LoRA's file; `scale` is a factor on all of it.
///
/// # Errors
/// As [`read`].
pub fn read_file(file: &LoraFile, scale: f64) -> Result<Lora> {
    read(&file.tensors, file.settings.as_deref(), &file.path.display().to_string(), scale)
}

/// Reads a LoRA; `name` is the file's in messages, `scale` a factor on all of it. A layer's alpha is a tensor of its own, or in
/// `settings`, peft's (JSON); without both it is the rank.
///
/// # Errors
/// [`Error::Input`] that names a tensor which is of no known form, or half a pair, or a setting that is not honoured.
pub fn read(tensors: &Tensors, settings: Option<&str>, name: &str, scale: f64) -> Result<Lora> {
    let settings = Settings::read(settings, name)?;
    let mut parts: BTreeMap<(bool, String), [Option<Tensor>; 3]> = BTreeMap::new();
    let mut lora = Lora::default();
    for (tensor, stored) in tensors {
        if let Some(word) = tensor.strip_prefix("lora_token.") {
            let row = load::tensor(stored, Kind::Float, Device::Cpu).and_then(|row| row.f_reshape([1, -1]));
            let row = row.map_err(|error| Error::input(format!("`{name}`: could not read `{tensor}`: {error}")))?;
            lora.tokens.insert(word.to_string(), LearnedToken { row, from: name.to_string() });
            continue;
        }
        let place = lora_names::place(tensor).ok_or_else(|| unknown(name, tensor))?;
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
        let alpha = match alpha {
            Some(alpha) => Some(alpha.f_double_value(&[]).map_err(|_| {
                Error::input(format!("`{name}`: alpha of `{layer}` has shape {:?}, not one number", alpha.size()))
            })?),
            None => settings.alpha(is_text, &layer)?,
        };
        let factor = match alpha {
            None => 1.0,
            Some(alpha) if settings.says(is_text, "use_rslora") => alpha / (rank as f64).sqrt(),
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
    let has = |parts: &[&str]| parts.iter().any(|part| tensor.contains(part));
    let what = if has(&["magnitude", "dora_scale"]) {
        "DoRA is not supported"
    } else if has(&["hada_", "lokr_", "lora_mid", "oft_", "boft_"]) {
        "only LoRA is read, not LoHa, LoKr and other kinds"
    } else if tensor.starts_with("lora_te2_") || tensor.starts_with("text_encoder_2.") {
        "it is of Stable Diffusion XL, which birdaug does not run"
    } else {
        "no LoRA of diffusers, peft or kohya's scripts has that"
    };
    Error::input(format!("`{name}`: tensor `{tensor}`: {what}"))
}

/// peft's settings of an adapter, `unet.` and `text_encoder.` before each where one file holds both.
struct Settings<'n> {
    fields: serde_json::Value,
    /// The file's, for messages.
    name: &'n str,
}

impl Settings<'_> {
    /// Refuses adapters that are more than LoRA.
    fn read<'n>(text: Option<&str>, name: &'n str) -> Result<Settings<'n>> {
        let fields = text.map_or(Ok(serde_json::Value::Null), serde_json::from_str);
        let fields = fields.map_err(|error| Error::input(format!("`{name}`: peft's settings are no JSON: {error}")))?;
        let settings = Settings { fields, name };
        let refused = |field: &str, value: &str| {
            Err(Error::input(format!("`{name}`: peft's `{field}` is {value}, which is not supported")))
        };
        for is_text in [false, true] {
            for field in ["use_dora", "use_qalora", "use_bdlora"] {
                if settings.says(is_text, field) {
                    return refused(field, "true");
                }
            }
            let text = |field| settings.get(is_text, field).and_then(serde_json::Value::as_str);
            match text("peft_type") {
                None | Some("LORA") => {}
                Some(other) => return refused("peft_type", &format!("`{other}`")),
            }
            // These begin by taking something out of the base's weights.
            let begun = text("init_lora_weights").unwrap_or_default();
            if ["pissa", "olora", "corda", "loftq", "lora_ga"].iter().any(|start| begun.starts_with(start)) {
                return refused("init_lora_weights", &format!("`{begun}`"));
            }
        }
        Ok(settings)
    }

    fn get(&self, is_text: bool, field: &str) -> Option<&serde_json::Value> {
        let own = self.fields.get(format!("{}.{field}", if is_text { "text_encoder" } else { "unet" }));
        own.or_else(|| self.fields.get(field))
    }

    /// As peft's `get_pattern_key`: the first of `alpha_pattern`'s regular expressions that matches the end of the layer's
    /// name, from a dot on.
    fn alpha(&self, is_text: bool, layer: &str) -> Result<Option<f64>> {
        for (key, alpha) in
            self.get(is_text, "alpha_pattern").and_then(serde_json::Value::as_object).into_iter().flatten()
        {
            let pattern = fancy_regex::Regex::new(&format!(r"^(.*\.)?({key})$"));
            // Text encoders were named with and without their first part.
            let matches = |pattern: fancy_regex::Regex| {
                Ok(pattern.is_match(layer)? || pattern.is_match(layer.trim_start_matches("text_model."))?)
            };
            let matches = pattern.and_then(matches).map_err(|error| {
                Error::input(format!("`{}`: peft's `alpha_pattern` has `{key}`: {error}", self.name))
            })?;
            if matches {
                return Ok(alpha.as_f64());
            }
        }
        Ok(self.get(is_text, "lora_alpha").and_then(serde_json::Value::as_f64))
    }

    /// Whether a field is true.
    fn says(&self, is_text: bool, field: &str) -> bool {
        self.get(is_text, field).and_then(serde_json::Value::as_bool) == Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_read_is_named() {
        let said = |tensor: &str| unknown("x.safetensors", tensor).to_string();
        for (tensor, what) in [
            ("unet.a.lora_magnitude_vector", "DoRA is not supported"),
            ("lora_unet_down_blocks_0.dora_scale", "DoRA is not supported"),
            ("lora_unet_down_blocks_0.hada_w1_a", "only LoRA is read, not LoHa, LoKr and other kinds"),
            (
                "lora_te2_text_model_encoder_layers_0_mlp_fc1.alpha",
                "it is of Stable Diffusion XL, which birdaug does not run",
            ),
            ("unet.a.weight", "no LoRA of diffusers, peft or kohya's scripts has that"),
        ] {
            assert_eq!(said(tensor), format!("`x.safetensors`: tensor `{tensor}`: {what}"));
        }
    }

    #[test]
    fn settings_that_are_more_than_a_lora_are_refused() {
        for (settings, problem) in [
            (r#"{"unet.use_dora": true}"#, "`use_dora` is true"),
            (r#"{"use_dora": true}"#, "`use_dora` is true"),
            (r#"{"peft_type": "LOHA"}"#, "`peft_type` is `LOHA`"),
            (r#"{"text_encoder.init_lora_weights": "pissa_niter_4"}"#, "`init_lora_weights` is `pissa_niter_4`"),
        ] {
            let error = read(&Tensors::new(), Some(settings), "bird", 1.0).err().unwrap().to_string();
            assert_eq!(error, format!("`bird`: peft's {problem}, which is not supported"));
        }
        let error = read(&Tensors::new(), Some("{"), "bird", 1.0).err().unwrap().to_string();
        assert_eq!(error, "`bird`: peft's settings are no JSON: EOF while parsing an object at line 1 column 1");
    }

    #[test]
    fn alpha_is_the_first_that_matches_as_peft_looks_for_it() {
        let settings = r#"{"lora_alpha": 8, "alpha_pattern": {
            "^down_blocks.0.attentions.0.proj_in": 2, "attn1.to_q": 3, "up_blocks.*to_k": 4, "to_v": 5,
            "encoder.layers.(0|1).self_attn.q_proj": 6}}"#;
        let settings = Settings::read(Some(settings), "bird").unwrap();
        for (is_text, layer, alpha) in [
            (false, "down_blocks.0.attentions.0.proj_in", 2.0),
            (false, "mid_block.down_blocks.0.attentions.0.proj_in", 8.0),
            (false, "mid_block.attentions.0.transformer_blocks.0.attn1.to_q", 3.0),
            (false, "mid_block.attentions.0.transformer_blocks.0.attn2.to_q", 8.0),
            (false, "up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k", 4.0),
            (false, "not_to_v", 8.0),
            (true, "text_model.encoder.layers.1.self_attn.q_proj", 6.0),
            (true, "text_model.encoder.layers.2.self_attn.q_proj", 8.0),
        ] {
            assert_eq!(settings.alpha(is_text, layer).unwrap(), Some(alpha), "{layer}");
        }
        let settings = Settings::read(Some(r#"{"unet.alpha_pattern": {"to_(q": 3}}"#), "bird").unwrap();
        assert_eq!(settings.alpha(true, "to_q").unwrap(), None);
        let error = settings.alpha(false, "to_q").unwrap_err().to_string();
        assert!(error.starts_with("`bird`: peft's `alpha_pattern` has `to_(q`: "), "{error}");
    }
}
