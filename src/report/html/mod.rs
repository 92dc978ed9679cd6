//! `report.html`: the results as one page that opens offline, without scripts. Knows the plain results only.

mod arms;
mod chart;
mod confusions;
mod counts;
mod curves;
mod doses;
mod gallery;
mod guards;
mod picture;
mod recall;
mod rejected;
mod sets;
mod verdict;

use std::io::{self, Write};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use self::picture::Album;
use super::data::{Generator, Results, portable};
use super::words::{DASH, percent_number, setting};
use crate::text;

/// Bytes of encoded pictures in each of the two sections that show them: they keep the page a few megabytes.
const GALLERY_BYTES: usize = 7 << 19;
const REJECTED_BYTES: usize = 3 << 19;

const STYLE: &str = include_str!("style.css");

/// Nothing may be fetched and nothing may run, whatever a name in the results says.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// Writes the page.
pub fn write(results: &Results, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(page(results).into_string().as_bytes())
}

fn page(results: &Results) -> Markup {
    let sections = [
        ("counts", "Counts", "Images before and after", counts::section(results)),
        (
            "images",
            "Kept images",
            "Kept images beside real ones",
            gallery::section(results, &mut Album::new(GALLERY_BYTES)),
        ),
        ("rejected", "Rejected", "Rejected candidates", rejected::section(results, &mut Album::new(REJECTED_BYTES))),
        ("sets", "Set distance", "The synthetic set as a whole", sets::section(results)),
        ("arms", "Arms", "Accuracy of each arm", arms::section(results)),
        ("species", "Species", "Recall by species", recall::section(results)),
        ("confusions", "Confusions", "What is taken for what", confusions::section(results)),
        ("curves", "Curves", "Training curves", curves::section(results)),
        ("again", "Make it again", "How to make it again", again(results)),
    ];
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // It is written again after each classifier; nobody has to ask for it.
                @if results.unfinished.is_some() { meta http-equiv="refresh" content="15"; }
                title { (results.name) " · birdaug report" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.eyebrow { "birdaug report" }
                    h1 { (results.name) }
                    p.lead { (origin(results)) }
                    nav aria-label="Sections" {
                        @for (id, short, _, _) in &sections { a href={ "#" (id) } { (short) } }
                    }
                }
                main {
                    (verdict::section(results))
                    @for (id, _, title, body) in sections {
                        section id=(id) { h2 { (title) } (body) }
                    }
                }
                footer { p { "Written by birdaug " (results.engine) ". This page needs no network and runs no script." } }
            }
        }
    }
}

/// What was worked on, in a line.
fn origin(results: &Results) -> String {
    let species = match results.species.len() {
        1 => "1 species".to_string(),
        n => format!("{} species", text::thousands(n)),
    };
    let mut parts = vec![portable(&results.dataset).to_string(), species];
    if !results.split.is_empty() {
        parts.push(format!("train cut: {}", results.split));
    }
    if !results.tested_on.is_empty() {
        parts.push(format!("tested on: {}", results.tested_on));
    }
    parts.retain(|part| !part.is_empty());
    parts.join(" · ")
}

fn again(results: &Results) -> Markup {
    let recipe = portable(&results.recipe);
    let or_dash = |value: &str| if value.is_empty() { DASH.to_string() } else { value.to_string() };
    html! {
        p {
            "The same recipe, dataset and engine make the same images, byte for byte, on the same kind of device. "
            "The lock beside the recipe names the bytes that were used."
        }
        pre { code { "birdaug build " (quoted(recipe)) "\nbirdaug verify " (quoted(recipe)) } }
        @if !results.models.is_empty() { (models(results)) }
        dl.facts {
            div { dt { "Recipe" } dd { (or_dash(recipe)) } }
            div { dt { "Dataset" } dd { (or_dash(portable(&results.dataset))) } }
            div { dt { "birdaug" } dd { (or_dash(&results.engine)) } }
            div { dt { "libtorch" } dd { (or_dash(&results.libtorch)) } }
            div { dt { "Device" } dd { (or_dash(&results.device)) } }
            div { dt { "Generator" } dd { (results.generator.as_ref().map_or(DASH.to_string(), generator)) } }
        }
    }
}

/// The classifiers beside the page.
fn models(results: &Results) -> Markup {
    html! {
        p { "The best classifiers, chosen by their accuracy on valid, are folders beside this page; "
            code { "birdaug predict FOLDER IMAGES..." } " asks them, and torchvision loads their weights." }
        div.scroll { table {
            caption { "Saved classifiers" }
            thead { tr {
                th scope="col" { "Folder" } th scope="col" { "Arm" } th.n scope="col" { "Seed" } th.n scope="col" { "Valid, percent" }
            } }
            tbody { @for model in &results.models {
                tr {
                    th scope="row" { (model.path) } td { (model.arm) } td.n { (model.seed) }
                    td.n { (percent_number(model.valid_accuracy)) }
                }
            } }
        } }
    }
}

fn generator(g: &Generator) -> String {
    let mut parts = vec![format!("{}, {} at {} px", g.kind, g.mode, g.size)];
    parts.push(format!("{} with {}", g.sampler, text::count(g.steps, "step")));
    parts.push(format!("guidance {}", setting(g.guidance)));
    if let Some(strength) = g.strength {
        parts.push(format!("strength {}", setting(strength)));
    }
    parts.push(g.precision.clone());
    if let Some(steps) = g.train_steps {
        parts.push(format!("fitted here for {}", text::count(steps, "step")));
    }
    parts.join(", ")
}

/// A path as one word of a shell.
fn quoted(path: &str) -> String {
    let plain = path.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+".contains(c));
    if plain && !path.is_empty() { path.to_string() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

/// `n of m` in words, for a section that does not show everything.
fn shown_of(shown: usize, all: usize) -> String {
    if shown >= all && all > 1 {
        format!("all {}", text::thousands(all))
    } else {
        format!("{shown} of {}", text::thousands(all))
    }
}
