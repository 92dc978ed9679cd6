"""Golden statistics from scipy and torchmetrics. Run: python tests/golden/stats.py > tests/golden/stats.json"""
import json

import numpy as np
import scipy
import torch
import torchmetrics
from scipy import stats
from scipy.stats._resampling import _bca_interval
from torchmetrics.functional.classification import multiclass_calibration_error

rng = np.random.default_rng(7)

student = []
for degrees in (1, 2, 2.5, 4, 8.3, 30, 400):
    for p in (0.6, 0.9, 0.975, 0.999):
        student.append([p, degrees, float(stats.t.ppf(p, degrees))])

sign_flip = []
for differences in ([1.0, 2.0, -0.5], [0.25, 0.25, -0.25, 0.5, 0.0, 1.0, -0.75], rng.normal(0.4, 1, 10).tolist(),
                    rng.integers(-1, 2, 13).astype(float).tolist()):
    found = stats.permutation_test((np.array(differences),), np.sum, permutation_type="samples", n_resamples=np.inf)
    sign_flip.append(dict(differences=differences, p=float(found.pvalue)))

bca = []
for name, n in (("mean", 12), ("std", 25), ("mean", 40)):
    data = np.round(rng.exponential(2.0, n), 4)
    statistic = np.mean if name == "mean" else lambda x, axis: np.std(x, axis=axis, ddof=1)
    resampled = np.round(statistic(rng.choice(data, (150, n)), axis=1), 5)
    low, high, acceleration = _bca_interval((data,), statistic, axis=-1, alpha=0.05, theta_hat_b=resampled, batch=None,
                                            xp=np)
    whole = stats.bootstrap((data,), statistic, confidence_level=0.9, n_resamples=20000, method="BCa", rng=1)
    bca.append(dict(statistic=name, data=data.tolist(), resampled=resampled.tolist(), acceleration=float(acceleration),
                    levels=[float(low), float(high)],
                    interval=[float(whole.confidence_interval.low), float(whole.confidence_interval.high)]))

confidences = np.round(rng.uniform(0.2, 1, 60), 3)
right = rng.uniform(size=60) < confidences * 0.9
# Six classes, of which the first is always predicted with the confidence given.
probabilities = np.zeros((60, 6))
probabilities[:, 0] = confidences
probabilities[:, 1:] = ((1 - confidences) / 5)[:, None]
assert (probabilities.argmax(1) == 0).all()
ece = multiclass_calibration_error(torch.tensor(probabilities), torch.tensor(np.where(right, 0, 1)), num_classes=6,
                                   n_bins=15, norm="l1")

print(json.dumps(dict(
    source=f"scipy {scipy.__version__}, torchmetrics {torchmetrics.__version__}",
    normal_cdf=[[x, float(stats.norm.cdf(x))] for x in (-9.0, -3.1, -1.0, 0.0, 0.3, 1.96, 5.0)],
    normal_quantile=[[p, float(stats.norm.ppf(p))] for p in (1e-20, 1e-6, 0.01, 0.2, 0.5, 0.8, 0.975, 1 - 1e-9)],
    student=student,
    binomial=[[k, n, float(stats.binomtest(k, n).pvalue)] for k, n in
              ((0, 1), (0, 6), (1, 6), (3, 6), (7, 20), (13, 20), (180, 400), (30, 200))],
    sign_flip=sign_flip, bca=bca,
    calibration=dict(confidences=confidences.tolist(), right=[bool(r) for r in right], ece=float(ece)),
)))
