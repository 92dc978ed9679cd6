//! What is said of right recipes: what is odd; and how files and colour are met.

use std::path::Path;

use super::super::*;
use super::{good, message};
use crate::error::Error;

const SHORT: &str = "[dataset]\nroot = \"data/birds\"\n[generator]\nkind = \"ddpm\"\n";

#[test]
fn lcm_walks_no_more_steps_than_it_was_distilled_from() {
    good(&format!("{SHORT}sampler = \"lcm\"\nsteps = 50\n"));
    insta::assert_snapshot!(message(&format!("{SHORT}sampler = \"lcm\"\nsteps = 51\n")), @r"
    error: `steps` in `[generator]` is impossible
     --> recipes/birds.toml:6:9
      |
    6 | steps = 51
      |         ^^ found 51
      |
      = allowed: with the sampler `lcm`, a whole number from 1 to 50
    ");
}

#[test]
fn what_is_odd_is_said_with_its_line_and_passes() {
    let recipe = good(
        r#"[dataset]
root = "data/birds"
rename = { "PARAKETT  AUKLET" = "PARAKETT AUKLET" }
exclude = ["OWL", "PARAKETT  AUKLET"]
[balance.species]
"OWL" = 40
"PARAKETT  AUKLET" = 3
[generator]
kind = "stable-diffusion"
prompt = "a photo of a bird"
negative_prompt = "a cat"
mode = "txt2img"
strength = 0.5
guidance = 0
[filter]
ssim_min = 0.1
[emit]
encode = { format = "png", quality = 80 }
link = "symlink"
[compare]
arms = ["real", "oversampled"]
"#,
    );
    insta::assert_snapshot!(warnings(&recipe).join("\n"), @r##"
    recipes/birds.toml:4: `exclude` names `PARAKETT  AUKLET`, which `rename` calls `PARAKETT AUKLET`: exclude that one
    recipes/birds.toml:6: `OWL` is excluded: no image is made for it
    recipes/birds.toml:7: `PARAKETT  AUKLET` is excluded: no image is made for it
    recipes/birds.toml:7: `rename` calls `PARAKETT  AUKLET` `PARAKETT AUKLET`: give the number to that one
    recipes/birds.toml:10: `prompt` holds no `{species}`: every species gets the same prompt
    recipes/birds.toml:11: `negative_prompt` has no effect with `guidance` of 1 or less
    recipes/birds.toml:13: `strength` has no effect with `mode = "txt2img"`: there is no source image
    recipes/birds.toml:16: `ssim_min` has no effect with `mode = "txt2img"`: there is no source image
    recipes/birds.toml:18: `quality` has no effect on png
    recipes/birds.toml:19: with `link = "symlink"` the tree breaks when the dataset moves
    recipes/birds.toml:21: `arms` holds no `augmented`: nothing says whether the synthetic images help
    "##);
}

#[test]
fn no_guidance_at_all_is_odd_where_it_does_not_just_mean_off() {
    let recipe = good(&(SHORT.to_string() + "guidance = 0\n"));
    insta::assert_snapshot!(warnings(&recipe).join("\n"), @"recipes/birds.toml:5: `guidance = 0` makes images without regard to the species; 1 is off");
}

#[test]
fn braces_that_name_nothing_are_odd() {
    let recipe = good(&(SHORT.replace("ddpm", "stable-diffusion") + "prompt = \"a {species} on {place}\"\n"));
    insta::assert_snapshot!(warnings(&recipe).join("\n"), @r##"
    recipes/birds.toml:5: `prompt` holds braces other than `{species}`: they go to the model as they are
    "##);
}

#[test]
fn six_problems_are_six_messages() {
    let six = message(
        r#"[dataset]
root = "data/birds"
colour = "blue"
[generator]
kind = "ddpm"
steps = 0
[filter]
candidates = "many"
[emit]
link = "hardlnk"
[compare]
tail = 2
[report]
out = ""
"#,
    );
    assert_eq!(six.matches("error: ").count(), 6, "{six}");
    assert_eq!(six.matches(" --> recipes/birds.toml:").count(), 6, "{six}");
    assert!(six.ends_with("\n6 problems in `recipes/birds.toml`"), "{six}");
}

#[test]
fn a_recipe_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("gone.toml");
    let gone = load(&path).expect_err("there is no such file");
    assert!(matches!(&gone, Error::Io { path: named, .. } if *named == path));
    assert_eq!(gone.exit_code(), 1);
}

#[test]
fn a_recipe_on_disk_is_named_after_its_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("long tail.toml");
    std::fs::write(&path, SHORT).expect("the folder can be written");
    let recipe = load(&path).expect("the recipe is right");
    assert_eq!((recipe.name.as_str(), recipe.path.as_path()), ("long tail", path.as_path()));
    assert_eq!(recipe.emit.out, Path::new("out/long tail"));
    assert_eq!(recipe, parse(SHORT, &path).expect("the same text"));
}

#[test]
fn a_recipe_that_is_no_utf8_is_marked_where_it_stops_being_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("latin1.toml");
    std::fs::write(&path, b"[dataset]\nroot = \"donn\xe9es\"\n").expect("the folder can be written");
    let problem = load(&path).expect_err("it is no UTF-8").to_string();
    assert!(problem.starts_with("error: the recipe is not UTF-8 text\n"), "{problem}");
    assert!(problem.contains("latin1.toml:2:13\n"), "{problem}");
}

#[test]
fn a_byte_order_mark_is_no_problem() {
    assert_eq!(good(&format!("\u{feff}{SHORT}")).dataset, good(SHORT).dataset);
}

#[test]
fn colour_adds_codes_and_changes_no_word() {
    let text = "[generator]\nkind = \"dpm\"\n";
    let problems = check(text, Path::new("a.toml")).expect_err("it is wrong");
    let plain = render(Path::new("a.toml"), text, &problems, false);
    let styled = render(Path::new("a.toml"), text, &problems, true);
    assert!(!plain.contains('\x1b') && styled.contains("\x1b["));
    let mut stripped = String::new();
    for part in styled.split('\x1b') {
        stripped.push_str(part.split_once('m').filter(|_| part.starts_with('[')).map_or(part, |(_, rest)| rest));
    }
    assert_eq!(stripped, plain);
}

/// Whatever is cut out of a recipe or put into it, it is refused or read, never a panic.
#[test]
fn no_slip_of_the_key_stops_the_reading() {
    let page = include_str!("page.toml");
    let path = Path::new("recipes/birds.toml");
    let starts: Vec<usize> = page.char_indices().map(|(i, _)| i).collect();
    for (n, &i) in starts.iter().step_by(3).enumerate() {
        let rest = &page[i..];
        let after: String = rest.chars().skip(1).collect();
        let put = ["\"", "[", "]", "=", "\n", "é", "{", "'''", "#", "\u{0}"][n % 10];
        for text in [page[..i].to_string(), format!("{}{after}", &page[..i]), format!("{}{put}{rest}", &page[..i])] {
            if let Err(problems) = parse(&text, path) {
                assert!(problems.to_string().contains("error: "), "{problems}");
            }
        }
    }
}

#[test]
fn a_guard_that_another_makes_idle_is_warned_of() {
    let recipe = good("[dataset]\nroot = \"b\"\n[generator]\nkind = \"ddpm\"\n[filter]\nheld_out_max = 0.95\n");
    assert_eq!(
        warnings(&recipe),
        ["recipes/birds.toml:6: `held_out_max` has no effect: `ssim_max` of 0.9 drops those that come nearer already"]
    );
    assert!(recipe.filter.may_drop());
}
