"""Golden SSIM values from scikit-image. Run: python tests/golden/ssim.py > tests/golden/ssim.json

The images are made by the integer formula below, which src/score/ssim_tests.rs repeats.
"""
import json

import numpy as np
import skimage
from skimage.metrics import structural_similarity


def image(width, height, kind):
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    smooth = (3 * x + 5 * y + 40 * c) % 256
    noise = ((x * 7919 + y * 104729 + c * 1299709) * 2654435761 % 2**32) >> 24
    return {
        "smooth": smooth,
        "noise": noise,
        "mixed": (3 * smooth + noise) // 4,
        "dark": smooth // 16,
        "constant": np.full_like(smooth, 200),
        "black": np.zeros_like(smooth),
        "inverse": 255 - (3 * smooth + noise) // 4,
    }[kind].astype(np.uint8)


def ssim(a, b):
    return structural_similarity(
        a, b, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255)


cases = []
for width, height in [(11, 11), (12, 31), (64, 64), (101, 47)]:
    for a, b in [("smooth", "mixed"), ("mixed", "noise"), ("mixed", "inverse"), ("dark", "black"), ("constant", "noise"),
                 ("constant", "black"), ("smooth", "smooth")]:
        cases.append(dict(width=width, height=height, a=a, b=b,
                          ssim=float(ssim(image(width, height, a), image(width, height, b)))))
print(json.dumps(dict(source=f"scikit-image {skimage.__version__}", cases=cases), indent=1))
