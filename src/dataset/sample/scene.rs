//! One whole picture: background, perch, bird, water, leaves before it. Knows no files.

use super::anatomy::{Bird, Pose};
use super::backdrop::{Backdrop, Kind};
use super::plumage::{Plumage, linear};
use super::source::{Source, fractal, noise};
use super::space::{V, sin_cos, step};
use super::species::{Place, Species};
use super::trace::{self, Light, Placing};

/// Linear light of every pixel, row by row from the top, `size` x `size`.
pub fn paint(species: &'static Species, seed: u64, index: u64, size: usize) -> Vec<V> {
    let source = |purpose: &str| Source::new(seed, species.name, index, purpose);
    let pose = Pose::draw(species, &mut source("pose"));
    let bird = Bird::pose(species, &pose);
    let plumage = Plumage::draw(species, &mut source("plumage"));
    let light = Light::draw(&mut source("light"));
    let placing = place(&bird, &mut source("place"));
    let setting = Setting::draw(species, &bird, &pose, &placing, &mut source("setting"));
    let front = front(species, &placing, &mut source("front"));
    let layer = trace::layer(&bird, &plumage, &light, &placing, size);

    // What the background gets of the picture's light.
    let day = light.sunshine * 0.45 + light.sky * 0.55;
    let frame = |i: f64| (i + 0.5) * 2.0 / size as f64 - 1.0;
    let behind = |x: f64, y: f64| {
        let (px, py) = (((x + 1.0) * 0.5 * size as f64) as isize, ((1.0 - y) * 0.5 * size as f64) as isize);
        let inside = x > -1.0 && y < 1.0 && px >= 0 && py >= 0 && (px as usize) < size && (py as usize) < size;
        if inside { layer.pixels[py as usize * size + px as usize] } else { (V::default(), 0.0) }
    };
    let mut picture = Vec::with_capacity(size * size);
    for row in 0..size {
        for column in 0..size {
            let (x, y) = (frame(column as f64), -frame(row as f64));
            let (bird, cover) = layer.pixels[row * size + column];
            let back = setting.behind(x, y, &light) * day;
            let mut colour = back * (1.0 - cover) + bird;
            if let Some(wet) = setting.wet(x, y) {
                let ripple = setting.backdrop.ripple(x, y);
                let mirrored = 2.0 * setting.line - y + 0.03 * ripple;
                let (image, share) = behind(x + 0.02 * ripple, mirrored);
                let mut surface = back * (1.0 - 0.55 * share) + image * 0.45;
                // The bird's dark foot in the water, and a pale ring where it breaks the surface.
                let (_, near) = behind(x, setting.line + 0.03);
                let depth = setting.line - y;
                surface = surface * (1.0 - 0.35 * near * step(0.10, 0.0, depth));
                surface = surface + day * (0.14 * near * step(0.025, 0.0, depth));
                colour = colour.mix(surface, wet);
            }
            for leaf in &front {
                colour = leaf.over(colour, x, y, day);
            }
            picture.push(colour);
        }
    }
    picture
}

/// 35 to 85 % of the picture, large ones more often; mostly inside.
fn place(bird: &Bird, source: &mut Source) -> Placing {
    let [left, right, bottom, top] = bird.extent();
    let (wide, high) = (right - left, top - bottom);
    let share = 0.35 + 0.50 * source.uniform().max(source.uniform());
    let scale = 2.0 * share / wide.max(high);
    let over = if source.chance(0.15) { 0.16 } else { -0.03 };
    let free = |extent: f64| (1.0 - extent * scale * 0.5 + over).max(0.0);
    let x = source.range(-1.0, 1.0) * free(wide);
    let y = source.range(-1.0, 1.0) * free(high);
    Placing { scale, at: [x - (left + right) * 0.5 * scale, y - (bottom + top) * 0.5 * scale] }
}

/// What the bird sits on, stands in or swims on.
enum Ground {
    Branch {
        through: [f64; 2],
        slope: f64,
        half: f64,
        bend: f64,
        ink: V,
        leaves: Vec<Leaf>,
    },
    Trunk {
        x: f64,
        lean: f64,
        half: f64,
        ink: V,
    },
    /// Earth, sand, snow or grass up to a line.
    Earth {
        top: f64,
        shade: [f64; 3],
        ink: [V; 2],
    },
    Water,
}

struct Setting {
    backdrop: Backdrop,
    ground: Ground,
    /// The water line at the bird.
    line: f64,
    salt: u32,
}

impl Setting {
    fn draw(species: &Species, bird: &Bird, pose: &Pose, placing: &Placing, source: &mut Source) -> Setting {
        let scale = placing.scale;
        let feet = [placing.at[0] + bird.feet.0 * scale, placing.at[1] + bird.feet.1 * scale];
        let right = sin_cos(pose.yaw).1 > 0.0;
        let dry = [Kind::Sky, Kind::Foliage, Kind::Foliage, Kind::Forest, Kind::Plain, Kind::Water];
        let (kind, ground) = match species.place {
            Place::Water | Place::Shallows => (Kind::Water, Ground::Water),
            Place::Trunk => {
                let half = source.range(0.22, 0.60);
                let x = feet[0] + if right { half * 0.88 } else { -half * 0.88 };
                let ink =
                    linear(*source.pick(&[0x6A5A48, 0x8A7A66, 0x4A3E34, 0xA89C8A, 0x5E6450])) * source.range(0.7, 1.3);
                let lean = -sin_cos(pose.roll).0 + 0.06 * source.bell();
                (*source.pick(&dry), Ground::Trunk { x: x - lean * feet[1], lean, half, ink })
            }
            Place::Perch if source.chance(0.22) => {
                let inks = [
                    [0x8A7A5A, 0x5E5240],
                    [0xC9B68A, 0xA08C62],
                    [0x5E7A34, 0x3E5626],
                    [0xE4E6EA, 0xB8C0CC],
                    [0x6A5040, 0x8A5A30],
                ];
                let [a, b] = *source.pick(&inks);
                let shade = [feet[0] + 0.05, feet[1] - 0.02 * scale, 0.55 * scale];
                let top = (feet[1] + source.range(0.04, 0.7)).min(3.0);
                (*source.pick(&dry), Ground::Earth { top, shade, ink: [linear(a), linear(b)] })
            }
            Place::Perch => {
                let half = (0.05 + 0.09 * source.uniform()) * scale;
                let slope = 0.75 * source.bell();
                let ink = linear(*source.pick(&[0x5A4A3A, 0x7A6A58, 0x3E342C, 0x948676, 0x6A4E38, 0x5C6048]))
                    * source.range(0.7, 1.4);
                let leafy = source.chance(0.5);
                let green = linear(*source.pick(&[0x5F8A35, 0x3E6A2A, 0x8AA04A, 0xA8702E, 0x4A7A4A]));
                let leaves = (0..if leafy { 9 } else { 0 }).map(|_| {
                    let x = source.range(-1.2, 1.2);
                    let y = feet[1] + slope * (x - feet[0]);
                    Leaf::draw([x, y], source.range(0.14, 0.32), 0.012, green * source.range(0.7, 1.3), source)
                });
                let leaves = leaves.collect();
                let through = [feet[0], feet[1] - half * 0.92];
                let bend = 0.2 * source.bell();
                (*source.pick(&dry), Ground::Branch { through, slope, half, bend, ink, leaves })
            }
        };
        let mut backdrop = Backdrop::draw(kind, source);
        let wades = species.place == Place::Shallows;
        if wades || (kind == Kind::Water && source.chance(0.35)) {
            backdrop.grow_reeds(source);
        }
        let line = if wades { feet[1] + source.range(0.03, 0.22) * scale } else { feet[1] };
        if matches!(ground, Ground::Water) {
            backdrop.horizon = backdrop.horizon.max(line + 0.12);
        }
        Setting { backdrop, ground, line, salt: source.salt() }
    }

    /// Background and perch, as if white light fell on them.
    fn behind(&self, x: f64, y: f64, light: &Light) -> V {
        let mut colour = self.far(x, y);
        match &self.ground {
            Ground::Water => {}
            Ground::Branch { through, slope, half, bend, ink, leaves } => {
                let along = x - through[0];
                let middle = through[1] + slope * along + bend * along * along;
                let lean = 1.0 / (1.0 + slope * slope).sqrt();
                let rough = 1.0 + 0.35 * (noise(self.salt, x * 5.0, 3.0) - 0.5) * step(0.0, 0.3, along.abs());
                let across = (y - middle) * lean / (half * rough);
                if across.abs() < 1.1 {
                    let bark = fractal(self.salt ^ 1, along * 9.0, across * 2.5 + 7.0, 3);
                    let up = (across * light.sun.1).clamp(-1.0, 1.0);
                    let round = (1.0 - across * across).max(0.0).sqrt();
                    let shade = 0.35 + 0.40 * round + 0.45 * up.max(-0.5);
                    colour = colour.mix(*ink * (shade * (0.45 + 1.1 * bark)), step(1.04, 0.96, across.abs()));
                }
                for leaf in leaves {
                    colour = leaf.over(colour, x, y, V::grey(1.0));
                }
            }
            Ground::Trunk { x: foot, lean, half, ink } => {
                let wide = half * (1.0 + 0.10 * (noise(self.salt, 4.0, y * 2.5) - 0.5));
                let across = (x - foot - lean * y) / wide;
                if across.abs() < 1.1 {
                    let ridge =
                        fractal(self.salt ^ 1, across * 7.0 + 0.8 * noise(self.salt ^ 2, x * 4.0, y * 4.0), y * 2.2, 4);
                    let side = across * light.sun.0;
                    let round = (1.0 - across * across).max(0.0).sqrt();
                    let shade = 0.30 + 0.45 * round + 0.35 * side.max(-0.5);
                    let bark = 0.25 + 1.5 * step(0.25, 0.75, ridge);
                    colour = colour.mix(*ink * (shade * bark), step(1.03, 0.97, across.abs()));
                }
            }
            Ground::Earth { top, shade, ink: [a, b] } => {
                let edge = top + 0.06 * (fractal(self.salt, x * 3.0, 1.0, 3) - 0.5);
                let near = (edge - y).max(0.0);
                let fine = 26.0 / (0.6 + near);
                let grain = fractal(self.salt ^ 1, x * fine * 0.6, near * fine, 3);
                let broad = fractal(self.salt ^ 2, x * 2.5, near * 5.0, 2);
                let mut earth = a.mix(*b, step(0.25, 0.75, broad)) * (0.55 + 0.9 * grain);
                let (dx, dy) =
                    ((x - shade[0] + 0.3 * light.sun.0 * shade[2]) / shade[2], (y - shade[1]) / (shade[2] * 0.22));
                earth = earth * (1.0 - 0.55 * step(1.2, 0.2, (dx * dx + dy * dy).sqrt()));
                colour = colour.mix(earth, step(-0.03, 0.03, edge - y));
            }
        }
        colour
    }

    fn far(&self, x: f64, y: f64) -> V {
        let sky = self.backdrop.colour(x, y);
        if !matches!(self.ground, Ground::Water) || y > self.backdrop.horizon {
            return sky;
        }
        let mirrored = 2.0 * self.backdrop.horizon - y + 0.05 * self.backdrop.ripple(x, y);
        let above = self.backdrop.colour(x, mirrored.min(1.6));
        let water = self.backdrop.water(x, y, above);
        sky.mix(water, step(self.backdrop.horizon, self.backdrop.horizon - 0.03, y))
    }

    /// Cover by water before the bird, 0 to 1; `None` where there is none.
    fn wet(&self, x: f64, y: f64) -> Option<f64> {
        if !matches!(self.ground, Ground::Water) {
            return None;
        }
        let edge = self.line + 0.016 * self.backdrop.ripple(x * 2.0, self.line);
        (y < edge + 0.01).then(|| step(edge + 0.01, edge - 0.01, y))
    }
}

/// A leaf or reed before or beside the bird.
struct Leaf {
    at: [f64; 2],
    direction: [f64; 2],
    length: f64,
    half: f64,
    soft: f64,
    ink: V,
}

impl Leaf {
    fn draw(at: [f64; 2], length: f64, soft: f64, ink: V, source: &mut Source) -> Leaf {
        let (s, c) = sin_cos(source.range(0.0, 360.0));
        Leaf { at, direction: [c, s], length, half: length * source.range(0.16, 0.30), soft, ink }
    }

    /// The leaf over a colour.
    fn over(&self, colour: V, x: f64, y: f64, light: V) -> V {
        let (dx, dy) = (x - self.at[0], y - self.at[1]);
        if dx * dx + dy * dy > (self.length + self.soft) * (self.length + self.soft) {
            return colour;
        }
        let along = (dx * self.direction[0] + dy * self.direction[1]) / self.length;
        let across = dy * self.direction[0] - dx * self.direction[1];
        let taper = if (0.0..=1.0).contains(&along) { 4.0 * along * (1.0 - along) * (1.25 - 0.5 * along) } else { 0.0 };
        let cover = step(self.soft, -self.soft, across.abs() - self.half * taper);
        let rib = 1.0 - 0.25 * step(0.012 + self.soft, 0.0, across.abs());
        let side = if across > 0.0 { 1.10 } else { 0.88 };
        colour.mix(self.ink * light * (rib * side), cover * step(0.0, 0.06, along) * step(1.0, 0.97, along))
    }
}

/// Leaves or reeds before the bird in some pictures, out of focus.
fn front(species: &Species, placing: &Placing, source: &mut Source) -> Vec<Leaf> {
    if !source.chance(0.45) {
        return Vec::new();
    }
    let reedy = matches!(species.place, Place::Shallows | Place::Water);
    let green = linear(*source.pick(&[0x5F8A35, 0x3E6A2A, 0x8AA04A, 0xA8702E, 0x6A7A3A]));
    let soft = source.range(0.01, 0.07);
    let count = 1 + (source.uniform() * 4.0) as usize;
    let leaf = |_| {
        // Anywhere, but seldom on the very middle of the bird.
        let x = placing.at[0] + source.range(0.2, 1.0) * if source.chance(0.5) { 1.0 } else { -1.0 };
        if reedy {
            let lean = source.bell() * 0.3;
            let (length, half) = (source.range(0.7, 1.9), source.range(0.012, 0.035));
            Leaf {
                at: [x, -1.1],
                direction: [lean, 1.0 - lean * lean * 0.5],
                length,
                half,
                soft: soft * 0.4,
                ink: green,
            }
        } else {
            let y = placing.at[1] + source.range(-0.8, 0.8);
            let length = source.range(0.25, 0.6);
            Leaf::draw([x, y], length, soft, green * source.range(0.6, 1.3), source)
        }
    };
    (0..count).map(leaf).collect()
}
