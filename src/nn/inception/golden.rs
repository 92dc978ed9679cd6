//! The weights and images that `tests/golden/inception.py` makes, by the same formula.

use image::RgbImage;
use tch::Tensor;

use super::layout;
use crate::nn::golden::uniform;
use crate::nn::weights::Named;

/// An image, a way of resizing, and what torch-fidelity's network says.
#[derive(serde::Deserialize)]
pub struct Case {
    pub image: String,
    pub height: usize,
    pub width: usize,
    pub resize: String,
    pub pixels: Vec<f64>,
    pub pixel_sum: f64,
    pub features: Vec<f64>,
    pub feature_sum: f64,
}

pub fn cases() -> Vec<Case> {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../../tests/golden/inception.json")).unwrap();
    assert_eq!(cases.len(), 9);
    cases
}

/// Blocks of 3x3 pixels.
pub fn image(case: &Case) -> RgbImage {
    let (rows, columns) = (case.height.div_ceil(3), case.width.div_ceil(3));
    let values = uniform(&case.image, rows * columns * 3);
    RgbImage::from_fn(case.width as u32, case.height as u32, |x, y| {
        let at = ((y / 3) as usize * columns + (x / 3) as usize) * 3;
        image::Rgb([0, 1, 2].map(|c| ((values[at + c] + 1.0) * 128.0) as u8))
    })
}

/// A whole network, under pytorch-fid's names.
pub fn weights() -> Named {
    let mut tensors = Named::new();
    for unit in layout::units() {
        let [h, w] = unit.kernel;
        let bound = (6.0 / (unit.inputs * h * w) as f64).sqrt();
        let mut fill = |part: &str, shape: &[i64], of: &dyn Fn(f64) -> f64| {
            let name = format!("{}.{part}", unit.name);
            let n = shape.iter().product::<i64>() as usize;
            let values: Vec<f32> = uniform(&name, n).into_iter().map(|u| of(u) as f32).collect();
            tensors.insert(name, Tensor::from_slice(&values).view(shape));
        };
        fill("conv.weight", &[unit.outputs, unit.inputs, h, w], &|u| u * bound);
        fill("bn.weight", &[unit.outputs], &|u| 1.0 + 0.1 * u);
        fill("bn.bias", &[unit.outputs], &|u| 0.1 * u);
        fill("bn.running_mean", &[unit.outputs], &|u| 0.1 * u);
        fill("bn.running_var", &[unit.outputs], &|u| 1.0 + 0.25 * u);
    }
    tensors
}
