"""Writes prdc.json beside itself: precision, recall, density and coverage by the published definitions, pair by pair in numpy;
precision and recall are checked against torch-fidelity's too.

python tests/golden/prdc.py      (numpy, torch-fidelity 0.4)
"""

import json
import pathlib

import numpy as np
import torch
from formula import uniform
from torch_fidelity.metric_prc import calculate_precision_recall_full


def features(name, rows, dims):
    return uniform(name, rows * dims).reshape(rows, dims).astype(np.float32)


def distances(a, b):
    return np.sqrt(((a[:, None].astype(np.float64) - b[None].astype(np.float64)) ** 2).sum(2))


def prdc(real, fake, k):
    real_radius = np.sort(distances(real, real), 1)[:, k]
    fake_radius = np.sort(distances(fake, fake), 1)[:, k]
    d = distances(real, fake)
    return dict(
        precision=(d <= real_radius[:, None]).any(0).mean(),
        recall=(d <= fake_radius[None]).any(1).mean(),
        density=(d < real_radius[:, None]).sum(0).mean() / k,
        coverage=(d.min(1) < real_radius).mean(),
    )


cases = []
for real, synthetic, dims, scale, k in [
    (80, 60, 4, 0.8, 5), (80, 60, 4, 0.8, 3), (50, 90, 16, 0.7, 5), (120, 120, 2, 1.5, 1), (30, 20, 64, 1.1, 3), (200, 150, 6, 1.0, 5)
]:
    a, b = features("real", real, dims), features("synthetic", synthetic, dims) * np.float32(scale)
    found = prdc(a, b, k)
    precision, recall = calculate_precision_recall_full(torch.from_numpy(b).double(), torch.from_numpy(a).double(), k)
    assert abs(precision - found["precision"]) < 1e-6 and abs(recall - found["recall"]) < 1e-6
    cases.append(dict(real=real, synthetic=synthetic, dims=dims, scale=scale, k=k, **{n: float(v) for n, v in found.items()}))
    print(cases[-1])
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(cases, indent=1) + "\n")
