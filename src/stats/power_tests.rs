use super::*;
use crate::stats::difference::{Options, paired_difference};
use crate::stats::simulate::World;
use crate::stats::verdict::{Verdict, verdict};

fn design(world: &World) -> Design {
    Design {
        images: vec![world.images; world.species],
        seeds: world.seeds,
        disagreement: world.disagreement,
        persistent: world.persistent,
        run_std: world.run_std,
        alpha: 0.05,
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
