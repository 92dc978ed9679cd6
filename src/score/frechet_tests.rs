use super::*;
use crate::score::golden::features;
use serde_json::Value;

#[test]
fn every_distance_equals_scipy_and_torch_fidelity() {
    let golden: Value = serde_json::from_str(include_str!("../../tests/golden/frechet.json")).unwrap();
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let rows = |i: usize| case["rows"][i].as_u64().unwrap() as usize;
        let dims = case["dims"].as_u64().unwrap() as usize;
        let real = Moments::of(&features(rows(0), dims, 1)).unwrap();
        let synthetic = Moments::of(&features(rows(1), dims, 2)).unwrap();
        let found = frechet(&real, &synthetic).unwrap();
        if let Some(wanted) = case["sqrtm"].as_f64() {
            assert!((found - wanted).abs() < 1e-10, "{case}: {found}");
        }
        // Where ranks are deficient, torch-fidelity takes the roots of eigenvalues that are 1e-17 instead of 0.
        let wanted = case["eigenvalues"].as_f64().unwrap();
        assert!((found - wanted).abs() < 1e-6, "{case}: {found}");
        let back = frechet(&synthetic, &real).unwrap();
        assert!((found - back).abs() < 1e-12, "{case}: {found} one way, {back} the other");
    }
}

#[test]
fn a_set_is_at_distance_zero_from_itself_in_any_order_whatever_its_rank() {
    for (rows, dims) in [(80, 10), (10, 80), (2, 5)] {
        let one = features(rows, dims, 3);
        let order: Vec<usize> = (0..rows).rev().collect();
        let other = one.select(&order);
        let found = frechet(&Moments::of(&one).unwrap(), &Moments::of(&other).unwrap()).unwrap();
        assert!(found < 1e-9, "{found} for {rows} rows of {dims}");
    }
}

#[test]
fn dead_features_and_constant_sets_are_no_trouble() {
    let dims = 6;
    let mut dead = features(50, dims, 1);
    for row in dead.values.chunks_exact_mut(dims) {
        row[2] = 0.0;
        row[4] = row[3];
    }
    let moments = Moments::of(&dead).unwrap();
    assert!(moments.factor.size()[0] <= 4, "two dimensions carry nothing");
    assert!(frechet(&moments, &moments).unwrap() < 1e-10);

    let flat = |value: f32| Moments::of(&Features::new(3, vec![value; 30]).unwrap()).unwrap();
    assert_eq!(frechet(&flat(1.0), &flat(1.0)).unwrap(), 0.0);
    assert!((frechet(&flat(1.0), &flat(3.0)).unwrap() - 12.0).abs() < 1e-12);
}

#[test]
fn moments_can_be_taken_apart_and_put_together() {
    let (mean, covariance) = (vec![1.0, -2.0], [2.0, 0.5, 0.5, 1.0]);
    let moments = Moments::from_parts(10, mean.clone(), &covariance).unwrap();
    assert!((moments.variance() - 3.0).abs() < 1e-12);
    for (found, wanted) in moments.covariance().unwrap().iter().zip(covariance) {
        assert!((found - wanted).abs() < 1e-12);
    }
    let own = Moments::of(&features(40, 7, 1)).unwrap();
    let again = Moments::from_parts(own.n, own.mean.clone(), &own.covariance().unwrap()).unwrap();
    assert!(frechet(&own, &again).unwrap() < 1e-10);
    assert!(Moments::from_parts(10, mean.clone(), &[2.0, 0.5, 0.4, 1.0]).is_err());
    assert!(Moments::from_parts(10, mean.clone(), &[f64::NAN, 0.5, 0.5, 1.0]).is_err());
    assert!(Moments::from_parts(1, mean, &covariance).is_err());
}

#[test]
fn sets_that_have_no_distance_are_refused() {
    let error = |features: Features| Moments::of(&features).err().unwrap().to_string();
    assert!(error(features(1, 4, 1)).starts_with("a distance between sets needs at least 2 images"));
    let mut broken = features(5, 4, 1);
    broken.values[9] = f32::INFINITY;
    assert!(error(broken).contains("row 2 holds inf"));
    let (a, b) = (Moments::of(&features(9, 4, 1)).unwrap(), Moments::of(&features(9, 5, 1)).unwrap());
    assert_eq!(
        frechet(&a, &b).unwrap_err().to_string(),
        "features of 4 and of 5 numbers cannot be compared\n  help: compute both sets' features by the same network"
    );
}

/// Prints times, checks nothing: `cargo test --release frechet_speed -- --ignored --nocapture`
#[test]
#[ignore = "prints timings, checks nothing"]
fn frechet_speed() {
    let dims = 2048;
    for rows in [200, 1000, 2600] {
        let set = |label: &str| {
            Features::new(dims, crate::nn::noise::Stream::new(b"speed", label).normals(rows * dims)).unwrap()
        };
        let (a, b) = (set("a"), set("b"));
        let start = std::time::Instant::now();
        let (a, b) = (Moments::of(&a).unwrap(), Moments::of(&b).unwrap());
        let found = frechet(&a, &b).unwrap();
        let whole = start.elapsed().as_secs_f64();
        // As other programs begin: with means and covariances.
        let parts = |m: &Moments| (m.n, m.mean.clone(), m.covariance().unwrap());
        let parts = [parts(&a), parts(&b)];
        let start = std::time::Instant::now();
        let [a, b] = parts.map(|(n, mean, covariance)| Moments::from_parts(n, mean, &covariance).unwrap());
        let again = frechet(&a, &b).unwrap();
        let given = start.elapsed().as_secs_f64();
        println!("{rows} x {dims}: from features {whole:.4} s, from moments {given:.4} s = {found} or {again}");
    }
}
