//! Stochastic gradient descent with Nesterov momentum and weight decay, as `torch.optim.SGD` computes it, with a state that can
//! be kept. Knows no network: variables and gradients by position.

use rayon::prelude::*;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use super::TensorContext;
use super::weights::Named;
use crate::error::{Error, Result};

/// The optimiser's constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    /// In [0, 1); Nesterov's look-ahead is always on.
    pub momentum: f64,
    /// Added to the gradient, times the variable; only for variables of two or more dimensions, so that neither batch norms
    /// nor biases decay.
    pub weight_decay: f64,
}

impl Default for Config {
    fn default() -> Config {
        Config { momentum: 0.9, weight_decay: 5e-4 }
    }
}

/// Variables under optimisation, in the order of their names.
pub struct Sgd {
    config: Config,
    slots: Vec<Slot>,
}

struct Slot {
    name: String,
    variable: Tensor,
    velocity: Tensor,
    decay: f64,
}

/// Floats that one task of the CPU path updates.
const CHUNK: usize = 1 << 16;

impl Sgd {
    /// Optimises every trainable variable of the store, which stay fp32.
    pub fn new(variables: &VarStore, config: Config) -> Result<Sgd> {
        let mut named: Vec<(String, Tensor)> =
            variables.variables().into_iter().filter(|(_, variable)| variable.requires_grad()).collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        let mut slots = Vec::with_capacity(named.len());
        for (name, variable) in named {
            let velocity = variable.detach().f_zeros_like().doing("make the optimiser's state")?;
            let decay = if variable.dim() >= 2 { config.weight_decay } else { 0.0 };
            slots.push(Slot { name, variable, velocity, decay });
        }
        Ok(Sgd { config, slots })
    }

    /// The variables, in the order that [`Sgd::step`] wants the gradients in.
    pub fn variables(&self) -> Vec<&Tensor> {
        self.slots.iter().map(|slot| &slot.variable).collect()
    }

    /// One step: `v = momentum v + g`, `w -= rate (g + momentum v)` with `g` the gradient plus decay.
    pub fn step(&mut self, rate: f64, gradients: &[Tensor]) -> Result<()> {
        if gradients.len() != self.slots.len() {
            let (found, wanted) = (gradients.len(), self.slots.len());
            return Err(Error::input(format!("{found} gradients for {wanted} variables")));
        }
        tch::no_grad(|| {
            for (slot, gradient) in self.slots.iter_mut().zip(gradients) {
                slot.step(rate, self.config.momentum, gradient)?;
            }
            Ok(())
        })
    }

    /// The velocities by variable name.
    pub fn state(&self) -> Named {
        self.slots.iter().map(|slot| (slot.name.clone(), slot.velocity.shallow_clone())).collect()
    }

    /// Goes on from a [`Sgd::state`].
    ///
    /// # Errors
    /// [`Error::Input`] if it is the state of other variables.
    pub fn restore(&mut self, state: &Named) -> Result<()> {
        let fits = state.len() == self.slots.len()
            && self.slots.iter().all(|slot| state.get(&slot.name).is_some_and(|v| v.size() == slot.velocity.size()));
        if !fits {
            return Err(Error::input("the optimiser's state is that of another network"));
        }
        for slot in &mut self.slots {
            slot.velocity.f_copy_(&state[&slot.name]).doing("restore the optimiser")?;
        }
        Ok(())
    }
}

impl Slot {
    fn step(&mut self, rate: f64, momentum: f64, gradient: &Tensor) -> Result<()> {
        if self.variable.device() == Device::Cpu && self.variable.is_contiguous() {
            return self.step_fused(rate as f32, momentum as f32, gradient);
        }
        let mut update = || {
            let gradient = gradient.f_to_kind(Kind::Float)?.f_add(&self.variable.f_mul_scalar(self.decay)?)?;
            self.velocity = self.velocity.f_mul_scalar_(momentum)?.f_add_(&gradient)?;
            let change = gradient.f_add(&self.velocity.f_mul_scalar(momentum)?)?.f_mul_scalar_(-rate)?;
            self.variable.f_add_(&change)
        };
        update().map(|_| ()).doing("take an optimiser step")
    }

    /// The same in one pass over memory, which bounds small networks' steps on a CPU.
    fn step_fused(&mut self, rate: f32, momentum: f32, gradient: &Tensor) -> Result<()> {
        let gradient = gradient.f_to_kind(Kind::Float).and_then(|g| g.f_contiguous()).doing("read a gradient")?;
        let decay = self.decay as f32;
        let n = self.variable.numel();
        // SAFETY: three distinct contiguous fp32 CPU tensors of `n` elements each, alive and unshared during this call.
        let (variable, velocity, gradient) = unsafe {
            (
                std::slice::from_raw_parts_mut(self.variable.data_ptr() as *mut f32, n),
                std::slice::from_raw_parts_mut(self.velocity.data_ptr() as *mut f32, n),
                std::slice::from_raw_parts(gradient.data_ptr() as *const f32, n),
            )
        };
        let update = |((w, v), g): ((&mut [f32], &mut [f32]), &[f32])| {
            for ((w, v), g) in w.iter_mut().zip(v).zip(g) {
                let g = g + decay * *w;
                *v = momentum * *v + g;
                *w -= rate * (g + momentum * *v);
            }
        };
        let chunks = variable.par_chunks_mut(CHUNK).zip(velocity.par_chunks_mut(CHUNK));
        chunks.zip(gradient.par_chunks(CHUNK)).for_each(update);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::nn::Init;

    #[test]
    fn two_steps_equal_the_formula_and_only_matrices_decay() {
        let variables = VarStore::new(Device::Cpu);
        let root = variables.root();
        let matrix = root.var("a", &[1, 2], Init::Const(1.0));
        let vector = root.var("b", &[2], Init::Const(1.0));
        let mut sgd = Sgd::new(&variables, Config { momentum: 0.9, weight_decay: 0.1 }).unwrap();
        let gradients = [Tensor::from_slice2(&[[0.5f32, -0.5]]), Tensor::from_slice(&[0.5f32, -0.5])];
        sgd.step(0.1, &gradients).unwrap();
        // g = 0.5 + 0.1, v = g, w = 1 - 0.1 (g + 0.9 v) = 1 - 0.19 g
        assert!((matrix.double_value(&[0, 0]) - 0.886).abs() < 1e-6);
        assert!((vector.double_value(&[0]) - 0.905).abs() < 1e-6);
        assert!((vector.double_value(&[1]) - 1.095).abs() < 1e-6);
        sgd.step(0.1, &gradients).unwrap();
        // v = 0.9 * 0.5 + 0.5 = 0.95, w = 0.905 - 0.1 (0.5 + 0.9 * 0.95)
        assert!((vector.double_value(&[0]) - 0.7695).abs() < 1e-6);
    }

    #[test]
    fn the_fused_step_and_libtorchs_operations_agree() {
        let run = |contiguous: bool| {
            let variables = VarStore::new(Device::Cpu);
            let start = Tensor::arange(12, (Kind::Float, Device::Cpu)).view([3, 4]) * 0.1;
            // A transposed variable is not contiguous, and takes the other path.
            let start = if contiguous { start } else { start.transpose(0, 1).contiguous().transpose(0, 1) };
            let variable = variables.root().add("w", start, true);
            assert_eq!(variable.is_contiguous(), contiguous);
            let mut sgd = Sgd::new(&variables, Config::default()).unwrap();
            for i in 0..3 {
                sgd.step(0.05, &[(Tensor::arange(12, (Kind::Float, Device::Cpu)) * (i as f64 - 0.7)).view([3, 4])])
                    .unwrap();
            }
            variable.detach().copy()
        };
        let difference = (run(true) - run(false)).abs().max().double_value(&[]);
        assert!(difference < 1e-6, "{difference}");
    }
}
