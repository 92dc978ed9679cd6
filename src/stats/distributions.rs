//! The normal and Student's distribution, from `libm` alone: the same bits on every machine.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// The standard normal distribution function.
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// The standard normal quantile for a probability in (0, 1); infinite at 0 and 1 (Wichura 1988, AS 241, PPND16).
pub fn normal_quantile(p: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 {
        return if p <= 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        return q * polynomial(&CENTRE_ABOVE, r) / polynomial(&CENTRE_BELOW, r);
    }
    let r = libm::sqrt(-libm::log(if q < 0.0 { p } else { 1.0 - p }));
    let size = if r <= 5.0 {
        polynomial(&MIDDLE_ABOVE, r - 1.6) / polynomial(&MIDDLE_BELOW, r - 1.6)
    } else {
        polynomial(&TAIL_ABOVE, r - 5.0) / polynomial(&TAIL_BELOW, r - 5.0)
    };
    if q < 0.0 { -size } else { size }
}

/// Student's distribution function for any degrees of freedom above 0.
pub fn student_cdf(t: f64, degrees: f64) -> f64 {
    if degrees.is_infinite() {
        return normal_cdf(t);
    }
    let tail = 0.5 * incomplete_beta(0.5 * degrees, 0.5, degrees / (degrees + t * t));
    if t > 0.0 { 1.0 - tail } else { tail }
}

/// Student's quantile for a probability in (0, 1) and any degrees of freedom above 0, to 1e-10 of its size.
pub fn student_quantile(p: f64, degrees: f64) -> f64 {
    if degrees > 1e7 || p <= 0.0 || p >= 1.0 {
        return normal_quantile(p);
    }
    if p < 0.5 {
        return -student_quantile(1.0 - p, degrees);
    }
    // The function is monotone: bracket, then halve in t / (1 + t), which heavy tails do not stretch.
    let (mut low, mut high) = (0.0f64, 1.0f64);
    for _ in 0..64 {
        let middle = 0.5 * (low + high);
        if student_cdf(middle / (1.0 - middle), degrees) < p { low = middle } else { high = middle }
    }
    let middle = 0.5 * (low + high);
    middle / (1.0 - middle)
}

/// The regularised incomplete beta function by its continued fraction (Abramowitz and Stegun 26.5.8, Lentz's method).
fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return if x <= 0.0 { 0.0 } else { 1.0 };
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta(b, a, 1.0 - x);
    }
    let log_front = libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * libm::log(x) + b * libm::log1p(-x);
    let tiny = 1e-300;
    let away = |value: f64| if value.abs() < tiny { tiny } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut fraction = d;
    for m in 1..500 {
        let m = f64::from(m);
        for term in [
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
        ] {
            d = 1.0 / away(1.0 + term * d);
            c = away(1.0 + term / c);
            fraction *= d * c;
        }
        if (d * c - 1.0).abs() < 1e-16 {
            break;
        }
    }
    libm::exp(log_front) * fraction / a
}

/// The density of chi (the root of chi-squared) up to a factor that does not depend on `r`.
pub(super) fn chi_shape(r: f64, degrees: f64) -> f64 {
    if r <= 0.0 { f64::from(degrees <= 1.0) } else { libm::exp((degrees - 1.0) * libm::log(r) - 0.5 * r * r) }
}

/// The standard normal density.
pub fn normal_density(x: f64) -> f64 {
    libm::exp(-0.5 * x * x) / libm::sqrt(2.0 * PI)
}

/// Coefficients from the constant up.
fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

const CENTRE_ABOVE: [f64; 8] = [
    3.387_132_872_796_366_5,
    133.141_667_891_784_38,
    1_971.590_950_306_551_3,
    13_731.693_765_509_46,
    45_921.953_931_549_87,
    67_265.770_927_008_7,
    33_430.575_583_588_13,
    2_509.080_928_730_122_7,
];
const CENTRE_BELOW: [f64; 8] = [
    1.0,
    42.313_330_701_600_91,
    687.187_007_492_057_9,
    5_394.196_021_424_751,
    21_213.794_301_586_597,
    39_307.895_800_092_71,
    28_729.085_735_721_943,
    5_226.495_278_852_545,
];
const MIDDLE_ABOVE: [f64; 8] = [
    1.423_437_110_749_683_5,
    4.630_337_846_156_546,
    5.769_497_221_460_691,
    3.647_848_324_763_204_5,
    1.270_458_252_452_368_4,
    0.241_780_725_177_450_6,
    0.022_723_844_989_269_184,
    7.745_450_142_783_414e-4,
];
const MIDDLE_BELOW: [f64; 8] = [
    1.0,
    2.053_191_626_637_759,
    1.676_384_830_183_803_8,
    0.689_767_334_985_1,
    0.148_103_976_427_480_08,
    0.015_198_666_563_616_457,
    5.475_938_084_995_345e-4,
    1.050_750_071_644_416_9e-9,
];
const TAIL_ABOVE: [f64; 8] = [
    6.657_904_643_501_103,
    5.463_784_911_164_114,
    1.784_826_539_917_291_3,
    0.296_560_571_828_504_87,
    0.026_532_189_526_576_124,
    1.242_660_947_388_078_4e-3,
    2.711_555_568_743_487_6e-5,
    2.010_334_399_292_288_1e-7,
];
const TAIL_BELOW: [f64; 8] = [
    1.0,
    0.599_832_206_555_888,
    0.136_929_880_922_735_8,
    0.014_875_361_290_850_615,
    7.868_691_311_456_133e-4,
    1.846_318_317_510_054_8e-5,
    1.421_511_758_316_446e-7,
    2.044_263_103_389_939_8e-15,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::golden::golden;

    fn close(found: f64, wanted: f64) {
        assert!((found - wanted).abs() <= 1e-10 * wanted.abs().max(1e-300), "{found} is not {wanted}");
    }

    #[test]
    fn the_normal_distribution_equals_scipys() {
        let golden = golden();
        for pair in golden["normal_cdf"].as_array().unwrap() {
            close(normal_cdf(pair[0].as_f64().unwrap()), pair[1].as_f64().unwrap());
        }
        for pair in golden["normal_quantile"].as_array().unwrap() {
            let (found, wanted) = (normal_quantile(pair[0].as_f64().unwrap()), pair[1].as_f64().unwrap());
            assert!((found - wanted).abs() < 1e-13 * wanted.abs().max(1.0), "{pair}: {found}");
        }
        assert_eq!((normal_quantile(0.0), normal_quantile(1.0)), (f64::NEG_INFINITY, f64::INFINITY));
    }

    #[test]
    fn students_distribution_equals_scipys() {
        let golden = golden();
        let cases = golden["student"].as_array().unwrap();
        assert!(cases.len() > 20);
        for case in cases {
            let [p, degrees, t] = [0, 1, 2].map(|i| case[i].as_f64().unwrap());
            let found = student_quantile(p, degrees);
            assert!((found - t).abs() < 1e-8 * t.abs().max(1.0), "{case}: {found}");
            close(student_cdf(t, degrees), p);
        }
    }
}
