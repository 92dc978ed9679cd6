"""Golden values of LoRAs on the small checkpoints of sd.py, from diffusers 0.42.1 and peft: writes the folder lora/ beside
this file.

`one.safetensors`, `one-b.safetensors` and `two.safetensors` are LoRAs as `save_lora_weights` writes them, with peft's
metadata, since their alpha is not their rank; `golden.safetensors` holds what the networks give with them, and the loss and
the adapters' gradients of one training step. All values follow from names by the formula of sd.py.

`ours.safetensors` is one that birdaug's own test `writes_a_lora_for_diffusers` wrote, with learned tokens; the golden values
hold the picture that diffusers makes with it.

    python lora.py
"""

import pathlib
import tempfile

import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

import sd
from sd import StableDiffusionPipeline, wave, weight
HERE = pathlib.Path(__file__).resolve().parent / "lora"
UNET = ["to_q", "to_k", "to_v", "to_out.0"]
TEXT = ["q_proj", "k_proj", "v_proj", "out_proj"]
BOUND = 5.0


def pipeline(model: str) -> StableDiffusionPipeline:
    parts = sd.networks(model)
    for part, network in parts.items():
        sd.fill(network, part)
    return StableDiffusionPipeline(
        **parts,
        tokenizer=None,
        scheduler=sd.SCHEDULERS[model],
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def ids() -> torch.Tensor:
    return torch.tensor([[62] + [(7 * i + j) % 60 for i in range(1 + 10 * j)] + [63] * (75 - 10 * j) for j in range(2)])


def stored(part: str, name: str) -> str:
    """The name of an adapter's tensor in a file."""
    name = name.replace(".default", "")
    if part == "text_encoder" and not name.startswith("text_model."):
        name = f"text_model.{name}"
    return f"{part}.{name}"


def add(network, part: str, prefix: str, rank: int, alpha: int, targets: list[str]) -> None:
    network.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets))
    for name, tensor in network.named_parameters():
        if ".lora_" in name:
            with torch.no_grad():
                tensor.copy_(weight(f"{prefix}.{stored(part, name)}", list(tensor.shape)))


def save(model: str, name: str, rank: int, alpha: int, unet: list[str], text: list[str], dtype: torch.dtype) -> None:
    pipe = pipeline(model)
    arguments = {}
    for part, targets in (("unet", unet), ("text_encoder", text)):
        if targets:
            network = getattr(pipe, part)
            add(network, part, name, rank, alpha, targets)
            state = get_peft_model_state_dict(network, adapter_name="default")
            arguments[f"{part}_lora_layers"] = {key: value.to(dtype).contiguous() for key, value in state.items()}
            arguments[f"{part}_lora_adapter_metadata"] = network.peft_config["default"].to_dict()
    with tempfile.TemporaryDirectory() as folder:
        pipe.save_lora_weights(folder, **arguments)
        (HERE / f"{name}.safetensors").write_bytes((pathlib.Path(folder) / "pytorch_lora_weights.safetensors").read_bytes())


def outputs(pipe, model: str) -> dict[str, torch.Tensor]:
    """What the networks give; every sixteenth token of the embeddings."""
    side = sd.MODELS[model]["unet"]["sample_size"]
    with torch.no_grad():
        text = pipe.text_encoder(ids())[0]
        unet = pipe.unet(wave("latents", [2, 4, side, side]), 501, text).sample
    return {"unet": unet, "text": text[:, ::16].contiguous()}


def with_loras(model: str, loras: list[tuple[str, float]]) -> dict[str, torch.Tensor]:
    pipe = pipeline(model)
    for name, _ in loras:
        pipe.load_lora_weights(HERE, weight_name=f"{name}.safetensors", adapter_name=name.replace("-", "_"))
    pipe.set_adapters([name.replace("-", "_") for name, _ in loras], [scale for _, scale in loras])
    return outputs(pipe, model)


def learned(encoder, rows: torch.Tensor) -> None:
    """Gives a text encoder embeddings of more tokens."""
    own = encoder.get_input_embeddings()
    more = torch.nn.Embedding(len(own.weight) + len(rows), own.weight.shape[1])
    with torch.no_grad():
        more.weight.copy_(torch.cat([own.weight, rows]))
    encoder.set_input_embeddings(more)


def ours() -> dict[str, torch.Tensor]:
    """The picture with a LoRA that birdaug wrote, of a prompt with its second learned token."""
    pipe = pipeline("one")
    # From the file: what it says counts as said, a constructor's defaults do not.
    own = sd.PNDMScheduler.from_pretrained(HERE.parent / "sd" / "one" / "scheduler")
    pipe.scheduler = sd.EulerDiscreteScheduler.from_config(own.config)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_lora_weights(HERE, weight_name="ours.safetensors")
    state = load_file(HERE / "ours.safetensors")
    learned(pipe.text_encoder, torch.cat([state[f"lora_token.{word}"] for word in ("<blue-jay>", "<owl>")]))
    prompts = ids()
    prompts[0, 1] = 65
    embeddings = pipe.text_encoder(prompts)[0].detach()
    latents = []
    image = pipe(
        prompt_embeds=embeddings[:1],
        negative_prompt_embeds=embeddings[1:],
        latents=load_file(HERE.parent / "sd" / "noise.safetensors")["latents"],
        height=32,
        width=48,
        num_inference_steps=5,
        guidance_scale=5.0,
        output_type="np",
        callback_on_step_end=lambda pipe, i, t, values: latents.append(values["latents"].clone()) or {},
    ).images[0]
    return {"latents": latents[-1], "image": torch.from_numpy((image * 255).round().astype("uint8"))}


def training(model: str, rank: int, text_encoder: bool, token: bool = False) -> dict[str, torch.Tensor]:
    """Loss and gradients of one step with min-SNR weights (Hang et al. 2023, as diffusers' training scripts have them)."""
    pipe = pipeline(model)
    for network in (pipe.unet, pipe.text_encoder):
        network.requires_grad_(False)
    add(pipe.unet, "unet", "fit", rank, rank, UNET)
    if text_encoder:
        add(pipe.text_encoder, "text_encoder", "fit", rank, rank, TEXT)
    prompts = ids()
    if token:
        # A learned token in place of token 8, beginning as what 8 is.
        learned(pipe.text_encoder, pipe.text_encoder.get_input_embeddings().weight[8:9].detach())
        prompts[prompts == 8] = 64
    side = sd.MODELS[model]["unet"]["sample_size"]
    latents, noise = wave("fit latents", [2, 4, side, side]), wave("fit noise", [2, 4, side, side])
    times = torch.tensor([100, 800])
    scheduler = sd.DDPMScheduler.from_config(pipe.scheduler.config)
    noisy = scheduler.add_noise(latents, noise, times)
    v = scheduler.config.prediction_type == "v_prediction"
    target = scheduler.get_velocity(latents, noise, times) if v else noise
    with torch.enable_grad():
        predicted = pipe.unet(noisy, times, pipe.text_encoder(prompts)[0]).sample
        kept = scheduler.alphas_cumprod[times]
        snr = kept / (1 - kept)
        weights = snr.clamp(max=BOUND) / (snr + 1 if v else snr)
        loss = (((predicted - target) ** 2).mean(dim=[1, 2, 3]) * weights).mean()
        loss.backward()
    gradients = {}
    for part, network in (("unet", pipe.unet), ("text_encoder", pipe.text_encoder)):
        for name, tensor in network.named_parameters():
            if "embed" in name and tensor.requires_grad:
                gradients["lora_token"] = tensor.grad[64:].flatten()
            elif tensor.requires_grad:
                gradients[stored(part, name)] = tensor.grad.flatten()
    return {"loss": loss.detach().reshape(1), "gradients": torch.cat([gradients[name] for name in sorted(gradients)])}


def main() -> None:
    HERE.mkdir(exist_ok=True)
    save("one", "one", 3, 5, UNET, TEXT, torch.float32)
    # Of the U-Net alone: transformers 5.23 forgets the text encoder's first adapter when it loads a second.
    save("one", "one-b", 2, 1, ["to_q", "to_out.0"], [], torch.float32)
    save("two", "two", 2, 3, ["to_k", "to_out.0"], ["q_proj", "v_proj"], torch.float16)
    golden = {}
    for name, (model, loras) in {
        "one 1": ("one", [("one", 1.0)]),
        "one 0.5": ("one", [("one", 0.5)]),
        "one both": ("one", [("one", 0.7), ("one-b", 1.2)]),
        "two 1": ("two", [("two", 1.0)]),
        "two 0.5": ("two", [("two", 0.5)]),
    }.items():
        golden |= {f"{name} {key}": value for key, value in with_loras(model, loras).items()}
    golden |= {f"fit one {key}": value for key, value in training("one", 2, False).items()}
    golden |= {f"fit two {key}": value for key, value in training("two", 1, True).items()}
    golden |= {f"fit token {key}": value for key, value in training("one", 2, True, True).items()}
    golden |= {f"ours {key}": value for key, value in ours().items()}
    save_file({key: value.contiguous() for key, value in golden.items()}, HERE / "golden.safetensors")


if __name__ == "__main__":
    main()
