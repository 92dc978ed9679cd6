//! SGD with Nesterov momentum and AdamW over the trainable variables of a store, as `torch.optim` computes them, each variable at
//! its own multiple of the learning rate, with a state that can be kept. Knows no network: variables and gradients by position.

use rayon::prelude::*;
use tch::nn::VarStore;
use tch::{Device, Kind, Tensor};

use super::weights::Named;
use super::{TensorContext, slices};
use crate::error::{Error, Result};

/// The optimiser's constants.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Config {
    pub rule: Rule,
    /// Times the variable: added to the gradient (SGD), or taken off a step, times the learning rate (AdamW). Only for
    /// variables of two or more dimensions, so that neither batch norms nor biases decay.
    pub weight_decay: f64,
}

/// How a gradient becomes a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Stochastic gradient descent; momentum in [0, 1), Nesterov's look-ahead is always on.
    Sgd { momentum: f64 },
    /// Loshchilov and Hutter (2019), algorithm 2.
    AdamW { beta1: f64, beta2: f64, eps: f64 },
}

impl Rule {
    /// AdamW with torch's constants.
    pub const ADAMW: Rule = Rule::AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8 };
}

impl Default for Config {
    fn default() -> Config {
        Config { rule: Rule::Sgd { momentum: 0.9 }, weight_decay: 5e-4 }
    }
}

/// Variables under optimisation, in the order of their names.
pub struct Optimiser {
    rule: Rule,
    slots: Vec<Slot>,
    steps: i64,
}

struct Slot {
    name: String,
    variable: Tensor,
    /// Velocity, or the running mean of the gradients.
    first: Tensor,
    /// Running mean of the gradients' squares (AdamW).
    second: Option<Tensor>,
    decay: f64,
    /// Times the learning rate.
    scale: f64,
}

/// Floats that one task of the CPU path updates.
const CHUNK: usize = 1 << 16;

impl Optimiser {
    /// Optimises every trainable variable of the store, which stay fp32, at `scale` of its name times the learning rate.
    pub fn new(variables: &VarStore, config: Config, scale: impl Fn(&str) -> f64) -> Result<Optimiser> {
        let mut named: Vec<(String, Tensor)> =
            variables.variables().into_iter().filter(|(_, variable)| variable.requires_grad()).collect();
        named.sort_by(|a, b| a.0.cmp(&b.0));
        let zeros = |variable: &Tensor| variable.detach().f_zeros_like().doing("make the optimiser's state");
        let mut slots = Vec::with_capacity(named.len());
        for (name, variable) in named {
            let first = zeros(&variable)?;
            let second = matches!(config.rule, Rule::AdamW { .. }).then(|| zeros(&variable)).transpose()?;
            let decay = if variable.dim() >= 2 { config.weight_decay } else { 0.0 };
            let scale = scale(&name);
            slots.push(Slot { name, variable, first, second, decay, scale });
        }
        Ok(Optimiser { rule: config.rule, slots, steps: 0 })
    }

    /// The variables, in the order that [`Optimiser::step`] wants the gradients in.
    pub fn variables(&self) -> Vec<&Tensor> {
        self.slots.iter().map(|slot| &slot.variable).collect()
    }

    /// One step. SGD: `v = momentum v + g`, `w -= rate (g + momentum v)` with `g` the gradient plus decay.
    pub fn step(&mut self, rate: f64, gradients: &[Tensor]) -> Result<()> {
        if gradients.len() != self.slots.len() {
            let (found, wanted) = (gradients.len(), self.slots.len());
            return Err(Error::input(format!("{found} gradients for {wanted} variables")));
        }
        self.steps += 1;
        tch::no_grad(|| {
            for (slot, gradient) in self.slots.iter_mut().zip(gradients) {
                slot.step(rate * slot.scale, self.rule, self.steps, gradient)?;
            }
            Ok(())
        })
    }

    /// What the optimiser remembers, by variable name; the count of steps as `steps`.
    pub fn state(&self) -> Named {
        let mut state = Named::from([("steps".to_string(), Tensor::from_slice(&[self.steps]))]);
        for slot in &self.slots {
            state.insert(format!("first.{}", slot.name), slot.first.shallow_clone());
            if let Some(second) = &slot.second {
                state.insert(format!("second.{}", slot.name), second.shallow_clone());
            }
        }
        state
    }

    /// Goes on from an [`Optimiser::state`].
    ///
    /// # Errors
    /// [`Error::Input`] if it is the state of other variables.
    pub fn restore(&mut self, state: &Named) -> Result<()> {
        let own = self.state();
        let fits = state.len() == own.len()
            && own.iter().all(|(name, t)| state.get(name).is_some_and(|found| found.size() == t.size()));
        if !fits {
            return Err(Error::input("the optimiser's state is that of another network"));
        }
        for (name, mut tensor) in own {
            tensor.f_copy_(&state[&name]).doing("restore the optimiser")?;
            if name == "steps" {
                self.steps = tensor.int64_value(&[0]);
            }
        }
        Ok(())
    }
}

/// Constants of one step of AdamW.
#[derive(Clone, Copy)]
struct Adam {
    rate: f64,
    beta1: f64,
    beta2: f64,
    eps: f64,
    correct1: f64,
    correct2: f64,
}

impl Slot {
    fn step(&mut self, rate: f64, rule: Rule, steps: i64, gradient: &Tensor) -> Result<()> {
        let fused = self.variable.device() == Device::Cpu && slices::dense(&self.variable);
        match rule {
            Rule::Sgd { momentum } if fused => self.sgd_fused(rate as f32, momentum as f32, gradient),
            Rule::Sgd { momentum } => {
                let mut update = || {
                    let gradient = gradient.f_to_kind(Kind::Float)?.f_add(&self.variable.f_mul_scalar(self.decay)?)?;
                    self.first = self.first.f_mul_scalar_(momentum)?.f_add_(&gradient)?;
                    let change = gradient.f_add(&self.first.f_mul_scalar(momentum)?)?.f_mul_scalar_(-rate)?;
                    self.variable.f_add_(&change)
                };
                update().map(|_| ()).doing("take an optimiser step")
            }
            Rule::AdamW { beta1, beta2, eps } => {
                let correct = |beta: f64| 1.0 - beta.powi(steps as i32);
                let (correct1, correct2) = (correct(beta1), correct(beta2));
                let adam = Adam { rate, beta1, beta2, eps, correct1, correct2 };
                if fused { self.adamw_fused(adam, gradient) } else { self.adamw(adam, gradient) }
            }
        }
    }

    fn adamw(&mut self, adam: Adam, gradient: &Tensor) -> Result<()> {
        let Some(second) = &mut self.second else { return Err(Error::input("the optimiser has no second moments")) };
        let mut update = || {
            let gradient = gradient.f_to_kind(Kind::Float)?;
            let _ = self.first.f_lerp_(&gradient, 1.0 - adam.beta1)?;
            let root = gradient.f_mul_scalar((1.0 - adam.beta2).sqrt())?;
            let _ = second.f_mul_scalar_(adam.beta2)?.f_addcmul_(&root, &root)?;
            let mut low = second.f_sqrt()?.f_mul_scalar_(1.0 / adam.correct2.sqrt())?;
            let low = low.f_add_scalar_(adam.eps)?;
            let change = self.first.f_div(&low)?.f_mul_scalar_(adam.rate / adam.correct1)?;
            self.variable.f_mul_scalar_(1.0 - adam.rate * self.decay)?.f_sub_(&change)
        };
        update().map(|_| ()).doing("take an optimiser step")
    }

    /// The gradient in fp32 and in the variable's order in memory.
    fn alike(&self, gradient: &Tensor) -> Result<Tensor> {
        let make = || {
            let gradient = gradient.f_to_kind(Kind::Float)?;
            if gradient.stride() == self.variable.stride() {
                return Ok(gradient);
            }
            let mut ordered = self.variable.detach().f_empty_like()?;
            ordered.f_copy_(&gradient)?;
            Ok(ordered)
        };
        make().doing("read a gradient")
    }

    /// The same in one pass over memory, which bounds small networks' steps on a CPU.
    fn sgd_fused(&mut self, rate: f32, momentum: f32, gradient: &Tensor) -> Result<()> {
        let gradient = self.alike(gradient)?;
        let decay = self.decay as f32;
        // SAFETY: three distinct dense fp32 CPU tensors of one layout, alive and unshared during this call.
        let (variable, velocity, gradient) =
            unsafe { (slices::of_mut(&self.variable), slices::of_mut(&self.first), slices::of(&gradient)) };
        let update = |((w, v), g): ((&mut [f32], &mut [f32]), &[f32])| {
            for ((w, v), g) in w.iter_mut().zip(v).zip(g) {
                let g = g + decay * *w;
                *v = momentum * *v + g;
                *w -= rate * (g + momentum * *v);
            }
        };
        if variable.len() <= CHUNK {
            update(((variable, velocity), gradient));
            return Ok(());
        }
        let chunks = variable.par_chunks_mut(CHUNK).zip(velocity.par_chunks_mut(CHUNK));
        chunks.zip(gradient.par_chunks(CHUNK)).for_each(update);
        Ok(())
    }

    fn adamw_fused(&mut self, adam: Adam, gradient: &Tensor) -> Result<()> {
        let gradient = self.alike(gradient)?;
        let Some(second) = &self.second else { return Err(Error::input("the optimiser has no second moments")) };
        let (beta1, beta2, eps) = (adam.beta1 as f32, adam.beta2 as f32, adam.eps as f32);
        let shrink = (1.0 - adam.rate * self.decay) as f32;
        let (step, root) = ((adam.rate / adam.correct1) as f32, (1.0 / adam.correct2.sqrt()) as f32);
        // SAFETY: four distinct dense fp32 CPU tensors of one layout, alive and unshared during this call.
        let (variable, mean, square, gradient) = unsafe {
            (slices::of_mut(&self.variable), slices::of_mut(&self.first), slices::of_mut(second), slices::of(&gradient))
        };
        let update = |(((w, m), v), g): Chunk<'_>| {
            for (((w, m), v), g) in w.iter_mut().zip(m).zip(v).zip(g) {
                *m += (1.0 - beta1) * (g - *m);
                *v = beta2 * *v + (1.0 - beta2) * g * g;
                *w = shrink * *w - step * *m / (v.sqrt() * root + eps);
            }
        };
        let chunks = variable.par_chunks_mut(CHUNK).zip(mean.par_chunks_mut(CHUNK)).zip(square.par_chunks_mut(CHUNK));
        chunks.zip(gradient.par_chunks(CHUNK)).for_each(update);
        Ok(())
    }
}

/// A piece of a variable, of its two moments and of its gradient, as iterators bring them.
type Chunk<'c> = (((&'c mut [f32], &'c mut [f32]), &'c mut [f32]), &'c [f32]);

#[cfg(test)]
mod tests {
    use super::*;
    use tch::nn::Init;

    const SGD: Rule = Rule::Sgd { momentum: 0.9 };

    #[test]
    fn two_steps_equal_the_formula_and_only_matrices_decay() {
        let variables = VarStore::new(Device::Cpu);
        let root = variables.root();
        let matrix = root.var("a", &[1, 2], Init::Const(1.0));
        let vector = root.var("b", &[2], Init::Const(1.0));
        let mut sgd = Optimiser::new(&variables, Config { rule: SGD, weight_decay: 0.1 }, |_| 1.0).unwrap();
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

    #[derive(serde::Deserialize)]
    struct Golden {
        optimised: std::collections::BTreeMap<String, Vec<Vec<f64>>>,
    }

    #[test]
    fn three_steps_of_either_rule_are_torchs_in_every_layout_and_after_a_pause() {
        let golden: Golden = serde_json::from_str(include_str!("../../tests/golden/vary.json")).unwrap();
        for (name, rule) in [("sgd", SGD), ("adamw", Rule::ADAMW)] {
            for transposed in [false, true] {
                let variables = VarStore::new(Device::Cpu);
                let start = Tensor::from_slice2(&[[1.0f32, -2.0], [0.5, 3.0]]);
                // A transposed variable is not dense in either order, and takes the path of libtorch's operations.
                let start = if transposed { start.transpose(0, 1).contiguous().transpose(0, 1) } else { start };
                let variable = variables.root().add("w", start, true);
                assert_eq!(slices::dense(&variable), !transposed);
                let new = || Optimiser::new(&variables, Config { rule, weight_decay: 0.05 }, |_| 1.0).unwrap();
                let mut optimiser = new();
                for (i, wanted) in golden.optimised[name].iter().enumerate() {
                    let state: Named = optimiser.state().into_iter().map(|(n, t)| (n, t.copy())).collect();
                    optimiser = new();
                    optimiser.restore(&state).unwrap();
                    let gradient = Tensor::from_slice2(&[[0.5f32, -0.25], [1.0, 0.0]]) * (i as f64 + 1.0);
                    optimiser.step(0.1, &[gradient]).unwrap();
                    let found = Vec::<f32>::try_from(variable.detach().contiguous().view([-1])).unwrap();
                    for (found, wanted) in found.iter().zip(wanted) {
                        assert!((f64::from(*found) - wanted).abs() < 1e-5, "{name} {i}: {found} {wanted}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_gradient_of_another_layout_and_a_scaled_rate_are_honoured() {
        let shape = [2, 3, 2, 2];
        let run = |last: bool, scale: f64| {
            let variables = VarStore::new(Device::Cpu);
            let start = Tensor::arange(24, (Kind::Float, Device::Cpu)).view(shape) * 0.1;
            let channels_last = |t: &Tensor| t.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);
            let start = if last { channels_last(&start) } else { start };
            let variable = variables.root().add("w", start, true);
            let mut sgd = Optimiser::new(&variables, Config::default(), |_| scale).unwrap();
            let gradient = (Tensor::arange(24, (Kind::Float, Device::Cpu)) * 0.3).view(shape);
            sgd.step(0.05, &[gradient]).unwrap();
            variable.detach().contiguous().copy()
        };
        assert_eq!(run(true, 1.0), run(false, 1.0));
        let before = Tensor::arange(24, (Kind::Float, Device::Cpu)).view(shape) * 0.1;
        let halved = (run(false, 1.0) - &before) * 0.5 - (run(false, 0.5) - &before);
        assert!(halved.abs().max().double_value(&[]) < 1e-6);
    }
}
