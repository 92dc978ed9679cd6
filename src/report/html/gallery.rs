//! Kept synthetic images beside real photos of their species, with their scores.

use maud::{Markup, html};

use super::picture::Album;
use super::shown_of;
use crate::report::data::{GALLERY_KEPT, GALLERY_REAL, GALLERY_SPECIES, Gallery, KeptImage, Results};
use crate::report::words::{percent, score};
use crate::text;

pub fn section(results: &Results, album: &mut Album) -> Markup {
    let augmented = results.species.iter().filter(|s| s.kept > 0).count();
    let mut shown = 0;
    let shelves = html! {
        @for gallery in results.gallery.iter().take(GALLERY_SPECIES) {
            @if album.has_room(pictures(gallery)) {
                ({ shown += 1; shelf(results, gallery, album) })
            }
        }
    };
    let hidden = augmented.saturating_sub(shown);
    html! {
        @if shown == 0 {
            p {
                @if augmented == 0 { "No synthetic image was kept, so there is none to show." }
                @else { "No pictures were handed to this report; manifest.csv lists every image with its scores." }
            }
        } @else {
            p {
                "A photo of the species stands left, images made for it right. Under each: the probability that the "
                "classifier trained on real images gives the species, and the highest SSIM against a real image (1 is a copy)."
            }
            (shelves)
            @if hidden > 0 {
                p.quiet { "And " (text::thousands(hidden)) " more species with synthetic images: see manifest.csv in the tree." }
            }
        }
    }
}

fn pictures(gallery: &Gallery) -> impl Iterator<Item = &crate::report::data::Picture> {
    let real = gallery.real.iter().take(GALLERY_REAL).map(|image| &image.picture);
    real.chain(gallery.kept.iter().take(GALLERY_KEPT).map(|image| &image.picture))
}

fn shelf(results: &Results, gallery: &Gallery, album: &mut Album) -> Markup {
    let counts = results.species.iter().find(|s| s.name == gallery.species);
    let name = &gallery.species;
    let kept = gallery.kept.len().min(GALLERY_KEPT);
    html! {
        article.shelf {
            h3 {
                (name)
                @if let Some(s) = counts {
                    " " span.quiet { (s.real) " real + " (s.kept) " synthetic; " (shown_of(kept, s.kept.max(kept))) " shown" }
                }
            }
            div.shelf-row {
                ul.pictures.real aria-label={ "Real photos of " (name) } {
                    @for image in gallery.real.iter().take(GALLERY_REAL) {
                        li title=(image.path) { (album.show(&image.picture, &format!("real photo of {name}"))) span.score { "real" } }
                    }
                }
                ul.pictures aria-label={ "Synthetic images of " (name) } {
                    @for image in gallery.kept.iter().take(GALLERY_KEPT) {
                        li title=(details(image)) {
                            (album.show(&image.picture, &format!("synthetic image of {name}")))
                            span.score { (percent(image.scores.confidence)) br; "SSIM " (score(image.scores.ssim)) }
                            span.score.mono { (image.key) }
                        }
                    }
                }
            }
        }
    }
}

/// Where the image comes from, for a pointer that rests on it; manifest.csv has the same.
fn details(image: &KeptImage) -> String {
    let mut parts = vec![format!("key {}", image.key)];
    let scores = &image.scores;
    let mut add = |name: &str, value: Option<&String>| {
        if let Some(value) = value {
            parts.push(format!("{name} {value}"));
        }
    };
    add("made from", image.source.as_ref());
    add("nearest real image", scores.nearest.as_ref());
    add("classifier says", scores.named.as_ref());
    if scores.source_ssim.is_some() {
        parts.push(format!("SSIM to source {}", score(scores.source_ssim)));
    }
    parts.join("\n")
}
