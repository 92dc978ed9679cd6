//! How small a difference the recipe's comparisons can show: said before anything is trained.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::plan::compare::{filled_in, pairs, questions};
use crate::recipe::Recipe;
use crate::stats::power::{DISAGREEMENT, Design};
use crate::stats::summary::median;

use super::survey::Survey;

/// How likely a difference is to be shown that counts as one that can be.
pub const CHANCE: f64 = 0.8;

/// The smallest true difference in macro accuracy that the comparisons are likely to show, and what that rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Power {
    /// A fraction of 1; `None` where not even a difference of 1 would be shown.
    pub smallest_difference: Option<f64>,
    /// With which it would be shown.
    pub chance: f64,
    pub test_images: usize,
    /// Species that have test images.
    pub species: usize,
    pub seeds: usize,
    /// Questions among which the p values are adjusted.
    pub comparisons: usize,
    /// Share of the test images on which just one of two classifiers is right.
    pub disagreement: f64,
    /// Share of its variance that repeats with every seed.
    pub persistent: f64,
    /// Standard deviation, over seeds, of what moves all images alike.
    pub run_std: f64,
    /// Whether those three come from the recipe's last results; else they are assumed.
    pub measured: bool,
}

impl Power {
    /// What a design comes to.
    ///
    /// # Errors
    /// A design without images, seeds or comparisons.
    pub fn of(design: &Design, measured: bool) -> Result<Power> {
        Ok(Power {
            smallest_difference: design.smallest_difference(CHANCE)?,
            chance: CHANCE,
            test_images: design.images.iter().sum(),
            species: design.images.len(),
            seeds: design.seeds,
            comparisons: design.comparisons,
            disagreement: design.disagreement,
            persistent: design.persistent,
            run_std: design.run_std,
            measured,
        })
    }
}

/// What the recipe's comparisons could show on this dataset; `None` where nothing is compared or tested.
pub fn foresee(recipe: &Recipe, survey: &Survey) -> Result<Option<Power>> {
    let arms = filled_in(&recipe.compare.arms, &recipe.classifier.training);
    let comparisons = questions(&arms, &pairs(&arms));
    let mut images = vec![0usize; survey.dataset.species.len()];
    for &photo in &survey.cut.test {
        images[survey.dataset.photos[photo].species as usize] += 1;
    }
    images.retain(|&n| n > 0);
    if comparisons == 0 || images.is_empty() {
        return Ok(None);
    }
    let assumed = Design::assumed(images, recipe.classifier.seeds.len().max(1), DISAGREEMENT);
    let assumed = Design { comparisons, ..assumed };
    let found = last_results(recipe);
    let measured = found.is_some();
    let [disagreement, persistent, run_std] =
        found.unwrap_or([assumed.disagreement, assumed.persistent, assumed.run_std]);
    Power::of(&Design { disagreement, persistent, run_std, ..assumed }, measured).map(Some)
}

/// What the recipe's last comparisons were like, in the middle: disagreement, its persistent share, and the deviation over
/// seeds. Whatever cannot be read is as good as nothing.
fn last_results(recipe: &Recipe) -> Option<[f64; 3]> {
    let text = std::fs::read(recipe.report.out.join("metrics.json")).ok()?;
    let metrics: serde_json::Value = serde_json::from_slice(&text).ok()?;
    let comparisons = metrics["comparisons"].as_array()?;
    let middle = |field: &str, most: f64| {
        let values: Vec<f64> = comparisons.iter().filter_map(|one| one["design"][field].as_f64()).collect();
        median(&values).filter(|value| (0.0..=most).contains(value))
    };
    let disagreement = middle("disagreement", 1.0).filter(|&share| share > 0.0)?;
    Some([disagreement, middle("persistent", 1.0)?, middle("run_std", 1.0)?])
}
