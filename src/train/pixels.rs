//! Operations on 8-bit RGB that equal Pillow's byte for byte, since torchvision's transforms are Pillow's on photos. Knows no
//! chance.

use image::{Rgb, RgbImage};

/// A change of every pixel's place: for output (x, y), the input at (a x + b y + c, d x + e y + f), of pixel centres.
pub type Matrix = [f64; 6];

/// The nearest pixel of the place that `matrix` says; black where that is outside. In Pillow's fixed point.
pub fn affine(image: &RgbImage, matrix: &Matrix) -> RgbImage {
    let (width, height) = image.dimensions();
    let [a, b, c, d, e, f] = *matrix;
    let mut out = RgbImage::new(width, height);
    if b == 0.0 && d == 0.0 {
        let places = |from: f64, step: f64, n: u32| -> Vec<Option<u32>> {
            let mut at = from + step * 0.5;
            let place = |_| {
                let here = (at >= 0.0 && at < f64::from(n)).then_some(at as u32);
                at += step;
                here
            };
            (0..n).map(place).collect()
        };
        let (columns, rows) = (places(c, a, width), places(f, e, height));
        for (y, row) in rows.into_iter().enumerate() {
            let Some(row) = row else { continue };
            for (x, column) in columns.iter().enumerate() {
                if let Some(column) = *column {
                    out.put_pixel(x as u32, y as u32, *image.get_pixel(column, row));
                }
            }
        }
        return out;
    }
    let fixed = |v: f64| (v * 65536.0 + 0.5).floor() as i64;
    let (across, down) = ([fixed(a), fixed(d)], [fixed(b), fixed(e)]);
    let mut start = [fixed(c + a * 0.5 + b * 0.5), fixed(f + d * 0.5 + e * 0.5)];
    for y in 0..height {
        let mut at = start;
        for x in 0..width {
            let (from_x, from_y) = (at[0] >> 16, at[1] >> 16);
            if (0..i64::from(width)).contains(&from_x) && (0..i64::from(height)).contains(&from_y) {
                out.put_pixel(x, y, *image.get_pixel(from_x as u32, from_y as u32));
            }
            at = [at[0] + across[0], at[1] + across[1]];
        }
        start = [start[0] + down[0], start[1] + down[1]];
    }
    out
}

/// Shears by tan x and tan y about the top left corner, as torchvision's `affine` with `center=[0, 0]`.
pub fn shear(image: &RgbImage, x: f64, y: f64) -> RgbImage {
    // Through degrees and back, as torchvision's functions hand angles on.
    let angle = |tangent: f64| libm::atan(tangent).to_degrees().to_radians();
    let (sx, sy) = (angle(x), angle(y));
    let (a, b) = (libm::cos(-sy) / libm::cos(sy), -libm::cos(-sy) * libm::tan(sx) / libm::cos(sy));
    let (c, d) = (libm::sin(-sy) / libm::cos(sy), -libm::sin(-sy) * libm::tan(sx) / libm::cos(sy) + 1.0);
    affine(image, &[d, -b, 0.0, -c, a, 0.0])
}

/// Moves the picture by whole pixels.
pub fn translate(image: &RgbImage, x: i32, y: i32) -> RgbImage {
    affine(image, &[1.0, 0.0, -f64::from(x), 0.0, 1.0, -f64::from(y)])
}

/// Turns the picture about its middle, counter-clockwise.
pub fn rotate(image: &RgbImage, degrees: f64) -> RgbImage {
    let angle = degrees.rem_euclid(360.0);
    if angle == 0.0 {
        return image.clone();
    }
    if angle == 180.0 {
        return image::imageops::rotate180(image);
    }
    if image.width() == image.height() && angle == 90.0 {
        return image::imageops::rotate270(image);
    }
    if image.width() == image.height() && angle == 270.0 {
        return image::imageops::rotate90(image);
    }
    let angle = -angle.to_radians();
    let round = |v: f64| libm::rint(v * 1e15) / 1e15;
    let (cos, sin) = (round(libm::cos(angle)), round(libm::sin(angle)));
    let (x, y) = (f64::from(image.width()) / 2.0, f64::from(image.height()) / 2.0);
    affine(image, &[cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y])
}

/// `degenerate + factor (image - degenerate)`, pixel by pixel, cut to bytes.
fn blend(degenerate: impl Fn(u32, u32) -> Rgb<u8>, image: &RgbImage, factor: f64) -> RgbImage {
    let factor = factor as f32;
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let (from, to) = (degenerate(x, y).0, image.get_pixel(x, y).0);
        // A cast cuts off below 0 and above 255, and drops the fraction.
        Rgb([0, 1, 2].map(|c| (f32::from(from[c]) + factor * (f32::from(to[c]) - f32::from(from[c]))) as u8))
    })
}

fn grey(pixel: &Rgb<u8>) -> u8 {
    let [r, g, b] = pixel.0.map(u32::from);
    ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
}

/// Black at 0, the picture at 1.
pub fn brightness(image: &RgbImage, factor: f64) -> RgbImage {
    blend(|_, _| Rgb([0; 3]), image, factor)
}

/// Grey at 0, the picture at 1.
pub fn saturation(image: &RgbImage, factor: f64) -> RgbImage {
    blend(|x, y| Rgb([grey(image.get_pixel(x, y)); 3]), image, factor)
}

/// Its mean grey at 0, the picture at 1.
pub fn contrast(image: &RgbImage, factor: f64) -> RgbImage {
    let sum: u64 = image.pixels().map(|pixel| u64::from(grey(pixel))).sum();
    let mean = (sum as f64 / image.pixels().len() as f64 + 0.5) as u8;
    blend(|_, _| Rgb([mean; 3]), image, factor)
}

/// Smoothed at 0, the picture at 1; the outermost pixels stay.
pub fn sharpness(image: &RgbImage, factor: f64) -> RgbImage {
    let (width, height) = image.dimensions();
    let (side, middle) = (1.0f32 / 13.0, 5.0f32 / 13.0);
    let smooth = |x: u32, y: u32| {
        if x == 0 || y == 0 || x + 1 == width || y + 1 == height {
            return *image.get_pixel(x, y);
        }
        Rgb([0, 1, 2].map(|c| {
            let at = |dx: u32, dy: u32| f32::from(image.get_pixel(x + dx - 1, y + dy - 1).0[c]);
            let row = |dy: u32, weight: f32| at(0, dy) * side + at(1, dy) * weight + at(2, dy) * side;
            (0.5 + row(2, side) + row(1, middle) + row(0, side)) as u8
        }))
    };
    blend(smooth, image, factor)
}

/// Turns the hue by a share of the circle, in [-0.5, 0.5], in Pillow's 8-bit HSV.
pub fn hue(image: &RgbImage, turn: f64) -> RgbImage {
    let turn = (turn * 255.0) as i32 as u8;
    RgbImage::from_fn(image.width(), image.height(), |x, y| {
        let [h, s, v] = to_hsv(image.get_pixel(x, y).0);
        Rgb(from_hsv([h.wrapping_add(turn), s, v]))
    })
}

fn to_hsv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let (high, low) = (r.max(g).max(b), r.min(g).min(b));
    if high == low {
        return [0, 0, high];
    }
    let spread = f32::from(high - low);
    let saturation = spread / f32::from(high);
    let [rc, gc, bc] = [r, g, b].map(|c| f32::from(high - c) / spread);
    let hue = if r == high {
        bc - gc
    } else if g == high {
        (2.0 + f64::from(rc) - f64::from(bc)) as f32
    } else {
        (4.0 + f64::from(gc) - f64::from(rc)) as f32
    };
    let hue = ((f64::from(hue) / 6.0 + 1.0) % 1.0) as f32;
    [(f64::from(hue) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, high]
}

fn from_hsv([h, s, v]: [u8; 3]) -> [u8; 3] {
    if s == 0 {
        return [v; 3];
    }
    let place = (f64::from(h) * 6.0 / 255.0) as f32;
    let saturation = (f64::from(s) / 255.0) as f32;
    let sector = place.floor();
    let within = place - sector;
    // Halves go away from zero, as C's round does.
    let level = |share: f32| (f64::from(v) * (1.0 - f64::from(share))).round() as u8;
    let p = level(saturation);
    let q = level(saturation * within);
    let t = (f64::from(v) * (1.0 - f64::from(saturation) * (1.0 - f64::from(within)))).round() as u8;
    match sector as u8 % 6 {
        0 => [v, t, p],
        1 => [q, v, p],
        2 => [p, v, t],
        3 => [p, q, v],
        4 => [t, p, v],
        _ => [v, p, q],
    }
}

/// Every value of a channel through a table of that channel.
fn look_up(image: &RgbImage, tables: &[[u8; 256]; 3]) -> RgbImage {
    let mut out = image.clone();
    for pixel in out.pixels_mut() {
        for (c, value) in pixel.0.iter_mut().enumerate() {
            *value = tables[c][usize::from(*value)];
        }
    }
    out
}

fn table(of: impl Fn(usize) -> u8) -> [u8; 256] {
    std::array::from_fn(of)
}

/// Keeps the highest `bits` of each value, 0 to 8.
pub fn posterize(image: &RgbImage, bits: u32) -> RgbImage {
    let mask = !((1u32 << (8 - bits.min(8))) - 1);
    look_up(image, &[table(|i| (i as u32 & mask) as u8); 3])
}

/// Turns values at `threshold` and above round.
pub fn solarize(image: &RgbImage, threshold: f64) -> RgbImage {
    look_up(image, &[table(|i| if (i as f64) < threshold { i as u8 } else { 255 - i as u8 }); 3])
}

fn histograms(image: &RgbImage) -> [[usize; 256]; 3] {
    let mut counts = [[0; 256]; 3];
    for pixel in image.pixels() {
        for (c, &value) in pixel.0.iter().enumerate() {
            counts[c][usize::from(value)] += 1;
        }
    }
    counts
}

/// Stretches each channel over 0 to 255.
pub fn autocontrast(image: &RgbImage) -> RgbImage {
    let tables = histograms(image).map(|counts| {
        let low = counts.iter().position(|&n| n > 0).unwrap_or(0);
        let high = counts.iter().rposition(|&n| n > 0).unwrap_or(0);
        if high <= low {
            return table(|i| i as u8);
        }
        let scale = 255.0 / (high - low) as f64;
        let offset = -(low as f64) * scale;
        table(|i| (i as f64 * scale + offset) as u8)
    });
    look_up(image, &tables)
}

/// Makes each channel's histogram as even as a table can.
pub fn equalize(image: &RgbImage) -> RgbImage {
    let tables = histograms(image).map(|counts| {
        let used: Vec<usize> = counts.iter().copied().filter(|&n| n > 0).collect();
        let step = (used.iter().sum::<usize>() - used.last().copied().unwrap_or(0)) / 255;
        if used.len() <= 1 || step == 0 {
            return table(|i| i as u8);
        }
        let mut n = step / 2;
        let mut out = [0; 256];
        for (value, count) in out.iter_mut().zip(counts) {
            *value = (n / step).min(255) as u8;
            n += count;
        }
        out
    });
    look_up(image, &tables)
}

#[cfg(test)]
#[path = "pixels_tests.rs"]
mod tests;
