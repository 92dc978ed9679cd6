"""Golden values of Stable Diffusion's networks, from diffusers 0.42.1 and transformers: writes the folders of sd/ beside
this file.

Small checkpoints in diffusers' layout: `one` is like 1.x, `two` like 2.x (v prediction, linear projections, heads a level,
exact GELU), `four` has the four levels of the real U-Nets with their ratios, `lcm` is `one` with a U-Net that is told the
guidance, as LCM_Dreamshaper_v7's is. Their weights are not committed: they
follow from names and shapes (`shapes.json`) by the formula of `weight`, which the tests repeat. `golden.safetensors` holds
what the networks give for inputs of the same formula.

    python sd.py [MODEL..]
"""

import json
import pathlib
import sys
import warnings

import numpy as np
import torch
from safetensors.torch import load_file, save_file

warnings.filterwarnings("ignore")
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LatentConsistencyModelPipeline,
    LCMScheduler,
    PNDMScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_img2img
from diffusers.schedulers import scheduling_ddpm, scheduling_euler_ancestral_discrete, scheduling_lcm
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel

torch.set_num_threads(1)
torch.set_grad_enabled(False)
HERE = pathlib.Path(__file__).resolve().parent / "sd"


def uniform(name: str, n: int) -> np.ndarray:
    """`n` numbers in [-0.5, 0.5), multiples of 2^-24: SplitMix64 from the name's FNV-1a hash."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float64) / 2**24 - 0.5


def weight(name: str, shape: list[int]) -> torch.Tensor:
    """A tensor that keeps a network's activations of about one size."""
    n = int(np.prod(shape))
    values = uniform(name, n)
    if len(shape) == 1:
        values = 0.2 * values + (1.0 if name.endswith("weight") else 0.0)
    else:
        fan_in = n // shape[0]
        values = values * np.sqrt(12.0 / fan_in) if "embedding" not in name.split(".")[-2] else values
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def wave(name: str, shape: list[int]) -> torch.Tensor:
    """An input: about of unit variance."""
    return torch.from_numpy((uniform(name, int(np.prod(shape))) * np.sqrt(12.0)).astype(np.float32)).reshape(shape)


def fill(model, prefix: str) -> dict[str, list[int]]:
    shapes = {}
    for name, tensor in model.state_dict().items():
        if name.endswith("position_ids"):
            continue
        # Published checkpoints, and older transformers, have the prefix.
        stored = f"text_model.{name}" if prefix == "text_encoder" and not name.startswith("text_model.") else name
        shapes[stored] = list(tensor.shape)
        tensor.copy_(weight(f"{prefix}.{stored}", shapes[stored]))
    return shapes


MODELS = {
    "one": dict(
        unet=dict(
            block_out_channels=(16, 32),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=24,
            attention_head_dim=2,
            norm_num_groups=4,
            sample_size=4,
        ),
        text=dict(hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=3, hidden_act="quick_gelu"),
        vae=dict(block_out_channels=(8, 16, 16, 16), layers_per_block=1, norm_num_groups=4),
    ),
    "two": dict(
        unet=dict(
            block_out_channels=(16, 32, 32),
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=2,
            cross_attention_dim=32,
            attention_head_dim=(2, 4, 4),
            norm_num_groups=8,
            use_linear_projection=True,
            upcast_attention=True,
            sample_size=8,
        ),
        text=dict(hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4, hidden_act="gelu"),
        vae=dict(block_out_channels=(8, 8, 16, 16), layers_per_block=2, norm_num_groups=4),
    ),
    "four": dict(
        unet=dict(
            block_out_channels=(8, 16, 32, 32),
            down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
            layers_per_block=2,
            cross_attention_dim=24,
            attention_head_dim=4,
            norm_num_groups=4,
            sample_size=8,
        ),
        text=dict(hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, hidden_act="quick_gelu"),
        vae=dict(block_out_channels=(4, 8, 16, 16), layers_per_block=2, norm_num_groups=4),
    ),
}
MODELS["lcm"] = MODELS["one"] | dict(unet=MODELS["one"]["unet"] | dict(time_cond_proj_dim=16))
BLOCKS = dict(
    down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=4
)


def networks(name: str):
    config = MODELS[name]
    text = CLIPTextModel(
        CLIPTextConfig(vocab_size=64, max_position_embeddings=77, bos_token_id=62, eos_token_id=63, **config["text"])
    ).eval()
    return dict(unet=UNet2DConditionModel(**config["unet"]).eval(), vae=AutoencoderKL(**config["vae"], **BLOCKS).eval(), text_encoder=text)


def main() -> None:
    for name in sys.argv[1:] or MODELS:
        folder = HERE / name
        parts = networks(name)
        shapes = {}
        (folder / "scheduler").mkdir(parents=True, exist_ok=True)
        SCHEDULERS[name].save_config(folder / "scheduler")
        for part, model in parts.items():
            shapes[part] = fill(model, part)
            (folder / part).mkdir(parents=True, exist_ok=True)
            if part == "text_encoder":
                (folder / part / "config.json").write_text(model.config.to_json_string())
            else:
                model.save_config(folder / part)
        (folder / "shapes.json").write_text(json.dumps(shapes, separators=(",", ":")) + "\n")
        unet, vae, text = parts["unet"], parts["vae"], parts["text_encoder"]
        ids = torch.tensor([[62] + [(7 * i + j) % 60 for i in range(1 + 10 * j)] + [63] * (75 - 10 * j) for j in range(2)])
        embeddings = text(ids)[0]
        side = MODELS[name]["unet"]["sample_size"]
        latents = wave("latents", [2, 4, side, side])
        golden = dict(ids=ids, embeddings=embeddings)
        for t in (1, 981):
            golden[f"unet_{t}"] = unet(latents, t, embeddings).sample
        odd = wave("odd", [1, 4, side + 4, side - 1]) if side > 4 else wave("odd", [1, 4, 6, 5])
        golden["unet_odd"] = unet(odd, 500, embeddings[:1]).sample
        images = wave("images", [1, 3, 32, 48]).clamp(-1, 1)
        golden["encoded"] = vae.encode(images).latent_dist.mean * vae.config.scaling_factor
        golden["decoded"] = vae.decode(wave("decoded", [1, 4, 4, 3]) / vae.config.scaling_factor).sample
        save_file({key: value.contiguous() for key, value in walks(name, parts, embeddings).items()}, folder / "walks.safetensors")
        save_file({key: value.contiguous() for key, value in golden.items()}, folder / "golden.safetensors")



SCHEDULERS = {
    "one": PNDMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, skip_prk_steps=True, steps_offset=1
    ),
    "two": DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    ),
    # Clipped latents under guidance would make such walks chaotic: diffusers' own float32 is then 1e-3 from its float64.
    "four": DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        timestep_spacing="trailing",
        steps_offset=1,
    ),
    "lcm": LCMScheduler(),
}
SAMPLERS = {
    "ddim": (DDIMScheduler, {}),
    "dpm++2m": (DPMSolverMultistepScheduler, {}),
    "dpm++2m-karras": (DPMSolverMultistepScheduler, dict(use_karras_sigmas=True)),
    "euler": (EulerDiscreteScheduler, {}),
    "euler-a": (EulerAncestralDiscreteScheduler, {}),
    "unipc": (UniPCMultistepScheduler, {}),
    "pndm": (PNDMScheduler, {}),
    "ddpm": (DDPMScheduler, {}),
    "lcm": (LCMScheduler, {}),
}
# mode, steps, guidance, guidance rescale, strength; a mode and its steps name a walk
WALKS = [
    ("t2i", 5, 7.5, 0.0, 1.0),
    ("t2i", 2, 1.0, 0.0, 1.0),
    ("t2i", 6, 5.0, 0.7, 1.0),
    ("t2i", 20, 4.0, 0.0, 1.0),
    ("i2i", 5, 1.0, 0.0, 0.6),
    ("i2i", 4, 3.0, 0.0, 0.8),
    ("i2i", 6, 2.0, 0.0, 1.0),
]


# Of `lcm`. Its own image-to-image pipeline walks all steps below the strength; others walk that share of them, as birdaug does.
LCM_WALKS = [
    ("t2i", 4, 8.0, 0.0, 1.0),
    ("t2i", 3, 1.0, 0.0, 1.0),
    ("t2i", 6, 2.5, 0.0, 1.0),
    ("i2i", 4, 8.0, 0.0, 0.8),
]


def walks(name: str, parts: dict, embeddings: torch.Tensor) -> dict[str, torch.Tensor]:
    """Whole walks of diffusers' pipelines: the latents after every step, and some images."""
    noise = load_file(HERE / "noise.safetensors")
    # The latents of a photo are their mean, not a draw; fresh noise is what birdaug draws for that step.
    DiagonalGaussianDistribution.sample = lambda self, generator=None: self.mean
    at = {"step": 0}
    fresh = lambda *_, **__: noise[f"step {at['step']}"].clone()
    for module in (scheduling_euler_ancestral_discrete, scheduling_ddpm, scheduling_lcm):
        module.randn_tensor = fresh
    pipeline_stable_diffusion_img2img.randn_tensor = lambda *_, **__: noise["latents"].clone()
    height, width = 32, 48
    photo = ((uniform("photo", 3 * height * width) + 0.5) * 256).astype(np.uint8).reshape(height, width, 3)
    out = {}
    lcm = name == "lcm"
    for sampler, (scheduler_class, more) in {key: SAMPLERS[key] for key in (["lcm", "ddim"] if lcm else SAMPLERS)}.items():
        for (mode, steps, guidance, rescale, strength) in LCM_WALKS if lcm else WALKS:
            if sampler == "pndm" and (name == "four" or name == "two" and steps < 4):
                continue  # Runge-Kutta steps want 4 steps at least, and no "trailing" spacing: diffusers stops with an error.
            pipeline_class = StableDiffusionPipeline if mode == "t2i" else StableDiffusionImg2ImgPipeline
            own = lcm and sampler == "lcm" and mode == "t2i"
            if own:
                pipeline_class = LatentConsistencyModelPipeline
            pipe = pipeline_class(
                unet=parts["unet"],
                vae=parts["vae"],
                text_encoder=parts["text_encoder"],
                tokenizer=None,
                scheduler=type(SCHEDULERS[name]).from_pretrained(HERE / name / "scheduler"),
                safety_checker=None,
                feature_extractor=None,
                requires_safety_checker=False,
            )
            pipe.set_progress_bar_config(disable=True)
            # As people change samplers. (The pipeline itself sets `steps_offset` to 1 and `clip_sample` to false.)
            scheduler = pipe.scheduler = scheduler_class.from_config(pipe.scheduler.config, **more)
            at["step"] = 0 if mode == "t2i" else steps - min(int(steps * strength), steps)
            own_step = scheduler.step

            def step(*args, **kwargs):
                result = own_step(*args, **kwargs)
                at["step"] += 1
                return result

            scheduler.step = step
            latents = []

            def after(pipe, index, t, values):
                latents.append(values["latents"].clone())
                return {}

            arguments = dict(
                prompt_embeds=embeddings[:1],
                negative_prompt_embeds=embeddings[1:],
                num_inference_steps=steps,
                guidance_scale=guidance,
                callback_on_step_end=after,
                callback_on_step_end_tensor_inputs=["latents"],
                output_type="np",
            )
            if own:
                del arguments["negative_prompt_embeds"]
                arguments |= dict(latents=noise["latents"].clone(), height=height, width=width)
            elif mode == "t2i":
                arguments |= dict(latents=noise["latents"].clone(), height=height, width=width, guidance_rescale=rescale)
            else:
                arguments |= dict(image=Image.fromarray(photo), strength=strength)
            image = pipe(**arguments).images[0]
            key = f"{sampler} {mode} {steps}"
            out[f"{key} latents"] = torch.cat(latents)
            out[f"{key} image"] = torch.from_numpy((image * 255).round().astype(np.uint8)).contiguous()
    return out


if __name__ == "__main__":
    main()
