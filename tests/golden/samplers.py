"""Golden values of the samplers, from diffusers: writes samplers.json beside this file.

Whole sampling loops of a fixed fake model, `cos(3 x + t / 1000) * 0.7`, from `sin(1), sin(2), ...`, in float64 with
schedules in float64 (diffusers makes them in float32, which moves the last digits that the comparison is about).
"""

import json
import pathlib

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

torch.set_default_dtype(torch.float64)
SHAPE = (2, 3, 2, 2)
BETAS = {
    "cosine": dict(beta_schedule="squaredcos_cap_v2"),
    "linear": dict(beta_schedule="linear", beta_start=1e-4, beta_end=0.02),
    "scaled_linear": dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
}


def sharpen(scheduler, name):
    """Puts the schedule that the scheduler was made with in again, in float64."""
    import math

    n = 1000
    if name == "cosine":
        bar = lambda t: math.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
        betas = torch.tensor([min(1 - bar((i + 1) / n) / bar(i / n), 0.999) for i in range(n)])
    else:
        start, end = BETAS[name]["beta_start"], BETAS[name]["beta_end"]
        root = 0.5 if name == "scaled_linear" else 1
        betas = torch.linspace(start**root, end**root, n) ** (1 / root)
    scheduler.betas = betas
    scheduler.alphas = 1 - betas
    scheduler.alphas_cumprod = torch.cumprod(1 - betas, 0)
    if hasattr(scheduler, "lambda_t"):
        scheduler.alpha_t = scheduler.alphas_cumprod.sqrt()
        scheduler.sigma_t = (1 - scheduler.alphas_cumprod).sqrt()
        scheduler.lambda_t = scheduler.alpha_t.log() - scheduler.sigma_t.log()
    return scheduler


def walk(sampler, betas, prediction, spacing, steps, clip=False, offset=0, end_clean=True, strength=None):
    common = dict(prediction_type=prediction, timestep_spacing=spacing, steps_offset=offset, **BETAS[betas])
    if sampler == "ddim":
        scheduler = DDIMScheduler(clip_sample=clip, set_alpha_to_one=end_clean, **common)
    else:
        # Dynamic thresholding with a maximum of 1 is clipping to [-1, 1].
        scheduler = DPMSolverMultistepScheduler(
            thresholding=clip, sample_max_value=1.0, use_karras_sigmas=sampler.endswith("karras"), **common
        )
    scheduler = sharpen(scheduler, betas)
    scheduler.set_timesteps(steps)
    x = torch.arange(1, 25).double().sin().reshape(SHAPE)
    timesteps = scheduler.timesteps
    if strength is not None:
        start = steps - min(int(steps * strength), steps)
        clean = torch.arange(1, 25).double().mul(0.37).cos().reshape(SHAPE)
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(start)
        timesteps = timesteps[start:]
        x = scheduler.add_noise(clean, x, timesteps[:1])
    for t in timesteps:
        output = torch.cos(3 * x + t / 1000) * 0.7
        x = scheduler.step(output, t, x).prev_sample.double()
    return dict(
        sampler=sampler, betas=betas, prediction=prediction, spacing=spacing, steps=steps, clip=clip, offset=offset,
        end_clean=end_clean, strength=strength, timesteps=scheduler.timesteps.tolist(),
        final=[round(v, 9) for v in x.flatten().tolist()],
    )  # fmt: skip


golden = []
for sampler in ["ddim", "dpm++2m", "dpm++2m-karras"]:
    golden += [
        walk(sampler, "cosine", "v_prediction", "trailing", 25, clip=True),
        walk(sampler, "cosine", "v_prediction", "linspace", 10, clip=True),
        walk(sampler, "cosine", "sample", "leading", 7),
        walk(sampler, "linear", "epsilon", "linspace", 20),
        walk(sampler, "linear", "sample", "trailing", 30),
        walk(sampler, "scaled_linear", "epsilon", "leading", 25, offset=1, end_clean=False),
        walk(sampler, "scaled_linear", "v_prediction", "trailing", 12),
        walk(sampler, "cosine", "v_prediction", "trailing", 25, clip=True, strength=0.6),
        walk(sampler, "scaled_linear", "epsilon", "leading", 20, offset=1, strength=0.33),
    ]
lines = ",\n ".join(json.dumps(case) for case in golden)
pathlib.Path(__file__).with_suffix(".json").write_text(f"[\n {lines}\n]\n")
