//! `[compare]` and the tables of arms inside it: which training sets are compared. Knows no image.

use toml::Spanned;
use toml::de::DeValue;

use super::names::{Spelled, one_of};
use super::problem::Problem;
use super::read::{At, Section};
use super::schema;
use super::tables::{species, table, value};
use super::types::{Arm, ArmWord, Augment, Compare, Sampling};
use super::within::{DOSE, DOSE_OR_NONE, SHARE};

/// Doses of the arm `dose` where the recipe names none.
const DOSES: [f64; 3] = [0.5, 1.0, 2.0];

impl Arm {
    /// The arm of a word; `dose` by itself has dose 1.
    pub fn of(word: ArmWord) -> Arm {
        let (real, dose) = match word {
            ArmWord::Real | ArmWord::Oversampled | ArmWord::RealRandAugment => (true, 0.0),
            ArmWord::Augmented | ArmWord::AugmentedRandAugment | ArmWord::Dose => (true, 1.0),
            ArmWord::Synthetic => (false, 1.0),
        };
        let sampling = if word == ArmWord::Oversampled { Sampling::ClassBalanced } else { Sampling::Uniform };
        let augment = match word {
            ArmWord::RealRandAugment | ArmWord::AugmentedRandAugment => Some(Augment::RandAugment),
            _ => None,
        };
        Arm { name: word.name().to_string(), real, dose, sampling, augment, synthetic_share: None }
    }

    /// The augmented arm with so many times the synthetic images: `dose-0.5x`.
    pub fn of_dose(dose: f64) -> Arm {
        Arm { name: format!("dose-{dose}x"), dose, ..Arm::of(ArmWord::Dose) }
    }
}

/// Reads `[compare]`.
pub(super) fn read(root: &Section<'_, '_>) -> Compare {
    let section = table(root, "compare");
    let own = own(&section);
    let doses = doses(&section);
    let names: Vec<&str> =
        ArmWord::ALL.iter().map(|word| word.name()).chain(own.iter().map(|arm| arm.name.as_str())).collect();
    let one = |item| {
        let written = section.text_of("arms", item, &one_of(names.iter().copied()))?;
        if !names.contains(&written.value) {
            section.unknown_name("arms", written.at, written.value, &names);
            return None;
        }
        Some(written)
    };
    let listed = section.distinct("arms", "arms", 1, one);
    let mut arms: Vec<Arm> = match &listed {
        None => [ArmWord::Real, ArmWord::Oversampled, ArmWord::Augmented].map(Arm::of).to_vec(),
        Some(listed) => {
            if !listed.iter().any(|name| name.value == ArmWord::Real.name()) {
                let at = section.get("arms").map_or(0..0, |list| list.span());
                let allowed = "a list with `real`, the baseline of every comparison";
                section.impossible("arms", at, "`real` is not among them", allowed);
            }
            listed.iter().flat_map(|name| named(name.value, &own, &doses)).collect()
        }
    };
    // A table is an arm, whether or not the list says where it stands.
    for arm in own {
        if !arms.iter().any(|other| other.name == arm.name) {
            arms.push(arm);
        }
    }
    Compare { arms, tail: value(section.number("tail", SHARE), 0.33) }
}

fn named(name: &str, own: &[Arm], doses: &[f64]) -> Vec<Arm> {
    match ArmWord::from_name(name) {
        Some(ArmWord::Dose) => doses.iter().map(|&dose| Arm::of_dose(dose)).collect(),
        Some(word) => vec![Arm::of(word)],
        None => own.iter().filter(|arm| arm.name == name).cloned().collect(),
    }
}

fn doses(section: &Section<'_, '_>) -> Vec<f64> {
    let one = |item| section.number_of("doses", item, DOSE, &DOSE.to_string());
    let doses = section.distinct("doses", "numbers, each so many times the synthetic images", 1, one);
    doses.map_or(DOSES.to_vec(), |doses| doses.into_iter().map(|dose| dose.value).collect())
}

/// The arms that have tables.
fn own(section: &Section<'_, '_>) -> Vec<Arm> {
    let tables = section.open_table("arm");
    tables.entries().filter_map(|(name, table)| arm(&tables, name, table)).collect()
}

fn arm<'r, 't>(tables: &Section<'r, 't>, name: At<&'r str>, table: &'r Spanned<DeValue<'t>>) -> Option<Arm> {
    let section = tables.table_of(name.value, name.at.clone(), table).taking(schema::ARM, None);
    let taken = ArmWord::from_name(name.value).is_some() || name.value.starts_with("dose-");
    if taken {
        tables.report(
            Problem::new(name.at.clone(), format!("the arm `{}` has a meaning of its own", name.value), "taken")
                .allowed("any other name")
                .help("`arms` may name it without a table"),
        );
    }
    let real = value(section.flag("real"), true);
    let dose_at = section.number("dose", DOSE_OR_NONE);
    let dose = dose_at.as_ref().map_or(1.0, |dose| dose.value);
    let share = section.number("synthetic_share", SHARE);
    if !real && dose == 0.0 {
        let at = section.key_at("dose").unwrap_or(name.at.clone());
        section.impossible(
            "dose",
            at,
            "no synthetic images",
            "a number above 0 where `real = false`: else nothing is left",
        );
    } else if let Some(share) = &share
        && (!real || dose == 0.0)
    {
        let what = if real { "no synthetic images" } else { "synthetic images alone" };
        section.impossible(
            "synthetic_share",
            share.at.clone(),
            &format!("the arm has {what}"),
            "nothing, or both kinds of images",
        );
    }
    let arm = Arm {
        name: species(tables, name.value, name)?,
        real,
        dose,
        sampling: value(section.choice("sampling"), Sampling::Uniform),
        augment: section.choice("augment").map(|augment| augment.value),
        synthetic_share: share.map(|share| share.value),
    };
    (!taken).then_some(arm)
}
