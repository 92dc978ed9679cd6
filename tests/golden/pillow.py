"""Writes pillow.json beside itself: small JPEGs of every kind of chroma, and a hash of what Pillow reads.

python tests/golden/pillow.py      (Pillow on libjpeg-turbo)
"""

import io
import json
import pathlib

import numpy as np
from formula import uniform
from PIL import Image

cases = []
for name, options in {
    "4:2:0": dict(quality=75), "4:2:2": dict(quality=90, subsampling=1), "4:4:4": dict(quality=95, subsampling=0),
    "progressive": dict(quality=60, progressive=True), "grey": dict(quality=80), "odd": dict(quality=85),
}.items():
    height, width = (33, 21) if name == "odd" else (24, 32)
    image = (uniform(name, height * width * 3).reshape(height, width, 3) * 60 + 128).astype(np.uint8)
    image[4:12, 3:15] = [200, 40, 90]
    image = Image.fromarray(image).convert("L" if name == "grey" else "RGB")
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    value = 0
    for v in np.asarray(Image.open(file).convert("RGB")).flatten().tolist():
        value = (value * 31 + v) % 2**64
    cases.append(dict(name=name, hash=str(value), hex=file.getvalue().hex()))
pathlib.Path(__file__).with_suffix(".json").write_text("[\n" + ",\n".join(map(json.dumps, cases)) + "\n]\n")
