"""Small checkpoints with random weights, in both layouts, and their tokeniser: fills checkpoint/ beside this file.

Usage: checkpoint.py BPE
       checkpoint.py BPE DIR    1.x and 2.x with the published four levels and two blocks a level, into DIR, which
                                `BIRDAUG_SINGLE=DIR cargo test --release original` then compares
BPE is `bpe_simple_vocab_16e6.txt.gz`, the vocabulary of CLIP (MIT, OpenAI), as the package open_clip_torch ships it.
Its first merges become the small vocabulary of the fixtures.

`v1` is like Stable Diffusion 1.x: written by diffusers as a folder, in fp16, and once more as `v1.safetensors` in the
original layout, by the inverse of the mapping that is tested. `v2` is the text encoder of 2.x alone, whose last layer
the original file has and the folder has not. `v1-vae-old.safetensors` has the autoencoder's older names.
"""

import gzip
import json
import pathlib
import re
import sys

import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

torch.set_num_threads(1)
OUT = pathlib.Path(__file__).parent / "checkpoint"
MERGES = 2000


def vocabulary(path, merges):
    """vocab.json and merges.txt of CLIP, cut after so many merges (None: all of them)."""
    lines = gzip.open(path, "rt", encoding="utf-8").read().split("\n")[1 : 49152 - 256 - 2 + 1][:merges]
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
    words = letters + [letter + "</w>" for letter in letters] + ["".join(line.split()) for line in lines]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return {word: i for i, word in enumerate(words)}, lines


def write_tokenizer(folder, vocab, merges, pad):
    """The files as the checkpoints of Stable Diffusion have them."""
    folder.mkdir(parents=True, exist_ok=True)
    special = lambda word: dict(content=word, lstrip=False, normalized=True, rstrip=False, single_word=False)
    bos, eos = special("<|startoftext|>"), special("<|endoftext|>")
    dump = lambda name, value: (folder / name).write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    dump("vocab.json", vocab)
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    dump("special_tokens_map.json", dict(bos_token=bos, eos_token=eos, pad_token=pad, unk_token=eos))
    typed = lambda token: {"__type": "AddedToken", **token}
    dump(
        "tokenizer_config.json",
        dict(
            add_prefix_space=False,
            bos_token=typed(bos),
            do_lower_case=True,
            eos_token=typed(eos),
            errors="replace",
            model_max_length=77,
            name_or_path="openai/clip-vit-large-patch14",
            pad_token="<|endoftext|>",
            special_tokens_map_file="./special_tokens_map.json",
            tokenizer_class="CLIPTokenizer",
            unk_token=typed(eos),
        ),
    )


def networks(two, levels):
    torch.manual_seed(2 if two else 1)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(4, 8, 8, 8)[:levels],
        down_block_types=("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1),
        layers_per_block=levels // 2,
        cross_attention_dim=4,
        attention_head_dim=2,
        use_linear_projection=two,
        norm_num_groups=2,
    )
    vae = AutoencoderKL(
        block_out_channels=(4, 4, 8, 8)[:levels],
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=levels // 2,
        norm_num_groups=2,
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=50,
            hidden_size=4,
            intermediate_size=8,
            num_hidden_layers=2,
            num_attention_heads=2,
            hidden_act="gelu" if two else "quick_gelu",
            bos_token_id=48,
            eos_token_id=49,
        )
    )
    return unet.half(), vae.half(), text.half()


def old_unet(name, depth):
    """diffusers' name of a U-Net's tensor as the original one."""
    name = re.sub(r"^time_embedding\.linear_(\d)", lambda m: f"time_embed.{2 * int(m[1]) - 2}", name)
    name = re.sub(r"^conv_in\.", "input_blocks.0.0.", name)
    name = name.replace("conv_norm_out.", "out.0.").replace("conv_out.", "out.2.")
    name = re.sub(r"^mid_block\.resnets\.(\d)", lambda m: f"middle_block.{2 * int(m[1])}", name)
    name = re.sub(r"^mid_block\.attentions\.0", "middle_block.1", name)
    block = lambda level, i: level * (depth + 1) + i + 1
    name = re.sub(r"^down_blocks\.(\d)\.resnets\.(\d)", lambda m: f"input_blocks.{block(int(m[1]), int(m[2]))}.0", name)
    name = re.sub(
        r"^down_blocks\.(\d)\.attentions\.(\d)", lambda m: f"input_blocks.{block(int(m[1]), int(m[2]))}.1", name
    )
    name = re.sub(
        r"^down_blocks\.(\d)\.downsamplers\.0\.conv", lambda m: f"input_blocks.{block(int(m[1]), depth)}.0.op", name
    )
    up = lambda level, i: level * (depth + 1) + i
    name = re.sub(r"^up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"output_blocks.{up(int(m[1]), int(m[2]))}.0", name)
    name = re.sub(r"^up_blocks\.(\d)\.attentions\.(\d)", lambda m: f"output_blocks.{up(int(m[1]), int(m[2]))}.1", name)
    attends = lambda level: level > 0  # as in the configurations above, and in the published ones
    name = re.sub(
        r"^up_blocks\.(\d)\.upsamplers\.0\.conv",
        lambda m: f"output_blocks.{up(int(m[1]), depth)}.{2 if attends(int(m[1])) else 1}.conv",
        name,
    )
    if re.match(r"(input|output|middle)_block", name):
        for new, old in [
            (".norm1.", ".in_layers.0."),
            (".conv1.", ".in_layers.2."),
            (".norm2.", ".out_layers.0."),
            (".conv2.", ".out_layers.3."),
            (".time_emb_proj.", ".emb_layers.1."),
            (".conv_shortcut.", ".skip_connection."),
        ]:
            if "transformer_blocks" not in name:
                name = name.replace(new, old)
    return "model.diffusion_model." + name


def old_vae(name, levels):
    name = re.sub(r"^encoder\.down_blocks\.(\d)\.resnets\.(\d)", r"encoder.down.\1.block.\2", name)
    name = re.sub(r"^encoder\.down_blocks\.(\d)\.downsamplers\.0", r"encoder.down.\1.downsample", name)
    name = re.sub(
        r"^decoder\.up_blocks\.(\d)\.resnets\.(\d)", lambda m: f"decoder.up.{levels - 1 - int(m[1])}.block.{m[2]}", name
    )
    name = re.sub(
        r"^decoder\.up_blocks\.(\d)\.upsamplers\.0", lambda m: f"decoder.up.{levels - 1 - int(m[1])}.upsample", name
    )
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = name.replace("mid_block.attentions.0.", "mid.attn_1.").replace("conv_norm_out", "norm_out")
    name = name.replace("conv_shortcut", "nin_shortcut").replace("group_norm", "norm").replace("to_out.0", "proj_out")
    return "first_stage_model." + re.sub(r"\.to_([qkv])\.", r".\1.", name)


def old_open_clip(tensors, layers):
    """A CLIPTextModel's tensors as OpenCLIP's, with one layer more at the end, and a projection."""
    out = {}
    head = "cond_stage_model.model."
    get = lambda name: tensors[name]
    out[head + "positional_embedding"] = get("embeddings.position_embedding.weight")
    out[head + "token_embedding.weight"] = get("embeddings.token_embedding.weight")
    for kind in ["weight", "bias"]:
        out[f"{head}ln_final.{kind}"] = get(f"final_layer_norm.{kind}")
    for i in range(layers + 1):
        new, old = f"encoder.layers.{min(i, layers - 1)}.", f"{head}transformer.resblocks.{i}."
        for kind in ["weight", "bias"]:
            rows = [get(f"{new}self_attn.{part}_proj.{kind}") for part in "qkv"]
            out[f"{old}attn.in_proj_{kind}"] = torch.cat(rows)
            for theirs, ours in [
                ("self_attn.out_proj", "attn.out_proj"),
                ("layer_norm1", "ln_1"),
                ("layer_norm2", "ln_2"),
                ("mlp.fc1", "mlp.c_fc"),
                ("mlp.fc2", "mlp.c_proj"),
            ]:
                out[f"{old}{ours}.{kind}"] = get(f"{new}{theirs}.{kind}").clone()
    width = out[head + "positional_embedding"].shape[1]
    out[head + "text_projection"] = torch.eye(width).half()
    out[head + "logit_scale"] = torch.tensor(1.0)
    return out


def conv(name, tensor):
    return tensor[:, :, None, None] if re.search(r"mid.attn_1.(q|k|v|proj_out).weight", name) else tensor


def load(folder, part, stem):
    return load_file(OUT / folder / part / f"{stem}.safetensors")


def save(name, tensors):
    save_file({n: t.contiguous() for n, t in tensors.items()}, OUT / f"{name}.safetensors")


def version(name, two, levels, vocab, merges):
    folder = OUT / name
    write_tokenizer(folder / "tokenizer", vocab, merges, "!" if two else "<|endoftext|>")
    unet, vae, text = networks(two, levels)
    kept = {path.name: path.read_bytes() for path in (folder / "tokenizer").iterdir()}
    StableDiffusionPipeline(
        unet=unet,
        vae=vae,
        text_encoder=text,
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        scheduler=PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            set_alpha_to_one=False,
            skip_prk_steps=True,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    for path in (folder / "tokenizer").iterdir():
        path.unlink()
    for file, content in kept.items():  # as the published checkpoints have it, not as today's transformers writes it
        (folder / "tokenizer" / file).write_bytes(content)

    unet = load(name, "unet", "diffusion_pytorch_model")
    vae = load(name, "vae", "diffusion_pytorch_model")
    words = load(name, "text_encoder", "model")
    whole = {old_unet(n, levels // 2): t for n, t in unet.items()}
    autoencoder = {old_vae(n, levels): t for n, t in vae.items()}
    whole |= {n: conv(n, t) for n, t in autoencoder.items()}
    back = convert_ldm_unet_checkpoint(dict(whole), dict(layers_per_block=levels // 2, class_embed_type=None))
    assert same(back, unet), "the inverse is not the one of diffusers"
    back = convert_ldm_vae_checkpoint(dict(whole), dict(down_block_types=[0] * levels, up_block_types=[0] * levels))
    assert same(back, vae), "the inverse is not the one of diffusers"
    if two:
        whole |= old_open_clip(words, 2)
    else:
        whole |= {f"cond_stage_model.transformer.text_model.{n}": t for n, t in words.items()}
        whole["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    whole["model_ema.num_updates"] = torch.tensor(7)
    whole["model_ema.diffusion_modeltime_embed0weight"] = torch.zeros(2)
    whole["alphas_cumprod"] = torch.ones(4)
    save(name, whole)
    return vae


def older_autoencoder(vae):
    middle = {old_names(n): t for n, t in vae.items() if "mid_block.attentions" in n}
    save("v1-vae-old", {n: t[:, :, None, None] if t.dim() == 2 else t for n, t in middle.items()})


def open_clip():
    networks(True, 2)[2].save_pretrained(OUT / "v2/text_encoder")
    save("v2", old_open_clip(load("v2", "text_encoder", "model"), 2))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n].squeeze(), other[n].squeeze()) for n in one)


def old_names(name):
    """The middle attention's names before diffusers 0.17."""
    return re.sub(
        r"\.to_(q|k|v|out\.0)\.",
        lambda m: "." + dict(q="query", k="key", v="value")[m[1]] + "." if m[1] in "qkv" else ".proj_attn.",
        name,
    )


if __name__ == "__main__":
    vocab, merges = vocabulary(sys.argv[1], MERGES)
    if len(sys.argv) > 2:
        OUT = pathlib.Path(sys.argv[2])
        version("v1", False, 4, vocab, merges)
        version("v2", True, 4, vocab, merges)
    else:
        older_autoencoder(version("v1", False, 2, vocab, merges))
        open_clip()
