//! Accuracy over the dose of synthetic images, where arms differ by that alone.

use maud::{Markup, html};

use super::chart::{Axis, px, x_grid, y_grid};
use crate::report::data::{ArmResult, Results, mean};
use crate::report::words::{percent, setting};

/// So many doses make a curve.
const CURVE: usize = 3;

/// Charts of macro and tail accuracy over the dose for every series of arms; nothing where there is none.
pub fn figures(results: &Results) -> Markup {
    let mut series: Vec<Vec<&ArmResult>> = Vec::new();
    for arm in results.arms.iter().filter(|arm| arm.made_of.real && !arm.seeds.is_empty()) {
        let alike = |other: &ArmResult| {
            let (a, b) = (&arm.made_of, &other.made_of);
            (&a.sampling, &a.augment) == (&b.sampling, &b.augment)
                && (a.synthetic_share == b.synthetic_share || a.dose == 0.0 || b.dose == 0.0)
        };
        match series.iter_mut().find(|series| series.iter().all(|other| alike(other))) {
            // Of two arms of one dose, which are the same, the first.
            Some(series) if series.iter().any(|other| other.made_of.dose == arm.made_of.dose) => {}
            Some(series) => series.push(arm),
            None => series.push(vec![arm]),
        }
    }
    series.retain(|series| series.len() >= CURVE);
    series.iter_mut().for_each(|arms| arms.sort_by(|a, b| a.made_of.dose.total_cmp(&b.made_of.dose)));
    html! {
        @for arms in &series {
            h3 { "By dose" (kind(arms[0])) }
            div.charts {
                (chart(arms, "Macro accuracy", &|arm| arm.macro_accuracy.iter().map(|&a| Some(a)).collect()))
                (chart(arms, "Tail accuracy", &|arm| arm.tail_accuracy.clone()))
            }
        }
    }
}

/// How a series is drawn and varied, where it is not the usual way.
fn kind(arm: &ArmResult) -> String {
    let made = &arm.made_of;
    let unusual = [(&made.sampling, "uniform"), (&made.augment, "plain")]
        .into_iter()
        .filter(|(own, usual)| own.as_str() != *usual);
    unusual.map(|(own, _)| format!(", {own}")).collect()
}

fn chart(arms: &[&ArmResult], title: &str, of: &dyn Fn(&ArmResult) -> Vec<Option<f64>>) -> Markup {
    let values: Vec<(f64, Vec<f64>)> = arms
        .iter()
        .map(|arm| (arm.made_of.dose, of(arm).into_iter().flatten().map(|value| value * 100.0).collect()))
        .collect();
    let most = values.last().map_or(1.0, |(dose, _)| *dose);
    let x = Axis::new(0.0, most, 56.0, 420.0);
    let y = Axis::around(values.iter().flat_map(|(_, values)| values.iter().copied()), 196.0, 10.0).within(0.0, 100.0);
    let means: Vec<(f64, f64)> = values
        .iter()
        .filter_map(|(dose, values)| Some((*dose, mean(values.iter().map(|&value| Some(value)))?)))
        .collect();
    let said: Vec<String> =
        means.iter().map(|(dose, value)| format!("{}x {}", setting(*dose), percent(Some(value / 100.0)))).collect();
    let line: Vec<String> =
        means.iter().map(|(dose, value)| format!("{},{}", px(x.at(*dose)), px(y.at(*value)))).collect();
    let ticks: Vec<(f64, String)> = values.iter().map(|(dose, _)| (*dose, format!("{}x", setting(*dose)))).collect();
    html! {
        figure {
            svg.chart viewBox="0 0 440 222" role="img" aria-label={ (title) " by dose, means: " (said.join(", ")) } {
                (y_grid(&y, &y.ticks(5), 56.0, 428.0))
                (x_grid(&x, &ticks, 10.0, 196.0))
                g.c1 {
                    @for (dose, values) in &values {
                        @for value in values { circle.dot cx=(px(x.at(*dose))) cy=(px(y.at(*value))) r="4" {} }
                    }
                }
                polyline.line.alone points=(line.join(" ")) {}
            }
            figcaption { (title) " in percent over the dose: so many times the synthetic images that the recipe wants; a dot a seed, the line their mean." }
        }
    }
}
