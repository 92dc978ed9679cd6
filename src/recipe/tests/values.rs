//! What is printed about values of a wrong type, and values that cannot be.

use super::message;

#[test]
fn a_number_outside_of_its_interval_says_which_interval() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
strength = 0
steps = 0
batch = -1
guidance = -0.5
seed = 99999999999999999999
[generator.train]
learning_rate = 0.0
"#), @r##"
    error: `strength` in `[generator]` is impossible
     --> recipes/birds.toml:5:12
      |
    5 | strength = 0
      |            ^ found 0
      |
      = allowed: a number above 0 and at most 1

    error: `steps` in `[generator]` is impossible
     --> recipes/birds.toml:6:9
      |
    6 | steps = 0
      |         ^ found 0
      |
      = allowed: a whole number from 1 to 1,000

    error: `batch` in `[generator]` is impossible
     --> recipes/birds.toml:7:9
      |
    7 | batch = -1
      |         ^^ found -1
      |
      = allowed: a whole number from 1 to 4,096

    error: `guidance` in `[generator]` is impossible
     --> recipes/birds.toml:8:12
      |
    8 | guidance = -0.5
      |            ^^^^ found -0.5
      |
      = allowed: a number, 0 or more

    error: `seed` in `[generator]` is impossible
     --> recipes/birds.toml:9:8
      |
    9 | seed = 99999999999999999999
      |        ^^^^^^^^^^^^^^^^^^^^ found 99999999999999999999
      |
      = allowed: a whole number, 0 or more, and at most 9,223,372,036,854,775,807

    error: `learning_rate` in `[generator.train]` is impossible
      --> recipes/birds.toml:11:17
       |
    11 | learning_rate = 0.0
       |                 ^^^ found 0.0
       |
       = allowed: a number above 0

    6 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn a_number_that_is_no_number_is_refused() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
strength = nan
guidance = inf
"#), @r##"
    error: `strength` in `[generator]` is impossible
     --> recipes/birds.toml:5:12
      |
    5 | strength = nan
      |            ^^^ found nan
      |
      = allowed: a number above 0 and at most 1

    error: `guidance` in `[generator]` is impossible
     --> recipes/birds.toml:6:12
      |
    6 | guidance = inf
      |            ^^^ found inf
      |
      = allowed: a number, 0 or more

    2 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn a_size_has_to_be_a_multiple_of_eight() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
size = 100
"#), @r##"
    error: `size` in `[generator]` is impossible
     --> recipes/birds.toml:5:8
      |
    5 | size = 100
      |        ^^^ found 100
      |
      = allowed: a multiple of 8 from 8 to 4096
      = help: the nearest are 96 and 104
    "##);
}

#[test]
fn a_size_has_to_fit_the_levels() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
size = 40
levels = [1, 2, 2, 3, 3]
"#), @r##"
    error: `size` in `[generator]` does not fit `levels`
     --> recipes/birds.toml:5:8
      |
    5 | size = 40
      |        ^^ 40 pixels
    6 | levels = [1, 2, 2, 3, 3]
      |          --------------- patches of 2, halved 4 times
      |
      = allowed: with 5 levels, a multiple of 32
      = help: change `size` or use fewer levels
    "##);
}

#[test]
fn the_default_size_has_to_fit_the_levels_too() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
levels = [1, 1, 1, 1, 1, 1, 1, 1]
"#), @r##"
    error: `size` in `[generator]` does not fit `levels`
     --> recipes/birds.toml:5:10
      |
    5 | levels = [1, 1, 1, 1, 1, 1, 1, 1]
      |          ^^^^^^^^^^^^^^^^^^^^^^^^ 64 pixels
      |
      = allowed: with 8 levels, a multiple of 512
      = help: change `size` or use fewer levels
    "##);
}

#[test]
fn levels_are_some_whole_numbers() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
levels = []
width = 60
"#), @r##"
    error: `levels` in `[generator]` is impossible
     --> recipes/birds.toml:5:10
      |
    5 | levels = []
      |          ^^ found an empty list
      |
      = allowed: a list of channel multiples, whole numbers from 1 to 16, at least one

    error: `width` in `[generator]` is impossible
     --> recipes/birds.toml:6:9
      |
    6 | width = 60
      |         ^^ found 60
      |
      = allowed: a multiple of 8 from 8 to 1024

    2 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn one_wrong_level_is_marked_by_itself() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
levels = [1, 0, 2]
"#), @r##"
    error: `levels` in `[generator]` is impossible
     --> recipes/birds.toml:5:14
      |
    5 | levels = [1, 0, 2]
      |              ^ found 0
      |
      = allowed: a whole number from 1 to 16
    "##);
}

#[test]
fn a_wrong_type_says_what_was_found() {
    insta::assert_snapshot!(message(r#"[dataset]
root = 5
exclude = "LOONEY BIRDS"
[generator]
kind = "ddpm"
steps = 25.0
guidance = "high"
sampler = true
seed = 1979-05-27
[balance]
target = 1.5
max_ratio = true
species = [1]
[emit]
encode = 95
"#), @r##"
    error: `root` in `[dataset]` has the wrong type
     --> recipes/birds.toml:2:8
      |
    2 | root = 5
      |        ^ found the whole number 5
      |
      = allowed: a folder, as text in quotes

    error: `exclude` in `[dataset]` has the wrong type
     --> recipes/birds.toml:3:11
      |
    3 | exclude = "LOONEY BIRDS"
      |           ^^^^^^^^^^^^^^ found text
      |
      = allowed: a list of names of species

    error: `steps` in `[generator]` has the wrong type
     --> recipes/birds.toml:6:9
      |
    6 | steps = 25.0
      |         ^^^^ found the number 25.0
      |
      = allowed: a whole number from 1 to 1,000

    error: `guidance` in `[generator]` has the wrong type
     --> recipes/birds.toml:7:12
      |
    7 | guidance = "high"
      |            ^^^^^^ found text
      |
      = allowed: a number, 0 or more

    error: `sampler` in `[generator]` has the wrong type
     --> recipes/birds.toml:8:11
      |
    8 | sampler = true
      |           ^^^^ found `true`
      |
      = allowed: `ddim`, `dpm++2m`, `dpm++2m-karras`, `euler`, `euler-a`, `unipc`, `pndm`, `ddpm` or `lcm`

    error: `seed` in `[generator]` has the wrong type
     --> recipes/birds.toml:9:8
      |
    9 | seed = 1979-05-27
      |        ^^^^^^^^^^ found a date or time
      |
      = allowed: a whole number, 0 or more

    error: `target` in `[balance]` has the wrong type
      --> recipes/birds.toml:11:10
       |
    11 | target = 1.5
       |          ^^^ found the number 1.5
       |
       = allowed: a whole number of images, 1 or more, or `max`, `median` or `p90`

    error: `max_ratio` in `[balance]` has the wrong type
      --> recipes/birds.toml:12:13
       |
    12 | max_ratio = true
       |             ^^^^ found `true`
       |
       = allowed: a number above 0, or `false` for no bound

    error: `species` in `[balance]` has the wrong type
      --> recipes/birds.toml:13:11
       |
    13 | species = [1]
       |           ^^^ found a list
       |
       = allowed: a table

    error: `encode` in `[emit]` has the wrong type
      --> recipes/birds.toml:15:10
       |
    15 | encode = 95
       |          ^^ found the whole number 95
       |
       = allowed: `match`, or a table such as `{ format = "jpg", quality = 95, size = 224 }`

    10 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn a_table_cannot_be_a_value() {
    insta::assert_snapshot!(message(r#"split = "long-tail"
[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
[[filter]]
candidates = 2
"#), @r##"
    error: `split` has the wrong type
     --> recipes/birds.toml:1:9
      |
    1 | split = "long-tail"
      |         ^^^^^^^^^^^ found text
      |
      = allowed: a table

    error: `filter` has the wrong type
     --> recipes/birds.toml:6:1
      |
    6 | [[filter]]
      | ^^^^^^^^^^ found a list
      |
      = allowed: a table

    2 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn a_split_takes_the_number_of_its_own_kind() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[split]
kind = "few-shot"
imbalance = 0.05
[generator]
kind = "ddpm"
"#), @r##"
    error: `shots` is missing in `[split]`
     --> recipes/birds.toml:3:2
      |
    3 | [split]
      |  ^^^^^ this table needs it
      |
      = help: add `shots = 8`

    error: `imbalance` in `[split]` belongs to `kind = "long-tail"`
     --> recipes/birds.toml:5:1
      |
    4 | kind = "few-shot"
      |        ---------- this is `few-shot`
    5 | imbalance = 0.05
      | ^^^^^^^^^ of another kind
      |
      = help: `kind` is `few-shot`: remove `imbalance`, or choose `kind = "long-tail"`

    2 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn a_full_split_takes_no_number() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[split]
shots = 8
[generator]
kind = "ddpm"
"#), @r##"
    error: `shots` in `[split]` belongs to `kind = "few-shot"`
     --> recipes/birds.toml:4:1
      |
    4 | shots = 8
      | ^^^^^ of another kind
      |
      = help: `kind` is by default `full`: remove `shots`, or choose `kind = "few-shot"`
    "##);
}

#[test]
fn the_numbers_of_a_split_have_bounds() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[split]
kind = "long-tail"
imbalance = 1.5
shots = 0
[generator]
kind = "ddpm"
"#), @r##"
    error: `imbalance` in `[split]` is impossible
     --> recipes/birds.toml:5:13
      |
    5 | imbalance = 1.5
      |             ^^^ found 1.5
      |
      = allowed: a number above 0 and at most 1

    error: `shots` in `[split]` belongs to `kind = "few-shot"`
     --> recipes/birds.toml:6:1
      |
    4 | kind = "long-tail"
      |        ----------- this is `long-tail`
    5 | imbalance = 1.5
    6 | shots = 0
      | ^^^^^ of another kind
      |
      = help: `kind` is `long-tail`: remove `shots`, or choose `kind = "few-shot"`

    error: `shots` in `[split]` is impossible
     --> recipes/birds.toml:6:9
      |
    6 | shots = 0
      |         ^ found 0
      |
      = allowed: a whole number, 1 or more

    3 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn folders_of_splits_stay_inside_and_apart() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
splits = { train = "images", valid = "../valid", test = "images" }
[generator]
kind = "ddpm"
"#), @r##"
    error: `valid` in `[dataset.splits]` is impossible
     --> recipes/birds.toml:3:38
      |
    3 | splits = { train = "images", valid = "../valid", test = "images" }
      |                                      ^^^^^^^^^^ leads elsewhere
      |
      = allowed: a folder inside of `root`

    error: `train` and `test` cannot be the same folder
     --> recipes/birds.toml:3:57
      |
    3 | splits = { train = "images", valid = "../valid", test = "images" }
      |                    -------- first here                  ^^^^^^^^ the same
      |
      = allowed: a folder of its own for train, valid and test

    2 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn an_empty_path_is_refused() {
    insta::assert_snapshot!(message(r#"[dataset]
root = ""
[generator]
kind = "ddpm"
[emit]
out = " "
[classifier]
weights = ""
[filter]
features = ""
[report]
out = ""
"#), @r##"
    error: `root` in `[dataset]` is impossible
     --> recipes/birds.toml:2:8
      |
    2 | root = ""
      |        ^^ found nothing between the quotes
      |
      = allowed: a folder

    error: `out` in `[emit]` is impossible
     --> recipes/birds.toml:6:7
      |
    6 | out = " "
      |       ^^^ found nothing between the quotes
      |
      = allowed: a folder

    error: `weights` in `[classifier]` is impossible
     --> recipes/birds.toml:8:11
      |
    8 | weights = ""
      |           ^^ found nothing between the quotes
      |
      = allowed: a file of weights

    error: `features` in `[filter]` is impossible
      --> recipes/birds.toml:10:12
       |
    10 | features = ""
       |            ^^ found nothing between the quotes
       |
       = allowed: `classifier` or a file of weights

    error: `out` in `[report]` is impossible
      --> recipes/birds.toml:12:7
       |
    12 | out = ""
       |       ^^ found nothing between the quotes
       |
       = allowed: a folder

    5 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn a_species_is_named_so_that_a_folder_can_be() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
rename = { "BLUE JAY" = "../BLUE JAY", "OWL" = "" }
[generator]
kind = "ddpm"
"#), @r##"
    error: `BLUE JAY` in `[dataset.rename]` is impossible
     --> recipes/birds.toml:3:25
      |
    3 | rename = { "BLUE JAY" = "../BLUE JAY", "OWL" = "" }
      |                         ^^^^^^^^^^^^^ no name for a folder
      |
      = allowed: a name without `/` and `\`

    error: `OWL` in `[dataset.rename]` is impossible
     --> recipes/birds.toml:3:48
      |
    3 | rename = { "BLUE JAY" = "../BLUE JAY", "OWL" = "" }
      |                                                ^^ found nothing between the quotes
      |
      = allowed: the name of a species

    2 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn a_filter_has_to_leave_something() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
[filter]
candidates = 0.5
ssim_min = 0.95
confidence_min = 1.1
fid_max = -1
"#), @r##"
    error: `candidates` in `[filter]` is impossible
     --> recipes/birds.toml:6:14
      |
    6 | candidates = 0.5
      |              ^^^ found 0.5
      |
      = allowed: a number, 1 or more

    error: `ssim_min` in `[filter]` leaves nothing
     --> recipes/birds.toml:7:12
      |
    7 | ssim_min = 0.95
      |            ^^^^ found 0.95
      |
      = allowed: a number below `ssim_max`, which is 0.9

    error: `confidence_min` in `[filter]` is impossible
     --> recipes/birds.toml:8:18
      |
    8 | confidence_min = 1.1
      |                  ^^^ found 1.1
      |
      = allowed: a number from 0 to 1

    error: `fid_max` in `[filter]` is impossible
     --> recipes/birds.toml:9:11
      |
    9 | fid_max = -1
      |           ^^ found -1
      |
      = allowed: a number, 0 or more

    4 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn thresholds_that_no_image_could_meet_or_miss_are_refused() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
[filter]
held_out_max = 0
duplicate_max = 1.2
realism_min = 0.0
species_kid_max = -0.1
kid_max = "low"
"#), @r##"
    error: `held_out_max` in `[filter]` is impossible
     --> recipes/birds.toml:6:16
      |
    6 | held_out_max = 0
      |                ^ found 0
      |
      = allowed: a number above 0 and at most 1

    error: `duplicate_max` in `[filter]` is impossible
     --> recipes/birds.toml:7:17
      |
    7 | duplicate_max = 1.2
      |                 ^^^ found 1.2
      |
      = allowed: a number above 0 and at most 1

    error: `realism_min` in `[filter]` is impossible
     --> recipes/birds.toml:8:15
      |
    8 | realism_min = 0.0
      |               ^^^ found 0.0
      |
      = allowed: a number above 0

    error: `species_kid_max` in `[filter]` is impossible
     --> recipes/birds.toml:9:19
      |
    9 | species_kid_max = -0.1
      |                   ^^^^ found -0.1
      |
      = allowed: a number, 0 or more

    error: `kid_max` in `[filter]` has the wrong type
      --> recipes/birds.toml:10:11
       |
    10 | kid_max = "low"
       |           ^^^^^ found text
       |
       = allowed: a number, 0 or more

    5 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn a_filter_with_both_bounds_shows_both() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
[filter]
ssim_max = 0.5
ssim_min = 0.5
"#), @r##"
    error: `ssim_min` in `[filter]` leaves nothing
     --> recipes/birds.toml:7:12
      |
    6 | ssim_max = 0.5
      |            --- the highest that is kept
    7 | ssim_min = 0.5
      |            ^^^ found 0.5
      |
      = allowed: a number below `ssim_max`, which is 0.5
    "##);
}

#[test]
fn a_tree_is_not_written_over_the_dataset() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
[emit]
out = "data/../data"
"#), @r##"
    error: `out` in `[emit]` is impossible
     --> recipes/birds.toml:6:7
      |
    6 | out = "data/../data"
      |       ^^^^^^^^^^^^^^ would replace the dataset
      |
      = allowed: a folder that does not hold the dataset
    "##);
}

#[test]
fn a_tree_is_not_written_into_the_dataset() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
[emit]
out = "./data/birds/train/more"
"#), @r##"
    error: `out` in `[emit]` is impossible
     --> recipes/birds.toml:6:7
      |
    6 | out = "./data/birds/train/more"
      |       ^^^^^^^^^^^^^^^^^^^^^^^^^ would write into the dataset's images
      |
      = allowed: a folder outside of train, valid and test
    "##);
}

#[test]
fn a_tree_has_a_name_and_results_stay_out_of_it() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
[emit]
out = "out"
[report]
out = "out/results"
"#), @r##"
    error: `out` in `[report]` is impossible
     --> recipes/birds.toml:8:7
      |
    8 | out = "out/results"
      |       ^^^^^^^^^^^^^ would be lost with the next tree
      |
      = allowed: a folder outside of `[emit] out`, which is replaced in whole
    "##);
}

#[test]
fn a_tree_without_a_name_cannot_be_swapped() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
[emit]
out = "."
"#), @r##"
    error: `out` in `[emit]` is impossible
     --> recipes/birds.toml:6:7
      |
    6 | out = "."
      |       ^^^ has no name of its own
      |
      = allowed: a folder with a name of its own, since the tree is swapped in whole
    "##);
}

#[test]
fn an_encoding_has_a_quality_from_1_to_100() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
[emit]
encode = { format = "jpg", quality = 0, size = 4, sise = 224 }
"#), @r##"
    error: `quality` in `[emit.encode]` is impossible
     --> recipes/birds.toml:6:38
      |
    6 | encode = { format = "jpg", quality = 0, size = 4, sise = 224 }
      |                                      ^ found 0
      |
      = allowed: a whole number from 1 to 100

    error: `size` in `[emit.encode]` is impossible
     --> recipes/birds.toml:6:48
      |
    6 | encode = { format = "jpg", quality = 0, size = 4, sise = 224 }
      |                                                ^ found 4
      |
      = allowed: a whole number from 8 to 4,096

    error: `[emit.encode]` takes no `sise`
     --> recipes/birds.toml:6:51
      |
    6 | encode = { format = "jpg", quality = 0, size = 4, sise = 224 }
      |                                                   ^^^^ unknown
      |
      = allowed: format, quality, size
      = help: did you mean `size`?

    3 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn seeds_and_arms_are_different_ones() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
[classifier]
seeds = [0, 1, 0]
[compare]
arms = ["real", "augmented", "real"]
"#), @r##"
    error: `seeds` in `[classifier]` names `0` twice
     --> recipes/birds.toml:6:16
      |
    6 | seeds = [0, 1, 0]
      |          -     ^ said again
      |          |
      |          first here
      |
      = help: remove one of the two

    error: `arms` in `[compare]` names `real` twice
     --> recipes/birds.toml:8:30
      |
    8 | arms = ["real", "augmented", "real"]
      |         ------ first here    ^^^^^^ said again
      |
      = help: remove one of the two

    2 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn lists_that_need_something_are_not_empty() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
[classifier]
seeds = []
[compare]
arms = []
"#), @r##"
    error: `seeds` in `[classifier]` is impossible
     --> recipes/birds.toml:6:9
      |
    6 | seeds = []
      |         ^^ found an empty list
      |
      = allowed: a list of whole numbers, at least one

    error: `arms` in `[compare]` is impossible
     --> recipes/birds.toml:8:8
      |
    8 | arms = []
      |        ^^ found an empty list
      |
      = allowed: a list of arms, at least one

    2 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn arms_need_the_baseline() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
[compare]
arms = ["augmented", "oversampled"]
tail = 0.0
"#), @r##"
    error: `arms` in `[compare]` is impossible
     --> recipes/birds.toml:6:8
      |
    6 | arms = ["augmented", "oversampled"]
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^ `real` is not among them
      |
      = allowed: a list with `real`, the baseline of every comparison

    error: `tail` in `[compare]` is impossible
     --> recipes/birds.toml:7:8
      |
    7 | tail = 0.0
      |        ^^^ found 0.0
      |
      = allowed: a number above 0 and at most 1

    2 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn a_classifier_sees_at_least_32_pixels() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
[classifier]
size = 16
learning_rate = -0.1
"#), @r##"
    error: `size` in `[classifier]` is impossible
     --> recipes/birds.toml:6:8
      |
    6 | size = 16
      |        ^^ found 16
      |
      = allowed: a whole number from 32 to 1,024

    error: `learning_rate` in `[classifier]` is impossible
     --> recipes/birds.toml:7:17
      |
    7 | learning_rate = -0.1
      |                 ^^^^ found -0.1
      |
      = allowed: a number above 0

    2 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn a_wish_for_a_species_is_a_count() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[balance.species]
"INDIGO BUNTING" = -40
"OWL" = "many"
[generator]
kind = "ddpm"
"#), @r##"
    error: `INDIGO BUNTING` in `[balance.species]` is impossible
     --> recipes/birds.toml:4:20
      |
    4 | "INDIGO BUNTING" = -40
      |                    ^^^ found -40
      |
      = allowed: a whole number from 0 to 1,000,000

    error: `OWL` in `[balance.species]` has the wrong type
     --> recipes/birds.toml:5:9
      |
    5 | "OWL" = "many"
      |         ^^^^^^ found text
      |
      = allowed: a whole number from 0 to 1,000,000

    2 problems in `recipes/birds.toml`
    "##);
}
