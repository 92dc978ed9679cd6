#!/usr/bin/env python3
"""Classifier training beside torchvision's: ImageFolder, DataLoader and the reference loop, interleaved in one run, as ratios.

    PYTHON bench/train.py PHOTOS [--size 64] [--rounds 3]       photos a second of whole fits, PHOTOS with a folder a class
    PYTHON bench/train.py PHOTOS --loading [--size 64]          of loading and augmenting alone
    PYTHON bench/train.py DATASET --quality [--steps 300]       test accuracy from scratch, DATASET with train, valid and test

PYTHON is one that has torch and torchvision. Both sides use two threads, batches of 32, SGD with Nesterov momentum, a cosine
with warm-up, label smoothing 0.1, RandomResizedCrop (0.35 to 1) and flips.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def loader(photos, size, batch, workers):
    import torch
    import torchvision
    from torchvision import transforms as T

    views = T.Compose([T.RandomResizedCrop(size, scale=(0.35, 1.0), antialias=True), T.RandomHorizontalFlip(), T.ToTensor(), T.Normalize(MEAN, DEVIATION)])
    data = torchvision.datasets.ImageFolder(photos, views)
    return data, torch.utils.data.DataLoader(data, batch, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=workers > 0)


def endless(batches):
    while True:
        yield from batches


def network(classes, steps, rate=0.1):
    import torch
    import torchvision

    net = torchvision.models.resnet18(num_classes=classes)
    for name, module in net.named_modules():
        if name.endswith("bn2"):
            torch.nn.init.zeros_(module.weight)
    decayed = [p for p in net.parameters() if p.dim() > 1]
    others = [p for p in net.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 5e-4}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True)
    warm = max(1, steps // 10)
    climb = torch.optim.lr_scheduler.LinearLR(optimiser, start_factor=1 / (warm + 1), total_iters=warm)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps - warm)
    return net, optimiser, torch.optim.lr_scheduler.SequentialLR(optimiser, [climb, fall], [warm])


def step(net, optimiser, schedule, x, y, last, bf16):
    import torch

    if last:
        x = x.to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss = torch.nn.functional.cross_entropy(net(x), y, label_smoothing=0.1)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    schedule.step()
    return loss.item()


def theirs(options):
    """One of torchvision's variants, in a process of its own; prints photos a second."""
    import torch

    torch.set_num_threads(2)
    variant = options.variant
    workers = int(variant[-1])
    data, batches = loader(options.photos, options.size, options.batch, workers)
    source = endless(batches)
    if options.loading:
        next(source)
        started = time.perf_counter()
        for _ in range(options.steps):
            next(source)
        return options.steps * options.batch / (time.perf_counter() - started)
    net, optimiser, schedule = network(len(data.classes), options.warm + options.steps)
    last = "last" in variant
    if last:
        net = net.to(memory_format=torch.channels_last)
    net.train()
    for done in range(options.warm + options.steps):
        if done == options.warm:
            started = time.perf_counter()
        x, y = next(source)
        step(net, optimiser, schedule, x, y, last, "bf16" in variant)
    return options.steps * options.batch / (time.perf_counter() - started)


def test_binary():
    said = subprocess.run(
        ["cargo", "test", "--release", "--lib", "--no-run", "--message-format=json"], cwd=HERE.parent, check=True, capture_output=True, text=True
    ).stdout
    found = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return [line["executable"] for line in found if line.get("executable") and line.get("profile", {}).get("test")][-1]


def measured(command, environment=None):
    said = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, **(environment or {})))
    values = [line.split()[1] for line in said.stdout.splitlines() if line.startswith("RESULT ")]
    if not values:
        sys.exit(said.stdout + said.stderr)
    return float(values[0])


def ours(options, precision="fp32"):
    name = "speed_of_loading" if options.loading else "speed_of_a_fit"
    settings = dict(PHOTOS=options.photos, SIZE=options.size, BATCH=options.batch, STEPS=options.steps, WARM=options.warm, PRECISION=precision)
    return measured([options.binary, name, "--ignored", "--nocapture"], {key: str(value) for key, value in settings.items()})


def their_accuracy(options):
    """torchvision's loop from scratch with one seed; prints its accuracy on test, evaluated as birdaug does: a crop of 7/8."""
    import torch
    import torchvision
    from torchvision import transforms as T

    torch.set_num_threads(2)
    torch.manual_seed(options.seed)
    root = pathlib.Path(options.photos)
    data, batches = loader(root / "train", options.size, options.batch, 0)
    net, optimiser, schedule = network(len(data.classes), options.steps, options.rate)
    net.train()
    source = endless(batches)
    for _ in range(options.steps):
        x, y = next(source)
        step(net, optimiser, schedule, x, y, False, False)
    views = T.Compose([T.Resize(round(options.size / 0.875), antialias=True), T.CenterCrop(options.size), T.ToTensor(), T.Normalize(MEAN, DEVIATION)])
    test = torchvision.datasets.ImageFolder(root / "test", views)
    net.eval()
    right = 0
    with torch.no_grad():
        for x, y in torch.utils.data.DataLoader(test, options.batch):
            right += (net(x).argmax(1) == y).sum().item()
    return right / len(test)


def quality(options):
    """Means over the seeds, and the standard error of their difference."""
    options.binary = options.binary or test_binary()
    found = {"torchvision": [], "birdaug": []}
    settings = dict(PHOTOS=options.photos, SIZE=options.size, BATCH=options.batch, STEPS=options.steps, RATE=options.rate)
    for seed in range(options.seeds):
        found["torchvision"].append(measured([sys.executable, __file__, *sys.argv[1:], "--variant", "quality", "--seed", str(seed)]))
        environment = {key: str(value) for key, value in dict(settings, SEED=seed).items()}
        found["birdaug"].append(measured([options.binary, "accuracy_of_a_fit", "--ignored", "--nocapture"], environment))
        print("  " + ", ".join(f"{name} {values[-1]:.4f}" for name, values in found.items()), flush=True)
    ours, theirs = found["birdaug"], found["torchvision"]
    error = ((statistics.variance(ours) + statistics.variance(theirs)) / options.seeds) ** 0.5
    difference = statistics.mean(ours) - statistics.mean(theirs)
    print(f"\ntest accuracy, {options.size} px, {options.steps} steps, {options.seeds} seeds: birdaug {statistics.mean(ours):.4f}, torchvision {statistics.mean(theirs):.4f}")
    print(f"difference {difference:+.4f}, standard error {error:.4f}")


def speed(options):
    options.binary = options.binary or test_binary()
    variants = options.variants.split(",")
    if options.loading:
        variants = [f"load workers {n}" for n in (0, 2)]
    found = {}
    for _ in range(options.rounds):
        runs = [(name, lambda name=name: measured([sys.executable, __file__, *sys.argv[1:], "--variant", name])) for name in variants]
        runs += [(f"birdaug {p}", lambda p=p: ours(options, p)) for p in options.precisions.split(",")]
        for name, run in runs:
            found.setdefault(name, []).append(run())
            print(f"  {name}: {found[name][-1]:.1f}", flush=True)
    medians = {name: statistics.median(values) for name, values in found.items()}
    print(f"\n{'loading' if options.loading else 'whole loop'}, {options.size} px, photos a second (median of {options.rounds}; over torchvision's best of the precision)")
    for name, value in medians.items():
        same = [v for other, v in medians.items() if not other.startswith("birdaug") and ("bf16" in other) == ("bf16" in name)]
        ratio = f"  {value / max(same):.2f}x" if same and name.startswith("birdaug") else ""
        print(f"{name:32} {value:8.1f}   {min(found[name]):.1f} to {max(found[name]):.1f}{ratio}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warm", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--loading", action="store_true")
    parser.add_argument("--variants", default="default workers 0,default workers 2,last workers 0,last workers 2")
    parser.add_argument("--precisions", default="fp32")
    parser.add_argument("--binary", default="")
    parser.add_argument("--variant", default="")
    parser.add_argument("--quality", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.1)
    options = parser.parse_args()
    if options.variant == "quality":
        print(f"RESULT {their_accuracy(options):.4f}")
    elif options.quality:
        quality(options)
    elif options.variant:
        print(f"RESULT {theirs(options):.3f}")
    else:
        speed(options)


if __name__ == "__main__":
    main()
