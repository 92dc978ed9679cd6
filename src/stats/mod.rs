//! Pure statistics in double precision. Knows no files, images or tensors.
