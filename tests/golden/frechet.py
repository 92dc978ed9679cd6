"""Golden Frechet distances. Run: python tests/golden/frechet.py > tests/golden/frechet.json

`sqrtm` is clean-fid's and pytorch-fid's formula (scipy.linalg.sqrtm), `eigenvalues` torch-fidelity's own function.
"""
import json

import numpy as np
import scipy
import torch
import torch_fidelity
from frechet_features import features
from scipy.linalg import sqrtm
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric


def fid_sqrtm(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = sqrtm(s1 @ s2)
    d = a.mean(0) - b.mean(0)
    return float(d @ d + np.trace(s1) + np.trace(s2) - 2 * np.trace(root).real)


cases = []
for rows_a, rows_b, dims in [(50, 40, 5), (200, 300, 16), (30, 12, 24), (100, 12, 24), (12, 100, 24), (2, 2, 8)]:
    a, b = features(rows_a, dims, 1), features(rows_b, dims, 2)
    stats = [fid_features_to_statistics(torch.from_numpy(x).double()) for x in (a, b)]
    full = min(rows_a, rows_b) > dims
    cases.append(dict(rows=[rows_a, rows_b], dims=dims, sqrtm=fid_sqrtm(a, b) if full else None,
                      eigenvalues=fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]))
print(json.dumps(dict(source=f"scipy {scipy.__version__}, torch-fidelity {torch_fidelity.__version__}", cases=cases),
                 indent=1))
