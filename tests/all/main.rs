//! Everything that is tested from outside the library, in one binary: tests assert all that the user sees.

mod layers;
