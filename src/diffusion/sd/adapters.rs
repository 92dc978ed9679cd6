//! Low-rank adapters in training (Hu et al. 2021): a pair of fp32 maps beside each linear map of the attentions, all in one
//! flat buffer. Knows how checkpoints name their attentions, no network and no loss.

use std::collections::BTreeMap;

use tch::{Device, TchError, Tensor};

use super::layers::Out;
use crate::checkpoint::tensors::Tensors;
use crate::error::Result;
use crate::nn::TensorContext;
use crate::nn::params::{Init, Layout, Param};
use crate::nn::products;
use crate::nn::weights::{self, Named};

/// Which linear maps of the U-Net, and of the text encoder, have adapters.
const UNET: [&str; 4] = [".to_q.weight", ".to_k.weight", ".to_v.weight", ".to_out.0.weight"];
const TEXT: [&str; 4] =
    [".self_attn.q_proj.weight", ".self_attn.k_proj.weight", ".self_attn.v_proj.weight", ".self_attn.out_proj.weight"];

/// `up(down(x))`, added to a linear map's output; alpha is the rank, hence no scale.
pub struct Adapter {
    /// `[rank, inputs]`, fp32.
    down: Tensor,
    /// `[outputs, rank]`, fp32.
    up: Tensor,
}

impl Adapter {
    /// `[.., inputs]` to `[.., outputs]`, computed in the kind of `x`.
    pub fn forward(&self, x: &Tensor) -> Out {
        let inner = products::linear(x, &self.down.f_to_kind(x.kind())?, None)?;
        products::linear(&inner, &self.up.f_to_kind(x.kind())?, None)
    }
}

/// The adapters of one network by the names of their layers.
#[derive(Default)]
pub struct Adapters(BTreeMap<String, Adapter>);

impl Adapters {
    /// The adapter of a layer, sharing its numbers.
    pub fn of(&self, layer: &str) -> Option<Adapter> {
        self.0.get(layer).map(|found| Adapter { down: found.down.shallow_clone(), up: found.up.shallow_clone() })
    }
}

/// All adapters of a fit.
pub struct Trained {
    layout: Layout,
    params: Vec<Param>,
    /// The numbers that are optimised; changed in place, which the adapters see.
    pub flat: Tensor,
    /// What backward passes have added up since [`Trained::gradient`] was last asked.
    leaves: Vec<Tensor>,
    pub unet: Adapters,
    pub text: Adapters,
    tokens: Option<NewTokens>,
}

/// Tokens that are learned: what is optimised is added to the embeddings that they begin as.
struct NewTokens {
    words: Vec<String>,
    start: Tensor,
    more: Tensor,
}

/// The name of what is added to tokens' embeddings, in the layout.
const TOKENS: &str = "lora_token";

impl Trained {
    /// Adapters of this rank for all attentions of the U-Net, and of the text encoder if it is given: `down` normal of
    /// deviation 1 / rank out of the seed's streams, `up` zero, so that nothing is added at first. Of rank 0 there are none.
    /// `tokens`: words that are learned, and the embeddings `[words, width]` that they begin as.
    ///
    /// # Errors
    /// [`crate::error::Error::Tensor`] where libtorch refuses.
    pub fn new(
        unet: &Tensors,
        text: Option<&Tensors>,
        rank: usize,
        tokens: Option<(Vec<String>, Tensor)>,
        seed: u64,
        device: Device,
    ) -> Result<Trained> {
        let mut layout = Layout::default();
        let mut params = Vec::new();
        let mut layers: Vec<(bool, String)> = Vec::new();
        let networks = [("unet", Some(unet), UNET), ("text_encoder", text, TEXT)];
        for (network, tensors, endings) in networks.into_iter().filter(|_| rank > 0) {
            let found = tensors.into_iter().flatten().filter(|(name, _)| endings.iter().any(|end| name.ends_with(end)));
            for (name, stored) in found {
                let layer = name.trim_end_matches(".weight");
                let (rank, outputs, inputs) = (rank as i64, stored.shape[0] as i64, stored.shape[1] as i64);
                let init = Init::Normal(1.0 / rank as f64);
                params.push(layout.add(format!("{network}.{layer}.lora_A.weight"), &[rank, inputs], init));
                params.push(layout.add(format!("{network}.{layer}.lora_B.weight"), &[outputs, rank], Init::Zeros));
                layers.push((network == "unet", layer.to_string()));
            }
        }
        if let Some((_, start)) = &tokens {
            params.push(layout.add(TOKENS.to_string(), &start.size(), Init::Zeros));
        }
        let flat = layout.initial(seed).f_to_device(device).doing("move the LoRA to its device")?;
        let leaves = leaves(&layout, &params, &flat).doing("lay out the LoRA")?;
        let (mut of_unet, mut of_text) = (Adapters::default(), Adapters::default());
        for ((is_unet, layer), pair) in layers.into_iter().zip(leaves.chunks_exact(2)) {
            let network = if is_unet { &mut of_unet } else { &mut of_text };
            network.0.insert(layer, Adapter { down: pair[0].shallow_clone(), up: pair[1].shallow_clone() });
        }
        let more = leaves.last().map(Tensor::shallow_clone);
        let tokens = tokens.zip(more).map(|((words, start), more)| NewTokens { words, start, more });
        Ok(Trained { layout, params, flat, leaves, unet: of_unet, text: of_text, tokens })
    }

    /// The embeddings that learned tokens begin as, and what is added to them.
    pub fn tokens(&self) -> Option<(&Tensor, &Tensor)> {
        self.tokens.as_ref().map(|tokens| (&tokens.start, &tokens.more))
    }

    /// Puts other numbers in the place of the adapters' own, as [`Trained::flat`] holds them.
    ///
    /// # Errors
    /// What libtorch says where the length is another.
    pub fn set(&mut self, flat: &Tensor) -> std::result::Result<(), TchError> {
        tch::no_grad(|| self.flat.f_copy_(flat))
    }

    /// Puts numbers by name in the place of the adapters' own.
    #[cfg(test)]
    pub fn fill(&mut self, named: &Named) -> Result<()> {
        self.set(&self.layout.flat(named, "the test")?).doing("fill adapters")
    }

    /// The gradients that backward passes have added up, as flat as the numbers; they begin at zero again.
    ///
    /// # Errors
    /// What libtorch says.
    pub fn gradient(&mut self) -> std::result::Result<Tensor, TchError> {
        let flat = self.flat.f_zeros_like()?;
        tch::no_grad(|| {
            let places = self.layout.views(&flat)?;
            for (leaf, param) in self.leaves.iter_mut().zip(&self.params) {
                let gradient = leaf.f_grad()?;
                if gradient.defined() {
                    places[*param].shallow_clone().f_copy_(&gradient)?;
                }
                leaf.zero_grad();
            }
            Ok(flat)
        })
    }

    /// Numbers as flat as the adapters' by the names of diffusers' files.
    ///
    /// # Errors
    /// What libtorch says where the length is another.
    pub fn named(&self, flat: &Tensor) -> std::result::Result<Named, TchError> {
        self.layout.named(flat)
    }

    /// The adapters as the bytes of a LoRA's file in diffusers' format; alpha is the rank, as readers take it to be. Learned tokens
    /// are whole embeddings `lora_token.WORD` `[1, width]` beside them, which diffusers passes over.
    ///
    /// # Errors
    /// [`crate::error::Error::Tensor`] where libtorch refuses.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut named = self.named(&self.flat).doing("lay out the LoRA")?;
        if let (Some(more), Some(NewTokens { words, start, .. })) = (named.remove(TOKENS), &self.tokens) {
            let rows = start.f_to_device(more.device()).and_then(|start| start.f_add(&more)).doing("lay out tokens")?;
            for (word, row) in words.iter().zip(rows.f_split(1, 0).doing("lay out tokens")?) {
                named.insert(format!("{TOKENS}.{word}"), row);
            }
        }
        weights::to_bytes(&named)
    }
}

/// Tensors that share the flat buffer's numbers and gather gradients of their own.
fn leaves(layout: &Layout, params: &[Param], flat: &Tensor) -> std::result::Result<Vec<Tensor>, TchError> {
    let views = layout.views(flat)?;
    params.iter().map(|param| Ok(views[*param].f_detach()?.set_requires_grad(true))).collect()
}
