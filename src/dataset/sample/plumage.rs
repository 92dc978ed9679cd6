//! The colour of a point of a bird: a species' layers, painted with an individual's own wobble. Knows no shapes.

use super::source::{Source, hash, noise, noise3};
use super::space::{V, step};
use super::species::{Layer, Part, Pattern, Species, Where};

/// Linear light of an sRGB colour 0xRRGGBB, by a plain power of 2.2.
pub fn linear(ink: u32) -> V {
    let channel = |shift: u32| libm::pow(f64::from((ink >> shift) & 255) / 255.0, 2.2);
    V(channel(16), channel(8), channel(0))
}

/// One individual's plumage.
pub struct Plumage {
    layers: Vec<(&'static Layer, V)>,
    salt: u32,
    /// How ragged the patches' edges are.
    wobble: f64,
    /// Contrast of the single feathers.
    texture: f64,
}

impl Plumage {
    /// Colours a little off the field guide's: darker, paler, warmer or colder birds.
    pub fn draw(species: &'static Species, source: &mut Source) -> Plumage {
        let value = 1.0 + 0.16 * source.bell();
        let warm = 1.0 + 0.10 * source.bell();
        let dull = 0.14 * source.uniform();
        let tint = V(value * warm, value, value / warm);
        let layers = species.plumage.iter().map(|layer| {
            let pure = linear(layer.ink);
            let grey = V::grey(pure.dot(V(0.25, 0.6, 0.15)));
            let soft = if layer.part == Part::Eye { pure } else { pure.mix(grey, dull) * tint };
            (layer, soft)
        });
        let layers = layers.collect();
        Plumage { layers, salt: source.salt(), wobble: source.range(0.05, 0.13), texture: source.range(0.5, 1.2) }
    }

    /// Linear albedo of a part at its coordinates; `None` leaves what lies beneath, as where a part is unpainted.
    pub fn colour(&self, part: Part, at: V) -> V {
        let ragged = self.wobble * (noise3(self.salt, at.0 * 6.0, at.1 * 6.0, at.2 * 6.0) - 0.5)
            + 0.6 * self.wobble * (noise3(self.salt ^ 7, at.0 * 17.0, at.1 * 17.0, at.2 * 17.0) - 0.5);
        let crisp = matches!(part, Part::Eye | Part::Bill | Part::Leg);
        let shifted = if crisp { at } else { V(at.0 + ragged, at.1 + ragged, at.2) };
        let mut colour = V::grey(0.2);
        for (layer, ink) in self.layers.iter().filter(|(layer, _)| layer.part == part) {
            let cover = layer.conditions.iter().fold(1.0, |cover, condition| cover * holds(condition, shifted));
            if cover > 0.0 {
                colour = colour.mix(*ink, cover * self.pattern(layer.pattern, shifted));
            }
        }
        match part {
            Part::Eye => eye(colour, at),
            Part::Bill => colour * if (at.1 + 0.15).abs() < 0.07 && at.0 > 0.2 { 0.6 } else { 1.0 },
            Part::Leg => colour * (0.75 + 0.25 * step(0.2, 0.5, noise(self.salt, at.0 * 26.0, 0.5))),
            _ => colour * self.feathers(part, at),
        }
    }

    fn pattern(&self, pattern: Pattern, at: V) -> f64 {
        match pattern {
            Pattern::Plain => 1.0,
            Pattern::Bars(n) => {
                let phase = at.0 * n + 0.5 * at.1 + 0.7 * noise(self.salt ^ 3, at.0 * 3.0, at.1 * 4.0);
                let saw = (phase - phase.floor() - 0.5).abs() * 2.0;
                step(0.42, 0.62, saw)
            }
            Pattern::Spots(n) => {
                let (x, y) = (at.0 * n, at.1 * n * 0.8);
                let row = y.floor();
                let shifted = x + 0.5 * (row - 2.0 * (row * 0.5).floor());
                let cell = shifted.floor();
                let jitter = |k| 0.24 * (hash(self.salt ^ k, cell as i64, row as i64, 1) - 0.5);
                let (dx, dy) = (shifted - cell - 0.5 + jitter(1), y - row - 0.5 + jitter(2));
                step(0.36, 0.24, (dx * dx + dy * dy).sqrt())
            }
            Pattern::Streaks(n) => {
                let (x, y) = (at.0 * n * 0.9, (at.1 + at.2) * n * 1.4);
                let column = y.floor();
                let along = x + 7.0 * hash(self.salt ^ 5, column as i64, 2, 0);
                let dash = (along - along.floor() - 0.5).abs();
                let thin = (y - column - 0.5).abs() + 0.5 * dash;
                step(0.40, 0.28, thin) * step(0.48, 0.38, dash)
            }
        }
    }

    /// Shading of single feathers, about 1.
    fn feathers(&self, part: Part, at: V) -> f64 {
        let strength = self.texture;
        match part {
            Part::Wing => {
                // Scalloped coverts at the shoulder, long parallel flight feathers behind.
                let v = at.1 * 3.2 + at.0 * 1.6;
                let quill = v - v.floor();
                let flight = step(0.0, 0.22, quill) * step(1.02, 0.8, quill);
                let rows = at.0 * 9.0;
                let row = rows.floor();
                let u = at.1 * 4.0 + 0.5 * (row - 2.0 * (row * 0.5).floor());
                let (dx, dy) = (rows - row, u - u.floor() - 0.5);
                let scallop = step(1.05, 0.75, dx + 1.6 * dy * dy);
                let behind = step(0.30, 0.42, at.0);
                let edge = scallop + (flight - scallop) * behind;
                1.0 - 0.42 * strength * (1.0 - edge) + 0.08 * strength * edge
            }
            Part::Tail => {
                let v = at.2 * 3.0 + at.1 * 0.6;
                let quill = v - v.floor();
                1.0 - 0.38 * strength * (1.0 - step(0.0, 0.2, quill))
            }
            _ => {
                let fine = noise3(self.salt ^ 11, at.0 * 9.0, at.1 * 22.0, at.2 * 22.0);
                let soft = noise3(self.salt ^ 13, at.0 * 3.5, at.1 * 6.0, at.2 * 6.0);
                1.0 + strength * (0.30 * (fine - 0.5) + 0.26 * (soft - 0.5))
            }
        }
    }
}

/// Pupil and ring about the iris; x looks out of the head.
fn eye(iris: V, at: V) -> V {
    let off = (at.1 * at.1 + at.2 * at.2).sqrt();
    let pupil = iris.mix(V::grey(0.004), step(0.62, 0.52, off));
    pupil.mix(V::grey(0.012), step(0.86, 0.94, off))
}

/// How far a condition holds, 0 to 1, with soft edges.
fn holds(condition: &Where, at: V) -> f64 {
    const SOFT: f64 = 0.04;
    let within = |x: f64, low: f64, high: f64| step(low - SOFT, low + SOFT, x) * step(high + SOFT, high - SOFT, x);
    match *condition {
        Where::Forward(low, high) => within(at.0, low, high),
        Where::Up(low, high) => within(at.1, low, high),
        Where::Side(low, high) => within(at.2.abs(), low, high),
        Where::Near(f, u, s, r) => {
            let d = V(at.0 - f, at.1 - u, at.2.abs() - s).length();
            step(r + SOFT, r - SOFT, d)
        }
        Where::Under(height, slope) => step(SOFT, -SOFT, at.1 - height - slope * at.0),
    }
}
