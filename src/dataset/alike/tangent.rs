//! How well small moves of one coarse picture explain another: fast upper filters before the full comparison. Knows
//! numbers, no photos.
//!
//! The share of the other picture's contrast that lies in the span of this one, a constant, and its derivatives by shift
//! and stretch (Simard, LeCun, Denker, "Efficient Pattern Recognition Using a New Transformation Distance", 1993); and the
//! same after the other was moved as that says, a few times over (Baker and Matthews, "Lucas-Kanade 20 Years On", 2004:
//! inverse composition, so that the derivatives are taken once). What [`super::register`] does, ten times as fast and
//! less exactly. The order of additions is fixed: the same on every machine.

use super::face::COARSE;
use super::register::{Grey, UNKNOWNS, Warp, between};

/// Side of the coarse pictures.
const SIDE: usize = COARSE;
const LEN: usize = SIDE * SIDE;
/// Pixels but for the edge, where slopes are not known.
const INNER: usize = (SIDE - 2) * (SIDE - 2);
/// What a patch's values are counted in: the mean of four values, softened, has no finer ones.
const UNIT: f32 = 64.0;
/// Between the first and the last of them.
const ROWS: std::ops::Range<usize> = SIDE..LEN - SIDE;
const LANES: usize = 8;
const CENTRE: f64 = (SIDE as f64 - 1.0) / 2.0;

/// Moves after which each of two pictures must explain `ENOUGH` of the other if they are copies. Of 4000 copies of photos
/// none had less either way; of pairs of photos that are followed, one in fourteen has more.
pub(super) const MOVES: usize = 2;
pub(super) const ENOUGH: f32 = 0.9;

/// A coarse picture as what is explained.
#[derive(Clone)]
pub(super) struct Patch {
    /// Less the middle grey, in sixty-fourths, which is exact.
    values: [i16; LEN],
    /// Sum of the squares of the inner values less their mean, in the same unit squared.
    contrast: f32,
}

/// What a picture becomes by small moves: itself and four derivatives as an orthonormal basis, and how to tell from a sum
/// of that basis which moves it is.
pub(super) struct Tangent {
    /// 0 at the edge.
    basis: [[f32; LEN]; UNKNOWNS - 1],
    /// Lower triangle: the j-th picture is the sum of `parts[j][i]` times the i-th of the basis.
    parts: [[f64; UNKNOWNS - 1]; UNKNOWNS - 1],
}

impl Patch {
    pub fn new(coarse: &Grey<SIDE>) -> Patch {
        let mut values = [0; LEN];
        for (value, grey) in values.iter_mut().zip(coarse.values.as_flattened()) {
            *value = ((grey - 128.0) * UNIT) as i16;
        }
        let (mut sum, mut squares) = (0.0, 0.0);
        for value in inner().map(|at| f64::from(values[at])) {
            sum += value;
            squares += value * value;
        }
        Patch { values, contrast: (squares - sum * sum / INNER as f64) as f32 }
    }

    #[inline(always)]
    fn wide(&self) -> Wide {
        let mut values = [0.0; LEN];
        for (wide, value) in values.iter_mut().zip(&self.values) {
            *wide = f32::from(*value);
        }
        Wide { values, contrast: self.contrast }
    }
}

/// A patch to be counted with.
struct Wide {
    values: [f32; LEN],
    contrast: f32,
}

impl Wide {
    /// As it is once moved.
    #[inline(always)]
    fn moved(&self, warp: &Warp) -> Wide {
        // Columns and rows to take from, and how far to the next.
        let mut places = [[(0, 0.0); SIDE]; 2];
        for (axis, places) in places.iter_mut().enumerate() {
            for (p, place) in places.iter_mut().enumerate() {
                let (before, part) = between(warp.inside(axis, p, SIDE), SIDE);
                *place = (before, part as f32);
            }
        }
        let [xs, ys] = places;
        let mut values = [0.0; LEN];
        let (mut sum, mut squares) = (0.0, 0.0);
        for y in 1..SIDE - 1 {
            let (from, part) = ys[y];
            let (upper, lower) = self.values[from * SIDE..(from + 2) * SIDE].split_at(SIDE);
            let mut row = [0.0; SIDE];
            for x in 0..SIDE {
                row[x] = upper[x] + (lower[x] - upper[x]) * part;
            }
            for x in 1..SIDE - 1 {
                let (from, part) = xs[x];
                let value = row[from] + (row[from + 1] - row[from]) * part;
                values[y * SIDE + x] = value;
                sum += value;
                squares += value * value;
            }
        }
        Wide { values, contrast: squares - sum * sum / INNER as f32 }
    }
}

impl Tangent {
    /// Moves that change nothing in the picture explain nothing.
    pub fn new(picture: &Patch) -> Tangent {
        let grey = picture.values.map(f64::from);
        let mut basis = [[0.0f64; LEN]; UNKNOWNS - 1];
        let mean = inner().map(|at| grey[at]).sum::<f64>() / INNER as f64;
        for at in inner() {
            let across = (grey[at + 1] - grey[at - 1]) / 2.0;
            let down = (grey[at + SIDE] - grey[at - SIDE]) / 2.0;
            let (x, y) = ((at % SIDE) as f64 - CENTRE, (at / SIDE) as f64 - CENTRE);
            for (row, value) in basis.iter_mut().zip([grey[at] - mean, across, down, across * x, down * y]) {
                row[at] = value;
            }
        }
        // A constant is explained by any picture: nothing here has a part of it.
        for row in &mut basis[1..] {
            let mean = row[ROWS].iter().sum::<f64>() / INNER as f64;
            inner().for_each(|at| row[at] -= mean);
        }
        let parts = orthonormalise(&mut basis);
        Tangent { basis: basis.map(|row| row.map(|value| value as f32)), parts }
    }

    /// The share of the patch's contrast (in [0, 1]) that small moves of this picture explain once the patch was moved, and
    /// that move: as often as it takes to explain `ENOUGH`, at most `MOVES` times. `None` if they explain less than is given
    /// for the unmoved one, and for that which was moved once, or if it is no picture like this one.
    pub fn followed(&self, patch: &Patch, least: &[f32; MOVES]) -> Option<(f32, Warp)> {
        walked(self, patch, least, ENOUGH)
    }

    #[inline(always)]
    fn walk(&self, patch: &Patch, least: &[f32], enough: f32) -> Option<(f32, Warp)> {
        let mut warp = Warp::default();
        let patch = patch.wide();
        let (mut share, mut along) = self.share(&patch);
        for &least in least {
            if share < least {
                return None;
            }
            if share >= enough {
                break;
            }
            warp = warp.less(&self.step(&along)?);
            (share, along) = self.share(&patch.moved(&warp));
        }
        Some((share, warp))
    }

    /// Share of the contrast that is explained, and the parts of the basis in it.
    #[inline(always)]
    fn share(&self, patch: &Wide) -> (f32, [f32; UNKNOWNS - 1]) {
        // Loops, no closures: those are not compiled for wider vectors.
        let mut along = [0.0; UNKNOWNS - 1];
        for (along, basis) in along.iter_mut().zip(&self.basis) {
            let mut lanes = [0.0f32; LANES];
            for (a, b) in basis[ROWS].as_chunks::<LANES>().0.iter().zip(patch.values[ROWS].as_chunks::<LANES>().0) {
                for lane in 0..LANES {
                    lanes[lane] += a[lane] * b[lane];
                }
            }
            for sum in lanes {
                *along += sum;
            }
        }
        (along.iter().map(|a| a * a).sum::<f32>() / patch.contrast.max(1.0), along)
    }

    /// Which move of this picture the sum of the basis is; `None` if it
    /// is no picture like this one.
    #[inline(always)]
    fn step(&self, along: &[f32; UNKNOWNS - 1]) -> Option<Warp> {
        let mut found = [0.0; UNKNOWNS - 1];
        for i in (0..found.len()).rev() {
            let rest: f64 = (i + 1..found.len()).map(|j| self.parts[j][i] * found[j]).sum();
            found[i] = if self.parts[i][i] > 0.0 { (f64::from(along[i]) - rest) / self.parts[i][i] } else { 0.0 };
        }
        let [gain, right, down, wider, higher] = found;
        let side = SIDE as f64;
        (0.2..=5.0)
            .contains(&gain)
            .then(|| Warp { shift: [right / gain / side, down / gain / side], stretch: [wider / gain, higher / gain] })
    }
}

widest! { avx2:
    /// [`Tangent::followed`] until so much is explained, with a move for each of the least shares that go on.
    fn walked(tangent: &Tangent, patch: &Patch, least: &[f32], enough: f32) -> Option<(f32, Warp)> = Tangent::walk
}

/// Places of the inner pixels, row by row.
fn inner() -> impl Iterator<Item = usize> {
    (1..SIDE - 1).flat_map(|y| (1..SIDE - 1).map(move |x| y * SIDE + x))
}

/// Gram and Schmidt's: makes rows orthonormal, each new one less its parts of those before; those that are sums of others
/// become 0. The lower triangle of what the j-th was: the sum of `parts[j][i]` times the i-th that is left.
pub(super) fn orthonormalise<const N: usize, const COUNT: usize>(
    basis: &mut [[f64; N]; COUNT],
) -> [[f64; COUNT]; COUNT] {
    let mut parts = [[0.0; COUNT]; COUNT];
    for (j, parts) in parts.iter_mut().enumerate() {
        let (done, rest) = basis.split_at_mut(j);
        let row = &mut rest[0];
        let whole = libm::sqrt(product(row, row));
        for (i, other) in done.iter().enumerate() {
            let along = product(row, other);
            parts[i] = along;
            row.iter_mut().zip(other).for_each(|(value, o)| *value -= along * o);
        }
        let left = libm::sqrt(product(row, row));
        let known = left > 1e-6 * whole;
        parts[j] = if known { left } else { 0.0 };
        row.iter_mut().for_each(|value| *value = if known { *value / left } else { 0.0 });
    }
    parts
}

fn product<const N: usize>(a: &[f64; N], b: &[f64; N]) -> f64 {
    let mut lanes = [0.0; LANES];
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(right: f64, wider: f64) -> Patch {
        let value = |i: usize| {
            let (x, y) = ((i % SIDE) as f64 - CENTRE, (i / SIDE) as f64 - CENTRE);
            let x = x * (1.0 + wider) + right;
            // Two soft-edged blobs.
            let blob =
                |cx: f64, cy: f64| 1.0 / (1.0 + libm::pow((x - cx) * (x - cx) + (y - cy) * (y - cy), 2.0) / 12.0);
            90.0 + 80.0 * blob(-2.5, 1.0) - 60.0 * blob(3.0, -2.0)
        };
        patch(|i| value(i) as f32)
    }

    fn grey(patch: &Patch, i: usize) -> f32 {
        f32::from(patch.values[i]) / UNIT
    }

    fn patch(value: impl Fn(usize) -> f32) -> Patch {
        Patch::new(&Grey { values: std::array::from_fn(|y| std::array::from_fn(|x| value(y * SIDE + x))) })
    }

    #[test]
    fn small_moves_are_explained_larger_ones_when_followed_and_other_pictures_never() {
        let here = Tangent::new(&picture(0.0, 0.0));
        let brighter = |picture: Patch| patch(|i| 0.7 * (grey(&picture, i) + 128.0) + 50.0);
        assert!(here.share(&brighter(picture(0.0, 0.0)).wide()).0 > 0.999);
        assert!(here.share(&picture(0.2, 0.0).wide()).0 > 0.99);
        for (right, wider) in [(1.3, 0.0), (-0.9, 0.08)] {
            let moved = brighter(picture(right, wider));
            // Most of what is not explained at once is then.
            let left = 1.0 - here.share(&moved.wide()).0;
            let bound = 1.0 - 0.3 * left;
            let followed = walked(&here, &moved, &[0.0; 3], bound).unwrap().0;
            assert!(left > 0.001 && followed >= bound, "{right} {wider}: {left} {followed}");
        }
        let turned = picture(0.0, 0.0);
        let turned = patch(|i| grey(&turned, i % SIDE * SIDE + i / SIDE) + 128.0);
        assert!(walked(&here, &turned, &[0.0; 3], 0.8).is_none_or(|(share, _)| share < 0.8));
    }

    #[test]
    fn wider_vectors_give_the_same_bits() {
        let here = Tangent::new(&picture(0.0, 0.0));
        let moved = picture(0.7, 0.05);
        let share = here.share(&moved.wide()).0;
        assert!(
            here.followed(&moved, &[share, 0.0]).is_some() && here.followed(&moved, &[share.next_up(), 0.0]).is_none()
        );
        for n in 0..400 {
            let bound = 0.8 + n as f32 / 2000.0;
            for (least, enough) in [([bound, 0.0], bound), ([0.0, 0.0], bound), ([0.0, bound], 1.0)] {
                let found = walked(&here, &moved, &least, enough);
                assert_eq!(found, here.walk(&moved, &least, enough), "{least:?} {enough}");
            }
            let other = picture(n as f64 / 100.0 - 2.0, n as f64 / 4000.0);
            assert_eq!(here.followed(&other, &[0.0; MOVES]), here.walk(&other, &[0.0; MOVES], ENOUGH), "{n}");
        }
    }

    #[test]
    fn a_picture_without_slopes_explains_nothing_and_is_nothing() {
        let even = patch(|_| 77.0);
        assert!(Tangent::new(&even).share(&picture(0.0, 0.0).wide()).0 < 1e-3);
        assert!(walked(&Tangent::new(&even), &picture(0.0, 0.0), &[0.0; 3], 0.1).is_none());
        assert!(Tangent::new(&picture(0.0, 0.0)).share(&even.wide()).0 < 1e-3);
    }
}
