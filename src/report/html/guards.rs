//! What the guards against copies and leaks saw: how near candidates come, above how near real photos come to each other.

use maud::{Markup, html};

use super::chart::{Axis, px, y_grid};
use crate::report::data::Guard;
use crate::report::words::{fixed, setting};
use crate::text;

/// Width of a column in SSIM.
const BIN: f64 = 0.05;
const LAST: i64 = 20;
const LEFT: f64 = 44.0;
const RIGHT: f64 = 430.0;

pub fn section(guards: &[Guard]) -> Markup {
    html! {
        @if guards.is_empty() { p.quiet { "The copy guard was off: no image was compared with the real ones." } }
        @else {
            h3 { "How near they come" }
            div.charts { @for guard in guards { (guard_figure(guard)) } }
        }
    }
}

fn guard_figure(guard: &Guard) -> Markup {
    let finite = |values: &[f64]| values.iter().copied().filter(|value| value.is_finite()).collect::<Vec<f64>>();
    let guard = &Guard {
        kept: finite(&guard.kept),
        rejected: finite(&guard.rejected),
        real: finite(&guard.real),
        ..guard.clone()
    };
    let candidates = guard.kept.len() + guard.rejected.len();
    html! {
        @if candidates == 0 { figure { figcaption { code { (guard.key) } ": no candidate was compared." } } }
        @else {
            figure {
                (histograms(guard))
                figcaption {
                    code { (guard.key) } " "
                    span.key { span.swatch.c1 {} "kept (" (text::thousands(guard.kept.len())) ")" }
                    span.key { span.swatch.c5 {} "rejected for any reason (" (text::thousands(guard.rejected.len())) ")" }
                    @if !guard.real.is_empty() {
                        span.key { span.swatch.c0 {} "real photos (" (text::thousands(guard.real.len())) ")" }
                    }
                    br;
                    "Above: highest " (measure(guard)) " of each candidate to " (guard.against) ", at " (guard.side) " px, mirrored too. "
                    @match guard.threshold {
                        Some(threshold) => { "Right of the line, at " (setting(threshold)) ", it is dropped. " }
                        None => { "No threshold was set. " }
                    }
                    @if guard.real.is_empty() { "There are too few real photos to compare with each other." }
                    @else {
                        "Below: the same of " (guard.real_against) "."
                        @if let Some(quantile) = guard.real_quantile {
                            " 99 of 100 lie at or below " (fixed(quantile, 2)) "; " (over(guard, quantile)) " lie above."
                        }
                    }
                }
            }
        }
    }
}

/// How many of all candidates lie above a value.
fn over(guard: &Guard, value: f64) -> String {
    let all = guard.kept.len() + guard.rejected.len();
    let above = guard.kept.iter().chain(&guard.rejected).filter(|&&ssim| ssim > value).count();
    format!("{} of {}", text::thousands(above), text::count(all, "candidate"))
}

fn bin(value: f64) -> i64 {
    (value.clamp(-1.0, 1.0) / BIN + 1e-9).floor().min((LAST - 1) as f64) as i64
}

/// Counts a bin from the first on, of each list.
fn counts<const N: usize>(lists: [&[f64]; N], first: i64) -> Vec<(i64, [usize; N])> {
    let count = |values: &[f64], at: i64| values.iter().filter(|&&value| bin(value) == at).count();
    (first..LAST).map(|at| (at, lists.map(|values| count(values, at)))).collect()
}

/// What the guard compares pictures by.
fn measure(guard: &Guard) -> &'static str {
    if guard.key == "copy_max" { "likeness" } else { "SSIM" }
}

/// Candidates above and real photos below, over one axis.
fn histograms(guard: &Guard) -> Markup {
    let values = guard.kept.iter().chain(&guard.rejected).chain(&guard.real).chain(&guard.threshold);
    let first = values.map(|&value| bin(value)).min().unwrap_or(0).min(9);
    let x = Axis::new(first as f64 * BIN, 1.0, LEFT, RIGHT);
    let above = guard.threshold.map(|t| guard.kept.iter().chain(&guard.rejected).filter(|&&v| v > t).count());
    let label = format!(
        "Histogram of the highest {} of {} candidates{}, above that of {} real photos",
        measure(guard),
        guard.kept.len() + guard.rejected.len(),
        above.map(|n| format!("; {n} lie above the threshold")).unwrap_or_default(),
        guard.real.len()
    );
    let has_real = !guard.real.is_empty();
    let bottom = if has_real { 250.0 } else { 150.0 };
    html! {
        svg.chart viewBox={ "0 0 440 " (px(bottom + 24.0)) } role="img" aria-label=(label) {
            (columns(&x, &counts([&guard.kept, &guard.rejected], first), ["fill c1", "fill c5"], 150.0, 12.0))
            @if has_real { (columns(&x, &counts([&guard.real], first), ["fill c0"], bottom, 170.0)) }
            @for (value, label) in x.ticks(6) {
                text.tick x=(px(x.at(value))) y=(px(bottom + 18.0)) text-anchor="middle" { (label) }
            }
            @if let Some(threshold) = guard.threshold {
                line.threshold x1=(px(x.at(threshold))) x2=(px(x.at(threshold))) y1="6" y2=(px(bottom)) {}
            }
        }
    }
}

/// Stacked columns between two heights.
fn columns<const N: usize>(x: &Axis, bins: &[(i64, [usize; N])], classes: [&str; N], low: f64, high: f64) -> Markup {
    let most = bins.iter().map(|(_, counts)| counts.iter().sum::<usize>()).max().unwrap_or(1);
    let y = Axis::new(0.0, most as f64, low, high);
    let ticks: Vec<_> = y.ticks(3).into_iter().filter(|(_, label)| !label.contains('.')).collect();
    html! {
        (y_grid(&y, &ticks, LEFT, RIGHT))
        @for (at, counts) in bins {
            @let (left, right) = (x.at(*at as f64 * BIN), x.at((at + 1) as f64 * BIN));
            @for (i, class) in classes.iter().enumerate() {
                @if counts[i] > 0 {
                    @let from: usize = counts[..i].iter().sum();
                    @let (top, bottom) = (y.at((from + counts[i]) as f64), y.at(from as f64));
                    rect class=(class) x=(px(left + 0.5)) width=(px(right - left - 1.0)) y=(px(top)) height=(px(bottom - top)) {}
                }
            }
        }
    }
}
