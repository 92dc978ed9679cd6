//! Which species are taken for which, arm by arm.

use maud::{Markup, html};

use crate::report::data::{ArmResult, Results};
use crate::report::words::{main_comparison, percent};
use crate::text;

pub fn section(results: &Results) -> Markup {
    let tested = || results.arms.iter().filter(|arm| !arm.seeds.is_empty());
    if tested().next().is_none() {
        return html! { p { "No arm was tested." } };
    }
    let main = main_comparison(results).map(|main| main.arm.as_str());
    html! {
        p { "The most frequent errors of each arm, over all its seeds. The share is of the species' answers." }
        @for arm in tested() {
            details open[Some(arm.name.as_str()) == main] {
                summary { (arm.name) }
                @if arm.confusions.is_empty() { p { "Every test image was named rightly." } } @else { (table(arm)) }
            }
        }
    }
}

fn table(arm: &ArmResult) -> Markup {
    html! {
        div.scroll { table {
            caption { "Errors of " (arm.name) ", most frequent first" }
            thead { tr {
                th scope="col" { "Species" } th scope="col" { "Called" } th.n scope="col" { "Answers" } th.n scope="col" { "Share" }
            } }
            tbody { @for one in &arm.confusions {
                tr {
                    th scope="row" { (one.species) } td { (one.called) }
                    td.n { (text::thousands(one.images)) } td.n { (percent(Some(one.share))) }
                }
            } }
        } }
    }
}
