"""Golden realism scores. Run: python tests/golden/realism.py > tests/golden/realism.json

Equation 3 of Kynkaanniemi et al. 2019 written out in numpy: radii to the k-th nearest other real image, half of the spheres
(those wider than the median) left out, the greatest ratio of radius to distance. The features are those of frechet.py.
"""
import json

import numpy as np
from frechet_features import features


def distances(a, b):
    return np.sqrt(np.square(a[:, None] - b[None]).sum(2))


def realism(real, synthetic, k):
    radii = np.sort(distances(real, real), axis=1)[:, k]
    kept = radii <= np.median(radii)
    return (radii[kept] / distances(synthetic, real[kept])).max(axis=1), np.median(radii)


cases = []
for n, m, dims, k in [(4, 3, 4, 3), (40, 12, 8, 3), (41, 12, 8, 3), (300, 20, 24, 3), (60, 10, 16, 5), (12, 6, 3, 1)]:
    scores, median = realism(*(features(rows, dims, seed).astype(np.float64) for rows, seed in ((n, 1), (m, 2))), k)
    cases.append(dict(n=[n, m], dims=dims, k=k, median=float(median), scores=[float(score) for score in scores]))
print(json.dumps(dict(source=f"numpy {np.__version__}", cases=cases), indent=1))
