//! For tests: copies of pictures, changed as people and generators change them.

use std::path::Path;

use image::{Rgb, RgbImage, imageops};

use super::super::decode;
use super::super::encoding::{Encoding, Format, Jpeg, encode};

/// Numbers that follow from a seed.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Numbers {
        Numbers(seed)
    }

    /// Below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % n
    }
}

/// What is done to a copy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Change {
    pub mirrored: bool,
    /// Hundredths of the width cut away left and right, of the height above and below.
    pub crop: [usize; 4],
    /// Whether the crop is resized to the original's size.
    pub enlarged: bool,
    pub brighter: bool,
    /// Values added to or taken from each channel, at most.
    pub noise: usize,
    pub rewritten: bool,
}

impl Change {
    /// Any of the changes together; at least one.
    pub fn any(numbers: &mut Numbers) -> Change {
        let crop = match numbers.below(4) {
            0 => [0; 4],
            1 => [5; 4],
            2 => [2, 3, 2, 3],
            _ => {
                let (across, down) = (numbers.below(11), numbers.below(11));
                [across, 10 - across, down, 10 - down]
            }
        };
        let yes = |numbers: &mut Numbers| numbers.below(2) == 1;
        let change = Change {
            mirrored: yes(numbers),
            crop,
            enlarged: yes(numbers),
            brighter: yes(numbers),
            noise: if yes(numbers) { 12 } else { 0 },
            rewritten: yes(numbers),
        };
        if change.mirrored || change.brighter || change.noise > 0 || crop != [0; 4] {
            return change;
        }
        Change { rewritten: true, ..change }
    }

    pub fn of(&self, picture: &RgbImage, numbers: &mut Numbers) -> RgbImage {
        let mut out = if self.mirrored { imageops::flip_horizontal(picture) } else { picture.clone() };
        let (width, height) = out.dimensions();
        let share = |side: u32, hundredths: usize| side * hundredths as u32 / 100;
        let (left, top) = (share(width, self.crop[0]), share(height, self.crop[2]));
        let (w, h) = (width - left - share(width, self.crop[1]), height - top - share(height, self.crop[3]));
        out = imageops::crop_imm(&out, left, top, w, h).to_image();
        if self.enlarged {
            out = decode::stretch(&out, width, height);
        }
        if self.brighter {
            out.pixels_mut().for_each(|p| *p = Rgb(p.0.map(|c| (u16::from(c) * 11 / 10).min(255) as u8)));
        }
        if self.noise > 0 {
            let mut moved = |c: u8| {
                let moved = usize::from(c) + numbers.below(2 * self.noise + 1);
                moved.saturating_sub(self.noise).min(255) as u8
            };
            out.pixels_mut().for_each(|p| *p = Rgb(p.0.map(&mut moved)));
        }
        if self.rewritten {
            let (width, height) = out.dimensions();
            let bytes = encode(&Encoding { format: Format::Jpeg(Jpeg::standard(50)), width, height }, &out).unwrap();
            out = decode::from_bytes(Path::new("copy.jpg"), &bytes).unwrap();
        }
        out
    }
}
