//! Vectors, turns and frames in double precision. Knows no birds.

use std::ops::{Add, Mul, Neg, Sub};

/// A point, direction or linear RGB colour.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct V(pub f64, pub f64, pub f64);

impl Add for V {
    type Output = V;
    fn add(self, o: V) -> V {
        V(self.0 + o.0, self.1 + o.1, self.2 + o.2)
    }
}

impl Sub for V {
    type Output = V;
    fn sub(self, o: V) -> V {
        V(self.0 - o.0, self.1 - o.1, self.2 - o.2)
    }
}

impl Neg for V {
    type Output = V;
    fn neg(self) -> V {
        V(-self.0, -self.1, -self.2)
    }
}

impl Mul<f64> for V {
    type Output = V;
    fn mul(self, k: f64) -> V {
        V(self.0 * k, self.1 * k, self.2 * k)
    }
}

/// Component by component, as light on a pigment.
impl Mul<V> for V {
    type Output = V;
    fn mul(self, o: V) -> V {
        V(self.0 * o.0, self.1 * o.1, self.2 * o.2)
    }
}

impl V {
    pub fn dot(self, o: V) -> f64 {
        self.0 * o.0 + self.1 * o.1 + self.2 * o.2
    }

    pub fn length(self) -> f64 {
        self.dot(self).sqrt()
    }

    /// The direction; the zero vector stays zero.
    pub fn unit(self) -> V {
        let length = self.length();
        if length > 0.0 { self * (1.0 / length) } else { self }
    }

    pub fn cross(self, o: V) -> V {
        V(self.1 * o.2 - self.2 * o.1, self.2 * o.0 - self.0 * o.2, self.0 * o.1 - self.1 * o.0)
    }

    /// Straight from `self` (t = 0) to `o` (t = 1).
    pub fn mix(self, o: V, t: f64) -> V {
        self + (o - self) * t
    }

    pub fn grey(level: f64) -> V {
        V(level, level, level)
    }
}

/// A rotation, as the images of the three axes.
#[derive(Debug, Clone, Copy)]
pub struct Turn {
    x: V,
    y: V,
    z: V,
}

impl Turn {
    pub const NONE: Turn = Turn { x: V(1.0, 0.0, 0.0), y: V(0.0, 1.0, 0.0), z: V(0.0, 0.0, 1.0) };

    /// About the x axis, y towards z, in degrees; the others likewise.
    pub fn x(degrees: f64) -> Turn {
        let (s, c) = sin_cos(degrees);
        Turn { x: V(1.0, 0.0, 0.0), y: V(0.0, c, s), z: V(0.0, -s, c) }
    }

    pub fn y(degrees: f64) -> Turn {
        let (s, c) = sin_cos(degrees);
        Turn { x: V(c, 0.0, -s), y: V(0.0, 1.0, 0.0), z: V(s, 0.0, c) }
    }

    pub fn z(degrees: f64) -> Turn {
        let (s, c) = sin_cos(degrees);
        Turn { x: V(c, s, 0.0), y: V(-s, c, 0.0), z: V(0.0, 0.0, 1.0) }
    }

    /// The turn whose x axis points along `direction` and whose y axis is as near to `up` as can be.
    pub fn along(direction: V, up: V) -> Turn {
        let x = direction.unit();
        let mut z = x.cross(up);
        if z.length() < 1e-6 {
            z = x.cross(V(0.31, 0.42, 0.85));
        }
        let z = z.unit();
        Turn { x, y: z.cross(x), z }
    }

    pub fn apply(&self, v: V) -> V {
        self.x * v.0 + self.y * v.1 + self.z * v.2
    }

    /// The inverse rotation of `v`.
    pub fn undo(&self, v: V) -> V {
        V(self.x.dot(v), self.y.dot(v), self.z.dot(v))
    }

    /// First `inner`, then `self`.
    pub fn then_of(&self, inner: Turn) -> Turn {
        Turn { x: self.apply(inner.x), y: self.apply(inner.y), z: self.apply(inner.z) }
    }
}

/// Sine and cosine of an angle in degrees, by `libm`, whose bits are the same everywhere.
pub fn sin_cos(degrees: f64) -> (f64, f64) {
    let radians = degrees * (std::f64::consts::PI / 180.0);
    (libm::sin(radians), libm::cos(radians))
}

/// A place and a turn.
#[derive(Debug, Clone, Copy)]
pub struct Frame {
    pub origin: V,
    pub turn: Turn,
}

impl Frame {
    pub fn place(&self, local: V) -> V {
        self.origin + self.turn.apply(local)
    }

    pub fn local(&self, point: V) -> V {
        self.turn.undo(point - self.origin)
    }

    /// A frame given in this frame's terms.
    pub fn child(&self, origin: V, turn: Turn) -> Frame {
        Frame { origin: self.place(origin), turn: self.turn.then_of(turn) }
    }
}

/// 0 below `low`, 1 above `high`, smooth between; `low` may be above `high`.
pub fn step(low: f64, high: f64, x: f64) -> f64 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}
