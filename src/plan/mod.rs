//! What must happen: how many images are wanted, which candidates stand for them, the keys of all work, and what is
//! kept. Touches no disk and no tensor.

pub mod balance;
pub mod candidate;
pub mod compare;
pub mod dose;
pub mod inputs;
pub mod key;
pub mod pattern;
pub mod select;
pub mod step;

pub use inputs::ENGINE;
pub use key::{Inputs, Key, Value};
pub use pattern::Pattern;
pub use step::{State, Step};
