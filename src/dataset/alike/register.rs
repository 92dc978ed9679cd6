//! Lays one small grey picture over another: shift and stretch each way, gain and bias of brightness. Knows numbers, no
//! photos.
//!
//! Lucas and Kanade, "An Iterative Image Registration Technique" (1981), with the brightness terms among the unknowns:
//! each step fits `target = gain * source(warp) + bias + motion`, linear in six unknowns, by least squares. The order of
//! additions is fixed: the same result on every machine.

use super::face::{COARSE, SIDE};

/// A square grey picture: `N` rows of `N` values in [0, 255], or less their mean.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grey<const N: usize> {
    pub values: [[f32; N]; N],
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
/// A step of less than a sixtieth of a pixel at 32x32 ends it.
const STILL: f64 = 5e-4;
/// Steps at most.
const STEPS: usize = 10;
/// Steps after which a poor fit is given up.
const PATIENCE: usize = 3;
/// Share of the target that the source must cover.
const MIN_COVER: f64 = 0.7;
/// Unknowns: gain, bias, shift and stretch each way.
pub(super) const UNKNOWNS: usize = 6;

impl Grey<SIDE> {
    /// Half the side, each value the mean of four.
    pub fn halved(&self) -> Grey<COARSE> {
        let mut values = [[0.0; COARSE]; COARSE];
        for (rows, out) in self.values.as_chunks::<2>().0.iter().zip(&mut values) {
            for (x, value) in out.iter_mut().enumerate() {
                *value = (rows[0][2 * x] + rows[0][2 * x + 1] + rows[1][2 * x] + rows[1][2 * x + 1]) / 4.0;
            }
        }
        Grey { values }
    }
}

impl<const N: usize> Grey<N> {
    /// Softened by (1 2 1) / 4 each way, edges repeated, so that values between pixels mean something.
    pub fn softened(&self) -> Grey<N> {
        let blend = |before: f32, here: f32, after: f32| (before + 2.0 * here + after) / 4.0;
        let mut values = [[0.0; N]; N];
        for (y, out) in values.iter_mut().enumerate() {
            let [upper, here, lower] = [y.saturating_sub(1), y, (y + 1).min(N - 1)].map(|y| &self.values[y]);
            let mut down = [0.0; N];
            for (x, value) in down.iter_mut().enumerate() {
                *value = blend(upper[x], here[x], lower[x]);
            }
            for x in 1..N - 1 {
                out[x] = blend(down[x - 1], down[x], down[x + 1]);
            }
            out[0] = blend(down[0], down[0], down[1]);
            out[N - 1] = blend(down[N - 2], down[N - 1], down[N - 1]);
        }
        Grey { values }
    }

    /// Left and right exchanged.
    pub fn mirrored(&self) -> Grey<N> {
        let mut values = self.values;
        values.iter_mut().for_each(|row| row.reverse());
        Grey { values }
    }

    /// Less its mean.
    pub fn centred(&self) -> Grey<N> {
        let sum: f64 = self.values.as_flattened().iter().map(|&value| f64::from(value)).sum();
        let mean = (sum / (N * N) as f64) as f32;
        Grey { values: self.values.map(|row| row.map(|value| value - mean)) }
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
    fn at(&self, axis: usize, p: usize, side: usize) -> f64 {
        let centre = (side as f64 - 1.0) / 2.0;
        centre + (1.0 + self.stretch[axis]) * (p as f64 - centre) + self.shift[axis] * side as f64
    }

    /// The same, of what lies beyond the edge the edge itself.
    pub fn inside(&self, axis: usize, p: usize, side: usize) -> f64 {
        self.at(axis, p, side).clamp(0.0, side as f64 - 1.0)
    }

    /// Where the target's pixel `p` of an axis lies in a source of `side` pixels; `None` beyond the source's edge.
    pub fn place(&self, axis: usize, p: usize, side: usize) -> Option<f64> {
        let at = self.at(axis, p, side);
        // Up to half a pixel beyond the last centre is still inside the picture.
        (at >= -0.5 && at <= side as f64 - 0.5).then(|| self.inside(axis, p, side))
    }
}

/// The move that lays `source` over `target`, refined from `start`; `None` if even then it explains less than the share
/// `least` of the target's contrast, or covers too little of it: they are not one picture. Both are centred, so that small
/// sums are no differences of large ones.
pub(super) fn register(target: &Grey<SIDE>, source: &Grey<SIDE>, start: Warp, least: f64) -> Option<Warp> {
    let mut warp = start;
    let mut fit = 0.0;
    for n in 0..STEPS {
        let (sums, covered) = sums(target, source, &warp);
        if (covered as f64) < MIN_COVER * (SIDE * SIDE) as f64 {
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
        let step = [found[2], found[3], found[4], found[5]].map(|move_| move_ / gain / SIDE as f64);
        warp.shift[0] += step[0];
        warp.stretch[0] += step[1];
        warp.shift[1] += step[2];
        warp.stretch[1] += step[3];
        warp = warp.held();
        if step.iter().all(|step| step.abs() < STILL) {
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

/// The normal equations of a least-squares fit: of a row of the unknowns' factors and the target, the sums of the products
/// of each with each; the upper triangle.
struct Sums([[f64; UNKNOWNS + 1]; UNKNOWNS + 1]);

/// The target's place.
const TARGET: usize = UNKNOWNS;
/// Sums that run beside each other, of every eighth pixel of a row.
const LANES: usize = 8;
widest! { avx2:
    /// The sums over all pixels of the target that the source, so moved, covers; and how many these are.
    fn sums(target: &Grey<SIDE>, source: &Grey<SIDE>, warp: &Warp) -> (Sums, usize) = sums_plain
}

#[inline(always)]
fn sums_plain(target: &Grey<SIDE>, source: &Grey<SIDE>, warp: &Warp) -> (Sums, usize) {
    // Columns: the source's before, the part of the way to the next, and 1 if it is covered.
    let mut columns = [(0, 0.0, 0.0); SIDE];
    let mut width = 0;
    for (x, column) in columns.iter_mut().enumerate() {
        if let Some(at) = warp.place(0, x, SIDE) {
            let (before, part) = between(at, SIDE);
            *column = (before, part as f32, 1.0);
            width += 1;
        }
    }
    let covered = columns.map(|(_, _, covered)| covered);
    // The source's rows at the target's columns, and their slopes.
    let mut across = [[0.0; SIDE]; SIDE];
    let mut slopes = [[0.0; SIDE]; SIDE];
    for y in 0..SIDE {
        let values = &source.values[y];
        for (x, &(before, part, covered)) in columns.iter().enumerate() {
            let slope = values[(before + 1) % SIDE] - values[before % SIDE];
            slopes[y][x] = slope * covered;
            across[y][x] = (values[before % SIDE] + slope * part) * covered;
        }
    }
    let centre = (SIDE as f32 - 1.0) / 2.0;
    let distances: [f32; SIDE] = std::array::from_fn(|p| (p as f32 - centre) / SIDE as f32);
    let mut sums = [[[0.0f32; LANES]; UNKNOWNS + 1]; UNKNOWNS + 1];
    let mut height = 0;
    let mut row = [[0.0; SIDE]; UNKNOWNS + 1];
    row[1] = covered;
    for y in 0..SIDE {
        let Some(at) = warp.place(1, y, SIDE) else { continue };
        let (before, part) = between(at, SIDE);
        let part = part as f32;
        height += 1;
        // The bilinear surface and its slopes, per pixel. A loop each: together they are no whole vectors.
        let (upper, lower) = (&across[before], &across[before + 1]);
        for x in 0..SIDE {
            row[4][x] = lower[x] - upper[x];
        }
        for x in 0..SIDE {
            row[0][x] = upper[x] + (lower[x] - upper[x]) * part;
        }
        let (upper, lower) = (&slopes[before], &slopes[before + 1]);
        for x in 0..SIDE {
            row[2][x] = upper[x] + (lower[x] - upper[x]) * part;
        }
        for (x, distance) in distances.iter().enumerate() {
            row[3][x] = row[2][x] * distance;
        }
        row[5] = row[4].map(|down| down * distances[y]);
        for (x, covered) in covered.iter().enumerate() {
            row[TARGET][x] = target.values[y][x] * covered;
        }
        add::<0>(&row, &mut sums);
        add::<1>(&row, &mut sums);
        add::<2>(&row, &mut sums);
        add::<3>(&row, &mut sums);
        add::<4>(&row, &mut sums);
        add::<5>(&row, &mut sums);
        add::<TARGET>(&row, &mut sums);
    }
    let sum = |lanes: [f32; LANES]| lanes.iter().map(|&sum| f64::from(sum)).sum();
    (Sums(sums.map(|row| row.map(sum))), width * height)
}

/// Adds the products of a row's `I`-th factor with those from it on. One factor at a time: its sums stay in registers.
#[inline(always)]
fn add<const I: usize>(row: &[[f32; SIDE]; UNKNOWNS + 1], sums: &mut [[[f32; LANES]; UNKNOWNS + 1]; UNKNOWNS + 1]) {
    let mut own = sums[I];
    for k in 0..SIDE / LANES {
        let a = &row[I].as_chunks::<LANES>().0[k];
        for j in I..UNKNOWNS + 1 {
            let b = &row[j].as_chunks::<LANES>().0[k];
            for lane in 0..LANES {
                own[j][lane] += a[lane] * b[lane];
            }
        }
    }
    sums[I] = own;
}

impl Sums {
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
            if pivot <= 1e-6 * self.0[j][j] || !pivot.is_finite() {
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
