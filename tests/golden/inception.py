"""Writes inception.json beside itself: torch-fidelity's Inception network with weights by a formula that the Rust test repeats,
after the resizing of torch-fidelity (0.4), of clean-fid (0.1.35) and of pytorch-fid (torch's own bilinear).

python tests/golden/inception.py
"""

import json
import pathlib
import unittest.mock

import numpy as np
import torch
from cleanfid.resize import make_resizer
from formula import uniform
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

torch.set_grad_enabled(False)
LAYERS = """Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 MaxPool_1 Conv2d_3b_1x1 Conv2d_4a_3x3 MaxPool_2 Mixed_5b Mixed_5c Mixed_5d
Mixed_6a Mixed_6b Mixed_6c Mixed_6d Mixed_6e Mixed_7a Mixed_7b Mixed_7c AvgPool""".split()


def network():
    with unittest.mock.patch.object(torch, "load"), unittest.mock.patch.object(torch.nn.Module, "load_state_dict"):
        net = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path="none")
    for name, tensor in net.state_dict().items():
        if name.startswith("fc.") or name.endswith("num_batches_tracked"):
            continue
        u = uniform(name, tensor.numel())
        if tensor.dim() == 4:
            u *= np.sqrt(6.0 / (tensor.shape[1] * tensor.shape[2] * tensor.shape[3]))
        elif name.endswith("running_var"):
            u = 1.0 + 0.25 * u
        elif name.endswith("bn.weight"):
            u = 1.0 + 0.1 * u
        else:
            u *= 0.1
        tensor.copy_(torch.from_numpy(u.astype(np.float32)).view(tensor.shape))
    return net


def image(name, height, width):
    """Blocks of 3x3 pixels, so that it has edges and flat parts."""
    u = uniform(name, ((height + 2) // 3) * ((width + 2) // 3) * 3).reshape((height + 2) // 3, (width + 2) // 3, 3)
    return np.repeat(np.repeat(np.floor((u + 1) * 128).astype(np.uint8), 3, 0), 3, 1)[:height, :width]


def resized(photo):
    x = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    tf = interpolate_bilinear_2d_like_tensorflow1x(x, size=(299, 299), align_corners=False)
    plain = torch.nn.functional.interpolate(x, size=(299, 299), mode="bilinear", align_corners=False)
    clean = torch.from_numpy(make_resizer("PIL", False, "bicubic", (299, 299))(photo)).permute(2, 0, 1)[None]
    return {"clean": clean, "tf-bilinear": tf, "torch-bilinear": plain}


net = network()
cases = []
for name, height, width in [("small", 37, 53), ("large", 340, 400), ("same", 299, 224)]:
    photo = image(name, height, width)
    for resize, x in resized(photo).items():
        # pytorch-fid maps 0..255 to -1..1; the graph subtracts 128 and divides by 128.
        y = x / 127.5 - 1 if resize == "torch-bilinear" else (x - 128) / 128
        for layer in LAYERS:
            y = getattr(net, layer)(y)
        features = y.flatten()
        if resize == "tf-bilinear":
            whole = net(torch.from_numpy(photo).permute(2, 0, 1)[None])[0].flatten()
            assert (features - whole).abs().max() < 1e-5
        pixels = x[0].permute(1, 2, 0).flatten()
        cases.append(
            dict(
                image=name, height=height, width=width, resize=resize,
                pixels=[round(v, 5) for v in pixels[::9973].tolist()],
                pixel_sum=float(pixels.double().sum()),
                features=[round(v, 6) for v in features[::31].tolist()],
                feature_sum=float(features.double().sum()),
            )
        )
        print(name, resize, float(features.mean()), float(features.max()), float(features.std()))
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")
