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

    /// Where the target's pixel `p` of an axis lies in a source of `side` pixels; `None` beyond the source's edge.
    pub fn place(&self, axis: usize, p: usize, side: usize) -> Option<f64> {
        let centre = (side as f64 - 1.0) / 2.0;
        let at = centre + (1.0 + self.stretch[axis]) * (p as f64 - centre) + self.shift[axis] * side as f64;
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
    let centre = (side as f64 - 1.0) / 2.0;
    for n in 0..steps {
        let xs: Vec<Option<f64>> = (0..side).map(|x| warp.place(0, x, side)).collect();
        let mut sums = Sums::default();
        let mut covered = 0;
        for y in 0..side {
            let Some(v) = warp.place(1, y, side) else { continue };
            let dy = (y as f64 - centre) / side as f64;
            for (x, u) in xs.iter().enumerate() {
                let Some(u) = *u else { continue };
                covered += 1;
                let (value, gx, gy) = slope(source, u, v);
                let dx = (x as f64 - centre) / side as f64;
                sums.add([value - 128.0, 1.0, gx, gx * dx, gy, gy * dy], target.values[y * side + x] - 128.0);
            }
        }
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

/// Value and slopes (per pixel) of the bilinear surface at `(u, v)`, inside the picture.
fn slope(grey: &Grey, u: f64, v: f64) -> (f64, f64, f64) {
    let n = grey.side;
    let (x, y) = ((u as usize).min(n - 2), (v as usize).min(n - 2));
    let (fx, fy) = (u - x as f64, v - y as f64);
    let at = y * n + x;
    let [a, b, c, d] = [grey.values[at], grey.values[at + 1], grey.values[at + n], grey.values[at + n + 1]];
    let (top, low) = (a + (b - a) * fx, c + (d - c) * fx);
    (top + (low - top) * fy, (b - a) + ((d - c) - (b - a)) * fy, low - top)
}

/// The normal equations of a least-squares fit.
#[derive(Default)]
pub(super) struct Sums {
    /// Upper triangle, row by row.
    left: [[f64; UNKNOWNS]; UNKNOWNS],
    right: [f64; UNKNOWNS],
    /// Sum of the targets' squares.
    squares: f64,
}

impl Sums {
    pub fn add(&mut self, row: [f64; UNKNOWNS], target: f64) {
        for i in 0..UNKNOWNS {
            for j in i..UNKNOWNS {
                self.left[i][j] += row[i] * row[j];
            }
            self.right[i] += row[i] * target;
        }
        self.squares += target * target;
    }

    /// Share of the targets' variance that the solution explains. The second unknown is the constant.
    fn explained(&self, found: &[f64; UNKNOWNS]) -> f64 {
        let along: f64 = found.iter().zip(&self.right).map(|(a, b)| a * b).sum();
        let mean = self.right[1] * self.right[1] / self.left[1][1];
        if self.squares > mean { 1.0 - (self.squares - along) / (self.squares - mean) } else { 0.0 }
    }

    /// By Cholesky's decomposition; `None` where the unknowns cannot be told apart.
    pub fn solve(&self) -> Option<[f64; UNKNOWNS]> {
        let mut lower = [[0.0; UNKNOWNS]; UNKNOWNS];
        for j in 0..UNKNOWNS {
            let rest: f64 = (0..j).map(|k| lower[j][k] * lower[j][k]).sum();
            let pivot = self.left[j][j] - rest;
            if pivot <= 1e-9 * self.left[j][j] || !pivot.is_finite() {
                return None;
            }
            lower[j][j] = libm::sqrt(pivot);
            for i in j + 1..UNKNOWNS {
                let rest: f64 = (0..j).map(|k| lower[i][k] * lower[j][k]).sum();
                lower[i][j] = (self.left[j][i] - rest) / lower[j][j];
            }
        }
        let mut out = self.right;
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
