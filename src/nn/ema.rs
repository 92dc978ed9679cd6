//! Exponential moving average of a flat parameter buffer, with a warm-up so that the first steps are soon forgotten.

use tch::{TchError, Tensor};

/// The averaged parameters.
pub struct Ema {
    /// As flat as the parameters, fp32.
    pub average: Tensor,
    decay: f64,
}

impl Ema {
    /// Starts at the parameters; `decay` in [0, 1) is reached after the warm-up.
    pub fn new(parameters: &Tensor, decay: f64) -> Ema {
        Ema { average: parameters.copy(), decay }
    }

    /// Takes in the parameters after step `step` (from 1): decay `min(decay, (1 + step) / (10 + step))`.
    pub fn update(&mut self, parameters: &Tensor, step: i64) -> Result<(), TchError> {
        let decay = self.decay.min((1.0 + step as f64) / (10.0 + step as f64));
        let _ = self.average.f_lerp_(parameters, 1.0 - decay)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_moves_fast_at_first_and_slowly_later() {
        let mut ema = Ema::new(&Tensor::from_slice(&[0.0]), 0.9);
        let one = Tensor::from_slice(&[1.0]);
        ema.update(&one, 1).unwrap();
        assert!((ema.average.double_value(&[0]) - 9.0 / 11.0).abs() < 1e-12);
        ema.update(&Tensor::from_slice(&[0.0]), 1000).unwrap();
        assert!((ema.average.double_value(&[0]) - 0.9 * 9.0 / 11.0).abs() < 1e-12);
    }
}
