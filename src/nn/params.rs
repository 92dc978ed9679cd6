//! A network's parameters as one flat fp32 buffer: initialised by name and seed, optimised in a few whole-buffer operations,
//! cast to the working precision once a step, and handed to the layers as views. Knows no layer.

use tch::{Device, Kind, TchError, Tensor};

use super::noise::Stream;
use super::weights::Named;
use crate::error::{Error, Result};

/// Parameters begin at multiples of so many values: whole cache lines in every precision.
const ALIGN: i64 = 32;

/// Which parameter of a [`Layout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param(usize);

/// How a parameter begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    Zeros,
    Ones,
    /// Normal variates of this standard deviation, from the stream of the seed and the parameter's name.
    Normal(f64),
}

struct Entry {
    name: String,
    shape: Vec<i64>,
    init: Init,
}

impl Entry {
    fn numel(&self) -> i64 {
        self.shape.iter().product()
    }

    fn padding(&self) -> i64 {
        (ALIGN - self.numel() % ALIGN) % ALIGN
    }
}

/// The names, shapes and places of a network's parameters, in the order of their making.
#[derive(Default)]
pub struct Layout(Vec<Entry>);

impl Layout {
    /// Adds a parameter.
    ///
    /// # Panics
    /// If the name is taken: two layers of one network would share it unseen.
    pub fn add(&mut self, name: String, shape: &[i64], init: Init) -> Param {
        assert!(self.0.iter().all(|entry| entry.name != name), "parameter `{name}` is made twice");
        self.0.push(Entry { name, shape: shape.to_vec(), init });
        Param(self.0.len() - 1)
    }

    /// Number of trainable values.
    pub fn parameters(&self) -> usize {
        self.0.iter().map(|entry| entry.numel() as usize).sum()
    }

    /// Length of the flat buffer: the parameters and what aligns them.
    pub fn len(&self) -> usize {
        self.0.iter().map(|entry| (entry.numel() + entry.padding()) as usize).sum()
    }

    /// Whether there is no parameter.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The flat fp32 buffer at the start of a fit, on the CPU: a function of the seed, the names and the shapes alone.
    pub fn initial(&self, seed: u64) -> Tensor {
        let mut flat = Vec::with_capacity(self.len());
        for entry in &self.0 {
            let numel = entry.numel() as usize;
            match entry.init {
                Init::Zeros => flat.extend(std::iter::repeat_n(0.0, numel)),
                Init::Ones => flat.extend(std::iter::repeat_n(1.0, numel)),
                Init::Normal(deviation) => {
                    let values = Stream::indexed(seed, &format!("init {}", entry.name), &[]).normals(numel);
                    flat.extend(values.into_iter().map(|value| (value as f64 * deviation) as f32));
                }
            }
            flat.extend(std::iter::repeat_n(0.0, entry.padding() as usize));
        }
        Tensor::from_slice(&flat)
    }

    /// The parameters inside a flat buffer, as views of it; gradients reach the buffer as one tensor.
    pub fn views(&self, flat: &Tensor) -> std::result::Result<Parameters, TchError> {
        let sizes: Vec<i64> = self.0.iter().map(|entry| entry.numel() + entry.padding()).collect();
        let pieces = flat.f_split_with_sizes(sizes.as_slice(), 0)?;
        let views = pieces.iter().zip(&self.0).map(|(piece, entry)| {
            let exact =
                if entry.padding() == 0 { piece.shallow_clone() } else { piece.f_narrow(0, 0, entry.numel())? };
            exact.f_view(entry.shape.as_slice())
        });
        Ok(Parameters(views.collect::<std::result::Result<_, _>>()?))
    }

    /// The parameters inside a flat buffer by name.
    pub fn named(&self, flat: &Tensor) -> std::result::Result<Named, TchError> {
        let views = self.views(&flat.detach())?;
        Ok(self.0.iter().zip(views.0).map(|(entry, view)| (entry.name.clone(), view)).collect())
    }

    /// The flat fp32 buffer of named parameters.
    ///
    /// # Errors
    /// [`Error::Input`] that names the first parameter missing, misshapen or unexpected in `what`.
    pub fn flat(&self, named: &Named, what: &str) -> Result<Tensor> {
        let unfit = |problem: String| {
            Error::input_help(
                format!("{what} does not fit this network: {problem}"),
                "these are weights of another network, or of other settings",
            )
        };
        if let Some(name) = named.keys().find(|name| self.0.iter().all(|entry| entry.name != **name)) {
            return Err(unfit(format!("unexpected {name}")));
        }
        let mut pieces = Vec::with_capacity(2 * self.0.len());
        for entry in &self.0 {
            let tensor = named.get(&entry.name).ok_or_else(|| unfit(format!("missing {}", entry.name)))?;
            if tensor.size() != entry.shape {
                return Err(unfit(format!("{} is {:?}, not {:?}", entry.name, tensor.size(), entry.shape)));
            }
            pieces.push(tensor.to_device(Device::Cpu).to_kind(Kind::Float).reshape([-1]));
            pieces.push(Tensor::zeros([entry.padding()], (Kind::Float, Device::Cpu)));
        }
        Ok(Tensor::cat(&pieces, 0))
    }
}

/// The parameters as the layers take them.
pub struct Parameters(Vec<Tensor>);

impl std::ops::Index<Param> for Parameters {
    type Output = Tensor;

    fn index(&self, param: Param) -> &Tensor {
        &self.0[param.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> (Layout, Param, Param) {
        let mut layout = Layout::default();
        let weight = layout.add("a.weight".into(), &[3, 5], Init::Normal(0.5));
        let bias = layout.add("a.bias".into(), &[3], Init::Ones);
        (layout, weight, bias)
    }

    #[test]
    fn initial_values_depend_on_seed_and_name_alone() {
        let (layout, ..) = layout();
        assert_eq!((layout.parameters(), layout.len()), (18, 64));
        assert_eq!(layout.initial(1), layout.initial(1));
        assert_ne!(layout.initial(1), layout.initial(2));
        let mut other = Layout::default();
        let b = other.add("b".into(), &[2], Init::Zeros);
        let weight = other.add("a.weight".into(), &[3, 5], Init::Normal(0.5));
        let flat = other.initial(1);
        let views = other.views(&flat).unwrap();
        assert_eq!(views[b], Tensor::zeros([2], (Kind::Float, Device::Cpu)));
        assert_eq!(views[weight], layout.views(&layout.initial(1)).unwrap()[Param(0)]);
    }

    #[test]
    fn gradients_of_the_views_arrive_in_the_flat_buffer() {
        let (layout, weight, bias) = layout();
        let flat = layout.initial(0).set_requires_grad(true);
        let views = layout.views(&flat).unwrap();
        (views[weight].sum(Kind::Float) * 2.0 + views[bias].sum(Kind::Float) * 3.0).backward();
        let grad = layout.views(&flat.grad()).unwrap();
        assert_eq!(grad[weight], Tensor::full([3, 5], 2.0, (Kind::Float, Device::Cpu)));
        assert_eq!(grad[bias], Tensor::full([3], 3.0, (Kind::Float, Device::Cpu)));
        assert_eq!(flat.grad().sum(Kind::Float).double_value(&[]), 39.0);
    }

    #[test]
    fn names_survive_a_round_trip_and_what_does_not_fit_is_named() {
        let (layout, ..) = layout();
        let flat = layout.initial(3);
        let mut named = layout.named(&flat).unwrap();
        assert_eq!(layout.flat(&named, "`w`").unwrap(), flat);
        named.insert("extra".into(), Tensor::from_slice(&[1f32]));
        let message = layout.flat(&named, "`w`").unwrap_err().to_string();
        assert!(message.starts_with("`w` does not fit this network: unexpected extra"), "{message}");
        named.remove("extra");
        named.insert("a.bias".into(), Tensor::from_slice(&[1f32]));
        let message = layout.flat(&named, "`w`").unwrap_err().to_string();
        assert!(message.contains("a.bias is [1], not [3]"), "{message}");
    }
}
