//! Mean, spread and quantiles of plain numbers. Absent (`None`) where there is nothing to summarise.

/// The arithmetic mean.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The sample variance (divisor n - 1); `None` below 2 values.
pub fn variance(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let squares = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>();
    (values.len() > 1).then(|| squares / (values.len() - 1) as f64)
}

/// The sample standard deviation (divisor n - 1); `None` below 2 values.
pub fn std(values: &[f64]) -> Option<f64> {
    variance(values).map(f64::sqrt)
}

/// The middle value, or the mean of the two in the middle.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// The quantile at `level` in [0, 1], linear between order statistics (numpy's default; Hyndman and Fan's type 7).
pub fn quantile(values: &[f64], level: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile_of_sorted(&sorted, level)
}

/// As [`quantile`], of values in ascending order.
pub fn quantile_of_sorted(sorted: &[f64], level: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = level.clamp(0.0, 1.0) * last as f64;
    let below = place.floor() as usize;
    let above = (below + 1).min(last);
    Some(sorted[below] + (place - below as f64) * (sorted[above] - sorted[below]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_equal_numpys() {
        // numpy: np.mean, np.std(ddof=1), np.median, np.quantile of [3, 1, 4, 1, 5, 9, 2, 6]
        let values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0];
        assert_eq!(mean(&values), Some(3.875));
        assert!((std(&values).unwrap() - 2.748_376_143_938_713).abs() < 1e-14);
        assert_eq!(median(&values), Some(3.5));
        assert!((quantile(&values, 0.9).unwrap() - 6.9).abs() < 1e-12);
        assert_eq!((quantile(&values, 0.0), quantile(&values, 1.0)), (Some(1.0), Some(9.0)));
    }

    #[test]
    fn nothing_has_no_summary_and_one_value_no_spread() {
        assert_eq!((mean(&[]), median(&[]), std(&[])), (None, None, None));
        assert_eq!((mean(&[2.0]), median(&[2.0]), std(&[2.0])), (Some(2.0), Some(2.0), None));
    }
}
