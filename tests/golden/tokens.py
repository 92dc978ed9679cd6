"""Token ids of 200 varied prompts by transformers' CLIPTokenizer, with the small vocabulary of checkpoint/v1: writes
tokens.json beside this file.

Usage: tokens.py
       tokens.py BPE DIR    the same with all of CLIP's vocabulary (see checkpoint.py), into DIR, which
                            `BIRDAUG_TOKENS=DIR cargo test --release tokens` then compares with
"""

import json
import pathlib
import random
import shutil
import sys

import checkpoint
from transformers import CLIPTokenizer

HERE = pathlib.Path(__file__).parent
BIRDS = ["indigo bunting", "MALLARD", "Parakett  Auklet", "snowy egret", "Anna's Hummingbird", "blue-footed booby"]


def prompts():
    out = [f"a photo of a {bird}, a bird" for bird in BIRDS]
    out += [f"A {bird} in flight, 4k, f/2.8, 1/2000 s, ISO-{i * 100}" for i, bird in enumerate(BIRDS)]
    out += ["", " ", "\t", "\n\n", "   a   bird  ", "a\tbird\r\nin\fa\vtree", "bird ", " bird", "\u3000bird\u00a0egg\u2003x"]
    out += ["!", "!!!", "a bird!", "wow !!! a bird!!", "?!?!", "...", "a, b; c: d. e", "(a) [b] {c} <d>", "--- ___ ***"]
    out += ["don't", "DON'T", "it's we're I've I'm they'll he'd", "'tis rock 'n' roll", "don’t", "o'clock's'", "''s"]
    out += ["0", "7", "1234567890", "3.14159", "1,000,000", "v2.1", "x²", "½ ¾", "٣٤", "一二三", "Ⅷ", "①②", "1st 2nd"]
    out += ["café", "cafe\u0301", "ÀÉÎÕÜ àéîõü", "Åland", "A\u030aland", "naïve façade", "Straße", "STRASSE ß ẞ", "ŒUVRE"]
    out += ["İstanbul", "ıI", "ΑΣ ΟΔΥΣΣΕΥΣ", "ǅ ǆ", "ﬁ ﬂ", "Ωmega", "Москва синица", "ёж", "Ελληνικά", "עברית", "العربية"]
    out += ["हिन्दी", "ไทย", "日本語の鳥", "鳥", "中文 鸟", "한국어 새", "ｆｕｌｌ ｗｉｄｔｈ", "がぎぐ", "か\u3099", "Tiếng Việt", "ქართული"]
    out += ["🐦", "a 🦜 on a 🌴", "👨‍👩‍👧‍👦", "❤️ red", "🇫🇮", "👍🏽", "☃", "♥♦", "→ ⇒", "€5 £6 ¥7", "©®™", "a🐦b"]
    out += ["\x00", "a\x00b", "\x01\x02\x1f", "\x7f", "\u200b", "a\u200bb", "\ufeffbird", "soft\u00adhyphen", "a\u2028b\u2029c"]
    out += ["\x85", "a\x85b", "\u200d", "\u061c", "\ue000", "\ufffd", "a\u0300\u0301\u0302", "\U0001d400\U0001d401", "𝒷𝒾𝓇𝒹"]
    out += ["&amp; &lt;b&gt; &#39;", "&amp;amp;", "<b>bold</b>", "http://example.com/a?b=c&d=%20", "a@b.org", "#bird @home"]
    out += ["<|startoftext|>", "<|endoftext|>", "a <|endoftext|> b", "<|ENDOFTEXT|>x", "x<|startoftext|>y", "<|STARTOFTEXT|>z", "<|"]
    out += ["C++ C# F#", "snake_case CamelCase kebab-case", "\\n \\t", "\"quoted\" 'single' `back`", "a/b\\c|d", "~^+=<>%$"]
    out += ["bird " * 30, "bird " * 75, "bird " * 76, "bird " * 100, "a" * 80, "ab" * 200, "!" * 100, "鳥" * 60, "🐦" * 30]
    out += ["supercalifragilisticexpialidocious", "antidisestablishmentarianism", "qwxzjk", "zzzzzzzz", "aAaAaA"]
    out += ["a photo of a " + "very " * 80 + "rare bird", "1" * 90, "a, " * 50, "don't " * 40, "é" * 50]
    letters = "aAbirdé ñ鳥🐦!?'s1 ,.-\n\t<|>ßΣİ"
    rng = random.Random(4)
    while len(out) < 200:
        out.append("".join(rng.choice(letters) for _ in range(rng.randrange(1, 60))))
    assert len(out) == len(set(out)) == 200, (len(out), len(set(out)))
    return out


def encode(folder):
    """Ids, cut at 77 as pipelines do, and how many did not fit; padded to 77 by the same rule everywhere."""
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    out = []
    for prompt in prompts():
        ids = tokenizer(prompt, truncation=True, max_length=77).input_ids
        padded = tokenizer(prompt, padding="max_length", truncation=True, max_length=77).input_ids
        assert padded == ids + [tokenizer.pad_token_id] * (77 - len(ids))
        out.append([len(tokenizer(prompt).input_ids) - len(ids), ids[1:-1]])
    return out


def write(out, vocab, merges):
    """Ids with `<|endoftext|>` for padding as in 1.x, those with `!` as in 2.x, of today's files, and of no settings."""
    work = out / "work"
    shapes = {}
    for name, pad in [("1", "<|endoftext|>"), ("2", "!")]:
        checkpoint.write_tokenizer(work / name, vocab, merges, pad)
        shapes[name] = encode(work / name)
        CLIPTokenizer.from_pretrained(work / name).save_pretrained(work / f"{name}-new")
        assert encode(work / f"{name}-new") == shapes[name]
    (work / "bare").mkdir()
    for file in ["vocab.json", "merges.txt"]:
        shutil.copy(work / "1" / file, work / "bare" / file)
    shapes["bare"] = encode(work / "bare")
    for name in ["2", "bare"]:  # only what differs from 1
        shapes[name] = {i: ids for i, (ids, one) in enumerate(zip(shapes[name], shapes["1"])) if ids != one}
    return shapes


if __name__ == "__main__":
    full = len(sys.argv) > 1
    if full:
        vocab, merges = checkpoint.vocabulary(sys.argv[1], None)
        out = pathlib.Path(sys.argv[2])
    else:
        vocab = json.loads((HERE / "checkpoint/v1/tokenizer/vocab.json").read_text(encoding="utf-8"))
        merges = (HERE / "checkpoint/v1/tokenizer/merges.txt").read_text(encoding="utf-8").split("\n")[1:-1]
        out = pathlib.Path("/tmp/birdaug-tokens")
    shutil.rmtree(out, ignore_errors=True)
    (out / "work").mkdir(parents=True)
    golden = dict(prompts=prompts(), begin=len(vocab) - 2, end=len(vocab) - 1, ids=write(out, vocab, merges))
    target = out / "tokens.json" if full else HERE / "tokens.json"
    target.write_text(json.dumps(golden, ensure_ascii=True, separators=(",", ":")) + "\n")
