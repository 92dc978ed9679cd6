//! The pictures of a report with their scores: plain bytes, strings and numbers. Knows no decoder and no page.

/// At most so many species get a gallery in the report: the caller need not make more thumbnails.
pub const GALLERY_SPECIES: usize = 40;
/// At most so many real photos a species are shown.
pub const GALLERY_REAL: usize = 3;
/// At most so many kept synthetic images a species are shown.
pub const GALLERY_KEPT: usize = 8;
/// At most so many rejected candidates are shown.
pub const GALLERY_REJECTED: usize = 36;

/// Highest SSIM of each candidate against some photos, and of real photos against the same kind of photos.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Guard {
    /// The recipe's key.
    pub key: String,
    /// What candidates are compared with, in words: `every real image`.
    pub against: String,
    /// What the real photos are and are compared with, in words.
    pub real_against: String,
    /// Of a sample of real photos.
    pub real: Vec<f64>,
    /// The value that 99 of 100 real photos do not exceed; `None` of too few.
    pub real_quantile: Option<f64>,
    /// Of the kept candidates.
    pub kept: Vec<f64>,
    /// Of those dropped, whatever for.
    pub rejected: Vec<f64>,
    /// The recipe's; `None` where the guard is off.
    pub threshold: Option<f64>,
    /// Side of the compared squares in pixels.
    pub side: usize,
}

/// An encoded picture (JPEG or PNG), small enough to stand in the report as it is.
#[derive(Clone, Default, PartialEq)]
pub struct Picture(pub Vec<u8>);

/// Real photos and kept synthetic images of a species, side by side.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Gallery {
    pub species: String,
    pub real: Vec<RealImage>,
    pub kept: Vec<KeptImage>,
}

/// A real photo.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RealImage {
    pub picture: Picture,
    /// Relative to the dataset's root.
    pub path: String,
}

/// A synthetic image that the filter kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeptImage {
    pub picture: Picture,
    /// First hex digits of its key.
    pub key: String,
    /// The real photo it was made from (img2img), relative to the dataset's root.
    pub source: Option<String>,
    pub scores: Scores,
}

/// A candidate that the filter dropped.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RejectedImage {
    pub picture: Picture,
    pub species: String,
    /// First hex digits of its key.
    pub key: String,
    /// The real photo it was made from (img2img), relative to the dataset's root.
    pub source: Option<String>,
    /// As in [`Rejections::reason`].
    pub reason: String,
    /// The number that the rule looked at, and the threshold it missed.
    pub value: Option<f64>,
    pub threshold: Option<f64>,
    pub scores: Scores,
    /// The image that it is too like, to be seen beside it.
    pub nearest_picture: Option<Picture>,
}

/// All scores of one candidate.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores {
    /// Highest SSIM against a real image, in [-1, 1].
    pub ssim: Option<f64>,
    /// That image, relative to the dataset's root.
    pub nearest: Option<String>,
    /// SSIM against the source image (img2img).
    pub source_ssim: Option<f64>,
    /// The real-only classifier's probability of the right species.
    pub confidence: Option<f64>,
    /// The species that classifier would name.
    pub named: Option<String>,
    /// Highest SSIM against a photo of the species in valid or test, where that is asked for.
    pub held_out: Option<f64>,
    /// That photo, relative to the dataset's root.
    pub nearest_held_out: Option<String>,
    /// Highest likeness to a real photo but the source, where that is asked for; 0 where it is like none.
    pub likeness: Option<f64>,
    /// That photo, relative to the dataset's root.
    pub nearest_alike: Option<String>,
    /// Realism among the real train photos, where that is asked for.
    pub realism: Option<f64>,
    /// First hex digits of the kept candidate that it is a near-duplicate of.
    pub duplicate_of: Option<String>,
    /// Its own share of the pooled set's Frechet distance.
    pub frechet: Option<f64>,
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({} bytes)", self.0.len())
    }
}
