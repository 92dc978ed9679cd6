#!/usr/bin/env python3
"""birdaug's SSIM, decoding, resizing and audit beside other people's, interleaved in one run, as ratios of medians.

    PYTHON bench/pairs.py DATASET [--only ssim] [--only decode] [--only audit] [--only many] [--rounds 5]

PYTHON is one that has Pillow, NumPy, scikit-image and torchmetrics, and for libjpeg-turbo simplejpeg or `djpeg` on the path; DATASET a folder
in Kaggle's layout with JPEGs. birdaug's own seconds come from its ignored tests, which time the same files in one process
(`cargo test --release --lib pairs_speed`), so that starting a program is in nobody's figure. With nothing else running the
ratios mean something.
"""

import argparse
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SAID = re.compile(r"^speed (\S+) ([0-9.e+-]+) s$", re.M)


def own(test: str, folder: pathlib.Path) -> dict[str, float]:
    """Seconds an item that one of birdaug's ignored tests prints."""
    told = subprocess.run(
        ["cargo", "test", "--release", "--lib", test, "--", "--ignored", "--nocapture"],
        cwd=HERE.parent, env={**os.environ, "BIRDAUG_PHOTOS": str(folder)}, capture_output=True, text=True, check=True).stdout
    return {name: float(value) for name, value in SAID.findall(told)}


def seconds(call, items: int) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) / items


def compare(what: str, ours: list[float], others: dict[str, list[float]], unit: str) -> None:
    mine = statistics.median(ours)
    print(f"{what}: birdaug {1 / mine:.0f} {unit}/s")
    for name, theirs in others.items():
        median = statistics.median(theirs)
        print(f"  {name} {1 / median:.0f} {unit}/s: birdaug is {median / mine:.2f} times as fast")


def some(dataset: pathlib.Path, n: int) -> list[pathlib.Path]:
    files = sorted(dataset.rglob("*.jpg"))
    return files[:: max(1, len(files) // n)][:n]


def ssim(options: argparse.Namespace) -> None:
    """Pairs a second at 224x224, whole: from pixels, nothing kept; and one candidate against 160 kept photos and their flips."""
    import numpy as np
    import torch
    from PIL import Image
    from skimage.metrics import structural_similarity
    from torchmetrics.functional.image import structural_similarity_index_measure

    torch.set_num_threads(os.cpu_count())
    photos = [np.asarray(Image.open(file).convert("RGB").resize((224, 224), Image.BICUBIC)) for file in some(options.dataset, 33)]
    pairs = list(zip(photos, photos[1:]))
    batch = [torch.from_numpy(np.stack(side)).permute(0, 3, 1, 2).float() for side in zip(*pairs)]
    exact = dict(channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255)
    with tempfile.TemporaryDirectory() as folder:
        for i, photo in enumerate(photos):
            Image.fromarray(photo).save(f"{folder}/{i:03}.png")
        ours, guard, theirs = [], {}, {"scikit-image": [], "torchmetrics": []}
        for _ in range(options.rounds):
            said = own("pairs_speed_of_ssim", pathlib.Path(folder))
            ours.append(said["ssim-224"])
            for name in ("guard-64", "guard-224"):
                guard.setdefault(name, []).append(said[name])
            theirs["scikit-image"].append(seconds(lambda: [structural_similarity(a, b, **exact) for a, b in pairs], len(pairs)))
            theirs["torchmetrics"].append(seconds(lambda: structural_similarity_index_measure(*batch, data_range=255.0), len(pairs)))
    compare("SSIM of 224x224 RGB", ours, theirs, "pairs")
    for name, runs in guard.items():
        print(f"{name}: one candidate against 160 photos and their flips in {1000 * statistics.median(runs):.0f} ms")


def decode(options: argparse.Namespace) -> None:
    """JPEGs a second on one core, and a resize from 224 to 64."""
    import io

    from PIL import Image

    files = some(options.dataset, 200)
    held = [file.read_bytes() for file in files]
    with tempfile.TemporaryDirectory() as folder:
        for i, file in enumerate(files):
            os.symlink(file.resolve(), f"{folder}/{i:03}.jpg")
        peers = {"Pillow": lambda: [Image.open(io.BytesIO(photo)).convert("RGB") for photo in held]}
        try:
            import simplejpeg

            peers["libjpeg-turbo (simplejpeg)"] = lambda: [simplejpeg.decode_jpeg(photo) for photo in held]
        except ImportError:
            print("libjpeg-turbo left out: no simplejpeg", file=sys.stderr)
        photos = [Image.open(io.BytesIO(photo)).convert("RGB") for photo in held]
        ours, theirs = [], {name: [] for name in peers}
        resized, pillow = [], []
        for _ in range(options.rounds):
            said = own("pairs_speed_of_decoding", pathlib.Path(folder))
            ours.append(said["decode"])
            resized.append(said["resize-64"])
            for name, call in peers.items():
                theirs[name].append(seconds(call, len(held)))
            pillow.append(seconds(lambda: [photo.resize((64, 64), Image.BICUBIC) for photo in photos], len(photos)))
    compare("decoding, one core", ours, theirs, "photos")
    compare("resizing to 64x64, one core", resized, {"Pillow": pillow}, "photos")


def audited(folder: pathlib.Path, rounds: int) -> tuple[float, float]:
    """Seconds of decoding a folder's photos, and of auditing it."""
    said = [own("pairs_speed_of_audit", folder) for _ in range(rounds)]
    decoding, whole = (statistics.median(one[name] for one in said) for name in ("decode-all", "audit-all"))
    return decoding, whole


def audit(options: argparse.Namespace) -> None:
    """An audit's whole time over the time that decoding the same photos takes on the same cores."""
    decoding, whole = audited(options.dataset, options.rounds)
    print(f"audit {whole:.2f} s, decoding alone {decoding:.2f} s: {whole / decoding:.2f} times")


def cut(job: tuple[pathlib.Path, pathlib.Path, int]) -> None:
    """A part of a photo, turned, as a photo of its own: as varied as photos are, and no copy of its neighbours."""
    import random

    from PIL import Image

    source, to, seed = job
    draw = random.Random(seed)
    photo = Image.open(source).convert("RGB")
    side = int(min(photo.size) * draw.uniform(0.35, 0.6))
    turned = photo.rotate(draw.uniform(-180, 180), Image.BICUBIC, center=(photo.width / 2, photo.height / 2))
    reach = min(photo.size) * 0.35 - side / 2
    x, y = (size / 2 - side / 2 + draw.uniform(-1, 1) * max(reach, 0) for size in photo.size)
    turned.crop((int(x), int(y), int(x) + side, int(y) + side)).resize((224, 224), Image.BICUBIC).save(to, quality=90)


def many(options: argparse.Namespace) -> None:
    """An audit of many distinct photos, cut out of those of the dataset: a quarter of them, half, all."""
    import multiprocessing

    sources = sorted(options.dataset.rglob("*.jpg"))
    with tempfile.TemporaryDirectory() as folder, multiprocessing.Pool() as pool:
        made = 0
        for size in (options.photos // 4, options.photos // 2, options.photos):
            jobs = []
            for i in range(made, size):
                species = pathlib.Path(folder) / "train" / f"SPECIES {i % len(sources) % 500:03}"
                species.mkdir(parents=True, exist_ok=True)
                jobs.append((sources[i % len(sources)], species / f"{i:06}.jpg", i))
            pool.map(cut, jobs, 64)
            made = size
            decoding, whole = audited(pathlib.Path(folder), options.rounds)
            print(f"audit of {size} distinct photos {whole:.2f} s, decoding alone {decoding:.2f} s: {whole / decoding:.2f} times", flush=True)


PARTS = {"ssim": ssim, "decode": decode, "audit": audit, "many": many}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=pathlib.Path)
    parser.add_argument("--only", action="append", choices=PARTS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--photos", type=int, default=20_000, help="distinct photos that `many` cuts out of the dataset's")
    options = parser.parse_args()
    options.dataset = options.dataset.resolve()
    for part in options.only or ["ssim", "decode", "audit"]:
        PARTS[part](options)


if __name__ == "__main__":
    main()
