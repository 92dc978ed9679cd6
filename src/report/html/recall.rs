//! Recall of each species under each arm, and what changed between the two arms the recipe is about.

use maud::{Markup, html};

use super::chart::px;
use super::counts::MANY;
use crate::report::data::{Comparison, Results, SpeciesCounts, mean};
use crate::report::words::{main_comparison, percent_number, points};
use crate::text;

/// Of many species, so many of the largest changes either way are shown first.
const LARGEST: usize = 10;

/// A species with its mean recall under each arm, `None` where it has no test image.
struct Row<'a> {
    counts: &'a SpeciesCounts,
    recall: Vec<Option<f64>>,
    change: Option<f64>,
}

pub fn section(results: &Results) -> Markup {
    if results.arms.iter().all(|arm| arm.species.is_empty()) {
        return html! { p { "No arm was tested species by species." } };
    }
    let main = main_comparison(results);
    let mut rows = rows(results, main);
    rows.sort_by(|a, b| a.counts.real.cmp(&b.counts.real).then_with(|| a.counts.name.cmp(&b.counts.name)));
    let few = rows.iter().map(|row| row.counts.test).filter(|&test| test > 0).min();
    html! {
        p {
            "Means over seeds, in percent; rarest species first. "
            @if let Some(main) = main { "Change: " (main.arm) " minus " (main.baseline) ", in points. " }
            @if let Some(few) = few {
                "The least tested species has " (text::count(few, "test image")) ": one of them moves its recall by "
                (percent_number(Some(1.0 / few as f64))) " points in a seed, so read single rows with care."
            }
        }
        @if rows.len() > MANY {
            @if main.is_some() { (largest(results, &rows)) }
            details { summary { "All " (text::thousands(rows.len())) " species" } (table(results, rows.iter().collect(), "Recall of every species")) }
        } @else {
            (table(results, rows.iter().collect(), "Recall of every species; † marks the tail"))
        }
    }
}

fn rows<'a>(results: &'a Results, main: Option<&Comparison>) -> Vec<Row<'a>> {
    let arm = |name: &str| results.arms.iter().position(|arm| arm.name == name);
    let pair = main.and_then(|c| Some((arm(&c.arm)?, arm(&c.baseline)?)));
    let row = |(i, counts): (usize, &'a SpeciesCounts)| {
        let recall: Vec<_> = results
            .arms
            .iter()
            .map(|arm| arm.species.get(i).and_then(|species| mean(species.recall.iter().copied())))
            .collect();
        let change = pair.and_then(|(new, old)| Some(recall[new]? - recall[old]?));
        Row { counts, recall, change }
    };
    results.species.iter().enumerate().map(row).collect()
}

fn largest(results: &Results, rows: &[Row]) -> Markup {
    let mut changed: Vec<&Row> =
        rows.iter().filter(|row| row.change.is_some_and(|change| change.abs() > 1e-12)).collect();
    changed.sort_by(|a, b| b.change.unwrap_or(0.0).total_cmp(&a.change.unwrap_or(0.0)));
    let gains = changed.iter().filter(|row| row.change > Some(0.0)).count();
    let losses = changed.len() - gains;
    let up = changed.iter().copied().take(gains.min(LARGEST)).collect();
    let down = changed.iter().rev().copied().take(losses.min(LARGEST)).collect();
    html! {
        p {
            (text::thousands(gains)) " species gained, " (text::thousands(losses)) " lost, "
            (text::thousands(rows.len() - changed.len())) " stayed the same or have no test image."
        }
        @if gains > 0 { (table(results, up, "Largest gains")) }
        @if losses > 0 { (table(results, down, "Largest losses")) }
    }
}

fn table(results: &Results, rows: Vec<&Row>, caption: &str) -> Markup {
    let most = rows.iter().filter_map(|row| row.change).fold(0.0, |most: f64, change| most.max(change.abs()));
    let compared = rows.iter().any(|row| row.change.is_some());
    html! {
        div.scroll { table.bars {
            caption { (caption) }
            thead { tr {
                th scope="col" { "Species" } th.n scope="col" { "Real" } th.n scope="col" { "Synthetic" } th.n scope="col" { "Test" }
                @for arm in &results.arms { th.n scope="col" { (arm.name) } }
                @if compared { th.n scope="col" { "Change" } th.change scope="col" { span.unseen { "Bar of the change" } } }
            } }
            tbody { @for row in rows {
                tr {
                    th scope="row" { (row.counts.name) @if row.counts.tail { " " abbr title="one of the tail species" { "†" } } }
                    td.n { (row.counts.real) } td.n { (row.counts.kept) } td.n { (row.counts.test) }
                    @for recall in &row.recall { td.n { (percent_number(*recall)) } }
                    @if compared { td.n { (points(row.change)) } td.change { (bar(row.change, most)) } }
                }
            } }
        } }
    }
}

/// The change as a bar from the middle: right is better. The number stands in the same row.
fn bar(change: Option<f64>, most: f64) -> Markup {
    let width = change.filter(|_| most > 0.0).map_or(0.0, |change| change.abs() / most * 50.0);
    let (class, x) = if change < Some(0.0) { ("fill loss", 50.0 - width) } else { ("fill gain", 50.0) };
    html! {
        svg.bar viewBox="0 0 100 14" preserveAspectRatio="none" aria-hidden="true" {
            line.grid x1="50" x2="50" y1="0" y2="14" {}
            @if width > 0.0 { rect class=(class) x=(px(x)) y="2" width=(px(width)) height="10" {} }
        }
    }
}
