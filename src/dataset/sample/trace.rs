//! Looks at a posed bird along parallel rays: which point of which part each pixel shows, lit and coloured. Knows no
//! backgrounds.
//!
//! Distances are followed along each ray (sphere tracing, Hart 1996) and joined by a polynomial smooth minimum.

use super::anatomy::{Bird, Solid};
use super::plumage::Plumage;
use super::source::Source;
use super::space::{Turn, V, step};
use super::species::Part;

/// The light of one picture, linear.
pub struct Light {
    /// Towards the sun.
    pub sun: V,
    pub sunshine: V,
    /// From above and from below.
    pub sky: V,
    pub ground: V,
}

impl Light {
    /// From hard low sun to an overcast day.
    pub fn draw(source: &mut Source) -> Light {
        let around = Turn::y(source.range(-110.0, 110.0)).then_of(Turn::x(-source.range(18.0, 75.0)));
        let sun = around.apply(V(0.0, 0.0, 1.0));
        let clear = source.uniform();
        let warm = source.range(-0.10, 0.30);
        let exposure = source.range(0.72, 1.28);
        let sunshine = V(1.0 + warm, 1.0, 1.0 - warm) * ((0.45 + 1.05 * clear) * exposure);
        let sky = V(0.88, 0.96, 1.10) * ((0.62 - 0.26 * clear) * exposure);
        let leafy = source.uniform();
        let ground = V(0.42 - 0.10 * leafy, 0.40, 0.32 - 0.08 * leafy) * ((0.62 - 0.15 * clear) * exposure);
        Light { sun, sunshine, sky, ground }
    }
}

/// A picture of the bird alone, row by row: colour premultiplied by coverage, and coverage.
pub struct Layer {
    pub pixels: Vec<(V, f64)>,
}

/// Where the bird stands in the picture: frame units are -1 to 1 across the picture, y up.
pub struct Placing {
    /// Frame units a bird unit.
    pub scale: f64,
    /// The bird's origin in frame units.
    pub at: [f64; 2],
}

/// What one ray shows.
#[derive(Clone, Copy)]
struct Hit {
    skin: usize,
    colour: V,
}

/// Draws the bird into a picture of `size` x `size`.
pub fn layer(bird: &Bird, plumage: &Plumage, light: &Light, placing: &Placing, size: usize) -> Layer {
    let viewer = Viewer::new(bird, plumage, light, 2.0 / (size as f64 * placing.scale));
    let point = |x: f64, y: f64| {
        let frame = [x * 2.0 / size as f64 - 1.0, 1.0 - y * 2.0 / size as f64];
        [(frame[0] - placing.at[0]) / placing.scale, (frame[1] - placing.at[1]) / placing.scale]
    };
    let mut hits: Vec<Option<Hit>> = vec![None; size * size];
    let mut near = vec![Solids::NONE; size * size];
    for y in 0..size {
        for x in 0..size {
            let at = point(x as f64 + 0.5, y as f64 + 0.5);
            let close = viewer.near(at);
            near[y * size + x] = close;
            hits[y * size + x] = viewer.look(at, close);
        }
    }
    // Small pictures are averaged from more samples, and everywhere.
    let fine = if size <= 128 { 3 } else { 2 };
    let mut pixels = vec![(V::default(), 0.0); size * size];
    for y in 0..size {
        for x in 0..size {
            let i = y * size + x;
            if near[i] == Solids::NONE {
                continue;
            }
            let steps = [
                (x > 0, i.wrapping_sub(1)),
                (x + 1 < size, i + 1),
                (y > 0, i.wrapping_sub(size)),
                (y + 1 < size, i + size),
            ];
            let even = steps.iter().all(|&(inside, j)| !inside || alike(hits[i], hits[j]));
            if even && size > 128 {
                if let Some(hit) = hits[i] {
                    pixels[i] = (hit.colour, 1.0);
                }
                continue;
            }
            let (mut sum, mut cover) = (V::default(), 0.0);
            for sub in 0..fine * fine {
                let (sx, sy) = ((sub % fine) as f64, (sub / fine) as f64);
                let at = point(x as f64 + (sx + 0.5) / fine as f64, y as f64 + (sy + 0.5) / fine as f64);
                if let Some(hit) = viewer.look(at, near[i]) {
                    sum = sum + hit.colour;
                    cover += 1.0;
                }
            }
            let share = 1.0 / (fine * fine) as f64;
            pixels[i] = (sum * share, cover * share);
        }
    }
    Layer { pixels }
}

/// Whether two neighbouring rays show so much the same that one sample a pixel will do.
fn alike(a: Option<Hit>, b: Option<Hit>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            let d = a.colour - b.colour;
            a.skin == b.skin && d.dot(d) < 0.02
        }
        _ => false,
    }
}

/// A set of a bird's solids, as bits; a bird has fewer than 64.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Solids(u64);

impl Solids {
    const NONE: Solids = Solids(0);
}

impl Iterator for Solids {
    type Item = usize;
    fn next(&mut self) -> Option<usize> {
        let i = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        (i < 64).then_some(i as usize)
    }
}

impl FromIterator<usize> for Solids {
    fn from_iter<I: IntoIterator<Item = usize>>(items: I) -> Solids {
        Solids(items.into_iter().fold(0, |bits, i| bits | 1 << i))
    }
}

struct Viewer<'a> {
    bird: &'a Bird,
    plumage: &'a Plumage,
    light: &'a Light,
    /// Width of a pixel in bird units.
    pixel: f64,
    /// Those large enough to throw a shadow.
    shady: Solids,
}

impl<'a> Viewer<'a> {
    fn new(bird: &'a Bird, plumage: &'a Plumage, light: &'a Light, pixel: f64) -> Viewer<'a> {
        let shady = (0..bird.solids.len()).filter(|&i| bird.solids[i].reach > 0.12).collect();
        Viewer { bird, plumage, light, pixel, shady }
    }

    /// The solids that a ray through a pixel could meet.
    fn near(&self, at: [f64; 2]) -> Solids {
        let meets = |solid: &Solid| {
            let (dx, dy) = (at[0] - solid.middle.0, at[1] - solid.middle.1);
            let margin = solid.blend * 0.5 + self.pixel;
            let reach = solid.reach + margin;
            let far = dx * dx + dy * dy;
            if far >= reach * reach {
                return false;
            }
            // Outside its shadow on the picture, looking from the middle towards the ray.
            let away = far.sqrt();
            away < 1e-6 || {
                let direction = V(dx / away, dy / away, 0.0);
                solid.span(direction)[1] + margin > at[0] * direction.0 + at[1] * direction.1
            }
        };
        (0..self.bird.solids.len()).filter(|&i| meets(&self.bird.solids[i])).collect()
    }

    fn distance(&self, point: V, solids: Solids) -> f64 {
        let mut d: f64 = 9.0;
        for i in solids {
            let solid = &self.bird.solids[i];
            let (away, matters) = (point - solid.middle, d + solid.reach + solid.blend);
            if away.dot(away) > matters * matters {
                continue;
            }
            let e = solid.distance(point);
            if solid.blend > 0.0 {
                let h = (solid.blend - (d - e).abs()).max(0.0) / solid.blend;
                d = d.min(e) - h * h * solid.blend * 0.25;
            } else {
                d = d.min(e);
            }
        }
        d
    }

    fn look(&self, at: [f64; 2], solids: Solids) -> Option<Hit> {
        let (mut z, mut end): (f64, f64) = (-9.0, 9.0);
        for i in solids {
            let solid = &self.bird.solids[i];
            let (dx, dy, reach) = (at[0] - solid.middle.0, at[1] - solid.middle.1, solid.reach + solid.blend * 0.5);
            let half = (reach * reach - dx * dx - dy * dy).max(0.0).sqrt();
            z = z.max(solid.middle.2 + half);
            end = end.min(solid.middle.2 - half);
        }
        let close = (self.pixel * 0.25).min(0.004);
        for _ in 0..48 {
            if z < end {
                return None;
            }
            let point = V(at[0], at[1], z);
            let d = self.distance(point, solids);
            if d < close {
                return Some(self.shade(point, solids));
            }
            z -= d * 0.85;
        }
        None
    }

    fn normal(&self, point: V, solids: Solids) -> V {
        const E: f64 = 0.004;
        let corner = |x: f64, y: f64, z: f64| V(x, y, z) * self.distance(point + V(x, y, z) * E, solids);
        (corner(1.0, -1.0, -1.0) + corner(-1.0, -1.0, 1.0) + corner(-1.0, 1.0, -1.0) + corner(1.0, 1.0, 1.0)).unit()
    }

    fn shade(&self, point: V, solids: Solids) -> Hit {
        let (skin, albedo, touching) = self.skin(point, solids);
        let part = self.bird.skins[skin].part;
        let normal = self.normal(point, touching);
        let light = self.light;
        let open = 0.35 + 0.65 * self.open(point, normal);
        let facing = normal.dot(light.sun);
        // Feathers scatter: light wraps a little round the edge.
        let wrapped = ((facing + 0.18) / 1.18).max(0.0);
        let shadow = if wrapped > 0.0 { self.shadow(point + normal * 0.02) } else { 0.0 };
        let above = 0.5 + 0.5 * normal.1;
        let ambient = light.ground.mix(light.sky, above) * open;
        let rim = step(0.55, 0.0, normal.2) * 0.10;
        let mut colour = albedo * (ambient + light.sunshine * (wrapped * shadow)) + light.sky * (rim * open * above);
        let gloss = match part {
            Part::Eye => 1.6,
            Part::Bill => 0.22,
            Part::Leg => 0.06,
            _ => 0.025,
        };
        let half = (light.sun + V(0.0, 0.0, 1.0)).unit();
        let shine = normal.dot(half).max(0.0);
        let (p2, p4) = (shine * shine, shine * shine * shine * shine);
        let tight = if part == Part::Eye { p4 * p4 * p4 * p4 * p4 * p4 * p4 * p4 } else { p4 * p4 * p2 };
        colour = colour + light.sunshine * (gloss * tight * shadow.max(0.35));
        if part == Part::Eye {
            // The sky in the eye: a catch-light even without sun.
            let up = normal.dot(V(-0.35, 0.62, 0.70)).max(0.0);
            colour = colour + light.sky * (1.4 * step(0.90, 0.97, up));
        }
        Hit { skin, colour }
    }

    /// How open the surface lies to the sky, 0 in a fold to 1.
    fn open(&self, point: V, normal: V) -> f64 {
        const REACH: f64 = 0.10;
        let (solids, tip) = (&self.bird.solids, point + normal * REACH);
        let close = self.shady.filter(|&i| (solids[i].middle - tip).length() < solids[i].reach + REACH).collect();
        (self.distance(tip, close) / REACH).clamp(0.0, 1.0)
    }

    /// Share of the sun that reaches a point, with a soft edge.
    fn shadow(&self, point: V) -> f64 {
        let (solids, sun) = (&self.bird.solids, self.light.sun);
        let between = self.shady.filter(|&i| {
            let away = solids[i].middle - point;
            let along = away.dot(sun);
            // Where the half-shadow, which widens with the way, could touch it.
            let reach = solids[i].reach + 0.02 + 0.1 * along.max(0.0);
            along > -reach && away.dot(away) - along * along < reach * reach
        });
        let between = between.collect();
        let (mut t, mut open) = (0.03, 1.0f64);
        for _ in 0..7 {
            let d = self.distance(point + sun * t, between);
            open = open.min(0.5 + 5.0 * d / t);
            t += d.max(0.05);
            if open <= 0.0 || t > 1.4 {
                break;
            }
        }
        open.clamp(0.0, 1.0)
    }

    /// The part that a point belongs to, its colour, and the solids that shape the surface there; body, neck and head
    /// run into each other.
    fn skin(&self, point: V, solids: Solids) -> (usize, V, Solids) {
        const SOFT: f64 = 0.030;
        let mut distances = [9.0; 64];
        let mut nearest = (9.0, 0);
        for i in solids {
            distances[i] = self.bird.solids[i].distance(point);
            if distances[i] < nearest.0 {
                nearest = (distances[i], i);
            }
        }
        let (least, solid) = (nearest.0, &self.bird.solids[nearest.1]);
        let touching = solids.filter(|&i| distances[i] < least + self.bird.solids[i].blend + 0.02).collect();
        let paint = |skin: usize| {
            let skin = &self.bird.skins[skin];
            self.plumage.colour(skin.part, skin.coordinates(point))
        };
        let torso = |skin: usize| matches!(self.bird.skins[skin].part, Part::Body | Part::Neck | Part::Head);
        if !torso(solid.skin) {
            return (solid.skin, paint(solid.skin), touching);
        }
        let (mut sum, mut total) = (V::default(), 0.0);
        for i in solids {
            let weight = 1.0 - (distances[i] - least) / SOFT;
            if weight > 0.0 && torso(self.bird.solids[i].skin) {
                let weight = weight * weight;
                sum = sum + paint(self.bird.solids[i].skin) * weight;
                total += weight;
            }
        }
        (solid.skin, sum * (1.0 / total), touching)
    }
}
