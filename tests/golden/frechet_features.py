"""Features by an integer formula, which src/score/golden.rs repeats."""
import numpy as np


def features(rows, dims, seed):
    i, j = np.meshgrid(np.arange(rows), np.arange(dims), indexing="ij")
    noise = ((i * 7919 + j * 104729 + seed * 1299709) * 2654435761 % 2**32) / 2**32
    return (noise * (1 + j / dims) + 0.1 * seed * (j % 3)).astype(np.float32)
