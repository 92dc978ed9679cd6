use super::super::digest;
use super::super::scan::Photo;
use super::*;

/// Species of so many photos in train, two in valid and three in test, all different.
fn dataset(train: &[usize]) -> Dataset {
    let mut photos = Vec::new();
    for split in Split::ALL {
        for (species, &n) in train.iter().enumerate() {
            let n = [n, 2, 3][split as usize];
            for i in 0..n {
                let path = format!("{}/S{species}/{i}.jpg", split.name());
                photos.push(Photo {
                    split,
                    species: species as u32,
                    digest: digest::of(path.as_bytes()),
                    path,
                    bytes: 1,
                });
            }
        }
    }
    let species = (0..train.len()).map(|s| format!("S{s}")).collect();
    Dataset { root: "birds".into(), species, photos, skipped: vec![], hashed: 0 }
}

fn options(kind: CutKind, test: TestPhotos) -> CutOptions {
    CutOptions { kind, seed: 0, test }
}

fn counts(dataset: &Dataset, photos: &[usize]) -> Vec<usize> {
    let mut out = vec![0; dataset.species.len()];
    for &photo in photos {
        out[dataset.photos[photo].species as usize] += 1;
    }
    out
}

fn paths(dataset: &Dataset, photos: &[usize]) -> HashSet<String> {
    photos.iter().map(|&i| dataset.photos[i].path.clone()).collect()
}

fn refusal(dataset: &Dataset, options: &CutOptions) -> String {
    cut(dataset, options).unwrap_err().to_string()
}

#[test]
fn a_full_cut_is_the_dataset_as_it_is() {
    let dataset = dataset(&[4, 5]);
    let cut = cut(&dataset, &options(CutKind::Full, TestPhotos::Test)).unwrap();
    assert_eq!(cut.train, (0..9).collect::<Vec<_>>());
    assert_eq!(cut.valid, (9..13).collect::<Vec<_>>());
    assert_eq!(cut.test, (13..19).collect::<Vec<_>>());
    assert_eq!(cut.removed, []);
}

#[test]
fn a_few_shot_cut_takes_equal_shares_and_tests_on_the_rest() {
    let dataset = dataset(&[10, 20, 5]);
    let few = CutKind::FewShot { shots: 4 };
    let unused = cut(&dataset, &options(few, TestPhotos::UnusedTrain)).unwrap();
    assert_eq!(counts(&dataset, &unused.train), [4, 4, 4]);
    assert_eq!(counts(&dataset, &unused.test), [6, 16, 1]);
    assert!(unused.test.iter().all(|&i| dataset.photos[i].split == Split::Train));
    assert!(unused.train.iter().all(|i| !unused.test.contains(i)));
    let both = cut(&dataset, &options(few, TestPhotos::Both)).unwrap();
    assert_eq!(counts(&dataset, &both.test), [9, 19, 4]);
    let test = cut(&dataset, &options(few, TestPhotos::Test)).unwrap();
    assert_eq!(counts(&dataset, &test.test), [3, 3, 3]);
    assert_eq!((&test.train, &both.train), (&unused.train, &unused.train));
}

#[test]
fn a_long_tail_falls_exponentially_to_the_wanted_ratio() {
    let dataset = dataset(&[80; 5]);
    let tail = CutKind::LongTail { imbalance: 0.0625 };
    let cut = cut(&dataset, &options(tail, TestPhotos::UnusedTrain)).unwrap();
    let mut n = counts(&dataset, &cut.train);
    n.sort();
    // A quarter of 80 is kept for the test; 60 * (1/16)^(i/4).
    assert_eq!(n, [4, 8, 15, 30, 60]);
    assert_eq!(cut.train.len() + cut.test.len(), 400);
    assert!(counts(&dataset, &cut.test).iter().all(|&n| n >= 20));
}

#[test]
fn a_species_with_little_to_give_gives_that() {
    let dataset = dataset(&[3, 40, 41, 42, 200]);
    let tail = CutKind::LongTail { imbalance: 1.0 };
    let cut = cut(&dataset, &options(tail, TestPhotos::Test)).unwrap();
    assert_eq!(counts(&dataset, &cut.train), [3, 40, 41, 41, 41]);
}

#[test]
fn the_seed_decides_which_species_are_rare_and_which_photos_stay() {
    let dataset = dataset(&[40; 8]);
    let with = |seed| {
        let kind = CutKind::LongTail { imbalance: 0.1 };
        cut(&dataset, &CutOptions { kind, seed, test: TestPhotos::UnusedTrain }).unwrap()
    };
    assert_eq!(with(0), with(0));
    assert_ne!(counts(&dataset, &with(0).train), counts(&dataset, &with(1).train));
    assert_eq!(counts(&dataset, &with(0).train), [4, 6, 8, 11, 22, 3, 30, 16]);
}

#[test]
fn a_photo_more_moves_at_most_one_other() {
    let (before, after) = (dataset(&[30, 30]), dataset(&[31, 30]));
    let few = options(CutKind::FewShot { shots: 10 }, TestPhotos::Test);
    let chosen = |dataset: &Dataset| paths(dataset, &cut(dataset, &few).unwrap().train);
    assert!(chosen(&before).difference(&chosen(&after)).count() <= 1);
}

#[test]
fn a_copy_of_a_held_out_photo_leaves_train_and_is_named() {
    let mut dataset = dataset(&[4, 4]);
    dataset.photos[1].digest = dataset.photos[8].digest;
    dataset.photos[6].digest = dataset.photos[13].digest;
    let whole = Cut { train: (0..8).collect(), valid: (8..12).collect(), test: (12..18).collect(), removed: vec![] };
    assert_eq!(leaks(&dataset, &whole), [(1, 8), (6, 13)]);
    let full = cut(&dataset, &options(CutKind::Full, TestPhotos::Test)).unwrap();
    assert_eq!(full.train, [0, 2, 3, 4, 5, 7]);
    assert_eq!(full.removed, [(1, 8), (6, 13)]);
    assert_eq!(leaks(&dataset, &full), []);
    // The test split is not in use here, so its copy may be trained on.
    let few = cut(&dataset, &options(CutKind::FewShot { shots: 2 }, TestPhotos::UnusedTrain)).unwrap();
    assert_eq!(few.removed, [(1, 8)]);
}

#[test]
fn two_copies_in_train_never_stand_on_both_sides_of_the_cut() {
    let mut dataset = dataset(&[12]);
    for i in 0..12 {
        dataset.photos[i].digest = digest::of(&[i as u8 / 2]);
    }
    for shots in 1..11 {
        let cut = cut(&dataset, &options(CutKind::FewShot { shots }, TestPhotos::UnusedTrain)).unwrap();
        assert_eq!(leaks(&dataset, &cut), [], "{shots}");
        assert_eq!(cut.train.len(), shots);
    }
}

#[test]
fn what_cannot_be_cut_is_said_with_what_to_write() {
    let dataset = dataset(&[4, 12, 3]);
    assert_eq!(
        refusal(&dataset, &options(CutKind::Full, TestPhotos::UnusedTrain)),
        "a full cut trains on every photo of train and leaves none to be tested on\n  help: in the recipe's [split], \
         write test = \"test\", or kind = \"few-shot\" or \"long-tail\""
    );
    assert_eq!(
        refusal(&dataset, &options(CutKind::FewShot { shots: 4 }, TestPhotos::UnusedTrain)),
        "too few photos in train for 4 photos to train on and one to be tested on: `S0` (4), `S2` (3)\n  help: in the \
         recipe's [split], write shots = 2, or exclude these species"
    );
    assert_eq!(
        refusal(&dataset, &options(CutKind::FewShot { shots: 4 }, TestPhotos::Test)),
        "too few photos in train for 4 photos to train on: `S2` (3)\n  help: in the recipe's [split], write shots = \
         3, or exclude these species"
    );
}

#[test]
fn a_species_without_a_test_photo_or_a_train_photo_is_named() {
    let mut dataset = dataset(&[2, 2]);
    dataset.photos.retain(|p| p.split != Split::Test || p.species == 0);
    assert_eq!(
        refusal(&dataset, &options(CutKind::Full, TestPhotos::Test)),
        "this cut leaves no photo to be tested on for `S1`\n  help: add photos, or exclude these species in the \
         recipe's [dataset]; [split] test = \"both\" also tests on train's unused photos"
    );
    dataset.photos[0].digest = dataset.photos[4].digest;
    dataset.photos[1].digest = dataset.photos[5].digest;
    assert_eq!(
        refusal(&dataset, &options(CutKind::Full, TestPhotos::Test)),
        "this cut leaves no photo to train on for `S0`\n  help: add photos, or exclude these species in the recipe's \
         [dataset]"
    );
}
