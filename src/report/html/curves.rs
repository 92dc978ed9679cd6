//! Training curves, a line an arm and seed.

use maud::{Markup, html};

use super::chart::{Axis, colour, px, x_grid, y_grid};
use crate::report::data::{HistoryRow, Results};
use crate::text;

/// A line keeps at most so many points, evenly picked: a page does not show more.
const POINTS: usize = 160;

/// Arm, seed, and the points `(step, value)` in the order of the steps.
type Line<'a> = (&'a str, u64, Vec<(f64, f64)>);

pub fn section(results: &Results) -> Markup {
    let arms: Vec<&str> = results.arms.iter().map(|arm| arm.name.as_str()).collect();
    let (compared, fitted): (Vec<&HistoryRow>, Vec<&HistoryRow>) =
        results.history.iter().partition(|row| arms.contains(&row.arm.as_str()));
    let mut others: Vec<&str> = fitted.iter().map(|row| row.arm.as_str()).collect();
    others.sort_unstable();
    others.dedup();
    let other = |name: &str| fitted.iter().copied().filter(|row| row.arm == name).collect::<Vec<_>>();
    html! {
        @if results.history.is_empty() { p { "No training was recorded." } }
        @else {
            @if !compared.is_empty() {
                p.legend { @for arm in &arms {
                    span.key {
                        svg.stroke viewBox="0 0 28 10" aria-hidden="true" { line class={ "line " (colour(&arms, arm)) } x1="1" x2="27" y1="5" y2="5" {} }
                        (arm)
                    }
                } }
            }
            div.charts {
                (chart(&arms, &compared, "Training loss of the arms", |row| row.loss))
                (chart(&arms, &compared, "Validation accuracy of the arms, percent", |row| row.valid_accuracy.map(|a| a * 100.0)))
                @for name in &others {
                    (chart(&arms, &other(name), &format!("Training loss: {name}"), |row| row.loss))
                    (chart(&arms, &other(name), &format!("Validation accuracy, percent: {name}"), |row| row.valid_accuracy.map(|a| a * 100.0)))
                }
            }
            p.quiet { "A line is one seed; of long runs every line shows " (POINTS) " steps. history.csv has all." }
        }
    }
}

fn chart(arms: &[&str], rows: &[&HistoryRow], title: &str, of: fn(&HistoryRow) -> Option<f64>) -> Markup {
    let lines = lines(rows, of);
    let points = || lines.iter().flat_map(|(_, _, points)| points.iter());
    let last = points().map(|point| point.0).fold(0.0, f64::max);
    let x = Axis::new(0.0, last, 48.0, 428.0);
    let y = Axis::around(points().map(|point| point.1), 196.0, 10.0);
    let label = format!("{title}: {} over {} steps", text::count(lines.len(), "line"), text::thousands(last as usize));
    html! {
        @if points().count() > 0 {
            figure {
                svg.chart viewBox="0 0 440 222" role="img" aria-label=(label) {
                    (y_grid(&y, &y.ticks(5), 48.0, 428.0))
                    (x_grid(&x, &x.ticks(5), 10.0, 196.0))
                    @for (arm, _, points) in &lines { (line(&x, &y, points, &colour_of(arms, arm))) }
                }
                figcaption { (title) ", by step" }
            }
        }
    }
}

/// A run that is no arm stands alone in its chart and needs no colour.
fn colour_of(arms: &[&str], name: &str) -> String {
    if arms.contains(&name) { colour(arms, name) } else { "alone".to_string() }
}

/// A lone point is a dot, since a line of one point is not seen.
fn line(x: &Axis, y: &Axis, points: &[(f64, f64)], colour: &str) -> Markup {
    let path: Vec<String> =
        points.iter().map(|&(step, value)| format!("{},{}", px(x.at(step)), px(y.at(value)))).collect();
    html! {
        @if let [(step, value)] = points { circle class={ "dot " (colour) } cx=(px(x.at(*step))) cy=(px(y.at(*value))) r="3" {} }
        @else { polyline class={ "line " (colour) } points=(path.join(" ")) {} }
    }
}

fn lines<'a>(rows: &[&'a HistoryRow], of: fn(&HistoryRow) -> Option<f64>) -> Vec<Line<'a>> {
    let mut lines: Vec<Line> = Vec::new();
    for row in rows {
        let Some(value) = of(row).filter(|value| value.is_finite()) else { continue };
        let point = (row.step as f64, value);
        match lines.iter_mut().find(|(arm, seed, _)| *arm == row.arm && *seed == row.seed) {
            Some((_, _, points)) => points.push(point),
            None => lines.push((&row.arm, row.seed, vec![point])),
        }
    }
    for (_, _, points) in &mut lines {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        *points = thinned(points);
    }
    lines
}

/// [`POINTS`] of the points, first and last among them.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= POINTS {
        return points.to_vec();
    }
    (0..POINTS).map(|i| points[i * (points.len() - 1) / (POINTS - 1)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_is_thinned_and_keeps_its_ends() {
        let long: Vec<_> = (0..1000).map(|i| (f64::from(i), 1.0)).collect();
        let thin = thinned(&long);
        assert_eq!((thin.len(), thin[0].0, thin[POINTS - 1].0), (POINTS, 0.0, 999.0));
    }
}
