//! The top of the page: whether the images helped, how sure that is, the figures of the build, and its reservations.

use maud::{Markup, html};

use super::chart::{Axis, px, x_grid};
use crate::report::data::{Comparison, Results, Verdict};
use crate::report::words::{coverage, difference, fixed, headline, main_comparison, p_value, percent, points};
use crate::text;

pub fn section(results: &Results) -> Markup {
    let main = main_comparison(results).filter(|_| results.unfinished.is_none());
    let tone = main.map_or("none", |c| tone(c.verdict));
    html! {
        section #verdict {
            div class={ "headline " (tone) } {
                p.statement { (headline(results)) }
                @if let Some(main) = main { (evidence(results, main)) }
            }
            (figures(results))
            @if !results.comparisons.is_empty() { (comparisons(results)) }
            @if !results.notes.is_empty() {
                aside.notes aria-labelledby="notes" {
                    h3 #notes { "Worth knowing" }
                    ul { @for note in &results.notes { li { (note) } } }
                }
            }
        }
    }
}

fn tone(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Helped => "helped",
        Verdict::Hurt => "hurt",
        Verdict::NotShown => "notshown",
    }
}

/// A verdict as a label that does not need its colour.
fn badge(verdict: Verdict) -> Markup {
    let sign = match verdict {
        Verdict::Helped => "▲",
        Verdict::Hurt => "▼",
        Verdict::NotShown => "○",
    };
    html! { span class={ "badge " (tone(verdict)) } { span aria-hidden="true" { (sign) " " } (verdict.text()) } }
}

fn evidence(results: &Results, c: &Comparison) -> Markup {
    html! {
        p.evidence {
            strong { (c.arm) " against " (c.baseline) ": " }
            "macro accuracy " (difference(c.difference, c.low, c.high, c.p, c.confidence)) "."
            @if let Some(tail) = &c.tail {
                " The tail species by themselves: " (difference(tail.difference, tail.low, tail.high, tail.p, c.confidence)) "."
            }
        }
        p.quiet.evidence { (power(results, c)) }
    }
}

/// What this test could have shown at all.
fn power(results: &Results, c: &Comparison) -> String {
    let images = text::count(c.test_images, "test image");
    let seeds = seeds(results, c).map(|n| format!(" and {}", text::count(n, "seed"))).unwrap_or_default();
    match c.smallest_difference {
        Some(smallest) => {
            let points = fixed(smallest * 100.0, 1);
            format!(
                "With {images}{seeds}, a true difference of about {points} points or more could be shown; a smaller one would most likely stay hidden."
            )
        }
        None => format!("Measured on {images}{seeds}; how small a difference that could show was not worked out."),
    }
}

fn seeds(results: &Results, c: &Comparison) -> Option<usize> {
    results.arms.iter().find(|arm| arm.name == c.arm).map(|arm| arm.seeds.len())
}

fn figures(results: &Results) -> Markup {
    let sum = |of: fn(&crate::report::data::SpeciesCounts) -> usize| results.species.iter().map(of).sum::<usize>();
    let (real, kept, wanted) = (sum(|s| s.real), sum(|s| s.kept), sum(|s| s.wanted));
    let (candidates, rejected) = (sum(|s| s.candidates), sum(|s| s.rejected));
    let right = results.baseline.as_ref().and_then(|baseline| baseline.names_rightly);
    let dropped = (candidates > 0).then(|| rejected as f64 / candidates as f64);
    html! {
        dl.figures {
            (figure("Real train images", &text::thousands(real), "after the cut"))
            (figure("Synthetic, kept", &text::thousands(kept), &format!("of {} wanted", text::thousands(wanted))))
            (figure("Candidates made", &text::thousands(candidates), &format!("{} rejected ({})", text::thousands(rejected), percent(dropped))))
            (figure("Named rightly", &percent(right), "of the candidates, by the classifier trained on real images"))
        }
    }
}

fn figure(name: &str, value: &str, note: &str) -> Markup {
    html! { div { dt { (name) } dd { span.value { (value) } span.quiet { (note) } } } }
}

fn comparisons(results: &Results) -> Markup {
    html! {
        h3 { "Every comparison" }
        figure.half {
            (forest(&results.comparisons))
            figcaption {
                "Difference in macro accuracy in percentage points. Filled: all species; hollow: the tail species by themselves. "
                "The whiskers are bootstrap intervals; one that crosses zero shows nothing."
            }
        }
        div.scroll {
            table {
                caption { "Differences in percentage points, with " (confidences(&results.comparisons)) " intervals" }
                thead { tr {
                    th scope="col" { "Arm" } th scope="col" { "Against" } th scope="col" { "Verdict" } th.n scope="col" { "Difference" }
                    th.n scope="col" { "Interval" } th.n scope="col" { "p" }
                    th.n scope="col" { "p alone" } th.n scope="col" { "Tail" } th.n scope="col" { "Tail interval" }
                    th.n scope="col" { "Head" } th.n scope="col" { "Could be shown" }
                } }
                tbody { @for c in &results.comparisons { (row(c)) } }
            }
        }
        (mcnemar(&results.comparisons))
    }
}

fn confidences(comparisons: &[Comparison]) -> String {
    let mut shown: Vec<String> = comparisons.iter().map(|c| coverage(c.confidence)).collect();
    shown.dedup();
    shown.join(", ")
}

fn row(c: &Comparison) -> Markup {
    let range = |low: Option<f64>, high: Option<f64>| match (low, high) {
        (Some(_), Some(_)) => format!("{} to {}", points(low), points(high)),
        _ => "–".to_string(),
    };
    html! {
        tr {
            th scope="row" { (c.arm) }
            td { (c.baseline) }
            td { (badge(c.verdict)) }
            td.n { (points(Some(c.difference))) }
            td.n { (range(c.low, c.high)) }
            td.n { (p_value(c.p)) }
            td.n { (p_value(c.p_unadjusted)) }
            td.n { (points(c.tail.map(|tail| tail.difference))) }
            td.n { (range(c.tail.and_then(|tail| tail.low), c.tail.and_then(|tail| tail.high))) }
            td.n { (points(c.head.map(|head| head.difference))) }
            td.n { (c.smallest_difference.map_or("–".to_string(), |d| format!("≥ {}", fixed(d * 100.0, 1)))) }
        }
    }
}

/// A whisker a comparison around a line at zero.
fn forest(comparisons: &[Comparison]) -> Markup {
    const WIDTH: f64 = 480.0;
    const ROW: f64 = 46.0;
    let ends = comparisons.iter().flat_map(|c| {
        let tail = c.tail.iter().flat_map(|t| [Some(t.difference), t.low, t.high]);
        [Some(0.0), Some(c.difference), c.low, c.high].into_iter().chain(tail).flatten().map(|value| value * 100.0)
    });
    let axis = Axis::around(ends, 138.0, WIDTH - 14.0);
    let bottom = 8.0 + ROW * comparisons.len() as f64;
    let label = comparisons.iter().map(crate::report::sentence).collect::<Vec<_>>().join("; ");
    html! {
        svg.chart viewBox={ "0 0 " (px(WIDTH)) " " (px(bottom + 24.0)) } role="img" aria-label=(label) {
            (x_grid(&axis, &axis.ticks(8), 4.0, bottom))
            line.zero x1=(px(axis.at(0.0))) x2=(px(axis.at(0.0))) y1="4" y2=(px(bottom)) {}
            @for (i, c) in comparisons.iter().enumerate() {
                @let y = 8.0 + ROW * (i as f64 + 0.5);
                text.label x="130" y=(px(y - 2.0)) text-anchor="end" { (c.arm) }
                text.tick x="130" y=(px(y + 13.0)) text-anchor="end" { "against " (c.baseline) }
                g class=(tone(c.verdict)) {
                    (whisker(&axis, y - 7.0, c.difference, c.low, c.high, "mark"))
                    @if let Some(tail) = &c.tail { (whisker(&axis, y + 9.0, tail.difference, tail.low, tail.high, "hollow")) }
                }
            }
        }
    }
}

fn whisker(axis: &Axis, y: f64, middle: f64, low: Option<f64>, high: Option<f64>, class: &str) -> Markup {
    let at = |value: f64| px(axis.at(value * 100.0));
    html! {
        @if let (Some(low), Some(high)) = (low, high) {
            line.whisker x1=(at(low)) x2=(at(high)) y1=(px(y)) y2=(px(y)) {}
        }
        circle class=(class) cx=(at(middle)) cy=(px(y)) r="5" {}
    }
}

fn mcnemar(comparisons: &[Comparison]) -> Markup {
    let rows: Vec<_> = comparisons.iter().flat_map(|c| c.mcnemar.iter().map(move |test| (c, test))).collect();
    html! {
        @if !rows.is_empty() {
            details {
                summary { "McNemar's test, seed by seed" }
                div.scroll {
                    table {
                        caption { "Test images that only one of the two classifiers names rightly" }
                        thead { tr {
                            th scope="col" { "Arm" } th scope="col" { "Against" } th.n scope="col" { "Seed" }
                            th.n scope="col" { "Only the arm" } th.n scope="col" { "Only the other" } th.n scope="col" { "p" }
                        } }
                        tbody { @for (c, test) in rows {
                            tr {
                                th scope="row" { (c.arm) } td { (c.baseline) } td.n { (test.seed) }
                                td.n { (test.only_arm) } td.n { (test.only_baseline) } td.n { (p_value(Some(test.p))) }
                            }
                        } }
                    }
                }
            }
        }
    }
}
