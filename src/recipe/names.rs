//! The recipe's own spelling of every choice: one table gives reading, writing and messages. Knows the
//! types, nothing of TOML.

use super::types::{
    Arch, ArmWord, Augment, Freeze, ImageFormat, Link, Mode, Optimiser, Precision, PredictionType, Sampler, Sampling,
    TestImages,
};

/// A choice that a recipe spells as text.
pub trait Spelled: Copy + 'static {
    /// Every value, in the order in which messages list them.
    const ALL: &'static [Self];

    /// How a recipe spells it.
    fn name(self) -> &'static str;

    /// The value that a recipe spells like this, exactly.
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|choice| choice.name() == name)
    }
}

macro_rules! spelled {
    ($($kind:ident { $($value:ident = $name:literal),+ $(,)? })+) => {$(
        impl $kind {
            /// Every value, in the order in which messages list them.
            pub const ALL: &'static [$kind] = &[$($kind::$value),+];

            /// How a recipe spells it.
            pub fn name(self) -> &'static str {
                match self {
                    $($kind::$value => $name),+
                }
            }
        }

        impl Spelled for $kind {
            const ALL: &'static [$kind] = $kind::ALL;

            fn name(self) -> &'static str {
                $kind::name(self)
            }
        }

        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad($kind::name(*self))
            }
        }
    )+};
}

spelled! {
    TestImages { Test = "test", UnusedTrain = "unused-train", Both = "both" }
    Mode { Txt2Img = "txt2img", Img2Img = "img2img" }
    Sampler {
        Ddim = "ddim",
        DpmSolver2M = "dpm++2m",
        DpmSolver2MKarras = "dpm++2m-karras",
        Euler = "euler",
        EulerAncestral = "euler-a",
        UniPc = "unipc",
        Pndm = "pndm",
        Ddpm = "ddpm",
        Lcm = "lcm",
    }
    PredictionType { Epsilon = "epsilon", V = "v_prediction" }
    Precision { Fp32 = "fp32", Bf16 = "bf16", Fp16 = "fp16" }
    Link { Auto = "auto", Reflink = "reflink", Hardlink = "hardlink", Copy = "copy", Symlink = "symlink" }
    ImageFormat { Jpg = "jpg", Png = "png" }
    Arch { ResNet18 = "resnet18", ResNet34 = "resnet34", ResNet50 = "resnet50" }
    Optimiser { Sgd = "sgd", AdamW = "adamw" }
    Augment { Plain = "plain", RandAugment = "randaug", TrivialAugment = "trivialaug" }
    Freeze {
        None = "none",
        Stem = "stem",
        Layer1 = "layer1",
        Layer2 = "layer2",
        Layer3 = "layer3",
        Layer4 = "layer4",
    }
    ArmWord {
        Real = "real",
        Oversampled = "oversampled",
        Augmented = "augmented",
        RealRandAugment = "real+randaug",
        AugmentedRandAugment = "augmented+randaug",
        Synthetic = "synthetic",
        Dose = "dose",
    }
    Sampling { Uniform = "uniform", ClassBalanced = "class-balanced" }
}

/// The kinds of `[split]` without their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SplitWord {
    Full,
    FewShot,
    LongTail,
}

/// The kinds of `[generator]` without their settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GeneratorWord {
    StableDiffusion,
    Ddpm,
}

spelled! {
    SplitWord { Full = "full", FewShot = "few-shot", LongTail = "long-tail" }
    GeneratorWord { StableDiffusion = "stable-diffusion", Ddpm = "ddpm" }
}

/// `` `a`, `b` or `c` ``: a list of names as messages show it.
pub(super) fn one_of<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        None => "nothing".to_string(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}
