use super::*;
use crate::score::golden::features;
use serde_json::Value;

fn golden() -> Value {
    serde_json::from_str(include_str!("../../tests/golden/kid.json")).unwrap()
}

fn close(found: f64, wanted: f64, tolerance: f64) {
    assert!((found - wanted).abs() <= tolerance * wanted.abs(), "{found} is not {wanted}");
}

#[test]
fn whole_sets_equal_torch_fidelity() {
    let golden = golden();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let (n, m) = (case["n"][0].as_u64().unwrap() as usize, case["n"][1].as_u64().unwrap() as usize);
        let dims = case["dims"].as_u64().unwrap() as usize;
        let found = kid(&features(n, dims, 1), &features(m, dims, 2), &Options::default()).unwrap();
        close(found.value, case["mmd2"].as_f64().unwrap(), 1e-10);
        if let Some(whole) = case["whole"].as_f64() {
            close(found.value, whole, 1e-10);
        }
        match case["std"].as_f64() {
            Some(std) => close(found.std.unwrap(), std, 1e-8),
            None => assert_eq!(found.std, None),
        }
        assert_eq!((found.n, found.by_subsets), ([n, m], false));
    }
}

#[test]
fn subsets_give_torch_fidelitys_mean_and_spread() {
    let golden = &golden()["subsets"];
    let (real, synthetic) = (features(300, 12, 1), features(260, 12, 2));
    let options = Options { subset: 100, subsets: 2000, seed: 5 };
    let found = kid(&real, &synthetic, &options).unwrap();
    assert!(found.by_subsets);
    let (mean, std) = (golden["mean"].as_f64().unwrap(), golden["std"].as_f64().unwrap());
    // Other random subsets of the same number: means differ by their standard error.
    assert!((found.value - mean).abs() < 4.0 * std * (2.0f64 / 2000.0).sqrt(), "{} is not {mean}", found.value);
    close(found.std.unwrap(), std, 0.1);
    assert_eq!(found, kid(&real, &synthetic, &options).unwrap());
}

#[test]
fn both_ways_to_sum_over_subsets_agree() {
    let (x, y) = (matrix(&features(50, 6, 1)).unwrap(), matrix(&features(30, 6, 2)).unwrap());
    let picks = [draws(50, 20, 9, 0, "a"), draws(30, 20, 9, 0, "b")];
    let at_once = over_subsets(&x, &y, &picks).unwrap();
    for (i, found) in at_once.iter().enumerate() {
        let one = [vec![picks[0][i].clone()], vec![picks[1][i].clone()]];
        close(over_subsets(&x, &y, &one).unwrap()[0], *found, 1e-9);
    }
}

#[test]
fn a_draw_repeats_no_image_and_reaches_all() {
    let drawn = draws(10, 7, 200, 3, "test");
    let mut seen = [0; 10];
    for draw in &drawn {
        let distinct: std::collections::BTreeSet<i64> = draw.iter().copied().collect();
        assert_eq!((draw.len(), distinct.len()), (7, 7));
        draw.iter().for_each(|&image| seen[image as usize] += 1);
    }
    assert!(seen.iter().all(|&count| (110..170).contains(&count)), "{seen:?}");
    assert_eq!(draws(4, 4, 1, 0, "test")[0].len(), 4);
}

#[test]
fn halves_of_one_distribution_are_at_zero_and_order_does_not_matter() {
    let draw = |label: &str| Features::new(10, Stream::new(b"kid", label).normals(1500)).unwrap();
    let (a, b) = (draw("a"), draw("b"));
    let found = kid(&a, &b, &Options::default()).unwrap();
    assert!(found.value.abs() < 4.0 * found.std.unwrap(), "{found:?}");
    let turned = kid(&a.select(&(0..150).rev().collect::<Vec<_>>()), &b, &Options::default()).unwrap();
    close(turned.value, found.value, 1e-8);
}

#[test]
fn every_share_equals_computing_the_distance_again_without_the_image() {
    let (real, synthetic) = (features(30, 8, 1), features(12, 8, 2));
    let whole = kid(&real, &synthetic, &Options::default()).unwrap().value;
    for (i, share) in contributions(&real, &synthetic).unwrap().iter().enumerate() {
        let rows: Vec<usize> = (0..12).filter(|&row| row != i).collect();
        let without = kid(&real, &synthetic.select(&rows), &Options::default()).unwrap().value;
        close(*share, whole - without, 1e-8);
    }
}

#[test]
fn more_rows_than_a_block_sum_to_the_same() {
    let (x, y) = (matrix(&features(BLOCK + 30, 2, 1)).unwrap(), matrix(&features(5, 2, 2)).unwrap());
    let by_block = row_sums(&x, &y, false).unwrap();
    let turned = row_sums(&y, &x, false).unwrap();
    close(by_block.iter().sum(), turned.iter().sum(), 1e-12);
    let own: f64 = row_sums(&x, &x, true).unwrap().iter().sum();
    let all = kernel(&x, &x).unwrap();
    close(own, all.sum(Kind::Double).double_value(&[]) - all.trace().double_value(&[]), 1e-12);
}

#[test]
fn impossible_questions_are_refused() {
    let set = features(5, 4, 1);
    let error = |real: &Features, synthetic: &Features, options: Options| {
        kid(real, synthetic, &options).unwrap_err().to_string()
    };
    assert!(error(&set, &features(1, 4, 1), Options::default()).contains("the synthetic images are 1"));
    assert!(error(&set, &features(5, 3, 1), Options::default()).contains("features of 4 and of 3 numbers"));
    assert!(error(&set, &set, Options { subset: 1, ..Default::default() }).contains("a subset needs 2"));
    let mut broken = set.clone();
    broken.values[0] = f32::NAN;
    assert!(error(&broken, &set, Options::default()).contains("row 0 holds NaN"));
}
