"""Writes resnet.json beside itself: torchvision's ResNets with weights by a formula that the Rust test repeats.

python tests/golden/resnet.py      (torch 2.11, torchvision 0.26)
"""

import json
import pathlib

import numpy as np
import torch
import torchvision
from formula import uniform

torch.set_num_threads(1)


def fill(net):
    for name, tensor in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        u = uniform(name, tensor.numel())
        if tensor.dim() == 4:
            u *= np.sqrt(6.0 / (tensor.shape[1] * tensor.shape[2] * tensor.shape[3]))
        elif name == "fc.weight":
            u *= 1.0 / np.sqrt(tensor.shape[1])
        elif name.endswith("running_var"):
            u = 1.0 + 0.25 * u
        elif name.endswith("weight"):  # small enough that the logits of ResNet-50 stay near 1
            u = 0.4 + 0.1 * u
        else:
            u *= 0.1
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(u.astype(np.float32)).view(tensor.shape))


def case(arch, stem, size):
    net = getattr(torchvision.models, arch)(num_classes=7)
    if stem == "small":
        net.maxpool = torch.nn.Identity()
    fill(net)
    net.double()  # so that what differs is the rounding of the other side alone
    names = {name: list(tensor.shape) for name, tensor in net.state_dict().items() if "num_batches" not in name}
    x = torch.from_numpy(uniform("input", 2 * 3 * size * size).astype(np.float32)).view(2, 3, size, size).double()
    net.eval()
    kept = {}
    net.avgpool.register_forward_hook(lambda module, inputs, output: kept.update(features=output.flatten(1)))
    logits = net(x)
    torch.nn.functional.cross_entropy(logits, torch.tensor([1, 5]), label_smoothing=0.1).backward()

    def seen(name, gradient):
        """Norm of a gradient, and its product with a vector of numbers in [-1, 1): another gradient has another."""
        return [gradient.norm().item(), float(gradient.flatten().numpy() @ uniform("gradient of " + name, gradient.numel()))]

    gradients = {name: seen(name, parameter.grad) for name, parameter in net.named_parameters()}
    features = kept["features"][:, :6].tolist()
    net.train()
    with torch.no_grad():
        trained = net(x)
    return {
        "arch": arch,
        "stem": stem,
        "size": size,
        "variables": len(names),
        "elements": sum(int(np.prod(shape)) for shape in names.values()),
        "logits": logits.tolist(),
        "features": features,
        "gradients": gradients,
        "train_logits": trained.tolist(),
        "running_mean": net.layer1[0].bn1.running_mean[:4].tolist(),
        "running_var": net.layer1[0].bn1.running_var[:4].tolist(),
    }


cases = [case("resnet18", "imagenet", 64), case("resnet18", "small", 32), case("resnet34", "imagenet", 64), case("resnet50", "imagenet", 64)]
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(cases, indent=1) + "\n")
