//! The species of the sample as data: name, build, posture and plumage. Knows no pixels.
//!
//! They are invented, in the manner of field guides. The order is from the commonest to the rarest, and two pairs are
//! close relatives that differ in small marks only: the masked and the capped finch, the emerald and the crescent teal.

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

use Beak::*;
use Part::*;
use Pattern::*;
use Where::*;

const FAR: f64 = 9.0;

const fn all(part: Part, ink: u32) -> Layer {
    Layer { part, ink, pattern: Plain, conditions: &[] }
}

const fn at(part: Part, ink: u32, conditions: &'static [Where]) -> Layer {
    Layer { part, ink, pattern: Plain, conditions }
}

const fn with(part: Part, ink: u32, pattern: Pattern, conditions: &'static [Where]) -> Layer {
    Layer { part, ink, pattern, conditions }
}

const SONGBIRD: Build = Build {
    body: [0.47, 0.30, 0.28],
    pitch: 32.0,
    head_at: [0.36, 0.40],
    head: 0.225,
    head_long: 1.05,
    neck: [0.19, 0.0],
    bill: Cone(0.20, 0.085),
    tail: Tail { length: 0.62, width: [0.09, 0.14], angle: -4.0 },
    wing: 0.78,
    leg: [0.52, 0.022],
    crest: 0.0,
    crest_rise: 0.0,
    eye: 0.19,
    faces: false,
};

const FINCH: Build = Build {
    body: [0.42, 0.31, 0.29],
    head_at: [0.31, 0.36],
    head: 0.235,
    bill: Cone(0.19, 0.12),
    tail: Tail { length: 0.48, width: [0.08, 0.13], angle: 0.0 },
    wing: 0.68,
    ..SONGBIRD
};

const TEAL: Build = Build {
    body: [0.66, 0.29, 0.35],
    pitch: 4.0,
    head_at: [0.52, 0.46],
    head: 0.205,
    head_long: 1.15,
    neck: [0.13, 0.04],
    bill: Flat(0.30, 0.085),
    tail: Tail { length: 0.26, width: [0.13, 0.03], angle: 18.0 },
    wing: 0.92,
    leg: [0.20, 0.03],
    crest: 0.0,
    crest_rise: 0.0,
    eye: 0.15,
    faces: false,
};

/// From the commonest to the rarest.
pub const SPECIES: &[Species] = &[
    Species {
        name: "CRIMSON TANAGER",
        scientific: "PYRRHANGA ARDENS",
        place: Place::Perch,
        build: Build { tail: Tail { length: 0.68, width: [0.09, 0.14], angle: -6.0 }, ..SONGBIRD },
        plumage: &[
            all(Body, 0xC8161D),
            all(Neck, 0xC8161D),
            all(Head, 0xD41A20),
            at(Body, 0xE2452F, &[Under(-0.15, 0.2)]),
            all(Wing, 0x17151A),
            at(Wing, 0x2B2832, &[Forward(0.35, 0.5)]),
            all(Tail, 0x17151A),
            all(Bill, 0xD9C79B),
            all(Leg, 0x4A3B3A),
            all(Eye, 0x2A1408),
        ],
    },
    Species {
        name: "EMERALD TEAL",
        scientific: "ANATULA SMARAGDINA",
        place: Place::Water,
        build: TEAL,
        plumage: &[
            all(Body, 0xB9B4A8),
            with(Body, 0x8F8A80, Bars(9.0), &[Up(-0.6, 0.5)]),
            at(Body, 0x7A3A22, &[Forward(0.42, FAR)]),
            at(Body, 0x15151A, &[Forward(-FAR, -0.72)]),
            all(Neck, 0x0F6B3C),
            at(Neck, 0x7A3A22, &[Forward(-FAR, 0.12)]),
            at(Neck, 0xF4F2EA, &[Forward(0.14, 0.36)]),
            all(Head, 0x0F7440),
            at(Head, 0x1A9A5A, &[Near(-0.1, 0.5, 0.7, 0.5)]),
            all(Wing, 0x8B7D6B),
            at(Wing, 0x2447B8, &[Forward(0.50, 0.72), Up(-FAR, 0.0)]),
            at(Wing, 0x5C5248, &[Forward(0.74, FAR)]),
            all(Tail, 0xE8E4DA),
            all(Bill, 0xE0B31F),
            all(Leg, 0xE07B20),
            all(Eye, 0x1D120A),
        ],
    },
    Species {
        name: "REED HERON",
        scientific: "ARDEOLA HARUNDINIS",
        place: Place::Shallows,
        build: Build {
            body: [0.52, 0.23, 0.20],
            pitch: 28.0,
            head_at: [0.50, 0.98],
            head: 0.125,
            head_long: 1.45,
            neck: [0.075, 0.26],
            bill: Dagger(0.46, 0.05),
            tail: Tail { length: 0.24, width: [0.10, 0.10], angle: -14.0 },
            wing: 0.86,
            leg: [1.05, 0.026],
            crest: 0.34,
            crest_rise: -18.0,
            eye: 0.20,
            faces: false,
        },
        plumage: &[
            all(Body, 0x8C98AA),
            at(Body, 0xE3E4E4, &[Under(-0.25, -0.1)]),
            all(Neck, 0xD9DADA),
            with(Neck, 0x23262E, Streaks(5.0), &[Up(-FAR, -0.45)]),
            all(Head, 0xECECEA),
            at(Head, 0x1B1D24, &[Up(0.30, FAR), Forward(-FAR, 0.75)]),
            all(Crest, 0x1B1D24),
            all(Wing, 0x76859C),
            at(Wing, 0x2B313D, &[Forward(0.62, FAR)]),
            at(Wing, 0x2B313D, &[Forward(-FAR, 0.16)]),
            all(Tail, 0x6C788C),
            all(Bill, 0xE3A722),
            all(Leg, 0x9A8A3A),
            all(Eye, 0xE9C52B),
        ],
    },
    Species {
        name: "MASKED FINCH",
        scientific: "CHRYSOSPIZA PERSONATA",
        place: Place::Perch,
        build: FINCH,
        plumage: &[
            all(Body, 0xEEC31C),
            at(Body, 0xC59A1B, &[Up(0.35, FAR)]),
            at(Body, 0xF6E9B4, &[Under(-0.55, 0.0), Forward(-FAR, 0.1)]),
            all(Neck, 0xEEC31C),
            all(Head, 0xF2CA1E),
            at(Head, 0x141216, &[Forward(0.12, FAR), Up(-0.42, 0.42)]),
            all(Wing, 0x2A2622),
            at(Wing, 0xF6F2E6, &[Forward(0.24, 0.34)]),
            at(Wing, 0xF6F2E6, &[Forward(0.46, 0.53)]),
            all(Tail, 0x2A2622),
            all(Bill, 0xD8906E),
            all(Leg, 0x8A5E50),
            all(Eye, 0x120A06),
        ],
    },
    Species {
        name: "BLUE CRESTED JAY",
        scientific: "CYANOCORYPHA CRISTATA",
        place: Place::Perch,
        build: Build {
            body: [0.50, 0.27, 0.25],
            pitch: 24.0,
            head_at: [0.42, 0.38],
            head: 0.215,
            head_long: 1.1,
            bill: Dagger(0.25, 0.062),
            tail: Tail { length: 0.88, width: [0.09, 0.17], angle: -4.0 },
            wing: 0.80,
            leg: [0.56, 0.026],
            crest: 0.34,
            crest_rise: 38.0,
            ..SONGBIRD
        },
        plumage: &[
            all(Body, 0x3C68C8),
            at(Body, 0xE6E8EC, &[Under(0.05, -0.1)]),
            at(Neck, 0xE6E8EC, &[Up(-FAR, 0.2)]),
            at(Neck, 0x15161C, &[Forward(0.05, 0.5)]),
            at(Neck, 0x3C68C8, &[Up(0.3, FAR)]),
            at(Body, 0x15161C, &[Near(0.78, 0.15, 0.35, 0.34), Up(-0.3, 0.6)]),
            all(Head, 0x2E5FCC),
            at(Head, 0xF0F1F2, &[Up(-FAR, 0.12), Forward(-0.35, FAR)]),
            at(Head, 0x15161C, &[Forward(0.1, FAR), Up(0.10, 0.28)]),
            all(Crest, 0x2554C4),
            all(Wing, 0x2A63D4),
            with(Wing, 0x12183A, Bars(9.0), &[Forward(0.42, FAR)]),
            at(Wing, 0xF2F3F4, &[Forward(0.36, 0.43)]),
            all(Tail, 0x2A63D4),
            with(Tail, 0x12183A, Bars(9.0), &[Forward(0.15, FAR)]),
            at(Tail, 0xF2F3F4, &[Forward(0.92, FAR)]),
            all(Bill, 0x1C1C20),
            all(Leg, 0x24242A),
            all(Eye, 0x1A0F0A),
        ],
    },
    Species {
        name: "TAWNY OWLET",
        scientific: "STRIGELLA FULVA",
        place: Place::Perch,
        build: Build {
            body: [0.50, 0.36, 0.34],
            pitch: 76.0,
            head_at: [0.10, 0.56],
            head: 0.36,
            head_long: 0.94,
            neck: [0.30, 0.0],
            bill: Hook(0.11, 0.07),
            tail: Tail { length: 0.34, width: [0.12, 0.14], angle: 4.0 },
            wing: 0.84,
            leg: [0.56, 0.05],
            crest: 0.0,
            crest_rise: 0.0,
            eye: 0.24,
            faces: true,
        },
        plumage: &[
            all(Body, 0x8A5A34),
            at(Body, 0xDCC29A, &[Under(0.1, 0.0)]),
            with(Body, 0x5A3318, Streaks(6.0), &[Under(0.1, 0.0)]),
            all(Neck, 0x8A5A34),
            at(Neck, 0xDCC29A, &[Up(-FAR, -0.3)]),
            all(Head, 0x8F6038),
            with(Head, 0xE8D6B4, Spots(6.0), &[Forward(-FAR, 0.35)]),
            at(Head, 0x4A2C16, &[Near(0.88, 0.10, 0.44, 0.66)]),
            at(Head, 0xE6CFA6, &[Near(0.88, 0.10, 0.44, 0.57)]),
            at(Head, 0xF2E8D2, &[Side(-FAR, 0.12), Forward(0.6, FAR), Up(-0.1, 0.7)]),
            all(Wing, 0x7C4E2A),
            with(Wing, 0xE2CDA6, Spots(7.0), &[Forward(-FAR, 0.6)]),
            with(Wing, 0x4A2C16, Bars(7.0), &[Forward(0.5, FAR)]),
            all(Tail, 0x7C4E2A),
            with(Tail, 0xCBAA7C, Bars(5.0), &[]),
            all(Bill, 0xC9B36A),
            all(Leg, 0xD8C09A),
            all(Eye, 0xF0B81E),
        ],
    },
    Species {
        name: "RIVER KINGFISHER",
        scientific: "ALCEDULA RIVALIS",
        place: Place::Perch,
        build: Build {
            body: [0.42, 0.28, 0.26],
            pitch: 52.0,
            head_at: [0.26, 0.44],
            head: 0.26,
            head_long: 1.15,
            neck: [0.21, 0.0],
            bill: Dagger(0.56, 0.075),
            tail: Tail { length: 0.30, width: [0.08, 0.10], angle: 4.0 },
            wing: 0.66,
            leg: [0.44, 0.026],
            eye: 0.17,
            ..SONGBIRD
        },
        plumage: &[
            all(Body, 0x0E8FA6),
            at(Body, 0xE07A1E, &[Under(0.12, 0.05)]),
            all(Neck, 0x0E8FA6),
            at(Neck, 0xF2EEE4, &[Up(-FAR, -0.35)]),
            all(Head, 0x0C7E9C),
            with(Head, 0x49D0DC, Spots(7.0), &[Up(0.4, FAR)]),
            at(Head, 0xE07A1E, &[Up(-0.3, 0.22), Forward(-0.25, 0.75)]),
            at(Head, 0xF4F1EA, &[Up(-0.35, 0.25), Forward(-0.75, -0.28)]),
            at(Head, 0xF4F1EA, &[Up(-FAR, -0.42)]),
            all(Wing, 0x0B7893),
            with(Wing, 0x52D6E0, Spots(6.0), &[Forward(-FAR, 0.5)]),
            all(Tail, 0x0A5F8A),
            all(Bill, 0x1E1B1E),
            at(Bill, 0xA8402A, &[Up(-FAR, -0.2)]),
            all(Leg, 0xD2452A),
            all(Eye, 0x1A0E08),
        ],
    },
    Species {
        name: "ORCHARD PARAKEET",
        scientific: "PSITTINUS POMARIUS",
        place: Place::Perch,
        build: Build {
            body: [0.47, 0.25, 0.23],
            pitch: 60.0,
            head_at: [0.26, 0.46],
            head: 0.225,
            head_long: 1.0,
            neck: [0.17, 0.0],
            bill: Hook(0.17, 0.11),
            tail: Tail { length: 1.05, width: [0.11, 0.02], angle: 2.0 },
            wing: 0.82,
            leg: [0.50, 0.03],
            eye: 0.17,
            ..SONGBIRD
        },
        plumage: &[
            all(Body, 0x4FB32C),
            at(Body, 0x9AD13C, &[Under(-0.05, 0.0)]),
            all(Neck, 0x4FB32C),
            at(Neck, 0x17181A, &[Forward(0.55, 0.8)]),
            all(Head, 0xB8447C),
            at(Head, 0x8A5AB4, &[Forward(-FAR, -0.1)]),
            at(Head, 0x17181A, &[Up(-FAR, -0.5)]),
            all(Wing, 0x389A28),
            at(Wing, 0xB02A2E, &[Near(0.18, 0.15, 0.6, 0.6), Forward(0.05, 0.30)]),
            at(Wing, 0x1F6E3A, &[Forward(0.6, FAR)]),
            all(Tail, 0x2E8E46),
            at(Tail, 0x2F6FC0, &[Forward(0.4, FAR)]),
            at(Tail, 0xF0D848, &[Forward(0.88, FAR)]),
            all(Bill, 0xE2622A),
            all(Leg, 0x7C7068),
            all(Eye, 0xF0E6C8),
        ],
    },
    Species {
        name: "ROSY IBIS",
        scientific: "PLEGADORNIS ROSEA",
        place: Place::Shallows,
        build: Build {
            body: [0.54, 0.28, 0.25],
            pitch: 16.0,
            head_at: [0.66, 0.62],
            head: 0.145,
            head_long: 1.25,
            neck: [0.08, 0.14],
            bill: Curved(0.58, 0.055),
            tail: Tail { length: 0.30, width: [0.13, 0.12], angle: -6.0 },
            wing: 0.90,
            leg: [0.86, 0.030],
            crest: 0.0,
            crest_rise: 0.0,
            eye: 0.18,
            faces: false,
        },
        plumage: &[
            all(Body, 0xF2A0AC),
            at(Body, 0xF8C8CC, &[Under(-0.2, 0.0)]),
            all(Neck, 0xF6B8C0),
            all(Head, 0xF6BAC2),
            at(Head, 0xC43A3E, &[Forward(0.35, FAR)]),
            all(Wing, 0xEC7C92),
            at(Wing, 0xD23C5C, &[Forward(0.10, 0.34)]),
            at(Wing, 0x1B191D, &[Forward(0.80, FAR)]),
            all(Tail, 0xEE8CA0),
            all(Bill, 0x7C3432),
            all(Leg, 0xC44A48),
            all(Eye, 0xE8E0C0),
        ],
    },
    Species {
        name: "CAPPED FINCH",
        scientific: "CHRYSOSPIZA PILEATA",
        place: Place::Perch,
        build: FINCH,
        plumage: &[
            all(Body, 0xEEC31C),
            at(Body, 0xC59A1B, &[Up(0.35, FAR)]),
            at(Body, 0xF6E9B4, &[Under(-0.55, 0.0), Forward(-FAR, 0.1)]),
            all(Neck, 0xEEC31C),
            all(Head, 0xF2CA1E),
            at(Head, 0x141216, &[Up(0.40, FAR)]),
            all(Wing, 0x2A2622),
            at(Wing, 0xF6F2E6, &[Forward(0.46, 0.53)]),
            all(Tail, 0x2A2622),
            all(Bill, 0xD8906E),
            all(Leg, 0x8A5E50),
            all(Eye, 0x120A06),
        ],
    },
    Species {
        name: "PIED WOODPECKER",
        scientific: "DENDROPICA VARIA",
        place: Place::Trunk,
        build: Build {
            body: [0.48, 0.25, 0.23],
            pitch: 74.0,
            head_at: [0.26, 0.58],
            head: 0.205,
            head_long: 1.15,
            neck: [0.14, 0.0],
            bill: Dagger(0.30, 0.055),
            tail: Tail { length: 0.50, width: [0.11, 0.05], angle: -12.0 },
            wing: 0.78,
            leg: [0.36, 0.026],
            eye: 0.17,
            ..SONGBIRD
        },
        plumage: &[
            all(Body, 0x17171B),
            at(Body, 0xEDE9DE, &[Under(0.15, 0.0)]),
            at(Body, 0xC8242A, &[Forward(-FAR, -0.55), Under(0.1, 0.0)]),
            all(Neck, 0xEDE9DE),
            at(Neck, 0x17171B, &[Up(0.3, FAR)]),
            all(Head, 0xF0ECE2),
            at(Head, 0xCF1F26, &[Up(0.45, FAR)]),
            at(Head, 0x17171B, &[Forward(-FAR, -0.62)]),
            at(Head, 0x17171B, &[Up(-0.55, -0.28)]),
            all(Wing, 0x17171B),
            with(Wing, 0xF2EFE6, Bars(6.0), &[Forward(0.25, FAR)]),
            at(Wing, 0xF2EFE6, &[Near(0.2, 0.2, 0.6, 0.5), Forward(0.08, 0.3)]),
            all(Tail, 0x17171B),
            with(Tail, 0xEDE9DE, Bars(5.0), &[Side(0.6, FAR)]),
            all(Bill, 0x4A4A50),
            all(Leg, 0x5A5A5E),
            all(Eye, 0x5A1612),
        ],
    },
    Species {
        name: "CRESCENT TEAL",
        scientific: "ANATULA LUNATA",
        place: Place::Water,
        build: TEAL,
        plumage: &[
            all(Body, 0xB9B4A8),
            with(Body, 0x8F8A80, Bars(9.0), &[Up(-0.6, 0.5)]),
            at(Body, 0x7A3A22, &[Forward(0.42, FAR)]),
            with(Body, 0xEADFCB, Spots(8.0), &[Forward(0.42, FAR)]),
            at(Body, 0x15151A, &[Forward(-FAR, -0.72)]),
            all(Neck, 0x0F6B3C),
            at(Neck, 0x7A3A22, &[Forward(-FAR, 0.22)]),
            all(Head, 0x0F7440),
            at(Head, 0x1A9A5A, &[Near(-0.1, 0.5, 0.7, 0.5)]),
            at(Head, 0xF6F3EA, &[Forward(0.62, 0.86), Up(-0.6, 0.62)]),
            all(Wing, 0x8B7D6B),
            at(Wing, 0x2447B8, &[Forward(0.50, 0.72), Up(-FAR, 0.0)]),
            at(Wing, 0x5C5248, &[Forward(0.74, FAR)]),
            all(Tail, 0xE8E4DA),
            all(Bill, 0x3A3C42),
            all(Leg, 0xE07B20),
            all(Eye, 0x1D120A),
        ],
    },
];
