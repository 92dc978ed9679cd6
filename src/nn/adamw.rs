//! AdamW (Loshchilov and Hutter 2019, algorithm 2) over one flat parameter buffer, with gradient clipping. Its state can be
//! saved and put back bit for bit, which tch's own optimisers cannot.

use tch::{Device, TchError, Tensor};

/// On a CPU the buffers are worked through in pieces that stay in its caches; a step is bound by memory otherwise.
const CPU_PIECE: i64 = 1 << 16;

/// Constants of the method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    /// Share of each parameter taken off a step, times the learning rate.
    pub weight_decay: f64,
    /// The gradient's norm is held below this.
    pub clip: f64,
}

impl Default for Options {
    fn default() -> Options {
        Options { beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.01, clip: 1.0 }
    }
}

/// The moments of every parameter.
pub struct AdamW {
    options: Options,
    /// Running mean of the gradients.
    pub mean: Tensor,
    /// Running mean of their squares.
    pub square: Tensor,
    /// Steps taken.
    pub steps: i64,
}

impl AdamW {
    /// Moments at zero, where `parameters` (flat, fp32) are.
    pub fn new(parameters: &Tensor, options: Options) -> AdamW {
        AdamW { options, mean: parameters.zeros_like(), square: parameters.zeros_like(), steps: 0 }
    }

    /// One step down `gradient` (as flat as the parameters, any float kind); returns the gradient's norm before clipping.
    pub fn step(&mut self, parameters: &mut Tensor, gradient: &Tensor, rate: f64) -> Result<f64, TchError> {
        self.steps += 1;
        let norm = gradient.f_norm_scalaropt_dtype(2.0, parameters.kind())?.f_double_value(&[])?;
        let scale = if norm > self.options.clip { self.options.clip / norm } else { 1.0 };
        let length = parameters.numel() as i64;
        let piece = if parameters.device() == Device::Cpu { CPU_PIECE } else { length };
        let mut start = 0;
        while start < length {
            let here = |whole: &Tensor| whole.f_narrow(0, start, piece.min(length - start));
            let gradient = here(gradient)?.f_to_kind(parameters.kind())?.f_mul_scalar(scale)?;
            self.piece(&mut here(parameters)?, &gradient, &mut here(&self.mean)?, &mut here(&self.square)?, rate)?;
            start += piece;
        }
        Ok(norm)
    }

    /// Algorithm 2's lines 6 to 12 for one piece of every buffer.
    fn piece(
        &self,
        p: &mut Tensor,
        g: &Tensor,
        mean: &mut Tensor,
        square: &mut Tensor,
        rate: f64,
    ) -> Result<(), TchError> {
        let Options { beta1, beta2, eps, weight_decay, .. } = self.options;
        let correct1 = 1.0 - beta1.powi(self.steps as i32);
        let correct2 = 1.0 - beta2.powi(self.steps as i32);
        let _ = mean.f_lerp_(g, 1.0 - beta1)?;
        let root = g.f_mul_scalar((1.0 - beta2).sqrt())?;
        let _ = square.f_mul_scalar_(beta2)?.f_addcmul_(&root, &root)?;
        let mut denominator = square.f_sqrt()?;
        let denominator = denominator.f_mul_scalar_(1.0 / correct2.sqrt())?.f_add_scalar_(eps)?;
        let update = mean.f_div(&denominator)?.f_mul_scalar_(rate / correct1)?;
        let _ = p.f_mul_scalar_(1.0 - rate * weight_decay)?.f_sub_(&update)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Kind;

    fn walk(options: Options, gradients: &[[f64; 3]]) -> Vec<f64> {
        let mut parameters = Tensor::from_slice(&[1.0, -2.0, 0.5]);
        assert_eq!(parameters.kind(), Kind::Double);
        let mut adam = AdamW::new(&parameters, options);
        for gradient in gradients {
            adam.step(&mut parameters, &Tensor::from_slice(gradient), 0.1).unwrap();
        }
        Vec::try_from(parameters).unwrap()
    }

    #[test]
    fn two_steps_are_those_worked_out_by_hand() {
        let options = Options { beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.01, clip: 1e9 };
        let gradients = [[0.1, -0.2, 0.0], [0.3, 0.1, 0.0]];
        let mut expected = [1.0, -2.0, 0.5];
        for (i, value) in expected.iter_mut().enumerate() {
            let (mut m, mut v) = (0.0, 0.0);
            for (t, gradient) in gradients.iter().enumerate() {
                let (g, t) = (gradient[i], t as i32 + 1);
                m = 0.9 * m + 0.1 * g;
                v = 0.99 * v + 0.01 * g * g;
                let (m_hat, v_hat): (f64, f64) = (m / (1.0 - 0.9f64.powi(t)), v / (1.0 - 0.99f64.powi(t)));
                *value = *value * (1.0 - 0.1 * 0.01) - 0.1 * m_hat / (v_hat.sqrt() + 1e-8);
            }
        }
        for (ours, theirs) in walk(options, &gradients).iter().zip(expected) {
            assert!((ours - theirs).abs() < 1e-6, "{ours} {theirs}");
        }
    }

    #[test]
    fn a_long_buffer_is_worked_through_to_its_end() {
        let ones = |n: i64| Tensor::ones([n], (Kind::Float, Device::Cpu));
        let mut parameters = ones(CPU_PIECE + 5);
        let mut adam = AdamW::new(&parameters, Options { clip: 1e9, ..Options::default() });
        let norm = adam.step(&mut parameters, &ones(CPU_PIECE + 5), 0.1).unwrap();
        assert!((norm - ((CPU_PIECE + 5) as f64).sqrt()).abs() < 1e-2, "{norm}");
        assert_eq!(parameters, ones(CPU_PIECE + 5) * parameters.double_value(&[0]));
        assert!((parameters.double_value(&[0]) - 0.899).abs() < 1e-6);
    }

    #[test]
    fn a_long_gradient_is_clipped_to_the_norm() {
        let options = Options { clip: 1.0, ..Options::default() };
        let long = walk(options, &[[30.0, 40.0, 0.0], [0.1, 0.0, 0.2]]);
        let clipped = walk(options, &[[0.6, 0.8, 0.0], [0.1, 0.0, 0.2]]);
        for (a, b) in long.iter().zip(clipped) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
    }
}
