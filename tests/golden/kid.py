"""Golden Kernel Inception Distances. Run: python tests/golden/kid.py > tests/golden/kid.json

`whole` is torch-fidelity's own function with one subset as large as the sets, `mmd2` its estimator written out for
sets of different sizes. The features are those of frechet.py.
"""
import json

import numpy as np
import torch
import torch_fidelity
from frechet_features import features
from torch_fidelity.metric_kid import kid_features_to_metric


def mmd2(x, y):
    k = lambda a, b: (a @ b.T / a.shape[1] + 1) ** 3
    n, m = len(x), len(y)
    xx, yy, xy = k(x, x), k(y, y), k(x, y)
    return float((xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1)) - 2 * xy.mean())


def jackknife(x, y):
    total = 0
    for without in ([mmd2(np.delete(x, i, 0), y) for i in range(len(x))],
                    [mmd2(x, np.delete(y, i, 0)) for i in range(len(y))]):
        total += (len(without) - 1) / len(without) * np.square(np.array(without) - np.mean(without)).sum()
    return float(np.sqrt(total))


cases = []
for n, m, dims in [(40, 40, 8), (100, 100, 32), (50, 20, 16), (2, 3, 4), (3, 3, 4)]:
    x, y = (features(rows, dims, seed).astype(np.float64) for rows, seed in ((n, 1), (m, 2)))
    whole = None
    if n == m:
        whole = kid_features_to_metric(torch.from_numpy(x), torch.from_numpy(y), kid_subsets=1, kid_subset_size=n,
                                       verbose=False, rng_seed=0)["kernel_inception_distance_mean"]
    cases.append(dict(n=[n, m], dims=dims, whole=whole, mmd2=mmd2(x, y), std=jackknife(x, y) if n > 2 else None))
x, y = (features(rows, 12, seed).astype(np.float64) for rows, seed in ((300, 1), (260, 2)))
subsets = kid_features_to_metric(torch.from_numpy(x), torch.from_numpy(y), kid_subsets=2000, kid_subset_size=100,
                                 verbose=False, rng_seed=0)
print(json.dumps(dict(source=f"torch-fidelity {torch_fidelity.__version__}", cases=cases, subsets=dict(
    n=[300, 260], dims=12, size=100, subsets=2000, mean=float(subsets["kernel_inception_distance_mean"]),
    std=float(subsets["kernel_inception_distance_std"]))), indent=1))
