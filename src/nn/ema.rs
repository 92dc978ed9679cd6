//! Exponential moving average of a flat parameter buffer or of every variable of a store, with a warm-up so that the first steps
//! are soon forgotten.

use tch::nn::VarStore;
use tch::{TchError, Tensor};

use super::weights::Named;

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

/// The averages of all variables of a store, running statistics too.
pub struct Averages(Vec<(String, Tensor, Ema)>);

impl Averages {
    /// Starts at the variables; `decay` as in [`Ema::new`].
    pub fn new(variables: &VarStore, decay: f64) -> Averages {
        let mut named: Vec<(String, Tensor)> = variables.variables().into_iter().collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        let with = |(name, variable): (String, Tensor)| {
            let ema = Ema::new(&variable.detach(), decay);
            (name, variable, ema)
        };
        Averages(named.into_iter().map(with).collect())
    }

    /// Takes in the variables after step `step` (from 1).
    pub fn update(&mut self, step: i64) -> Result<(), TchError> {
        tch::no_grad(|| self.0.iter_mut().try_for_each(|(_, variable, ema)| ema.update(variable, step)))
    }

    /// Changes places with the variables: the network has the averages until the next call.
    pub fn swap(&mut self) -> Result<(), TchError> {
        tch::no_grad(|| {
            self.0.iter_mut().try_for_each(|(_, variable, ema)| {
                let mut own = variable.f_empty_like()?;
                own.f_copy_(&variable.detach())?;
                variable.f_copy_(&ema.average)?;
                ema.average = own;
                Ok(())
            })
        })
    }

    /// The averages by variable name.
    pub fn state(&self) -> Named {
        self.0.iter().map(|(name, _, ema)| (name.clone(), ema.average.shallow_clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_change_places_with_the_variables_and_back() {
        let variables = VarStore::new(tch::Device::Cpu);
        let mut w = variables.root().var("w", &[2], tch::nn::Init::Const(0.0));
        let mut averages = Averages::new(&variables, 0.9);
        let _ = tch::no_grad(|| w.fill_(1.0));
        averages.update(1000).unwrap();
        averages.swap().unwrap();
        assert!((w.double_value(&[0]) - 0.1).abs() < 1e-6);
        averages.swap().unwrap();
        assert_eq!(w.double_value(&[1]), 1.0);
        assert!((averages.state()["w"].double_value(&[1]) - 0.1).abs() < 1e-6);
        assert!(w.requires_grad());
    }

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
