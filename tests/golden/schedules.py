"""Golden values of the noise schedules, from diffusers: writes schedules.json beside this file."""

import json
import pathlib

from diffusers import DDIMScheduler

AT = [0, 1, 10, 250, 500, 750, 990, 998, 999]
SCHEDULES = {
    "cosine": dict(beta_schedule="squaredcos_cap_v2"),
    "linear": dict(beta_schedule="linear", beta_start=1e-4, beta_end=0.02),
    "scaled_linear": dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
}

golden = {"at": AT}
for name, options in SCHEDULES.items():
    scheduler = DDIMScheduler(**options)
    golden[name] = {
        "betas": scheduler.betas[AT].tolist(),
        "alphas_cumprod": scheduler.alphas_cumprod[AT].tolist(),
    }
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(golden, indent=1) + "\n")
