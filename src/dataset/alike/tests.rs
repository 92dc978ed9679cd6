#[cfg(test)]
mod tests {
    use super::super::encoding::{Encoding, Format, Jpeg, encode};
    use super::*;
    use image::{Rgb, imageops};
    use std::path::Path;

    /// Soft blobs whose places and colours follow from the seed.
    fn picture(seed: u32) -> RgbImage {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
        let mut next = |n: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % n
        };
        let blobs: Vec<[f64; 6]> = (0..9)
            .map(|_| [next(120), next(120), next(30) + 8, next(200), next(200), next(200)].map(f64::from))
            .collect();
        RgbImage::from_fn(120, 120, |x, y| {
            let mut colour = [60.0; 3];
            for [cx, cy, r, red, green, blue] in &blobs {
                let d = ((f64::from(x) - cx).powi(2) + (f64::from(y) - cy).powi(2)) / (r * r);
                let weight = 1.0 / (1.0 + d * d);
                for (c, to) in colour.iter_mut().zip([red, green, blue]) {
                    *c += (to - *c) * weight;
                }
            }
            Rgb(colour.map(|c| c as u8))
        })
    }

    fn face(image: &RgbImage) -> Face {
        Face::of(image).unwrap()
    }

    #[test]
    fn a_worse_a_smaller_a_brighter_and_a_mirrored_copy_look_alike() {
        let original = picture(1);
        let worse = encode(&Encoding { format: Format::Jpeg(Jpeg::standard(30)), width: 120, height: 120 }, &original);
        let worse = decode::from_bytes(Path::new("x"), &worse.unwrap()).unwrap();
        let brighter = RgbImage::from_fn(120, 120, |x, y| Rgb(original.get_pixel(x, y).0.map(|c| c / 2 + 40)));
        for (what, copy) in [("worse", worse), ("smaller", decode::square(&original, 50)), ("brighter", brighter)] {
            assert_eq!(face(&original).alike(&face(&copy)), Some(Mirrored(false)), "{what}");
            let mirrored = imageops::flip_horizontal(&copy);
            assert_eq!(face(&original).alike(&face(&mirrored)), Some(Mirrored(true)), "{what}, mirrored");
            assert_eq!(face(&mirrored).alike(&face(&original)), Some(Mirrored(true)), "{what}, mirrored");
        }
    }

    #[test]
    fn other_pictures_and_even_ones_do_not() {
        let faces: Vec<Face> = (0..40).map(|seed| face(&picture(seed))).collect();
        for i in 0..40 {
            for j in 0..i {
                assert_eq!(faces[i].alike(&faces[j]), None, "{i} {j}");
            }
        }
        assert_eq!(Face::of(&RgbImage::from_pixel(50, 50, Rgb([10, 200, 30]))), None);
        assert_eq!(Face::of(&RgbImage::new(1, 1)), None);
    }

    #[test]
    fn groups_are_found_by_bands_as_by_comparing_everything() {
        let mut pictures: Vec<RgbImage> = (0..30).map(picture).collect();
        pictures.push(imageops::flip_horizontal(&pictures[3]));
        pictures.push(decode::square(&pictures[7], 60));
        pictures.push(decode::square(&pictures[3], 80));
        let mut faces: Vec<Option<Face>> = pictures.iter().map(Face::of).collect();
        faces.push(None);
        let faces: Vec<Option<&Face>> = faces.iter().map(Option::as_ref).collect();
        assert_eq!(groups(&faces), [vec![3, 30, 32], vec![7, 31]]);
    }

    #[test]
    fn the_hash_of_a_picture_never_changes() {
        assert_eq!(format!("{:016x}", face(&picture(5)).hash), "554dd9bcb21289d8");
    }
}
