//! Axes, ticks and colours that the page's charts share. Knows pixels and numbers, no results.

use maud::{Markup, html};

use crate::report::words::fixed;

/// A stretch of numbers laid over a stretch of pixels.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// `low..high` over the pixels `from..to`; a stretch without width is widened.
    pub fn new(low: f64, high: f64, from: f64, to: f64) -> Axis {
        let (low, high) = if high > low { (low, high) } else { (low - 0.5, low + 0.5) };
        Axis { low, high, from, to }
    }

    /// `values` and a margin of a twentieth at both ends, over the pixels; 0..1 where there are none.
    pub fn around(values: impl IntoIterator<Item = f64>, from: f64, to: f64) -> Axis {
        let finite = values.into_iter().filter(|value| value.is_finite());
        let (low, high) = finite.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        if low > high {
            return Axis::new(0.0, 1.0, from, to);
        }
        let margin = if high > low { (high - low) / 20.0 } else { (low.abs() / 20.0).max(0.005) };
        Axis::new(low - margin, high + margin, from, to)
    }

    /// The same pixels with the numbers held inside `low..high`.
    pub fn within(self, low: f64, high: f64) -> Axis {
        Axis::new(self.low.max(low), self.high.min(high), self.from, self.to)
    }

    /// Where `value` lies, in pixels; outside values lie on the border.
    pub fn at(&self, value: f64) -> f64 {
        let share = (value.clamp(self.low, self.high) - self.low) / (self.high - self.low);
        self.from + share * (self.to - self.from)
    }

    /// Round numbers inside, at most about `most`, with the decimals they need.
    pub fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        let (step, digits) = step((self.high - self.low) / most.max(1) as f64);
        let first = (self.low / step).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|i| i as f64 * step).map(|tick| (tick, fixed(tick, digits))).collect()
    }
}

/// The smallest of 1, 2, 5 times a power of ten that is at least `width`, and its decimals.
fn step(width: f64) -> (f64, usize) {
    for exponent in -6..=15i32 {
        for mantissa in ["1", "2", "5"] {
            let step: f64 = format!("{mantissa}e{exponent}").parse().unwrap_or(1.0);
            if step >= width {
                return (step, usize::try_from(-exponent).unwrap_or(0));
            }
        }
    }
    (width, 0)
}

/// A coordinate with a decimal: enough for a screen, and short.
pub fn px(value: f64) -> String {
    let shown = format!("{value:.1}");
    if shown == "-0.0" { "0.0".to_string() } else { shown }
}

/// Vertical grid lines with their numbers underneath, between `top` and `bottom`.
pub fn x_grid(axis: &Axis, ticks: &[(f64, String)], top: f64, bottom: f64) -> Markup {
    html! {
        @for (value, label) in ticks {
            @let x = px(axis.at(*value));
            line.grid x1=(x) x2=(x) y1=(px(top)) y2=(px(bottom)) {}
            text.tick x=(x) y=(px(bottom + 16.0)) text-anchor="middle" { (label) }
        }
    }
}

/// Horizontal grid lines with their numbers at the left, between `left` and `right`.
pub fn y_grid(axis: &Axis, ticks: &[(f64, String)], left: f64, right: f64) -> Markup {
    html! {
        @for (value, label) in ticks {
            @let y = axis.at(*value);
            line.grid x1=(px(left)) x2=(px(right)) y1=(px(y)) y2=(px(y)) {}
            text.tick x=(px(left - 6.0)) y=(px(y + 4.0)) text-anchor="end" { (label) }
        }
    }
}

/// The colour class of an arm: real and augmented always have the colours of real and synthetic images, the
/// others take the next ones in order.
pub fn colour(arms: &[&str], arm: &str) -> String {
    let slot = match arm {
        "real" => 0,
        "augmented" => 1,
        _ => {
            let others = arms.iter().filter(|name| !matches!(**name, "real" | "augmented"));
            2 + others.take_while(|name| **name != arm).count() % 4
        }
    };
    format!("c{slot}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let labels = |axis: Axis| axis.ticks(5).into_iter().map(|(_, label)| label).collect::<Vec<_>>();
        assert_eq!(labels(Axis::new(0.0, 1.0, 0.0, 100.0)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(Axis::new(-3.0, 7.0, 0.0, 100.0)), ["−2", "0", "2", "4", "6"]);
        assert_eq!(labels(Axis::new(41.3, 41.7, 0.0, 100.0)), ["41.3", "41.4", "41.5", "41.6", "41.7"]);
        assert_eq!(labels(Axis::new(0.0, 2000.0, 0.0, 100.0)), ["0", "500", "1000", "1500", "2000"]);
    }

    #[test]
    fn an_axis_without_values_or_width_still_places_them() {
        assert_eq!(Axis::around([], 0.0, 10.0).at(0.5), 5.0);
        assert_eq!(Axis::around([0.8, 0.8, f64::NAN], 0.0, 10.0).at(0.8), 5.0);
        assert_eq!(Axis::new(0.0, 1.0, 0.0, 10.0).at(7.0), 10.0);
    }

    #[test]
    fn real_and_augmented_keep_their_colours_in_any_order() {
        let arms = ["oversampled", "augmented", "synthetic", "real"];
        assert_eq!(arms.map(|arm| colour(&arms, arm)), ["c2", "c1", "c3", "c0"]);
    }
}
