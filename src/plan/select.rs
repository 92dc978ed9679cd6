//! What is kept: verdicts from stored scores. Pure, exact, and the same in any order of work.

use crate::recipe::Filter;

/// What is known of a candidate before it is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// Highest SSIM to a real photo of the species or of valid and test, flips included.
    pub copy: f64,
    /// SSIM to the source photo (img2img).
    pub source: Option<f64>,
    /// The real-only classifier's probability of the right species.
    pub confidence: f64,
}

/// Why a candidate was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Too like a real photo.
    SsimMax,
    /// Too unlike its source.
    SsimMin,
    /// Not recognised as its species.
    Confidence,
    /// Among those that push the pooled set away from the real one (Frechet distance).
    Fid,
    /// Among those that push the pooled set away from the real one (kernel distance).
    Kid,
    /// The generator's numbers overflowed or came out as no numbers: there is no image.
    NotFinite,
}

impl Reason {
    /// The recipe key behind it.
    pub fn name(self) -> &'static str {
        match self {
            Reason::SsimMax => "ssim_max",
            Reason::SsimMin => "ssim_min",
            Reason::Confidence => "confidence_min",
            Reason::Fid => "fid_max",
            Reason::Kid => "kid_max",
            Reason::NotFinite => "not finite",
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
    if let Some(threshold) = over(scores.copy, filter.ssim_max) {
        return Verdict::Drop { reason: Reason::SsimMax, value: scores.copy, threshold };
    }
    if let Some(source) = scores.source
        && let Some(threshold) = under(source, filter.ssim_min)
    {
        return Verdict::Drop { reason: Reason::SsimMin, value: source, threshold };
    }
    if let Some(threshold) = under(scores.confidence, filter.confidence_min) {
        return Verdict::Drop { reason: Reason::Confidence, value: scores.confidence, threshold };
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
            features: Features::Classifier,
        }
    }

    fn scores(copy: f64, source: Option<f64>, confidence: f64) -> Scores {
        Scores { copy, source, confidence }
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
