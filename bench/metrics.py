#!/usr/bin/env python3
"""birdaug's metrics beside other people's: the same files, the same weights, interleaved in one run, as ratios.

    PYTHON bench/metrics.py WORK [--only fid] [--only frechet] [--rounds 3] [--birdaug FILE]

PYTHON is one that has torch, torch-fidelity, clean-fid, scipy and Pillow; WORK a folder with 300 MB to spare, which keeps the
photos that are drawn at the first run. `weights/inception.safetensors` is what `make weights` wrote. Each part prints its own
ratios; with nothing else running they mean something.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
THREADS = str(os.cpu_count())


def timed(command: list[str], **more) -> tuple[float, float, str]:
    """Seconds of a command, its own peak in MiB, and its standard output."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": THREADS}
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **more) as run:
        peak = 0
        while run.poll() is None:
            try:
                status = pathlib.Path(f"/proc/{run.pid}/status").read_text()
                peak = max([peak, *map(int, re.findall(r"VmHWM:\s+(\d+) kB", status))])
            except OSError:
                pass
            time.sleep(0.05)
        took = time.perf_counter() - started
        out, err = run.communicate()
    if run.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, command))}: status {run.returncode}\n{err}")
    return took, peak / 1024, out


def photos(folder: pathlib.Path, n: int, seed: int) -> pathlib.Path:
    """JPEGs of 224x224 with edges, noise and colour, as large as photos are."""
    import numpy as np
    from PIL import Image, ImageFilter

    if folder.exists() and len(list(folder.iterdir())) == n:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    for i in range(n):
        coarse = Image.fromarray(random.integers(0, 256, (9 + seed, 9 + seed, 3), dtype=np.uint8)).resize((224, 224), Image.BICUBIC)
        noise = Image.fromarray(random.integers(0, 256, (224, 224, 3), dtype=np.uint8)).filter(ImageFilter.GaussianBlur(1))
        Image.blend(coarse, noise, 0.3).save(folder / f"{i:05}.jpg", quality=90)
    return folder


def state_dict(options: argparse.Namespace) -> pathlib.Path:
    """The converted weights as torch-fidelity loads them, once a run."""
    import torch
    from safetensors.torch import load_file

    to = options.work / "inception.pth"
    if not to.exists():
        tensors = load_file(options.weights)
        tensors |= {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
        names = [name.removesuffix("weight") for name in tensors if name.endswith("bn.weight")]
        tensors |= {name + "num_batches_tracked": torch.tensor(0) for name in names}
        torch.save(tensors, to)
    return to


PEER = """
import sys, json, torch
torch.set_num_threads({threads})
from torch_fidelity import calculate_metrics
found = calculate_metrics(input1={a!r}, input2={b!r}, cuda=False, fid=True, kid=False, verbose=False, cache=False, batch_size=64,
    feature_extractor_weights_path={weights!r}, samples_find_deep=True)
print(json.dumps(found))
"""


def fid(options: argparse.Namespace) -> None:
    """FID end to end of two folders of JPEGs: images a second, peak memory, and the value."""
    a, b = (photos(options.work / f"photos{seed}", options.images, seed) for seed in (0, 1))
    weights = state_dict(options)
    seen: dict[str, list[tuple[float, float, float]]] = {}
    for _ in range(options.rounds):
        peer = PEER.format(threads=THREADS, a=str(a), b=str(b), weights=str(weights))
        took, peak, out = timed([sys.executable, "-c", peer])
        seen.setdefault("torch-fidelity", []).append((took, peak, json.loads(out.splitlines()[-1])["frechet_inception_distance"]))
        for precision in options.precision:
            cache = options.work / "cache"
            shutil.rmtree(cache, ignore_errors=True)
            command = [options.birdaug, "--cache", cache, "--quiet", "metrics", "fid", a, b, "--weights", options.weights]
            command += ["--resize", "tf-bilinear", "--precision", precision, "--json"]
            took, peak, out = timed(list(map(str, command)))
            found = json.loads(out)
            seen.setdefault(f"birdaug {precision}", []).append((took, peak, found["value"]))
            if deviation := found.get("deviation"):
                print(f"bf16 from fp32: features {100 * deviation['relative']:.2f} % apart")
            again, _, _ = timed(list(map(str, command)))
            print(f"  birdaug {precision} again, out of the cache: {again:.2f} s")
    base = [statistics.median(column) for column in zip(*seen["torch-fidelity"])]
    for name, runs in seen.items():
        took, peak, value = (statistics.median(column) for column in zip(*runs))
        print(
            f"fid, 2 x {options.images}: {name:15} {2 * options.images / took:6.2f} images/s, {base[0] / took:.2f} times; "
            f"peak {peak:.0f} MiB, {peak / base[1]:.2f} of torch-fidelity's; value {value:.4f} ({100 * (value / base[2] - 1):+.4f} %)"
        )


SPEED = re.compile(r"(\d+) x (\d+): from features ([0-9.]+) s, from moments ([0-9.]+) s = ")


def frechet(options: argparse.Namespace) -> None:
    """The Frechet distance of 2,048 numbers an image, of given moments and of few images."""
    import numpy as np
    import scipy.linalg
    import torch

    torch.set_num_threads(os.cpu_count())
    sys.path.insert(0, str(HERE.parent / "tests/golden"))
    from frechet_features import features

    told = subprocess.run(
        ["cargo", "test", "--release", "--lib", "frechet_speed", "--", "--ignored", "--nocapture"],
        cwd=HERE.parent, capture_output=True, text=True, check=True).stdout
    for n, d, whole, given in SPEED.findall(told):
        sigmas = [np.cov(features(int(n), int(d), seed).astype(np.float64), rowvar=False) for seed in (1, 2)]
        # Few images are their own factor; many begin with their moments, as the others do.
        seconds = float(whole if int(n) <= int(d) else given)
        times = {}
        for name, call in {
            "scipy.linalg.sqrtm": lambda: scipy.linalg.sqrtm(sigmas[0] @ sigmas[1]),
            "torch-fidelity's eigenvalues": lambda: np.linalg.eigvals(sigmas[0].dot(sigmas[1])),
        }.items():
            started = time.perf_counter()
            call()
            times[name] = time.perf_counter() - started
        ratios = ", ".join(f"{t / seconds:.1f} times {name} ({t:.2f} s)" for name, t in times.items())
        print(f"frechet, {n} images of {d}: {seconds:.3f} s, {ratios}")


PARTS = {"fid": fid, "frechet": frechet}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--only", action="append", choices=PARTS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=1000, help="in each folder")
    parser.add_argument("--precision", action="append", choices=["fp32", "bf16"])
    parser.add_argument("--weights", type=pathlib.Path, default=HERE.parent / "weights/inception.safetensors")
    parser.add_argument("--birdaug", type=pathlib.Path, default=HERE.parent / "target/release/birdaug")
    options = parser.parse_args()
    options.precision = options.precision or ["fp32", "bf16"]
    options.work, options.weights = options.work.resolve(), options.weights.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    for part in options.only or PARTS:
        PARTS[part](options)


if __name__ == "__main__":
    main()
