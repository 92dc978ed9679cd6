"""Writes timm_names.json beside itself: names and shapes of the tensors of timm's ResNets.

python tests/golden/timm_names.py      (timm 1.0.31)
"""

import json
import pathlib

import timm

found = {arch: {name: list(t.shape) for name, t in timm.create_model(arch).state_dict().items()} for arch in ["resnet18", "resnet34", "resnet50"]}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(found) + "\n")
