"""Numbers by a formula, which src/nn/golden.rs repeats."""
import numpy as np


def uniform(name, n):
    """n numbers in [-1, 1) from a name: a multiplicative hash of each index, exact in unsigned 64-bit integers."""
    key = 0
    for byte in name.encode():
        key = (key * 131 + byte) % 2**64
    x = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(6364136223846793005) + np.uint64(key)
    x ^= x >> np.uint64(33)
    x *= np.uint64(0xFF51AFD7ED558CCD)
    x ^= x >> np.uint64(33)
    return (x >> np.uint64(11)).astype(np.float64) / 2.0**52 - 1.0
