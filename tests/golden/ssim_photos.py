"""SSIM of real photos, birdaug's against scikit-image's; prints the largest difference.

    python tests/golden/ssim_photos.py DATASET

needs scikit-image and Pillow, and runs `cargo test` on PNGs that Pillow decoded, so that decoders make no difference.
"""
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image
from skimage.metrics import structural_similarity

files = sorted(pathlib.Path(sys.argv[1]).rglob("*.jpg"))
photos = [Image.open(file).convert("RGB") for file in files[:: max(1, len(files) // 40)]]
photos = [photo.resize((224, 224), Image.BICUBIC) for photo in photos]
# Near pairs too: each photo beside itself, re-encoded.
with tempfile.TemporaryDirectory() as folder:
    shown = []
    for photo in photos:
        photo.save(f"{folder}/a.jpg", quality=50)
        shown += [photo, Image.open(f"{folder}/a.jpg").convert("RGB")]
    os.remove(f"{folder}/a.jpg")
    for i, photo in enumerate(shown):
        photo.save(f"{folder}/{i:04}.png")
    told = subprocess.run(
        ["cargo", "test", "--release", "--lib", "ssim_of_photos", "--", "--ignored", "--nocapture"],
        env=dict(os.environ, BIRDAUG_PHOTOS=folder), capture_output=True, text=True, check=True).stdout
ours = [float(line.split()[1]) for line in told.splitlines() if line.startswith("ssim ")]
theirs = [structural_similarity(np.asarray(a), np.asarray(b), channel_axis=2, gaussian_weights=True, sigma=1.5,
                                use_sample_covariance=False, data_range=255) for a, b in zip(shown, shown[1:])]
assert len(ours) == len(theirs) > 0
print(f"{len(ours)} pairs, SSIM from {min(theirs):.3f} to {max(theirs):.3f}, "
      f"largest difference {max(abs(a - b) for a, b in zip(ours, theirs)):.1e}")
