//! What lies behind the bird, out of focus: sky, foliage, trunks, water, ground. Knows no birds.

use super::plumage::linear;
use super::source::{Source, fractal, noise};
use super::space::{V, step};

/// The kinds of background.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sky,
    Foliage,
    Forest,
    Plain,
    /// Water to a far bank or the sky.
    Water,
}

/// Frame units: -1 to 1 across the picture, y up.
pub struct Backdrop {
    kind: Kind,
    colours: [V; 3],
    salt: u32,
    scale: f64,
    slant: f64,
    discs: Vec<Disc>,
    stems: Vec<Stem>,
    /// Where water or ground begins; above the picture where nothing is seen beyond it.
    pub horizon: f64,
    water: [V; 2],
}

/// A bright spot out of focus.
struct Disc {
    at: [f64; 2],
    radius: f64,
    soft: f64,
    colour: V,
    cover: f64,
}

/// A trunk or reed out of focus.
struct Stem {
    x: f64,
    lean: f64,
    half: f64,
    soft: f64,
    top: f64,
    colour: V,
}

const GREENS: [u32; 7] = [0x3E5A2A, 0x5F7D35, 0x2F4A33, 0x7A8A45, 0x4A6B4A, 0x8FA05A, 0x26382A];
const AUTUMN: [u32; 6] = [0x8A6A32, 0x9C5A2A, 0x6A4A2E, 0xB08A44, 0x7A3E24, 0x5A5030];
const SKIES: [[u32; 2]; 6] = [
    [0x5E93CF, 0xB8D4EA],
    [0x8FB2D6, 0xDDE6EC],
    [0xA9B0B8, 0xD2D5D8],
    [0x6C7FA8, 0xE7C6A6],
    [0x3F73B4, 0x9CC3E6],
    [0xC9CFD2, 0xECECE8],
];
const PLAINS: [[u32; 2]; 6] = [
    [0xA8A090, 0x6E685C],
    [0x7C8A6A, 0x4E5A44],
    [0xC7B58E, 0x8A7A5A],
    [0x8C97A2, 0x58626C],
    [0xD9DADB, 0xA6AAAE],
    [0x5A4A3E, 0x2E2824],
];
const WATERS: [[u32; 2]; 6] = [
    [0x3E5F7C, 0x86A8BC],
    [0x4A5A4A, 0x8C9A7C],
    [0x2F4450, 0x6E8894],
    [0x6A7078, 0xB4BABE],
    [0x5A5038, 0xA6946A],
    [0x2A5A6A, 0x74B0B4],
];

impl Backdrop {
    /// A background of a kind.
    pub fn draw(kind: Kind, source: &mut Source) -> Backdrop {
        let leafy = if source.chance(0.3) { &AUTUMN[..] } else { &GREENS[..] };
        let pick = |source: &mut Source, inks: &[u32]| linear(*source.pick(inks)) * source.range(0.7, 1.35);
        let two = |source: &mut Source, pairs: &[[u32; 2]]| {
            let [a, b] = *source.pick(pairs);
            [linear(a) * source.range(0.8, 1.15), linear(b) * source.range(0.8, 1.15)]
        };
        let sky = two(source, &SKIES);
        let colours = match kind {
            Kind::Sky => [sky[0], sky[1], linear(0xF2F2F0)],
            Kind::Plain => {
                let [a, b] = two(source, &PLAINS);
                [a, b, a.mix(b, 0.5)]
            }
            Kind::Foliage | Kind::Forest => [pick(source, leafy), pick(source, leafy), pick(source, leafy) * 0.5],
            Kind::Water if source.chance(0.35) => [sky[0], sky[1], linear(0xF2F2F0)],
            Kind::Water => [pick(source, leafy), pick(source, leafy), pick(source, leafy) * 0.6],
        };
        let discs = match kind {
            Kind::Foliage => 26,
            Kind::Forest | Kind::Water => 10,
            _ => 0,
        };
        let bright = source.range(0.8, 2.2);
        let soft = source.range(0.25, 0.95);
        let large = source.range(0.7, 1.7);
        let discs = (0..discs).map(|_| Disc {
            at: [source.range(-1.2, 1.2), source.range(-1.2, 1.2)],
            radius: source.range(0.05, 0.22) * large,
            soft,
            colour: if source.chance(0.3) { sky[1] } else { pick(source, leafy) * bright },
            cover: source.range(0.12, 0.6),
        });
        let discs = discs.collect();
        let mut backdrop = Backdrop {
            kind,
            colours,
            salt: source.salt(),
            scale: source.range(0.8, 2.4),
            slant: source.bell() * 0.6,
            discs,
            stems: Vec::new(),
            horizon: if source.chance(0.5) { 3.0 } else { source.range(0.25, 0.95) },
            water: two(source, &WATERS),
        };
        if kind == Kind::Forest {
            for _ in 0..5 {
                backdrop.stems.push(Stem {
                    x: source.range(-1.2, 1.2),
                    lean: source.bell() * 0.25,
                    half: source.range(0.04, 0.22),
                    soft: source.range(0.03, 0.14),
                    top: 3.0,
                    colour: linear(*source.pick(&[0x4A3C30, 0x6A5A4A, 0x2E2620, 0x8A8074])) * source.range(0.6, 1.4),
                });
            }
        }
        backdrop
    }

    /// Reeds on the far side, from the horizon or the bottom upwards.
    pub fn grow_reeds(&mut self, source: &mut Source) {
        let inks = [0x7A8A3A, 0xA09A52, 0x5A6A2A, 0xB8A868, 0x4A5230];
        let soft = source.range(0.008, 0.05);
        for _ in 0..(14 + (source.uniform() * 26.0) as usize) {
            self.stems.push(Stem {
                x: source.range(-1.3, 1.3),
                lean: source.bell() * 0.35,
                half: source.range(0.008, 0.03),
                soft: soft * source.range(0.6, 1.4),
                top: source.range(0.1, 1.5),
                colour: linear(*source.pick(&inks)) * source.range(0.5, 1.2),
            });
        }
    }

    /// Linear colour at a place of the picture, the water's surface not included.
    pub fn colour(&self, x: f64, y: f64) -> V {
        let [a, b, c] = self.colours;
        let high = ((y + 1.0) * 0.5).clamp(0.0, 1.0);
        let blur = fractal(self.salt, x * self.scale + 9.0, (y + self.slant * x) * self.scale, 3);
        let mut colour = match self.kind {
            Kind::Sky => b.mix(a, high).mix(c, 0.75 * step(0.52, 0.78, blur)),
            Kind::Plain => b.mix(a, step(0.1, 0.9, 0.5 * high + 0.5 * blur + self.slant * x * 0.3)),
            Kind::Water if self.colours[2].0 > 0.8 => b.mix(a, high).mix(c, 0.5 * step(0.55, 0.8, blur)),
            _ => {
                let (u, v) = (x + 0.5 * blur + 0.3 * y, y - 0.4 * blur - 0.3 * x);
                let patch = noise(self.salt ^ 1, u * self.scale * 1.7, v * self.scale * 1.7 + 5.0);
                a.mix(b, step(0.25, 0.75, blur)).mix(c, 0.85 * step(0.4, 1.0, patch))
            }
        };
        for disc in &self.discs {
            let (dx, dy) = (x - disc.at[0], y - disc.at[1]);
            let d = dx * dx + dy * dy;
            if d < disc.radius * disc.radius {
                let edge = step(1.0, 1.0 - disc.soft, d.sqrt() / disc.radius);
                colour = colour.mix(disc.colour, disc.cover * edge);
            }
        }
        for stem in &self.stems {
            let middle = stem.x + stem.lean * y;
            let cover = step(stem.half + stem.soft, (stem.half - stem.soft).max(0.0), (x - middle).abs());
            if cover > 0.0 {
                let tip = step(stem.top + 0.08, stem.top, y);
                let side = 1.0 + 0.35 * (x - middle) / (stem.half + stem.soft);
                colour = colour.mix(stem.colour * side, cover * tip * 0.92);
            }
        }
        colour
    }

    /// Height of a ripple, about -1 to 1, at a place of the water's surface.
    pub fn ripple(&self, x: f64, y: f64) -> f64 {
        // Waves look finer towards the horizon.
        let away = 1.0 / (0.55 + 0.30 * (1.0 - y).clamp(0.0, 2.0));
        2.0 * fractal(self.salt ^ 2, x * 2.6 * away, y * 13.0 * away, 3) - 1.0
    }

    /// Linear colour of the water itself where it reflects `above`.
    pub fn water(&self, x: f64, y: f64, above: V) -> V {
        let [deep, pale] = self.water;
        let wave = self.ripple(x, y);
        let far = ((y + 1.0) * 0.5).clamp(0.0, 1.0);
        let own = deep.mix(pale, (0.25 + 0.45 * far + 0.45 * wave).clamp(0.0, 1.0));
        own.mix(above, 0.30) + V::grey(0.35 * step(0.42, 0.75, wave))
    }
}
