//! `text_encoder/config.json` of transformers' `CLIPTextModel`, as each of its versions writes it: a field is honoured
//! or refused by name. Knows no tensors.

use std::path::Path;

use serde_json::{Value, json};

use super::config::{Activation, TextEncoderConfig};
use super::fields::Fields;
use crate::error::Result;

/// What transformers writes for every model, and what concerns training, generated text or the program that reads the
/// file: none of it changes what a text encoder computes.
const ANY_MODEL: [&str; 59] = [
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "chunk_size_feed_forward",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "gradient_checkpointing",
    "id2label",
    "initializer_factor",
    "initializer_range",
    "is_encoder_decoder",
    "label2id",
    "length_penalty",
    "logit_scale_init_value",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "pad_token_id",
    "prefix",
    "problem_type",
    "projection_dim",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tie_word_embeddings",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "typical_p",
    "use_bfloat16",
    "use_cache",
    "use_return_dict",
    "vision_config_dict",
];

/// Reads the text of `path`.
///
/// # Errors
/// [`crate::error::Error::Input`] naming file and field of what cannot be honoured.
pub fn read(path: &Path, text: &str) -> Result<TextEncoderConfig> {
    let mut f = Fields::parse(path, text)?;
    if let Some(kind) = f.take("model_type").filter(|kind| kind != "clip_text_model") {
        if kind != "clip" {
            return Err(f.refuse("model_type", &kind, "only \"clip_text_model\""));
        }
        f = text_half(f)?;
    }
    if let Some(list) = f.take("architectures")
        && !list.as_array().is_some_and(|list| list.iter().all(|one| ARCHITECTURES.iter().any(|known| one == known)))
    {
        return Err(f.refuse("architectures", &list, "only [\"CLIPTextModel\"]"));
    }
    let activation = match f.take("hidden_act") {
        None => Activation::QuickGelu,
        Some(Value::String(name)) if name == "quick_gelu" => Activation::QuickGelu,
        Some(Value::String(name)) if name == "gelu" => Activation::Gelu,
        Some(other) => return Err(f.refuse("hidden_act", &other, "\"quick_gelu\" or \"gelu\"")),
    };
    for name in ["attention_dropout", "dropout"] {
        f.only(name, &[json!(0.0)])?;
    }
    for name in ["is_decoder", "add_cross_attention", "use_attention_mask"] {
        f.only(name, &[json!(false)])?;
    }
    f.only("pruned_heads", &[json!({})])?;
    f.only("model_type", &[json!("clip_text_model")])?;
    f.pass(&ANY_MODEL);
    let config = TextEncoderConfig {
        vocabulary: f.count("vocab_size", 49408)?,
        positions: f.count("max_position_embeddings", 77)?,
        width: f.count("hidden_size", 512)?,
        inner: f.count("intermediate_size", 2048)?,
        layers: f.count("num_hidden_layers", 12)?,
        heads: f.count("num_attention_heads", 8)?,
        activation,
        epsilon: f.number("layer_norm_eps", 1e-5)?,
    };
    if !config.width.is_multiple_of(config.heads) {
        return Err(f.wrong(&format!("{} channels do not fall into {} attention heads", config.width, config.heads)));
    }
    f.finish("a `CLIPTextModel`")?;
    Ok(config)
}

/// Models whose text half is the one birdaug runs.
const ARCHITECTURES: [&str; 3] = ["CLIPTextModel", "CLIPTextModelWithProjection", "CLIPModel"];

/// The text half of a whole CLIP's configuration: `text_config`, over which `text_config_dict` goes.
fn text_half(mut whole: Fields) -> Result<Fields> {
    let mut fields = serde_json::Map::new();
    for name in ["text_config", "text_config_dict"] {
        match whole.take(name) {
            None => {}
            Some(Value::Object(inner)) => fields.extend(inner),
            Some(other) => return Err(whole.refuse(name, &other, "an object")),
        }
    }
    Ok(whole.within(fields))
}
