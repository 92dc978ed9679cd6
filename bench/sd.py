#!/usr/bin/env python3
"""Stable Diffusion beside diffusers: the same weights, the same sizes, interleaved in one run, as ratios.

    PYTHON bench/sd.py WORK [--make-only]

PYTHON is one that has torch, diffusers and transformers; WORK a folder with 5 GB to spare. The first run makes a checkpoint
of Stable Diffusion 1.5's configuration with random weights there (`WORK/sd15`).
"""

import argparse
import gzip
import json
import pathlib
import warnings

warnings.filterwarnings("ignore")


def tokenizer_files(folder: pathlib.Path) -> None:
    """CLIP's vocabulary out of the PyPI package open_clip_torch, if it is installed; a stand-in of its size if not."""
    folder.mkdir(parents=True, exist_ok=True)
    byte_letters = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    letters = [chr(b) for b in byte_letters]
    letters += [chr(256 + n) for n in range(256 - len(letters))]
    try:
        import open_clip

        packed = pathlib.Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
        merges = gzip.open(packed).read().decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    except ImportError:
        merges = ["t h", "i n", "a n", "th e</w>"]
    words = letters + [letter + "</w>" for letter in letters] + ["".join(merge.split()) for merge in merges]
    words += [f"<|unused {i}|>" for i in range(49406 - len(words))] + ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    special = dict(bos_token="<|startoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>", pad_token="<|endoftext|>")
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(dict(special, model_max_length=77, tokenizer_class="CLIPTokenizer", do_lower_case=True, add_prefix_space=False))
    )


def make(folder: pathlib.Path) -> None:
    """A checkpoint of Stable Diffusion 1.5's configuration, its weights random in bf16."""
    import torch
    from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    if (folder / "model_index.json").exists():
        return
    torch.manual_seed(0)
    unet = dict(sample_size=64, cross_attention_dim=768, attention_head_dim=8, block_out_channels=(320, 640, 1280, 1280))
    vae = dict(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        layers_per_block=2,
        sample_size=512,
    )
    with torch.no_grad():
        parts = dict(
            unet=UNet2DConditionModel(**unet),
            vae=AutoencoderKL(**vae),
            text_encoder=CLIPTextModel(
                CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
            ),
        )
        for name, model in parts.items():
            model.to(torch.bfloat16).save_pretrained(folder / name)
    PNDMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, skip_prk_steps=True, steps_offset=1
    ).save_pretrained(folder / "scheduler")
    tokenizer_files(folder / "tokenizer")
    index = dict(
        _class_name="StableDiffusionPipeline",
        _diffusers_version="0.6.0",
        feature_extractor=[None, None],
        safety_checker=[None, None],
        scheduler=["diffusers", "PNDMScheduler"],
        text_encoder=["transformers", "CLIPTextModel"],
        tokenizer=["transformers", "CLIPTokenizer"],
        unet=["diffusers", "UNet2DConditionModel"],
        vae=["diffusers", "AutoencoderKL"],
    )
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=pathlib.Path)
    parser.add_argument("--make-only", action="store_true")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    make(options.work / "sd15")


if __name__ == "__main__":
    main()
