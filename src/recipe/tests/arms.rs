//! Arms of a recipe: the words, doses, tables of one's own, and what is said of wrong ones.

use super::{good, message};
use crate::recipe::{Arm, ArmWord, Augment, Sampling, warnings};

const SHORT: &str = "[dataset]\nroot = \"data/birds\"\n[generator]\nkind = \"ddpm\"\n";

fn arms(compare: &str) -> Vec<Arm> {
    good(&format!("{SHORT}{compare}")).compare.arms
}

#[test]
fn every_word_is_an_arm_and_dose_is_three() {
    let all = arms(
        "[compare]\narms = [\"real\", \"real+randaug\", \"oversampled\", \"augmented\", \"augmented+randaug\", \"synthetic\", \"dose\"]\n",
    );
    let told: Vec<_> =
        all.iter().map(|arm| (arm.name.as_str(), arm.real, arm.dose, arm.sampling, arm.augment)).collect();
    let (uniform, plain, randaug) = (Sampling::Uniform, None, Some(Augment::RandAugment));
    assert_eq!(
        told,
        [
            ("real", true, 0.0, uniform, plain),
            ("real+randaug", true, 0.0, uniform, randaug),
            ("oversampled", true, 0.0, Sampling::ClassBalanced, plain),
            ("augmented", true, 1.0, uniform, plain),
            ("augmented+randaug", true, 1.0, uniform, randaug),
            ("synthetic", false, 1.0, uniform, plain),
            ("dose-0.5x", true, 0.5, uniform, plain),
            ("dose-1x", true, 1.0, uniform, plain),
            ("dose-2x", true, 2.0, uniform, plain),
        ]
    );
    let some = arms("[compare]\narms = [\"dose\", \"real\"]\ndoses = [3, 0.25]\n");
    assert_eq!(some.iter().map(|arm| arm.name.as_str()).collect::<Vec<_>>(), ["dose-3x", "dose-0.25x", "real"]);
}

#[test]
fn a_table_is_an_arm_and_the_list_may_say_where_it_stands() {
    let tables = "[compare.arm.\"half and half\"]\nsampling = \"class-balanced\"\ndose = 0.5\nsynthetic_share = 0.5\n\
                  [compare.arm.plain]\n";
    let own = Arm {
        name: "half and half".to_string(),
        real: true,
        dose: 0.5,
        sampling: Sampling::ClassBalanced,
        augment: None,
        synthetic_share: Some(0.5),
    };
    let plain = Arm { name: "plain".to_string(), ..Arm::of(ArmWord::Augmented) };
    let real = Arm::of(ArmWord::Real);
    assert_eq!(
        arms(&format!("[compare]\narms = [\"half and half\", \"real\"]\n{tables}")),
        [own.clone(), real.clone(), plain.clone()]
    );
    let usual = [ArmWord::Real, ArmWord::Oversampled, ArmWord::Augmented].map(Arm::of).to_vec();
    assert_eq!(arms(tables), [usual, vec![own, plain]].concat());
}

#[test]
fn wrong_arms_are_told_all_at_once() {
    insta::assert_snapshot!(message(r#"[dataset]
root = "data/birds"
[generator]
kind = "ddpm"
[compare]
arms = ["real", "hlaf", 3]
doses = [0.5, 0, 0.5]
[compare.arm.half]
dose = 0.5
sampling = "balanced"
augmnet = "randaug"
[compare.arm.nothing]
real = false
dose = 0
[compare.arm.alone]
real = false
synthetic_share = 0.5
[compare.arm.augmented]
[compare.arm."a/b"]
"#), @r##"
    error: `arms` in `[compare]` does not know `hlaf`
     --> recipes/birds.toml:6:17
      |
    6 | arms = ["real", "hlaf", 3]
      |                 ^^^^^^ unknown
      |
      = allowed: `real`, `oversampled`, `augmented`, `real+randaug`, `augmented+randaug`, `synthetic`, `dose`, `alone`, `half` or `nothing`
      = help: did you mean `half`?

    error: `arms` in `[compare]` has the wrong type
     --> recipes/birds.toml:6:25
      |
    6 | arms = ["real", "hlaf", 3]
      |                         ^ found the whole number 3
      |
      = allowed: `real`, `oversampled`, `augmented`, `real+randaug`, `augmented+randaug`, `synthetic`, `dose`, `alone`, `half` or `nothing`

    error: `doses` in `[compare]` is impossible
     --> recipes/birds.toml:7:15
      |
    7 | doses = [0.5, 0, 0.5]
      |               ^ found 0
      |
      = allowed: a number above 0 and at most 10

    error: `sampling` in `[compare.arm.half]` does not know `balanced`
      --> recipes/birds.toml:10:12
       |
    10 | sampling = "balanced"
       |            ^^^^^^^^^^ unknown
       |
       = allowed: `uniform` or `class-balanced`

    error: `[compare.arm.half]` takes no `augmnet`
      --> recipes/birds.toml:11:1
       |
    11 | augmnet = "randaug"
       | ^^^^^^^ unknown
       |
       = allowed: real, dose, sampling, augment, synthetic_share
       = help: did you mean `augment`?

    error: `dose` in `[compare.arm.nothing]` is impossible
      --> recipes/birds.toml:14:1
       |
    14 | dose = 0
       | ^^^^ no synthetic images
       |
       = allowed: a number above 0 where `real = false`: else nothing is left

    error: `synthetic_share` in `[compare.arm.alone]` is impossible
      --> recipes/birds.toml:17:19
       |
    17 | synthetic_share = 0.5
       |                   ^^^ the arm has synthetic images alone
       |
       = allowed: nothing, or both kinds of images

    error: the arm `augmented` has a meaning of its own
      --> recipes/birds.toml:18:14
       |
    18 | [compare.arm.augmented]
       |              ^^^^^^^^^ taken
       |
       = allowed: any other name
       = help: `arms` may name it without a table

    error: `a/b` in `[compare.arm]` is impossible
      --> recipes/birds.toml:19:14
       |
    19 | [compare.arm."a/b"]
       |              ^^^^^ no name for a folder
       |
       = allowed: a name without `/` and `\`

    9 problems in `recipes/birds.toml`
    "##);
}

#[test]
fn doses_without_their_arm_have_no_effect_and_that_is_said() {
    let recipe = good(&format!("{SHORT}[compare]\ndoses = [1, 2]\n"));
    assert_eq!(warnings(&recipe), ["recipes/birds.toml:6: `doses` has no effect: `arms` does not name `dose`"]);
}
