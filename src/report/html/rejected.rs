//! Candidates that the filter dropped: how many for which reason, and some of them with every score.

use maud::{Markup, html};

use super::chart::{Axis, px, y_grid};
use super::picture::Album;
use super::shown_of;
use crate::report::data::{CopyGuard, GALLERY_REJECTED, RejectedImage, Results, Scores};
use crate::report::words::{DASH, number, percent, score, setting};
use crate::text;

pub fn section(results: &Results, album: &mut Album) -> Markup {
    let all: usize = results.species.iter().map(|s| s.rejected).sum();
    let made: usize = results.species.iter().map(|s| s.candidates).sum();
    html! {
        @if all == 0 && results.rejected.is_empty() {
            p {
                @if made == 0 { "No candidate was made, so none was rejected." }
                @else { "The filter rejected none of the " (text::count(made, "candidate")) "." }
            }
        } @else {
            p { "The filter rejected " (text::thousands(all)) " of " (text::count(made, "candidate")) "; rejected.csv in the tree lists each." }
            @if !results.rejections.is_empty() { (reasons(results)) }
            (cards(results, album, all))
        }
        @match &results.copy_guard {
            Some(guard) => { (copy_guard(guard)) }
            None => { p.quiet { "The copy guard was off: no image was compared with the real ones." } }
        }
    }
}

fn reasons(results: &Results) -> Markup {
    html! {
        div.scroll { table.fit {
            caption { "Candidates rejected, by reason" }
            thead { tr { th scope="col" { "Reason" } th.n scope="col" { "Candidates" } th.n scope="col" { "Threshold" } } }
            tbody { @for r in &results.rejections {
                tr { th scope="row" { (r.reason) } td.n { (text::thousands(r.count)) } td.n { (r.threshold.map_or(DASH.to_string(), setting)) } }
            } }
        } }
    }
}

fn cards(results: &Results, album: &mut Album, all: usize) -> Markup {
    let mut shown = 0;
    let cards = html! {
        ul.cards {
            @for image in results.rejected.iter().take(GALLERY_REJECTED) {
                @if album.has_room(std::iter::once(&image.picture).chain(&image.nearest_picture)) {
                    ({ shown += 1; card(image, album) })
                }
            }
        }
    };
    html! {
        @if shown == 0 { p.quiet { "No pictures of them were handed to this report." } }
        @else {
            h3 { "Some of them" " " span.quiet { (shown_of(shown, all.max(shown))) " shown" } }
            (cards)
        }
    }
}

fn card(image: &RejectedImage, album: &mut Album) -> Markup {
    html! {
        li.card {
            div.pair {
                (album.show(&image.picture, &format!("rejected candidate for {}", image.species)))
                @if let Some(nearest) = &image.nearest_picture {
                    (album.show(nearest, &format!("nearest real image, {}", image.scores.nearest.as_deref().unwrap_or("unnamed"))))
                }
            }
            div {
                p.reason {
                    strong { (image.reason) }
                    @if image.value.is_some() {
                        " " (number(image.value)) @if let Some(threshold) = image.threshold { " (threshold\u{a0}" (setting(threshold)) ")" }
                    }
                }
                p { (image.species) }
                (scores(image, &image.scores))
            }
        }
    }
}

fn scores(image: &RejectedImage, scores: &Scores) -> Markup {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let rows = [
        ("confidence", scores.confidence.is_some(), percent(scores.confidence)),
        ("named", scores.named.is_some(), text(&scores.named)),
        ("SSIM", scores.ssim.is_some(), score(scores.ssim)),
        ("nearest", scores.nearest.is_some(), text(&scores.nearest)),
        ("to source", scores.source_ssim.is_some(), score(scores.source_ssim)),
        ("source", image.source.is_some(), text(&image.source)),
        ("Fréchet", scores.frechet.is_some(), number(scores.frechet)),
        ("key", true, image.key.clone()),
    ];
    html! {
        dl.scores { @for (name, known, value) in rows { @if known { dt { (name) } dd { (breakable(&value)) } } } }
    }
}

/// A path that may go on in the next line after each slash.
fn breakable(path: &str) -> Markup {
    html! { @for (i, part) in path.split('/').enumerate() { @if i > 0 { "/" wbr; } (part) } }
}

/// How near candidates come to real images.
fn copy_guard(guard: &CopyGuard) -> Markup {
    let finite = |values: &[f64]| values.iter().copied().filter(|value| value.is_finite()).collect();
    let guard = &CopyGuard { kept: finite(&guard.kept), rejected: finite(&guard.rejected), threshold: guard.threshold };
    let all = guard.kept.len() + guard.rejected.len();
    html! {
        h3 { "How near they come to a real image" }
        @if all == 0 { p.quiet { "No candidate was compared." } }
        @else {
            figure.half {
                (histogram(guard))
                figcaption {
                    span.key { span.swatch.c1 {} "kept (" (text::thousands(guard.kept.len())) ")" }
                    span.key { span.swatch.c5 {} "rejected for any reason (" (text::thousands(guard.rejected.len())) ")" }
                    br;
                    "Highest SSIM of each candidate against the real images. "
                    @match guard.threshold {
                        Some(threshold) => { "Right of the line, at " (setting(threshold)) ", it counts as a copy." }
                        None => { "No threshold was set." }
                    }
                }
            }
        }
    }
}

fn histogram(guard: &CopyGuard) -> Markup {
    const BIN: f64 = 0.05;
    let bin = |value: f64| (value.clamp(-1.0, 1.0) / BIN + 1e-9).floor().min(19.0) as i64;
    let values = guard.kept.iter().chain(&guard.rejected).chain(&guard.threshold);
    let first = values.map(|&value| bin(value)).min().unwrap_or(0).min(9);
    let count = |values: &[f64], at: i64| values.iter().filter(|&&value| bin(value) == at).count();
    let bins: Vec<_> = (first..20).map(|at| (at, count(&guard.kept, at), count(&guard.rejected, at))).collect();
    let most = bins.iter().map(|(_, kept, rejected)| kept + rejected).max().unwrap_or(1);
    let x = Axis::new(first as f64 * BIN, 1.0, 44.0, 430.0);
    let y = Axis::new(0.0, most as f64, 176.0, 12.0);
    let y_ticks: Vec<_> = y.ticks(4).into_iter().filter(|(_, label)| !label.contains('.')).collect();
    let over = guard.threshold.map(|t| guard.kept.iter().chain(&guard.rejected).filter(|&&v| v > t).count());
    let label = format!(
        "Histogram of the highest SSIM of {} candidates{}",
        guard.kept.len() + guard.rejected.len(),
        over.map(|n| format!("; {n} lie above the threshold")).unwrap_or_default()
    );
    html! {
        svg.chart viewBox="0 0 440 200" role="img" aria-label=(label) {
            (y_grid(&y, &y_ticks, 44.0, 430.0))
            @for (at, kept, rejected) in bins {
                @let (left, right) = (x.at(at as f64 * BIN), x.at((at + 1) as f64 * BIN));
                @for (class, from, count) in [("fill c1", 0, kept), ("fill c5", kept, rejected)] {
                    @if count > 0 {
                        @let (top, bottom) = (y.at((from + count) as f64), y.at(from as f64));
                        rect class=(class) x=(px(left + 0.5)) width=(px(right - left - 1.0)) y=(px(top)) height=(px(bottom - top)) {}
                    }
                }
            }
            @for (value, label) in x.ticks(6) {
                text.tick x=(px(x.at(value))) y="194" text-anchor="middle" { (label) }
            }
            @if let Some(threshold) = guard.threshold {
                line.threshold x1=(px(x.at(threshold))) x2=(px(x.at(threshold))) y1="6" y2="176" {}
            }
        }
    }
}
