//! The intervals that numbers of a recipe must lie in, and how messages say them. Knows numbers only.

use std::fmt;

/// An interval of finite numbers; the lower end may be left out of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Within {
    low: f64,
    low_is_out: bool,
    high: f64,
}

/// (0, 1]
pub(super) const SHARE: Within = Within { low: 0.0, low_is_out: true, high: 1.0 };
/// [0.6, 1]: below, photos of strangers are meant too, which no comparison looks for
pub(super) const COPY: Within = Within { low: 0.6, low_is_out: false, high: 1.0 };
/// (0, 10]
pub(super) const DOSE: Within = Within { low: 0.0, low_is_out: true, high: 10.0 };
/// [0, 10]
pub(super) const DOSE_OR_NONE: Within = Within { low: 0.0, low_is_out: false, high: 10.0 };
/// [0, 1]
pub(super) const UNIT: Within = Within { low: 0.0, low_is_out: false, high: 1.0 };
/// (0, inf)
pub(super) const ABOVE_ZERO: Within = Within { low: 0.0, low_is_out: true, high: f64::INFINITY };
/// [0, inf)
pub(super) const FROM_ZERO: Within = Within { low: 0.0, low_is_out: false, high: f64::INFINITY };
/// (-inf, inf)
pub(super) const ANY: Within = Within { low: f64::NEG_INFINITY, low_is_out: false, high: f64::INFINITY };
/// [1, inf)
pub(super) const FROM_ONE: Within = Within { low: 1.0, low_is_out: false, high: f64::INFINITY };

/// [0, 1), as far as anyone means it
pub(super) const BELOW_ONE: Within = Within { low: 0.0, low_is_out: false, high: 0.99999 };
/// [0, 0.5]
pub(super) const HALF: Within = Within { low: 0.0, low_is_out: false, high: 0.5 };

impl Within {
    /// Whether `x` is finite and inside.
    pub fn holds(self, x: f64) -> bool {
        let above = if self.low_is_out { x > self.low } else { x >= self.low };
        x.is_finite() && above && x <= self.high
    }
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Within { low, low_is_out, high } = *self;
        if low == f64::NEG_INFINITY {
            return write!(f, "a number");
        }
        match (low_is_out, high.is_finite()) {
            (true, true) => write!(f, "a number above {low} and at most {high}"),
            (true, false) => write!(f, "a number above {low}"),
            (false, true) => write!(f, "a number from {low} to {high}"),
            (false, false) => write!(f, "a number, {low} or more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_keeps_its_ends_and_refuses_what_is_no_number() {
        assert!(SHARE.holds(1.0) && !SHARE.holds(0.0) && !SHARE.holds(1.0 + f64::EPSILON));
        assert!(UNIT.holds(0.0) && !UNIT.holds(-f64::MIN_POSITIVE));
        assert!(!FROM_ZERO.holds(f64::NAN) && !FROM_ZERO.holds(f64::INFINITY));
        assert!(FROM_ONE.holds(1.0) && !FROM_ONE.holds(0.999));
        assert_eq!(SHARE.to_string(), "a number above 0 and at most 1");
        assert!(ANY.holds(-3.0) && !ANY.holds(f64::NEG_INFINITY));
        assert_eq!(ANY.to_string(), "a number");
        assert_eq!(FROM_ONE.to_string(), "a number, 1 or more");
    }
}
