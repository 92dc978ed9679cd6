//! Which arms are compared with which. Pure.

use crate::recipe::{Arm, ArmWord, Sampling, Training};

/// Two arms by their places in the recipe's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    pub arm: usize,
    pub baseline: usize,
}

/// The arms with what `[classifier]` says of all of them filled in, so that those of one training set are equal but for their
/// names, however they were written.
pub fn filled_in(arms: &[Arm], training: &Training) -> Vec<Arm> {
    let mixed = |arm: &Arm| arm.real && arm.dose > 0.0;
    let filled = |arm: &Arm| Arm {
        augment: Some(arm.augment.unwrap_or(training.augment)),
        synthetic_share: arm.synthetic_share.or(training.synthetic_share).filter(|_| mixed(arm)),
        ..arm.clone()
    };
    arms.iter().map(filled).collect()
}

/// Of arms as [`filled_in`] gives them, every arm against `real`; then every arm of real and synthetic images against the arm that differs from it by nothing
/// but the synthetic ones, where that is another than `real`; then `augmented` against the class-balanced arm, which has
/// its balance without new images.
pub fn pairs(arms: &[Arm]) -> Vec<Pair> {
    let place = |name: &str| arms.iter().position(|arm| arm.name == name);
    let mut pairs = Vec::new();
    let mut push = |arm: usize, baseline: usize| {
        let pair = Pair { arm, baseline };
        if arm != baseline && !pairs.contains(&pair) {
            pairs.push(pair);
        }
    };
    if let Some(real) = place(ArmWord::Real.name()) {
        (0..arms.len()).for_each(|arm| push(arm, real));
    }
    for (i, arm) in arms.iter().enumerate().filter(|(_, arm)| arm.real && arm.dose > 0.0) {
        let control = Arm { name: String::new(), dose: 0.0, synthetic_share: None, ..arm.clone() };
        if let Some(control) = arms.iter().position(|other| is_same(other, &control)) {
            push(i, control);
        }
    }
    if let Some(augmented) = place(ArmWord::Augmented.name()) {
        let balanced = |arm: &Arm| arm.real && arm.dose == 0.0 && arm.sampling == Sampling::ClassBalanced;
        if let Some(oversampled) = place(ArmWord::Oversampled.name()).or_else(|| arms.iter().position(balanced)) {
            push(augmented, oversampled);
        }
    }
    pairs
}

/// How many of the pairs are questions of their own: arms that differ by their names alone are one arm.
pub fn questions(arms: &[Arm], pairs: &[Pair]) -> usize {
    let first = |i: usize| arms.iter().position(|other| is_same(other, &arms[i])).unwrap_or(i);
    let mut asked: Vec<(usize, usize)> = pairs.iter().map(|pair| (first(pair.arm), first(pair.baseline))).collect();
    asked.retain(|(arm, baseline)| arm != baseline);
    asked.sort_unstable();
    asked.dedup();
    asked.len()
}

fn is_same(a: &Arm, b: &Arm) -> bool {
    Arm { name: String::new(), ..a.clone() } == Arm { name: String::new(), ..b.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(arms: &[Arm]) -> Vec<String> {
        pairs(arms).iter().map(|pair| format!("{} vs {}", arms[pair.arm].name, arms[pair.baseline].name)).collect()
    }

    #[test]
    fn every_arm_has_its_controls() {
        let words = [
            ArmWord::RealRandAugment,
            ArmWord::Real,
            ArmWord::Oversampled,
            ArmWord::Augmented,
            ArmWord::AugmentedRandAugment,
            ArmWord::Synthetic,
        ];
        assert_eq!(
            told(&words.map(Arm::of)),
            [
                "real+randaug vs real",
                "oversampled vs real",
                "augmented vs real",
                "augmented+randaug vs real",
                "synthetic vs real",
                "augmented+randaug vs real+randaug",
                "augmented vs oversampled",
            ]
        );
        let balanced = Arm { name: "mine".into(), sampling: Sampling::ClassBalanced, ..Arm::of(ArmWord::Augmented) };
        let arms = [Arm::of(ArmWord::Real), Arm::of(ArmWord::Oversampled), balanced];
        assert_eq!(told(&arms), ["oversampled vs real", "mine vs real", "mine vs oversampled"]);
        assert_eq!(told(&[Arm::of(ArmWord::Real)]), [""; 0]);
    }

    #[test]
    fn an_arm_is_the_same_however_it_says_what_holds_for_all() {
        use crate::recipe::Augment;
        let training = Training { synthetic_share: Some(0.3), ..Training::default() };
        let mine =
            Arm { name: "mine".into(), dose: 0.5, sampling: Sampling::ClassBalanced, ..Arm::of(ArmWord::Augmented) };
        let said = Arm { augment: Some(Augment::Plain), synthetic_share: Some(0.3), ..mine.clone() };
        let arms = |mine| filled_in(&[Arm::of(ArmWord::Real), Arm::of(ArmWord::Oversampled), mine], &training);
        assert_eq!(told(&arms(said.clone())), ["oversampled vs real", "mine vs real", "mine vs oversampled"]);
        assert_eq!(told(&arms(mine.clone())), told(&arms(said.clone())));
        let twins = filled_in(&[Arm::of(ArmWord::Real), mine, Arm { name: "said".into(), ..said }], &training);
        assert_eq!(questions(&twins, &pairs(&twins)), 1);
        // Where all arms have RandAugment, the arm that asks for it is `real` again.
        let training = Training { augment: Augment::RandAugment, ..Training::default() };
        let randaug = filled_in(&[ArmWord::Real, ArmWord::RealRandAugment].map(Arm::of), &training);
        assert_eq!(questions(&randaug, &pairs(&randaug)), 0);
    }

    #[test]
    fn an_arm_by_another_name_asks_nothing_new() {
        let mut arms = [ArmWord::Real, ArmWord::Augmented].map(Arm::of).to_vec();
        arms.extend([0.5, 1.0, 2.0].map(Arm::of_dose));
        let all = pairs(&arms);
        assert_eq!((all.len(), questions(&arms, &all)), (4, 3));
    }
}
