//! Names of a LoRA's tensors, in every form that diffusers, peft and kohya's scripts have written. Knows no tensors.

/// Part of a layer's delta, as its tensor's name tells.
#[derive(Debug, PartialEq)]
pub struct Place {
    /// Of the text encoder, not of the U-Net.
    pub is_text: bool,
    /// The layer: its weight is `layer.weight`.
    pub layer: String,
    pub part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Part {
    Down,
    Up,
    Alpha,
}

const ENDINGS: [(&str, Part); 12] = [
    (".lora_A.weight", Part::Down),
    (".lora_B.weight", Part::Up),
    (".lora_A.default.weight", Part::Down),
    (".lora_B.default.weight", Part::Up),
    (".lora.down.weight", Part::Down),
    (".lora.up.weight", Part::Up),
    (".lora_linear_layer.down.weight", Part::Down),
    (".lora_linear_layer.up.weight", Part::Up),
    (".lora_down.weight", Part::Down),
    (".lora_up.weight", Part::Up),
    (".lora.alpha", Part::Alpha),
    (".alpha", Part::Alpha),
];

/// What a tensor's name says, if it is of a known form.
pub fn place(tensor: &str) -> Option<Place> {
    let name = tensor.strip_prefix("base_model.model.").unwrap_or(tensor);
    if name.starts_with("lora_te2_") || name.starts_with("text_encoder_2.") {
        return None; // XL's second text encoder
    }
    let flat = |start: &str, is_text| Some((is_text, unflattened(name.strip_prefix(start)?)));
    let (is_text, name) = flat("lora_unet_", false)
        .or_else(|| flat("lora_te_", true))
        .or_else(|| flat("lora_te1_", true))
        .or_else(|| Some((false, name.strip_prefix("unet.")?.to_string())))
        .or_else(|| Some((true, name.strip_prefix("text_encoder.")?.to_string())))
        .unwrap_or_else(|| (name.starts_with("text_model."), name.to_string()));
    let ended = ENDINGS.iter().find_map(|(ending, part)| Some((name.strip_suffix(ending)?.to_string(), *part)));
    let (layer, part) = ended.or_else(|| processor(&name))?;
    let layer = layer.replace(".to_out.lora", ".to_out.0");
    let layer = if is_text && !layer.starts_with("text_model.") { format!("text_model.{layer}") } else { layer };
    Some(Place { is_text, layer, part })
}

/// Attention processors: `attn1.processor.to_q_lora.down.weight`, and `to_out_lora` for `to_out.0`.
fn processor(name: &str) -> Option<(String, Part)> {
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
}

/// Parts of layers' names with `_` in them, which kohya's scripts also write for the dots between parts.
const JOINED: [&str; 23] = [
    "down_blocks",
    "up_blocks",
    "mid_block",
    "transformer_blocks",
    "to_q",
    "to_k",
    "to_v",
    "to_out",
    "proj_in",
    "proj_out",
    "conv_in",
    "conv_out",
    "conv_shortcut",
    "time_emb_proj",
    "time_embedding",
    "linear_1",
    "linear_2",
    "text_model",
    "self_attn",
    "q_proj",
    "k_proj",
    "v_proj",
    "out_proj",
];

/// `down_blocks_0_attentions_0_proj_in.alpha` as `down_blocks.0.attentions.0.proj_in.alpha`.
fn unflattened(name: &str) -> String {
    let (layer, ending) = name.split_once('.').unwrap_or((name, ""));
    let mut dotted = format!(".{}.", layer.replace('_', "."));
    for joined in JOINED {
        dotted = dotted.replace(&format!(".{}.", joined.replace('_', ".")), &format!(".{joined}."));
    }
    format!("{}{ending}", dotted.trim_start_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_name_leads_to_its_layer() {
        let q = "down_blocks.0.attentions.0.transformer_blocks.0.attn1";
        let flat = "down_blocks_0_attentions_0_transformer_blocks_0_attn1";
        for (name, layer, part) in [
            (format!("unet.{q}.to_q.lora_A.weight"), format!("{q}.to_q"), Part::Down),
            (format!("base_model.model.{q}.to_q.lora_B.default.weight"), format!("{q}.to_q"), Part::Up),
            (format!("unet.{q}.to_out.0.lora.down.weight"), format!("{q}.to_out.0"), Part::Down),
            (format!("unet.{q}.processor.to_out_lora.up.weight"), format!("{q}.to_out.0"), Part::Up),
            (format!("{q}.processor.to_k_lora.down.weight"), format!("{q}.to_k"), Part::Down),
            (format!("unet.{q}.to_v.alpha"), format!("{q}.to_v"), Part::Alpha),
            (format!("lora_unet_{flat}_to_out_0.lora_down.weight"), format!("{q}.to_out.0"), Part::Down),
            (format!("lora_unet_{flat}_to_q.lora_up.weight"), format!("{q}.to_q"), Part::Up),
        ] {
            assert_eq!(place(&name), Some(Place { is_text: false, layer, part }), "{name}");
        }
        let text = "text_model.encoder.layers.0.self_attn.q_proj";
        for name in [
            format!("text_encoder.{text}.lora_A.weight"),
            format!("text_encoder.{}.lora_linear_layer.down.weight", text.trim_start_matches("text_model.")),
            format!("base_model.model.{text}.lora_A.weight"),
            "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight".to_string(),
        ] {
            let layer = text.to_string();
            assert_eq!(place(&name), Some(Place { is_text: true, layer, part: Part::Down }), "{name}");
        }
        assert_eq!(place("unet.conv_in.weight"), None);
        assert_eq!(place("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight"), None);
    }

    #[test]
    fn flattened_names_are_told_apart() {
        for name in [
            "conv_in",
            "time_embedding.linear_1",
            "down_blocks.1.resnets.0.time_emb_proj",
            "down_blocks.1.resnets.0.conv_shortcut",
            "down_blocks.0.downsamplers.0.conv",
            "mid_block.attentions.0.proj_out",
            "up_blocks.3.attentions.2.transformer_blocks.0.ff.net.0.proj",
            "up_blocks.3.attentions.2.transformer_blocks.0.attn2.to_out.0",
            "text_model.encoder.layers.11.self_attn.out_proj",
            "text_model.encoder.layers.11.mlp.fc1",
        ] {
            assert_eq!(unflattened(&format!("{}.alpha", name.replace('.', "_"))), format!("{name}.alpha"));
        }
    }
}
