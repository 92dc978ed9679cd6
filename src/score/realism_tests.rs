use super::*;
use crate::nn::noise::Stream;
use crate::score::golden::features;
use serde_json::Value;

fn go_on() -> Result<()> {
    Ok(())
}

#[test]
fn scores_equal_the_papers_equation_written_out_in_numpy() {
    let golden: Value = serde_json::from_str(include_str!("../../tests/golden/realism.json")).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let number = |value: &Value| value.as_u64().unwrap() as usize;
        let (n, m, dims, k) = (number(&case["n"][0]), number(&case["n"][1]), number(&case["dims"]), number(&case["k"]));
        let spheres = Spheres::new(&features(n, dims, 1), k, &go_on).unwrap();
        assert!((spheres.median - case["median"].as_f64().unwrap()).abs() < 1e-12);
        let found = spheres.realism(&features(m, dims, 2), &go_on).unwrap();
        for (found, wanted) in found.iter().zip(case["scores"].as_array().unwrap()) {
            let wanted = wanted.as_f64().unwrap();
            assert!((found - wanted).abs() <= 1e-12 * wanted, "{case}: {found} is not {wanted}");
        }
    }
}

#[test]
fn an_images_score_has_the_same_bits_beside_any_others_and_in_any_order() {
    let real = features(200, 30, 1);
    let images = features(70, 30, 2);
    let spheres = Spheres::new(&real, K, &go_on).unwrap();
    let all = spheres.realism(&images, &go_on).unwrap();
    let mut order: Vec<usize> = (0..70).collect();
    for seed in 0..10 {
        Stream::indexed(seed, "order", &[]).shuffle(&mut order);
        let some = &order[..1 + 7 * seed as usize];
        let found = spheres.realism(&images.select(some), &go_on).unwrap();
        for (found, &row) in found.iter().zip(some) {
            assert_eq!(found.to_bits(), all[row].to_bits());
        }
        let turned = Spheres::new(&real.select(&shuffled(200, seed)), K, &go_on).unwrap();
        assert_eq!(turned.realism(&images, &go_on).unwrap(), all);
    }
}

fn shuffled(n: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    Stream::indexed(seed, "real", &[]).shuffle(&mut order);
    order
}

#[test]
fn a_real_image_itself_is_infinitely_real_and_a_far_one_hardly() {
    let real = features(50, 6, 1);
    let spheres = Spheres::new(&real, K, &go_on).unwrap();
    let narrow = (0..50).find(|&i| {
        let one = spheres.realism(&real.select(&[i]), &go_on).unwrap()[0];
        one == f64::INFINITY
    });
    assert!(narrow.is_some());
    let far = Features::new(6, vec![1000.0; 6]).unwrap();
    let score = spheres.realism(&far, &go_on).unwrap()[0];
    assert!(score > 0.0 && score < 0.01, "{score}");
}

#[test]
fn real_images_that_are_all_one_point_make_only_that_point_real() {
    let real = Features::new(2, vec![3.0; 12]).unwrap();
    let spheres = Spheres::new(&real, K, &go_on).unwrap();
    let images = Features::new(2, vec![3.0, 3.0, 3.0, 3.5]).unwrap();
    assert_eq!(spheres.realism(&images, &go_on).unwrap(), [1.0, 0.0]);
}

#[test]
fn clouds_wider_than_a_block_are_compared_whole() {
    let real = features(COLUMNS as usize + 60, 2, 1);
    let spheres = Spheres::new(&real, K, &go_on).unwrap();
    let images = features(3, 2, 2);
    let found = spheres.realism(&images, &go_on).unwrap();
    for (i, found) in found.iter().enumerate() {
        let plain =
            (0..spheres.spheres.radii.len()).map(|at| spheres.spheres.ratio(images.row(i), at)).fold(0.0, f64::max);
        assert_eq!(*found, plain);
    }
}

#[test]
fn what_cannot_be_scored_is_refused_plainly() {
    let message = |real: &Features, images: &Features| {
        let spheres = Spheres::new(real, K, &go_on);
        spheres.and_then(|spheres| spheres.realism(images, &go_on)).err().unwrap().to_string()
    };
    let set = features(10, 4, 1);
    assert_eq!(
        message(&features(3, 4, 1), &set),
        "realism by 3 neighbours needs at least 4 real images, there are 3\n  help: give more real images"
    );
    let mut broken = set.clone();
    broken.values[5] = f32::NAN;
    let nan = "row 1 holds NaN\n  help: the network that made them overflowed; try it in fp32, or check its weights";
    assert_eq!(message(&set, &broken), format!("features of the synthetic images: {nan}"));
    assert_eq!(message(&broken, &set), format!("features of the real images: {nan}"));
    assert!(message(&set, &features(2, 5, 1)).starts_with("features of 4 and of 5 numbers cannot be compared"));
}
