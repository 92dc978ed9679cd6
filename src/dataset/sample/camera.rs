//! From light to a photo: blur, vignette, colour cast, noise, sRGB. Knows nothing of what it photographs.

use image::RgbImage;

use super::source::{Source, hash};
use super::space::V;

/// Develops linear light, row by row, into 8-bit sRGB.
pub fn develop(mut light: Vec<V>, size: usize, source: &mut Source) -> RgbImage {
    // Half width of a pixel's share in its neighbours': a little blur, as a share of the picture.
    let sharp = source.uniform();
    let blur = (0.0003 + 0.0032 * sharp * sharp) * size as f64;
    light = blurred(&light, size, blur, true);
    light = blurred(&light, size, blur, false);
    let vignette = 0.34 * source.uniform();
    let cast = V(1.0 + 0.09 * source.bell(), 1.0, 1.0 + 0.11 * source.bell());
    let exposure = 1.0 + 0.28 * source.bell();
    let contrast = 1.0 + 0.22 * source.bell();
    let grain = source.range(0.003, 0.022);
    let salt = source.salt();
    let tone = Tone::new();
    let mut image = RgbImage::new(size as u32, size as u32);
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        let (dx, dy) = ((f64::from(x) + 0.5) / size as f64 - 0.5, (f64::from(y) + 0.5) / size as f64 - 0.5);
        let lit =
            light[y as usize * size + x as usize] * cast * (exposure * (1.0 - vignette * 2.0 * (dx * dx + dy * dy)));
        let noise = |channel: i64| {
            let at = |k: i64| hash(salt, i64::from(x), i64::from(y), channel * 4 + k);
            at(0) + at(1) + at(2) - 1.5
        };
        let common = noise(3);
        for (channel, value) in [lit.0, lit.1, lit.2].into_iter().enumerate() {
            let shown = (tone.of(shoulder(value)) - 0.45) * contrast + 0.45;
            let noisy = shown + grain * (1.4 * common + 0.8 * noise(channel as i64));
            pixel.0[channel] = (noisy.clamp(0.0, 1.0) * 255.0 + 0.5) as u8;
        }
    }
    image
}

/// Highlights bend towards white instead of breaking off.
fn shoulder(value: f64) -> f64 {
    let value = value.max(0.0);
    if value < 0.7 { value } else { 1.0 - 0.09 / (value - 0.4) }
}

/// The power 1 / 2.2 of values from 0 to 1 by a table: straight between entries that lie evenly in the square
/// root, where the curve is nearly straight.
struct Tone(Vec<f64>);

impl Tone {
    const STEPS: usize = 1024;

    fn new() -> Tone {
        let at = |i: usize| {
            let root = i as f64 / Tone::STEPS as f64;
            libm::pow(root * root, 1.0 / 2.2)
        };
        Tone((0..=Tone::STEPS + 1).map(at).collect())
    }

    fn of(&self, value: f64) -> f64 {
        let place = value.clamp(0.0, 1.0).sqrt() * Tone::STEPS as f64;
        let i = place as usize;
        self.0[i] + (self.0[i + 1] - self.0[i]) * (place - i as f64)
    }
}

/// One direction of a three-tap blur of the given standard deviation in pixels, at most about 0.8.
fn blurred(light: &[V], size: usize, deviation: f64, across: bool) -> Vec<V> {
    let side = (deviation * deviation * 0.5).min(0.3);
    let at = |x: usize, y: usize| light[y * size + x];
    let mut out = Vec::with_capacity(light.len());
    for y in 0..size {
        for x in 0..size {
            let (before, after) = if across {
                (at(x.saturating_sub(1), y), at((x + 1).min(size - 1), y))
            } else {
                (at(x, y.saturating_sub(1)), at(x, (y + 1).min(size - 1)))
            };
            out.push(at(x, y) * (1.0 - 2.0 * side) + (before + after) * side);
        }
    }
    out
}
