use super::*;
use crate::nn::noise::Stream;
use crate::score::contribution::contributions;
use crate::score::frechet::frechet;
use crate::score::thin::thin;

fn go_on() -> Result<()> {
    Ok(())
}

/// Directions of different variance, a mean that is off, and some images that are far out.
fn set(rows: usize, dims: usize, seed: u64, shift: f32) -> Features {
    let mut values = Stream::indexed(seed, "thinning", &[]).normals(rows * dims);
    for (i, value) in values.iter_mut().enumerate() {
        let far = if (i / dims).is_multiple_of(7) { 2.5 } else { 1.0 };
        *value = *value * far * (1.0 + (i % dims) as f32 / 4.0) + shift;
    }
    Features::new(dims, values).unwrap()
}

fn distance(real: &Moments, set: &Features, rows: &[usize]) -> f64 {
    frechet(real, &Moments::of(&set.select(rows)).unwrap()).unwrap()
}

/// By computing the whole distance again without each image, again and again.
fn again(real: &Moments, set: &Features, threshold: f64) -> (Vec<usize>, Vec<f64>) {
    let mut rows: Vec<usize> = (0..set.rows).collect();
    let (mut out, mut distances) = (Vec::new(), vec![distance(real, set, &rows)]);
    while distances[out.len()] > threshold && rows.len() > 2 {
        let without = |at: usize| distance(real, set, &[&rows[..at], &rows[at + 1..]].concat());
        let all: Vec<f64> = (0..rows.len()).map(without).collect();
        let at = (0..rows.len()).min_by(|&a, &b| all[a].total_cmp(&all[b])).unwrap();
        if all[at] >= distances[out.len()] {
            break;
        }
        distances.push(all[at]);
        out.push(rows.remove(at));
    }
    (out, distances)
}

#[test]
fn images_go_in_the_order_in_which_computing_everything_again_would_let_them_go() {
    let mut gone = 0;
    // More images than dimensions, fewer, a crossing from one to the other, and fewer real images than dimensions.
    for (real, rows, dims) in [(80, 40, 5), (80, 16, 24), (80, 20, 14), (9, 30, 20), (6, 14, 30)] {
        let real = Moments::of(&set(real, dims, 1, 0.0)).unwrap();
        let synthetic = set(rows, dims, 2, 0.4);
        let mut thinning = FrechetThinning::new(&real, &synthetic, &go_on).unwrap();
        let found = thin(&mut thinning, 0.0, 2, &go_on, &|_, _| ()).unwrap();
        let (wanted, distances) = again(&real, &synthetic, 0.0);
        gone += wanted.len();
        assert_eq!(found.left_out.iter().map(|left| left.row).collect::<Vec<_>>(), wanted, "{rows} of {dims}");
        for (left, wanted) in found.left_out.iter().zip(&distances) {
            assert!((left.distance - wanted).abs() < 1e-9, "{} is not {wanted}", left.distance);
        }
        assert!((found.distance - distances[wanted.len()]).abs() < 1e-9);
        assert_eq!((found.holds, found.left), (false, rows - wanted.len()));
    }
    assert!(gone >= 15, "{gone}");
}

#[test]
fn a_threshold_between_two_distances_stops_between_them() {
    let real = Moments::of(&set(80, 5, 1, 0.0)).unwrap();
    let synthetic = set(40, 5, 2, 0.4);
    let (wanted, distances) = again(&real, &synthetic, 0.0);
    for stop in [0, 1, wanted.len() - 1] {
        let threshold = 0.5 * (distances[stop] + distances[stop + 1]);
        let threshold = if stop == 0 { distances[0] + 1.0 } else { threshold };
        let mut thinning = FrechetThinning::new(&real, &synthetic, &go_on).unwrap();
        let found = thin(&mut thinning, threshold, 2, &go_on, &|_, _| ()).unwrap();
        assert_eq!((found.left_out.len(), found.holds), (if stop == 0 { 0 } else { stop + 1 }, true));
    }
}

#[test]
fn no_exact_share_exceeds_its_bound_however_long_ago_the_reference_was() {
    for (real, rows, dims) in [(100, 200, 6), (5, 60, 9), (40, 90, 30)] {
        let real = Moments::of(&set(real, dims, 1, 0.0)).unwrap();
        let synthetic = set(rows, dims, 2, 0.5);
        let mut thinning = FrechetThinning::new(&real, &synthetic, &go_on).unwrap();
        let mut left: Vec<usize> = (0..rows).collect();
        for step in 0..40 {
            let exact = contributions(&real, &synthetic.select(&left), &go_on).unwrap();
            let (without, variance) = (Without::of(left.len()), thinning.variance());
            let (between, roots) = (thinning.between(), thinning.roots().unwrap());
            let Way::Many(many) = &thinning.way else { panic!("more images than dimensions") };
            assert_eq!(many.gone, step);
            let bounds = thinning.bounds(many, &without, &between, variance, roots).unwrap();
            for ((&row, share), (of, bound)) in left.iter().zip(exact).zip(bounds) {
                assert_eq!(row, of);
                assert!(share <= bound + 1e-9, "step {step}, row {row}: {share} is above {bound}");
            }
            let gone = left.remove((step * 17) % left.len());
            thinning.leave_out(gone).unwrap();
        }
    }
}

#[test]
fn the_bound_spares_most_exact_shares() {
    let real = Moments::of(&set(500, 8, 1, 0.0)).unwrap();
    let mut thinning = FrechetThinning::new(&real, &set(4000, 8, 2, 0.2), &go_on).unwrap();
    for _ in 0..100 {
        let row = thinning.worst(&go_on).unwrap().unwrap();
        assert!(thinning.worked_out() <= 4000 / 10, "{}", thinning.worked_out());
        thinning.leave_out(row).unwrap();
    }
}

#[test]
fn the_order_of_images_decides_nothing() {
    for (rows, dims) in [(60, 5), (20, 26)] {
        let real = Moments::of(&set(80, dims, 1, 0.0)).unwrap();
        let synthetic = set(rows, dims, 2, 0.4);
        let gone = |order: &[usize]| {
            let set = synthetic.select(order);
            let mut thinning = FrechetThinning::new(&real, &set, &go_on).unwrap();
            let found = thin(&mut thinning, 0.0, rows - 9, &go_on, &|_, _| ()).unwrap();
            found.left_out.iter().map(|left| order[left.row]).collect::<Vec<_>>()
        };
        let straight: Vec<usize> = (0..rows).collect();
        let wanted = gone(&straight);
        assert!(wanted.len() >= 3);
        for seed in 0..10 {
            let mut order = straight.clone();
            Stream::indexed(seed, "order", &[]).shuffle(&mut order);
            assert_eq!(gone(&order), wanted, "{order:?}");
        }
    }
}

#[test]
fn of_images_with_equal_features_the_last_goes() {
    for dims in [4, 40] {
        let real = Moments::of(&set(80, dims, 1, 0.0)).unwrap();
        let mut synthetic = set(20, dims, 2, 0.0);
        for row in [3, 8, 15] {
            synthetic.values[row * dims..][..dims].fill(30.0);
        }
        let mut thinning = FrechetThinning::new(&real, &synthetic, &go_on).unwrap();
        for wanted in [15, 8, 3] {
            assert_eq!(thinning.worst(&go_on).unwrap(), Some(wanted), "{dims} dimensions");
            thinning.leave_out(wanted).unwrap();
        }
    }
}

#[test]
fn work_stops_when_asked() {
    let real = Moments::of(&set(30, 4, 1, 0.0)).unwrap();
    let stop = || Err(crate::error::Error::Interrupted);
    let synthetic = set(20, 4, 2, 0.4);
    assert!(matches!(FrechetThinning::new(&real, &synthetic, &stop), Err(crate::error::Error::Interrupted)));
    let mut thinning = FrechetThinning::new(&real, &synthetic, &go_on).unwrap();
    let stopped = thin(&mut thinning, 0.0, 2, &stop, &|_, _| ());
    assert!(matches!(stopped, Err(crate::error::Error::Interrupted)));
}

/// Prints times, checks nothing: `cargo test --release thinning_speed -- --ignored --nocapture`
#[test]
#[ignore = "prints timings, checks nothing"]
fn thinning_speed() {
    for (real, rows, dims, steps) in [(84_635, 50_000, 512, 20), (5000, 2000, 512, 20), (3000, 1000, 2048, 5)] {
        let draw = |rows: usize, label: &str| {
            let mut values = Stream::new(b"speed", label).normals(rows * dims);
            values.iter_mut().enumerate().for_each(|(i, x)| *x *= 1.0 / (1.0 + (i % dims) as f32 / 20.0));
            Features::new(dims, values).unwrap()
        };
        let (real, synthetic) = (Moments::of(&draw(real.min(20_000), "a")).unwrap(), draw(rows, "b"));
        let start = std::time::Instant::now();
        contributions(&real, &synthetic, &go_on).unwrap();
        println!("{rows} x {dims}: all exact shares {:?}", start.elapsed());
        let start = std::time::Instant::now();
        let mut thinning = FrechetThinning::new(&real, &synthetic, &go_on).unwrap();
        println!("{rows} x {dims}: ready to leave out {:?}", start.elapsed());
        let start = std::time::Instant::now();
        for _ in 0..steps {
            let worst = thinning.worst(&go_on).unwrap();
            worst.into_iter().for_each(|row| thinning.leave_out(row).unwrap());
        }
        println!("{rows} x {dims}: a step {:?}, {} exact", start.elapsed() / steps, thinning.worked_out());
    }
}
