//! Candidates that the filter dropped: how many for which reason, and some of them with every score.

use maud::{Markup, html};

use super::guards;
use super::picture::Album;
use super::shown_of;
use crate::report::data::{GALLERY_REJECTED, RejectedImage, Results, Scores};
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
        (guards::section(&results.guards))
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
                    (album.show(nearest, &beside(image)))
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
        ("held out", scores.held_out.is_some(), score(scores.held_out)),
        ("nearest", scores.nearest_held_out.is_some(), text(&scores.nearest_held_out)),
        ("likeness", scores.likeness.is_some(), score(scores.likeness)),
        ("nearest", scores.nearest_alike.is_some(), text(&scores.nearest_alike)),
        ("twin", scores.duplicate_of.is_some(), text(&scores.duplicate_of)),
        ("realism", scores.realism.is_some(), realism(scores.realism)),
        ("to source", scores.source_ssim.is_some(), score(scores.source_ssim)),
        ("source", image.source.is_some(), text(&image.source)),
        ("Fréchet", scores.frechet.is_some(), number(scores.frechet)),
        ("key", true, image.key.clone()),
    ];
    html! {
        dl.scores { @for (name, known, value) in rows { @if known { dt { (name) } dd { (breakable(&value)) } } } }
    }
}

/// What the picture beside a rejected one is.
fn beside(image: &RejectedImage) -> String {
    let scores = &image.scores;
    match (&scores.duplicate_of, image.reason.as_str()) {
        (Some(twin), _) => format!("its twin among the kept candidates, {twin}"),
        (None, "held_out_max") => {
            format!("nearest photo of valid or test, {}", scores.nearest_held_out.as_deref().unwrap_or("unnamed"))
        }
        (None, "copy_max") => {
            format!("the photo it is a copy of, {}", scores.nearest_alike.as_deref().unwrap_or("unnamed"))
        }
        _ => format!("nearest real image, {}", scores.nearest.as_deref().unwrap_or("unnamed")),
    }
}

/// A realism score; one that has a real photo's own features is infinite.
fn realism(value: Option<f64>) -> String {
    if value == Some(f64::INFINITY) { "∞".to_string() } else { score(value) }
}

/// A path that may go on in the next line after each slash.
fn breakable(path: &str) -> Markup {
    html! { @for (i, part) in path.split('/').enumerate() { @if i > 0 { "/" wbr; } (part) } }
}
