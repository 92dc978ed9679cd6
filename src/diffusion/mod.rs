//! Generators of images from noise. Knows no recipe, plan or store: takes plain values.
