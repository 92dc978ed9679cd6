//! Tensor names of today's diffusers for those of its older versions, and what is passed over. Knows no files.

use super::Component;
use super::tensors::Stored;

/// What becomes of a tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is nothing that a network here needs.
    Passed,
    /// It belongs to a network by this name; where there are several, its rows are cut into so many equal parts.
    Named(Component, Vec<String>),
    /// Nobody knows it.
    Unknown,
}

/// What becomes of a tensor in a component's own file.
pub fn fate(component: Component, name: &str) -> Fate {
    match component {
        Component::Unet => Fate::Named(component, vec![name.to_string()]),
        Component::Vae => Fate::Named(component, vec![attention(name)]),
        Component::TextEncoder => text(name).map_or(Fate::Passed, |name| Fate::Named(component, vec![name])),
    }
}

/// The middle blocks' attention was four 1x1 convolutions with names of their own before diffusers 0.17.
fn attention(name: &str) -> String {
    let Some((block, rest)) = name.split_once(".attentions.0.") else { return name.to_string() };
    let Some((layer, kind)) = rest.rsplit_once('.') else { return name.to_string() };
    let layer = match layer {
        "query" => "to_q",
        "key" => "to_k",
        "value" => "to_v",
        "proj_attn" => "to_out.0",
        other => other,
    };
    format!("{block}.attentions.0.{layer}.{kind}")
}

/// transformers 5 leaves `text_model.` out; whole CLIPs hold a picture half and projections, which no prompt needs.
fn text(name: &str) -> Option<String> {
    const OTHERS: [&str; 4] = ["vision_model.", "visual_projection.", "text_projection.", "logit_scale"];
    if name.ends_with("embeddings.position_ids") || OTHERS.iter().any(|other| name.starts_with(other)) {
        None
    } else if name.starts_with("text_model.") {
        Some(name.to_string())
    } else {
        Some(format!("text_model.{name}"))
    }
}

/// A linear layer's weights that were written as a 1x1 convolution's, as linear ones: the bytes are the same.
pub fn flatten(component: Component, name: &str, tensor: &mut Stored) {
    if component == Component::Vae && name.contains(".attentions.0.to_") && tensor.shape.ends_with(&[1, 1]) {
        tensor.shape.truncate(2);
    }
}

/// The rows of `part` among `parts` equal ones; `None` if the rows do not fall into so many.
pub fn rows(tensor: &Stored, part: usize, parts: usize) -> Option<Stored> {
    if parts == 1 {
        return Some(tensor.clone()); // a number has no rows
    }
    let rows = *tensor.shape.first()?;
    if !rows.is_multiple_of(parts) {
        return None;
    }
    let mut cut = tensor.clone();
    cut.shape[0] = rows / parts;
    cut.start += part * cut.shape.iter().product::<usize>() * cut.dtype.width();
    Some(cut)
}
