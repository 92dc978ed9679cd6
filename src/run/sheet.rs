//! Many images on one. Knows no files.

use image::{GenericImage, Rgb, RgbImage};

/// Pixels between images.
const GAP: u32 = 4;

/// Images in rows of `columns`, on white; each cell is as large as the first image.
pub fn sheet(images: &[RgbImage], columns: usize) -> RgbImage {
    // A single row of many would be too wide to look at.
    let columns = if columns > 1 { columns } else { (images.len() as f64).sqrt().ceil() as usize }.clamp(1, 10);
    let rows = images.len().div_ceil(columns);
    let (w, h) = images.first().map_or((1, 1), RgbImage::dimensions);
    let (cell_w, cell_h) = (w + GAP, h + GAP);
    let mut sheet =
        RgbImage::from_pixel(columns as u32 * cell_w + GAP, rows as u32 * cell_h + GAP, Rgb([255, 255, 255]));
    for (i, image) in images.iter().enumerate() {
        let (column, row) = ((i % columns) as u32, (i / columns) as u32);
        // One that does not fit its cell is left out.
        let _ = sheet.copy_from(image, GAP + column * cell_w, GAP + row * cell_h);
    }
    sheet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_stand_in_rows_with_white_between() {
        let image = |red: u8| RgbImage::from_pixel(8, 6, Rgb([red, 0, 0]));
        let sheet = sheet(&[image(10), image(20), image(30)], 2);
        assert_eq!(sheet.dimensions(), (2 * 12 + 4, 2 * 10 + 4));
        assert_eq!([(4, 4), (16, 4), (4, 14)].map(|(x, y)| sheet.get_pixel(x, y)[0]), [10, 20, 30]);
        assert_eq!([(0, 0), (13, 5), (20, 16)].map(|(x, y)| sheet.get_pixel(x, y)[1]), [255, 255, 255]);
    }
}
