//! Classifier-free guidance of predictions. Knows no network.

use tch::{Kind, TchError, Tensor};

/// `without + guidance * (with - without)` (Ho and Salimans 2022, eq. 6, with their `w + 1`), of `[batch, ..]`, then brought
/// towards the spread of `with` by the share `rescale` (Lin et al. 2023, eq. 15 and 16).
pub fn guided(without: &Tensor, with: &Tensor, guidance: f64, rescale: f64) -> Result<Tensor, TchError> {
    let out = without.f_add(&with.f_sub(without)?.f_mul_scalar(guidance)?)?;
    if rescale == 0.0 {
        return Ok(out);
    }
    let spread = |x: &Tensor| -> Result<Tensor, TchError> {
        let dims: Vec<i64> = (1..x.dim() as i64).collect();
        x.f_to_kind(Kind::Float)?.f_std_dim(dims.as_slice(), true, true)
    };
    let even = out.f_mul(&spread(with)?.f_div(&spread(&out)?)?)?;
    even.f_mul_scalar(rescale)?.f_add(&out.f_mul_scalar(1.0 - rescale)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guidance_goes_past_the_prompt_and_rescaling_gives_its_spread_back() {
        let with = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0]).view([1, 4]);
        let without = Tensor::from_slice(&[0.0f32, 0.0, 1.0, 1.0]).view([1, 4]);
        let plain: Vec<f32> = Vec::try_from(guided(&without, &with, 3.0, 0.0).unwrap().view([-1])).unwrap();
        assert_eq!(plain, [3.0, 6.0, 7.0, 10.0]);
        let rescaled = guided(&without, &with, 3.0, 1.0).unwrap();
        assert!((rescaled.std(true) - with.std(true)).abs().double_value(&[]) < 1e-6);
        let half = guided(&without, &with, 3.0, 0.5).unwrap();
        assert!(
            (half - (rescaled + guided(&without, &with, 3.0, 0.0).unwrap()) * 0.5).abs().max().double_value(&[]) < 1e-6
        );
    }
}
