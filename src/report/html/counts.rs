//! Images a species before and after, as stacked bars with their numbers; many species as a profile first.

use maud::{Markup, html};

use super::chart::px;
use crate::report::data::{Results, SpeciesCounts};
use crate::text;

/// Up to so many species are shown as bars at once; more start folded, under a profile.
pub const MANY: usize = 40;

pub fn section(results: &Results) -> Markup {
    if results.species.is_empty() {
        return html! { p { "No species was counted." } };
    }
    let mut species: Vec<&SpeciesCounts> = results.species.iter().collect();
    species.sort_by(|a, b| b.real.cmp(&a.real).then_with(|| a.name.cmp(&b.name)));
    let most = species.iter().map(|s| total(s)).max().unwrap_or(0).max(1);
    let short = species.iter().filter(|s| s.shortfall > 0).count();
    html! {
        p { (summary(results, short)) }
        p.legend {
            span.key { span.swatch.c0 {} "real" }
            span.key { span.swatch.c1 {} "synthetic, kept" }
            @if short > 0 { span.key { span.swatch.missing {} "wanted, but not reached" } }
        }
        @if species.len() > MANY {
            (profile(&species, most))
            details { summary { "All " (text::thousands(species.len())) " species" } (table(&species, most)) }
        } @else {
            (table(&species, most))
        }
    }
}

fn total(s: &SpeciesCounts) -> usize {
    s.real + s.kept + s.shortfall
}

fn summary(results: &Results, short: usize) -> String {
    let real = results.species.iter().map(|s| s.real);
    let after = results.species.iter().map(|s| s.real + s.kept);
    let range = |mut counts: Vec<usize>| {
        counts.sort_unstable();
        let (least, most) = (counts[0], counts[counts.len() - 1]);
        if least == most {
            text::thousands(most)
        } else {
            format!("{} to {}", text::thousands(least), text::thousands(most))
        }
    };
    let mut out =
        format!("Train images a species: {} before, {} after. ", range(real.collect()), range(after.collect()));
    match short {
        0 => out.push_str("Every species got all the synthetic images that the recipe asks for."),
        1 => out.push_str("One species got fewer synthetic images than the recipe asks for."),
        n => out.push_str(&format!("{n} species got fewer synthetic images than the recipe asks for.")),
    }
    out
}

fn table(species: &[&SpeciesCounts], most: usize) -> Markup {
    html! {
        div.scroll {
            table.bars {
                caption { "Train images a species, most real ones first; † marks the tail" }
                thead { tr {
                    th scope="col" { "Species" } th.bar scope="col" { span.unseen { "Bar" } }
                    th.n scope="col" { "Real" } th.n scope="col" { "Kept" } th.n scope="col" { "Wanted" }
                    th.n scope="col" { "Rejected" } th.n scope="col" { "Made" }
                } }
                tbody { @for s in species {
                    tr {
                        th scope="row" { (s.name) @if s.tail { " " abbr title="one of the tail species" { "†" } } }
                        td.bar { (bar(s, most)) }
                        td.n { (s.real) } td.n { (s.kept) } td.n.short[s.shortfall > 0] { (s.wanted) }
                        td.n { (s.rejected) } td.n { (s.candidates) }
                    }
                } }
            }
        }
    }
}

/// The numbers stand in the same row, so the bar is hidden from screen readers.
fn bar(s: &SpeciesCounts, most: usize) -> Markup {
    let x = |count: usize| count as f64 * 1000.0 / most as f64;
    let part = |class: &str, from: usize, count: usize| {
        html! { @if count > 0 { rect class=(class) x=(px(x(from))) y="0" width=(px(x(count))) height="14" {} } }
    };
    html! {
        svg.bar viewBox="0 0 1000 14" preserveAspectRatio="none" aria-hidden="true" {
            (part("fill c0", 0, s.real))
            (part("fill c1", s.real, s.kept))
            (part("missing", s.real + s.kept, s.shortfall))
        }
    }
}

/// All species side by side, a thin column each.
fn profile(species: &[&SpeciesCounts], most: usize) -> Markup {
    const HEIGHT: f64 = 180.0;
    let column = 1000.0 / species.len() as f64;
    // A little wider than its place: else the page shows through between neighbours.
    let width = px(column + 0.6);
    let y = |count: usize| count as f64 * HEIGHT / most as f64;
    let label = format!(
        "Stacked columns of real and synthetic images of {} species, most real images first; the highest has {}",
        species.len(),
        most
    );
    html! {
        figure {
            div.profile {
                span.top { (text::thousands(most)) } span.zero { "0" }
                svg viewBox={ "0 0 1000 " (px(HEIGHT)) } preserveAspectRatio="none" role="img" aria-label=(label) {
                    @for (i, s) in species.iter().enumerate() {
                        @let x = px(i as f64 * column);
                        @for (class, from, count) in [("fill c0", 0, s.real), ("fill c1", s.real, s.kept), ("missing", s.real + s.kept, s.shortfall)] {
                            @if count > 0 {
                                rect class=(class) x=(x) width=(width) y=(px(HEIGHT - y(from + count))) height=(px(y(count))) {}
                            }
                        }
                    }
                }
            }
            figcaption { "A column a species, most real train images first." }
        }
    }
}
