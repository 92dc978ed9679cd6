//! Distances between the pooled sets of synthetic and real images, with what they can be compared to.

use maud::{Markup, html};

use crate::report::data::{Gate, Results, SetMetric};
use crate::report::words::{number, percent, setting};
use crate::text;

pub fn section(results: &Results) -> Markup {
    html! {
        @if let Some(baseline) = &results.baseline {
            p {
                "The filter asks a " (baseline.arch) " trained on real images only; it names "
                (percent(baseline.valid_accuracy)) " of the validation images rightly, and "
                (percent(baseline.names_rightly)) " of " (text::count(baseline.candidates, "candidate")) " before the filter."
            }
        }
        @if results.set_metrics.is_empty() {
            p { "No set metric was measured." }
        } @else {
            p {
                "These are numbers of a whole set, never of one image; lower is nearer to the real images. The floor is the "
                "same metric between two halves of the real images: no generator can be expected to get below it. FID of a small "
                "set is too high, its floor too; KID is not, and its floor lies near 0. Values from different features cannot "
                "be compared."
            }
            (table(&results.set_metrics))
            @if !results.gates.is_empty() { (gates(&results.gates)) }
            ul.plain {
                @for metric in &results.set_metrics {
                    li { (meaning(metric)) @if let Some(note) = &metric.note { " " (note) } }
                }
            }
        }
    }
}

fn table(metrics: &[SetMetric]) -> Markup {
    html! {
        div.scroll { table {
            caption { "Kept synthetic images against real train images" }
            thead { tr {
                th scope="col" { "Metric" } th.n scope="col" { "Value" } th.n scope="col" { "Floor" }
                th.n scope="col" { "N synthetic" } th.n scope="col" { "N real" } th.n scope="col" { "N in each half" }
                th scope="col" { "Features" } th.n scope="col" { "Gate" } th scope="col" { "Gate held" }
            } }
            tbody { @for m in metrics {
                tr {
                    th scope="row" { (m.metric.to_uppercase()) }
                    td.n { (number(m.value)) } td.n { (number(m.floor)) }
                    td.n { (text::thousands(m.n_synthetic)) } td.n { (text::thousands(m.n_real)) }
                    td.n { (m.floor_n.map_or("–".to_string(), text::thousands)) }
                    td { (m.features) }
                    td.n { (m.threshold.map_or("–".to_string(), |t| format!("≤ {}", setting(t)))) }
                    td { (match m.passed { Some(true) => "yes", Some(false) => "no", None => "–" }) }
                }
            } }
        } }
    }
}

/// Every gate with what it came to, the pooled ones first.
fn gates(gates: &[Gate]) -> Markup {
    let (pooled, of_species): (Vec<&Gate>, Vec<&Gate>) = gates.iter().partition(|gate| gate.species.is_none());
    html! {
        div.scroll { table {
            caption { "Gates: the candidates that raised a distance most went first, until it held" }
            thead { tr {
                th scope="col" { "Gate" } th scope="col" { "Set" } th.n scope="col" { "Value" } th.n scope="col" { "Threshold" }
                th.n scope="col" { "N synthetic" } th.n scope="col" { "N real" } th.n scope="col" { "Dropped last" }
            } }
            tbody { @for gate in pooled.into_iter().chain(of_species) {
                tr {
                    th scope="row" { (gate.gate) }
                    td { (gate.species.as_deref().unwrap_or("all kept images")) }
                    td.n { (number(gate.value)) } td.n { "≤ " (setting(gate.threshold)) }
                    td.n { (text::thousands(gate.n_synthetic)) } td.n { (text::thousands(gate.n_real)) }
                    td.n { (text::thousands(gate.dropped)) }
                }
            } }
        } }
    }
}

/// The metric in a plain sentence; its reservation follows as the caller wrote it.
fn meaning(m: &SetMetric) -> String {
    let name = m.metric.to_uppercase();
    let mut out = match (m.value, m.floor) {
        (None, _) => format!("{name} was not measured."),
        (Some(_), None) => format!("{name}: there is no real-vs-real floor to compare it with."),
        (Some(value), Some(floor)) if value > floor => format!(
            "{name} lies {} above its floor: by these features the synthetic images are farther from the real ones than \
             real images are from each other.",
            number(Some(value - floor))
        ),
        (Some(_), Some(_)) => {
            format!(
                "{name} does not exceed its floor: by these features the synthetic images are as near as real ones."
            )
        }
    };
    match m.passed {
        Some(true) => out.push_str(" The recipe's gate holds."),
        Some(false) => out.push_str(" The recipe's gate does not hold."),
        None => {}
    }
    out
}
