use super::*;
use crate::stats::difference::{Options, paired_difference};
use crate::stats::simulate::World;
use crate::stats::verdict::{Verdict, holm, verdict};

fn design(world: &World) -> Design {
    Design {
        images: vec![world.images; world.species],
        seeds: world.seeds,
        disagreement: world.disagreement,
        persistent: world.persistent,
        run_std: world.run_std,
        alpha: 0.05,
        comparisons: 1,
    }
}

const PLANNED: World =
    World { species: 10, images: 20, seeds: 3, delta: 0.06, disagreement: 0.25, persistent: 0.5, run_std: 0.0 };
const WORLDS: [World; 4] = [
    PLANNED,
    World { persistent: 0.0, delta: 0.05, ..PLANNED },
    World { persistent: 1.0, delta: 0.09, seeds: 2, ..PLANNED },
    World { run_std: 0.02, seeds: 5, delta: 0.09, ..PLANNED },
];

/// Power as printed, and the share of simulated comparisons that say "helped".
fn both(world: &World, options: Options, simulations: u64) -> [f64; 2] {
    let helped = |number: &u64| {
        let runs = world.draw(*number);
        let found =
            paired_difference(&runs.baseline, &runs.arm, &runs.species, &Options { seed: *number, ..options }).unwrap();
        verdict(&found, found.p, 0.05) == Verdict::Helped
    };
    let shown = (0..simulations).filter(helped).count();
    [design(world).power(world.delta).unwrap(), shown as f64 / simulations as f64]
}

#[test]
fn power_is_what_simulated_comparisons_have() {
    for world in WORLDS {
        let [printed, simulated] =
            both(&world, Options { resamples: 300, permutations: 300, ..Options::default() }, 400);
        // Three points, and twice the simulation's own error.
        assert!((printed - simulated).abs() < 0.03 + 0.05, "{printed} is not {simulated}");
    }
}

/// Within three points, with the settings of a real comparison:
/// `cargo test --release power_thoroughly -- --ignored --nocapture`
#[test]
#[ignore = "takes minutes"]
fn power_thoroughly() {
    for world in WORLDS {
        let [printed, simulated] = both(&world, Options::default(), 2000);
        println!("power {printed:.3}, simulated {simulated:.3}");
        assert!((printed - simulated).abs() < 0.03 + 0.02, "{printed} is not {simulated}");
    }
}

/// A report of so many comparisons, the first in this world and the others between equal arms: whether the first is called
/// "helped", and whether any of the others is.
fn among(world: &World, comparisons: u64, options: Options, number: u64) -> [bool; 2] {
    let compare = |i: u64| {
        let seed = number * comparisons + i;
        let runs = World { delta: if i == 0 { world.delta } else { 0.0 }, ..*world }.draw(seed);
        paired_difference(&runs.baseline, &runs.arm, &runs.species, &Options { seed, ..options }).unwrap()
    };
    let found: Vec<_> = (0..comparisons).map(compare).collect();
    let p = holm(&found.iter().map(|one| one.p).collect::<Vec<_>>());
    let helped = |i: usize| verdict(&found[i], p[i], 0.05) == Verdict::Helped;
    [helped(0), (1..found.len()).any(helped)]
}

/// Power as printed for a report of several comparisons, the simulated one, and how often an equal arm "helped".
fn several(world: &World, comparisons: u64, options: Options, simulations: u64) -> [f64; 3] {
    let design = Design { comparisons: comparisons as usize, ..design(world) };
    let found: Vec<[bool; 2]> = (0..simulations).map(|number| among(world, comparisons, options, number)).collect();
    let share = |of: usize| found.iter().filter(|one| one[of]).count() as f64 / simulations as f64;
    [design.power(world.delta).unwrap(), share(0), share(1)]
}

/// Such as `plan` prints it: species of one size, five seeds, what is assumed where nothing is known.
const PRINTED: World =
    World { species: 12, images: 20, seeds: 5, delta: 0.09, disagreement: DISAGREEMENT, persistent: 0.5, run_std: 0.0 };

#[test]
fn several_comparisons_need_a_larger_difference_and_find_no_more_that_is_not_there() {
    let quick = Options { resamples: 300, permutations: 2000, ..Options::default() };
    let [printed, simulated, wrong] = several(&PRINTED, 6, quick, 150);
    assert!((printed - simulated).abs() < 0.03 + 0.08, "{printed} is not {simulated}");
    assert!(wrong <= 0.08, "{wrong}");
    let alone = Design { comparisons: 1, ..design(&PRINTED) };
    let six = Design { comparisons: 6, ..design(&PRINTED) };
    assert!(six.power(0.09).unwrap() < alone.power(0.09).unwrap());
    assert!(six.smallest_difference(0.8).unwrap() > alone.smallest_difference(0.8).unwrap());
    assert!(Design { comparisons: 0, ..alone }.power(0.1).is_err());
}

/// Both figures of a report of six comparisons, with the settings of a real one:
/// `cargo test --release several_comparisons_thoroughly -- --ignored --nocapture`
#[test]
#[ignore = "takes minutes"]
fn several_comparisons_thoroughly() {
    for (name, world) in [("as printed", PRINTED), ("and runs shift", World { run_std: 0.02, delta: 0.11, ..PRINTED })]
    {
        let [printed, simulated, wrong] = several(&world, 6, Options::default(), 1000);
        println!(
            "{name}: power {printed:.3}, simulated {simulated:.3}; an equal arm \"helped\" in {wrong:.3} of 1000 reports"
        );
        assert!((printed - simulated).abs() < 0.03 + 0.02, "{name}: {printed} is not {simulated}");
        assert!(wrong <= 0.05, "{name}: {wrong}");
    }
}

#[test]
fn more_images_more_seeds_and_less_disagreement_show_smaller_differences() {
    let least = |images: usize, seeds, disagreement| {
        Design::assumed(vec![images; 10], seeds, disagreement).smallest_difference(0.8).unwrap().unwrap()
    };
    let found = least(20, 3, 0.2);
    assert!(found > 0.02 && found < 0.15, "{found}");
    assert!(least(80, 3, 0.2) < 0.6 * found);
    assert!(least(20, 5, 0.2) < found);
    assert!(least(20, 3, 0.1) < found);
    let chance = Design::assumed(vec![20; 10], 3, 0.2).power(found).unwrap();
    assert!((chance - 0.8).abs() < 1e-3, "{chance}");
}

#[test]
fn no_true_difference_is_shown_in_at_most_the_half_of_alpha() {
    for seeds in [1, 2, 3, 10] {
        let chance = Design::assumed(vec![10; 10], seeds, 0.2).power(0.0).unwrap();
        assert!(chance <= 0.0255, "{chance} with {seeds} seeds");
    }
}

#[test]
fn a_measured_design_finds_what_made_the_runs() {
    let world =
        World { species: 20, images: 100, seeds: 8, delta: 0.03, disagreement: 0.3, persistent: 0.6, run_std: 0.02 };
    let runs = world.draw(2);
    let found = Design::measured(&runs.baseline, &runs.arm, &runs.species, 3).unwrap();
    assert!((found.disagreement - 0.3).abs() < 0.03, "{found:?}");
    assert!((found.persistent - 0.6).abs() < 0.1, "{found:?}");
    assert!((found.run_std - 0.02).abs() < 0.015, "{found:?}");
    assert_eq!((found.seeds, found.images.len()), (3, 20));
}

#[test]
fn a_test_set_too_small_shows_nothing_and_an_impossible_design_is_refused() {
    assert_eq!(Design::assumed(vec![1, 1], 1, 0.5).smallest_difference(0.8).unwrap(), None);
    assert!(Design::assumed(vec![], 3, 0.2).power(0.1).is_err());
    assert!(Design::assumed(vec![3, 0], 3, 0.2).power(0.1).is_err());
    assert!(Design::assumed(vec![3], 3, 1.2).power(0.1).is_err());
}
