//! The recipe that `init` writes.

use std::path::Path;

use super::super::*;
use super::good;

fn facts() -> TemplateFacts {
    TemplateFacts {
        name: "birds".into(),
        species: 12,
        train_images: 240,
        rarest: 3,
        commonest: 40,
        width: 224,
        height: 224,
        renames: vec![],
        device_has_bf16: false,
        is_gpu: false,
        likeness: None,
    }
}

#[test]
fn a_template_is_a_recipe_for_any_dataset_and_device() {
    for (width, height) in [(1, 1), (33, 50), (224, 224), (6000, 4000)] {
        for (rarest, commonest) in [(0, 0), (1, 1), (3, 40), (130, 263)] {
            for (is_gpu, device_has_bf16) in [(false, false), (false, true), (true, true)] {
                let facts = TemplateFacts { width, height, rarest, commonest, is_gpu, device_has_bf16, ..facts() };
                let recipe = good(&template(Path::new("data/birds"), &facts));
                assert_eq!(warnings(&recipe), Vec::<String>::new());
                let bf16 = recipe.generator.precision == Precision::Bf16;
                assert_eq!(bf16, device_has_bf16);
            }
        }
    }
}

#[test]
fn a_template_suits_the_device() {
    let root = Path::new("data/birds");
    let cpu = good(&template(root, &facts()));
    let gpu = good(&template(root, &TemplateFacts { is_gpu: true, device_has_bf16: true, ..facts() }));
    assert_eq!((cpu.generator.size, gpu.generator.size), (32, 128));
    assert_eq!((cpu.classifier.size, gpu.classifier.size), (64, 224));
}

#[test]
fn an_even_dataset_gets_a_long_tail_cut_and_an_uneven_one_does_not() {
    let root = Path::new("data/birds");
    let uneven = good(&template(root, &facts()));
    assert_eq!((uneven.split.kind, uneven.split.test), (SplitKind::Full, TestImages::Test));
    let even = good(&template(root, &TemplateFacts { rarest: 130, commonest: 263, ..facts() }));
    assert_eq!((even.split.kind, even.split.test), (SplitKind::LongTail { imbalance: 0.1 }, TestImages::UnusedTrain));
}

#[test]
fn names_that_need_escapes_come_back_as_they_were() {
    let renames = [("PARAKETT  AUKLET", "PARAKETT AUKLET"), ("A \"B\"\\\t", "A B"), ("ÉTOURNEAU", "STARLING")];
    let renames = renames.map(|(from, to)| (from.to_string(), to.to_string()));
    let root = Path::new("C:\\my \"birds\"");
    let recipe = good(&template(root, &TemplateFacts { renames: renames.to_vec(), ..facts() }));
    assert_eq!(recipe.dataset.root, root);
    assert_eq!(recipe.dataset.rename, renames.into_iter().collect());
}

#[test]
fn the_other_generator_of_a_template_is_a_recipe_too() {
    let text = template(Path::new("data/birds"), &facts());
    let start = text.find("[generator]\n").expect("it has a generator");
    let other = text.find("# Or a pretrained model").expect("it has another");
    let end = text.find("[filter]").expect("it has a filter");
    let own: String =
        text[other..end].lines().skip(1).map(|line| format!("{}\n", line.trim_start_matches("# "))).collect();
    let recipe = good(&format!("{}{own}{}", &text[..start], &text[end..]));
    assert!(matches!(recipe.generator.kind, GeneratorKind::StableDiffusion(_)));
    assert_eq!(recipe.generator.mode, Mode::Img2Img);
}

#[test]
fn comments_of_a_template_stand_in_a_column() {
    for line in template(Path::new("data/birds"), &facts()).lines().filter(|line| line.contains("  # ")) {
        let column = line.rfind("  # ").map(|at| at + 2);
        assert!(column == Some(41) || line.contains("# rename"), "{line}");
        assert!(line.chars().count() <= 125, "{line}");
    }
}

#[test]
fn measured_likeness_becomes_thresholds_and_what_was_not_measured_stays_a_comment() {
    let root = Path::new("data/birds");
    let with = |train, held_out| {
        let likeness = Some(MeasuredLikeness { side: 32, photos: 384, train, held_out, copy: 0.83 });
        let text = template(root, &TemplateFacts { likeness, ..facts() });
        let recipe = good(&text);
        assert_eq!(warnings(&recipe), Vec::<String>::new());
        for line in text.lines() {
            assert!(line.chars().count() <= 125, "{line}");
        }
        assert_eq!(recipe.filter.copy_max, Some(0.83));
        (recipe.filter.held_out_max, recipe.filter.duplicate_max, text)
    };
    let (held_out, duplicate, text) = with(Some(0.71), Some(0.5));
    // Images made from one photo are more alike than two photos: how much is for a person to see first.
    assert_eq!((held_out, duplicate), (Some(0.5), None));
    assert!(text.contains("\n# duplicate_max = 0.71 "), "{text}");
    assert!(text.contains("# Of 384 train photos, measured at 32 px, 99 in 100 come no nearer than this"), "{text}");
    assert_eq!(with(Some(0.71), None).0, None);
    let (held_out, duplicate, text) = with(None, None);
    assert_eq!((held_out, duplicate), (None, None));
    assert!(text.contains("# held_out_max = 0.60") && !text.contains("384"), "{text}");
    let unmeasured = good(&template(root, &facts())).filter;
    assert_eq!((unmeasured.held_out_max, unmeasured.copy_max), (None, None));
}
