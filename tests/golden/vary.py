"""Writes vary.json beside itself: every operation of torchvision's RandAugment, TrivialAugmentWide and ColorJitter on Pillow
images, the magnitudes of both policies, and mixed batches.

python tests/golden/vary.py      (torchvision 0.26, Pillow 12)
"""

import hashlib
import json
import pathlib
import unittest.mock

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode, RandAugment, TrivialAugmentWide, v2
from torchvision.transforms import functional as F
from torchvision.transforms.autoaugment import _apply_op


def photo(width, height):
    """The same bytes as `photo` of augment.py."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    red = (x * x * 3 + y * 7) % 256
    green = np.where(x * 2 > y * 3, 220, 30)
    blue = ((x * 13) ^ (y * 29)) % 256
    return Image.fromarray(np.stack([red, green, blue], -1).astype(np.uint8))


def soft(width, height):
    """Slow waves with few values, for tables that depend on a histogram."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    return Image.fromarray(np.stack([40 + (x * 2 + y) % 97, 90 + (x + y * 3) % 31, 10 + (x * y) % 200], -1).astype(np.uint8))


def said(image):
    """SHA-256 of the bytes, and the first of them to look at."""
    data = np.asarray(image).tobytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "first": list(data[:24])}


cases = []
for name, image in [("photo", photo(31, 31)), ("photo", photo(64, 48)), ("soft", soft(40, 40))]:
    for op, magnitudes in {
        "ShearX": [0.09, -0.3, 0.99],
        "ShearY": [0.09, -0.3, 0.99],
        "TranslateX": [4.2, -7.9, 0.0],
        "TranslateY": [4.2, -7.9, 30.0],
        "Rotate": [9.0, -30.0, 135.0, 90.0, -90.0, 0.0, 3.3],
        "Brightness": [0.27, -0.9, 0.99, 0.0],
        "Color": [0.27, -0.9, 0.99],
        "Contrast": [0.27, -0.9, 0.99],
        "Sharpness": [0.27, -0.9, 0.99],
        "Posterize": [8, 7, 4, 2],
        "Solarize": [255.0, 178.5, 0.0],
        "AutoContrast": [0.0],
        "Equalize": [0.0],
    }.items():
        for magnitude in magnitudes:
            out = _apply_op(image, op, magnitude, InterpolationMode.NEAREST, None)
            cases.append({"image": name, "size": list(image.size), "op": op, "magnitude": magnitude, **said(out)})
    for turn in [0.1, -0.5, 0.5, -0.03]:
        cases.append({"image": name, "size": list(image.size), "op": "Hue", "magnitude": turn, **said(F.adjust_hue(image, turn))})
# Every eighth value of each channel.
cube = np.stack(np.meshgrid(np.arange(0, 256, 5), np.arange(0, 256, 5), np.arange(0, 256, 5), indexing="ij"), -1).reshape(52, -1, 3)
cases.append({"image": "cube", "size": [cube.shape[1], 52], "op": "Hue", "magnitude": 0.2, **said(F.adjust_hue(Image.fromarray(cube.astype(np.uint8)), 0.2))})


def space(policy, *size):
    return {op: ([float(m) for m in magnitudes.flatten()], signed) for op, (magnitudes, signed) in policy._augmentation_space(31, *size).items()}


torch.manual_seed(0)
x = torch.arange(4 * 3 * 6 * 5, dtype=torch.float32).reshape(4, 3, 6, 5).sin()
mixed = v2.MixUp(num_classes=3).transform(x, {"lam": 0.3, "labels": None, "batch_size": 4}).flatten().tolist()
boxes = []
for column, row, lam, width, height in [(3, 2, 0.3, 5, 6), (0, 0, 0.5, 64, 64), (60, 10, 0.9, 64, 32), (5, 5, 1.0, 8, 8)]:
    cutmix = v2.CutMix(num_classes=3)
    cutmix._dist.sample = lambda shape, lam=lam: torch.tensor(lam, dtype=torch.float64)
    with unittest.mock.patch("torch.randint", side_effect=[torch.tensor([column]), torch.tensor([row])]):
        drawn = cutmix.make_params([v2.functional.to_image(torch.zeros(3, height, width))])
    boxes.append({"at": [column, row], "share": lam, "size": [width, height], "box": [int(v) for v in drawn["box"]], "kept": drawn["lam_adjusted"]})

logits = torch.tensor([[0.3, -1.0, 2.0], [1.0, 0.5, -0.2], [0.0, 0.1, 0.2], [2.0, -2.0, 0.4]])
labels = torch.tensor([2, 0, 1, 1])
hot = torch.nn.functional.one_hot(labels, 3).float()
soft_targets = hot.roll(1, 0) * (1 - 0.3) + hot * 0.3
losses = {
    "plain": torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1).item(),
    "mixed": torch.nn.functional.cross_entropy(logits, soft_targets, label_smoothing=0.1).item(),
}

# Two steps of each optimiser and their variables.
optimised = {}
for name in ["sgd", "adamw"]:
    w = torch.nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 3.0]]))
    if name == "sgd":
        optimiser = torch.optim.SGD([w], lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.05)
    else:
        optimiser = torch.optim.AdamW([w], lr=0.1, weight_decay=0.05)
    rows = []
    for i in range(3):
        w.grad = torch.tensor([[0.5, -0.25], [1.0, 0.0]]) * (i + 1)
        optimiser.step()
        rows.append(w.detach().flatten().tolist())
    optimised[name] = rows

out = {
    "cases": cases,
    "randaug": space(RandAugment(), (48, 64)),
    "trivialaug": space(TrivialAugmentWide()),
    "mixed": mixed,
    "boxes": boxes,
    "losses": losses,
    "optimised": optimised,
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(out) + "\n")
