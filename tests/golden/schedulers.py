"""Golden values of every sampler from a scheduler's config, from diffusers 0.42.1: writes schedulers.json beside this file.

Each walk is what a user of `StableDiffusionPipeline` would run: the config is read, amended as the pipeline does, turned into
the sampler's class by `from_config`, and walked as the pipelines for text and for image to image do, with a fake model,
`cos(3 x + t / 1000) * 0.7`. All of it runs in float64: diffusers makes its tables and some steps in float32, which moves the
last digits that the comparison is about. `python schedulers.py --float32` prints how far that moves the walks instead.
"""

import json
import pathlib
import sys

import diffusers
import numpy as np
import torch
from diffusers.configuration_utils import FrozenDict

diffusers.logging.set_verbosity_error()
FLOAT32 = "--float32" in sys.argv
SHAPE = (2, 1, 1, 2)
CLASSES = {
    "ddim": "DDIMScheduler",
    "dpm++2m": "DPMSolverMultistepScheduler",
    "dpm++2m-karras": "DPMSolverMultistepScheduler",
    "euler": "EulerDiscreteScheduler",
    "euler-a": "EulerAncestralDiscreteScheduler",
    "unipc": "UniPCMultistepScheduler",
    "pndm": "PNDMScheduler",
    "ddpm": "DDPMScheduler",
    "lcm": "LCMScheduler",
}


class InFloat64:
    """A module whose float32 is float64."""

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        return getattr(self.module, "float64" if name == "float32" else name)


draws = 0


def numbered_noise(shape, dtype=None, **_):
    """Noise that anyone can make again: the draw's number and the place in the tensor give it."""
    global draws
    noise = ((torch.arange(1, 5).double() * 0.7 + 1.3 * draws).sin()).reshape(SHAPE)
    draws += 1
    return noise.to(dtype)


for name in set(CLASSES.values()):
    module = sys.modules[getattr(diffusers, name).__module__]
    if not FLOAT32:
        module.torch, module.np = InFloat64(torch), InFloat64(np)
    if hasattr(module, "randn_tensor"):
        module.randn_tensor = numbered_noise
if not FLOAT32:
    torch.set_default_dtype(torch.float64)


def amend(scheduler):
    """As `StableDiffusionPipeline.__init__` does with a scheduler of an old checkpoint."""
    if getattr(scheduler.config, "steps_offset", 1) != 1:
        scheduler._internal_dict = FrozenDict({**scheduler.config, "steps_offset": 1})
    if getattr(scheduler.config, "clip_sample", False) is True:
        scheduler._internal_dict = FrozenDict({**scheduler.config, "clip_sample": False})
    return scheduler


def scheduler_of(config, sampler):
    scheduler = amend(getattr(diffusers, config["_class_name"]).from_config(config))
    if sampler is None:
        return scheduler
    more = {"use_karras_sigmas": True} if sampler.endswith("karras") else {}
    return getattr(diffusers, CLASSES[sampler]).from_config(scheduler.config, **more)


def walk(config, sampler, steps, strength):
    global draws
    draws = 0
    scheduler = scheduler_of(config, sampler)
    scheduler.set_timesteps(steps)
    kind = torch.get_default_dtype()
    noise = torch.arange(1, 5).double().sin().reshape(SHAPE).to(kind)
    if strength is None:
        timesteps, x = scheduler.timesteps, noise * scheduler.init_noise_sigma
    else:
        begin = max(steps - min(int(steps * strength), steps), 0) * scheduler.order
        timesteps = scheduler.timesteps[begin:]
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(begin)
        clean = torch.arange(1, 5).double().mul(0.37).cos().reshape(SHAPE).to(kind)
        x = scheduler.add_noise(clean, noise, timesteps[:1].repeat(2))
    for t in timesteps:
        output = torch.cos(3 * scheduler.scale_model_input(x, t) + t / 1000) * 0.7
        x = scheduler.step(output, t, x, return_dict=False)[0]
    return scheduler.timesteps.tolist(), x.flatten().tolist()


SD = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000)
SD15 = dict(
    _class_name="PNDMScheduler", _diffusers_version="0.6.0", **SD, clip_sample=False, set_alpha_to_one=False,
    skip_prk_steps=True, steps_offset=1, trained_betas=None,
)  # fmt: skip
CONFIGS = {
    # Checkpoints as they are published.
    "sd15": SD15,
    "sd21": dict(
        _class_name="DDIMScheduler", _diffusers_version="0.8.0", **SD, clip_sample=False, prediction_type="v_prediction",
        set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1, trained_betas=None,
    ),
    "turbo": dict(
        _class_name="EulerDiscreteScheduler", _diffusers_version="0.24.0.dev0", **SD, clip_sample=False,
        interpolation_type="linear", prediction_type="epsilon", sample_max_value=1.0, set_alpha_to_one=False,
        skip_prk_steps=True, steps_offset=1, timestep_spacing="trailing", trained_betas=None, use_karras_sigmas=False,
    ),
    "lcm": dict(
        _class_name="LCMScheduler", _diffusers_version="0.22.0.dev0", **SD, clip_sample=False, clip_sample_range=1.0,
        dynamic_thresholding_ratio=0.995, original_inference_steps=50, prediction_type="epsilon",
        rescale_betas_zero_snr=False, sample_max_value=1.0, set_alpha_to_one=True, steps_offset=1, thresholding=False,
        timestep_spacing="leading", trained_betas=None,
    ),
    "zero-snr": dict(
        _class_name="DDIMScheduler", **SD, clip_sample=False, prediction_type="v_prediction", rescale_betas_zero_snr=True,
        set_alpha_to_one=True, steps_offset=1, timestep_spacing="trailing", skip_prk_steps=True,
    ),
    # Old or unusual ones: what they leave out takes the defaults of the class that walks.
    "bare": dict(_class_name="DDIMScheduler", prediction_type="v_prediction"),
    "bare-pndm": dict(_class_name="PNDMScheduler", **SD, clip_sample_range=0.8, set_alpha_to_one=True),
    "outdated": dict(
        _class_name="DDIMScheduler", **SD, clip_sample=True, steps_offset=0, prediction_type="sample", skip_prk_steps=True
    ),
    "solver": dict(
        _class_name="DPMSolverMultistepScheduler", **SD, algorithm_type="dpmsolver++", solver_type="heun", solver_order=2,
        lower_order_final=False, euler_at_final=True, final_sigmas_type="sigma_min", lambda_min_clipped=-2.0,
        timestep_spacing="leading", steps_offset=1, variance_type=None,
    ),
    "third": dict(
        _class_name="UniPCMultistepScheduler", **SD, solver_order=3, solver_type="bh1", predict_x0=True, solver_p=None,
        disable_corrector=[1], lower_order_final=True, timestep_spacing="trailing", prediction_type="v_prediction",
        sigma_min=None, sigma_max=None, final_sigmas_type="sigma_min",
    ),
    "karras": dict(
        _class_name="EulerDiscreteScheduler", **SD, use_karras_sigmas=True, sigma_min=0.05, sigma_max=12.0,
        timestep_spacing="leading", steps_offset=1, final_sigmas_type="sigma_min",
    ),
    "cosine": dict(
        _class_name="DDPMScheduler", beta_schedule="squaredcos_cap_v2", variance_type="fixed_large", clip_sample=False,
        prediction_type="v_prediction", steps_offset=1, lambda_min_clipped=-5.1,
    ),
    "trained": dict(
        _class_name="DDPMScheduler", num_train_timesteps=20, trained_betas=[round(0.01 + 0.015 * i, 3) for i in range(20)],
        variance_type="fixed_small_log", clip_sample=False, steps_offset=1, original_inference_steps=10,
        timestep_scaling=3.0, prediction_type="v_prediction",
    ),
}  # fmt: skip
for prediction in ["epsilon", "v_prediction", "sample"]:
    for spacing in ["leading", "trailing", "linspace"]:
        CONFIGS[f"{prediction}-{spacing}"] = {**SD15, "prediction_type": prediction, "timestep_spacing": spacing}

PUBLISHED = [(1, None), (2, None), (5, None), (20, None), (20, 0.6)]
REGULAR = [(1, None), (2, None), (5, None), (20, 0.33), (5, 0.5)]
UNUSUAL = [(4, None), (17, None), (17, 0.75)]


def plan():
    for name, config in CONFIGS.items():
        own = {v: k for k, v in CLASSES.items() if k != "dpm++2m-karras"}[config["_class_name"]]
        runs = PUBLISHED if name in ("sd15", "sd21", "turbo", "lcm", "zero-snr") else UNUSUAL
        runs = REGULAR if name.startswith(("epsilon-", "v_prediction-", "sample-")) else runs
        for sampler in [None, *CLASSES]:
            # Diffusers' own Euler ancestral and PNDM know no prediction of the sample.
            if config.get("prediction_type") == "sample" and sampler in ("euler-a", "pndm"):
                continue
            if sampler is None and own == "pndm" and config.get("prediction_type") == "sample":
                continue
            if sampler is None and runs is REGULAR:
                continue
            # Without `skip_prk_steps` in the config PNDM warms up by Runge-Kutta: at least 4 steps.
            pndm = (sampler or own) == "pndm"
            for steps, strength in runs:
                if pndm and not config.get("skip_prk_steps") and steps < 4:
                    continue
                if (sampler or own) == "lcm" and steps > config.get("original_inference_steps", 50):
                    continue
                yield name, sampler, steps, strength


if FLOAT32:
    golden = json.loads(pathlib.Path(__file__).with_suffix(".json").read_text())
    apart = []
    for case in golden["walks"]:
        try:
            timesteps, final = walk(golden["configs"][case[0]], *case[1:4])
        except IndexError:
            # Its first two timesteps are one in float32, and diffusers mistakes the second for the start.
            print("diffusers stops at", case[:4])
            continue
        worst = max(abs(a - b) / (1 + abs(b)) for a, b in zip(final, case[-1]))
        moved = max(abs(a - b) for a, b in zip(timesteps, case[4])) if len(case) == 6 else 0
        apart.append((worst, moved, case[:4]))
    for worst, moved, case in sorted(apart, key=lambda row: (-row[1], -row[0]))[:20]:
        print(f"{worst:.2e} {moved:.2e} {case}")
    print("median", sorted(worst for worst, _, _ in apart)[len(apart) // 2])
    sys.exit()

lines = []
for name, sampler, steps, strength in plan():
    timesteps, final = walk(CONFIGS[name], sampler, steps, strength)
    final = [float(f"{value:.8g}") for value in final]
    assert np.isfinite(final).all(), (name, sampler, steps, strength)
    # Timesteps depend on neither the prediction nor the strength.
    told = strength is None and not name.startswith(("v_prediction-", "sample-"))
    timesteps = [[round(t, 9) for t in timesteps]] if told else []
    lines.append(json.dumps([name, sampler, steps, strength, *timesteps, final]))
configs = ",\n  ".join(f"{json.dumps(name)}: {json.dumps(config)}" for name, config in CONFIGS.items())
walks = ",\n  ".join(lines)
text = f'{{\n "configs": {{\n  {configs}\n }},\n "walks": [\n  {walks}\n ]\n}}\n'
pathlib.Path(__file__).with_suffix(".json").write_text(text)
