//! What is kept: verdicts from stored scores. Pure, exact, and the same in any order of work.

use crate::recipe::Filter;

/// What is known of a candidate before it is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// Highest SSIM to a real photo of the species or of valid and test, flips included.
    pub copy: f64,
    /// SSIM to the source photo (img2img).
    pub source: Option<f64>,
    /// Highest SSIM to a photo of the species that the arm is validated or tested on, flips included; `None` where nobody
    /// asks for it, or there is no such photo.
    pub held_out: Option<f64>,
    /// Highest likeness to a real photo of the species or of valid and test, but for the source: shifted, cropped, mirrored
    /// or brightened; 0 where none is near, `None` where nobody asks for it.
    pub likeness: Option<f64>,
    /// The real-only classifier's probability of the right species.
    pub confidence: f64,
    /// How real its features look; `None` where nobody asks for it.
    pub realism: Option<f64>,
}

/// Why a candidate was dropped, in the order in which the questions are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The generator's numbers overflowed or came out as no numbers: there is no image.
    NotFinite,
    /// More like a photo that the arm is validated or tested on than its train photos are.
    HeldOut,
    /// Too like a real photo.
    SsimMax,
    /// A real photo, though shifted, cropped, mirrored or brightened.
    CopyMax,
    /// Too unlike its source.
    SsimMin,
    /// Not recognised as its species.
    Confidence,
    /// Far from everything real, by its features.
    Realism,
    /// Too like another candidate of the species that is kept.
    Duplicate,
    /// Among those that push their species away from its real photos (kernel distance).
    SpeciesKid,
    /// Among those that push the pooled set away from the real one (kernel distance).
    Kid,
    /// Among those that push the pooled set away from the real one (Frechet distance).
    Fid,
}

impl Reason {
    /// The recipe key behind it.
    pub fn name(self) -> &'static str {
        match self {
            Reason::NotFinite => "not finite",
            Reason::HeldOut => "held_out_max",
            Reason::SsimMax => "ssim_max",
            Reason::CopyMax => "copy_max",
            Reason::SsimMin => "ssim_min",
            Reason::Confidence => "confidence_min",
            Reason::Realism => "realism_min",
            Reason::Duplicate => "duplicate_max",
            Reason::SpeciesKid => "species_kid_max",
            Reason::Kid => "kid_max",
            Reason::Fid => "fid_max",
        }
    }

    /// The threshold that the recipe sets for it.
    pub fn threshold(self, filter: &Filter) -> Option<f64> {
        match self {
            Reason::NotFinite => None,
            Reason::HeldOut => filter.held_out_max,
            Reason::SsimMax => filter.ssim_max,
            Reason::CopyMax => filter.copy_max,
            Reason::SsimMin => filter.ssim_min,
            Reason::Confidence => filter.confidence_min,
            Reason::Realism => filter.realism_min,
            Reason::Duplicate => filter.duplicate_max,
            Reason::SpeciesKid => filter.species_kid_max,
            Reason::Kid => filter.kid_max,
            Reason::Fid => filter.fid_max,
        }
    }

    /// A number of its own that enters keys: never another's, and never changed.
    pub fn tag(self) -> u8 {
        match self {
            Reason::SsimMax => 1,
            Reason::SsimMin => 2,
            Reason::Confidence => 3,
            Reason::Fid => 4,
            Reason::Kid => 5,
            Reason::NotFinite => 6,
            Reason::HeldOut => 7,
            Reason::Realism => 8,
            Reason::Duplicate => 9,
            Reason::SpeciesKid => 10,
            Reason::CopyMax => 11,
        }
    }
}

/// Keep, or drop with one reason, its number and the threshold it missed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Verdict {
    Keep,
    Drop { reason: Reason, value: f64, threshold: f64 },
}

impl Verdict {
    /// Whether the candidate stays.
    pub fn keeps(&self) -> bool {
        matches!(self, Verdict::Keep)
    }
}

/// Judges one candidate by the thresholds on single images, in the order of [`Reason`].
pub fn judge(scores: &Scores, filter: &Filter) -> Verdict {
    let over = |value: f64, max: Option<f64>| max.filter(|&max| value > max || value.is_nan());
    let under = |value: f64, min: Option<f64>| min.filter(|&min| value < min || value.is_nan());
    if let Some(held_out) = scores.held_out
        && let Some(threshold) = over(held_out, filter.held_out_max)
    {
        return Verdict::Drop { reason: Reason::HeldOut, value: held_out, threshold };
    }
    if let Some(threshold) = over(scores.copy, filter.ssim_max) {
        return Verdict::Drop { reason: Reason::SsimMax, value: scores.copy, threshold };
    }
    if let Some(likeness) = scores.likeness
        && let Some(threshold) = over(likeness, filter.copy_max)
    {
        return Verdict::Drop { reason: Reason::CopyMax, value: likeness, threshold };
    }
    if let Some(source) = scores.source
        && let Some(threshold) = under(source, filter.ssim_min)
    {
        return Verdict::Drop { reason: Reason::SsimMin, value: source, threshold };
    }
    if let Some(threshold) = under(scores.confidence, filter.confidence_min) {
        return Verdict::Drop { reason: Reason::Confidence, value: scores.confidence, threshold };
    }
    if let Some(realism) = scores.realism
        && let Some(threshold) = under(realism, filter.realism_min)
    {
        return Verdict::Drop { reason: Reason::Realism, value: realism, threshold };
    }
    Verdict::Keep
}

/// How many candidates a species has to look at next, when `kept` of the first `looked_at` were kept: the shortfall
/// more, within `cap`. Equal to `looked_at` when nothing is missing or nothing is left.
pub fn refill(wanted: usize, kept: usize, looked_at: usize, cap: usize) -> usize {
    (looked_at + wanted.saturating_sub(kept)).min(cap.max(looked_at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Features;

    fn filter() -> Filter {
        Filter {
            candidates: 1.5,
            ssim_max: Some(0.9),
            ssim_min: Some(0.1),
            confidence_min: Some(0.2),
            fid_max: None,
            kid_max: None,
            species_kid_max: None,
            held_out_max: Some(0.6),
            copy_max: Some(0.8),
            duplicate_max: None,
            realism_min: Some(0.8),
            features: Features::Classifier,
        }
    }

    fn scores(copy: f64, source: Option<f64>, confidence: f64) -> Scores {
        Scores { copy, source, held_out: None, likeness: None, confidence, realism: None }
    }

    #[test]
    fn a_copy_is_dropped_before_anything_else_is_asked() {
        let verdict = judge(&scores(0.95, Some(0.0), 0.0), &filter());
        assert_eq!(verdict, Verdict::Drop { reason: Reason::SsimMax, value: 0.95, threshold: 0.9 });
    }

    #[test]
    fn a_value_on_the_threshold_passes() {
        assert_eq!(judge(&scores(0.9, Some(0.1), 0.2), &filter()), Verdict::Keep);
    }

    #[test]
    fn each_threshold_drops_by_its_own_reason() {
        let reason = |s| match judge(&s, &filter()) {
            Verdict::Keep => None,
            Verdict::Drop { reason, .. } => Some(reason.name()),
        };
        assert_eq!(reason(scores(0.5, Some(0.05), 0.9)), Some("ssim_min"));
        assert_eq!(reason(scores(0.5, None, 0.19)), Some("confidence_min"));
        assert_eq!(reason(scores(0.5, None, 0.9)), None);
    }

    #[test]
    fn likeness_to_a_held_out_photo_is_asked_first_and_realism_last() {
        let reason = |held_out, realism, confidence| {
            let scores = Scores { held_out: Some(held_out), realism: Some(realism), ..scores(0.95, None, confidence) };
            let ssim_max = filter().ssim_max.filter(|_| realism >= 0.8);
            match judge(&scores, &Filter { ssim_max, ..filter() }) {
                Verdict::Keep => None,
                Verdict::Drop { reason, value, threshold } => Some((reason.name(), value, threshold)),
            }
        };
        assert_eq!(reason(0.7, 1.0, 0.9), Some(("held_out_max", 0.7, 0.6)));
        assert_eq!(reason(0.6, 1.0, 0.9), Some(("ssim_max", 0.95, 0.9)));
        assert_eq!(reason(0.6, 0.7, 0.9), Some(("realism_min", 0.7, 0.8)));
        assert_eq!(reason(0.6, 0.7, 0.1), Some(("confidence_min", 0.1, 0.2)));
        assert!(!judge(&Scores { realism: Some(f64::NAN), ..scores(0.1, None, 0.9) }, &filter()).keeps());
        assert!(judge(&Scores { realism: Some(f64::INFINITY), ..scores(0.1, None, 0.9) }, &filter()).keeps());
    }

    #[test]
    fn a_copy_that_was_moved_is_told_after_one_that_was_not() {
        let like = |copy, likeness| judge(&Scores { likeness, ..scores(copy, Some(0.0), 0.0) }, &filter());
        let dropped = |reason, value, threshold| Verdict::Drop { reason, value, threshold };
        assert_eq!(like(0.5, Some(0.85)), dropped(Reason::CopyMax, 0.85, 0.8));
        assert_eq!(like(0.95, Some(0.85)), dropped(Reason::SsimMax, 0.95, 0.9));
        assert_eq!(like(0.5, Some(0.8)), dropped(Reason::SsimMin, 0.0, 0.1));
    }

    #[test]
    fn every_reason_has_a_name_and_a_number_of_its_own() {
        use Reason::*;
        let all = [NotFinite, HeldOut, SsimMax, CopyMax, SsimMin, Confidence, Realism, Duplicate, SpeciesKid, Kid, Fid];
        let names: std::collections::BTreeSet<&str> = all.iter().map(|reason| reason.name()).collect();
        let tags: std::collections::BTreeSet<u8> = all.iter().map(|reason| reason.tag()).collect();
        assert_eq!((names.len(), tags.len()), (all.len(), all.len()));
        assert!(all.is_sorted());
    }

    #[test]
    fn a_score_that_is_not_a_number_never_passes() {
        assert!(!judge(&scores(f64::NAN, None, 0.9), &filter()).keeps());
        assert!(!judge(&scores(0.5, None, f64::NAN), &filter()).keeps());
    }

    #[test]
    fn an_absent_threshold_keeps_everything() {
        let open = Filter { ssim_max: None, ssim_min: None, confidence_min: None, ..filter() };
        assert!(judge(&scores(1.0, Some(0.0), 0.0), &open).keeps());
    }

    #[test]
    fn refills_ask_for_the_shortfall_and_stop_at_the_cap() {
        assert_eq!(refill(40, 40, 40, 60), 40);
        assert_eq!(refill(40, 35, 40, 60), 45);
        assert_eq!(refill(40, 10, 50, 60), 60);
        assert_eq!(refill(40, 39, 60, 60), 60);
    }
}
