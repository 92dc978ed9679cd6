//! What is printed about names that no recipe knows, and about what is missing.

use super::message;

#[test]
fn an_unknown_table_shows_the_nearest() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
[clasifier]
size = 64
"#), @r##"
    error: there is no table `[clasifier]`
     --> recipes/birds.toml:5:2
      |
    5 | [clasifier]
      |  ^^^^^^^^^ unknown
      |
      = allowed: dataset, split, balance, generator, filter, emit, classifier, compare, report
      = help: did you mean `classifier`?
    "##);
}

#[test]
fn an_unknown_key_shows_the_nearest() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
guidence = 4.0
[filter]
sim_max = 0.9
"#), @r##"
    error: `[generator]` takes no `guidence`
     --> recipes/birds.toml:5:1
      |
    5 | guidence = 4.0
      | ^^^^^^^^ unknown
      |
      = allowed: kind, mode, strength, steps, guidance, sampler, size, precision, batch, seed, width, levels, depth, train
      = help: did you mean `guidance`?

    error: `[filter]` takes no `sim_max`
     --> recipes/birds.toml:7:1
      |
    7 | sim_max = 0.9
      | ^^^^^^^ unknown
      |
      = allowed: candidates, ssim_max, ssim_min, held_out_max, copy_max, duplicate_max, confidence_min, realism_min, fid_max, kid_max, species_kid_max, features
      = help: did you mean `ssim_max`?

    2 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn a_key_of_another_table_says_which() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
confidence_min = 0.1
[split]
max_ratio = 2.0
"#), @r##"
    error: `[generator]` takes no `confidence_min`
     --> recipes/birds.toml:5:1
      |
    5 | confidence_min = 0.1
      | ^^^^^^^^^^^^^^ unknown
      |
      = allowed: kind, mode, strength, steps, guidance, sampler, size, precision, batch, seed, width, levels, depth, train
      = help: `confidence_min` belongs in `[filter]`

    error: `[split]` takes no `max_ratio`
     --> recipes/birds.toml:7:1
      |
    7 | max_ratio = 2.0
      | ^^^^^^^^^ unknown
      |
      = allowed: kind, imbalance, shots, seed, test
      = help: `max_ratio` belongs in `[balance]`

    2 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn a_key_outside_of_every_table_says_where_it_belongs() {
    insta::assert_snapshot!(message(r#"steps = 25
[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
"#), @r##"
    error: `steps` stands outside of every table
     --> recipes/birds.toml:1:1
      |
    1 | steps = 25
      | ^^^^^ unknown
      |
      = allowed: dataset, split, balance, generator, filter, emit, classifier, compare, report
      = help: `steps` belongs in `[classifier]`, `[generator]`, `[generator.lora]` or `[generator.train]`
    "##);
}

#[test]
fn a_key_like_no_other_lists_what_is_allowed() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
colour = "blue"
[generator]
kind = "ddpm"
"#), @r##"
    error: `[dataset]` takes no `colour`
     --> recipes/birds.toml:3:1
      |
    3 | colour = "blue"
      | ^^^^^^ unknown
      |
      = allowed: root, splits, rename, exclude
    "##);
}

#[test]
fn a_key_of_the_other_kind_says_whose_it_is() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "stable-diffusion"
width = 64
[generator.train]
steps = 100
"#), @r##"
    error: `width` in `[generator]` belongs to another kind of generator
     --> recipes/birds.toml:5:1
      |
    5 | width = 64
      | ^^^^^ only `ddpm` takes this
      |
      = help: remove it, or choose `kind = "ddpm"`

    error: `train` in `[generator]` belongs to another kind of generator
     --> recipes/birds.toml:6:12
      |
    6 | [generator.train]
      |            ^^^^^ only `ddpm` takes this
      |
      = help: remove it, or choose `kind = "ddpm"`

    2 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn a_prompt_belongs_to_stable_diffusion() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
prompt = "a {species}"
[generator.lora]
rank = 8
"#), @r##"
    error: `prompt` in `[generator]` belongs to another kind of generator
     --> recipes/birds.toml:5:1
      |
    5 | prompt = "a {species}"
      | ^^^^^^ only `stable-diffusion` takes this
      |
      = help: remove it, or choose `kind = "stable-diffusion"`

    error: `lora` in `[generator]` belongs to another kind of generator
     --> recipes/birds.toml:6:12
      |
    6 | [generator.lora]
      |            ^^^^ only `stable-diffusion` takes this
      |
      = help: remove it, or choose `kind = "stable-diffusion"`

    2 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn an_unknown_name_shows_the_nearest_and_all() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[split]
kind = "longtail"
test = "train"
[balance]
target = "maximum"
[generator]
kind = "ddpm"
sampler = "dpm++"
mode = "img2image"
precision = "float32"
[emit]
link = "hard"
encode = "mach"
[classifier]
arch = "resnet-18"
[compare]
arms = ["real", "oversample"]
"#), @r##"
    error: `kind` in `[split]` does not know `longtail`
     --> recipes/birds.toml:4:8
      |
    4 | kind = "longtail"
      |        ^^^^^^^^^^ unknown
      |
      = allowed: `full`, `few-shot` or `long-tail`
      = help: did you mean `long-tail`?

    error: `test` in `[split]` does not know `train`
     --> recipes/birds.toml:5:8
      |
    5 | test = "train"
      |        ^^^^^^^ unknown
      |
      = allowed: `test`, `unused-train` or `both`

    error: `target` in `[balance]` does not know `maximum`
     --> recipes/birds.toml:7:10
      |
    7 | target = "maximum"
      |          ^^^^^^^^^ unknown
      |
      = allowed: `max`, `median` or `p90`
      = help: did you mean `max`?

    error: `sampler` in `[generator]` does not know `dpm++`
      --> recipes/birds.toml:10:11
       |
    10 | sampler = "dpm++"
       |           ^^^^^^^ unknown
       |
       = allowed: `ddim`, `dpm++2m`, `dpm++2m-karras`, `euler`, `euler-a`, `unipc`, `pndm`, `ddpm` or `lcm`
       = help: did you mean `dpm++2m`?

    error: `mode` in `[generator]` does not know `img2image`
      --> recipes/birds.toml:11:8
       |
    11 | mode = "img2image"
       |        ^^^^^^^^^^^ unknown
       |
       = allowed: `txt2img` or `img2img`
       = help: did you mean `img2img`?

    error: `precision` in `[generator]` does not know `float32`
      --> recipes/birds.toml:12:13
       |
    12 | precision = "float32"
       |             ^^^^^^^^^ unknown
       |
       = allowed: `fp32`, `bf16` or `fp16`

    error: `link` in `[emit]` does not know `hard`
      --> recipes/birds.toml:14:8
       |
    14 | link = "hard"
       |        ^^^^^^ unknown
       |
       = allowed: `auto`, `reflink`, `hardlink`, `copy` or `symlink`
       = help: did you mean `hardlink`?

    error: `encode` in `[emit]` does not know `mach`
      --> recipes/birds.toml:15:10
       |
    15 | encode = "mach"
       |          ^^^^^^ unknown
       |
       = allowed: `match` or `{ format = "jpg", quality = 95, size = 224 }`
       = help: did you mean `match`?

    error: `arch` in `[classifier]` does not know `resnet-18`
      --> recipes/birds.toml:17:8
       |
    17 | arch = "resnet-18"
       |        ^^^^^^^^^^^ unknown
       |
       = allowed: `resnet18`, `resnet34` or `resnet50`
       = help: did you mean `resnet18`?

    error: `arms` in `[compare]` does not know `oversample`
      --> recipes/birds.toml:19:17
       |
    19 | arms = ["real", "oversample"]
       |                 ^^^^^^^^^^^^ unknown
       |
       = allowed: `real`, `oversampled`, `augmented`, `real+randaug`, `augmented+randaug`, `synthetic` or `dose`
       = help: did you mean `oversampled`?

    10 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn an_unknown_kind_of_generator_still_has_its_values_read() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "dpm"
steps = 0
width = 64
prompt = "a {species}"
[generator.lora]
rank = 0
accumulate = 0
text_encoder = 1
"#), @r##"
    error: `kind` in `[generator]` does not know `dpm`
     --> recipes/birds.toml:4:8
      |
    4 | kind = "dpm"
      |        ^^^^^ unknown
      |
      = allowed: `stable-diffusion` or `ddpm`
      = help: did you mean `ddpm`?

    error: `steps` in `[generator]` is impossible
     --> recipes/birds.toml:5:9
      |
    5 | steps = 0
      |         ^ found 0
      |
      = allowed: a whole number from 1 to 1,000

    error: `rank` in `[generator.lora]` is impossible
     --> recipes/birds.toml:9:8
      |
    9 | rank = 0
      |        ^ found 0
      |
      = allowed: a whole number from 1 to 1,024, or 0 where a `token` is learned

    error: `accumulate` in `[generator.lora]` is impossible
      --> recipes/birds.toml:10:14
       |
    10 | accumulate = 0
       |              ^ found 0
       |
       = allowed: a whole number from 1 to 4,096

    error: `text_encoder` in `[generator.lora]` has the wrong type
      --> recipes/birds.toml:11:16
       |
    11 | text_encoder = 1
       |                ^ found the whole number 1
       |
       = allowed: `true` or `false`

    5 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn an_empty_recipe_needs_two_tables() {
    insta::assert_snapshot!(message(r#""#), @r##"
    error: `[dataset]` is missing
     --> recipes/birds.toml:1:1
      |
    1 |
      | ^ nowhere in this file
      |
      = help: add `[dataset]` with `root = "data/birds"`

    error: `[generator]` is missing
     --> recipes/birds.toml:1:1
      |
    1 |
      | ^ nowhere in this file
      |
      = help: add `[generator]` with `kind = "ddpm"`

    2 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn a_table_without_its_required_key_says_so() {
    insta::assert_snapshot!(message(r#"[dataset]
[generator]
steps = 20
[split]
kind = "few-shot"
"#), @r##"
    error: `root` is missing in `[dataset]`
     --> recipes/birds.toml:1:2
      |
    1 | [dataset]
      |  ^^^^^^^ this table needs it
      |
      = help: add `root = "data/birds"`

    error: `kind` is missing in `[generator]`
     --> recipes/birds.toml:2:2
      |
    2 | [generator]
      |  ^^^^^^^^^ this table needs it
      |
      = help: add `kind = "ddpm"`

    error: `shots` is missing in `[split]`
     --> recipes/birds.toml:4:2
      |
    4 | [split]
      |  ^^^^^ this table needs it
      |
      = help: add `shots = 8`

    3 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn what_a_misspelt_name_says_is_checked_all_the_same() {
    insta::assert_snapshot!(message(r#"[datset]
rooot = 5
[generator]
kind = "ddpm"
stpes = 0
"#), @r##"
    error: there is no table `[datset]`
     --> recipes/birds.toml:1:2
      |
    1 | [datset]
      |  ^^^^^^ unknown
      |
      = allowed: dataset, split, balance, generator, filter, emit, classifier, compare, report
      = help: did you mean `dataset`?

    error: `[dataset]` takes no `rooot`
     --> recipes/birds.toml:2:1
      |
    2 | rooot = 5
      | ^^^^^ unknown
      |
      = allowed: root, splits, rename, exclude
      = help: did you mean `root`?

    error: `root` in `[dataset]` has the wrong type
     --> recipes/birds.toml:2:9
      |
    2 | rooot = 5
      |         ^ found the whole number 5
      |
      = allowed: a folder, as text in quotes

    error: `[generator]` takes no `stpes`
     --> recipes/birds.toml:5:1
      |
    5 | stpes = 0
      | ^^^^^ unknown
      |
      = allowed: kind, mode, strength, steps, guidance, sampler, size, precision, batch, seed, width, levels, depth, train
      = help: did you mean `steps`?

    error: `steps` in `[generator]` is impossible
     --> recipes/birds.toml:5:9
      |
    5 | stpes = 0
      |         ^ found 0
      |
      = allowed: a whole number from 1 to 1,000

    5 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn a_required_table_that_is_none_has_one_message() {
    insta::assert_snapshot!(message(r#"dataset = "data/birds"
generator = "ddpm"
"#), @r##"
    error: `dataset` has the wrong type
     --> recipes/birds.toml:1:11
      |
    1 | dataset = "data/birds"
      |           ^^^^^^^^^^^^ found text
      |
      = allowed: a table

    error: `generator` has the wrong type
     --> recipes/birds.toml:2:13
      |
    2 | generator = "ddpm"
      |             ^^^^^^ found text
      |
      = allowed: a table

    2 problems in `recipes/birds.toml`
    "##);
}
