//! Images to tensors and back. Knows no network.

use image::RgbImage;
use tch::{Device, Kind, Tensor};

use crate::dataset::decode;
use crate::error::Result;
use crate::nn::TensorContext;

/// Identifies an image by its size and pixels.
pub fn digest(image: &RgbImage) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&image.width().to_le_bytes()).update(&image.height().to_le_bytes()).update(image.as_raw());
    *hasher.finalize().as_bytes()
}

/// The middle of an image, cut to these proportions and resized to this size.
pub fn fitted(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    decode::fit(image, width, height)
}

/// An image as `[1, 3, h, w]`, fp32, in [-1, 1], on the CPU.
pub fn to_unit(image: &RgbImage) -> Result<Tensor> {
    let shape = [1, i64::from(image.height()), i64::from(image.width()), 3];
    let bytes = Tensor::f_from_data_size(image.as_raw(), &shape, Kind::Uint8).doing("make a tensor of an image")?;
    let unit = bytes.to_kind(Kind::Float) * (1.0 / 127.5) - 1.0;
    Ok(unit.permute([0, 3, 1, 2]).contiguous())
}

/// The image that `[1, 3, h, w]`, about in [-1, 1], shows; `None` where some of it is no number.
pub fn image_if_finite(image: &Tensor) -> Result<Option<RgbImage>> {
    let read = "read a generated image";
    if image.f_isfinite().and_then(|finite| finite.f_all()).doing(read)?.int64_value(&[]) == 0 {
        return Ok(None);
    }
    let (_, _, h, w) = image.size4().doing(read)?;
    // Rounded where it lies: a quarter of the bytes travel, and the device is not waited for twice.
    let bytes =
        image.f_div_scalar(2.0).and_then(|x| x.f_add_scalar(0.5)).and_then(|x| x.f_clamp(0.0, 1.0)).doing(read)?;
    let bytes =
        bytes.f_mul_scalar(255.0).and_then(|x| x.f_round()).and_then(|x| x.f_to_kind(Kind::Uint8)).doing(read)?;
    let bytes = bytes.f_permute([0, 2, 3, 1]).and_then(|x| x.f_contiguous()).doing(read)?;
    let bytes = bytes.f_to_device(Device::Cpu).doing(read)?;
    let mut buffer = vec![0u8; (h * w * 3) as usize];
    bytes.view([-1]).f_copy_data_u8(&mut buffer, (h * w * 3) as usize).doing(read)?;
    Ok(RgbImage::from_raw(w as u32, h as u32, buffer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_survives_the_way_there_and_back_and_what_is_no_number_is_none() {
        let image = RgbImage::from_fn(5, 3, |x, y| image::Rgb([(40 * x) as u8, (80 * y) as u8, 255]));
        let unit = to_unit(&image).unwrap();
        assert_eq!(unit.size(), [1, 3, 3, 5]);
        assert_eq!(image_if_finite(&unit).unwrap(), Some(image));
        let _ = unit.get(0).get(1).get(2).fill_(f64::NAN);
        assert_eq!(image_if_finite(&unit).unwrap(), None);
    }
}
