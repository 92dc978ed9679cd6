"""Golden timesteps of Karras's levels from diffusers 0.42.1 as it is, in float32: writes levels.json beside this file.

A level between two timesteps is rounded to a whole one, and its rounding is decided by the last digits of diffusers' tables.
"""

import json
import pathlib

import diffusers

diffusers.logging.set_verbosity_error()
STEPS = [1, 2, 3, 5, 10, 18, 25, 32, 35, 43, 52, 63, 69, 73, 85, 86, 94, 100]
LATENT = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
CONFIGS = [
    LATENT,
    dict(LATENT, beta_schedule="linear"),
    dict(LATENT, rescale_betas_zero_snr=True, prediction_type="v_prediction"),
    dict(beta_schedule="linear", rescale_betas_zero_snr=True, prediction_type="v_prediction"),
    dict(beta_schedule="squaredcos_cap_v2"),
]
CLASSES = ["DPMSolverMultistepScheduler", "UniPCMultistepScheduler"]


def timesteps(name, config, steps):
    scheduler = getattr(diffusers, name)(**config, use_karras_sigmas=True)
    scheduler.set_timesteps(steps)
    return [int(t) for t in scheduler.timesteps]


walks = []
for config in CONFIGS:
    for name in CLASSES:
        found = {steps: timesteps(name, config, steps) for steps in STEPS}
        walks.append(dict(config=dict(config, _class_name=name, use_karras_sigmas=True), timesteps=found))
path = pathlib.Path(__file__).parent / "levels.json"
path.write_text("[\n" + ",\n".join(json.dumps(walk) for walk in walks) + "\n]\n")
