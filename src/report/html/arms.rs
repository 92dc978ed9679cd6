//! Accuracy of each arm, a dot a seed, with its mean and interval.

use maud::{Markup, html};

use super::chart::{Axis, colour, px, x_grid};
use super::doses;
use crate::report::data::{ArmResult, Interval, Results, mean};
use crate::report::words::{percent, percent_number};
use crate::text;

pub fn section(results: &Results) -> Markup {
    if results.arms.is_empty() {
        return html! { p { "No arm was trained." } };
    }
    let tail = results.species.iter().filter(|s| s.tail).count();
    html! {
        p {
            "Each arm trains the same network "
            @if results.arms.iter().all(|arm| arm.steps == results.arms[0].steps) { "for the same number of steps" }
            @else { "until it does no better on the validation images" }
            "; a dot is one seed, the bar is their mean"
            @if results.arms.iter().any(|arm| arm.macro_interval.is_some()) { ", the whisker its interval" }
            ". Whether arms differ is said by the paired comparison at the top, not by overlap here."
        }
        div.charts {
            figure {
                (strip(results, "Macro accuracy", |arm| (arm.macro_accuracy.iter().map(|&a| Some(a)).collect(), arm.macro_interval)))
                figcaption { "Macro accuracy in percent: the mean recall over all species." }
            }
            figure {
                (strip(results, "Tail accuracy", |arm| (arm.tail_accuracy.clone(), arm.tail_interval)))
                figcaption { "The same over the " (text::thousands(tail)) " tail species alone." }
            }
        }
        (doses::figures(results))
        (table(results))
    }
}

/// Values of one arm, one a seed, and the interval of their mean.
type Row = (Vec<Option<f64>>, Option<Interval>);

fn strip(results: &Results, title: &str, of: fn(&ArmResult) -> Row) -> Markup {
    const ROW: f64 = 40.0;
    let names: Vec<&str> = results.arms.iter().map(|arm| arm.name.as_str()).collect();
    let rows: Vec<Row> = results.arms.iter().map(of).collect();
    let values = rows.iter().flat_map(|(values, interval)| {
        let ends = interval.iter().flat_map(|interval| [interval.low, interval.high]);
        values.iter().flatten().copied().chain(ends).map(|value| value * 100.0).collect::<Vec<_>>()
    });
    // About as wide as the longest name.
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let left = (7.0 * longest as f64 + 22.0).clamp(118.0, 200.0);
    let axis = Axis::around(values, left, 426.0).within(0.0, 100.0);
    let bottom = 8.0 + ROW * rows.len() as f64;
    let means: Vec<String> = names
        .iter()
        .zip(&rows)
        .map(|(name, (values, _))| format!("{name} {}", percent(mean(values.iter().copied()))))
        .collect();
    html! {
        svg.chart viewBox={ "0 0 440 " (px(bottom + 24.0)) } role="img" aria-label={ (title) ", means: " (means.join(", ")) } {
            (x_grid(&axis, &axis.ticks(6), 4.0, bottom))
            @for (i, (name, (values, interval))) in names.iter().zip(&rows).enumerate() {
                @let y = 8.0 + ROW * (i as f64 + 0.5);
                text.label x=(px(left - 10.0)) y=(px(y + 4.0)) text-anchor="end" { (name) }
                g class=(colour(&names, name)) {
                    @if let Some(interval) = interval {
                        line.whisker x1=(px(axis.at(interval.low * 100.0))) x2=(px(axis.at(interval.high * 100.0))) y1=(px(y)) y2=(px(y)) {}
                    }
                    @for value in values.iter().flatten() {
                        circle.dot cx=(px(axis.at(value * 100.0))) cy=(px(y)) r="5" {}
                    }
                    @if let Some(mean) = mean(values.iter().copied()) {
                        rect.mean x=(px(axis.at(mean * 100.0) - 1.5)) y=(px(y - 12.0)) width="3" height="24" {}
                    } @else {
                        text.tick x=(px(left + 6.0)) y=(px(y + 4.0)) { "not measured" }
                    }
                }
            }
        }
    }
}

fn table(results: &Results) -> Markup {
    html! {
        div.scroll { table {
            caption { "Means over seeds; accuracies in percent" }
            thead { tr {
                th scope="col" { "Arm" } th.n scope="col" { "Train images" } th.n scope="col" { "Synthetic" } th.n scope="col" { "Steps" }
                th.n scope="col" { "Seeds" } th scope="col" { "Drawn" } th.n scope="col" { "Macro" } th.n scope="col" { "Interval" }
                th.n scope="col" { "Tail" } th.n scope="col" { "Head" } th.n scope="col" { "Micro" } th.n scope="col" { "Calibration error" }
            } }
            tbody { @for arm in &results.arms {
                tr {
                    th scope="row" { (arm.name) }
                    td.n { (text::thousands(arm.train_images)) } td.n { (text::thousands(arm.synthetic_images)) }
                    td.n { (text::thousands(arm.steps)) } td.n { (arm.seeds.len()) }
                    td { (drawn(arm)) }
                    td.n { (percent_number(mean(arm.macro_accuracy.iter().map(|&a| Some(a))))) }
                    td.n { (range(arm.macro_interval)) }
                    td.n { (percent_number(mean(arm.tail_accuracy.iter().copied()))) }
                    td.n { (percent_number(mean(arm.head_accuracy.iter().copied()))) }
                    td.n { (percent_number(mean(arm.micro_accuracy.iter().map(|&a| Some(a))))) }
                    td.n { (percent_number(mean(arm.calibration_error.iter().map(|&e| Some(e))))) }
                }
            } }
        } }
    }
}

/// How an arm's images are drawn and varied, where it is not the usual way.
fn drawn(arm: &ArmResult) -> String {
    let made = &arm.made_of;
    let mut parts = Vec::new();
    if made.sampling != "uniform" {
        parts.push(made.sampling.clone());
    }
    if made.augment != "plain" {
        parts.push(made.augment.clone());
    }
    if let Some(share) = made.synthetic_share {
        parts.push(format!("{} synthetic", percent(Some(share))));
    }
    if parts.is_empty() { "plain".to_string() } else { parts.join(", ") }
}

fn range(interval: Option<Interval>) -> String {
    let ends = |interval: Interval| [interval.low, interval.high].map(|end| percent_number(Some(end))).join(" to ");
    interval.map_or("–".to_string(), ends)
}
