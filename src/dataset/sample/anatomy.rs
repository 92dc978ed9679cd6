//! A bird's solids: from a species' build and a pose to ellipsoids and rounded cones in view space. Knows no colours.

use super::source::Source;
use super::space::{Frame, Turn, V, sin_cos};
use super::species::{Beak, Build, Part, Place, Species};

/// How one individual holds itself; angles in degrees.
pub struct Pose {
    /// 0 faces right in profile, 90 away from the viewer, 180 left, -90 at the viewer.
    pub yaw: f64,
    /// The viewer stands so much above the bird.
    pub elevation: f64,
    /// The picture is tilted.
    pub roll: f64,
    pub pitch: f64,
    pub head_yaw: f64,
    pub head_pitch: f64,
    /// Neck's length over its usual one.
    pub stretch: f64,
    /// 0 folded to 1 lifted.
    pub wing_open: f64,
    pub tail: f64,
    /// Fatness: feathers fluffed up or held tight.
    pub fluff: f64,
    /// How far apart the feet stand.
    pub stride: f64,
}

impl Pose {
    /// A pose such as the species' place allows.
    pub fn draw(species: &Species, source: &mut Source) -> Pose {
        let left = source.chance(0.5);
        let turned = source.bell() * if source.chance(0.25) { 75.0 } else { 42.0 };
        let afloat = species.place == Place::Water;
        let clings = species.place == Place::Trunk;
        let reach = if species.build.faces { 40.0 } else { 45.0 };
        Pose {
            yaw: if left { 180.0 - turned } else { turned },
            elevation: if afloat { source.range(4.0, 26.0) } else { source.range(-14.0, 22.0) },
            roll: source.bell() * if afloat { 5.0 } else { 11.0 },
            pitch: source.bell() * if afloat || clings { 7.0 } else { 17.0 },
            // An owl looks at the viewer, others look about, a little more often this way than that.
            head_yaw: {
                let here = if species.build.faces { source.range(20.0, 80.0) } else { source.range(-5.0, 20.0) };
                (here + source.bell() * reach) * if left { 1.0 } else { -1.0 }
            },
            head_pitch: source.bell() * 20.0,
            stretch: source.range(0.72, 1.12),
            wing_open: if source.chance(0.18) && !clings { source.range(0.25, 1.0) } else { source.range(0.0, 0.08) },
            tail: source.bell() * 14.0,
            fluff: source.range(0.92, 1.10),
            stride: source.range(0.2, 1.0),
        }
    }
}

/// The coordinates that a part's plumage is painted in.
#[derive(Clone, Copy)]
pub struct Skin {
    pub part: Part,
    frame: Frame,
    /// Half axes; of cones: length, and half widths.
    size: V,
    /// Value of the forward coordinate at the frame's origin.
    start: f64,
}

impl Skin {
    /// Forward, up, side of a point in view space; see [`super::species::Where`].
    pub fn coordinates(&self, point: V) -> V {
        let p = self.frame.local(point);
        V(self.start + p.0 / self.size.0, p.1 / self.size.1, p.2 / self.size.2)
    }
}

#[derive(Clone, Copy)]
enum Shape {
    /// Half axes, and one over each.
    Ellipsoid(V, V),
    /// Along x from 0 to the length, with a radius at either end, y and z stretched.
    Cone { length: f64, radii: [f64; 2], stretch: [f64; 2] },
}

/// One solid in view space: x right, y up, z towards the viewer.
pub struct Solid {
    shape: Shape,
    frame: Frame,
    /// How softly it joins those before it.
    pub blend: f64,
    /// Index into [`Bird::skins`].
    pub skin: usize,
    /// A sphere around it.
    pub middle: V,
    pub reach: f64,
}

impl Solid {
    /// Least and greatest of the solid along a unit direction.
    pub fn span(&self, direction: V) -> [f64; 2] {
        let d = self.frame.turn.undo(direction);
        let from = self.frame.origin.dot(direction);
        match self.shape {
            Shape::Ellipsoid(axes, _) => {
                let half = (d * axes).length();
                [from - half, from + half]
            }
            Shape::Cone { length, radii: [r0, r1], .. } => {
                let to = from + d.0 * length;
                [(from - r0).min(to - r1), (from + r0).max(to + r1)]
            }
        }
    }

    /// Signed distance, a lower bound near the surface; ellipsoids after Quilez's bound.
    #[inline]
    pub fn distance(&self, point: V) -> f64 {
        let p = self.frame.local(point);
        match self.shape {
            Shape::Ellipsoid(axes, inverse) => {
                let a = p * inverse;
                let (k, l) = (a.length(), (a * inverse).length());
                if l < 1e-9 { -axes.0.min(axes.1).min(axes.2) } else { k * (k - 1.0) / l }
            }
            Shape::Cone { length, radii: [r0, r1], stretch: [sy, sz] } => {
                let (y, z) = (p.1 / sy, p.2 / sz);
                let (x, r) = (p.0, (y * y + z * z).sqrt());
                let slope = ((r0 - r1) / length).clamp(-0.99, 0.99);
                let lean = (1.0 - slope * slope).sqrt();
                let k = x * lean - r * slope;
                let d = if k < 0.0 {
                    (x * x + r * r).sqrt() - r0
                } else if k > lean * length {
                    ((x - length) * (x - length) + r * r).sqrt() - r1
                } else {
                    r * lean + x * slope - r0
                };
                d * sy.min(sz).min(1.0)
            }
        }
    }
}

/// A posed bird in view space, its body's middle at the origin.
pub struct Bird {
    pub solids: Vec<Solid>,
    pub skins: Vec<Skin>,
    /// Where the feet stand.
    pub feet: V,
    /// Height of the water line of a swimming bird, or of the ground.
    pub floor: f64,
}

impl Bird {
    /// Left, right, bottom and top of the bird as the viewer sees it.
    pub fn extent(&self) -> [f64; 4] {
        let span = |direction: V| {
            self.solids
                .iter()
                .map(|solid| solid.span(direction))
                .fold([9.0f64, -9.0f64], |[low, high], [a, b]| [low.min(a), high.max(b)])
        };
        let ([left, right], [bottom, top]) = (span(V(1.0, 0.0, 0.0)), span(V(0.0, 1.0, 0.0)));
        [left, right, bottom, top]
    }

    fn skin(&mut self, part: Part, frame: Frame, size: V, start: f64) -> usize {
        self.skins.push(Skin { part, frame, size, start });
        self.skins.len() - 1
    }

    fn ellipsoid(&mut self, skin: usize, frame: Frame, axes: V, blend: f64) {
        let reach = axes.0.max(axes.1).max(axes.2);
        let shape = Shape::Ellipsoid(axes, V(1.0 / axes.0, 1.0 / axes.1, 1.0 / axes.2));
        self.solids.push(Solid { shape, frame, blend, skin, middle: frame.origin, reach });
    }

    fn cone(&mut self, skin: usize, frame: Frame, length: f64, radii: [f64; 2], stretch: [f64; 2], blend: f64) {
        let wide = radii[0].max(radii[1]) * stretch[0].max(stretch[1]).max(1.0);
        let middle = frame.place(V(length * 0.5, 0.0, 0.0));
        let shape = Shape::Cone { length, radii, stretch };
        self.solids.push(Solid { shape, frame, blend, skin, middle, reach: length * 0.5 + wide });
    }

    /// A cone from one point to another with its own skin along it.
    fn bone(&mut self, part: Part, [from, to]: [V; 2], up: V, radii: [f64; 2], span: [f64; 2], blend: f64) {
        let length = (to - from).length();
        let frame = Frame { origin: from, turn: Turn::along(to - from, up) };
        let wide = radii[0].max(radii[1]);
        let skin = self.skin(part, frame, V(length / (span[1] - span[0]), wide, wide), span[0]);
        self.cone(skin, frame, length, radii, [1.0, 1.0], blend);
    }

    /// The bird of a species in a pose.
    pub fn pose(species: &Species, pose: &Pose) -> Bird {
        let build = &species.build;
        let mut bird = Bird { solids: Vec::new(), skins: Vec::new(), feet: V::default(), floor: 0.0 };
        let view = Turn::z(pose.roll).then_of(Turn::x(pose.elevation)).then_of(Turn::y(pose.yaw));
        // Stands upright: x forward, y up, z to the bird's right.
        let stand = Frame { origin: V::default(), turn: view };
        let body = stand.child(V::default(), Turn::z(build.pitch + pose.pitch));
        let head = bird.torso(build, pose, &stand, &body);
        bird.face(build, &head);
        bird.crest(build, &head);
        bird.bill(build, &head);
        bird.tail(build, pose, &body);
        for side in [1.0, -1.0] {
            bird.wing(build, pose, &body, side);
        }
        bird.legs(species, pose, &stand, &body);
        bird
    }

    /// Body, breast and neck; returns the head's frame.
    fn torso(&mut self, build: &Build, pose: &Pose, stand: &Frame, body: &Frame) -> Frame {
        let [long, high, wide] = build.body;
        let axes = V(long, high * pose.fluff, wide * pose.fluff);
        let skin = self.skin(Part::Body, *body, axes, 0.0);
        self.ellipsoid(skin, *body, axes, 0.0);
        let breast = body.child(V(long * 0.30, -high * 0.10, 0.0), Turn::NONE);
        self.ellipsoid(skin, breast, V(long * 0.58, high * 0.95 * pose.fluff, wide * 0.97 * pose.fluff), 0.10);
        let rump = body.child(V(-long * 0.72, high * 0.02, 0.0), Turn::NONE);
        self.ellipsoid(skin, rump, V(long * 0.45, high * 0.50, wide * 0.50), 0.12);

        let lift = Turn::z(pose.pitch * 0.6);
        let base = body.place(V(long * 0.62, high * 0.22, 0.0));
        let usual = stand.place(lift.apply(V(build.head_at[0], build.head_at[1], 0.0)));
        let at = base + (usual - base) * if build.neck[1] > 0.0 { pose.stretch } else { 1.0 };
        let turn = stand.turn.then_of(Turn::y(pose.head_yaw)).then_of(Turn::z(pose.head_pitch));
        let head = Frame { origin: at, turn };

        let up = stand.turn.apply(V(-1.0, 0.25, 0.0));
        let forward = stand.turn.apply(V(1.0, 0.0, 0.0));
        let bend = build.neck[1] / pose.stretch;
        let thick = [high * 0.62 * if build.neck[1] > 0.1 { 0.55 } else { 1.0 }, build.neck[0]];
        let pieces = if build.neck[1] > 0.0 { 6 } else { 2 };
        // A cubic whose inner points lean forwards low and backwards high: the S of a heron's neck.
        let inner = [base.mix(at, 0.20) + forward * (bend * 1.1), base.mix(at, 0.85) - forward * (bend * 1.5)];
        let along = |t: f64| {
            let s = 1.0 - t;
            base * (s * s * s) + inner[0] * (3.0 * s * s * t) + inner[1] * (3.0 * s * t * t) + at * (t * t * t)
        };
        let width = |t: f64| thick[1] + (thick[0] - thick[1]) * (1.0 - t) * (1.0 - t);
        for piece in 0..pieces {
            let (t, next) = (piece as f64 / pieces as f64, (piece + 1) as f64 / pieces as f64);
            self.bone(Part::Neck, [along(t), along(next)], up, [width(t), width(next)], [t, next], 0.07);
        }
        let axes = V(build.head * build.head_long, build.head, build.head * 0.94);
        let skin = self.skin(Part::Head, head, axes, 0.0);
        self.ellipsoid(skin, head, axes, build.head * 0.35);
        head
    }

    fn face(&mut self, build: &Build, head: &Frame) {
        let r = build.head * build.eye;
        let (f, u, s) = if build.faces { (0.86, 0.12, 0.42) } else { (0.42, 0.18, 0.84) };
        for side in [1.0, -1.0] {
            let at = V(f * build.head * build.head_long, u * build.head, side * s * build.head * 0.94);
            let out = if build.faces { V(1.0, 0.0, side * 0.25) } else { V(0.35, 0.05, side) };
            let frame = head.child(at, Turn::along(out, V(0.0, 1.0, 0.0)));
            let axes = V(r * 0.75, r, r);
            let skin = self.skin(Part::Eye, frame, axes, 0.0);
            self.ellipsoid(skin, frame, axes, 0.0);
        }
    }

    fn crest(&mut self, build: &Build, head: &Frame) {
        if build.crest == 0.0 {
            return;
        }
        let (r, l) = (build.head, build.head * build.head_long);
        for feather in 0..4 {
            let t = feather as f64 / 3.0;
            let (s, c) = sin_cos(build.crest_rise + 26.0 * (t - 0.5));
            let from = head.place(V(l * (-0.35 + 0.35 * t), r * (0.62 + 0.10 * t), 0.0));
            let to = from + head.turn.apply(V(-c, s, 0.0)) * (build.crest * (1.0 - 0.22 * t));
            let up = head.turn.apply(V(0.0, 1.0, 0.0));
            self.bone(Part::Crest, [from, to], up, [r * 0.30, r * 0.05], [0.0, 1.0], r * 0.10);
        }
    }

    fn bill(&mut self, build: &Build, head: &Frame) {
        let l = build.head * build.head_long;
        let root = V(l * 0.78, -build.head * 0.10, 0.0);
        let (length, depth) = match build.bill {
            Beak::Cone(a, b) | Beak::Dagger(a, b) | Beak::Hook(a, b) | Beak::Flat(a, b) | Beak::Curved(a, b) => (a, b),
        };
        let inside = l * 0.22;
        let turn = match build.bill {
            Beak::Flat(..) => Turn::z(-12.0),
            Beak::Hook(..) => Turn::z(-28.0),
            _ => Turn::z(-4.0),
        };
        let frame = head.child(root, turn);
        let size = V(length + inside, depth, depth);
        let skin = self.skin(Part::Bill, frame, size, 0.0);
        match build.bill {
            Beak::Cone(..) => self.cone(skin, frame, length + inside, [depth, 0.012], [1.0, 0.85], 0.01),
            Beak::Dagger(..) => self.cone(skin, frame, length + inside, [depth, 0.008], [1.0, 0.8], 0.01),
            Beak::Flat(..) => {
                self.cone(skin, frame, length * 0.85 + inside, [depth, depth * 0.62], [0.72, 1.15], 0.02);
                let tip = frame.child(V(length * 0.78 + inside, 0.0, 0.0), Turn::z(6.0));
                self.ellipsoid(skin, tip, V(depth * 1.15, depth * 0.42, depth * 1.25), 0.03);
            }
            Beak::Hook(..) | Beak::Curved(..) => {
                let (pieces, bend) = if matches!(build.bill, Beak::Hook(..)) { (3, 32.0) } else { (6, 9.0) };
                let piece = (length + inside) / pieces as f64;
                let mut at = frame;
                for i in 0..pieces {
                    let r = |i: usize| depth + (0.012 - depth) * i as f64 / pieces as f64;
                    self.cone(skin, at, piece, [r(i), r(i + 1)], [1.0, 0.85], 0.012);
                    at = at.child(V(piece, 0.0, 0.0), Turn::z(-bend));
                }
            }
        }
    }

    fn tail(&mut self, build: &Build, pose: &Pose, body: &Frame) {
        let tail = build.tail;
        let root = V(-build.body[0] * 0.80, build.body[1] * 0.10, 0.0);
        // x runs from the root to the tip; about x by half a turn so that y stays up.
        let turn = Turn::y(180.0).then_of(Turn::z(tail.angle + pose.tail)).then_of(Turn::x(14.0));
        let frame = body.child(root, turn);
        let wide = tail.width[0].max(tail.width[1]);
        let length = tail.length + build.body[0] * 0.2;
        let skin = self.skin(Part::Tail, frame, V(length, wide * 0.5, wide * 1.25), 0.0);
        self.cone(skin, frame, length, tail.width, [0.42, 1.25], 0.05);
    }

    fn wing(&mut self, build: &Build, pose: &Pose, body: &Frame, side: f64) {
        let [long, high, wide] = build.body;
        let length = build.wing;
        let open = pose.wing_open;
        let root = V(long * 0.50, high * (0.22 + 0.25 * open), side * wide * 0.80);
        let turn = Turn::y(180.0 + side * (34.0 * open - 6.0))
            .then_of(Turn::z(-6.0 + 40.0 * open))
            .then_of(Turn::x(side * 20.0));
        let frame = body.child(root, turn);
        let chord = high * 0.66 * (1.0 + 0.25 * open);
        let skin = self.skin(Part::Wing, frame, V(length, chord, 0.1), 0.0);
        let coverts = frame.child(V(length * 0.36, 0.0, 0.0), Turn::NONE);
        self.ellipsoid(skin, coverts, V(length * 0.40, chord, 0.085 + wide * 0.12), 0.02);
        let flight = frame.child(V(length * 0.40, chord * 0.10, 0.0), Turn::z(2.0));
        self.cone(skin, flight, length * 0.60, [chord * 0.80, 0.03], [1.0, 0.16], 0.05);
    }

    fn legs(&mut self, species: &Species, pose: &Pose, stand: &Frame, body: &Frame) {
        let build = &species.build;
        let [long, high, wide] = build.body;
        let [reach, thick] = build.leg;
        self.floor = -high * 0.28;
        if species.place == Place::Water {
            self.feet = stand.place(V(0.0, self.floor, 0.0));
            return;
        }
        let clings = species.place == Place::Trunk;
        for side in [1.0, -1.0] {
            let hip = body.place(V(-long * 0.12, -high * 0.55, side * wide * 0.40));
            let step = pose.stride * side * if reach > 0.7 { 0.20 } else { 0.05 };
            let foot = if clings {
                V(high * 1.22, 0.10 * side - 0.05, side * 0.15)
            } else {
                V(0.06 + step, -reach, side * wide * 0.42)
            };
            let up = stand.turn.apply(V(1.0, 0.0, 0.0));
            let foot = stand.place(foot);
            let back = if clings { V(0.0, -0.10, 0.0) } else { V(-0.10 - 0.04 * reach, 0.02, 0.0) };
            let ankle = hip.mix(foot, 0.48) + stand.turn.apply(back);
            let feathered = if reach > 0.7 { thick * 1.9 } else { thick * 3.2 };
            self.bone(Part::Body, [hip, hip.mix(ankle, 0.55)], up, [feathered, thick * 1.3], [-0.4, -0.3], 0.04);
            self.bone(Part::Leg, [hip, ankle], up, [thick * 1.2, thick], [0.0, 0.5], 0.0);
            self.bone(Part::Leg, [ankle, foot], up, [thick, thick * 0.9], [0.5, 1.0], 0.01);
            for (forward, across) in [(0.16, -0.07), (0.19, 0.0), (0.16, 0.07), (-0.10, 0.0)] {
                let toe = if clings { V(0.02, forward * 0.7, across * 1.2) } else { V(forward, -0.015, across) };
                let tip = foot + stand.turn.apply(toe);
                self.bone(Part::Leg, [foot, tip], up, [thick * 0.8, thick * 0.5], [0.9, 1.0], 0.01);
            }
            self.feet = self.feet + foot * 0.5;
        }
        self.floor = -reach;
    }
}
