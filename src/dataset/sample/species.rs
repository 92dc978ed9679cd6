//! What a species is, as plain data: name, place, build and plumage. Knows no pixels; the species are in the guide.

/// One species.
pub struct Species {
    pub name: &'static str,
    pub scientific: &'static str,
    pub place: Place,
    pub build: Build,
    /// Painted one over another, first to last.
    pub plumage: &'static [Layer],
}

/// Where a species is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On a branch, now and then on the ground.
    Perch,
    /// On the side of a trunk.
    Trunk,
    /// Afloat.
    Water,
    /// Standing in shallow water.
    Shallows,
}

/// Measures in units of about half a body length; x forward, y up, z to the bird's right; angles in degrees.
pub struct Build {
    /// Half axes of the body.
    pub body: [f64; 3],
    /// How steeply the body is held.
    pub pitch: f64,
    /// Middle of the head from the middle of the body, the bird upright.
    pub head_at: [f64; 2],
    pub head: f64,
    /// Length of the head over its height.
    pub head_long: f64,
    /// Neck's half width at the head, and how far its S bends.
    pub neck: [f64; 2],
    pub bill: Beak,
    pub tail: Tail,
    /// Length of the folded wing.
    pub wing: f64,
    /// Body's middle to the feet, and half the thickness of a leg.
    pub leg: [f64; 2],
    /// Length of the crest's feathers; 0 for none.
    pub crest: f64,
    /// How the crest's feathers rise from pointing backwards.
    pub crest_rise: f64,
    /// Radius of an eye as a share of the head's.
    pub eye: f64,
    /// Eyes at the front, as an owl's.
    pub faces: bool,
}

/// Length and depth at the base.
#[derive(Clone, Copy)]
pub enum Beak {
    Cone(f64, f64),
    /// Long and straight.
    Dagger(f64, f64),
    Hook(f64, f64),
    /// Flat and broad, a duck's.
    Flat(f64, f64),
    /// Long, bending down.
    Curved(f64, f64),
}

#[derive(Clone, Copy)]
pub struct Tail {
    pub length: f64,
    /// Half width at the base and at the tip.
    pub width: [f64; 2],
    /// Against the body's axis, upwards positive.
    pub angle: f64,
}

/// What a layer paints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Body,
    Neck,
    Head,
    Wing,
    Tail,
    Crest,
    Bill,
    Leg,
    Eye,
}

/// A patch of colour: where all conditions hold.
pub struct Layer {
    pub part: Part,
    /// sRGB, 0xRRGGBB.
    pub ink: u32,
    pub pattern: Pattern,
    pub conditions: &'static [Where],
}

/// Conditions in a part's own coordinates, about -1 to 1: forward (on wing, tail, bill, neck: 0 at the base to 1 at
/// the tip or head), up (on the wing across it, on the neck to its back), side (without sign).
#[derive(Clone, Copy)]
pub enum Where {
    Forward(f64, f64),
    Up(f64, f64),
    Side(f64, f64),
    /// Nearer than the last number to the point of the first three.
    Near(f64, f64, f64, f64),
    /// Below the line of height `.0` at forward 0 that rises by `.1`.
    Under(f64, f64),
}

/// How a patch is filled.
#[derive(Clone, Copy)]
pub enum Pattern {
    Plain,
    /// Round dots, so many a unit.
    Spots(f64),
    /// Stripes across the part, so many a unit.
    Bars(f64),
    /// Short strokes along the part, so many a unit.
    Streaks(f64),
}
