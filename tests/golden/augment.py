"""Writes augment.json beside itself: torchvision's RandomResizedCrop by its statistics, and its antialiased bilinear resize.

python tests/golden/augment.py      (torchvision 0.26, Pillow)
"""

import json
import math
import pathlib

import numpy as np
import torch
from PIL import Image
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as F

torch.manual_seed(0)


def photo(width, height):
    """Waves, an edge, and a fine pattern: integers only, so that Rust draws the same bytes."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    red = (x * x * 3 + y * 7) % 256
    green = np.where(x * 2 > y * 3, 220, 30)
    blue = ((x * 13) ^ (y * 29)) % 256
    return Image.fromarray(np.stack([red, green, blue], -1).astype(np.uint8))


def resized(width, height, rect, to):
    left, top, crop_width, crop_height = rect
    image = photo(width, height)
    view = F.resized_crop(image, top, left, crop_height, crop_width, [to[1], to[0]], antialias=True)
    return {"photo": [width, height], "rect": rect, "to": to, "pixels": np.asarray(view).flatten().tolist()}


def drawn(width, height, scale):
    ratio = (3 / 4, 4 / 3)
    image = torch.empty(3, height, width)
    rows = [RandomResizedCrop.get_params(image, scale, ratio) for _ in range(20000)]
    top, left, h, w = (np.array(column, dtype=np.float64) for column in zip(*rows))
    return {
        "photo": [width, height],
        "scale": scale,
        "area": float((w * h / (width * height)).mean()),
        "log_ratio": float(np.log(w / h).mean()),
        "log_ratio_deviation": float(np.log(w / h).std()),
        "left": float(left.mean()),
        "top": float(top.mean()),
    }


whole_tall = RandomResizedCrop.get_params(torch.empty(3, 1000, 10), (0.9, 1.0), (3 / 4, 4 / 3))
whole_wide = RandomResizedCrop.get_params(torch.empty(3, 11, 1001), (0.9, 1.0), (3 / 4, 4 / 3))
out = {
    "resized": [
        resized(61, 47, [0, 0, 61, 47], [8, 8]),
        resized(61, 47, [9, 5, 40, 33], [12, 10]),
        resized(61, 47, [20, 11, 7, 6], [12, 12]),
    ],
    "drawn": [drawn(227, 227, (0.35, 1.0)), drawn(200, 120, (0.08, 1.0))],
    # left, top, width, height
    "tall": [whole_tall[1], whole_tall[0], whole_tall[3], whole_tall[2]],
    "wide": [whole_wide[1], whole_wide[0], whole_wide[3], whole_wide[2]],
}
assert math.isfinite(out["drawn"][0]["area"])
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(out) + "\n")
