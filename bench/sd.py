#!/usr/bin/env python3
"""Stable Diffusion beside diffusers: the same weights, the same sizes, interleaved in one run, as ratios.

    PYTHON bench/sd.py WORK [--precision bf16] [--rounds 5] [--size 512 --steps 1 --count 2]
    PYTHON bench/sd.py WORK --parity [--model sd15] [--model sd21] [--model small] [--model DIR] [--lora DIR]
    PYTHON bench/sd.py WORK --forwards [--model sd15] [--model sd21]
    PYTHON bench/sd.py WORK --memory
    PYTHON bench/sd.py WORK --build --steps 25 --count 3 --rounds 3
    PYTHON bench/sd.py WORK --gpu

PYTHON is one that has torch, diffusers and transformers; WORK a folder with 8 GB to spare. The first run makes checkpoints
of the published configurations with random weights there. CLIP's vocabulary comes from the package open_clip_torch, if it is
there.
"""

import argparse
import gzip
import importlib.util
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

warnings.filterwarnings("ignore")
HERE = pathlib.Path(__file__).resolve().parent
ENVIRONMENT = {**os.environ, "OMP_WAIT_POLICY": "passive"}


def tokenizer_files(folder: pathlib.Path, pad: str) -> None:
    """CLIP's vocabulary out of the PyPI package open_clip_torch, if it is installed; a stand-in of its size if not."""
    folder.mkdir(parents=True, exist_ok=True)
    byte_letters = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    letters = [chr(b) for b in byte_letters]
    letters += [chr(256 + n) for n in range(256 - len(letters))]
    package = importlib.util.find_spec("open_clip")
    if package:
        packed = pathlib.Path(package.origin).parent / "bpe_simple_vocab_16e6.txt.gz"
        merges = gzip.open(packed).read().decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    else:
        merges = ["t h", "i n", "a n", "th e</w>"]
    words = letters + [letter + "</w>" for letter in letters] + ["".join(merge.split()) for merge in merges]
    words += [f"<|unused {i}|>" for i in range(49406 - len(words))] + ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    special = dict(bos_token="<|startoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>", pad_token=pad)
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(dict(special, model_max_length=77, tokenizer_class="CLIPTokenizer", do_lower_case=True, add_prefix_space=False))
    )


VAE = dict(
    block_out_channels=(128, 256, 512, 512),
    down_block_types=("DownEncoderBlock2D",) * 4,
    up_block_types=("UpDecoderBlock2D",) * 4,
    latent_channels=4,
    layers_per_block=2,
    sample_size=512,
)
SCHEDULE = dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1)
# The published configurations of 1.5 and 2.1.
MODELS = {
    "sd15": dict(
        unet=dict(sample_size=64, cross_attention_dim=768, attention_head_dim=8),
        text=dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12),
        scheduler=("PNDMScheduler", dict(SCHEDULE, skip_prk_steps=True)),
        pad="<|endoftext|>",
    ),
    "sd21": dict(
        unet=dict(
            sample_size=96, cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True, upcast_attention=True
        ),
        text=dict(
            hidden_size=1024, intermediate_size=4096, num_hidden_layers=23, num_attention_heads=16, hidden_act="gelu", projection_dim=512
        ),
        scheduler=("DDIMScheduler", dict(SCHEDULE, prediction_type="v_prediction", clip_sample=False, set_alpha_to_one=False)),
        pad="!",
    ),
    # Of 1.5's shape and a thousandth of its size, to try things with.
    "small": dict(
        unet=dict(block_out_channels=(32, 64, 64, 64), sample_size=16, cross_attention_dim=64, attention_head_dim=4),
        text=dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4),
        vae=dict(block_out_channels=(32, 32, 64, 64), layers_per_block=1),
        scheduler=("PNDMScheduler", dict(SCHEDULE, skip_prk_steps=True)),
        pad="<|endoftext|>",
    ),
}


def make(folder: pathlib.Path, name: str) -> None:
    """A checkpoint of a published configuration, its weights random in bf16."""
    import diffusers
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel

    if (folder / "model_index.json").exists():
        return
    torch.manual_seed(0)
    model = MODELS[name]
    with torch.no_grad():
        makers = dict(
            unet=lambda: diffusers.UNet2DConditionModel(**(dict(block_out_channels=(320, 640, 1280, 1280)) | model["unet"])),
            vae=lambda: diffusers.AutoencoderKL(**(VAE | model.get("vae", {}))),
            text_encoder=lambda: CLIPTextModel(CLIPTextConfig(**model["text"])),
        )
        for part, maker in makers.items():
            maker().to(torch.bfloat16).save_pretrained(folder / part)
    kind, settings = model["scheduler"]
    getattr(diffusers, kind)(**settings).save_pretrained(folder / "scheduler")
    tokenizer_files(folder / "tokenizer", model["pad"])
    index = dict(
        _class_name="StableDiffusionPipeline",
        _diffusers_version="0.6.0",
        feature_extractor=[None, None],
        safety_checker=[None, None],
        scheduler=["diffusers", kind],
        text_encoder=["transformers", "CLIPTextModel"],
        tokenizer=["transformers", "CLIPTokenizer"],
        unet=["diffusers", "UNet2DConditionModel"],
        vae=["diffusers", "AutoencoderKL"],
    )
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))


def birdaug(options: argparse.Namespace, work: pathlib.Path, *more: str) -> tuple[float, float, float, float]:
    """Images by `birdaug generate`: seconds of a step, of a decoding and of a batch, peak MiB of the process."""
    command = [str(options.birdaug), "-v", "generate", *more, "--out", str(work / "out"), "--cache", str(work / "cache")]
    said = work / "said.txt"
    with open(said, "w") as log, subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=log) as run:
        peak = 0
        # The kernel's own figure for a child begins with what its parent held.
        while run.poll() is None:
            status = pathlib.Path(f"/proc/{run.pid}/status").read_text()
            peak = max([peak, *map(int, re.findall(r"VmHWM:\s+(\d+) kB", status))])
            time.sleep(0.2)
    said = said.read_text()
    if run.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: status {run.returncode}\n{said}")
    found = re.search(r"step: ([0-9.]+) s, decode: ([0-9.]+) s an image, batch: ([0-9.]+) s", said)
    return float(found[1]), float(found[2]), float(found[3]), peak / 1024


def pipeline(folder: pathlib.Path, precision: str, channels_last: bool):
    import torch
    from diffusers import StableDiffusionPipeline

    kind = dict(fp32=torch.float32, bf16=torch.bfloat16, fp16=torch.float16)[precision]
    pipe = StableDiffusionPipeline.from_pretrained(
        folder, torch_dtype=kind, safety_checker=None, requires_safety_checker=False, low_cpu_mem_usage=True
    )
    pipe.set_progress_bar_config(disable=True)
    if channels_last:
        pipe.unet.to(memory_format=torch.channels_last)
        pipe.vae.to(memory_format=torch.channels_last)
    return pipe


def peak_of_diffusers(options: argparse.Namespace, precision: str, last: bool) -> float:
    """Peak MiB of a process that makes one image, with weights channels last or as they are."""
    code = (
        f"import sys, pathlib; sys.path.insert(0, {str(HERE)!r}); import sd; "
        f"pipe = sd.pipeline(pathlib.Path({str(options.work / 'sd15')!r}), {precision!r}, {last}); "
        f"pipe('a bird', height={options.size}, width={options.size}, num_inference_steps={options.steps}); "
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    )
    return int(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()[-1]) / 1024


def speed(options: argparse.Namespace) -> None:
    """Steps of one guided image (U-Net batches of 2) and its decoding, a round of each after the other."""
    import torch

    torch.set_grad_enabled(False)
    torch.set_num_threads(os.cpu_count())
    folder = options.work / "sd15"
    text = torch.randn(2, 77, 768)
    latents = torch.randn(2, 4, options.size // 8, options.size // 8)
    for precision in options.precision:
        kind = dict(fp32=torch.float32, bf16=torch.bfloat16)[precision]
        times: dict[str, list[float]] = {}
        pipes = {"channels last": pipeline(folder, precision, True), "as it is": pipeline(folder, precision, False)}
        for round_ in range(options.rounds + 1):
            step, decode, _, peak = birdaug(
                options, options.work, str(folder), "--prompt", "a bird", "--size", str(options.size), "--steps", str(options.steps),
                "--count", str(options.count), "--precision", precision
            )
            for name, seconds in {"birdaug step": step, "birdaug decode": decode, "birdaug MiB": peak}.items():
                times.setdefault(name, []).append(seconds)
            for layout, pipe in pipes.items():
                x = latents.to(kind)
                x = x.to(memory_format=torch.channels_last) if layout == "channels last" else x
                took: dict[str, list[float]] = {"step": [], "decode": []}
                for _ in range(options.count):
                    # In turn, as an image is made: a machine that rests between two decodings does the second one sooner.
                    for name, call in [("step", lambda: pipe.unet(x, 500, text.to(kind)))] * options.steps + [
                        ("decode", lambda: pipe.vae.decode(x[:1]))
                    ]:
                        started = time.perf_counter()
                        call()
                        took[name].append(time.perf_counter() - started)
                for name, seconds in took.items():
                    times.setdefault(f"diffusers {layout} {name}", []).append(statistics.median(seconds))
        # The first round warms up.
        medians = {name: statistics.median(values[1:]) for name, values in times.items()}
        print(f"\n{precision}, {options.size}x{options.size}, median of {options.rounds}: peak of birdaug {medians['birdaug MiB']:.0f} MiB, "
              f"of diffusers {peak_of_diffusers(options, precision, True):.0f} MiB (channels last), "
              f"{peak_of_diffusers(options, precision, False):.0f} MiB (as it is)")
        for what in ("step", "decode"):
            ours = medians[f"birdaug {what}"]
            for layout in pipes:
                theirs = medians[f"diffusers {layout} {what}"]
                print(f"  {what:6} birdaug {ours:.3f} s, diffusers {layout:13} {theirs:.3f} s: {theirs / ours:.2f} times as fast")
        del pipes


def parity(options: argparse.Namespace) -> None:
    """The same noise through both in fp32: relative L2 of the final latents, and how far the pixels are apart."""
    import numpy as np
    import torch
    from PIL import Image
    from safetensors.torch import load_file, save_file

    torch.set_grad_enabled(False)
    work = options.work
    for model in options.model or ["sd15"]:
        folder = work / model if (work / model).exists() else pathlib.Path(model)
        pipe = pipeline(folder, "fp32", False)
        loras = []
        for i, lora in enumerate(options.lora):
            pipe.load_lora_weights(lora, adapter_name=f"lora{i}")
            loras += ["--lora", str(lora.resolve())]
        noise = torch.randn(1, pipe.unet.config.in_channels, 32, 32, generator=torch.Generator().manual_seed(1))
        save_file({"latents": noise}, work / "noise.safetensors")
        prompt = "a photo of an indigo bunting, a bird"
        latents = []
        image = pipe(
            prompt,
            negative_prompt="blurry",
            latents=noise,
            height=256,
            width=256,
            num_inference_steps=2,
            guidance_scale=4.0,
            output_type="np",
            callback_on_step_end=lambda pipe, i, t, values: latents.append(values["latents"].clone()) or {},
        ).images[0]
        del pipe
        birdaug(
            options, work, str(folder), *loras, "--device", options.device, "--prompt", prompt, "--negative", "blurry", "--size", "256", "--steps", "2",
            "--guidance", "4", "--precision", "fp32", "--noise", str(work / "noise.safetensors"),
            "--latents", str(work / "latents.safetensors"),
        )
        ours = load_file(work / "latents.safetensors")["latents"]
        distance = float((ours - latents[-1]).norm() / latents[-1].norm())
        pixels = np.asarray(Image.open(work / "out" / "0001.png"), dtype=np.int16)
        apart = np.abs(pixels - (image * 255).round().astype(np.int16))
        print(f"{model}: latents {distance:.1e} apart (relative L2), {100 * (apart <= 1).mean():.3f} % of the values within 1/255")


def forwards(options: argparse.Namespace) -> None:
    """One pass of each network in fp32: what diffusers gives, for birdaug's own test to compare (a prompt's embeddings, a
    prediction, latents of an image and an image of latents)."""
    import torch
    from safetensors.torch import save_file

    torch.set_grad_enabled(False)
    folders = []
    for model in options.model or ["sd15"]:
        folder = options.work / model if (options.work / model).exists() else pathlib.Path(model)
        pipe = pipeline(folder, "fp32", False)
        generator = torch.Generator().manual_seed(3)
        random = lambda *shape: torch.randn(*shape, generator=generator)
        vocabulary = pipe.text_encoder.config.vocab_size
        ids = torch.randint(0, vocabulary, (2, 77), generator=generator)
        found = dict(ids=ids, latents=random(2, pipe.unet.config.in_channels, 32, 32), images=random(1, 3, 256, 256).clamp(-1, 1))
        found["embeddings"] = pipe.text_encoder(ids)[0]
        found["times"] = torch.tensor([981.0, 17.0])
        found["predicted"] = pipe.unet(found["latents"], found["times"], found["embeddings"]).sample
        scale = pipe.vae.config.scaling_factor
        found["encoded"] = pipe.vae.encode(found["images"]).latent_dist.mean * scale
        found["decoded"] = pipe.vae.decode(found["latents"][:1] / scale).sample
        save_file({name: tensor.contiguous() for name, tensor in found.items()}, folder / "forwards.safetensors")
        folders.append(str(folder.resolve()))
        del pipe
    command = ["cargo", "test", "--release", "--lib", "full_size_networks", "--", "--ignored", "--nocapture"]
    subprocess.run(command, cwd=HERE.parent, env={**os.environ, "BIRDAUG_FORWARDS": ":".join(folders)}, check=True)


def memory(options: argparse.Namespace) -> None:
    """Peak memory of loading (one step of one image of 64x64) over the size of the weights in the precision that is asked for."""
    import torch
    from safetensors.torch import load_file, save_file

    bf16, fp32 = options.work / "sd15", options.work / "sd15-fp32"
    if not (fp32 / "model_index.json").exists():
        shutil.copytree(bf16, fp32)
        for path in fp32.rglob("*.safetensors"):
            if path.name != "forwards.safetensors":
                save_file({name: tensor.float() for name, tensor in load_file(path).items()}, path)
    values = sum(
        tensor.numel() for path in bf16.rglob("*.safetensors") if path.name != "forwards.safetensors" for tensor in load_file(path).values()
    )
    for folder, stored in ((fp32, "fp32"), (bf16, "bf16")):
        for precision, width in (("bf16", 2), ("fp32", 4)):
            arguments = ("--prompt", "a bird", "--size", "64", "--steps", "1", "--guidance", "1", "--precision", precision)
            *_, peak = birdaug(options, options.work, str(folder), *arguments)
            weights = values * width / 2**20
            print(f"{stored} file to {precision}: peak {peak:.0f} MiB, {peak / weights:.2f} times the weights' {weights:.0f} MiB")


RECIPE = """
[dataset]
root = "birds"
[balance]
target = 1
[balance.species]
"{species}" = {images}
[generator]
kind = "stable-diffusion"
model = "{model}"
prompt = "a photo of a {{species}}, a bird"
mode = "txt2img"
steps = {steps}
guidance = 7.5
size = {size}
precision = "{precision}"
batch = 1
[filter]
candidates = 1.0
[emit]
out = "out"
[classifier]
size = 32
steps = 1
seeds = [0]
"""


def build(options: argparse.Namespace) -> None:
    """What an image adds to a build, over its steps alone: builds of one image and of `--count` more, each from nothing."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        subprocess.run([options.birdaug, "-q", "sample", folder / "birds"], check=True)
        species = sorted(path.name for path in (folder / "birds" / "train").iterdir())[0]

        def built(images: int, precision: str) -> float:
            (folder / "recipe.toml").write_text(RECIPE.format(
                species=species, images=images, model=(options.work / "sd15").resolve(), steps=options.steps, size=options.size,
                precision=precision))
            shutil.rmtree(folder / "cache", ignore_errors=True)
            command = [options.birdaug, "-q", "-C", folder, "build", "recipe.toml", "--until", "candidates", "--cache", "cache"]
            started = time.perf_counter()
            subprocess.run(command, check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
            return time.perf_counter() - started

        for precision in options.precision:
            one, added, steps = [], [], []
            for _ in range(options.rounds):
                one.append(built(1, precision))
                added.append((built(1 + options.count, precision) - one[-1]) / options.count)
                _, decode, batch, _ = birdaug(
                    options, options.work, str(options.work / "sd15"), "--prompt", "a bird", "--size", str(options.size), "--steps",
                    str(options.steps), "--count", "3", "--batch", "1", "--precision", precision)
                # All that a batch does but decode: its steps as they were, slow ones among them.
                steps.append(batch - decode)
            one, added, steps = map(statistics.median, (one, added, steps))
            print(f"{precision}, {options.size}x{options.size}, {options.steps} steps: a build of one image {one:.1f} s, each further image "
                  f"{added:.2f} s, its steps alone {steps:.2f} s: {added / steps:.3f} times")


def gpu(options: argparse.Namespace) -> None:
    """Images a second at 512x512, 25 guided steps, fp16, beside diffusers with channels last; batches of 1 and 4, interleaved."""
    import torch

    if not torch.cuda.is_available():
        print("skipped: no CUDA device")
        return
    torch.set_grad_enabled(False)
    torch.backends.cudnn.benchmark = True
    folder = options.work / "sd15"
    pipe = pipeline(folder, "fp16", True).to("cuda")
    for batch in (1, 4):
        ours, theirs = [], []
        for _ in range(options.rounds + 1):
            torch.cuda.synchronize()
            started = time.perf_counter()
            pipe("a bird", num_images_per_prompt=batch, height=512, width=512, num_inference_steps=25, guidance_scale=7.5, output_type="pil")
            torch.cuda.synchronize()
            theirs.append(time.perf_counter() - started)
            torch.cuda.empty_cache()
            *_, seconds, _ = birdaug(
                options, options.work, str(folder), "--device", "cuda", "--prompt", "a bird", "--size", "512", "--steps", "25",
                "--count", str(3 * batch), "--batch", str(batch), "--precision", "fp16",
            )
            ours.append(seconds)
        a, b = batch / statistics.median(ours[1:]), batch / statistics.median(theirs[1:])
        print(f"{torch.cuda.get_device_name()}, batch {batch}: birdaug {a:.2f} images/s, diffusers {b:.2f}: {a / b:.2f} times as fast")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--make-only", action="store_true")
    parser.add_argument("--parity", action="store_true", help="compare pictures instead of times")
    parser.add_argument("--device", default="cpu", help="birdaug's, for --parity")
    parser.add_argument("--forwards", action="store_true", help="compare one pass of each full-size network")
    parser.add_argument("--memory", action="store_true", help="peak memory of loading")
    parser.add_argument("--build", action="store_true", help="time of builds over that of their steps")
    parser.add_argument("--gpu", action="store_true", help="images a second on a GPU")
    parser.add_argument("--lora", action="append", type=pathlib.Path, default=[], help="for --parity: a LoRA's folder")
    parser.add_argument("--model", action="append", help="for --parity: sd15, sd21, or a checkpoint's folder")
    parser.add_argument("--precision", action="append", choices=["bf16", "fp32"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=256, help="of the images whose steps and decoding are timed")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--birdaug", type=pathlib.Path, default=HERE.parent / "target/release/birdaug")
    options = parser.parse_args()
    options.precision = options.precision or ["bf16", "fp32"]
    options.birdaug = options.birdaug.resolve()
    options.work = options.work.resolve()
    options.work.mkdir(parents=True, exist_ok=True)
    for name in options.model or ["sd15"]:
        if name in MODELS:
            make(options.work / name, name)
    if options.make_only:
        return
    for asked, run in (("parity", parity), ("forwards", forwards), ("memory", memory), ("build", build), ("gpu", gpu)):
        if getattr(options, asked):
            return run(options)
    speed(options)


if __name__ == "__main__":
    main()
