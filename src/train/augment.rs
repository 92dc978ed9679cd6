//! From a photo of any size to the network's square input: torchvision's RandomResizedCrop and flip for training, then what
//! `vary` does; a centre crop for evaluation, antialiased bilinear resizing for both. Knows no batches.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

use super::vary::{Jitter, Policy, erased};
use crate::nn::noise::Stream;

/// A rectangle of pixels inside an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
}

impl Rect {
    /// All of the image.
    pub fn whole(image: &RgbImage) -> Rect {
        Rect { left: 0, top: 0, width: image.width(), height: image.height() }
    }
}

/// How a training photo is varied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Augment {
    /// Bounds of the crop's area over the photo's, uniform between.
    pub scale: (f64, f64),
    /// Bounds of the crop's width over its height, log-uniform between.
    pub ratio: (f64, f64),
    /// Probability of a mirror image.
    pub flip: f64,
    /// After the flip.
    pub jitter: Jitter,
    /// After the jitter.
    pub policy: Policy,
    /// Probability that a rectangle is erased, last.
    pub erasing: f64,
}

impl Default for Augment {
    /// torchvision's ratios and flips; its areas begin at 0.08, where a crop of a small bird often shows no bird.
    fn default() -> Augment {
        Augment {
            scale: (0.35, 1.0),
            ratio: (3.0 / 4.0, 4.0 / 3.0),
            flip: 0.5,
            jitter: Jitter::default(),
            policy: Policy::None,
            erasing: 0.0,
        }
    }
}

impl Augment {
    /// The crop of a `width` x `height` photo, as `torchvision.transforms.RandomResizedCrop.get_params` draws it: ten tries,
    /// then the largest centred rectangle within the ratios.
    pub fn crop(&self, stream: &mut Stream, width: u32, height: u32) -> Rect {
        let (w, h) = (width as f64, height as f64);
        let (narrow, wide) = self.ratio;
        for _ in 0..10 {
            let area = w * h * stream.range(self.scale.0, self.scale.1);
            let ratio = libm::exp(stream.range(libm::log(narrow), libm::log(wide)));
            let crop_w = libm::rint(libm::sqrt(area * ratio));
            let crop_h = libm::rint(libm::sqrt(area / ratio));
            if (1.0..=w).contains(&crop_w) && (1.0..=h).contains(&crop_h) {
                let (crop_w, crop_h) = (crop_w as u32, crop_h as u32);
                let top = stream.below((height - crop_h) as usize + 1) as u32;
                let left = stream.below((width - crop_w) as usize + 1) as u32;
                return Rect { left, top, width: crop_w, height: crop_h };
            }
        }
        let (crop_w, crop_h) = if w / h < narrow {
            (width, (libm::rint(w / narrow) as u32).clamp(1, height))
        } else if w / h > wide {
            ((libm::rint(h * wide) as u32).clamp(1, width), height)
        } else {
            (width, height)
        };
        Rect { left: (width - crop_w) / 2, top: (height - crop_h) / 2, width: crop_w, height: crop_h }
    }

    /// A varied `size` x `size` view of the photo, and the rectangle of it that is to be erased.
    pub fn apply(&self, stream: &mut Stream, photo: &RgbImage, size: u32) -> (RgbImage, Option<Rect>) {
        let crop = self.crop(stream, photo.width(), photo.height());
        let mut view = resize(photo, crop, size, size);
        if stream.chance(self.flip) {
            image::imageops::flip_horizontal_in_place(&mut view);
        }
        let view = self.jitter.apply(stream, view);
        let view = self.policy.apply(stream, view);
        (view, erased(stream, self.erasing, size, size))
    }
}

/// Side of the evaluation crop over the photo's shorter side: torchvision's 224 of 256. Training crops magnify a bird, about as
/// much as this does (Touvron et al. 2019).
pub const EVALUATED: f64 = 0.875;

/// The evaluation view: the central square of the photo, its side 7/8 of the photo's shorter one, as `size` x `size`.
pub fn center(photo: &RgbImage, size: u32) -> RgbImage {
    let shorter = photo.width().min(photo.height());
    let side = (libm::rint(shorter as f64 * EVALUATED) as u32).max(1);
    let crop = Rect { left: (photo.width() - side) / 2, top: (photo.height() - side) / 2, width: side, height: side };
    resize(photo, crop, size, size)
}

/// The rectangle of the photo in a new size, by antialiased bilinear interpolation (a triangle filter as wide as the shrinkage,
/// as Pillow's and torchvision's); pixels outside the rectangle have no influence. No side may be 0.
pub fn resize(photo: &RgbImage, crop: Rect, width: u32, height: u32) -> RgbImage {
    if (crop.width, crop.height) == (width, height) {
        return image::imageops::crop_imm(photo, crop.left, crop.top, width, height).to_image();
    }
    let source = TypedImageRef::<U8x3>::from_buffer(photo.width(), photo.height(), photo.as_raw())
        .expect("an RgbImage holds three bytes a pixel");
    let source = TypedCroppedImage::from_ref(&source, crop.left, crop.top, crop.width, crop.height)
        .expect("the rectangle lies inside the photo");
    let mut out = RgbImage::new(width, height);
    let mut target =
        TypedImage::<U8x3>::from_buffer(width, height, out.as_mut()).expect("three bytes a pixel here too");
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    thread_local! {
        static RESIZER: std::cell::RefCell<Resizer> = std::cell::RefCell::new(Resizer::new());
    }
    RESIZER
        .with(|resizer| resizer.borrow_mut().resize_typed(&source, &mut target, &options))
        .expect("neither image is empty");
    drop(target);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[derive(serde::Deserialize)]
    struct Golden {
        resized: Vec<Resized>,
        drawn: Vec<Drawn>,
        tall: [u32; 4],
        wide: [u32; 4],
    }

    #[derive(serde::Deserialize)]
    struct Resized {
        photo: [u32; 2],
        rect: [u32; 4],
        to: [u32; 2],
        pixels: Vec<u8>,
    }

    #[derive(serde::Deserialize)]
    struct Drawn {
        photo: [u32; 2],
        scale: (f64, f64),
        area: f64,
        log_ratio: f64,
        log_ratio_deviation: f64,
        left: f64,
        top: f64,
    }

    fn golden() -> Golden {
        serde_json::from_str(include_str!("../../tests/golden/augment.json")).unwrap()
    }

    /// The same bytes as `photo` of tests/golden/augment.py.
    fn photo(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let green = if x * 2 > y * 3 { 220 } else { 30 };
            Rgb([((x * x * 3 + y * 7) % 256) as u8, green, (((x * 13) ^ (y * 29)) % 256) as u8])
        })
    }

    fn rect([left, top, width, height]: [u32; 4]) -> Rect {
        Rect { left, top, width, height }
    }

    #[test]
    fn resizing_a_rectangle_equals_torchvisions_within_one_step_of_256() {
        for case in golden().resized {
            let found = resize(&photo(case.photo[0], case.photo[1]), rect(case.rect), case.to[0], case.to[1]);
            assert_eq!(found.as_raw().len(), case.pixels.len());
            let worst = found.as_raw().iter().zip(&case.pixels).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            assert!(worst <= 1, "{:?} -> {:?}: {worst}", case.rect, case.to);
        }
    }

    #[test]
    fn crops_are_distributed_as_torchvisions() {
        for case in golden().drawn {
            let augment = Augment { scale: case.scale, ..Augment::default() };
            let [width, height] = case.photo;
            let n = 20_000;
            let (mut area, mut log, mut log2, mut left, mut top) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for i in 0..n {
                let crop = augment.crop(&mut Stream::indexed(1, "test", &[i]), width, height);
                assert!(crop.left + crop.width <= width && crop.top + crop.height <= height);
                let share = (crop.width * crop.height) as f64 / (width * height) as f64;
                assert!(share > case.scale.0 - 0.02 && share <= 1.0);
                let ratio = (crop.width as f64 / crop.height as f64).ln();
                assert!(ratio.abs() < (4.0f64 / 3.0).ln() + 0.05);
                area += share / n as f64;
                log += ratio / n as f64;
                log2 += ratio * ratio / n as f64;
                left += crop.left as f64 / n as f64;
                top += crop.top as f64 / n as f64;
            }
            // Five standard errors of two such means, about.
            assert!((area - case.area).abs() < 0.01, "{area} {}", case.area);
            assert!((log - case.log_ratio).abs() < 0.01, "{log} {}", case.log_ratio);
            let deviation = (log2 - log * log).sqrt();
            assert!((deviation - case.log_ratio_deviation).abs() < 0.006, "{deviation} {}", case.log_ratio_deviation);
            assert!((left - case.left).abs() < 1.5 && (top - case.top).abs() < 1.5, "{left} {top}");
        }
    }

    #[test]
    fn a_photo_of_an_extreme_shape_is_cropped_in_its_middle() {
        let augment = Augment { scale: (0.9, 1.0), ..Augment::default() };
        let mut stream = Stream::new(b"k", "test");
        assert_eq!(augment.crop(&mut stream, 10, 1000), rect(golden().tall));
        assert_eq!(augment.crop(&mut stream, 1001, 11), rect(golden().wide));
        let (one, erased) = augment.apply(&mut stream, &photo(1, 1), 4);
        assert_eq!(erased, None);
        assert_eq!(one.as_raw(), &[0, 30, 0].repeat(16));
    }

    #[test]
    fn evaluation_takes_the_middle_square() {
        // 14 of 16 rows, and as many columns of 40.
        let wide = RgbImage::from_fn(40, 16, |x, y| {
            let inside = (13..27).contains(&x) && (1..15).contains(&y);
            Rgb(if inside { [200, 100, 50] } else { [0, 0, 0] })
        });
        for size in [1, 7, 14, 20] {
            let view = center(&wide, size);
            assert_eq!(view.dimensions(), (size, size));
            assert!(view.pixels().all(|pixel| pixel.0 == [200, 100, 50]), "{size}");
        }
        assert_eq!(center(&RgbImage::new(1, 1), 3).dimensions(), (3, 3));
    }
}
