#!/usr/bin/env python3
"""Makes a dataset of the size of BIRDS 525 out of a few drawn photos: 89,885 JPEGs, 525 species, about 2 GB.

    bench/make_birds.py SAMPLE OUT [--scale X]

SAMPLE is a folder written by `birdaug sample`. Every file is a photo of it with a comment segment of its own, so that
all bytes differ and each file is about 23 kB, as Kaggle's are. `--scale 0.1` makes a tenth of the species.
"""

import argparse
import pathlib
import random

TRAIN, HELD_OUT, SPECIES, BYTES = 84_635, 2_625, 525, 23_000


def commented(photo: bytes, rng: random.Random, number: int) -> bytes:
    """The JPEG with a comment after its first marker that fills it up to about BYTES."""
    size = max(16, BYTES - len(photo) + rng.randrange(-4000, 4000))
    comment = number.to_bytes(8, "big") + rng.randbytes(size)
    segment = b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment
    return photo[:2] + segment + photo[2:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sample", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args()
    rng = random.Random(525)
    folders = sorted(path for path in (options.sample / "train").iterdir() if path.is_dir())
    photos = [[path.read_bytes() for path in sorted(folder.glob("*.jpg"))] for folder in folders]
    train, held_out, kinds = (round(n * options.scale) for n in (TRAIN, HELD_OUT, SPECIES))
    number = 0
    for split, total in (("train", train), ("valid", held_out), ("test", held_out)):
        weights = [rng.uniform(130, 263) if split == "train" else 1.0 for _ in range(kinds)]
        bounds = [0]
        for weight in weights:
            bounds.append(bounds[-1] + weight)
        counts = [round(total * b / bounds[-1]) - round(total * a / bounds[-1]) for a, b in zip(bounds, bounds[1:])]
        for species, count in enumerate(counts):
            folder = options.out / split / f"SPECIES {species:03}"
            folder.mkdir(parents=True)
            of = photos[species % len(photos)]
            for i in range(count):
                (folder / f"{i + 1:03}.jpg").write_bytes(commented(of[i % len(of)], rng, number))
                number += 1
    print(f"{number} photos in {options.out}")


if __name__ == "__main__":
    main()
