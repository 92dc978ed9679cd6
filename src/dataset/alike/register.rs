//! Lays one small grey picture over another: shift and stretch each way, gain and bias of brightness. Knows numbers, no
//! photos.
//!
//! Lucas and Kanade, "An Iterative Image Registration Technique" (1981), with the brightness terms among the unknowns:
//! each step fits `target = gain * source(warp) + bias + motion`, linear in six unknowns, by least squares. Plain f64
//! arithmetic in one order: the same result on every machine.

/// A square grey picture with `side` x `side` values in [0, 255].
#[derive(Debug, Clone)]
pub(super) struct Grey {
    pub side: usize,
    pub values: Vec<f64>,
}

/// Where a target's pixel lies in the source: `centre + (1 + stretch) * (p - centre) + shift`, per axis, in shares of
/// the side, so that it means the same at every resolution.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Warp {
    /// x, then y.
    pub shift: [f64; 2],
    pub stretch: [f64; 2],
}

/// Moves beyond these are no crop of a tenth.
const MAX_SHIFT: f64 = 0.09;
const MAX_STRETCH: f64 = 0.17;
/// Steps after which a poor fit is given up.
const PATIENCE: usize = 3;
/// Share of the target that the source must cover.
const MIN_COVER: f64 = 0.7;
/// Unknowns: gain, bias, shift and stretch each way.
pub(super) const UNKNOWNS: usize = 6;

impl Grey {
    /// Half the side, each value the mean of four.
    pub fn halved(&self) -> Grey {
        let (side, from) = (self.side / 2, &self.values);
        let mean = |i: usize| {
            let at = 2 * (i / side) * self.side + 2 * (i % side);
            (from[at] + from[at + 1] + from[at + self.side] + from[at + self.side + 1]) / 4.0
        };
        Grey { side, values: (0..side * side).map(mean).collect() }
    }

    /// Softened by (1 2 1) / 4 each way, edges repeated, so that values between pixels mean something.
    pub fn softened(&self) -> Grey {
        let n = self.side;
        let row = |values: &[f64], i: usize, step: usize, at: usize| {
            let before = if at == 0 { i } else { i - step };
            let after = if at + 1 == n { i } else { i + step };
            (values[before] + 2.0 * values[i] + values[after]) / 4.0
        };
        let across: Vec<f64> = (0..n * n).map(|i| row(&self.values, i, 1, i % n)).collect();
        Grey { side: n, values: (0..n * n).map(|i| row(&across, i, n, i / n)).collect() }
    }

    /// Left and right exchanged.
    pub fn mirrored(&self) -> Grey {
        let values = self.values.chunks_exact(self.side).flat_map(|row| row.iter().rev().copied()).collect();
        Grey { side: self.side, values }
    }
}

impl Warp {
    /// Brought back within what is allowed, axis by axis.
    fn held(&self) -> Warp {
        Warp {
            shift: self.shift.map(|s| s.clamp(-MAX_SHIFT, MAX_SHIFT)),
            stretch: self.stretch.map(|s| s.clamp(-MAX_STRETCH, MAX_STRETCH)),
        }
    }

    /// Followed by the reverse of a small move of the target.
    pub fn less(&self, step: &Warp) -> Warp {
        let shift = |axis: usize| self.shift[axis] - (1.0 + self.stretch[axis]) * step.shift[axis];
        let stretch = |axis: usize| (1.0 + self.stretch[axis]) * (1.0 - step.stretch[axis]) - 1.0;
        Warp { shift: [0, 1].map(shift), stretch: [0, 1].map(stretch) }.held()
    }

    /// Where the target's pixel `p` of an axis lies in a source of `side` pixels, be it beyond the source's edge.
    pub fn at(&self, axis: usize, p: usize, side: usize) -> f64 {
        let centre = (side as f64 - 1.0) / 2.0;
        centre + (1.0 + self.stretch[axis]) * (p as f64 - centre) + self.shift[axis] * side as f64
    }

    /// Where the target's pixel `p` of an axis lies in a source of `side` pixels; `None` beyond the source's edge.
    pub fn place(&self, axis: usize, p: usize, side: usize) -> Option<f64> {
        let at = self.at(axis, p, side);
        // Up to half a pixel beyond the last centre is still inside the picture.
        (at >= -0.5 && at <= side as f64 - 0.5).then(|| at.clamp(0.0, side as f64 - 1.0))
    }
}

/// The move that lays `source` over `target`, refined from `start` by at most `steps`; `None` if even then it explains
/// less than the share `least` of the target's contrast, or covers too little of it: they are not one picture. Both
/// must have one side.
pub(super) fn register(target: &Grey, source: &Grey, start: Warp, steps: usize, least: f64) -> Option<Warp> {
    let (side, mut warp) = (target.side, start);
    let mut fit = 0.0;
    for n in 0..steps {
        let (sums, covered) = Sums::of(target, source, &warp);
        if (covered as f64) < MIN_COVER * (side * side) as f64 {
            return None;
        }
        let found = sums.solve()?;
        fit = sums.explained(&found);
        if n + 1 >= PATIENCE && fit < least {
            return None;
        }
        let gain = found[0];
        if !(0.3..=3.0).contains(&gain) {
            return None;
        }
        // In pixels; a stretch coefficient moves the pixel at distance `side` from the centre by so many pixels.
        let step = [found[2], found[3], found[4], found[5]].map(|move_| move_ / gain / side as f64);
        warp.shift[0] += step[0];
        warp.stretch[0] += step[1];
        warp.shift[1] += step[2];
        warp.stretch[1] += step[3];
        warp = warp.held();
        if step.iter().all(|step| step.abs() < 1e-4) {
            break;
        }
    }
    (fit >= least).then_some(warp)
}

/// The pixel before a place inside a row of `side` pixels, not the last one, and the part of the way to the next.
pub(super) fn between(at: f64, side: usize) -> (usize, f64) {
    let before = (at as usize).min(side - 2);
    (before, at - before as f64)
}

/// The normal equations of a least-squares fit.
///
/// Of a row of the unknowns' factors, the target and a 0: the sums of the products of each with each.
struct Sums([[f64; WIDTH]; UNKNOWNS + 1]);

/// The unknowns and the target, filled up to whole vectors.
const WIDTH: usize = 8;
/// The target's place.
const TARGET: usize = UNKNOWNS;

impl Sums {
    /// Of all pixels of the target that the source, so moved, covers; and how many these are.
    fn of(target: &Grey, source: &Grey, warp: &Warp) -> (Sums, usize) {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the machine has AVX2, as was just asked.
            return unsafe { Sums::of_avx2(target, source, warp) };
        }
        Sums::of_plain(target, source, warp)
    }

    // With wider vectors, and the same sums: nothing is contracted.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn of_avx2(target: &Grey, source: &Grey, warp: &Warp) -> (Sums, usize) {
        Sums::of_plain(target, source, warp)
    }

    #[inline(always)]
    fn of_plain(target: &Grey, source: &Grey, warp: &Warp) -> (Sums, usize) {
        let side = target.side;
        let centre = (side as f64 - 1.0) / 2.0;
        // Pixel, its distance from the centre, and where the source has it: the pixel before and the part of the way on.
        let places = |axis: usize| -> Vec<(usize, f64, usize, f64)> {
            let place = |p: usize| {
                let at = warp.place(axis, p, side)?;
                let (before, part) = between(at, side);
                Some((p, (p as f64 - centre) / side as f64, before, part))
            };
            (0..side).filter_map(place).collect()
        };
        let (xs, ys) = (places(0), places(1));
        let mut sums = [[0.0; WIDTH]; UNKNOWNS + 1];
        for &(y, dy, before, fy) in &ys {
            let wanted = &target.values[y * side..][..side];
            let (upper, lower) = source.values[before * side..][..2 * side].split_at(side);
            for &(x, dx, before, fx) in &xs {
                // The bilinear surface and its slopes, per pixel.
                let [a, b, c, d] = [upper[before], upper[before + 1], lower[before], lower[before + 1]];
                let (top, low) = (a + (b - a) * fx, c + (d - c) * fx);
                let (value, gx, gy) = (top + (low - top) * fy, (b - a) + ((d - c) - (b - a)) * fy, low - top);
                let row = [value - 128.0, 1.0, gx, gx * dx, gy, gy * dy, wanted[x] - 128.0, 0.0];
                // By index: this is where an audit spends its time, and so the sums stay in registers.
                for i in 0..UNKNOWNS + 1 {
                    for j in 0..WIDTH {
                        sums[i][j] += row[i] * row[j];
                    }
                }
            }
        }
        (Sums(sums), xs.len() * ys.len())
    }

    /// Share of the targets' variance that the solution explains. The second unknown is the constant.
    fn explained(&self, found: &[f64; UNKNOWNS]) -> f64 {
        let along: f64 = found.iter().zip(&self.0).map(|(part, sums)| part * sums[TARGET]).sum();
        let mean = self.0[1][TARGET] * self.0[1][TARGET] / self.0[1][1];
        let squares = self.0[TARGET][TARGET];
        if squares > mean { 1.0 - (squares - along) / (squares - mean) } else { 0.0 }
    }

    /// By Cholesky's decomposition; `None` where the unknowns cannot be told apart.
    fn solve(&self) -> Option<[f64; UNKNOWNS]> {
        let mut lower = [[0.0; UNKNOWNS]; UNKNOWNS];
        for j in 0..UNKNOWNS {
            let rest: f64 = (0..j).map(|k| lower[j][k] * lower[j][k]).sum();
            let pivot = self.0[j][j] - rest;
            if pivot <= 1e-9 * self.0[j][j] || !pivot.is_finite() {
                return None;
            }
            lower[j][j] = libm::sqrt(pivot);
            for i in j + 1..UNKNOWNS {
                let rest: f64 = (0..j).map(|k| lower[i][k] * lower[j][k]).sum();
                lower[i][j] = (self.0[j][i] - rest) / lower[j][j];
            }
        }
        let mut out: [f64; UNKNOWNS] = std::array::from_fn(|i| self.0[i][TARGET]);
        for i in 0..UNKNOWNS {
            let rest: f64 = (0..i).map(|k| lower[i][k] * out[k]).sum();
            out[i] = (out[i] - rest) / lower[i][i];
        }
        for i in (0..UNKNOWNS).rev() {
            let rest: f64 = (i + 1..UNKNOWNS).map(|k| lower[k][i] * out[k]).sum();
            out[i] = (out[i] - rest) / lower[i][i];
        }
        Some(out)
    }
}
