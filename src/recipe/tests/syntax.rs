//! What is printed about text that is not TOML.

use super::message;

#[test]
fn a_broken_line_is_marked_and_the_rest_is_still_read() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
guidance =
[filter]
candidates = 0
"#), @r##"
    error: this line is not TOML
     --> recipes/birds.toml:5:11
      |
    5 | guidance =
      |           ^ the value is missing

    error: `candidates` in `[filter]` is impossible
     --> recipes/birds.toml:7:14
      |
    7 | candidates = 0
      |              ^ found 0
      |
      = allowed: a number, 1 or more

    2 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn every_broken_line_is_marked() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds
exclude [1]
[generator
kind = "ddpm"
steps = 0
[split]
seed = 08
[compare]
tail = 2
"#), @r##"
    error: this line is not TOML
     --> recipes/birds.toml:2:19
      |
    2 | root = "data/birds
      |                   ^ invalid basic string, expected `"`

    error: this line is not TOML
     --> recipes/birds.toml:3:9
      |
    3 | exclude [1]
      |         ^ key with no value, expected `=`

    error: this line is not TOML
     --> recipes/birds.toml:4:11
      |
    4 | [generator
      |           ^ unclosed table, expected `]`

    error: this line is not TOML
     --> recipes/birds.toml:8:8
      |
    8 | seed = 08
      |        ^ unexpected leading zero

    error: `tail` in `[compare]` is impossible
      --> recipes/birds.toml:10:8
       |
    10 | tail = 2
       |        ^ found 2
       |
       = allowed: a number above 0 and at most 1

    5 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn a_broken_list_of_several_lines_is_one_problem() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
levels = [
  1,
  2 3,
]
steps = 0
"#), @r##"
    error: this line is not TOML
     --> recipes/birds.toml:7:3
      |
    7 |   2 3,
      |   ^^^ string values must be quoted, expected literal string

    error: `steps` in `[generator]` is impossible
     --> recipes/birds.toml:9:9
      |
    9 | steps = 0
      |         ^ found 0
      |
      = allowed: a whole number from 1 to 1,000

    2 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn a_key_said_twice_shows_both_places() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
steps = 20
steps = 30
"#), @r##"
    error: `steps` is said twice
     --> recipes/birds.toml:6:1
      |
    5 | steps = 20
      | ----- first here
    6 | steps = 30
      | ^^^^^ said again
      |
      = help: remove one of the two
    "##);
}

#[test]
fn a_table_said_twice_shows_both_places() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
[dataset]
exclude = ["OWL"]
"#), @r##"
    error: `dataset` is said twice
     --> recipes/birds.toml:5:2
      |
    1 | [dataset]
      | --------- first here
    ...
    5 | [dataset]
      |  ^^^^^^^ said again
      |
      = help: remove one of the two
    "##);
}

#[test]
fn text_that_never_ends_is_one_problem() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
sampler = """ddim
[filter]
candidates = 0
"#), @r##"
    error: this line is not TOML
     --> recipes/birds.toml:5:11
      |
    5 | sampler = """ddim
      |           ^^^ these quotes are never closed

    error: `candidates` in `[filter]` is impossible
     --> recipes/birds.toml:7:14
      |
    7 | candidates = 0
      |              ^ found 0
      |
      = allowed: a number, 1 or more

    2 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn columns_count_characters() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "données/oiseaux"
exclude = ["PÁJARO", 3]
[generator]
kind = "ddpm"
"#), @r##"
    error: `exclude` in `[dataset]` has the wrong type
     --> recipes/birds.toml:3:22
      |
    3 | exclude = ["PÁJARO", 3]
      |                      ^ found the whole number 3
      |
      = allowed: the name of a species, as text in quotes
    "##);
}
