//! Fits and applies classifiers. Knows no recipe, plan or store: takes plain values.
