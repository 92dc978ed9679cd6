//! Results as words and numbers for people: percent, points, p values, and the verdict as a sentence.
//! Knows the plain results, nothing of HTML.

use super::data::{Comparison, Results, Verdict};
use crate::text;

/// Stands for what was not measured.
pub(super) const DASH: &str = "–";
/// Between a number and its unit: they stay on one line.
const SPACE: char = '\u{a0}';
/// The minus sign, as wide as a plus.
const MINUS: char = '−';

/// `value` with `digits` decimals and a true minus sign; a dash for NaN and infinities.
pub(super) fn fixed(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return DASH.to_string();
    }
    let shown = format!("{:.digits$}", value.abs());
    let zero = shown.bytes().all(|byte| byte == b'0' || byte == b'.');
    if value < 0.0 && !zero { format!("{MINUS}{shown}") } else { shown }
}

/// `Some(0.8123)` as `0.81`.
pub(super) fn score(value: Option<f64>) -> String {
    value.map_or_else(|| DASH.to_string(), |value| fixed(value, 2))
}

/// A fraction as percent with a decimal: `81.2 %`.
pub(super) fn percent(value: Option<f64>) -> String {
    match value {
        Some(value) if value.is_finite() => format!("{}{SPACE}%", fixed(value * 100.0, 1)),
        _ => DASH.to_string(),
    }
}

/// A fraction as percent without its sign: `81.2`.
pub(super) fn percent_number(value: Option<f64>) -> String {
    value.map_or_else(|| DASH.to_string(), |value| fixed(value * 100.0, 1))
}

/// A difference of fractions in percentage points, signed: `+1.2`.
pub(super) fn points(value: Option<f64>) -> String {
    let Some(value) = value else { return DASH.to_string() };
    let shown = fixed(value * 100.0, 1);
    if value > 0.0 && shown != "0.0" { format!("+{shown}") } else { shown }
}

/// A p value: three decimals below 0.1, two above, never 0.
pub(super) fn p_value(p: Option<f64>) -> String {
    match p {
        None => DASH.to_string(),
        Some(p) if p < 0.001 => format!("<{SPACE}0.001"),
        Some(p) if p < 0.1 => fixed(p, 3),
        Some(p) => fixed(p, 2),
    }
}

/// A number of any size with about three significant digits: `0.0123`, `4.56`, `41.2`, `1,234`.
pub(super) fn number(value: Option<f64>) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else { return DASH.to_string() };
    let size = value.abs();
    if size >= 999.5 {
        let sign = if value < 0.0 { "−" } else { "" };
        return format!("{sign}{}", text::thousands(size.round() as usize));
    }
    let digits = match size {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        size if size >= 0.09995 => 3,
        _ => 4,
    };
    fixed(value, digits)
}

/// A setting as a recipe would have it: `4`, `0.75`.
pub(super) fn setting(value: f64) -> String {
    let shown = fixed(value, 4);
    shown.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// `0.95` as `95 %`.
pub(super) fn coverage(confidence: f64) -> String {
    let percent = confidence * 100.0;
    let digits = usize::from((percent - percent.round()).abs() > 1e-9);
    format!("{}{SPACE}%", fixed(percent, digits))
}

/// A difference with its interval and p value: `+1.2 points (95 % interval −0.8 to +3.1, p = 0.24)`.
pub(super) fn difference(value: f64, low: Option<f64>, high: Option<f64>, p: Option<f64>, confidence: f64) -> String {
    let mut reservations = Vec::new();
    if let (Some(low), Some(high)) = (low, high) {
        let (low, high) = (points(Some(low)), points(Some(high)));
        reservations.push(format!("{} interval {low} to {high}", coverage(confidence)));
    }
    match p {
        Some(p) if p < 0.001 => reservations.push(format!("p{SPACE}<{SPACE}0.001")),
        Some(p) => reservations.push(format!("p{SPACE}={SPACE}{}", p_value(Some(p)))),
        None => {}
    }
    let points = points(Some(value));
    match reservations.is_empty() {
        true => format!("{points}{SPACE}points"),
        false => format!("{points}{SPACE}points ({})", reservations.join(", ")),
    }
}

/// A comparison in one line, verdict last:
/// `augmented vs real: macro accuracy +1.2 points (95 % interval −0.8 to +3.1, p = 0.24): not shown`.
pub fn sentence(c: &Comparison) -> String {
    let difference = difference(c.difference, c.low, c.high, c.p, c.confidence);
    format!("{} vs {}: macro accuracy {difference}: {}", c.arm, c.baseline, c.verdict.text())
}

/// The comparison that the recipe is about: augmented against real where there is one, else the first.
pub(super) fn main_comparison(results: &Results) -> Option<&Comparison> {
    let asked = results.comparisons.iter().find(|c| c.arm == "augmented" && c.baseline == "real");
    asked.or(results.comparisons.first())
}

/// The whole result in one plain sentence.
pub fn headline(results: &Results) -> String {
    if let Some(unfinished) = results.unfinished {
        let (trained, all) = (unfinished.trained, text::count(unfinished.asked_for, "classifier"));
        return format!("Not finished: {trained} of {all} are trained, and nothing is said before all are.");
    }
    let Some(main) = main_comparison(results) else {
        return "No arms were compared, so nothing is said about whether the images help.".to_string();
    };
    let what = match main.arm.as_str() {
        "augmented" => "the synthetic images".to_string(),
        arm => format!("training on “{arm}”"),
    };
    match main.verdict {
        Verdict::Helped => match control(results, main) {
            None => format!("{} helped.", capital(&what)),
            Some(control) => format!(
                "{} helped over “{}” alone; that they do more than “{}”, without them, is {}.",
                capital(&what),
                main.baseline,
                control.baseline,
                if control.verdict == Verdict::Hurt { "refuted" } else { "not shown" },
            ),
        },
        Verdict::Hurt => format!("{} hurt.", capital(&what)),
        Verdict::NotShown => format!("Not shown: this test cannot tell whether {what} helped or hurt."),
    }
}

/// The comparison with another control, without synthetic images too, which the main one's arm did not win.
fn control<'r>(results: &'r Results, main: &Comparison) -> Option<&'r Comparison> {
    let lost = |c: &&Comparison| c.arm == main.arm && c.baseline != main.baseline && c.verdict != Verdict::Helped;
    results.comparisons.iter().find(lost)
}

fn capital(words: &str) -> String {
    let mut chars = words.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_people_write_them() {
        assert_eq!(percent(Some(0.8123)), "81.2\u{a0}%");
        assert_eq!(points(Some(0.0123)), "+1.2");
        assert_eq!(points(Some(-0.0123)), "−1.2");
        assert_eq!(points(Some(-0.0001)), "0.0");
        assert_eq!(points(None), DASH);
        assert_eq!(p_value(Some(0.0004)), "<\u{a0}0.001");
        assert_eq!(p_value(Some(0.0123)), "0.012");
        assert_eq!(p_value(Some(0.237)), "0.24");
        assert_eq!(number(Some(1234.4)), "1,234");
        assert_eq!(number(Some(-0.01234)), "−0.0123");
        assert_eq!(number(Some(41.23)), "41.2");
        assert_eq!(number(Some(f64::NAN)), DASH);
        assert_eq!(coverage(0.95), "95\u{a0}%");
        assert_eq!(coverage(0.975), "97.5\u{a0}%");
    }

    #[test]
    fn a_comparison_reads_as_one_honest_sentence() {
        let c = Comparison {
            arm: "augmented".into(),
            baseline: "real".into(),
            difference: 0.012,
            low: Some(-0.008),
            high: Some(0.031),
            p: Some(0.24),
            p_unadjusted: Some(0.12),
            verdict: Verdict::NotShown,
            confidence: 0.95,
            micro_difference: 0.01,
            tail: None,
            head: None,
            mcnemar: vec![],
            smallest_difference: None,
            design: Default::default(),
            test_images: 240,
        };
        let expected =
            "augmented vs real: macro accuracy +1.2 points (95 % interval −0.8 to +3.1, p = 0.24): not shown";
        assert_eq!(sentence(&c).replace('\u{a0}', " "), expected);
        let bare = Comparison { low: None, p: None, verdict: Verdict::Hurt, difference: -0.2, ..c };
        assert_eq!(sentence(&bare).replace('\u{a0}', " "), "augmented vs real: macro accuracy −20.0 points: hurt");
    }
}
