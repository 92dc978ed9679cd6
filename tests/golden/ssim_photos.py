"""SSIM and MS-SSIM of real photos, birdaug's against scikit-image's and torchmetrics'; prints the largest differences.

    python tests/golden/ssim_photos.py DATASET [BIRDAUG] [--no-ms]

needs scikit-image, torchmetrics and Pillow. Every pair is written as PNG, so that decoders make no difference: neighbours in
the dataset, each photo beside itself re-encoded, at several sizes down to 11x11, and photos beside even and inverted ones.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image
from skimage.metrics import structural_similarity

arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--")]
dataset, birdaug = pathlib.Path(arguments[0]), (arguments[1:] or ["target/release/birdaug"])[0]
files = sorted(dataset.rglob("*.jpg"))
files = files[:: max(1, len(files) // 60)]


def resized(photo, size):
    return photo.resize(size, Image.BICUBIC)


pairs = []
with tempfile.TemporaryDirectory() as folder:
    for n, (file, next_file) in enumerate(zip(files, files[1:])):
        photo, other = (Image.open(name).convert("RGB") for name in (file, next_file))
        size = [(224, 224), (64, 64), (11, 11), (12, 40), (177, 203), (300, 190)][n % 6]
        photo, other = resized(photo, size), resized(other, size)
        photo.save(f"{folder}/a.jpg", quality=50)
        pairs += [(photo, other), (photo, Image.open(f"{folder}/a.jpg").convert("RGB")), (photo, photo)]
        pairs += [(photo, Image.new("RGB", size, even)) for even in [(0, 0, 0), (255, 255, 255), (97, 3, 200)]]
        pairs += [(photo, Image.fromarray(255 - np.asarray(photo)))]
    pairs += [(Image.new("RGB", (50, 50), a), Image.new("RGB", (50, 50), b)) for a in ("black", "white") for b in ("black", "white")]
pairs = [tuple(np.asarray(one) for one in pair) for pair in pairs]


def ours(command, chosen):
    with tempfile.TemporaryDirectory() as folder:
        for side in (0, 1):
            pathlib.Path(folder, str(side)).mkdir()
            for i in chosen:
                Image.fromarray(pairs[i][side]).save(f"{folder}/{side}/{i:05}.png")
        told = subprocess.run(
            [birdaug, "metrics", command, f"{folder}/0", f"{folder}/1", "--json"], capture_output=True, text=True, check=True).stdout
    return [pair[command] for pair in json.loads(told)["pairs"]]


def tell(what, found, wanted):
    assert len(found) == len(wanted) > 0
    print(f"{what}: {len(found)} pairs, from {min(wanted):.3f} to {max(wanted):.3f}, "
          f"largest difference {max(abs(a - b) for a, b in zip(found, wanted)):.1e}")


exact = dict(channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255)
tell("ssim, scikit-image", ours("ssim", range(len(pairs))), [structural_similarity(a, b, **exact) for a, b in pairs])
if "--no-ms" not in sys.argv:
    import torch
    from torchmetrics.image import MultiScaleStructuralSimilarityIndexMeasure

    def multi_scale(pair):
        batch = [torch.from_numpy(one).permute(2, 0, 1)[None].double() for one in pair]
        return float(MultiScaleStructuralSimilarityIndexMeasure(data_range=255.0)(*batch))

    large = [i for i, (a, _) in enumerate(pairs) if min(a.shape[:2]) >= 176]
    tell("ms-ssim, torchmetrics", ours("ms-ssim", large), [multi_scale(pairs[i]) for i in large])
