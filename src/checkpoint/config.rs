//! What a diffusers checkpoint says of its networks, as plain values. Knows no tensors.

/// Activation of a transformer's feed-forward layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x * sigmoid(1.702 x)`, of OpenAI's CLIP.
    QuickGelu,
    /// The exact one, by the error function.
    Gelu,
}

/// A CLIP text encoder (Radford et al. 2021), `text_encoder/config.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct TextEncoderConfig {
    pub vocabulary: usize,
    /// Tokens of a prompt, padded: 77.
    pub positions: usize,
    /// Channels of a token.
    pub width: usize,
    /// Channels inside a feed-forward layer.
    pub inner: usize,
    pub layers: usize,
    pub heads: usize,
    pub activation: Activation,
    /// Epsilon of the layer norms.
    pub epsilon: f64,
}

/// A U-Net conditioned on text (Rombach et al. 2022), `unet/config.json` of `UNet2DConditionModel`.
#[derive(Debug, Clone, PartialEq)]
pub struct UnetConfig {
    pub in_channels: usize,
    pub out_channels: usize,
    /// Side of the latents that it was trained on.
    pub sample_size: usize,
    /// Noisiest step comes in as it is, or as `2 x - 1`.
    pub center_input: bool,
    /// Down the left side.
    pub levels: Vec<UnetLevel>,
    /// Whether the up blocks attend, from the coarsest to the finest.
    pub up_attends: Vec<bool>,
    /// Whether there is a middle block.
    pub middle: bool,
    /// Channels of a text token.
    pub text_width: usize,
    pub norm_groups: usize,
    /// Epsilon of the residual blocks' group norms (those of attention blocks have 1e-6).
    pub norm_epsilon: f64,
    /// Attention blocks project by linear layers, not by 1x1 convolutions.
    pub linear_projection: bool,
    /// Attention scores are computed in fp32 whatever the precision.
    pub upcast_attention: bool,
    /// Cosine before sine in the timestep's embedding.
    pub flip_sin_to_cos: bool,
    /// Shift of the timestep embedding's frequencies: 0, or 1 as DDPM's.
    pub frequency_shift: f64,
    pub downsample_padding: i64,
    /// The middle block's residual outputs are divided by it.
    pub middle_scale: f64,
    /// Channels of the guidance's embedding, where the network is told how strong the guidance is (Luo et al. 2023).
    pub guidance_width: Option<usize>,
}

/// One level of a U-Net.
#[derive(Debug, Clone, PartialEq)]
pub struct UnetLevel {
    pub channels: usize,
    /// Residual blocks on the way down; one more on the way up.
    pub depth: usize,
    /// `CrossAttnDownBlock2D`, not `DownBlock2D`.
    pub attends: bool,
    /// Attention heads, on both sides.
    pub heads: usize,
    /// Transformer blocks in each attention block.
    pub transformers: usize,
    /// No self-attention: both attentions look at the text.
    pub only_cross_attention: bool,
}

/// A variational autoencoder of images, `vae/config.json` of `AutoencoderKL`.
#[derive(Debug, Clone, PartialEq)]
pub struct VaeConfig {
    pub in_channels: usize,
    pub out_channels: usize,
    pub latent_channels: usize,
    pub channels: Vec<usize>,
    /// Residual blocks a level of the encoder; the decoder has one more.
    pub depth: usize,
    pub norm_groups: usize,
    /// Latents are multiplied by it before the U-Net sees them.
    pub scaling_factor: f64,
    /// Decodes in fp32 where fp16 would overflow.
    pub force_upcast: bool,
    pub quant_conv: bool,
    pub post_quant_conv: bool,
    /// Attention in the middle blocks.
    pub middle_attention: bool,
}
