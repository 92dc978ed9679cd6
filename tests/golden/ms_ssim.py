"""Golden MS-SSIM values from torchmetrics. Run: python tests/golden/ms_ssim.py > tests/golden/ms_ssim.json

The images are those of tests/golden/ssim.py's formula, which src/score/ms_ssim_tests.rs repeats.
"""
import json

import numpy as np
import torch
import torchmetrics
from torchmetrics.image import MultiScaleStructuralSimilarityIndexMeasure


def image(width, height, kind):
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    smooth = (3 * x + 5 * y + 40 * c) % 256
    noise = ((x * 7919 + y * 104729 + c * 1299709) * 2654435761 % 2**32) >> 24
    waves = (x // 9 * 37 + y // 13 * 53 + c * 11) % 256
    return {
        "smooth": smooth,
        "noise": noise,
        "mixed": (3 * smooth + noise) // 4,
        "waves": waves,
        "noisy waves": (7 * waves + noise) // 8,
        "dark": smooth // 16,
        "constant": np.full_like(smooth, 200),
        "black": np.zeros_like(smooth),
        "inverse": 255 - (3 * smooth + noise) // 4,
    }[kind].astype(np.uint8)


def ms_ssim(a, b):
    batch = [torch.from_numpy(one).permute(2, 0, 1)[None].double() for one in (a, b)]
    return MultiScaleStructuralSimilarityIndexMeasure(data_range=255.0)(*batch)


cases = []
for width, height in [(176, 176), (177, 203), (224, 224), (300, 190)]:
    for a, b in [("smooth", "mixed"), ("mixed", "noise"), ("mixed", "inverse"), ("dark", "black"), ("constant", "noise"),
                 ("constant", "black"), ("smooth", "smooth"), ("waves", "noisy waves"), ("waves", "mixed")]:
        value = float(ms_ssim(image(width, height, a), image(width, height, b)))
        cases.append(dict(width=width, height=height, a=a, b=b, ms_ssim=value))
print(json.dumps(dict(source=f"torchmetrics {torchmetrics.__version__}", cases=cases), indent=1))
