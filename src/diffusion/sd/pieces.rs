//! Ways to run a network piece by piece: straight on, or so that what happens inside a piece is not kept for the way back but
//! computed again there (Chen et al. 2016): less memory, a third more time. Knows no network.

use tch::{Kind, TchError, Tensor};

use super::layers::Out;

/// A part of a network as a function of its inputs; any weights in it are its own.
pub type Piece<'n> = Box<dyn Fn(&[Tensor]) -> Out + 'n>;

/// Runs pieces one after the other.
pub trait Pieces<'n> {
    /// The piece's output for these inputs.
    ///
    /// # Errors
    /// What libtorch says.
    fn run(&mut self, inputs: Vec<Tensor>, piece: Piece<'n>) -> Out;
}

/// Keeps what autograd keeps.
pub struct Straight;

impl<'n> Pieces<'n> for Straight {
    fn run(&mut self, inputs: Vec<Tensor>, piece: Piece<'n>) -> Out {
        piece(&inputs)
    }
}

/// Keeps the pieces' inputs and outputs alone. Every output begins a graph of its own, in which gradients gather until
/// [`Tape::backward`] takes them through the piece.
#[derive(Default)]
pub struct Tape<'n>(Vec<Ran<'n>>);

struct Ran<'n> {
    inputs: Vec<Tensor>,
    piece: Piece<'n>,
    output: Tensor,
}

impl<'n> Pieces<'n> for Tape<'n> {
    fn run(&mut self, inputs: Vec<Tensor>, piece: Piece<'n>) -> Out {
        let output = tch::no_grad(|| piece(&inputs))?.f_detach()?.set_requires_grad(true);
        self.0.push(Ran { inputs, piece, output: output.shallow_clone() });
        Ok(output)
    }
}

impl Tape<'_> {
    /// Takes the gradients of the last outputs back to the leaves, last piece first. Inputs must be leaves or outputs of
    /// earlier pieces.
    ///
    /// # Errors
    /// What libtorch says, most often for want of memory.
    pub fn backward(mut self) -> Result<(), TchError> {
        while let Some(Ran { inputs, piece, output }) = self.0.pop() {
            let gradient = output.f_grad()?;
            drop(output);
            if gradient.defined() {
                push_back(&piece(&inputs)?, &gradient)?;
            }
        }
        Ok(())
    }
}

/// Backward from an output whose gradient is known.
///
/// # Errors
/// What libtorch says.
pub fn push_back(output: &Tensor, gradient: &Tensor) -> Result<(), TchError> {
    // The product's derivative is the gradient itself, bit for bit.
    if output.requires_grad() { output.f_mul(gradient)?.f_sum(Kind::Float)?.f_backward() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn gradients_by_computing_again_are_those_of_a_straight_run() {
        let leaf = || Tensor::arange(12, (Kind::Float, Device::Cpu)).sin().view([3, 4]).set_requires_grad(true);
        // Two pieces, the first one's output used twice, as skips are.
        fn network<'n>(pieces: &mut impl Pieces<'n>, weight: &'n Tensor, x: &Tensor) -> Tensor {
            let first = pieces.run(vec![x.shallow_clone()], Box::new(|x| x[0].f_mul(weight)?.f_sin())).unwrap();
            let inputs = vec![first.shallow_clone(), first];
            let second = Box::new(|x: &[Tensor]| x[0].f_exp()?.f_mul(&x[1])?.f_mul(weight));
            pieces.run(inputs, second).unwrap().square().sum(Kind::Float)
        }
        let (weight, x) = (leaf(), leaf());
        network(&mut Straight, &weight, &x).backward();
        let (again, y) = (leaf(), leaf());
        let mut tape = Tape::default();
        network(&mut tape, &again, &y).backward();
        tape.backward().unwrap();
        assert!(weight.grad().abs().max().double_value(&[]) > 0.1);
        assert_eq!(weight.grad(), again.grad());
        assert_eq!(x.grad(), y.grad());
    }
}
